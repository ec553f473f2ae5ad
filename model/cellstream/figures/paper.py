"""The sheet a figure is drawn on: millimetres, type, ground; and the file it becomes, where it came from inside."""

from __future__ import annotations

import difflib
import json
import logging
import math
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names

from cellstream import __version__
from cellstream.errors import UserError
from cellstream.figures import LEGENDS, SUFFIXES, WIDTHS
from cellstream.files import AGAIN, new_file, size_in_words, whole

MM = 1 / 25.4
"""Inches in a millimetre."""
POINT = 25.4 / 72
"""Millimetres in a point."""
INK, MUTED = "#1d2329", "#667079"
SMALLEST, LARGEST = 20.0, 1000.0
"""Millimetres of a side."""
LONGEST_LETTER = 4
MOST_PIXELS = 4e8
FALLBACK = ("Arial", "Helvetica", "Liberation Sans", "DejaVu Sans")
"""Typefaces in the order in which they are looked for; the last one comes with matplotlib."""
FURTHER = ("Noto Sans CJK SC", "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic")
"""Those that have the letters which these have not."""

_DRAWING = threading.RLock()
"""Matplotlib's settings are those of the whole process: of two threads that draw, one waits."""


@dataclass(frozen=True)
class Sheet:
    """Size and type of a figure. Raises :class:`UserError` for what no figure can have."""

    width: float = WIDTHS["single"]
    """Millimetres."""
    height: float | None = None
    """Millimetres; None: as the drawing asks for."""
    font: str = ""
    """A typeface of this machine; empty: the first one of :data:`FALLBACK` that it has."""
    text: float = 7.0
    """Points."""
    point: float | None = None
    """Diameter of a cell, in points; None: by their number."""
    legend: str = "right"
    """Where the legend, or the scale of the colours, stands: one of :data:`cellstream.figures.LEGENDS`."""
    transparent: bool = False
    """No ground at all, instead of a white one."""
    letter: str = ""
    """Of the panel, as in "a"."""
    dpi: int = 300
    """Of all that consists of pixels: the points of a vector file, the whole of a png."""

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            side = getattr(self, name)
            if side is not None and not SMALLEST <= side <= LARGEST:
                raise UserError(f"Expected a {name} of {SMALLEST:.0f} to {LARGEST:.0f} mm, but got {side:g}.")
        for name, low, high in (("text", 3, 40), ("point", 0.05, 40), ("dpi", 50, 1200)):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UserError(f"Expected {name} from {low} to {high}, but got {value:g}.")
        require_memory(self.width * MM * (self.height or self.width) * MM, self.dpi)
        if self.legend not in LEGENDS:
            raise UserError(f"Expected the legend to be one of {', '.join(LEGENDS)}, but got '{self.legend}'.")
        if len(self.letter) > LONGEST_LETTER:
            raise UserError(f"Expected a panel's letter, as in a, but got '{self.letter}'.")
        if self.font and self.font not in get_font_names():
            close = difflib.get_close_matches(self.font, get_font_names(), n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise UserError(
                f"This machine has no typeface '{self.font}'{hint}: name another one, or none for Arial or its like."
            )

    @contextmanager
    def type(self, ink: str = INK) -> Iterator[None]:
        """Matplotlib's settings while something is drawn or written, in a colour that the ground asks for; they are the
        process's, so that one is drawn at a time."""
        families = list(dict.fromkeys([*([self.font] if self.font else []), *FALLBACK, *FURTHER, "sans-serif"]))
        with _DRAWING, _without_a_word_of_fonts(), mpl.rc_context(
            {
                "font.family": families,
                "font.size": self.text,
                "text.color": ink,
                "axes.labelcolor": ink,
                "axes.edgecolor": ink,
                "axes.labelsize": self.text,
                "axes.titlesize": self.text,
                "axes.titlepad": 3,
                "axes.labelpad": 2,
                "axes.linewidth": 0.6,
                "axes.facecolor": "none",
                "axes.spines.top": False,
                "axes.spines.right": False,
                "xtick.color": ink,
                "ytick.color": ink,
                "xtick.labelsize": self.text,
                "ytick.labelsize": self.text,
                "xtick.major.width": 0.6,
                "ytick.major.width": 0.6,
                "xtick.major.size": 2.5,
                "ytick.major.size": 2.5,
                "xtick.minor.width": 0.4,
                "ytick.minor.width": 0.4,
                "xtick.minor.size": 1.5,
                "ytick.minor.size": 1.5,
                "xtick.major.pad": 2,
                "ytick.major.pad": 2,
                "lines.linewidth": 1.0,
                "legend.frameon": False,
                "legend.fontsize": self.text,
                "legend.title_fontsize": self.text,
                # text stays text, to be searched and edited
                "pdf.fonttype": 42,
                "svg.fonttype": "none",
                # the same figure is the same file
                "svg.hashsalt": "cellstream",
                # names from files may hold a dollar sign, which is no mathematics
                "text.parse_math": False,
                "axes.formatter.use_mathtext": False,
                "text.usetex": False,
            }
        ):  # fmt: skip
            yield


@contextmanager
def _without_a_word_of_fonts() -> Iterator[None]:
    """Matplotlib warns of each typeface of a list that is not there, which is what the list is for; and of each letter
    that none of them has, many times, where the picture shows it."""
    told = logging.getLogger("matplotlib.font_manager")
    level = told.level
    told.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
            yield
    finally:
        told.setLevel(level)


def plain(words: object) -> str:
    """A stranger's text in one line that every file can hold: what cannot be printed becomes a question mark."""
    line = " ".join(str(words).split())
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)


def require_memory(inches: float, dpi: int) -> None:
    """Refuse a picture of so many square inches that would have more pixels than a machine likes."""
    pixels = inches * dpi**2
    if pixels > MOST_PIXELS:
        raise UserError(
            f"A picture of this size at {dpi} dpi would take {size_in_words(4 * pixels)} of memory: choose fewer dpi, "
            "or a smaller size."
        )


def place_for(out: str, overwrite: bool, again: str = AGAIN) -> Path:
    """A place for a figure that can be written to, looked at before the drawing; ``again`` says what to do where there
    is one already."""
    suffix = Path(out).suffix
    if suffix.lower() not in SUFFIXES:
        raise UserError(f"Expected a name that ends in {', '.join(SUFFIXES)}, but got '{out}'.")
    return new_file(out, overwrite, suffix, again)


def write(figure: Figure, path: Path, sheet: Sheet, provenance: Mapping[str, Any]) -> None:
    """Write a figure as its suffix says, whole or not at all, with ``provenance`` (plain JSON values) inside.

    It is the Description of a png or an svg, the Subject of a pdf. The same figure is the same bytes.

    Raises:
        UserError: the suffix is none of :data:`SUFFIXES`, or there would be too many pixels.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"Expected a name that ends in {', '.join(SUFFIXES)}, but got '{path.name}'.")
    require_memory(math.prod(figure.get_size_inches()), sheet.dpi)
    # in ASCII: a file's name may hold what is no Unicode, and what no xml may hold
    told = json.dumps(dict(provenance), sort_keys=True)
    title, software = plain(provenance.get("data", "")), f"CellStream {__version__}"
    kept: dict[str, dict[str, str | None]] = {
        ".png": {"Title": title, "Software": software, "Description": told},
        ".pdf": {"Title": title, "Creator": software, "Subject": told, "CreationDate": None},
        ".svg": {"Title": title, "Creator": software, "Description": told, "Date": None},
    }
    figure.patch.set_alpha(0.0 if sheet.transparent else 1.0)
    with whole(path) as temporary, sheet.type():
        figure.savefig(temporary, dpi=sheet.dpi, metadata=kept[suffix], format=suffix[1:])

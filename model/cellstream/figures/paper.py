"""The sheet a figure is drawn on: millimetres, type, ground; and the file it becomes, with where it came from inside."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from cellstream import __version__
from cellstream.errors import UserError
from cellstream.files import new_file, size_in_words, whole

MM = 1 / 25.4
"""Inches in a millimetre."""
INK, MUTED = "#1d2329", "#667079"
WIDTHS = {"single": 88.0, "one-and-a-half": 120.0, "double": 180.0}
"""Millimetres of the columns that journals ask for."""
LEGENDS = ("right", "below", "none")
SUFFIXES = (".png", ".pdf", ".svg")
RESOLUTIONS = (150, 300, 600)
"""Dots per inch that are offered; any other from 50 to 1200 will do."""
SMALLEST, LARGEST = 20.0, 1000.0
"""Millimetres of a side."""
FALLBACK = ("Arial", "Helvetica", "Liberation Sans", "DejaVu Sans")
"""Typefaces in the order in which they are looked for; the last one comes with matplotlib."""


@dataclass(frozen=True)
class Sheet:
    """Size and type of a figure. Raises :class:`UserError` for what no figure can have."""

    width: float = WIDTHS["single"]
    """Millimetres."""
    height: float | None = None
    """Millimetres; None: as the drawing asks for."""
    font: str = "Arial"
    """A typeface; where the machine does not have it, the next one of :data:`FALLBACK`."""
    text: float = 7.0
    """Points."""
    point: float | None = None
    """Diameter of a cell, in points; None: by their number."""
    legend: str = "right"
    """Where the legend, or the scale of the colours, stands: one of :data:`LEGENDS`."""
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
        if self.legend not in LEGENDS:
            raise UserError(f"Expected the legend to be one of {', '.join(LEGENDS)}, but got '{self.legend}'.")

    def figure(self, aspect: float) -> Figure:
        """An empty figure; where no height was asked for it is ``aspect`` times as high as wide."""
        height = self.height or min(max(self.width * aspect, SMALLEST), LARGEST)
        made = Figure(figsize=(self.width * MM, height * MM), layout="constrained")
        made.patch.set_alpha(0.0 if self.transparent else 1.0)
        return made

    @contextmanager
    def type(self) -> Iterator[None]:
        """Matplotlib's settings while something is drawn or written."""
        families = [self.font, *(name for name in FALLBACK if name != self.font)]
        with mpl.rc_context(
            {
                "font.family": "sans-serif",
                "font.sans-serif": families,
                "font.size": self.text,
                "text.color": INK,
                "axes.labelcolor": INK,
                "axes.edgecolor": INK,
                "axes.labelsize": self.text,
                "axes.titlesize": self.text,
                "axes.linewidth": 0.6,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "xtick.color": INK,
                "ytick.color": INK,
                "xtick.labelsize": self.text - 1,
                "ytick.labelsize": self.text - 1,
                "xtick.major.width": 0.6,
                "ytick.major.width": 0.6,
                "xtick.major.size": 2.5,
                "ytick.major.size": 2.5,
                "lines.linewidth": 1.0,
                "legend.frameon": False,
                "legend.fontsize": self.text - 0.5,
                "figure.constrained_layout.h_pad": 2 / 72,
                "figure.constrained_layout.w_pad": 2 / 72,
                # text stays text, to be searched and edited
                "pdf.fonttype": 42,
                "svg.fonttype": "none",
                # names from files may hold a dollar sign, which is no mathematics
                "text.parse_math": False,
                "axes.unicode_minus": True,
            }
        ):
            yield


def place_for(out: str, overwrite: bool) -> Path:
    """A place for a figure that can be written to, looked at before the drawing."""
    suffix = Path(out).suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"Expected a name that ends in {', '.join(SUFFIXES)}, but got '{out}'.")
    return new_file(out, overwrite, Path(out).suffix)


def write(figure: Figure, path: Path, sheet: Sheet, provenance: Mapping[str, Any]) -> None:
    """Write a figure as its suffix says, whole or not at all, with ``provenance`` (plain JSON values) inside.

    Raises:
        UserError: the suffix is none of :data:`SUFFIXES`, or the png would have too many pixels.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"Expected a name that ends in {', '.join(SUFFIXES)}, but got '{path.name}'.")
    pixels = math.prod(figure.get_size_inches()) * sheet.dpi**2
    if pixels > 4e8:
        size = size_in_words(4 * pixels)
        raise UserError(
            f"A picture of this size at {sheet.dpi} dpi would take {size}: choose fewer dpi or a smaller size."
        )
    told = json.dumps(dict(provenance), ensure_ascii=False, sort_keys=True)
    title, software = str(provenance.get("data", "")), f"CellStream {__version__}"
    metadata = {
        ".png": {"Title": title, "Software": software, "Description": told},
        ".pdf": {"Title": title, "Creator": software, "Subject": told},
        ".svg": {"Title": title, "Creator": software, "Description": told},
    }[suffix]
    with whole(path) as temporary, sheet.type():
        figure.savefig(temporary, dpi=sheet.dpi, metadata=metadata, transparent=None, format=suffix[1:])

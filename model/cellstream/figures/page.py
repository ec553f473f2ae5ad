"""A figure's room in millimetres: what stands at a side takes its part, and the picture has the rest.

Matplotlib's layouts leave gaps beside axes of equal scale; here the height of a sheet follows from its width, unless a
height is asked for.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path as File
from typing import Any, Protocol

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from cellstream.errors import UserError
from cellstream.figures.paper import LARGEST, MM, POINT, SMALLEST, Sheet, place_for, write

RIM = 1.0
"""Millimetres around everything."""
GAP = 2.5
"""Millimetres between the picture and its legend, and between two legends."""
FINEST = 300
"""Dots per inch at which texts are measured; more take memory and tell no more."""
SHOWN_DPI, SHOWN_SCALE = 200, 1.6
"""Of a figure in a notebook: its pixels, and how much larger than on paper it is shown."""
LEAST = 8.0
"""Millimetres of a picture's shorter side that something can be seen on."""

Rect = tuple[float, float, float, float]
"""Left, bottom, width, height."""


class ResultFigure(Figure):
    """A figure of matplotlib's, with the numbers behind it and where it came from.

    In a notebook it is shown in the size in which its text is read well, whatever its size on paper; a figure that is
    kept is :meth:`save`'s.
    """

    def __init__(self, sheet: Sheet, **more: Any):
        super().__init__(**more)
        self.sheet = sheet
        """Its size and type."""
        self.numbers = pd.DataFrame()
        """What is drawn: of ``embedding`` and ``times`` a row for each cell."""
        self.provenance: dict[str, Any] = {}
        """Data, settings, seed, version, and what the figure shows; plain JSON values, written into its file."""

    def save(self, path: File | str, overwrite: bool = False) -> File:
        """Write a png, pdf or svg as ``cellstream figure`` does, with its provenance inside; where it now is.

        Raises:
            UserError: the name ends otherwise, nothing can be written there, or something is there and ``overwrite``
                is not said.
        """
        out = place_for(str(path), overwrite, "choose another name, or say overwrite=True")
        write(self, out, self.sheet, self.provenance)
        return out

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a notebook shows, also where nobody has asked matplotlib for inline figures."""
        png = BytesIO()
        with self.sheet.type():
            self.savefig(png, format="png", dpi=SHOWN_DPI)
        width, height = (round(side * SHOWN_SCALE * 96) for side in self.get_size_inches())
        shown = {"image/png": b64encode(png.getvalue()).decode(), "text/plain": repr(self)}
        return shown, {"image/png": {"width": width, "height": height}}


class Key(Protocol):
    """What explains colours. A key is measured, then put in its place."""

    size: tuple[float, float]
    """Width and height, in millimetres."""

    def put(self, left: float, top: float) -> None:
        """Its upper left corner, in millimetres from the page's lower left one."""


class Page:
    """A figure on a sheet, and what its sides have taken so far, in millimetres."""

    def __init__(self, sheet: Sheet):
        self.sheet = sheet
        sides = sheet.width * MM, (sheet.height or sheet.width) * MM
        self.figure = ResultFigure(sheet, figsize=sides, dpi=min(sheet.dpi, FINEST))
        FigureCanvasAgg(self.figure)
        self.left = self.right = self.top = self.bottom = RIM
        if sheet.letter:
            size = sheet.text + 2
            self._letter = self.figure.text(
                0, 1, sheet.letter, fontsize=size, fontweight="bold", ha="left", va="top", in_layout=False
            )
            self.top += 1.2 * size * POINT

    @property
    def height(self) -> float:
        return self.figure.get_figheight() / MM

    @property
    def free(self) -> tuple[float, float]:
        """Width and height that nobody has taken."""
        return self.sheet.width - self.left - self.right, self.height - self.top - self.bottom

    def measured(self, artist: Artist) -> Rect:
        """Where something reaches, axes with all their texts."""
        box = artist.get_tightbbox(self.figure.canvas.get_renderer())  # type: ignore[attr-defined]
        if box is None:  # nothing to see
            return 0.0, 0.0, 0.0, 0.0
        part = 1 / (self.figure.dpi * MM)
        return box.x0 * part, box.y0 * part, box.width * part, box.height * part

    def settle(self, keys: Sequence[Key], high: float) -> Rect:
        """Put the keys at their side, and give what is left for the picture.

        The sheet becomes as high as the picture wants, which is ``high`` in the width that :meth:`room` tells, unless
        it has a height of its own.
        """
        beside = self.sheet.legend == "right"
        wide, tall = extent(keys, beside)
        if self.sheet.height is None:
            high = max(high, tall) if beside else high + (tall + GAP if keys else 0)
            high = min(max(high + self.top + self.bottom, SMALLEST), LARGEST)
            self.figure.set_figheight(high * MM)
        width, height = self.free
        left, bottom = self.left, self.bottom
        if keys and beside:
            width -= wide + GAP
            top = bottom + (height + tall) / 2
            for key in keys:
                key.put(left + width + GAP, top)
                top -= key.size[1] + GAP
        elif keys:
            bottom, height = bottom + tall + GAP, height - tall - GAP
            x = left + (width - wide) / 2
            for key in keys:
                key.put(x, self.bottom + tall)
                x += key.size[0] + 2 * GAP
        if min(width, height) < LEAST:
            raise UserError(
                "Legend and text leave no room for the picture: choose a larger size, smaller text, or no legend."
            )
        if self.sheet.letter:
            self._letter.set_position((RIM / self.sheet.width, 1 - RIM / self.height))
        return left, bottom, width, height

    def room(self, keys: Sequence[Key]) -> float:
        """Width that the keys leave for the picture."""
        wide, _ = extent(keys, self.sheet.legend == "right")
        return self.free[0] - (wide + GAP if keys and self.sheet.legend == "right" else 0)

    def axes(self, rect: Rect) -> Axes:
        """Axes that are exactly there."""
        return self.figure.add_axes(self.share(rect))

    def share(self, rect: Rect) -> Rect:
        """A rectangle as shares of the figure."""
        left, bottom, width, height = rect
        return (
            left / self.sheet.width, bottom / self.height, width / self.sheet.width, height / self.height
        )  # fmt: skip

    def charts(self, rect: Rect) -> None:
        """Subplots keep within a rectangle, with all their texts."""
        pad = 1 / 72
        self.figure.set_layout_engine(
            ConstrainedLayoutEngine(h_pad=pad, w_pad=pad, hspace=0.04, wspace=0.04, rect=self.share(rect))
        )


def extent(keys: Sequence[Key], beside: bool) -> tuple[float, float]:
    """Width and height of all keys: one below the other, or beside each other."""
    if not keys:
        return 0.0, 0.0
    wide, tall = ([key.size[side] for key in keys] for side in (0, 1))
    if beside:
        return max(wide), sum(tall) + GAP * (len(keys) - 1)
    return sum(wide) + 2 * GAP * (len(keys) - 1), max(tall)

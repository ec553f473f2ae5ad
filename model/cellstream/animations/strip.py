"""Below the picture: what time it is, or which step, and where that is between the first and the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.text import Text

from cellstream.animations.film import Shot
from cellstream.figures.keys import cut
from cellstream.figures.page import Page
from cellstream.figures.paper import POINT, plain

HIGH = 10.0
"""Millimetres that it takes."""
CLOCK = 1.45
"""Size of the words, in that of the text."""
APART = 1.5
"""Millimetres between the names of two marks at least."""
WIDEST = 0.35
"""Part of the sheet's width that the words take at most."""
LETTERS = 14
"""Of a mark's name at most."""
DOT = 5.0
"""Diameter of a mark in points."""


@dataclass(frozen=True)
class Mark:
    """A measured time, or where a stage begins: ``at`` from 0 to 1."""

    at: float
    name: str
    colour: str | None = None
    """None: like the line."""


class Strip:
    """Words on the left, in ``size`` against the text, and an axis with marks, which are ``dots`` or where parts begin.

    ``longest`` are the widest words that will be shown.
    """

    def __init__(self, marked: Sequence[Mark], longest: str, dots: bool = True, size: float = CLOCK):
        self.marked, self.longest, self.dots, self.size = marked, longest, dots, size

    def put(self, page: Page, shot: Shot, rim: float) -> None:
        """Draw what stands still on a page, ``rim`` millimetres from its border."""
        figure, sheet = page.figure, page.sheet
        size = self.size * sheet.text
        middle = rim + HIGH / 2 - 0.5
        self.words = figure.text(
            rim / sheet.width, middle / page.height, _lines(self.longest), fontsize=size, fontweight="bold",
            va="center_baseline", in_layout=False,
        )  # fmt: skip
        self.words.set_animated(True)
        wide = page.measured(self.words)[2]
        room = WIDEST * sheet.width
        self.words.set_fontsize(size * min(1.0, room / max(wide, 1e-9)))
        begin = rim + min(wide, room) + 5
        names = [
            figure.text(0, 0, cut(mark.name, LETTERS), fontsize=sheet.text - 1, color=shot.muted, va="top")
            for mark in self.marked
        ]
        widths = [page.measured(name)[2] for name in names]
        # the names of the first and of the last mark reach beyond the axis
        begin += widths[0] / 2 if self.dots else 0
        end = sheet.width - rim - (widths[-1] / 2 if self.dots else 0)
        self.ends, self.height = (begin / sheet.width, end / sheet.width), middle / page.height
        self._line(page, shot.muted, 0.45, 1.2)
        self.passed = self._line(page, shot.ink, 1.0, 1.8)
        self.dotted = []
        for mark in self.marked:
            colour = mark.colour or shot.muted
            kind = dict(marker="o", markersize=DOT) if self.dots else dict(marker="|", markersize=DOT + 1)
            edge = dict(markeredgewidth=0 if self.dots else 1.2, markeredgecolor=colour)
            self.dotted.append(self._line(page, colour, 1.0, 0.0, self._x(mark.at), **kind, **edge))
        self._names(page, names, widths, begin, end)
        self.now = self._line(
            page, shot.ink, 1.0, 0.0, self.ends[0], marker="o", markersize=1.5 * DOT, markeredgewidth=1.0,
            markeredgecolor=figure.get_facecolor(),
        )  # fmt: skip
        # they lie over the line of what has passed, and so are drawn with it
        for artist in (*self.dotted, self.now, self.passed):
            artist.set_animated(True)

    def shown(self, share: float, words: str) -> Iterator[Artist]:
        """What is drawn of it at a moment."""
        x = self._x(share)
        self.passed.set_xdata([self.ends[0], x])
        self.now.set_xdata([x])
        self.words.set_text(_lines(words))
        yield from (self.passed, *self.dotted, self.now, self.words)

    def _x(self, share: float) -> float:
        return self.ends[0] + float(np.clip(share, 0, 1)) * (self.ends[1] - self.ends[0])

    def _line(
        self, page: Page, colour: str, alpha: float, width: float, at: float | None = None, **kind: Any
    ) -> Line2D:
        """From end to end, or a mark at a place."""
        line = Line2D(
            self.ends if at is None else [at], [self.height] * (2 if at is None else 1), color=colour, alpha=alpha,
            linewidth=width, transform=page.figure.transFigure, solid_capstyle="round", **kind,
        )  # fmt: skip
        page.figure.add_artist(line)
        return line

    def _names(self, page: Page, names: list[Text], widths: list[float], begin: float, end: float) -> None:
        """Names below their marks; where two would lie over each other, the one that is not at an end is left out."""
        below = (self.height * page.height - DOT * POINT / 2 - 0.9) / page.height
        places = [begin + mark.at * (end - begin) for mark in self.marked]
        lefts = [x - (wide / 2 if self.dots else 0) for x, wide in zip(places, widths, strict=True)]
        last = len(names) - 1
        reach = -np.inf
        for i, (name, left, wide) in enumerate(zip(names, lefts, widths, strict=True)):
            covered = left < reach or (i < last and self.dots and left + wide + APART > lefts[last])
            if covered and i < last:
                name.remove()
                continue
            reach = left + wide + APART
            name.set_position((left / page.sheet.width, below))
            name.set_in_layout(False)


def _lines(words: str) -> str:
    return "\n".join(map(plain, words.split("\n")))

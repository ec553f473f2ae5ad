"""What colours stand for: names with dots, or a scale with its numbers; never wider or higher than there is room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cellstream.colours import Categories, Values
from cellstream.figures.page import Page
from cellstream.figures.paper import INK, POINT, plain
from cellstream.painting import TIME, Painted

MOST_NAMES = 48
"""Names in a legend; of more, the commonest."""
WIDEST = 0.4
"""Part of the sheet's width that a legend beside the picture takes at most."""
BAR = (2.2, 18.0)
"""Thickness and length of a scale, in millimetres."""
FEWEST = 8
"""Letters of a title that are left at least."""
READABLE = 12
"""Letters of a name that are not cut for a further column."""
LETTER = 0.5
"""Width of a letter, in units of its size, about."""
MOST_COLUMNS = 3
"""Of a legend beside the picture."""

Handle = Line2D | Patch


class Names:
    """A legend: handles with names."""

    def __init__(self, page: Page, handles: Sequence[Handle], names: Sequence[str], title: str, columns: int):
        self.page = page
        self.legend: Legend = page.figure.legend(
            list(handles), list(names), title=title, loc="upper left", bbox_to_anchor=(0, 1), ncols=columns,
            borderpad=0, borderaxespad=0, handletextpad=0.5, columnspacing=1.0, labelspacing=0.35, handlelength=1.0,
            alignment="left",
        )  # fmt: skip
        self.legend.set_in_layout(False)
        self.size = page.measured(self.legend)[2:]

    def put(self, left: float, top: float) -> None:
        self.legend.set_bbox_to_anchor((left / self.page.sheet.width, top / self.page.height))


class Scale:
    """A scale of colours, its title above it; pointed where values beyond its end have the colour of the end."""

    def __init__(self, page: Page, palette: Sequence[str], limits: tuple[float, float], title: str, beyond: str):
        self.page, self.upright = page, page.sheet.legend == "right"
        text = page.sheet.text
        self.title = page.figure.text(0, 0, "", fontsize=text, va="top")
        self.title.set_in_layout(False)
        letters = _letters(page)
        self.title.set_text(cut(title, letters))
        while (wide := page.measured(self.title)[2]) > _widest(page) and letters > FEWEST:
            letters = max(min(int(letters * _widest(page) / wide), letters - 1), FEWEST)
            self.title.set_text(cut(title, letters))
        self.below = page.measured(self.title)[3] + 1.5
        thick, long = (side * text / 7 for side in BAR)
        self.bar = (thick, long) if self.upright else (1.6 * long, thick)
        self.ax = page.axes((page.left, page.bottom, *self.bar))
        mapped = ScalarMappable(Normalize(*limits), ListedColormap(list(palette)))
        made = page.figure.colorbar(
            mapped,
            cax=self.ax,
            orientation="vertical" if self.upright else "horizontal",
            extend=beyond,
            extendfrac=0.07,
        )
        made.outline.set_visible(False)
        self.ax.tick_params(length=2, width=0.5, labelsize=text)
        self.ax.locator_params(nbins=4)
        self.ax.set_in_layout(False)
        at = page.measured(self.ax)
        self.before = max(page.left - at[0], 0.0), at[1] + at[3] - page.bottom - self.bar[1]
        self.size = max(wide, at[2]), self.below + at[3]

    def put(self, left: float, top: float) -> None:
        page = self.page
        self.title.set_position((left / page.sheet.width, top / page.height))
        bottom = top - self.below - self.before[1] - self.bar[1]
        self.ax.set_position(page.share((left + self.before[0], bottom, *self.bar)))


Made = list[Names | Scale]


def key_of(page: Page, painted: Painted, high: float, times: Mapping[str, str]) -> Made:
    """The key of cells in colours, none where the sheet wants none; beside a picture of about ``high`` millimetres.

    ``times`` says how the labels of time points are written.
    """
    colour = painted.colour
    if page.sheet.legend == "none":
        return []
    if isinstance(colour, Values):
        return scale(page, colour.palette, colour.span(), painted.title, _beyond(colour))
    shown = dict(zip(colour.names, colour.colours, strict=True))
    counts = painted.counts or _counts(colour)
    names = [name for name in shown if counts.get(name)]
    dots = [_dot(page, shown[name]) for name in names]
    if painted.title == TIME:
        names = [times.get(name, name) for name in names]
    return names_of(page, dots, names, painted.title, high, [counts[name] for name in shown if counts.get(name)])


def scale(page: Page, palette: Sequence[str], limits: tuple[float, float], title: str, beyond: str = "neither") -> Made:
    """A scale of colours, none where the sheet wants none."""
    return [] if page.sheet.legend == "none" else [Scale(page, palette, limits, title, beyond)]


def names_of(
    page: Page,
    handles: Sequence[Handle],
    names: Sequence[str],
    title: str,
    high: float,
    counts: Sequence[int] | None = None,
) -> Made:
    """A legend that has room, none where the sheet wants none: in several columns, with long names cut, and if there
    are still too many only with the commonest by ``counts``."""
    sheet = page.sheet
    if sheet.legend == "none" or not names:
        return []
    beside = sheet.legend == "right"
    if sheet.height is not None:
        high = page.free[1] * (1 if beside else WIDEST)
    most = MOST_NAMES
    while True:
        kept, left = _commonest(names, counts, most)
        lines, shown = [handles[i] for i in kept], [names[i] for i in kept]
        if left:
            lines.append(Line2D([], [], linestyle="none"))
            shown.append(f"and {left} more")
        made = _in_columns(page, lines, shown, title, high)
        # a sheet without a height of its own becomes as high as its legend
        if sheet.height is None or made.size[1] <= high or len(kept) == 1:
            return [made]
        made.legend.remove()
        most = max(min(int(len(kept) * high / made.size[1]), len(kept) - 1), 1)


def _in_columns(page: Page, handles: Sequence[Handle], names: Sequence[str], title: str, high: float) -> Names:
    """The legend with the fewest columns that is not higher than the picture; below it, with the most that fit."""
    letters, widest = _letters(page), _widest(page)
    while True:
        if page.sheet.legend == "right":
            columns = 1
            made = _with(page, handles, names, title, letters, columns)
            enough = min(max(len(plain(name)) for name in names), READABLE) + 4
            while made.size[1] > high and columns < min(MOST_COLUMNS, letters // enough, len(names)):
                made.legend.remove()
                columns += 1
                made = _with(page, handles, names, title, letters // columns, columns)
        else:
            fit, too_many = 1, len(names) + 1
            while too_many - fit > 1:
                columns = (fit + too_many) // 2
                made = _with(page, handles, names, title, letters, columns)
                made.legend.remove()
                fit, too_many = (columns, too_many) if made.size[0] <= widest else (fit, columns)
            made = _with(page, handles, names, title, letters, fit)
        wide = made.size[0]
        if wide <= widest or letters <= FEWEST:
            return made
        made.legend.remove()  # of wide letters
        letters = max(min(int(letters * widest / wide), letters - 1), FEWEST)


def _with(page: Page, handles: Sequence[Handle], names: Sequence[str], title: str, letters: int, columns: int) -> Names:
    """A legend of names with at most so many letters, in which their dots count."""
    short = [cut(name, max(letters - 4, FEWEST // 2)) for name in names]
    return Names(page, handles, short, cut(title, max(letters * columns, FEWEST)), columns)


def _widest(page: Page) -> float:
    """Millimetres that a key may be wide."""
    return page.sheet.width * WIDEST if page.sheet.legend == "right" else page.free[0]


def _letters(page: Page) -> int:
    """How many letters are about as wide as a legend may be."""
    return max(int(_widest(page) / (LETTER * page.sheet.text * POINT)), FEWEST)


def cut(name: object, letters: int) -> str:
    """A name in at most so many letters; what tells long names apart is often their end."""
    words = plain(name)
    if len(words) <= letters:
        return words
    end = letters // 3
    return f"{words[: letters - end - 1]}…{words[len(words) - end :]}"


def _commonest(names: Sequence[str], counts: Sequence[int] | None, most: int) -> tuple[list[int], int]:
    """Positions of the names that are shown, in their order, and how many are left out."""
    if len(names) <= most:
        return list(range(len(names))), 0
    by = sorted(range(len(names)), key=lambda i: -counts[i] if counts else i)
    return sorted(by[:most]), len(names) - most


def _counts(colour: Categories) -> dict[str, int]:
    codes = np.asarray(colour.codes)
    found = np.bincount(codes[codes >= 0], minlength=len(colour.names))
    return dict(zip(colour.names, found.tolist(), strict=True))


def _beyond(colour: Values) -> str:
    """At which ends of the scale there are values that it does not reach."""
    low, high = colour.span()
    values = colour.values[np.isfinite(colour.values)]
    slack = 1e-6 * (high - low)
    ends = bool((values < low - slack).any()), bool((values > high + slack).any())
    return {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[ends]


def _dot(page: Page, colour: str) -> Line2D:
    size = page.sheet.text * 0.65
    return Line2D([], [], linestyle="none", marker="o", markersize=size, markeredgewidth=0, color=colour)


def dark_dot(page: Page) -> Line2D:
    """Of cells that are marked in black."""
    return _dot(page, INK)

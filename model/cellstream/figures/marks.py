"""Marks on the axes of a figure: cells, streamlines, arrows, the growth map, ribbons, legends; of what the screen shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cellstream.colours import MISSING, Categories, Values, growth_colours
from cellstream.fields import Field
from cellstream.figures.paper import INK, Sheet
from cellstream.streamlines import streamlines
from cellstream.traces import HEAD_AT, Columns, arrow_columns, growth_columns, strength_of

ALPHA = 0.85
"""Opacity of a cell."""
TURNS = 12
"""Parts in which the categories are drawn by turns, so that none hides the others."""
SHADES = 128
"""Different colours of numbers."""
SEPARATION = 0.045
"""Of the streamlines, in units of the longer side."""
THICKEST = 0.0055
"""Of a streamline, in units of the longer side of the view."""
ARROW_HEAD = 0.016
"""Length of an arrow head, in the same unit."""
MOST_NAMES = 30
"""Names in a legend; of more, the commonest."""

View = tuple[float, float, float, float]
"""x0, x1, y0, y1."""


def cell_size(n: int, view: View, width: float) -> float:
    """Diameter in points of each of ``n`` cells on axes that are ``width`` millimetres wide."""
    return float(np.clip((2.5 + 150 / np.sqrt(max(n, 1))) * width / 300, 0.15, 6.0))


def plane(ax: Axes, view: View) -> None:
    """Axes that show the plane of an embedding: equal scale, no ticks."""
    ax.set_xlim(view[:2])
    ax.set_ylim(view[2:])
    ax.set_aspect("equal", adjustable="box")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.patch.set_alpha(0.0)


def compass(ax: Axes, names: tuple[str, str], sheet: Sheet) -> None:
    """Two short arrows in the corner that name the axes of the plane."""
    at = dict(xycoords="axes fraction", textcoords="axes fraction", annotation_clip=False)
    arrow = dict(arrowstyle="-|>", color=INK, linewidth=0.6, shrinkA=0, shrinkB=0, mutation_scale=sheet.text * 0.8)
    for tip in ((0.14, 0.0), (0.0, 0.14)):
        ax.annotate("", tip, (0.0, 0.0), arrowprops=arrow, **at)
    small = dict(xycoords="axes fraction", fontsize=sheet.text - 1, textcoords="offset points", annotation_clip=False)
    ax.annotate(names[0], (0.0, 0.0), (0, -2), ha="left", va="top", **small)
    ax.annotate(names[1], (0.0, 0.0), (-2, 0), ha="right", va="bottom", rotation=90, **small)


def cells(ax: Axes, points: np.ndarray, colour: Categories | Values, size: float, alpha: float = ALPHA) -> None:
    """Cells (n, 2) as dots of ``size`` points, in pixels also where the rest of the file is not.

    High numbers lie on top; kinds of cells by turns, in random but fixed order; cells without either lie below.
    """
    for chosen, shade in _in_turn(colour):
        ax.plot(
            *points[chosen].T, linestyle="none", marker="o", markersize=size, markeredgewidth=0, color=shade,
            alpha=alpha, rasterized=True, zorder=2,
        )  # fmt: skip


def _in_turn(colour: Categories | Values) -> list[tuple[np.ndarray, str]]:
    """Which cells are drawn in which colour, one lot after the other."""
    if isinstance(colour, Values):
        low, high = colour.span()
        known = np.isfinite(colour.values)
        place = np.clip((np.where(known, colour.values, low) - low) / (high - low), 0, 1)
        shade = np.where(known, np.minimum((place * SHADES).astype(int), SHADES - 1), -1)
        palette = [colour.palette[round(i)] for i in np.linspace(0, len(colour.palette) - 1, SHADES)]
        order = np.argsort(shade, kind="stable")
        starts = np.searchsorted(shade[order], np.arange(-1, SHADES + 1))
        lots = [order[a:b] for a, b in zip(starts[:-1], starts[1:], strict=True)]
        return [(lot, name) for lot, name in zip(lots, [MISSING, *palette], strict=True) if len(lot)]
    codes = np.asarray(colour.codes)
    below = np.flatnonzero(colour.first)
    found = [(below[codes[below] == code], _name(colour, code)) for code in np.unique(codes[below])]
    above = np.flatnonzero(~colour.first)
    for part in np.array_split(np.random.default_rng(0).permutation(above), TURNS):
        found += [(part[codes[part] == code], _name(colour, code)) for code in np.unique(codes[part])]
    return found


def _name(colour: Categories, code: int) -> str:
    return colour.colours[code] if code >= 0 else MISSING


def legend(
    figure: Figure, ax: Axes, colour: Categories | Values, title: str, counts: Mapping[str, int] | None, sheet: Sheet
) -> None:
    """What the colours stand for: names with dots, or a scale with its numbers."""
    if sheet.legend == "none":
        return
    if isinstance(colour, Values):
        scale(figure, ax, colour.palette, colour.span(), title, sheet)
        return
    shown = dict(zip(colour.names, colour.colours, strict=True))
    names = [name for name in shown if counts is None or counts.get(name)]
    if len(names) > MOST_NAMES and counts is not None:
        commonest = set(sorted(names, key=lambda name: -counts[name])[:MOST_NAMES])
        names = [name for name in names if name in commonest]
    dots = [
        Line2D([], [], linestyle="none", marker="o", markersize=sheet.text * 0.6, markeredgewidth=0, color=shown[n])
        for n in names
    ]
    place = (
        dict(loc="outside right center")
        if sheet.legend == "right"
        else dict(loc="outside lower center", ncols=_columns(names, sheet))
    )
    figure.legend(
        dots,
        names,
        title=title,
        title_fontsize=sheet.text,
        handletextpad=0.2,
        borderaxespad=0.2,
        columnspacing=1.0,
        **place,
    )


def _columns(names: Sequence[str], sheet: Sheet) -> int:
    """How many names stand beside each other below a figure."""
    widest = max((len(name) for name in names), default=1) + 4
    return int(np.clip(sheet.width / (widest * sheet.text * 0.2), 1, max(len(names), 1)))


def scale(
    figure: Figure, ax: Axes, palette: Sequence[str], limits: tuple[float, float], title: str, sheet: Sheet
) -> None:
    """A scale of colours with its numbers; an arrow where values beyond its end have the colour of the end."""
    mapped = ScalarMappable(Normalize(*limits), ListedColormap(list(palette)))
    upright = sheet.legend == "right"
    bar = figure.colorbar(mapped, ax=ax, location="right" if upright else "bottom", shrink=0.5, aspect=14, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2, width=0.5, labelsize=sheet.text - 1)
    bar.ax.locator_params(nbins=4)
    bar.set_label(title, fontsize=sheet.text)


def streams(ax: Axes, field: Field, view: View) -> None:
    """Streamlines as tapered bands that swell towards their head; vectors, not pixels."""
    side = max(view[1] - view[0], view[3] - view[2])
    bands, heads = [], []
    for line in streamlines(field.x, field.y, field.vx, field.vy, field.weight, SEPARATION):
        strength = strength_of(line)
        along = np.gradient(line.xy, axis=0)
        normal = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.hypot(*along.T), 1e-12)[:, None]
        half = normal * (0.5 * THICKEST * side * (0.1 + 0.9 * strength))[:, None]
        bands.append(np.concatenate([line.xy + half, (line.xy - half)[::-1]]))
        at = int(HEAD_AT * (len(line.xy) - 1))
        way = line.xy[at + 1] - line.xy[at - 1]
        heads.append(_head(line.xy[at], way, ARROW_HEAD * side * (0.35 + 0.65 * strength[at])))
    ax.add_collection(PolyCollection(bands, facecolors=INK, alpha=0.75, linewidths=0, zorder=3), autolim=False)
    ax.add_collection(PolyCollection(heads, facecolors=INK, alpha=0.9, linewidths=0, zorder=3.1), autolim=False)


def _head(at: np.ndarray, way: np.ndarray, length: float) -> np.ndarray:
    """A triangle (3, 2) at a point that looks along ``way``."""
    ahead = way / max(float(np.hypot(*way)), 1e-12)
    side = np.array([-ahead[1], ahead[0]])
    return at + length * np.array([ahead, -0.4 * ahead + 0.55 * side, -0.4 * ahead - 0.55 * side])


def arrows(ax: Axes, points: np.ndarray, vectors: np.ndarray, view: View) -> None:
    """An arrow at each of the points, of which the longest is a sixteenth of the view long."""
    side = max(view[1] - view[0], view[3] - view[2])
    found = arrow_columns(points, vectors, side / 16)
    lines, heads = found["lines"], found["heads"]
    shafts = np.stack([np.column_stack([lines["x0"], lines["y0"]]), np.column_stack([lines["x1"], lines["y1"]])], 1)
    ax.add_collection(LineCollection(shafts, colors=INK, linewidths=0.6, alpha=0.85, zorder=3), autolim=False)
    angle = np.asarray(heads["angle"]) + np.pi / 2
    tips = [_head(tip, np.array([np.cos(a), np.sin(a)]), 0.6 * ARROW_HEAD * side)
            for tip, a in zip(np.column_stack([heads["x"], heads["y"]]), angle, strict=True)]  # fmt: skip
    ax.add_collection(PolyCollection(tips, facecolors=INK, alpha=0.85, linewidths=0, zorder=3.1), autolim=False)


def growth_map(ax: Axes, field: Field, limit: float) -> None:
    """Growth as a smooth map, clear where there are no cells."""
    image = growth_columns(field.x, field.y, field.growth, field.weight, limit)["image"]
    pixels = np.ascontiguousarray(image["image"][0]).view(np.uint8).reshape(*image["image"][0].shape, 4)
    (x,), (y,), (dw,), (dh,) = (image[name] for name in ("x", "y", "dw", "dh"))
    ax.imshow(pixels, extent=(x, x + dw, y, y + dh), origin="lower", interpolation="bilinear", zorder=1, aspect="equal")


def growth_scale(figure: Figure, ax: Axes, limit: float, unit: str, sheet: Sheet) -> None:
    """The scale of the growth map."""
    if sheet.legend != "none":
        scale(figure, ax, growth_colours(), (-limit, limit), f"growth, doublings per {unit}", sheet)


def ribbons(ax: Axes, found: Mapping[str, Columns]) -> None:
    """Bands as wide as they carry mass, and fine threads, as :func:`cellstream.traces.ribbon_columns` finds them."""
    threads, bands = found["threads"], found["ribbons"]
    ways = [np.column_stack(way) for way in zip(threads["xs"], threads["ys"], strict=True)]
    ax.add_collection(
        LineCollection(ways, colors=list(threads["colour"]), linewidths=0.4, alpha=0.4, zorder=1.4), autolim=False
    )
    rims = [np.column_stack(rim) for rim in zip(bands["xs"], bands["ys"], strict=True)]
    ax.add_collection(
        PolyCollection(rims, facecolors=list(bands["colour"]), edgecolors=list(bands["colour"]), linewidths=0.6,
                       alpha=0.45, zorder=1.5),
        autolim=False,
    )  # fmt: skip

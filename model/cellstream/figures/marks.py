"""Marks on the axes of a figure: cells, streamlines, arrows, the growth map, ribbons; of what the screen shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection

from cellstream.colours import MISSING, STILL, Categories, Values
from cellstream.fields import Field
from cellstream.figures.page import Page, Rect
from cellstream.figures.paper import INK, POINT
from cellstream.streamlines import Streamline, streamlines
from cellstream.traces import HEAD_AT, Columns, growth_columns, strength_of

ALPHA = 0.85
"""Opacity of a cell."""
UNLIT = 0.15
"""Opacity of cells that are not among those shown."""
TURNS = 12
"""Parts in which the categories are drawn by turns, so that none hides the others."""
SHADES = 128
"""Different colours of numbers."""
SEPARATION = 0.045
"""Of the streamlines, in units of the longer side."""
THICKEST = 0.0055
"""Of a streamline, in units of the longer side of the view."""
FINE = 75.0
"""Millimetres of the plane's width from which on streamlines become no thicker."""
ARROW_HEAD = 0.016
"""Length of an arrow head of a streamline, in the same unit."""
ARROWS_ACROSS = 24
"""Places along the longer side of the plane, each of which has one arrow, of the length of a place at most."""
COVERED = 0.01
"""Cover of a field from which on it is seen."""
COMPASS = 9.0
"""Length of the arrows that name the axes, in millimetres at a text of seven points."""

View = tuple[float, float, float, float]
"""x0, x1, y0, y1."""


def cell_size(n: int, width: float) -> float:
    """Diameter in points of each of ``n`` cells on axes that are ``width`` millimetres wide."""
    return float(np.clip((2.5 + 150 / np.sqrt(max(n, 1))) * width / 300, 0.15, 6.0))


def plane(page: Page, rect: Rect, view: View) -> Axes:
    """Axes that show the plane of an embedding in the middle of a rectangle: equal scale, no ticks, no lines."""
    left, bottom, width, height = rect
    scale = min(width / (view[1] - view[0]), height / (view[3] - view[2]))
    wide, tall = scale * (view[1] - view[0]), scale * (view[3] - view[2])
    ax = page.axes((left + (width - wide) / 2, bottom + (height - tall) / 2, wide, tall))
    ax.set_xlim(view[:2])
    ax.set_ylim(view[2:])
    ax.set_axis_off()
    ax.set_in_layout(False)
    return ax


def compass_room(page: Page) -> float:
    """Millimetres that the names of the axes take to the left of the plane and below it."""
    return 1.5 * page.sheet.text * POINT


def compass(page: Page, ax: Axes, names: tuple[str, str], ink: str = INK) -> None:
    """Two short arrows in the corner that name the axes of the plane."""
    text = page.sheet.text
    box = ax.get_position()
    wide, tall = box.width * page.sheet.width, box.height * page.height
    length = min(COMPASS * text / 7, 0.4 * wide, 0.4 * tall)
    for tip in ((length / wide, 0.0), (0.0, length / tall)):
        ax.annotate(
            "", tip, (0.0, 0.0), xycoords="axes fraction", textcoords="axes fraction", annotation_clip=False,
            arrowprops=dict(
                arrowstyle="-|>", color=ink, linewidth=0.6, shrinkA=0, shrinkB=0, mutation_scale=0.7 * text
            ),
        )  # fmt: skip
    for name, offset, ha, va, turned in (
        (names[0], (0, -2), "left", "top", 0),
        (names[1], (-2, 0), "right", "bottom", 90),
    ):
        ax.annotate(
            name, (0.0, 0.0), offset, xycoords="axes fraction", textcoords="offset points", annotation_clip=False,
            fontsize=text, ha=ha, va=va, rotation=turned,
        )  # fmt: skip


def cells(
    ax: Axes,
    points: np.ndarray,
    colour: Categories | Values,
    size: float,
    alpha: float = ALPHA,
    lit: np.ndarray | None = None,
) -> None:
    """Cells (n, 2) as dots of ``size`` points, in pixels also where the rest of the file is not.

    High numbers lie on top; kinds of cells by turns, in random but fixed order; cells without either lie below. Those
    that are not ``lit`` (n,) lie below all others, and are faint.
    """
    if lit is not None:
        cells(ax, points[~lit], colour.only(~lit), size, UNLIT)
        points, colour = points[lit], colour.only(lit)
    for chosen, shade in _in_turn(colour):
        _dots(ax, points[chosen], shade, size, alpha)


def behind(ax: Axes, points: np.ndarray, size: float, alpha: float) -> None:
    """Cells (n, 2) in grey, behind those in colours."""
    _dots(ax, points, STILL, size, alpha, 1.5)


def _dots(ax: Axes, points: np.ndarray, colour: str, size: float, alpha: float, zorder: float = 2.0) -> None:
    ax.plot(
        *points.T, linestyle="none", marker="o", markersize=size, markeredgewidth=0, color=colour, alpha=alpha,
        rasterized=True, zorder=zorder,
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
        lots = [order[a:b] for a, b in pairwise(starts)]
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


def traced(field: Field) -> list[Streamline]:
    """The streamlines of a field."""
    return list(streamlines(field.x, field.y, field.vx, field.vy, field.weight, SEPARATION))


def streams(ax: Axes, lines: Iterable[Streamline], view: View) -> None:
    """Streamlines as tapered bands that swell towards their head; vectors, not pixels."""
    wide = ax.get_window_extent().width / ax.figure.dpi * 25.4
    bands, heads = stream_shapes(lines, view, min(1.0, FINE / wide))
    ax.add_collection(PolyCollection(bands, facecolors=INK, alpha=0.75, linewidths=0, zorder=3), autolim=False)
    ax.add_collection(PolyCollection(heads, facecolors=INK, alpha=0.9, linewidths=0, zorder=3.1), autolim=False)


def stream_shapes(
    lines: Iterable[Streamline], view: View, finer: float = 1.0
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The bands (k, 2) of the streamlines, and a head (3, 2) on each; both ``finer`` by this factor."""
    side = finer * max(view[1] - view[0], view[3] - view[2])
    bands, heads = [], []
    for line in lines:
        strength = strength_of(line)
        along = np.gradient(line.xy, axis=0)
        normal = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.hypot(*along.T), 1e-12)[:, None]
        half = normal * (0.5 * THICKEST * side * (0.1 + 0.9 * strength))[:, None]
        bands.append(np.concatenate([line.xy + half, (line.xy - half)[::-1]]))
        at = int(HEAD_AT * (len(line.xy) - 1))
        way = line.xy[at + 1] - line.xy[at - 1]
        heads.append(_head(line.xy[at], way, ARROW_HEAD * side * (0.35 + 0.65 * strength[at])))
    return bands, heads


def _head(at: np.ndarray, way: np.ndarray, length: float) -> np.ndarray:
    """A triangle (3, 2) at a point that looks along ``way``."""
    ahead = way / max(float(np.hypot(*way)), 1e-12)
    side = np.array([-ahead[1], ahead[0]])
    return at + length * np.array([ahead, -0.4 * ahead + 0.55 * side, -0.4 * ahead - 0.55 * side])


def covered(field: Field) -> np.ndarray:
    """Places of the grid at which there is something to see (n, 2)."""
    rows, columns = np.nonzero(field.weight > COVERED)
    return np.column_stack([field.x[columns], field.y[rows]])


def some_arrows(points: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One cell of each place (k, 2), always the same, and its vector (k, 2), in a length that can be drawn."""
    side = float(np.ptp(points, axis=0).max()) or 1.0
    order = np.random.default_rng(0).permutation(len(points))
    place = np.floor((points[order] - points.min(0)) / side * ARROWS_ACROSS).astype(int)
    chosen = order[np.unique(place, axis=0, return_index=True)[1]]
    longest = float(np.hypot(*vectors[chosen].T).max()) or 1.0
    return points[chosen], vectors[chosen] * (side / ARROWS_ACROSS / longest)


def arrows(ax: Axes, points: np.ndarray, vectors: np.ndarray, view: View) -> None:
    """An arrow from each of the points (n, 2) along its vector (n, 2)."""
    side = max(view[1] - view[0], view[3] - view[2])
    moving = np.hypot(*vectors.T) > 0
    points, vectors = points[moving], vectors[moving]
    shafts = np.stack([points, points + vectors], 1)
    ax.add_collection(LineCollection(list(shafts), colors=INK, linewidths=0.5, alpha=0.85, zorder=3), autolim=False)
    tips = [_head(tip, way, 0.5 * ARROW_HEAD * side) for tip, way in zip(points + vectors, vectors, strict=True)]
    ax.add_collection(PolyCollection(tips, facecolors=INK, alpha=0.85, linewidths=0, zorder=3.1), autolim=False)


def growth_map(ax: Axes, field: Field, limit: float) -> None:
    """Growth as a smooth map, clear where there are no cells."""
    image = growth_columns(field.x, field.y, field.growth, field.weight, limit)["image"]
    pixels = np.ascontiguousarray(image["image"][0]).view(np.uint8).reshape(*image["image"][0].shape, 4)
    (x,), (y,), (dw,), (dh,) = (image[name] for name in ("x", "y", "dw", "dh"))
    ax.imshow(
        pixels,
        extent=(x, x + dw, y, y + dh),
        origin="lower",
        interpolation="bilinear",
        zorder=1,
        aspect="auto",
        rasterized=True,
    )  # one image with the cells


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

"""Pictures in the plane of the embedding: arrays in, HoloViews elements out; datashader works inside.

All elements have the key dimensions ``x`` and ``y``, so they lie over one another with ``*``: growth below, then the
embedding, which carries the axes, then streamlines or arrows. Shading happens on the server, so the browser gets
pixels, never a million points; up to ``SHADE_ABOVE`` cells are real dots, sharp at any zoom, that tell their cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, reduce
from typing import Any

import datashader as ds
import datashader.transfer_functions as tf
import holoviews as hv
import numpy as np
import pandas as pd
from bokeh.models import CustomJS
from bokeh.plotting import figure as Figure
from datashader.colors import rgb as channels
from xarray import DataArray

from cellstream.colours import MISSING, Categories, Values
from cellstream_app.style import quiet

SHADE_ABOVE = 20_000  # cells; up to here dots are drawn by the browser
SINGLE_PIXELS_ABOVE = 250_000  # cells; up to here a shaded cell is three pixels wide
SIZE = (900, 640)  # pixels of a picture before the browser tells its own
MARGIN = 0.06  # empty share around the cells
UNLIT = 0.13  # opacity of cells beside those that are lit, as a share of theirs

View = tuple[float, float, float, float]  # x0, x1, y0, y1


@dataclass(frozen=True, eq=False)
class Cells:
    """What an embedding shows: ``points (n, 2)``, how they are coloured, and what the pointer reads for each (n,).

    Where some are ``lit (n,)``, the others are faint. ``title`` says what the colour stands for.
    """

    points: np.ndarray
    colour: Categories | Values
    labels: Sequence[str] | None = None
    alpha: float = 0.85
    lit: np.ndarray | None = None
    title: str = ""

    @cached_property
    def table(self) -> pd.DataFrame:
        """Columns x, y, colour, as datashader reads them where the colour is a number; made once, however often the
        view moves."""
        assert isinstance(self.colour, Values)
        shade = self.colour.values.astype(np.float32)
        return pd.DataFrame({"x": self.points[:, 0], "y": self.points[:, 1], "colour": shade})

    @cached_property
    def layers(self) -> tuple[Cells, ...]:
        """What is drawn one over the other: the faint cells and the lit ones, or all."""
        if self.lit is None:
            return (self,)
        parts = ((~self.lit, self.alpha * UNLIT), (self.lit, self.alpha))
        return tuple(Cells(self.points[of], self.colour.only(of), alpha=alpha) for of, alpha in parts)


def view_of(points: np.ndarray, size: tuple[int, int] = SIZE, margin: float = MARGIN) -> View:
    """The smallest view with a margin that holds all points at equal scale on both axes for a picture of ``size``."""
    x, y = points.T  # a column at a time: along rows of two, NumPy takes ten times as long
    finite = np.isfinite(x) & np.isfinite(y)
    ends = [(axis[finite].min(), axis[finite].max()) for axis in (x, y)] if finite.any() else [(-1, 1), (-1, 1)]
    low, high = np.array(ends, np.float64).T
    half = np.maximum((high - low) / 2, 1e-9) * (1 + 2 * margin)
    scale = max(half[0] / size[0], half[1] / size[1])
    (cx, cy), hx, hy = (low + high) / 2, scale * size[0], scale * size[1]
    return float(cx - hx), float(cx + hx), float(cy - hy), float(cy + hy)


def dot_size(n: int) -> float:
    """Diameter in pixels of a cell's dot where there are ``n`` cells."""
    return float(np.clip(2.5 + 150 / np.sqrt(max(n, 1)), 3.0, 9.0))


# ---------------------------------------------------------------------------------------------------- the embedding


def embedding(
    cells: Cells, *, view: View | None = None, size: tuple[int, int] = SIZE, home: View | None = None
) -> hv.Overlay:
    """The cells in the plane: a shaded image where there are many, dots that can be hovered where there are few.

    Always an overlay of one image and one set of points, one of them empty, so that it can stand in a ``DynamicMap``.
    ``view`` is what the image covers, ``size`` its pixels, ``home`` the view at the start and after a reset.
    """
    home = home or view_of(cells.points, size)
    many = len(cells.points) > SHADE_ABOVE
    image = (
        rgb(shaded(cells, view or home, size, int(len(cells.points) < SINGLE_PIXELS_ABOVE)), view or home)
        if many
        else rgb(np.zeros((2, 2, 4), np.uint8), home)
    )
    dots = _dots(cells if not many else Cells(np.empty((0, 2)), Values(np.empty(0))))
    # options of elements, not of the overlay: they hold in a larger overlay too
    # `active_tools` are set anew with all data: were the moving one among them, whoever draws a lasso would lose it
    plane = dict(
        xlim=home[:2], ylim=home[2:], xaxis=None, yaxis=None, responsive=True, toolbar="right", show_legend=False,
        show_frame=False, default_tools=["pan", "wheel_zoom", "reset"], active_tools=["wheel_zoom"],
        hooks=[plane_hook(home)],
    )  # fmt: skip
    return image.opts(**plane) * dots.opts(**plane)


def embedding_map(pipe: hv.streams.Pipe, home: View, pixel_ratio: float = 1.0) -> hv.DynamicMap:
    """The embedding of the ``Cells`` last sent to ``pipe``, shaded anew when the user moves or resizes the view.

    The view survives new data: send as often as there is something new. ``pixel_ratio`` sharpens the image on screens
    whose pixels are finer than those of the style sheet.
    """
    shown: dict = {}

    def draw(data: Cells, x_range=None, y_range=None, width=None, height=None, scale=None) -> hv.Overlay:
        view = (*(x_range or home[:2]), *(y_range or home[2:]))
        size = (int((width or SIZE[0]) * pixel_ratio), int((height or SIZE[1]) * pixel_ratio))
        # the same element again is not sent to the browser again
        state = (data, view, size) if len(data.points) > SHADE_ABOVE else (data,)
        if shown.get("state") != state:
            shown.update(state=state, element=embedding(data, view=view, size=size, home=home))
        return shown["element"]

    return hv.DynamicMap(draw, streams=[pipe, hv.streams.RangeXY(), hv.streams.PlotSize()])


@cache
def warm_up() -> None:
    """Compile what shading needs, once; some seconds. Call it in a thread, or before anybody waits."""
    points = np.zeros((2, 2), np.float32)
    for colour in (Categories(np.zeros(2, int), ["a"], ["#000000"]), Values(np.zeros(2, np.float32))):
        for spread in (0, 1):
            shaded(Cells(points, colour), (-1.0, 1.0, -1.0, 1.0), (32, 32), spread)


def shaded(cells: Cells, view: View, size: tuple[int, int], spread: int) -> np.ndarray:
    """Cells as pixels: counts per category blended by their share, or the mean value; more cells, more opaque.

    Returns bytes ``(height, width, 4)``, top row first.
    """
    size = max(size[0], 2), max(size[1], 2)
    lowest, *others = (_shaded(layer, view, size, spread) for layer in cells.layers)
    return reduce(_over, others, lowest)


def _over(below: np.ndarray, top: np.ndarray) -> np.ndarray:
    """One picture over another: bytes ``(height, width, 4)``, colours not multiplied by opacity."""
    a, b = top[..., 3:] / 255, below[..., 3:] / 255
    opacity = a + b * (1 - a)
    colour = (top[..., :3] * a + below[..., :3] * b * (1 - a)) / np.maximum(opacity, 1e-9)
    return np.round(np.concatenate([colour, 255 * opacity], -1)).astype(np.uint8)


def _shaded(cells: Cells, view: View, size: tuple[int, int], spread: int) -> np.ndarray:
    colour = cells.colour
    if isinstance(colour, Categories):
        image = _mixed(cells.points, colour, view, size)
    else:
        means = ds.Canvas(*size, x_range=view[:2], y_range=view[2:]).points(cells.table, "x", "y", ds.mean("colour"))
        image = tf.shade(means, cmap=list(colour.palette), how="linear", span=colour.span())
    image = tf.spread(image, px=spread, how="over") if spread else tf.dynspread(image, threshold=0.6, max_px=2)
    pixels = np.ascontiguousarray(image.values).view(np.uint8).reshape(*image.shape, 4)[::-1].copy()
    pixels[..., 3] = np.round(pixels[..., 3] * cells.alpha)
    return pixels


def _mixed(points: np.ndarray, colour: Categories, view: View, size: tuple[int, int]) -> tf.Image:
    """Colours of the cells in each pixel, mixed; the more cells the more opaque.

    The picture is that of datashader's ``by`` and ``tf.shade(…, color_key=…)``. Those compile anew for each number of
    categories, half a second while nothing else moves, and pass over all pixels and categories some twenty times.
    """
    (x0, x1, y0, y1), (width, height) = view, size
    x, y = points.astype(np.float64).T
    inside = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    column = np.minimum((x[inside] - x0) * (width / (x1 - x0)), width - 1).astype(np.int64)
    row = np.minimum((y[inside] - y0) * (height / (y1 - y0)), height - 1).astype(np.int64)
    pixel = row * width + column
    total = np.bincount(pixel, minlength=width * height)
    image = tf.shade(
        DataArray(total.reshape(height, width).astype(np.uint32), dims=("y", "x")),
        cmap="#000000", how="eq_hist", min_alpha=140,
    )  # fmt: skip
    filled, shades = np.flatnonzero(total), np.array([channels(name) for name in [*colour.colours, MISSING]])
    own = shades[np.asarray(colour.codes)[inside]]  # code -1, none, is the last one
    pixels = image.values.view(np.uint8).reshape(-1, 4)
    for channel in range(3):
        pixels[filled, channel] = np.bincount(pixel, own[:, channel], width * height)[filled] // total[filled]
    return image


def rgb(pixels: np.ndarray, view: View) -> hv.RGB:
    """Bytes ``(rows, columns, 4)``, top row first, as an image over ``view``."""
    x0, x1, y0, y1 = view
    return hv.RGB(pixels, ["x", "y"], vdims=[*"RGB", "A"], bounds=(x0, y0, x1, y1))


def _dots(cells: Cells) -> hv.Points:
    """Cells as dots: high values on top; categories in random order, so that none hides the others, on those below."""
    n, colour = len(cells.points), cells.colour
    if isinstance(colour, Categories):
        value = np.where(np.asarray(colour.codes) < 0, np.nan, colour.codes).astype(np.float32)
        order = np.random.default_rng(0).permutation(n)
        order = order[np.argsort(~colour.first[order], kind="stable")]
        palette, limits = list(colour.colours) or [MISSING], (-0.5, max(len(colour.colours), 1) - 0.5)
        read = [colour.names[c] if c >= 0 else "–" for c in colour.codes]
    else:
        value, palette, limits = np.asarray(colour.values, np.float32), list(colour.palette), colour.span()
        order = np.argsort(np.where(np.isfinite(value), value, -np.inf), kind="stable")
        read = [f"{v:.4g}" for v in value]
    if cells.title:
        read = [f"{cells.title} {word}" for word in read]
    lit = cells.lit if cells.lit is not None else np.ones(n, bool)
    order = order[np.argsort(lit[order], kind="stable")]
    labels = cells.labels if cells.labels is not None else [""] * n
    data = {
        "x": cells.points[order, 0], "y": cells.points[order, 1], "value": value[order], "cell": order,
        "label": np.array(labels, dtype=object)[order], "read": np.array(read, dtype=object)[order],
        "alpha": cells.alpha * np.where(lit[order], 1, UNLIT).astype(np.float32),
    }  # fmt: skip
    return hv.Points(data, ["x", "y"], ["value", "cell", "label", "read", "alpha"]).opts(
        color="value", cmap=palette, clim=limits, clipping_colors={"NaN": MISSING}, size=dot_size(n), line_color=None,
        fill_alpha="alpha", colorbar=False, tools=["hover"] if n else [],
        hover_tooltips=[("cell", "@label"), ("", "@read")] if cells.labels is not None else [("", "@read")],
    )  # fmt: skip


def scrolled_past(plot: Any, element: Any) -> None:
    """A hook for a figure on a page that scrolls: so does the wheel over it, until the wheel's tool is chosen."""
    plot.state.toolbar.active_scroll = None


def plane_hook(home: View) -> Callable:
    """A hook for a figure that shows the plane: transparent, quiet, and at equal scale on both axes at any size."""

    def hook(plot: object, element: object) -> None:
        make_plane(plot.handles["plot"], home)

    return hook


def make_plane(figure: Figure, home: View) -> None:
    """Make a figure show the plane, as :func:`plane_hook` says."""
    quiet(figure)
    if "plane" in figure.tags:  # another layer of the same figure was here
        return
    figure.tags.append("plane")
    figure.min_border = 0
    figure.toolbar_inner = True
    for axis, (low, high) in ((figure.x_range, home[:2]), (figure.y_range, home[2:])):
        axis.reset_start, axis.reset_end = low, high
    keep = CustomJS(args=dict(figure=figure, home=list(home)), code=KEEP_SCALE)
    figure.js_on_change("inner_width", keep)
    figure.js_on_change("inner_height", keep)
    figure.js_on_event("reset", keep)
    figure.js_on_change("inner_width", CustomJS(args=dict(figure=figure), code=MANNERS))


def show_first(figure: Figure, view: View) -> None:
    """Let a new figure of the plane show this part of it until somebody moves."""
    figure.tags.append(list(view))
    figure.x_range.update(start=view[0], end=view[1])
    figure.y_range.update(start=view[2], end=view[3])


# What is wanted in view is the home view, or the one that is to be shown first, until the user moves; then the user's.
# A frame of any shape shows all of it at equal scale. From what the last shape showed nothing is concluded: the view
# would grow from one to the next.
KEEP_SCALE = """
const w = figure.inner_width, h = figure.inner_height, xr = figure.x_range, yr = figure.y_range
if (!(w > 0 && h > 0)) return
const now = [xr.start, xr.end, yr.start, yr.end]
const ours = figure.view_shown?.every((v, i) => Math.abs(v - now[i]) <= 1e-9 * (Math.abs(v) + Math.abs(now[i])))
const first = figure.tags.find(Array.isArray) ?? home
if (!ours) figure.view_wanted = figure.view_shown ? now : first
const [x0, x1, y0, y1] = figure.view_wanted
const scale = Math.max(Math.abs(x1 - x0) / w, Math.abs(y1 - y0) / h)
const cx = (x0 + x1) / 2, cy = (y0 + y1) / 2
figure.view_shown = [cx - scale * w / 2, cx + scale * w / 2, cy - scale * h / 2, cy + scale * h / 2]
xr.setv({start: figure.view_shown[0], end: figure.view_shown[1]})
yr.setv({start: figure.view_shown[2], end: figure.view_shown[3]})
"""

# Bokeh draws a dotted frame around a figure that was clicked, which only who moves by the keyboard needs; and it
# forgets a drag that ends beyond the figure, or over what lies on it
MANNERS = """
const canvas = Bokeh.index?.find_one_by_id?.(figure.id)?.canvas_view, root = canvas?.shadow_el
if (!root || root.querySelector(".plane")) return
canvas.events_el.addEventListener("pointerdown", event => canvas.events_el.setPointerCapture(event.pointerId))
const style = document.createElement("style")
style.className = "plane"
style.textContent = ".bk-events.bk-events:focus:not(:focus-visible) { outline: none }"
root.append(style)
"""

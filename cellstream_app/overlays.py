"""What lies over the cells of an embedding: streamlines, arrows, the growth map. Arrays in, HoloViews elements out."""

from __future__ import annotations

from collections.abc import Sequence

import holoviews as hv
import numpy as np
from holoviews import dim
from scipy.ndimage import zoom

from cellstream_app.plots import rgb
from cellstream_app.streamlines import streamlines as trace_streamlines
from cellstream_app.style import Theme, colour_array, growth_palette

HEAD_AT = 0.72  # where on a streamline its arrow head sits
GROWTH_PIXELS = 280  # of the smoothed growth map, on its longer side


def streamlines(
    grid_x: np.ndarray,
    grid_y: np.ndarray,
    vx: np.ndarray,
    vy: np.ndarray,
    weight: np.ndarray,
    theme: Theme,
    separation: float = 0.035,
) -> hv.Overlay:
    """Evenly spaced streamlines that swell towards their head and fade where there are no cells.

    ``vx``, ``vy`` and ``weight`` (0..1, where there are cells) have the shape ``(len(grid_y), len(grid_x))``.
    """
    table, heads = stream_rows(grid_x, grid_y, vx, vy, weight, separation)
    # columns of short segments: a path whose strength varies would be split in Python, line by line
    halo, lines = (hv.Segments(table, ["x", "y", "x1", "y1"], ["alpha", "width"]) for _ in range(2))
    halo = halo.opts(color=theme.background, line_alpha=0.4 * dim("alpha"), line_width=dim("width") + 2)
    lines = lines.opts(color=theme.ink, line_alpha="alpha", line_width="width")
    return halo * lines * _heads(heads, theme.ink, 8)


def stream_rows(
    grid_x: np.ndarray, grid_y: np.ndarray, vx: np.ndarray, vy: np.ndarray, weight: np.ndarray, separation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Streamlines as short segments, rows of x0, y0, x1, y1, opacity, width; and their heads.

    Heads are rows of x, y, angle in radians from the x axis, opacity.
    """
    pieces, heads = [np.empty((0, 6))], []
    for line in trace_streamlines(grid_x, grid_y, vx, vy, weight, separation):
        along = np.linspace(0, 1, len(line.xy))
        swell = np.minimum(1, along / 0.6) * np.minimum(1, 0.3 + (1 - along) / 0.15)
        strength = np.sqrt(line.weight) * (0.12 + 0.88 * swell)
        s = (strength[1:] + strength[:-1]) / 2
        pieces.append(np.column_stack([line.xy[:-1], line.xy[1:], 0.9 * s, 0.5 + 1.3 * s]))
        head = int(HEAD_AT * (len(along) - 1))
        dx, dy = line.xy[head + 1] - line.xy[head - 1]
        heads.append((*line.xy[head], np.arctan2(dy, dx), strength[head]))
    return np.concatenate(pieces), np.array(heads, dtype=float).reshape(-1, 4)


def arrows(points: np.ndarray, vectors: np.ndarray, theme: Theme, longest: float) -> hv.Overlay:
    """An arrow at each of ``points (n, 2)`` along ``vectors (n, 2)``; the longest is ``longest`` data units long."""
    length = np.hypot(*vectors.T)
    ends = points + vectors * (longest / (np.nanmax(length, initial=0) or 1.0))
    shown = np.isfinite(ends).all(axis=1) & (length > 0)
    start, end = points[shown], ends[shown]
    angle = np.arctan2(*(end - start).T[::-1])
    shafts = hv.Segments((*start.T, *end.T), ["x", "y", "x1", "y1"]).opts(color=theme.ink, alpha=0.8, line_width=1.3)
    return shafts * _heads(np.column_stack([end, angle, np.full(len(end), 0.9)]), theme.ink, 6)


def _heads(rows: Sequence, colour: str, size: float) -> hv.Points:
    """Arrow heads: rows of x, y, angle in radians from the x axis, opacity."""
    table = np.array(rows, dtype=float).reshape(-1, 4)
    table[:, 2] = np.rad2deg(table[:, 2]) - 90  # the marker points upwards
    return hv.Points(table, ["x", "y"], ["angle", "alpha"]).opts(
        marker="triangle", angle="angle", size=size, color=colour, fill_alpha="alpha", line_color=None
    )


def growth_map(
    grid_x: np.ndarray, grid_y: np.ndarray, growth: np.ndarray, weight: np.ndarray, limit: float, strength: float = 0.75
) -> hv.RGB:
    """Growth on the grid, smooth, diverging about zero and transparent where there are no cells.

    ``growth`` and ``weight`` (0..1) have the shape ``(len(grid_y), len(grid_x))``; colours end at ``±limit``. The
    colour bar is the page's: ``style.colour_bar_html(style.growth_palette(), (-limit, limit), label)``.
    """
    finite = np.isfinite(growth)
    factor = max(1.0, GROWTH_PIXELS / max(growth.shape))
    value = zoom(np.where(finite, growth, 0.0), factor, order=1)
    cover = zoom(np.where(finite, np.clip(weight, 0, 1), 0.0), factor, order=1)
    palette = colour_array(growth_palette())
    place = np.clip((value / limit + 1) / 2, 0, 1) * (len(palette) - 1)
    pixels = palette[np.round(place).astype(int)][::-1].copy()
    pixels[..., 3] = np.round(pixels[..., 3] * strength * np.sqrt(np.clip(cover, 0, 1))[::-1])
    hx, hy = (grid_x[1] - grid_x[0]) / 2, (grid_y[1] - grid_y[0]) / 2
    return rgb(pixels, (grid_x[0] - hx, grid_x[-1] + hx, grid_y[0] - hy, grid_y[-1] + hy))

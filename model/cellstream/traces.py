"""What lies over the cells of an embedding, as arrays: streamlines, arrows, the growth map, ribbons.

The screen's layers and the figures on paper are drawn from the same columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.ndimage import gaussian_filter1d, zoom

from cellstream.colours import colour_array, growth_palette
from cellstream.streamlines import Streamline
from cellstream.streamlines import streamlines as trace_streamlines

HEAD_AT = 0.72  # where on a streamline its arrow head sits
GROWTH_PIXELS = 280  # of the smoothed growth map, on its longer side
HALO = 2.0  # pixels by which the halo of a line is wider than the line
SHAFT = (0.8, 1.3)  # opacity and width in pixels of an arrow's shaft
TRACE = 0.01  # share of all mass below which a ribbon would be a hair
SMOOTHED = 1.0  # frames over which a ribbon's middle is smoothed
THREADS = 90  # paths of single particles beneath the ribbons

Columns = dict[str, np.ndarray | list]
LINE = ("x0", "y0", "x1", "y1", "alpha", "width")
HEAD = ("x", "y", "angle", "alpha")
IMAGE = ("image", "x", "y", "dw", "dh")


def strength_of(line: Streamline) -> np.ndarray:
    """How strongly a streamline is drawn along its way (k,), 0..1: it swells to its head, and fades without cells."""
    along = np.linspace(0, 1, len(line.xy))
    swell = np.minimum(1, along / 0.6) * np.minimum(1, 0.3 + (1 - along) / 0.15)
    return np.sqrt(line.weight) * (0.12 + 0.88 * swell)


def stream_columns(
    grid_x: np.ndarray,
    grid_y: np.ndarray,
    vx: np.ndarray,
    vy: np.ndarray,
    weight: np.ndarray,
    separation: float = 0.035,
) -> dict[str, Columns]:
    """Evenly spaced streamlines that swell towards their head and fade where there are no cells.

    ``vx``, ``vy`` and ``weight`` (0..1, where there are cells) have the shape ``(len(grid_y), len(grid_x))``;
    ``separation`` is in units of the longer side.
    """
    pieces, heads = [np.empty((0, 6))], []
    for line in trace_streamlines(grid_x, grid_y, vx, vy, weight, separation):
        strength = strength_of(line)
        s = (strength[1:] + strength[:-1]) / 2
        pieces.append(np.column_stack([line.xy[:-1], line.xy[1:], 0.9 * s, 0.5 + 1.3 * s]))
        head = int(HEAD_AT * (len(line.xy) - 1))
        dx, dy = line.xy[head + 1] - line.xy[head - 1]
        heads.append((*line.xy[head], np.arctan2(dy, dx), strength[head]))
    return _lines(np.concatenate(pieces), np.array(heads, dtype=float).reshape(-1, 4))


def arrow_columns(points: np.ndarray, vectors: np.ndarray, longest: float) -> dict[str, Columns]:
    """An arrow at each of ``points (n, 2)`` along ``vectors (n, 2)``.

    The longest is ``longest`` data units long.
    """
    length = np.hypot(*vectors.T)
    ends = points + vectors * (longest / (np.nanmax(length, initial=0) or 1.0))
    shown = np.isfinite(ends).all(axis=1) & (length > 0)
    start, end = points[shown], ends[shown]
    angle = np.arctan2(*(end - start).T[::-1])
    alpha, width = (np.full(len(end), value) for value in SHAFT)
    return _lines(np.column_stack([start, end, alpha, width]), np.column_stack([end, angle, np.full(len(end), 0.9)]))


def _lines(lines: np.ndarray, heads: np.ndarray) -> dict[str, Columns]:
    """Columns from rows: of lines x0, y0, x1, y1, opacity, width; of heads x, y, angle from the x axis, opacity."""
    lines, heads = lines.astype(np.float32), heads.astype(np.float32)
    heads[:, 2] -= np.pi / 2  # the marker points upwards
    columns: Columns = dict(zip(LINE, lines.T, strict=True))
    columns |= {"halo": lines[:, 5] + np.float32(HALO), "faint": np.float32(0.4) * lines[:, 4]}
    return {"lines": columns, "heads": dict(zip(HEAD, heads.T, strict=True))}


def growth_columns(
    grid_x: np.ndarray, grid_y: np.ndarray, growth: np.ndarray, weight: np.ndarray, limit: float, strength: float = 0.75
) -> dict[str, Columns]:
    """Growth on the grid, smooth, diverging about zero, transparent where there are no cells.

    ``growth`` and ``weight`` (0..1) have the shape ``(len(grid_y), len(grid_x))``; colours end at ``±limit``.
    """
    finite = np.isfinite(growth)
    factor = max(1.0, GROWTH_PIXELS / max(growth.shape))
    # as pixels, each with a width: the picture reaches half a cell of the grid beyond its points
    smooth = partial(zoom, zoom=factor, order=1, mode="nearest", grid_mode=True)
    value, cover = smooth(np.where(finite, growth, 0.0)), smooth(np.where(finite, np.clip(weight, 0, 1), 0.0))
    palette = colour_array(growth_palette())
    place = np.clip((value / limit + 1) / 2, 0, 1) * (len(palette) - 1)
    pixels = palette[np.round(place).astype(int)].copy()
    pixels[..., 3] = np.round(pixels[..., 3] * strength * np.sqrt(np.clip(cover, 0, 1)))
    hx, hy = (grid_x[1] - grid_x[0]) / 2, (grid_y[1] - grid_y[0]) / 2
    return image_columns(pixels, (grid_x[0] - hx, grid_x[-1] + hx, grid_y[0] - hy, grid_y[-1] + hy))


def image_columns(pixels: np.ndarray, view: Sequence[float]) -> dict[str, Columns]:
    """Bytes ``(rows, columns, 4)``, lowest row first, over ``view = (x0, x1, y0, y1)``."""
    x0, x1, y0, y1 = view
    words = np.ascontiguousarray(pixels).view(np.uint32)[..., 0]
    return {"image": dict(image=[words], x=[x0], y=[y0], dw=[x1 - x0], dh=[y1 - y0])}


def ribbon_columns(
    paths: np.ndarray, mass: np.ndarray, groups: np.ndarray, colours: Sequence[str], widest: float
) -> dict[str, Columns]:
    """A ribbon for each group of particles along its centre of mass, and some of their paths.

    ``paths`` (frames, n, 2), ``mass`` (frames, n), ``groups`` (n,) index ``colours``. Widths are in proportion to mass;
    all mass at its largest is ``widest`` wide, in data units. Groups of less than :data:`TRACE` of it are left out.
    """
    most = mass.sum(1).max()
    ribbons: dict[str, list] = {"xs": [], "ys": [], "colour": []}
    for group in np.unique(groups):
        of = groups == group
        weight = mass[:, of]
        total = weight.sum(1)
        if total.max() < TRACE * most:
            continue
        centre = (paths[:, of] * weight[..., None]).sum(1) / total[:, None]
        centre = gaussian_filter1d(centre, SMOOTHED, axis=0, mode="nearest")
        along = np.gradient(centre, axis=0)
        normal = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.hypot(*along.T), 1e-12)[:, None]
        half = normal * (0.5 * widest * total / most)[:, None]
        rim = np.concatenate([centre + half, (centre - half)[::-1]]).astype(np.float32)
        ribbons["xs"].append(rim[:, 0])
        ribbons["ys"].append(rim[:, 1])
        ribbons["colour"].append(colours[group])
    some = np.linspace(0, paths.shape[1] - 1, min(paths.shape[1], THREADS)).round().astype(int)
    lines = paths[:, some].astype(np.float32)
    threads: Columns = {
        "xs": list(lines[..., 0].T), "ys": list(lines[..., 1].T), "colour": [colours[g] for g in groups[some]]
    }  # fmt: skip
    return {"threads": threads, "ribbons": dict(ribbons)}

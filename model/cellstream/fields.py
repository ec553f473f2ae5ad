"""From scattered cells to fields on a grid: where there are cells, and averages of what they carry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

POINTS = 56
"""Points of a grid along its longer side."""
SMOOTH = 1.3
"""Grid cells over which densities and averages are smoothed."""
FULL = 0.35
"""Share of the typical density at which a place counts as fully covered by cells."""
MARGIN = 0.08
"""Room around the cells, as a share of their extent."""
OUTSIDE = 0.2
"""Percent of a group of points that may lie outside of the grid, at each side."""
FADE = 3
"""Grid cells at the rim over which cover fades, so that nothing ends there at a line."""


@dataclass(frozen=True)
class Field:
    """Fields on a grid: ``x`` (nx,), ``y`` (ny,); the others (ny, nx). ``weight`` in 0..1: where cells are."""

    x: np.ndarray
    y: np.ndarray
    vx: np.ndarray
    vy: np.ndarray
    growth: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class Grid:
    """Equidistant coordinates, with the same step along ``x`` (nx,) and ``y`` (ny,)."""

    x: np.ndarray
    y: np.ndarray

    @classmethod
    def around(cls, *groups: np.ndarray) -> Grid:
        """A grid that holds nearly all points (n, 2) of each group, with a margin."""
        ends = np.concatenate([np.percentile(points, [OUTSIDE, 100 - OUTSIDE], axis=0) for points in groups])
        low, high = ends.min(0), ends.max(0)
        room = MARGIN * max((high - low).max(), 1e-9)
        low, high = low - room, high + room
        step = (high - low).max() / (POINTS - 1)
        nx, ny = np.maximum(np.ceil((high - low) / step).astype(int) + 1, 4).tolist()
        return cls(low[0] + step * np.arange(nx), low[1] + step * np.arange(ny))

    @property
    def points(self) -> np.ndarray:
        """Every point of the grid, (ny * nx, 2), row by row."""
        return np.stack(np.meshgrid(self.x, self.y), -1).reshape(-1, 2)

    def density(self, points: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Smoothed weight of ``points`` (n, 2) at each place, (ny, nx)."""
        half = (self.x[1] - self.x[0]) / 2
        edges = [np.append(axis - half, axis[-1] + half) for axis in (self.y, self.x)]
        return gaussian_filter(np.histogram2d(points[:, 1], points[:, 0], bins=edges, weights=weights)[0], SMOOTH)

    def cover(self, points: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Where there are cells: 0 where none, 1 from about a third of the typical density on, (ny, nx)."""
        density = self.density(points, weights)
        typical = np.average(density, weights=density) if density.any() else 1.0
        rim_x, rim_y = (np.clip(np.minimum(k, k[::-1]) / FADE, 0, 1) for k in map(np.arange, density.shape[::-1]))
        return np.clip(density / (FULL * typical), 0, 1) * rim_x * rim_y[:, None]

    def average(self, points: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Local weighted mean of ``values`` (n,), not-a-number far from all points, (ny, nx)."""
        density = self.density(points, weights)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.density(points, values if weights is None else values * weights) / density
        return np.where(density > 1e-3 * density.max(), mean, np.nan)


def leading_axes(z: np.ndarray, index: np.ndarray, pair: tuple[int, int] = (0, 1), most: int = 20_000) -> np.ndarray:
    """A ``pair`` of principal axes (d, 2) of centred ``z`` (n, d); their signs such that time runs right and up.

    ``index`` (n,) are the time points; the axes of more than ``most`` cells are those of some of them.
    """
    some = slice(None, None, max(1, len(z) // most))
    axes = np.linalg.svd(z[some], full_matrices=False)[2][list(pair)].T
    along = (index - index.mean()) @ (z @ axes)
    return axes * np.where(along < 0, -1, 1)

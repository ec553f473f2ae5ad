"""Evenly spaced streamlines of a planar velocity field on a grid, in plain vectorised numpy.

The spacing rule is that of B. Jobard and W. Lefer, "Creating evenly-spaced streamlines of arbitrary density"
(Visualization in Scientific Computing, 1997): a line may begin only where all others are `separation` away, and ends
where it comes nearer than `STOP_NEARER` of it. Here all candidates are integrated at once, then chosen, longest first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEPS_PER_SEPARATION = 4  # integration steps in one separation
CANDIDATES_PER_SEPARATION = 1.6  # candidate starts in one separation
STOP_NEARER = 0.55  # of the separation
SHORTEST = 3.0  # shortest line worth drawing, in separations
LONGEST = 0.75  # longest half of a line, in units of the longer side of the box
FEWEST_CELLS = 0.04  # weight below which a line ends
SLOWEST = 0.02  # a line ends where the speed is below this share of its 95th percentile


@dataclass(frozen=True)
class Streamline:
    """One line from tail to head. ``xy``: points ``(k, 2)``, evenly spaced; ``weight``: ``(k,)`` in 0..1."""

    xy: np.ndarray
    weight: np.ndarray


def streamlines(
    x: np.ndarray, y: np.ndarray, vx: np.ndarray, vy: np.ndarray, weight: np.ndarray, separation: float = 0.035
) -> list[Streamline]:
    """Lines along ``(vx, vy)``, evenly spaced where there are cells.

    ``x`` (nx,) and ``y`` (ny,) are the grid's ascending, equidistant coordinates; ``vx``, ``vy`` and ``weight`` have
    the shape ``(ny, nx)``. ``weight`` in 0..1 says where there are cells; a mask of booleans does, and a smooth density
    lets lines fade out. ``separation`` is in units of the longer side of the grid. Not-a-number counts as no velocity.
    """
    side = max(x[-1] - x[0], y[-1] - y[0])
    origin, cell = np.array([x[0], y[0]]), np.array([x[1] - x[0], y[1] - y[0]])
    finite = np.isfinite(vx) & np.isfinite(vy)
    speed = np.where(finite, np.hypot(vx, vy), 0.0)
    weight = np.where(finite, np.clip(weight, 0, 1), 0.0).astype(float)
    inside = weight > FEWEST_CELLS
    if not inside.any() or not speed[inside].any():
        return []
    slowest = SLOWEST * np.percentile(speed[inside], 95)
    field = np.stack([np.where(finite, vx, 0.0), np.where(finite, vy, 0.0), weight], axis=-1)

    def at(points: np.ndarray) -> np.ndarray:
        return _bilinear(field, points * (side / cell))

    def direction(points: np.ndarray) -> np.ndarray:
        sample = at(points)
        v, length = sample[:, :2], np.hypot(sample[:, 0], sample[:, 1])
        goes_on = (length > slowest) & (sample[:, 2] > FEWEST_CELLS)
        return v * (goes_on / np.maximum(length, 1e-300))[:, None]

    starts = _starts(x, y, side, separation / CANDIDATES_PER_SEPARATION)
    starts = starts[at(starts)[:, 2] > FEWEST_CELLS]
    step = separation / STEPS_PER_SEPARATION
    n_steps = int(LONGEST / step)
    forward, n_forward = _trace(direction, starts, step, n_steps)
    backward, n_backward = _trace(direction, starts, -step, n_steps)

    space = _Space(np.array([x[-1] - x[0], y[-1] - y[0]]) / side, separation)
    lines = []
    for i in np.argsort(-(n_forward + n_backward), kind="stable"):
        if (n_forward[i] + n_backward[i]) * step < SHORTEST * separation:
            break
        if not space.may_begin(starts[i]):
            continue
        ahead, behind = space.free(forward[: n_forward[i] + 1, i]), space.free(backward[: n_backward[i] + 1, i])
        line = _without_returns(ahead, behind, step, STOP_NEARER * separation)
        if (len(line) - 1) * step >= SHORTEST * separation:
            space.take(line)
            lines.append(Streamline(line * side + origin, at(line)[:, 2]))
    return lines


def _starts(x: np.ndarray, y: np.ndarray, side: float, gap: float) -> np.ndarray:
    """A hexagonal lattice over the grid, in units of ``side``, shape ``(n, 2)``."""
    columns, rows = np.arange(0, (x[-1] - x[0]) / side, gap), np.arange(0, (y[-1] - y[0]) / side, gap * 0.866)
    lattice = np.stack(np.meshgrid(columns, rows), axis=-1)
    lattice[1::2, :, 0] += gap / 2
    return lattice.reshape(-1, 2)


def _trace(
    direction: Callable[[np.ndarray], np.ndarray], starts: np.ndarray, step: float, n_steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """The midpoint rule along unit directions, all starts at once.

    Returns positions ``(n_steps + 1, starts, 2)`` and for each start the number of steps before it came to rest.
    """
    path = np.empty((n_steps + 1, len(starts), 2))
    path[0] = starts
    steps, alive = np.zeros(len(starts), dtype=int), np.arange(len(starts))
    for k in range(n_steps):
        z = path[k, alive]
        half = direction(z)
        change = direction(z + step / 2 * half)
        moves = half.any(axis=1) & change.any(axis=1)  # else the step would leave the cells
        alive = alive[moves]
        if not len(alive):
            break
        path[k + 1, alive] = z[moves] + step * change[moves]
        steps[alive] = k + 1
    return path, steps


def _bilinear(field: np.ndarray, at: np.ndarray) -> np.ndarray:
    """``field`` (ny, nx, channels) at ``at`` (n, 2), as column and row numbers; zero outside."""
    ny, nx = field.shape[:2]
    column, row = np.clip(np.floor(at).astype(int), 0, [nx - 2, ny - 2]).T
    u, v = at[:, 0] - column, at[:, 1] - row
    inside = np.logical_and((at >= 0).all(axis=1), (at <= [nx - 1, ny - 1]).all(axis=1))
    u, v = u[:, None], v[:, None]
    below = field[row, column] * (1 - u) + field[row, column + 1] * u
    above = field[row + 1, column] * (1 - u) + field[row + 1, column + 1] * u
    return (below * (1 - v) + above * v) * inside[:, None]


class _Space:
    """Remembers, on a fine raster of the box, what is near the lines so far."""

    def __init__(self, box: np.ndarray, separation: float) -> None:
        self.pixel = separation / 8
        self.margin = int(np.ceil(separation / self.pixel)) + 2
        height, width = (np.ceil(box[::-1] / self.pixel).astype(int) + 2 * self.margin + 1).tolist()
        self.near, self.too_near = np.zeros((height, width), bool), np.zeros((height, width), bool)
        self.wide, self.narrow = self._disk(separation), self._disk(STOP_NEARER * separation)

    def _disk(self, radius: float) -> np.ndarray:
        reach = int(radius / self.pixel)
        offsets = np.moveaxis(np.mgrid[-reach : reach + 1, -reach : reach + 1], 0, -1).reshape(-1, 2)
        return offsets[np.hypot(*offsets.T) * self.pixel <= radius]

    def _index(self, points: np.ndarray) -> np.ndarray:
        return np.floor(points[..., ::-1] / self.pixel).astype(int) + self.margin

    def may_begin(self, point: np.ndarray) -> bool:
        return not self.near[tuple(self._index(point))]

    def free(self, half: np.ndarray) -> np.ndarray:
        """The part of half a line, from its start on, that keeps its distance from other lines."""
        taken = self.too_near[tuple(self._index(half).T)]
        return half[: taken.argmax()] if taken.any() else half

    def take(self, line: np.ndarray) -> None:
        pixels = np.unique(self._index(line), axis=0)
        for raster, disk in ((self.near, self.wide), (self.too_near, self.narrow)):
            raster[tuple((pixels[:, None] + disk[None]).reshape(-1, 2).T)] = True


def _without_returns(ahead: np.ndarray, behind: np.ndarray, step: float, nearest: float) -> np.ndarray:
    """Both halves joined, tail to head, and cut where the line comes back to itself (spirals, closed orbits)."""
    line = np.concatenate([behind[:0:-1], ahead])
    start = len(behind) - 1
    order = np.arange(len(line))
    apart = np.abs(order[:, None] - order[None]) * step > 3 * nearest
    meets = apart & (np.linalg.norm(line[:, None] - line[None], axis=-1) < nearest)
    last = next((j - 1 for j in range(start, len(line)) if meets[j, start:j].any()), len(line) - 1)
    first = next((j + 1 for j in range(start, -1, -1) if meets[j, j : last + 1].any()), 0)
    return line[first : last + 1]

"""A result as arrays to draw: cells in the plane, fields on a grid, particles in time; for screen and paper."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from scipy.spatial import cKDTree

from cellstream.fields import Field, Grid, leading_axes
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream, Flow, Uncertainty, frames

PARTICLES = 500
S = TypeVar("S", bound="Scene")


@dataclass(frozen=True)
class Plane:
    """The plane of the picture: the embedding itself where it has two dimensions.

    With more, the plane of its two leading principal components; with one, time lies along x.
    """

    mean: np.ndarray
    axes: np.ndarray
    time_axis: float = 0.0
    """Length on x of a networks' unit of time; 0 where time is no axis."""
    which: tuple[int, int] = (0, 1)
    """Principal components, 0 the first, of more than two dimensions."""

    @classmethod
    def of(cls, z: np.ndarray, index: np.ndarray, tau_end: float, axes: tuple[int, int] = (0, 1)) -> Plane:
        """The plane of two principal components where there are more than two dimensions."""
        d = z.shape[1]
        if d == 1:
            return cls(np.zeros(1), np.array([[0.0, 1.0]]), 1.6 * float(np.ptp(z)) / max(tau_end, 1e-9))
        if d == 2:
            return cls(np.zeros(2), np.eye(2))
        mean = z.mean(0)
        return cls(mean, leading_axes(z - mean, index, axes), which=axes)

    def points(self, z: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """Where ``z (…, d)`` at the networks' time ``tau (…)`` lies in the plane, (…, 2) float32."""
        return self._with_time((z - self.mean) @ self.axes, tau * self.time_axis)

    def share(self, z: np.ndarray) -> float:
        """Part of the variance of ``z (n, d)`` that lies in the plane."""
        return float(((z - self.mean) @ self.axes).var(0).sum() / max(z.var(0).sum(), 1e-12))

    def vectors(self, v: np.ndarray, tau_rate: float) -> np.ndarray:
        """Velocities ``v (…, d)`` in the plane, (…, 2) float32."""
        return self._with_time(v @ self.axes, tau_rate * self.time_axis)

    def _with_time(self, flat: np.ndarray, x: np.ndarray | float) -> np.ndarray:
        if self.time_axis:
            flat[..., 0] += x
        return flat.astype(np.float32)


class Scene:
    """A model with its cells. What is costly is computed once, when asked for."""

    def __init__(self, stream: CellStream, snapshots: Snapshots):
        self.stream, self.snapshots = stream, snapshots
        self.index = snapshots.index.numpy()
        self.times = snapshots.times.numpy().astype(np.float64)
        self._along: dict[tuple[int, int], Any] = {}

    # the cells

    @cached_property
    def t(self) -> np.ndarray:
        """Time of each cell, (n,)."""
        return self.times[self.index]

    @cached_property
    def z(self) -> np.ndarray:
        """The embedding, (n, d)."""
        return self.stream.encode(self.snapshots.x.numpy(), self.t)

    @cached_property
    def v(self) -> np.ndarray:
        """Velocity of each cell at its own time, (n, d)."""
        return self.stream.velocity(self.z, self.t)

    @cached_property
    def g(self) -> np.ndarray:
        """Growth rate of each cell at its own time, doublings per ``rate_unit``, (n,)."""
        return self.stream.growth(self.z, self.t) / np.float32(np.log(2))

    @cached_property
    def uncertainty(self) -> Uncertainty:
        """How far the models of the ensemble disagree at each cell; raises :class:`UserError` where there is none."""
        return self.stream.uncertainty(self.z, self.t)

    @cached_property
    def speed(self) -> np.ndarray:
        """Length of each cell's velocity, (n,)."""
        return np.linalg.norm(self.v, axis=1)

    @cached_property
    def plane(self) -> Plane:
        return Plane.of(self.z, self.index, float(self.tau(self.times[-1])))

    def along(self: S, axes: tuple[int, int]) -> S:
        """The same result in the plane of two other principal components, 0 the first; made once for each pair."""
        if axes not in self._along:
            other = copy.copy(self)
            for name in ("points", "vectors", "paths", "grid", "course"):
                other.__dict__.pop(name, None)
            other.plane = Plane.of(self.z, self.index, 0.0, axes)
            self._along[axes] = other
        return self._along[axes]

    @cached_property
    def trees(self) -> list[tuple[cKDTree, np.ndarray]]:
        """For each time point the places of its cells, to find those near a place, and which cells they are."""
        there = [np.flatnonzero(self.index == i) for i in range(len(self.times))]
        return [(cKDTree(self.z[cells]), cells) for cells in there]

    @cached_property
    def points(self) -> np.ndarray:
        """The cells in the plane, (n, 2)."""
        return self.plane.points(self.z, self.tau(self.t))

    @cached_property
    def vectors(self) -> np.ndarray:
        """The cells' velocities in the plane, (n, 2)."""
        return self.plane.vectors(self.v, self.stream.clock.rate)

    @cached_property
    def rows(self) -> np.ndarray:
        """Row of each cell in the file, (n,)."""
        return rows_of(self.snapshots)

    @cached_property
    def growth_limit(self) -> float:
        """Where the colours of growth end, doublings per ``rate_unit``: nearly all cells lie within."""
        return float(max(np.percentile(np.abs(self.g), 98), 0.05))

    def tau(self, t: np.ndarray | float) -> np.ndarray:
        """The networks' time."""
        return self.stream.clock.to_tau(t)

    # the particles

    @cached_property
    def starts(self) -> np.ndarray:
        """Cells of the first time point around which the particles start, (particles,)."""
        first = np.flatnonzero(self.index == 0)
        return first[np.random.default_rng(0).choice(len(first), PARTICLES, replace=len(first) < PARTICLES)]

    @cached_property
    def moments(self) -> np.ndarray:
        """Times at which what flows is looked at, the measured ones among them."""
        return frames(self.times)[0]

    @cached_property
    def flow(self) -> Flow:
        """Particles that start around the first time point's cells and flow through all times."""
        start, chosen = self.z[self.index == 0], self.z[self.starts]
        if len(start) < PARTICLES:
            # some cells are taken more than once: a small spread, Silverman's, keeps them from lying on each other
            width = start.std(0) * len(start) ** (-1 / (start.shape[1] + 4))
            chosen = chosen + np.random.default_rng(1).normal(size=chosen.shape) * width * 0.6
        return self.stream.push(chosen, self.times[0], self.moments)

    @cached_property
    def paths(self) -> np.ndarray:
        """The particles in the plane, (frames, particles, 2)."""
        return self.plane.points(self.flow.z, self.tau(self.flow.times)[:, None])

    def population(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """Particles at time ``t``: their latent positions (particles, d) and masses (particles,)."""
        times = self.flow.times
        k = int(np.clip(np.searchsorted(times, t) - 1, 0, len(times) - 2))
        u = np.float32(np.clip((t - times[k]) / (times[k + 1] - times[k]), 0, 1))
        z = (1 - u) * self.flow.z[k] + u * self.flow.z[k + 1]
        return z, np.exp((1 - u) * self.flow.log_w[k] + u * self.flow.log_w[k + 1])

    def mass(self, t: float) -> float:
        """Predicted size of the population at time ``t``, relative to the start."""
        return float(self.population(t)[1].mean())

    # fields on a grid

    @cached_property
    def grid(self) -> Grid:
        return Grid.around(self.points, *self.paths)

    def field(self, t: float) -> Field:
        """What the networks say at time ``t`` on the grid, covered where the particles are then."""
        grid = self.grid
        z, mass = self.population(t)
        points = self.plane.points(z, self.tau(np.full(len(z), t)))
        if self.z.shape[1] == 2:
            shape = len(grid.y), len(grid.x)
            v = self.stream.velocity(grid.points, t).reshape(*shape, 2)
            g = self.stream.growth(grid.points, t).reshape(shape) / np.log(2)
        else:
            # the plane has no unique point of the embedding behind it: averages over the particles there
            vectors = self.plane.vectors(self.stream.velocity(z, t), self.stream.clock.rate)
            v = np.stack([grid.average(points, part, mass) for part in vectors.T], -1)
            g = grid.average(points, self.stream.growth(z, t) / np.log(2), mass)
        return Field(grid.x, grid.y, v[..., 0], v[..., 1], g, grid.cover(points, mass))

    @cached_property
    def course(self) -> Field:
        """The whole time course at once: each cell's velocity and growth at its own time, averaged on the grid."""
        grid, points = self.grid, self.points
        vx, vy = (grid.average(points, part) for part in self.vectors.T)
        return Field(grid.x, grid.y, vx, vy, grid.average(points, self.g), grid.cover(points))


def rows_of(snapshots: Snapshots) -> np.ndarray:
    """Row of each cell in the file, (n,)."""
    return np.arange(len(snapshots.index)) if snapshots.rows is None else np.asarray(snapshots.rows)

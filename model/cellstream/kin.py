"""Kin: the ancestors and descendants of chosen cells, by the learned flow.

A chosen cell is carried forwards and backwards in time by dz/dt = v, d log(w)/dt = g, of mass one when it was measured.
Its descendants at a later time have the mass e^{∫ g dt}; so many cells it becomes. Its ancestors at an earlier time
have the mass e^{-∫ g dt}, less than one where it descends from a cell that divided.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from cellstream.metrics import votes
from cellstream.stream import CellStream, frames

MOST = 500
"""Cells that are followed, drawn evenly from more."""
AROUND = 15
"""Observed cells around a carried one that say what kind of cell it is, by vote."""


@dataclass(frozen=True, eq=False)
class Kin:
    """Paths of ``n`` chosen cells through all times, before and after they were measured."""

    times: Float[np.ndarray, " T"]
    """Frames, in the data's unit."""
    z: Float[np.ndarray, "T n d"]
    log_w: Float[np.ndarray, "T n"]
    """Log mass, zero where the cell was measured."""
    cells: Int[np.ndarray, " n"]
    """The cells that were followed, as positions among all cells."""
    own: Int[np.ndarray, " n"]
    """The time point at which each was measured."""
    measured: Int[np.ndarray, " M"]
    """Frames that are the measured times."""

    def mass(self, i: int) -> float:
        """Ancestors or descendants at time point ``i`` for each chosen cell."""
        return float(np.exp(self.log_w[self.measured[i]].astype(np.float64)).mean())


def kin(
    stream: CellStream,
    z: Float[np.ndarray, "N d"],
    index: Int[np.ndarray, " N"],
    chosen: Int[np.ndarray, " k"],
    most: int = MOST,
) -> Kin:
    """Follow the ``chosen`` of ``N`` cells at ``z``, measured at time points ``index``, through all times.

    Of more than ``most``, an even random part is followed, always the same one. At least one must be chosen.
    """
    if len(chosen) > most:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, most, replace=False))
    times, measured = frames(np.array(stream.clock.times, np.float64))
    own = index[chosen]
    flow = stream.carry(z[chosen], times[measured[own]], times)
    return Kin(times, flow.z, flow.log_w, chosen, own, measured)


def kinds(
    found: Kin, i: int, codes: Int[np.ndarray, " N"], tree: cKDTree, there: Int[np.ndarray, " m"]
) -> Int[np.ndarray, " n"]:
    """What kind of cell each one's kin is at time point ``i``: the commonest code of the :data:`AROUND` observed cells
    nearest to it; its own code where it was measured then.

    ``codes`` are those of all cells, -1 where a cell has none, which is a kind too. ``there`` are the cells of the time
    point, ``tree`` their places in the same order.
    """
    return np.where(found.own == i, codes[found.cells], around(found.z[found.measured[i]], tree, codes[there]))


def around(z: Float[np.ndarray, "n d"], tree: cKDTree, codes: Int[np.ndarray, " m"]) -> Int[np.ndarray, " n"]:
    """The commonest of the ``codes`` of the :data:`AROUND` points of ``tree`` nearest to each of ``z``; -1 is one."""
    near = tree.query(z, min(AROUND, len(codes)))[1].reshape(len(z), -1)
    return votes(near, codes + 1) - 1


def shares(found: Kin, i: int, kinds: Int[np.ndarray, " n"], names: Sequence[str]) -> Float[np.ndarray, " names+1"]:
    """The share of the kin's mass at time point ``i`` that each kind has; the last entry is that of no kind."""
    mass = np.exp(found.log_w[found.measured[i]].astype(np.float64))
    return np.bincount(np.where(kinds < 0, len(names), kinds), mass, len(names) + 1) / mass.sum()

"""Cells that training never sees, so that a model can be judged on cells that are new to it (ours). Preprocessing has
seen them: variable genes and principal components are those of all cells.

Nothing has to be kept of the choice: it follows from the seed and the number of cells at each time point. Whether the
cells are still those of the training, the model itself tells: the origin of its units is the mean of the cells seen.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from cellstream.config import Config
from cellstream.networks import Autoencoder
from cellstream.snapshots import Snapshots
from cellstream.twins import twins

FEWEST = 40
"""Time points of fewer cells are seen whole."""
SAME = 1e-4
"""Share of a feature's spread by which two means may differ: far above rounding, far below a choice of other cells."""


def held_out(snapshots: Snapshots, config: Config) -> Bool[Tensor, " n"]:
    """Which cells are held out: the share ``schedule.held_out`` of each time point of at least :data:`FEWEST` cells.

    Copies of a cell (:func:`cellstream.twins.twins`) share its side, so the share is not always reached: a cell whose
    copy training has seen is not new.
    """
    held = torch.zeros_like(snapshots.index, dtype=torch.bool)
    for i, n in enumerate(snapshots.counts.tolist()):
        if n >= FEWEST:
            order = np.random.default_rng((config.compute.seed, i, n)).permutation(n)
            cells = snapshots.cells(i)
            kin = twins(snapshots.x[cells].cpu().numpy())[order]
            chosen = torch.from_numpy(order[_first(kin, round(config.schedule.held_out * n))])
            held[cells[chosen.to(held.device)]] = True
    return held


def _first(kin: Int[np.ndarray, " n"], most: int) -> Bool[np.ndarray, " n"]:
    """The first cells in this order, whole ``kin`` only and at most so many; kin of more than that are passed over."""
    _, first, of, sizes = np.unique(kin, return_index=True, return_inverse=True, return_counts=True)
    taken, count = np.zeros(len(sizes), bool), 0
    for k in np.argsort(first):
        if count + sizes[k] <= most:
            taken[k] = True
            count += sizes[k]
    return taken[of]


def unseen(autoencoder: Autoencoder, snapshots: Snapshots, config: Config) -> Bool[Tensor, " n"]:
    """The cells that were held out from the training of ``autoencoder``, or none where that cannot be told.

    It cannot where cells were taken away, added or put in another order since, or where the model's units are not made
    from the cells (``input_scaling`` none).
    """
    held = held_out(snapshots, config)
    if not held.any() or config.networks.input_scaling == "none":
        return torch.zeros_like(held)
    seen = snapshots.x.sum(0, dtype=torch.float64) - snapshots.x[held].sum(0, dtype=torch.float64)
    origin, unit = (part[1:].to(seen) for part in (autoencoder.shift, autoencoder.scale))
    stray = (seen / (~held).sum() - origin).abs()
    return held if bool((stray <= SAME * unit + 1e-5 * origin.abs()).all()) else torch.zeros_like(held)

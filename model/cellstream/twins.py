"""Cells that are copies of one another: of the same features, but for rounding."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

PITCH = 1e-4
"""Side of the boxes, as a share of a usual cell's distance from the middle: copies differ by some 1e-6 of it after
principal components in single precision, and hardly any two cells are that near."""
DIRECTIONS = 4
ROWS = 4096
"""Cells that are projected at once."""


def twins(x: Float[np.ndarray, "n p"]) -> Int[np.ndarray, " n"]:
    """A number for each cell, the same for copies.

    Cells are projected on a few random directions and sorted into boxes, twice, since an edge may part two copies:
    cells of one box count as copies. It takes n log n however many there are; pairs would be their number squared.
    """
    some = x[:: max(1, len(x) // 1000)].astype(np.float64)
    usual = np.median(np.linalg.norm(some - np.median(some, axis=0), axis=1))
    random = np.random.default_rng(0)
    directions = random.normal(size=(x.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0) * max(PITCH * usual, 1e-12)
    places = np.concatenate([x[i : i + ROWS].astype(np.float64) @ directions for i in range(0, len(x), ROWS)])
    first, second = (_boxes(places + random.random(DIRECTIONS)) for _ in "12")
    boxes, more = first.max() + 1, second.max() + 1
    shared = coo_array((np.ones(len(x)), (first, boxes + second)), shape=(boxes + more, boxes + more))
    return connected_components(shared, directed=False)[1][first]


def _boxes(places: Float[np.ndarray, "n k"]) -> Int[np.ndarray, " n"]:
    """The number of the box of side one that holds each place, by hashing: sorting takes five times as long."""
    return (
        pd.DataFrame(np.floor(places))
        .groupby(list(range(places.shape[1])), sort=False, dropna=False)
        .ngroup()
        .to_numpy()
    )

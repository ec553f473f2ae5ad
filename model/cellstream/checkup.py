"""What one walk over a matrix finds out about its cells, and which of them stay once it is known what to leave out."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int, UInt64
from scipy import sparse

from cellstream import fixes
from cellstream.by_parts import blocks

HOPELESS = 0.9
"""A cell of whose values more than this share are no numbers is left out before features are judged by it."""
OFTEN = 0.1
"""A feature that is no number in more than this share of the cells left is left out; in fewer, those cells are."""

Tick = Callable[[float], object]
"""Told the share of the work that is done, 0 to 1."""


@dataclass(frozen=True, eq=False)
class Checkup:
    """About a matrix of n cells by m features."""

    shape: tuple[int, int]
    nan: int
    infinite: int
    """Values that are missing (NaN) and infinite, in all."""
    holed_cells: int
    holed_features: int
    """Cells and features that have such a value."""
    bad: Bool[np.ndarray, " n"]
    """Cells to leave out on that account, when ``bad_features`` features are left out before."""
    bad_features: int
    empty: Bool[np.ndarray, " n"]
    """Cells that are zero in every feature of which they have a number, and not ``bad``."""
    silent: int
    """Features that are zero in every cell."""
    mark: UInt64[np.ndarray, " n"]
    """A number made of all values of a cell: cells that have the same are exact copies (64 bits: of a million cells two
    others share one with a chance of 3 in 10⁸)."""
    low: float
    high: float
    integers: bool
    """Range of the finite values, and whether all are whole numbers."""


def checkup(matrix: Any, tick: Tick = lambda share: None) -> Checkup:
    """Walk over an array, a csr matrix without stored zeros, or a dask array of either, in blocks of rows.

    Once where all values are finite, three times where not.
    """
    n, m = matrix.shape
    random = np.random.default_rng(0).integers(1, 2**63, m, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    filled, holes = np.zeros(m, dtype=np.int64), np.zeros(m, dtype=np.int64)
    per_cell, empty, mark = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool), np.zeros(n, dtype=np.uint64)
    nan = infinite = 0
    low, high, integers = np.inf, -np.inf, True
    for rows, block in _numbered(matrix, tick):
        values = block.data if sparse.issparse(block) else block
        finite = np.isfinite(values)
        if not finite.all():
            nan += int(np.isnan(values).sum())
            infinite += int(np.isinf(values).sum())
            cells, features = _holes(block)
            holes += np.bincount(features, minlength=m)
            per_cell[rows] = np.bincount(cells, minlength=block.shape[0])
            values = values[finite]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            integers = integers and bool((values == np.rint(values)).all())
        if sparse.issparse(block):
            stored = np.diff(block.indptr)
            filled += np.bincount(block.indices, minlength=m)
            if (stored < m).any():
                low, high = min(low, 0.0), max(high, 0.0)
        else:
            there = block != 0
            stored = there.sum(axis=1)
            filled += there.sum(axis=0)
        empty[rows] = (stored == per_cell[rows]) & (stored < m)
        mark[rows] = _marks(block, random)
    bad, bad_features = np.zeros(n, dtype=bool), 0
    if nan or infinite:
        bad, bad_features = _bad(matrix, per_cell, tick)
        empty &= ~bad
    if low > high:  # there is no finite value
        low = high = 0.0
    return Checkup(
        shape=(n, m),
        nan=nan,
        infinite=infinite,
        holed_cells=int((per_cell > 0).sum()),
        holed_features=int((holes > 0).sum()),
        bad=bad,
        bad_features=bad_features,
        empty=empty,
        silent=int((filled == 0).sum()),
        mark=mark,
        low=low,
        high=high,
        integers=integers,
    )


def _numbered(matrix: Any, tick: Tick) -> Any:
    """Blocks with the slice of rows that each is."""
    at = 0
    for block in blocks(matrix):
        yield slice(at, at + block.shape[0]), block
        at += block.shape[0]
        tick(at / matrix.shape[0])


def _holes(block: Any) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each value that is no finite number."""
    if not sparse.issparse(block):
        cells, features = np.nonzero(~np.isfinite(block))
        return cells, features
    at = np.flatnonzero(~np.isfinite(block.data))
    return np.searchsorted(block.indptr, at, side="right") - 1, block.indices[at]


def _bad(matrix: Any, per_cell: np.ndarray, tick: Tick) -> tuple[np.ndarray, int]:
    """Cells to leave out, and how many features before.

    A value may be missing because its cell failed or because its feature was not measured in some batch: to leave out
    the cells only, or the features only, could leave nothing.
    """
    m = matrix.shape[1]
    bad = per_cell > HOPELESS * m
    often = np.zeros(m, dtype=np.int64)
    for rows, block in _numbered(matrix, tick):
        cells, features = _holes(block)
        often += np.bincount(features[~bad[rows][cells]], minlength=m)
    left_out = often > OFTEN * max((~bad).sum(), 1)
    for rows, block in _numbered(matrix, tick):
        cells, features = _holes(block)
        bad[rows] |= np.bincount(cells[~left_out[features]], minlength=block.shape[0]) > 0
    return bad, int(left_out.sum())


def _marks(block: Any, random: np.ndarray) -> np.ndarray:
    """For each row the sum of hash(value) times its feature's odd number, modulo 2^64; a zero adds nothing."""
    if sparse.issparse(block):
        sums = np.zeros(len(block.data) + 1, dtype=np.uint64)
        np.cumsum(_hashed(block.data) * random[block.indices], out=sums[1:])
        return sums[block.indptr[1:]] - sums[block.indptr[:-1]]
    return _hashed(np.ravel(block)).reshape(block.shape) @ random


def _hashed(values: np.ndarray) -> np.ndarray:
    return pd.util.hash_array(values.astype(np.float64) + 0.0, categorize=False)  # -0.0 is 0.0, of which the hash is 0


@dataclass(frozen=True, eq=False)
class Kept:
    """What stays of a data set: ``rows`` (k,) of cells, ascending; ``points`` (t,), the time points that have cells."""

    rows: Int[np.ndarray, " k"]
    points: Int[np.ndarray, " t"]
    left: dict[str, int]
    """By the name of each fix that leaves out cells, how many."""
    points_left: dict[str, tuple[int, ...]]
    """By the name of each fix that leaves out time points, which."""
    copies: Bool[np.ndarray, " k"]
    """Of the cells that stay, those that are a copy of an earlier one at the same time point."""


def kept(index: Int[np.ndarray, " n"], check: Checkup | None, asked: Collection[str]) -> Kept:
    """Of cells at time points ``index`` (-1: none), those that stay with the fixes ``asked`` for.

    ``check`` may be None where no fix needs to know the matrix (:func:`needs_checkup`).
    """
    keep = index >= 0
    left: dict[str, int] = {}
    points_left: dict[str, tuple[int, ...]] = {}

    def leave_out(name: str, cells: np.ndarray) -> None:
        left[name] = int((keep & cells).sum())
        keep[cells] = False

    copies = np.zeros(len(index), dtype=bool)
    if check is not None:
        if fixes.NONFINITE in asked:
            leave_out(fixes.NONFINITE, check.bad)
        if fixes.EMPTY in asked:
            leave_out(fixes.EMPTY, check.empty)
        at = np.flatnonzero(keep & ~check.empty & ~check.bad)  # those are another matter
        copies[at] = pd.DataFrame({"time": index[at], "mark": check.mark[at]}).duplicated().to_numpy()
        if fixes.COPIES in asked:
            leave_out(fixes.COPIES, copies)
    for name, least in ((fixes.LONE, 2), (fixes.SMALL, fixes.FEW)):
        if name in asked:
            counts = np.bincount(index[keep])
            few = np.flatnonzero((counts > 0) & (counts < least))
            points_left[name] = tuple(few.tolist())
            leave_out(name, np.isin(index, few))
    rows = np.flatnonzero(keep)
    return Kept(rows, np.unique(index[rows]), left, points_left, copies[rows])


def needs_checkup(asked: Collection[str]) -> bool:
    """Whether these fixes leave out cells by their values."""
    return any(name in asked for name in (fixes.NONFINITE, fixes.EMPTY, fixes.COPIES))

"""What one walk over a matrix finds out about its features: what they hold, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from scipy import sparse

from cellstream.by_parts import blocks


@dataclass(frozen=True, eq=False)
class Survey:
    """About a matrix of n cells by m features; arrays are (m,)."""

    n: int
    nan: np.ndarray
    infinite: np.ndarray
    filled: np.ndarray
    """Values that are not zero."""
    empty: int
    """Cells that are zero in every feature."""
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    integers: bool

    def of(self, keep: np.ndarray) -> Survey:
        """What was found of some of the features; of cells it still says what all features tell."""
        return replace(
            self, **{f.name: v[keep] for f in fields(self) if isinstance(v := getattr(self, f.name), np.ndarray)}
        )

    @property
    def finite(self) -> bool:
        return not (self.nan.any() or self.infinite.any())

    @property
    def constant(self) -> np.ndarray:
        """Features that are the same in every cell, as single precision sees them."""
        return self.high - self.low <= 1e-6 * np.maximum(np.abs(self.low), np.abs(self.high))


def survey(matrix: Any) -> Survey:
    """Walk once over an array, a csr matrix without stored zeros, or a dask array of either, in blocks of rows.

    Where values are not finite, nothing is said of range, mean and variance. These two are merged from those of the
    blocks (Chan, Golub & LeVeque, The American Statistician 1983, equation 2.1): ⟨x²⟩ − ⟨x⟩² would lose the digits of a
    spread that is small beside its mean.
    """
    n, m = matrix.shape
    nan, infinite, filled = (np.zeros(m, dtype=np.int64) for _ in range(3))
    low, high = np.full(m, np.inf), np.full(m, -np.inf)
    # cells so far, their mean, and the sum of their squared deviations from it
    seen, mean, squares = 0, np.zeros(m), np.zeros(m)
    empty, integers = 0, True
    with np.errstate(invalid="ignore", over="ignore"):
        for block in blocks(matrix):
            values = block.data if sparse.issparse(block) else block
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                nan += _per_feature(block, np.isnan)
                infinite += _per_feature(block, np.isinf)
                continue
            cells = block.shape[0]
            integers = integers and bool((values == np.rint(values)).all())
            if sparse.issparse(block):
                empty += int((np.diff(block.indptr) == 0).sum())
                stored = np.bincount(block.indices, minlength=m)
                at_zero = stored < cells
                low[at_zero], high[at_zero] = np.minimum(low[at_zero], 0), np.maximum(high[at_zero], 0)
                exact = values.astype(np.float64)
                np.minimum.at(low, block.indices, exact)
                np.maximum.at(high, block.indices, exact)
                filled += stored
                centre = np.bincount(block.indices, exact, m) / cells
                away = (cells - stored) * centre**2
                away += np.bincount(block.indices, np.square(exact - centre[block.indices]), m)
            else:
                there = values != 0
                empty += int((~there.any(axis=1)).sum())
                filled += there.sum(axis=0)
                low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
                centre = values.mean(axis=0, dtype=np.float64)
                stray = values - centre
                away = np.einsum("ij,ij->j", stray, stray)
            share = cells / (seen + cells)
            squares += away + np.square(centre - mean) * seen * share
            mean += (centre - mean) * share
            seen += cells
    return Survey(n, nan, infinite, filled, empty, low, high, mean, squares / n, integers)


def _per_feature(block: Any, asked: np.ufunc) -> np.ndarray:
    """How many values of each feature are so."""
    if sparse.issparse(block):
        return np.bincount(block.indices[asked(block.data)], minlength=block.shape[1])
    return asked(block).sum(axis=0)

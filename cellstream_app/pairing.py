"""Two pictures of the same cells: which cell is which, and how many of a kind are picked. Pure arrays."""

from __future__ import annotations

import numpy as np


def matched(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of ``rows (n,)`` of a file, where it stands among ``others (m,)``, -1 where it does not: (n,) int64."""
    where = np.full(int(max(rows.max(initial=-1), others.max(initial=-1))) + 1, -1, np.int64)
    where[others] = np.arange(len(others))
    return where[rows]


def carried(positions: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Positions in one picture as positions in the other, by ``there`` of :func:`matched`; those not there are left
    out."""
    found = there[positions]
    return found[found >= 0]


def spread(codes: np.ndarray, index: np.ndarray, kinds: int, times: int) -> np.ndarray:
    """Cells of each kind at each time point, (kinds, times): of ``codes (k,)``, -1 for none, and ``index (k,)``."""
    known = codes >= 0
    flat = codes[known].astype(np.int64) * times + index[known]
    return np.bincount(flat, minlength=kinds * times).reshape(kinds, times)

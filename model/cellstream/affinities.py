"""Who is near whom within a time point, in the input: what the neighbour term keeps (ours)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int64
from openTSNE.affinity import PerplexityBasedNN
from torch import Tensor

PERPLEXITY = 30
"""Effective number of neighbours; t-SNE's usual value."""
MOST = 2048
"""Cells of a time point among which affinities are known. A cell has a fixed number of neighbours: among ever more
cells hardly two of a batch would be near each other, and the neighbour term would say nothing."""


class Affinities:
    """Symmetric t-SNE affinities between cells of each time point, none between time points; sparse."""

    def __init__(self, x: Sequence[Float[Tensor, "_ p"]], cells: Sequence[Int64[Tensor, " _"]]):
        """``x``: features of ``cells``, the positions in the snapshots, given per time point."""
        self.device, self.dtype = x[0].device, x[0].dtype
        order = torch.cat(list(cells)).cpu().numpy()
        self._place = np.full(order.max() + 1, -1)
        self._place[order] = np.arange(len(order))
        self._matrix = sp.block_diag([_affinities(part.cpu().numpy()) for part in x], format="csr")

    def among(self, cells: Int64[Tensor, " b"]) -> Float[Tensor, "b b"]:
        """Affinities among these cells of one time point."""
        at = self._place[cells.cpu().numpy()]
        return torch.as_tensor(self._matrix[at][:, at].toarray(), device=self.device, dtype=self.dtype)


def _affinities(x: np.ndarray) -> sp.csr_matrix:
    perplexity = min(PERPLEXITY, max((len(x) - 1) / 3, 1))
    return PerplexityBasedNN(x.astype(np.float64), perplexity=perplexity, method="exact", n_jobs=1).P.tocsr()

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
    """Symmetric t-SNE affinities between cells of each time point, one dense matrix per time point: at most 16 MB each,
    and a batch's share is read in a tenth of the time that a sparse one takes."""

    def __init__(self, x: Sequence[Float[Tensor, "_ p"]], cells: Sequence[Int64[Tensor, " _"]]):
        """``x``: features of ``cells``, the positions in the snapshots, given per time point."""
        self._place = torch.full((int(max(part.max() for part in cells)) + 1,), -1, device=x[0].device)
        for part in cells:
            self._place[part] = torch.arange(len(part), device=part.device)
        self._matrices = [torch.from_numpy(_affinities(part.cpu().numpy()).toarray()).to(part) for part in x]

    def among(self, i: int, cells: Int64[Tensor, " b"]) -> Float[Tensor, "b b"]:
        """Affinities among these cells of time point ``i``."""
        at = self._place[cells]
        return self._matrices[i].index_select(0, at).index_select(1, at)  # rows whole first: a third of the time


def _affinities(x: np.ndarray) -> sp.csr_matrix:
    perplexity = min(PERPLEXITY, max((len(x) - 1) / 3, 1))
    return PerplexityBasedNN(x.astype(np.float64), perplexity=perplexity, method="exact", n_jobs=1).P.tocsr()

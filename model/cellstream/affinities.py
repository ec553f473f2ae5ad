"""Who is near whom within a time point, in the input: what the neighbour term keeps (ours)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int64
from openTSNE.affinity import PerplexityBasedNN
from torch import Tensor

PERPLEXITY = 30
"""Effective number of neighbours; t-SNE's usual value."""


class Affinities:
    """Symmetric t-SNE affinities between the cells of each time point, none between time points. Sparse: the work
    and the memory grow with the cells, not with their square."""

    def __init__(self, x: Float[Tensor, "n p"], members: list[Int64[Tensor, " _"]], seed: int = 0):
        self.device, self.dtype = x.device, x.dtype
        parts = [_affinities(x[at].cpu().numpy(), seed) for at in members]
        order = torch.cat(members).cpu().numpy()
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        self._matrix = sp.block_diag(parts, format="csr")
        self._place = place

    def among(self, cells: Int64[Tensor, " b"]) -> Float[Tensor, "b b"]:
        """Affinities among these cells of one time point."""
        at = self._place[cells.cpu().numpy()]
        return torch.as_tensor(self._matrix[at][:, at].toarray(), device=self.device, dtype=self.dtype)


def _affinities(x: np.ndarray, seed: int) -> sp.csr_matrix:
    perplexity = min(PERPLEXITY, max((len(x) - 1) / 3, 1))
    # exact neighbours where they are quick to find, approximate ones beyond
    method = "exact" if len(x) <= 5000 else "pynndescent"
    return PerplexityBasedNN(
        x.astype(np.float64), perplexity=perplexity, method=method, n_jobs=1, random_state=seed
    ).P.tocsr()

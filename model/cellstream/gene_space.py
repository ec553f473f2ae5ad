"""The way from the features that the encoder reads back to genes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class GeneSpace:
    """The m genes that p features can be turned back into: the features themselves, or their principal components."""

    names: tuple[str, ...]
    loadings: Float[np.ndarray, "p m"] | None = None
    """Genes by component; None where the features are the genes."""
    mean: Float[np.ndarray, " m"] | None = None
    """Of each gene over all cells, which the components leave out; None without loadings."""

    def expression(self, x: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n m"]:
        """Genes at points of the feature space, x @ loadings + mean, normalised and logged as the input was."""
        return x if self.loadings is None else x @ self.loadings + self.mean

"""The methods that CellStream is compared with, all with the same result: :class:`cellstream.stream.CellStream`.

result = METHODS["TIGON + UMAP"].fit(snapshots, seed=0)

TIGON also runs on any other embedding of the cells, such as one of scVI or CellPath in an ``obsm``: :func:`tigon`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cellstream.baselines.cytobridge import fit_cytobridge
from cellstream.baselines.embeddings import EMBEDDINGS
from cellstream.baselines.mioflow import fit_mioflow
from cellstream.baselines.tigon_dynamics import fit_pca, tigon
from cellstream.baselines.veloviz import fit_veloviz
from cellstream.errors import UserError
from cellstream.events import Progress
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream

__all__ = ["METHODS", "Method", "tigon"]

Fit = Callable[[Snapshots, int, bool, Progress | None], CellStream]
"""``(snapshots, seed, quick, on_progress) -> result``."""


@dataclass(frozen=True)
class Method:
    """A method by its name in tables."""

    name: str
    text: str
    """What it is and how it is run here, in one sentence."""
    citation: str
    run: Fit
    on_embedding: bool = True
    """Whether its dynamics are TIGON's on an embedding, so that another one can be given."""

    def fit(
        self,
        snapshots: Snapshots,
        seed: int = 0,
        quick: bool = False,
        embedding: np.ndarray | None = None,
        on_progress: Progress | None = None,
    ) -> CellStream:
        """Fit it to the cells.

        quick: a few seconds, to see that all works; not to be quoted. embedding: ``(n, d)``, to be taken in place of
        the method's own, for instance one computed before. on_progress: is called with the steps done and all steps.

        Raises:
            UserError: the cells, or the embedding, are not what the method can work with.
        """
        if embedding is None:
            return self.run(snapshots, seed, quick, on_progress)
        if not self.on_embedding:
            raise UserError(f"Expected no embedding for {self.name}, which makes its own: leave it out.")
        return tigon(snapshots, embedding, self.name, seed, quick, on_progress)


def _on(name: str) -> Fit:
    """TIGON on the embedding of this name."""

    def fit(snapshots: Snapshots, seed: int, quick: bool, on_progress: Progress | None) -> CellStream:
        return tigon(snapshots, EMBEDDINGS[name](snapshots, seed), f"TIGON + {name}", seed, quick, on_progress)

    return fit


_TIGON = "Sha et al., Nature Machine Intelligence 2024"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("TIGON + PCA", "TIGON's dynamics on two principal components.", _TIGON, fit_pca),
        *(Method(f"TIGON + {name}", f"TIGON's dynamics on {name}.", _TIGON, _on(name)) for name in EMBEDDINGS),
        Method(
            "VeloViz",
            "VeloViz's layout by velocities of TIGON in ten principal components, and TIGON's dynamics on it.",
            "Atta, Sahoo & Fan, Bioinformatics 2022",
            fit_veloviz,
        ),
        Method(
            "MIOFlow",
            "The authors' package: geodesic autoencoder and balanced neural ODE in two dimensions.",
            "Huguet et al., NeurIPS 2022",
            fit_mioflow,
            on_embedding=False,
        ),
        Method(
            "CytoBridge",
            "Velocity and growth in the input space; two-dimensional metrics in its plane of PCA.",
            "Zhang, Li & Zhou, ICLR 2025; Zhang et al., NeurIPS 2025",
            fit_cytobridge,
            on_embedding=False,
        ),
    )
}
"""Every method by its name."""

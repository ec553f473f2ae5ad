"""Run in an environment with scVelo and CellRank, which ours has not: reads what was handed over, says what came of it.

python scverse_readers.py OUT.h5ad TMAPS
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings

import anndata
import cellrank
import matplotlib as mpl
import numpy as np
import scvelo

mpl.use("Agg")
warnings.filterwarnings("ignore")
TIME, FATE, LINEAGE = "cellstream_time", "fate_true", "lineage"


def departures(velocity: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Directions without the mean of each time point's: on this map most of a direction is time itself."""
    unit = velocity / np.linalg.norm(velocity, axis=1, keepdims=True)
    for t in np.unique(time):
        unit[time == t] -= unit[time == t].mean(0)
    return unit.ravel()


def drawn(adata: anndata.AnnData, basis: str) -> int:
    axes = scvelo.pl.velocity_embedding_stream(adata, basis=basis, vkey="velocity", show=False)
    return len(axes.collections)


def velocities(adata: anndata.AnnData) -> dict[str, object]:
    """The stream of our own velocity; and scVelo's projection of those of the genes beside it."""
    there = adata.obsm["velocity_cellstream"].copy()
    streams = drawn(adata, "cellstream")
    scvelo.pp.neighbors(adata, n_neighbors=30, use_rep="X_cellstream")
    scvelo.tl.velocity_graph(adata, vkey="velocity", xkey="cellstream_expression", show_progress_bar=False)
    adata.obsm["X_again"] = adata.obsm["X_cellstream"].copy()
    scvelo.tl.velocity_embedding(adata, basis="again", vkey="velocity")
    time = adata.obs[TIME].astype(float).to_numpy()
    ours, theirs = (departures(part.copy(), time) for part in (there, adata.obsm["velocity_again"]))
    return dict(
        streams=streams,
        streams_of_genes=drawn(adata, "again"),
        kept=bool((adata.obsm["velocity_cellstream"] == there).all()),
        correlation=float(np.corrcoef(ours, theirs)[0, 1]),
    )


def fates(estimator: object, adata: anndata.AnnData) -> dict[str, dict[str, float]]:
    """Share of the cells whose most likely fate is their own, by time, and that of the largest fate."""
    estimator.compute_fate_probabilities(solver="direct", use_petsc=False, show_progress_bar=False)
    found = estimator.fate_probabilities
    likely = np.array([str(name) for name in found.names])[np.asarray(found.X).argmax(1)]
    true, shares = adata.obs[FATE].astype(str).to_numpy(), {}
    for time in adata.obs[TIME].cat.categories[:-1]:
        here = (adata.obs[TIME] == time).to_numpy()
        most = max(float((true[here] == name).mean()) for name in set(true[here]))
        shares[f"{time:g}"] = dict(own=float((likely[here] == true[here]).mean()), most=most, cells=int(here.sum()))
    return shares


def from_transitions(adata: anndata.AnnData) -> dict[str, object]:
    """The cells of the last time point stay where they are, so their lineages are given as the terminal states."""
    kernel = cellrank.kernels.PrecomputedKernel("T_fwd", adata=adata)
    estimator = cellrank.estimators.GPCCA(kernel)
    last = adata.obs[TIME] == adata.obs[TIME].cat.categories[-1]
    lineages = adata.obs[LINEAGE][last].astype(str)
    estimator.set_terminal_states({name: lineages.index[lineages == name].tolist() for name in sorted(set(lineages))})
    return fates(estimator, adata)


def from_maps(adata: anndata.AnnData, path: str) -> dict[str, object]:
    """With a fifth of the transitions among neighbours, as CellRank's authors do, which finds the terminal states."""
    kernel = cellrank.kernels.RealTimeKernel.from_wot(adata, path=path, time_key=TIME)
    near = dict(use_rep="X_cellstream", n_neighbors=30)
    kernel.compute_transition_matrix(self_transitions="all", conn_weight=0.2, threshold="auto", conn_kwargs=near)
    estimator = cellrank.estimators.GPCCA(kernel)
    estimator.compute_schur(n_components=6, method="brandts")
    estimator.compute_macrostates(n_states=3, cluster_key=LINEAGE)
    estimator.set_terminal_states()
    states = estimator.terminal_states
    pure = {name: float((adata.obs[LINEAGE][states == name] == name).mean()) for name in states.cat.categories}
    ones = int((np.abs(np.asarray(estimator.eigendecomposition["D"]) - 1) < 1e-6).sum())
    return dict(fates=fates(estimator, adata), ones=ones, pure=pure)


def main() -> None:
    path, tmaps = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):  # what the others print is no JSON
        adata = anndata.read_h5ad(path)
        found = dict(transitions=from_transitions(adata), maps=from_maps(adata, tmaps), velocity=velocities(adata))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()

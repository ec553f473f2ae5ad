"""VeloViz: a layout in which each cell is near the cells that it is about to become.

Atta, Sahoo & Fan, Bioinformatics 2022: our implementation from the paper's description. A graph links each cell i to
the k cells j of lowest composite distance from its projected state x_i + v_i,

    d_ij = − cos(v_i, x_j − x_i) / (1 + ω |x_i + v_i − x_j|),

less those whose cosine is below a threshold or whose distance is among the largest; a Fruchterman–Reingold layout
with the weights max d − d_ij draws it.

VeloViz reads RNA velocities, which snapshots do not have: here v is TIGON's in principal components, and the projected
state is one time step ahead. It has no dynamics of its own either: the result's fields are TIGON's on the layout.
"""

from __future__ import annotations

import networkx as nx
import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.spatial.distance import cdist

from cellstream.baselines import fitting
from cellstream.baselines.tigon_dynamics import fit_pca, tigon
from cellstream.errors import UserError
from cellstream.events import Progress
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream

COMPONENTS = 10
"""Principal components in which cells are compared."""
K = 10
"""Cells that each cell is linked to. This, and the three below, as buildVeloviz has them where nothing is said."""
SIMILARITY = 0.0
"""Lowest cosine of a link."""
DISTANCE = 1.0
"""Share of all pairs, from the nearest on, that a link may belong to."""
OMEGA = 1.0
"""Weight of distance against direction."""
ITERATIONS = 100
MOST = 2000
"""Cells that the layout is computed for, at quadratic cost; others are put between those they would be linked to."""


def fit_veloviz(
    snapshots: Snapshots, seed: int = 0, quick: bool = False, on_progress: Progress | None = None
) -> CellStream:
    """TIGON on the VeloViz layout of the cells. Cells without a link are put between those they would be linked to.

    Raises:
        UserError: the velocities do not link any two cells.
    """
    d = min(COMPONENTS, snapshots.x.shape[1])
    first = fit_pca(snapshots, seed, quick, _half(on_progress, 0), d)
    tau = snapshots.tau[snapshots.index].cpu()
    z = fitting.coordinates(first.autoencoder, snapshots.to("cpu", snapshots.x.dtype))
    v = first.velocity_net(tau.float(), first.autoencoder.encode(tau.float(), snapshots.x.cpu().float())).numpy()
    places = layout(z, v, seed=seed, iterations=ITERATIONS // 4 if quick else ITERATIONS)
    return tigon(snapshots, places, "VeloViz", seed, quick, _half(on_progress, 1))


def layout(
    x: Float[np.ndarray, "n q"],
    v: Float[np.ndarray, "n q"],
    k: int = K,
    seed: int = 0,
    iterations: int = ITERATIONS,
    most: int = MOST,
) -> Float[np.ndarray, "n 2"]:
    """The VeloViz layout of cells at ``x`` that move by ``v``, from a start on their two leading axes.

    The paper starts it anywhere; a start in order saves iterations.
    """
    from sklearn.decomposition import PCA

    x, v = x.astype(np.float64), v.astype(np.float64)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(x))[:most])
    near, distance, kept = links(x, v, chosen, min(k, len(chosen) - 1))
    start, which = np.nonzero(kept[chosen])
    if not len(start):
        raise UserError(
            "Expected velocities that point from cell to cell, but VeloViz's graph has no links: take the whole fit "
            "instead of the quick one."
        )
    end, length = near[chosen][start, which], distance[chosen][start, which]
    weights = sparse.coo_array((length.max() - length, (start, end)), shape=(len(chosen),) * 2).tocsr()
    linked = np.union1d(start, end)
    graph = nx.from_scipy_sparse_array((weights + weights.T)[linked][:, linked])
    flat = PCA(min(2, *x.shape), random_state=0).fit_transform(x)[chosen[linked]]
    flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
    flat = (flat - flat.min(0)) / max(np.ptp(flat, axis=0).max(), 1e-12)
    drawn = nx.spring_layout(graph, pos=dict(enumerate(flat)), iterations=iterations, seed=seed, method="force")
    places = np.zeros((len(chosen), 2))
    places[linked] = [drawn[i] for i in range(len(linked))]
    # every cell between those it would be linked to; those that are in the layout where that has them
    there = np.isin(near, linked).astype(float)
    there[~there.any(1)] = 1
    between = (places[near] * there[..., None]).sum(1) / there.sum(1, keepdims=True)
    between[chosen[linked]] = places[linked]
    return between


def links(
    x: Float[np.ndarray, "n q"], v: Float[np.ndarray, "n q"], to: Int[np.ndarray, " m"], k: int
) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"], np.ndarray]:
    """For every cell the ``k`` of the cells ``to`` that it is linked to at first (positions in ``to``), the composite
    distances, and which of these links are kept."""
    n, chunk = len(x), max(1, 20_000_000 // (len(to) * max(x.shape[1], 1)))
    near, composite, cosine, far = np.empty((n, k), int), *(np.empty((n, k)) for _ in range(3))
    sample: list[np.ndarray] = []
    for begin in range(0, n, chunk):
        rows = slice(begin, begin + chunk)
        step = x[to][None] - x[rows, None]
        size = np.linalg.norm(step, axis=2) * np.linalg.norm(v[rows], axis=1)[:, None]
        similar = np.einsum("nmq,nq->nm", step, v[rows]) / np.maximum(size, 1e-300)
        ahead = cdist(x[rows] + v[rows], x[to])
        found = -similar / (1 + OMEGA * ahead)
        found[np.arange(n)[rows, None] == to] = np.inf  # not itself
        nearest = np.argsort(found, axis=1, kind="stable")[:, :k]
        near[rows] = nearest
        for whole, part in ((composite, found), (cosine, similar), (far, ahead)):
            whole[rows] = np.take_along_axis(part, nearest, 1)
        sample.append(ahead.ravel()[:: max(1, ahead.size // 10_000)])
    limit = np.quantile(np.concatenate(sample), DISTANCE) if DISTANCE < 1 else np.inf
    return near, composite, (cosine >= SIMILARITY) & (far <= limit) & np.isfinite(composite)


def _half(on_progress: Progress | None, part: int) -> Progress | None:
    """Progress of the first or the second of two fits of equal length."""
    if on_progress is None:
        return None
    return lambda done, total: on_progress(done + part * total, 2 * total)

"""From the flow back to genes: their course along it, and which of them it changes most.

Cells z_i(t) with masses w_i(t) = exp(log w_i) follow dz/dt = v(t, z), d log w/dt = g(t, z), forwards and backwards from
the time at which each was measured, where it has mass 1. Decoded, x_i(t) = W f_dec(z_i(t)) + μ is a cell's expression;
W are the loadings of the principal components and μ the genes' means, where the features are components.

The decoder reads no time (time is one of the things it tells), so ∂_t f_dec = 0, and along the flow

    dx_i/dt = W J_dec(z_i) v(t, z_i),

one Jacobian-vector product for all genes at once (``torch.func.jvp``), no loop over them. What the map does not hold of
a gene the decoder cannot tell: read each with its R² (:func:`cellstream.evaluation.per_gene`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from scipy import sparse
from scipy.spatial import cKDTree

from cellstream.errors import UserError
from cellstream.gene_space import GeneSpace
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream, Flow

CARRIED = 1000
"""Cells of a selection, at most, that are carried: means of more differ by less than a line is wide."""
ENTRIES = 4_000_000
"""Decoded numbers that are held at once."""


@dataclass(frozen=True)
class Trend:
    """Mean and spread of k genes at T times, weighted by the cells' masses."""

    times: Float[np.ndarray, " T"]
    mean: Float[np.ndarray, "T k"]
    spread: Float[np.ndarray, "T k"]
    """Standard deviation over the cells; not a number where no cell is."""


@dataclass(frozen=True)
class Course:
    """One gene in time: ``flow`` as the map tells it, None where it cannot; ``observed`` at the time points, None
    where the file is not there; ``r2``, how much of the gene the map returns, not a number where that is not known."""

    name: str
    flow: Trend | None
    observed: Trend | None
    r2: float


def space(stream: CellStream) -> GeneSpace:
    """The genes that can be decoded. Raises :class:`UserError` where the features do not lead back to genes."""
    if stream.genes is None:
        raise UserError(
            "This result was trained on an embedding, from which no way leads back to genes: train again with X or a "
            "layer as the input."
        )
    return stream.genes


def some(snapshots: Snapshots, selection: np.ndarray | None = None) -> Int[np.ndarray, " k"]:
    """Positions of the cells to be carried: of the ``selection``, or of the first time point where it is None; always
    the same :data:`CARRIED` of them where they are more."""
    cells = np.flatnonzero(snapshots.index.cpu().numpy() == 0) if selection is None else np.unique(selection)
    if len(cells) == 0:
        raise UserError("Expected at least one cell, but none is selected: select some, or clear the selection.")
    if len(cells) <= CARRIED:
        return cells
    return np.sort(np.random.default_rng(0).choice(cells, CARRIED, replace=False))


def trend(stream: CellStream, flow: Flow, genes: Sequence[int]) -> Trend:
    """The decoded course of ``genes`` (positions in ``stream.genes.names``): mean and standard deviation at each time.

    Over cells i with the weights w_i / Σ w. The spread is that of the cells' places on the map, as the decoder returns
    it; observed cells vary more.
    """
    chosen = GeneSpace(*_columns(space(stream), genes))
    parts = [_moments(chosen.expression(_picked(stream, z, genes)), np.exp(log_w.astype(np.float64)))
             for z, log_w in zip(flow.z, flow.log_w, strict=True)]  # fmt: skip
    return _joined(flow.times, parts)


def observed_trend(
    values: Float[np.ndarray, "n k"], index: Int[np.ndarray, " n"], weights: Float[np.ndarray, " n"], times: np.ndarray
) -> Trend:
    """Mean and standard deviation of observed ``values`` at each of the T time points, over cells with weights."""
    parts = [_moments(values[index == i], weights[index == i]) for i in range(len(times))]
    return _joined(np.asarray(times, np.float64), parts)


def nearest(
    flow: Flow, z: Float[np.ndarray, "n d"], index: Int[np.ndarray, " n"], times: Float[np.ndarray, " T"]
) -> Float[np.ndarray, " n"]:
    """Weights of the observed cells at ``z`` that lie where the flow is at their time.

    Each carried cell gives its mass to the observed cell of that time point nearest to it in the embedding; a cell that
    is carried is, at its own time, nearest to itself. ``flow`` has to have all ``times`` of the time points.
    """
    weights = np.zeros(len(z))
    for i, t in enumerate(times):
        step = int(np.argmin(np.abs(flow.times - t)))
        cells = np.flatnonzero(index == i)
        _, at = cKDTree(z[cells]).query(flow.z[step])
        np.add.at(weights, cells[at], np.exp(flow.log_w[step].astype(np.float64)))
    return weights


def rates(
    stream: CellStream, z: Float[np.ndarray, "n d"], t: float | Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n m"]:
    """W J_dec(z) v(t, z): how fast each decoded gene changes along the flow, per ``clock.rate_unit``."""
    genes, net = space(stream), stream.autoencoder
    at, v = (torch.as_tensor(part).to(net.shift) for part in (np.asarray(z), stream.velocity(z, t)))
    change = torch.func.jvp(lambda place: net.decode(place)[1], (at,), (v,))[1]
    x = change.cpu().numpy().astype(np.float32)
    return x if genes.loadings is None else x @ genes.loadings


def rank(
    stream: CellStream,
    z: Float[np.ndarray, "n d"],
    log_w: Float[np.ndarray, " n"],
    t: float,
    spread: Float[np.ndarray, " m"],
) -> pd.DataFrame:
    """All genes by how strongly the flow changes them in these cells at time ``t``; strongest first.

    ``spread`` (m,) is each gene's standard deviation over all observed cells (:func:`spread_of`): by it genes of
    different levels compare, and one that the map hardly knows, whose decoded course is flat, ranks low. Columns, each
    a mean over cells weighted by mass:

        ``score``       rate / spread: standard deviations per ``clock.rate_unit``
        ``rate``        d/dt of the decoded expression, per ``clock.rate_unit``
        ``expression``  decoded
        ``same_way``    share of the mass in which the gene goes the way of its mean

    Genes that do not vary have no score and are last.
    """
    genes, weights = space(stream), np.exp(log_w.astype(np.float64))
    weights = weights / weights.sum()
    rate, level, rising, falling = np.zeros((4, len(genes.names)))
    rows = max(ENTRIES // len(genes.names), 1)
    for i in range(0, len(z), rows):
        w, here = weights[i : i + rows], z[i : i + rows]
        change = rates(stream, here, t)
        rate += w @ change
        level += w @ genes.expression(stream.decode(here))
        rising += w @ (change > 0)
        falling += w @ (change < 0)
    varies = spread > 1e-6 * max(float(np.nanmax(spread)), 1e-12)
    columns = dict(
        score=np.where(varies, rate / np.where(varies, spread, 1), np.nan),
        rate=rate,
        expression=level,
        same_way=np.where(rate >= 0, rising, falling),
    )
    table = pd.DataFrame(columns, pd.Index(genes.names, name="gene"))
    return table.iloc[np.argsort(-np.abs(table["score"].to_numpy()), kind="stable")]


def spread_of(snapshots: Snapshots, expression: Any = None) -> Float[np.ndarray, " m"]:
    """Standard deviation of each decodable gene over all cells.

    Of the genes themselves, ``expression`` (n, m), dense or csr (:func:`cellstream.scverse.expression`). Without it, of
    what the features say of them, which for principal components leaves out the noise of single genes.
    """
    if expression is None:
        x = snapshots.x.cpu().numpy().astype(np.float64)
        if snapshots.genes is None or snapshots.genes.loadings is None:
            return x.std(0)
        loadings = snapshots.genes.loadings.astype(np.float64)
        covariance = np.atleast_2d(np.cov(x.T, bias=True))
        return np.sqrt(np.maximum(np.einsum("pm,pq,qm->m", loadings, covariance, loadings, optimize=True), 0))
    if not sparse.issparse(expression):
        return np.asarray(expression).std(0, dtype=np.float64)
    mean = np.asarray(expression.mean(0, dtype=np.float64)).ravel()
    square = np.asarray(expression.multiply(expression).mean(0, dtype=np.float64)).ravel()
    return np.sqrt(np.maximum(square - mean**2, 0))


def ranking(
    stream: CellStream,
    snapshots: Snapshots,
    t: float,
    spread: Float[np.ndarray, " m"],
    r2: pd.Series | None = None,
    selection: np.ndarray | None = None,
) -> pd.DataFrame:
    """:func:`rank` of the cells of :func:`some`, carried to time ``t``, which is a first column ``time``.

    With a last column ``r2``, how much of each gene the map returns, where that is given by name.
    """
    cells = some(snapshots, selection)
    own = snapshots.times.cpu().numpy().astype(np.float64)[snapshots.index.cpu().numpy()[cells]]
    z = stream.encode(snapshots.x[torch.from_numpy(cells)].cpu().numpy(), own)
    flow = stream.carry(z, own, np.array([t], np.float64))
    table = rank(stream, flow.z[0], flow.log_w[0], t, spread)
    table.insert(0, "time", float(t))
    if r2 is not None:  # of a name that is there twice, the first one's
        table["r2"] = r2[~r2.index.duplicated()].reindex(table.index).to_numpy()
    return table


def _joined(times: np.ndarray, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Trend:
    return Trend(times, np.stack([mean for mean, _ in parts]), np.stack([spread for _, spread in parts]))


def _columns(genes: GeneSpace, chosen: Sequence[int]) -> tuple[Any, ...]:
    names = tuple(genes.names[i] for i in chosen)
    if genes.loadings is None or genes.mean is None:
        return (names,)
    return names, genes.loadings[:, list(chosen)], genes.mean[list(chosen)]


def _picked(stream: CellStream, z: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """Decoded features from which the chosen genes follow: all components, or the genes alone."""
    x = stream.decode(z)
    return x if space(stream).loadings is not None else x[:, list(chosen)]


def _moments(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of the columns; not a number where nothing has a weight."""
    total = weights.sum()
    if not total > 0:
        return np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    share = weights / total
    mean = share @ values.astype(np.float64)
    return mean, np.sqrt(share @ np.square(values - mean))

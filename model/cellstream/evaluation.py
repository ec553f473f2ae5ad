"""All metrics of a result in one dictionary, each next to its yardsticks. Plain JSON values.

Keys: ``vc_paper, tc_paper, vc, tc, lonely`` (:func:`metrics.consistency`), ``tc_pca`` (the ``tc`` of plain PCA: the
encoder is told the time; PCA is not), ``trust, trust_pca`` (:func:`metrics.trust_within` of the embedding and of PCA),
``direction, direction_constant`` (:func:`metrics.direction`), ``r2`` (:func:`metrics.r2`, on cells that training has
not seen, where there are such: ``r2_unseen`` says whether, ``r2_cells`` on how many), ``r2_pca`` (of PCA, fitted to the
other cells), ``r2_per_feature`` (of at most :data:`LISTED` features, best and worst), and per time point ``match`` and
``mass``. Where lineage labels are given, ``branch_accuracy, branch_accuracy_pca`` (:func:`metrics.label_accuracy`),
``arrivals`` (:func:`arrivals`) and ``fidelity`` (:func:`fidelity`). PCA has as many dimensions as the embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from cellstream import metrics
from cellstream.errors import UserError
from cellstream.held_out import unseen
from cellstream.metrics import Cloud
from cellstream.snapshots import Snapshots
from cellstream.stream import CHUNK, CellStream, Flow

Match = dict[str, dict[str, float]]

LISTED = 50
"""Features whose R² is kept with a result."""
ROWS = 2048
"""Cells of all genes that are held at once."""
PUSHED = 20_000
"""Cells, at most, that are carried through time: as clouds and in their mean mass the others would look the same."""
COMPARED = 600
"""Points of a cloud, at most, that are compared with as many observed cells."""


def evaluate(
    stream: CellStream,
    snapshots: Snapshots,
    labels: Sequence | np.ndarray | None = None,
    since: str | None = None,
    plane: bool = False,
) -> dict[str, Any]:
    """Every metric on every cell (sampled where a metric says so).

    ``labels`` are the cells' lineages, one per cell of the snapshots, and ``since`` is the time point from which
    lineages are followed; see :func:`arrivals`. With ``plane``, an embedding of more than two dimensions is judged by
    its two leading principal components, onto which velocities are projected, so that results of any dimension compare.
    """
    s = _Arrays(stream, snapshots, plane=plane)
    found = metrics.consistency(s.z, s.v, s.index)
    direction = metrics.direction(s.z, s.v, s.index)
    return dict(
        vc_paper=found.vc_paper,
        tc_paper=found.tc_paper,
        vc=found.vc,
        tc=found.tc,
        tc_pca=_tc_pca(s),
        lonely=found.lonely,
        trust=metrics.trust_within(s.x, s.z, s.index),
        trust_pca=metrics.trust_within(s.x, s.pca, s.index),
        direction=direction.learned,
        direction_constant=direction.constant,
        r2=_r2(s),
        r2_pca=_r2_pca(s),
        r2_per_feature=ends(per_feature(stream, snapshots, s)["r2"]),
        r2_cells=int(s.unseen.sum()) or len(s.x),
        r2_unseen=bool(s.unseen.any()),
        match={label: {**_match(s, i), "input": _match_input(s, i)} for i, label in s.later},
        mass=_mass(s),
        **({} if labels is None else _lineages(s, labels, since)),
    )


def glance(stream: CellStream, snapshots: Snapshots, cells: int = 400) -> dict[str, Any]:
    """The same keys where they are cheap, on a sample of each time point: what a live view shows."""
    generator = np.random.default_rng(0)
    index = snapshots.index.cpu().numpy()
    chosen = [np.flatnonzero(index == i) for i in range(len(snapshots.times))]
    chosen = [generator.choice(c, cells, replace=False) if len(c) > cells else c for c in chosen]
    s = _Arrays(stream, snapshots, np.concatenate(chosen))
    found = metrics.consistency(s.z, s.v, s.index)
    return dict(
        vc=found.vc,
        tc=found.tc,
        tc_pca=_tc_pca(s),
        lonely=found.lonely,
        trust=metrics.trust_within(s.x, s.z, s.index),
        trust_pca=metrics.trust_within(s.x, s.pca, s.index),
        r2=_r2(s),
        r2_pca=_r2_pca(s),
        match={label: _match(s, i) for i, label in s.later},
        mass=_mass(s),
    )


def per_feature(stream: CellStream, snapshots: Snapshots, arrays: _Arrays | None = None) -> pd.DataFrame:
    """How much of each feature comes back, on the cells of ``r2``: columns r2 and r2_pca, best first.

    Features that do not vary in these cells are not a number, and last.
    """
    s = arrays or _Arrays(stream, snapshots)
    x, names = s.x[s.judged], snapshots.features or [f"feature {k + 1}" for k in range(s.x.shape[1])]
    columns = dict(r2=metrics.r2_each(x, s.back), r2_pca=metrics.r2_each(x, s.back_pca))
    return pd.DataFrame(columns, pd.Index(names, name="feature")).sort_values("r2", ascending=False, kind="stable")


def per_gene(stream: CellStream, snapshots: Snapshots, expression: Any) -> tuple[pd.DataFrame, dict[str, float]]:
    """How much of each gene comes back where the features are principal components; and of all together.

    ``expression`` (n, m), dense or csr, holds the genes ``stream.genes`` themselves
    (:func:`cellstream.scverse.expression`). Columns r2, r2_pca and r2_features, that of all components, from which the
    decoder learns; the totals have the keys r2_genes, r2_genes_pca, r2_genes_features, and r2_genes_below, the share of
    the genes that come back worse than by their mean.
    """
    if stream.genes is None:
        raise UserError("The features of this result do not lead back to genes: train with X or a layer as the input.")
    s, genes = _Arrays(stream, snapshots), stream.genes
    rows = np.arange(len(s.x))[s.judged]
    origin = genes.mean if genes.mean is not None else np.zeros(len(genes.names), np.float32)
    found = dict(r2=s.back, r2_pca=s.back_pca, r2_features=s.x[s.judged])
    residual, first, second = np.zeros((3, len(origin))), np.zeros(len(origin)), np.zeros(len(origin))
    for begin in range(0, len(rows), ROWS):
        part = slice(begin, begin + ROWS)
        true = expression[rows[part]]
        true = (true.toarray() if hasattr(true, "toarray") else np.asarray(true)).astype(np.float64)
        first += (true - origin).sum(0)
        second += np.square(true - origin).sum(0)
        for row, features in zip(residual, found.values(), strict=True):
            row += np.square(true - genes.expression(features[part])).sum(0)
    total = second - np.square(first) / len(rows)
    varies = total > 1e-9 * second
    each = np.where(varies, 1 - residual / np.where(varies, total, 1), np.nan)
    table = pd.DataFrame(dict(zip(found, each, strict=True)), pd.Index(genes.names, name="gene"))
    together = 1 - residual.sum(1) / total.sum()
    totals = {f"r2_genes{name[2:]}": float(value) for name, value in zip(found, together, strict=True)}
    totals["r2_genes_below"] = float((table["r2"].dropna() < 0).mean())
    return table.sort_values("r2", ascending=False, kind="stable"), totals


def returned(stream: CellStream, snapshots: Snapshots, expression: Any) -> pd.Series:
    """R² of each of ``stream.genes``, best first, as :func:`per_gene` or, where the features are the genes themselves,
    as :func:`per_feature` has it."""
    if stream.genes is not None and stream.genes.loadings is None:
        return per_feature(stream, snapshots)["r2"]
    return per_gene(stream, snapshots, expression)[0]["r2"]


def ends(values: pd.Series) -> dict[str, float]:
    """Best and worst of sorted values by name: all, or the first and the last where there are more than LISTED."""
    values = values.dropna()
    if len(values) > LISTED:
        values = pd.concat([values.iloc[: LISTED // 2], values.iloc[-LISTED // 2 :]])
    return {str(name): float(value) for name, value in values.items()}


def alignment(stream: CellStream, snapshots: Snapshots, v_true: Float[np.ndarray, "n p"]) -> float:
    """VA (Ling et al. 2026, "Metrics"): distance correlation between v_phi at the cells and :func:`true_velocity`."""
    t = snapshots.times.cpu().numpy().astype(np.float64)[snapshots.index.cpu().numpy()]
    v = stream.velocity(stream.encode(snapshots.x.cpu().numpy(), t), t)
    return metrics.velocity_alignment(v, true_velocity(stream, snapshots, v_true))


def true_velocity(
    stream: CellStream, snapshots: Snapshots, v_true: Float[np.ndarray, "n p"]
) -> Float[np.ndarray, "n d"]:
    """J_enc(x) · v_true(x): known velocities of the cells in feature space, as the embedding shows them.

    The Jacobian is that of the encoder with respect to the features, at each cell's own time; where cells are looked
    up, it is the slope of a local linear fit (:meth:`lookup.Lookup.push`). In embedding units per the unit of time of
    ``v_true``.
    """
    net, like = stream.autoencoder, stream.autoencoder.shift
    tau = snapshots.tau[snapshots.index]
    pushed = []
    for i in range(0, len(snapshots.x), CHUNK):
        t, x = (part[i : i + CHUNK].to(like.device, like.dtype) for part in (tau, snapshots.x))
        v = torch.as_tensor(np.asarray(v_true[i : i + CHUNK]), device=like.device, dtype=like.dtype)
        pushed.append(net.push_velocity(t, x, v).cpu().numpy())
    return np.concatenate(pushed).astype(np.float32)


def in_plane(stream: CellStream, snapshots: Snapshots) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
    """Cells and their velocities in the embedding; of more than two dimensions in its principal plane."""
    t = snapshots.times.cpu().numpy().astype(np.float64)[snapshots.index.cpu().numpy()]
    z = stream.encode(snapshots.x.cpu().numpy(), t)
    v = stream.velocity(z, t)
    if stream.latent_dim <= 2:
        return z, v
    axes = metrics.principal_axes(z)
    return z @ axes, v @ axes


def arrivals(
    stream: CellStream, snapshots: Snapshots, labels: Sequence | np.ndarray, since: str | None = None
) -> dict[str, Any]:
    """Into which lineages the cells of time point ``since`` go, by the model, until the last time point.

    Carried there and weighted by their growth, they are given the labels of the observed cells around them
    (:func:`metrics.arrivals`). ``since`` is by default the time point before the last. Empty where no cell of the last
    time point has a label.

    Returns:
        ``{"from": label, "to": label, "lineages": {name: {"predicted", "observed"}}, "difference": the largest}``.

    Raises:
        UserError: there is no such time point, or it is the last one, or labels are not one per cell.
    """
    return _arrivals(_Arrays(stream, snapshots), np.asarray(labels, dtype=object), since)


def fidelity(stream: CellStream, snapshots: Snapshots, labels: Sequence | np.ndarray) -> dict[str, dict[str, Any]]:
    """Of the cells of each time point that have a label of the last one, the share that the model carries to cells of
    their own label (:func:`metrics.landed`): lineages that have parted should not mix again.

    Returns:
        ``{time point: {"of": labelled cells, "kept": share, "chance": share that would be kept if they were spread over
        the labels of the last time point as its cells are, "lineages": {label: kept}}}``, without time points that have
        none.
    """
    return _fidelity(_Arrays(stream, snapshots), np.asarray(labels, dtype=object))


def _lineages(s: _Arrays, labels: Sequence | np.ndarray, since: str | None) -> dict[str, Any]:
    labels = np.asarray(labels, dtype=object)
    reached = _arrivals(s, labels, since)
    return dict(
        branch_accuracy=metrics.label_accuracy(s.z, labels),
        branch_accuracy_pca=metrics.label_accuracy(s.pca, labels),
        arrivals=reached,
        fidelity=_fidelity(s, labels),
    )


def _fidelity(s: _Arrays, labels: np.ndarray) -> dict[str, dict[str, Any]]:
    last = len(s.labels) - 1
    ends = labels[s.index == last]
    names = labels.astype(str)
    observed = pd.Series(ends[metrics.labelled(ends)].astype(str)).value_counts(normalize=True)
    committed = np.isin(names, observed.index)
    found: dict[str, dict[str, Any]] = {}
    for i, name in enumerate(s.labels[:last]):
        here = np.flatnonzero(committed & (s.index == i))
        if len(here):
            there = s.seen(s.stream.push(s.latent[here], s.times[i], s.times[-1:]).z[0])
            kept = metrics.landed(there, s.at(s.z, last), ends) == names[here]
            found[name] = dict(
                of=float(len(here)),
                kept=float(kept.mean()),
                chance=float(observed[names[here]].mean()),
                lineages=pd.Series(kept).groupby(names[here]).mean().to_dict(),
            )
    return found


def _arrivals(s: _Arrays, labels: np.ndarray, since: str | None) -> dict[str, Any]:
    if len(labels) != len(s.index):
        raise UserError(f"Expected one lineage label per cell, {len(s.index):,} in all, but got {len(labels):,}.")
    last = len(s.labels) - 1
    start = last - 1 if since is None else s.labels.index(since) if since in s.labels[:last] else -1
    if start < 0:
        raise UserError(
            f"Expected a time point before the last one to follow lineages from, but got {since!r}; there are "
            f"{', '.join(s.labels[:last])}."
        )
    flow = s.stream.push(_some(s.at(s.latent, start)), s.times[start], s.times[-1:])
    weights = np.exp(flow.log_w[0].astype(np.float64))
    shares = metrics.arrivals(s.seen(flow.z[0]), weights, s.at(s.z, last), labels[s.index == last])
    if not shares:
        return {}
    difference = max(abs(share["predicted"] - share["observed"]) for share in shares.values())
    begin = labels[s.index == start].astype(str)
    known = np.isin(begin, list(shares))
    for name, share in shares.items():
        share["start"] = float((begin[known] == name).mean()) if known.any() else float("nan")
    return {"from": s.labels[start], "to": s.labels[last], "lineages": shares, "difference": difference}


class _Arrays:
    """What the metrics read, computed once, and what is costly only for those that read it."""

    def __init__(self, stream: CellStream, snapshots: Snapshots, chosen: np.ndarray | None = None, plane: bool = False):
        rows = slice(None) if chosen is None else chosen
        self.stream = stream
        self.x = snapshots.x.cpu().numpy()[rows].astype(np.float32)
        self.index = snapshots.index.cpu().numpy()[rows]
        self.unseen = unseen(stream.autoencoder, snapshots, stream.config).cpu().numpy()[rows]
        self.times = snapshots.times.cpu().numpy().astype(np.float64)
        self.mass = snapshots.mass.cpu().numpy()
        t = self.times[self.index]
        self.latent = stream.encode(self.x, t)
        self.labels = snapshots.labels
        self.dimensions = 2 if plane else stream.latent_dim
        self.axes = metrics.principal_axes(self.latent) if plane and stream.latent_dim > 2 else None
        self.z = self.seen(self.latent)
        self.later = list(enumerate(snapshots.labels))[1:]

    @cached_property
    def pca(self) -> np.ndarray:
        """The cells' leading principal components, as many as the embedding has axes."""
        return metrics.principal_components(self.x, self.dimensions)

    @cached_property
    def v(self) -> np.ndarray:
        """The cells' velocities in the embedding."""
        return self.seen(self.stream.velocity(self.latent, self.times[self.index]))

    @cached_property
    def flow(self) -> Flow:
        """The cells of the first time point, carried to all time points."""
        return self.stream.push(_some(self.latent[self.index == 0]), self.times[0], self.times)

    @cached_property
    def judged(self) -> np.ndarray:
        """The cells to judge the reconstruction on: those that training has not seen; all, where there are none."""
        return self.unseen if self.unseen.any() else np.ones_like(self.unseen)

    @cached_property
    def back(self) -> np.ndarray:
        """What the decoder makes of them."""
        return self.stream.decode(self.latent[self.judged])

    @cached_property
    def back_pca(self) -> np.ndarray:
        """What the principal components of the cells seen, as many as the embedding has axes, leave of them."""
        return metrics.through_pca(self.x[~self.unseen], self.x[self.judged], self.stream.latent_dim)

    def seen(self, z: np.ndarray) -> np.ndarray:
        """Points or velocities of the embedding as they are judged: projected, where ``axes`` says so."""
        return z if self.axes is None else z @ self.axes

    def box(self, z: np.ndarray) -> np.ndarray:
        """Points of the embedding in its unit box."""
        corner, side = self._box
        return (z - corner) / side

    @cached_property
    def _box(self) -> tuple[np.ndarray, float]:
        return metrics.unit_box(self.z)

    def at(self, values: np.ndarray, i: int) -> np.ndarray:
        """``values`` of the cells of time point ``i``."""
        return values[self.index == i]


def _some(cells: np.ndarray) -> np.ndarray:
    """At most :data:`PUSHED` of the rows, always the same ones."""
    if len(cells) <= PUSHED:
        return cells
    return cells[np.sort(np.random.default_rng(0).choice(len(cells), PUSHED, replace=False))]


def _tc_pca(s: _Arrays) -> float:
    """The strict TC of the principal components, which have no velocity."""
    return metrics.consistency(s.pca, np.zeros_like(s.pca), s.index).tc


def _r2(s: _Arrays) -> float:
    """Of the decoder, on the cells that training has not seen; on all, where there are none."""
    return metrics.r2(s.x[s.judged], s.back)


def _r2_pca(s: _Arrays) -> float:
    """The same of PCA: no linear map does better on the cells that it was fitted to."""
    return metrics.r2(s.x[s.judged], s.back_pca)


def _yardsticks(start: np.ndarray, observed: np.ndarray) -> dict[str, Cloud]:
    """What needs no model: "nothing moves", "all move alike"."""
    shifted = start + observed.mean(0) - start.mean(0)
    return dict(stays=metrics.even(start), shift=metrics.even(shifted))


def _against(start: np.ndarray, observed: np.ndarray, clouds: Mapping[str, Cloud]) -> dict[str, float]:
    """W_2 of the clouds, of the yardsticks and of the noise, between samples of one size; and ``w2_all``."""
    m = min(len(observed) // 2, len(start), COMPARED)
    found = metrics.compared(observed, {**clouds, **_yardsticks(start, observed)}, m)
    points, weights = clouds["w2"]
    return found | dict(w2_all=metrics.w2(points, observed, weights))


def _match(s: _Arrays, i: int) -> dict[str, float]:
    """Predicted against observed cells of time point ``i`` in the unit-box embedding."""
    predicted = s.box(s.seen(s.flow.z[i])), np.exp(s.flow.log_w[i].astype(np.float64))
    return _against(s.box(s.at(s.z, 0)), s.box(s.at(s.z, i)), dict(w2=predicted))


def _match_input(s: _Arrays, i: int) -> dict[str, float]:
    """The same, decoded, in the input space; ``autoencoder`` is what decoding alone does to the observed cells."""
    predicted = s.stream.decode(s.flow.z[i]), np.exp(s.flow.log_w[i].astype(np.float64))
    back = metrics.even(s.stream.decode(s.at(s.latent, i)))
    return _against(s.at(s.x, 0), s.at(s.x, i), dict(w2=predicted, autoencoder=back))


def _mass(s: _Arrays) -> dict[str, dict[str, float]]:
    """Predicted and observed relative mass per time point."""
    predicted = np.exp(s.flow.log_w.astype(np.float64)).mean(1)
    return {label: dict(predicted=float(predicted[i]), observed=float(s.mass[i])) for i, label in s.later}

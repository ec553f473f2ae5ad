"""From the flow back to genes: against closed forms, finite differences, and a simulation that knows its velocity."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from cellstream import datasets, evaluation, genes, scverse
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.gene_space import GeneSpace
from cellstream.networks import Autoencoder, Growth, Velocity
from cellstream.runs import Run
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream, Flow

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data" / "branching-result"


def stream_of(snapshots: Snapshots, space: GeneSpace | None, **settings: object) -> CellStream:
    """Networks as they are born, in an embedding of two dimensions."""
    config = Config().with_settings(latent_dim=2, **settings)
    torch.manual_seed(3)
    net = Autoencoder(snapshots.x.shape[1], config.networks)
    net.set_scaling(snapshots.tau[snapshots.index], snapshots.x, config.networks)
    nets = dict(autoencoder=net, velocity=Velocity(config.networks, 3), growth=Growth(config.networks, 3))
    weights = {f"{name}.{key}": value for name, part in nets.items() for key, value in part.state_dict().items()}
    return CellStream.from_weights(weights, replace(snapshots, genes=space), config)


@pytest.fixture
def components() -> GeneSpace:
    """Seven genes behind the five features."""
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(5, 7)).astype(np.float32), rng.normal(size=7).astype(np.float32)
    return GeneSpace(tuple(f"G{i}" for i in range(7)), *parts)


def embedded(stream: CellStream, snapshots: Snapshots) -> tuple[np.ndarray, np.ndarray]:
    t = snapshots.times.numpy().astype(np.float64)[snapshots.index.numpy()]
    return stream.encode(snapshots.x.numpy(), t), t


def test_rates_of_a_linear_decoder_are_its_matrix_times_the_velocity(moving_cloud, components):
    stream = stream_of(moving_cloud, components, decoder_layers=0)
    z, t = embedded(stream, moving_cloud)
    net = stream.autoencoder
    matrix = (net.decoder[0].weight[1:] * net.scale[1:, None]).numpy()  # features by latent; the first output is time
    expected = stream.velocity(z, t) @ matrix.T @ components.loadings
    np.testing.assert_allclose(genes.rates(stream, z, t), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("even", [True, False])
def test_rates_are_the_slope_of_the_decoded_expression_along_the_flow(moving_cloud, components, even):
    """In the unit that ``rate_unit`` names, whatever the networks' own time is."""
    snapshots = replace(moving_cloud, even=even)
    stream = stream_of(snapshots, components, autoencoder_activation="tanh")
    z = embedded(stream, snapshots)[0][:20]
    t, h = 2.0, 0.02  # where a unit of time is half a time step
    after, before = (go(z, t, [t + sign * h]).z[0] for sign, go in ((1, stream.push), (-1, stream.pull)))
    slope = (stream.decode_genes(after) - stream.decode_genes(before)) / (2 * h * (0.5 if even else 1))
    np.testing.assert_allclose(genes.rates(stream, z, t), slope, rtol=2e-2, atol=2e-3)


def test_each_cell_is_carried_from_its_own_time_both_ways(moving_cloud):
    stream = stream_of(moving_cloud, None)
    z, t = embedded(stream, moving_cloud)
    chosen, times = np.array([0, 39, 50, 100, 189]), np.array([0.0, 0.4, 1.0, 1.7, 3.0])
    flow = stream.carry(z[chosen], t[chosen], times)
    for i, cell in enumerate(chosen):
        here = z[[cell]]
        if t[cell] < 3:
            alone = stream.push(here, t[cell], times[times >= t[cell]])
            np.testing.assert_allclose(flow.z[times >= t[cell], i], alone.z[:, 0], atol=1e-5)
            np.testing.assert_allclose(flow.log_w[times >= t[cell], i], alone.log_w[:, 0], atol=1e-5)
        if t[cell] > 0:
            alone = stream.pull(here, t[cell], times[times <= t[cell]][::-1])
            np.testing.assert_allclose(flow.z[times <= t[cell], i], alone.z[::-1, 0], atol=1e-5)
            np.testing.assert_allclose(flow.log_w[times <= t[cell], i], alone.log_w[::-1, 0], atol=1e-5)
        assert flow.log_w[times == t[cell], i].tolist() == [0.0]


def test_a_trend_weighs_cells_by_their_mass(moving_cloud, components):
    """Two cells, of which one has three times the mass of the other at the second time."""
    stream = stream_of(moving_cloud, components)
    z = np.random.default_rng(0).normal(size=(2, 2, 2)).astype(np.float32)
    log_w = np.log(np.array([[1.0, 1.0], [1.0, 3.0]], np.float32))
    found = genes.trend(stream, Flow(np.array([0.0, 1.0]), z, log_w), [5, 2])
    a, b = (stream.decode_genes(part)[:, [5, 2]].astype(float) for part in (z[:, 0], z[:, 1]))
    np.testing.assert_allclose(found.mean, [(a[0] + b[0]) / 2, (a[1] + 3 * b[1]) / 4], rtol=1e-5)
    half_way = np.abs(a - b)
    np.testing.assert_allclose(found.spread, [half_way[0] / 2, half_way[1] * np.sqrt(3) / 4], rtol=1e-5)


def test_genes_that_are_the_features_are_decoded_like_components_of_one_each(moving_cloud):
    """Loadings of one and no mean are no loadings: the same trends and the same ranking."""
    names = tuple("ABCDE")
    plain = stream_of(moving_cloud, GeneSpace(names))
    turned = replace(plain, genes=GeneSpace(names, np.eye(5, dtype=np.float32), np.zeros(5, np.float32)))
    z, t = embedded(plain, moving_cloud)
    flow, spread = plain.carry(z[:30], t[:30], np.array([0.0, 2.0])), genes.spread_of(moving_cloud)
    np.testing.assert_allclose(genes.trend(plain, flow, [3, 0]).mean, genes.trend(turned, flow, [3, 0]).mean, rtol=1e-5)
    tables = [genes.rank(s, flow.z[1], flow.log_w[1], 2.0, spread) for s in (plain, turned)]
    pd.testing.assert_frame_equal(*tables, rtol=1e-4)


def test_the_ranking_is_the_mean_rate_over_the_spread_by_hand(moving_cloud, components, monkeypatch):
    """However few cells are decoded at once; a gene that does not vary has no score and is last."""
    monkeypatch.setattr(genes, "ENTRIES", 7 * 3)
    stream = stream_of(moving_cloud, components)
    z = np.random.default_rng(0).normal(size=(10, 2)).astype(np.float32)
    log_w = np.linspace(-1, 1, 10).astype(np.float32)
    spread = np.array([1.0, 2.0, 0.5, 1.0, 0.0, 3.0, 1.0])
    table = genes.rank(stream, z, log_w, 1.5, spread)
    w = np.exp(log_w) / np.exp(log_w).sum()
    rates = genes.rates(stream, z, 1.5)
    np.testing.assert_allclose(table["rate"][list(components.names)], w @ rates, rtol=1e-4)
    same = w @ (np.sign(rates) == np.sign(w @ rates))
    np.testing.assert_allclose(table["same_way"][list(components.names)], same, rtol=1e-6)
    np.testing.assert_allclose(table["expression"][list(components.names)], w @ stream.decode_genes(z), rtol=1e-4)
    assert table.index[-1] == "G4"
    assert np.isnan(table["score"].iloc[-1])
    score = np.abs(table["score"].to_numpy()[:-1])
    assert (np.diff(score) <= 0).all()
    np.testing.assert_allclose(table["score"]["G5"], (w @ rates)[5] / 3, rtol=1e-4)


def test_the_spread_of_genes_is_that_of_numpy_whatever_holds_them(moving_cloud, components):
    dense = np.random.default_rng(0).poisson(1.0, size=(190, 7)).astype(np.float32)
    for matrix in (dense, sparse.csr_matrix(dense), sparse.csc_matrix(dense)):
        np.testing.assert_allclose(genes.spread_of(moving_cloud, matrix), dense.std(0), rtol=1e-5)
    told = components.expression(moving_cloud.x.numpy()).std(0)
    np.testing.assert_allclose(genes.spread_of(replace(moving_cloud, genes=components)), told, rtol=1e-4)
    np.testing.assert_allclose(genes.spread_of(moving_cloud), moving_cloud.x.numpy().std(0), rtol=1e-4)


def test_the_cells_beside_the_flow_are_those_nearest_to_it(moving_cloud):
    """Brute force over all pairs; a carried cell is, at its own time, nearest to itself."""
    stream = stream_of(moving_cloud, None)
    z, t = embedded(stream, moving_cloud)
    index, times = moving_cloud.index.numpy(), moving_cloud.times.numpy()
    chosen = np.array([45, 60, 77])
    flow = stream.carry(z[chosen], t[chosen], np.array([0.0, 0.5, 1.0, 2.0, 3.0]))
    weights = genes.nearest(flow, z, index, times)
    assert weights[index == 1].nonzero()[0].tolist() == [5, 20, 37]
    for i, step in ((0, 0), (2, 4)):
        cells = np.flatnonzero(index == i)
        at = np.linalg.norm(flow.z[step][:, None] - z[cells], axis=2).argmin(1)
        expected = np.bincount(at, np.exp(flow.log_w[step]), len(cells))
        np.testing.assert_allclose(weights[cells], expected, rtol=1e-6)


def test_no_more_cells_than_needed_are_carried_and_never_none(moving_cloud, monkeypatch):
    assert genes.some(moving_cloud).tolist() == list(range(40))
    assert genes.some(moving_cloud, np.array([7, 3, 3])).tolist() == [3, 7]
    monkeypatch.setattr(genes, "CARRIED", 10)
    first, again = genes.some(moving_cloud), genes.some(moving_cloud)
    assert len(set(first.tolist())) == 10
    assert first.tolist() == again.tolist()
    with pytest.raises(UserError, match="none is selected"):
        genes.some(moving_cloud, np.array([], int))


def test_an_embedding_has_no_way_back_to_genes(moving_cloud):
    stream = stream_of(moving_cloud, None)
    with pytest.raises(UserError, match="trained on an embedding"):
        genes.ranking(stream, moving_cloud, 1.0, np.ones(5))


def test_drivers_of_the_sample_are_those_of_its_simulation():
    """The simulation knows d/dt of every gene in every cell: between the ends of the time course the rates follow it,
    and the genes that are said to change most go the right way."""
    run = Run(SAMPLE)
    stream, snapshots, adata = run.result(), run.snapshots(), datasets.load("branching")
    truth = adata.layers["velocity_true"]
    truth = truth.toarray() if hasattr(truth, "toarray") else truth
    expression = scverse.expression(adata, stream, snapshots, run.recipe)
    spread, r2 = genes.spread_of(snapshots, expression), evaluation.returned(stream, snapshots, expression)
    for i in (1, 2, 3, 4):
        cells = np.flatnonzero(snapshots.index.numpy() == i)
        table = genes.ranking(stream, snapshots, float(snapshots.times[i]), spread, r2, cells)
        true = pd.Series(truth[cells].mean(0), adata.var_names)[table.index]
        assert np.corrcoef(table["rate"], true)[0, 1] > 0.8
        first = table.index[table["r2"] > 0.1][:10]
        assert (np.sign(table["rate"][first]) == np.sign(true[first])).mean() >= 0.9

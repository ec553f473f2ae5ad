"""Affinities against a direct search for t-SNE's perplexity; and the neighbour term at any number of cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.special import softmax

from cellstream import affinities, objective, shaping
from cellstream.affinities import Affinities
from cellstream.presets import preset
from cellstream.snapshots import Snapshots
from cellstream.state import State
from tests.conftest import TINY


def by_the_book(x: np.ndarray, perplexity: float, most_near: int) -> np.ndarray:
    """p_{j|i} ∝ exp(−|x_i − x_j|² / 2σ_i²) over the nearest cells, σ_i so that 2^H(p_i) is the perplexity, then
    p_ij ∝ p_{j|i} + p_{i|j} (van der Maaten & Hinton, JMLR 2008, section 2), together 1."""
    square, p = cdist(x, x, "sqeuclidean"), np.zeros((len(x), len(x)))
    np.fill_diagonal(square, np.inf)
    for i, row in enumerate(square):
        near = np.argsort(row)[:most_near]
        given = lambda log_beta, at=row[near]: softmax(-np.exp(log_beta) * (at - at.min()))  # noqa: E731
        entropy = lambda log_beta, given=given: -(given(log_beta) * np.log(given(log_beta) + 1e-300)).sum()  # noqa: E731
        p[i, near] = given(brentq(lambda b, h=entropy: h(b) - np.log(perplexity), -20, 15))
    return (p + p.T) / (p + p.T).sum()


@pytest.mark.parametrize(("n", "perplexity", "most_near"), [(40, 13, 39), (150, 30, 90)])
def test_affinities_are_those_of_the_perplexity(n, perplexity, most_near):
    """Thirty neighbours, or a third of the few others; among three times as many nearest cells."""
    x = np.random.default_rng(0).normal(size=(n, 4)) * [1, 2, 3, 1]
    found = Affinities([torch.tensor(x)], [torch.arange(n)]).among(0, torch.arange(n)).numpy()
    np.testing.assert_allclose(found / found.sum(), by_the_book(x, perplexity, most_near), atol=2e-6)


def test_among_is_in_the_order_asked_for_and_of_the_time_point_asked_about():
    """Cells of two time points that alternate in the file."""
    x = torch.tensor(np.random.default_rng(1).normal(size=(60, 3)))
    cells = [torch.arange(0, 60, 2), torch.arange(1, 60, 2)]
    both = Affinities([x[at] for at in cells], cells)
    alone = by_the_book(x[cells[1]].numpy(), 29 / 3, 29)
    order = torch.tensor([21, 5, 59, 1])
    whole = both.among(1, cells[1]).sum().item()
    np.testing.assert_allclose(both.among(1, order) / whole, alone[np.ix_(order // 2, order // 2)], atol=2e-6)


def population(counts: list[int], seed: int = 0) -> Snapshots:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(sum(counts), 4)) * [300, 5, 1, 1] + np.repeat(np.arange(len(counts)), counts)[:, None] * 3
    return Snapshots(
        x=torch.tensor(x, dtype=torch.float32),
        index=torch.tensor(np.repeat(np.arange(len(counts)), counts)),
        times=torch.arange(len(counts), dtype=torch.float32),
        mass=torch.tensor(counts) / counts[0],
        labels=tuple(str(i) for i in range(len(counts))),
    )


def test_affinities_see_the_input_in_the_autoencoders_units():
    """With every feature at variance 1, one of large numbers does not decide alone who is near."""
    snapshots = population([50, 60])
    state = State.initial(snapshots, preset("best", **TINY, held_out=0, input_scaling="standardise"))
    for i, cells in enumerate(state.kept):
        x = snapshots.x.numpy() / snapshots.x.numpy().std(0, ddof=1)
        found = state.affinities.among(i, cells).numpy()
        expected = by_the_book(x[cells], (len(cells) - 1) / 3, len(cells) - 1)
        np.testing.assert_allclose(found / found.sum(), expected, atol=2e-5)


def test_small_time_points_keep_all_neighbours_and_large_ones_those_of_a_sample(monkeypatch):
    monkeypatch.setattr(affinities, "MOST", 100)
    state = State.initial(population([80, 300]), preset("best", **TINY))
    few, many = state.kept
    assert torch.equal(few, state.seen[0])
    assert len(many) == len(many.unique()) == 100
    assert set(many.tolist()) <= set(state.seen[1].tolist())
    batch = state.draw(5, 32)
    own, other = state.near(batch)
    assert torch.equal(own, batch.cells[0])
    assert len(other) == len(other.unique()) == 32
    assert set(other.tolist()) <= set(many.tolist())
    assert torch.equal(other, state.near(batch)[1])
    assert not torch.equal(other, state.near(state.draw(6, 32))[1])


def test_the_neighbour_term_means_the_same_for_any_number_of_cells(monkeypatch):
    """Two cells of a batch are as often near each other among 4,000 as among as many as are kept."""
    monkeypatch.setattr(affinities, "MOST", 400)
    share = []
    for counts in ([400, 400], [4000, 4000]):
        state = State.initial(population(counts), preset("best", **TINY, held_out=0))
        near = [pair for k in range(5) for pair in enumerate(state.near(state.draw(k, 64)))]
        share.append(np.mean([(state.affinities.among(i, cells) > 0).float().mean().item() for i, cells in near]))
    assert share[1] == pytest.approx(share[0], rel=0.1)


def test_the_neighbour_term_is_that_of_cells_with_affinities(monkeypatch):
    monkeypatch.setattr(affinities, "MOST", 100)
    state = State.initial(population([80, 300]), preset("best", **TINY))
    batch = state.draw(5, 32)
    found = shaping.embedding_losses(state, batch, batch.encode(state.autoencoder), shaping.company_of(state, batch))[
        "neighbours"
    ].item()
    terms = []
    for i, cells in enumerate((batch.cells[0], state.near(batch)[1])):
        z = state.encode(cells)
        z = 10 * z / z.var(0).sum().sqrt()
        terms.append(objective.neighbours(z, objective.Neighbourhood.of(state.affinities.among(i, cells))).item())
    assert found == pytest.approx(np.mean(terms), rel=1e-5)

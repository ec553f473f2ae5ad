"""Each loss against its formula, worked out another way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import ot
import pytest
import torch
from scipy.special import kl_div

from cellstream import objective
from cellstream.config import Networks, Weights
from cellstream.dynamics import Path
from cellstream.networks import Autoencoder
from cellstream.objective import Neighbourhood


@pytest.fixture
def path() -> Path:
    g = torch.Generator().manual_seed(0)
    z = torch.randn(3, 12, 2, generator=g, dtype=torch.float64)
    log_w = torch.randn(3, 12, generator=g, dtype=torch.float64) * 0.3 - np.log(12)
    action = torch.rand(3, 12, generator=g, dtype=torch.float64).cumsum(0)
    return Path(torch.arange(3.0), z, log_w, action)


def test_action_is_the_sum_at_the_end(path):
    assert objective.action(path).item() == pytest.approx(path.action[-1].numpy().sum())


def test_mass_error_adds_up_the_absolute_differences(path):
    mass = torch.tensor([1.0, 1.5, 0.5], dtype=torch.float64)
    expected = np.abs(np.exp(path.log_w.numpy()).sum(1) - mass.numpy()).sum()
    assert objective.mass_error(path, mass).item() == pytest.approx(expected)


def test_matching_is_the_sum_of_wasserstein_distances(path):
    targets = [torch.randn(k, 2, dtype=torch.float64) for k in (12, 9, 15)]
    loss = objective.matching(path, targets, objective.couplings(path, targets))
    expected = 0.0
    for i in (1, 2):
        w = np.exp(path.log_w[i].numpy())
        b = np.full(len(targets[i]), 1 / len(targets[i]))
        expected += np.sqrt(ot.emd2(w / w.sum(), b, ot.dist(path.z[i].numpy(), targets[i].numpy())))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_a_perfect_match_has_a_slope():
    """√ has none at zero."""
    z = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]], requires_grad=True)
    path = Path(torch.arange(2.0), z, torch.zeros(2, 1), torch.zeros(2, 1))
    targets = list(z.detach())
    loss = objective.matching(path, targets, objective.couplings(path, targets))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    assert z.grad.isfinite().all()


def test_reconstruction_is_the_mean_square_over_time_and_features():
    net = Autoencoder(4, Networks())
    tau, x = torch.rand(20), torch.rand(20, 4)
    z = net.encode(tau, x)
    back_t, back_x = (part.detach().numpy() for part in net.decode(z))
    expected = (np.square(back_t - tau.numpy()).sum() + np.square(back_x - x.numpy()).sum()) / (20 * 5)
    assert objective.reconstruction(net, tau, x, z).item() == pytest.approx(float(expected), rel=1e-5)


def test_neighbours_is_the_divergence_of_tsne():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(30, 2, generator=g, dtype=torch.float64)
    p = torch.rand(30, 30, generator=g, dtype=torch.float64)
    p = p + p.T
    p.fill_diagonal_(0)
    q = 1 / (1 + ((z[:, None] - z[None]) ** 2).sum(-1).numpy())
    np.fill_diagonal(q, 0)
    expected = kl_div((p / p.sum()).numpy(), q / q.sum())[~np.eye(30, dtype=bool)].sum()
    assert objective.neighbours(z, Neighbourhood.of(p)).item() == pytest.approx(expected, rel=1e-6)


def test_the_gradient_of_neighbours_is_that_of_its_value():
    g = torch.Generator().manual_seed(1)
    z = torch.randn(12, 3, generator=g, dtype=torch.float64, requires_grad=True)
    p = torch.rand(12, 12, generator=g, dtype=torch.float64) * (torch.rand(12, 12, generator=g) > 0.5)
    near = Neighbourhood.of((p + p.T).fill_diagonal_(0))
    assert torch.autograd.gradcheck(lambda z: 3 * objective.neighbours(z, near), z)


def test_cells_without_neighbours_have_nothing_to_keep():
    z = torch.randn(8, 2, requires_grad=True)
    loss = objective.neighbours(z, Neighbourhood.of(torch.zeros(8, 8)))
    loss.backward()
    assert loss.item() == 0
    assert (z.grad == 0).all()


def test_steps_of_one_velocity_cost_nothing():
    s, gaps = torch.tensor([1.0, 2.0], dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64)
    before = torch.rand(2, 10, 2, dtype=torch.float64)
    before[1] = before[0] + s  # the second interval begins where the first ends
    after = before + s * gaps[:, None, None]
    assert objective.uneven_steps(before, after, gaps).item() == pytest.approx(0, abs=1e-12)


def test_uneven_steps_are_measured_against_the_embedding():
    """Two cells that go 1 ± e along one axis: ⟨|stray|²⟩ = e², over the variance of all four points."""
    before = torch.tensor([[[0.0], [10.0]]])
    after = torch.tensor([[[0.7], [11.3]]])
    expected = 0.09 / np.var([0, 10, 0.7, 11.3], ddof=1)
    assert objective.uneven_steps(before, after, torch.ones(1)).item() == pytest.approx(expected, rel=1e-4)


def test_going_to_and_fro_is_uneven():
    """Steps of 1 there and 1 back have no constant velocity; steps of 1 and 1 on have."""
    before, back = torch.tensor([[[0.0]], [[1.0]]]), torch.tensor([[[1.0]], [[0.0]]])
    on = torch.tensor([[[1.0]], [[2.0]]])
    assert objective.uneven_steps(before, on, torch.ones(2)).item() == pytest.approx(0)
    assert objective.uneven_steps(before, back, torch.ones(2)).item() > 1


@pytest.mark.parametrize("shape", ["disc", "strip"])
def test_separation_knows_when_time_points_touch(shape):
    """Discs of diameter 1 or strips of width 1, at a distance of 1 and 2 along the first axis."""
    rng = np.random.default_rng(0)
    p = rng.uniform(-0.5, 0.5, (40_000, 2))
    p = p[np.hypot(*p.T) < 0.5] if shape == "disc" else p * [1, 7]
    z = [torch.tensor(p + [x, 0]) for x in (0, 1, 3)]
    tail = np.sort(p[:, 0])[-len(p) // 10 :].mean()
    expected = [(x - 2 * tail) / p[:, 0].std() + 2 * 1.755 for x in (1, 2)]
    assert objective.separation(z).tolist() == pytest.approx(expected, rel=0.02)
    assert expected[0] == pytest.approx({"disc": 4.3, "strip": 3.9}[shape], abs=0.05)


def test_separation_of_normal_time_points_is_their_distance():
    rng = np.random.default_rng(0)
    z = [torch.tensor(rng.normal([x, 5], [2, 30], (200_000, 2))) for x in (0, 6, 8)]
    s = objective.separation(z)
    assert s.tolist() == pytest.approx([3, 1], abs=0.05)


def test_a_tail_counts_for_separation():
    """As far apart in mean and variance as normal ones, but the tails of the two reach into each other."""
    rng = np.random.default_rng(0)
    tailed = rng.exponential(1, 100_000)
    z = [torch.tensor(np.column_stack([q, q])) for q in (tailed, 5 - tailed)]
    normal = [torch.tensor(np.column_stack([q, q])) for q in (rng.normal(0, 1, 100_000), rng.normal(3, 1, 100_000))]
    assert objective.separation(z).item() < objective.separation(normal).item() - 0.5


def test_total_is_the_papers_sum():
    """And ours: every term with its own weight, and terms that are not given cost nothing."""
    weights = Weights(lambda_ae=2, lambda_wfr=3, lambda_match=5, lambda_ot=7, lambda_mass=11, lambda_neighbours=13)
    weights = replace(weights, lambda_between=23, lambda_steps=17, lambda_separation=19)
    given = dict(ae=1.0, wfr=10.0, mass=100.0, ot=1000.0, neighbours=1e4, steps=1e5, separation=1e6, between=1e7)
    terms = {k: torch.tensor(v, dtype=torch.float64) for k, v in given.items()}
    papers = 2 + 30 + 5 * (7 * 1000 + 11 * 100)
    assert objective.total(terms, weights).item() == papers + 13e4 + 17e5 + 19e6 + 23e7
    for ours in ("neighbours", "between", "steps", "separation"):
        del terms[ours]
    assert objective.total(terms, weights).item() == papers

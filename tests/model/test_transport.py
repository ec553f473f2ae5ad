"""Optimal transport against POT's own answers, closed forms and finite differences."""

from __future__ import annotations

import os
import threading
import weakref

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cellstream import transport
from cellstream.errors import Diverged


def clouds(n: int, m: int, d: int, seed: int):
    g = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.rand(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    a, b = rand(n) + 0.1, rand(m) + 0.1
    return a / a.sum(), rand(n, d), b / b.sum(), rand(m, d) + 0.5


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 30), m=st.integers(1, 30), d=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_cost_is_that_of_pot(n, m, d, seed):
    a, x, b, y = clouds(n, m, d, seed)
    expected = ot.emd2(a.numpy(), b.numpy(), ot.dist(x.numpy(), y.numpy()))
    assert transport.wasserstein(a, x, b, y).item() == pytest.approx(np.sqrt(expected), abs=1e-5)


def test_plan_is_feasible_and_complementary():
    """Optimality: marginals hold, u_i + w_j ≤ C_ij, and equality wherever mass moves (u up to its constant)."""
    a, x, b, y = clouds(20, 25, 3, 1)
    plan = transport.solve(a, x, b, y)
    torch.testing.assert_close(plan.coupling.sum(1), a)
    torch.testing.assert_close(plan.coupling.sum(0), b)
    slack = transport.squared_distances(x, y) - plan.potential[:, None]
    other = slack.min(0).values  # the best w_j for this u
    reduced = slack - other[None]
    assert reduced.min() > -1e-9
    assert (plan.coupling * reduced).sum() < 1e-9


def test_shifting_a_cloud_costs_the_length_of_the_shift():
    x = torch.rand(50, 4, dtype=torch.float64)
    shift = torch.tensor([3.0, 0.0, -4.0, 0.0], dtype=torch.float64)
    w = torch.full((50,), 1 / 50, dtype=torch.float64)
    assert transport.wasserstein(w, x, w, x + shift).item() == pytest.approx(5.0, abs=1e-9)


def test_gradients_are_those_of_the_optimal_cost():
    """In positions and in weights, against central differences of POT's optimal cost."""
    a, x, b, y = clouds(7, 9, 2, 3)
    a, x = a.requires_grad_(), x.requires_grad_()
    transport.wasserstein(a, x, b, y).backward()

    def w2(a, x):
        cost = ot.dist(x, y.numpy())
        return np.sqrt(ot.emd2(a, b.numpy(), cost))

    a0, x0, h = a.detach().numpy(), x.detach().numpy(), 1e-6
    for i, k in [(0, 0), (3, 1), (6, 0)]:
        e = np.zeros_like(x0)
        e[i, k] = h
        numeric = (w2(a0, x0 + e) - w2(a0, x0 - e)) / (2 * h)
        assert x.grad[i, k].item() == pytest.approx(numeric, abs=1e-5)
    for i, j in [(0, 1), (4, 6)]:
        e = np.zeros_like(a0)
        e[i], e[j] = h, -h  # weights keep their sum
        numeric = (w2(a0 + e, x0) - w2(a0 - e, x0)) / (2 * h)
        assert (a.grad[i] - a.grad[j]).item() == pytest.approx(numeric, abs=1e-5)


def test_far_from_the_origin_distances_keep_their_digits():
    x = torch.rand(10, 2) + 10_000
    direct = (x[:, None] - x[None]).square().sum(-1)
    torch.testing.assert_close(transport.squared_distances(x, x), direct, atol=1e-4, rtol=0)


def test_no_more_problems_are_in_memory_than_there_are_cores(monkeypatch):
    prepared, known, most = transport._prepared, [], []
    counting = threading.Lock()

    def seen(*problem: torch.Tensor) -> tuple[np.ndarray, ...]:
        found = prepared(*problem)
        with counting:
            known.append(weakref.ref(found[2]))
            most.append(sum(cost() is not None for cost in known))
        return found

    monkeypatch.setattr(transport, "_prepared", seen)
    problems = [clouds(60, 50 + k, 2, k) for k in range(8 * os.cpu_count())]
    plans = transport.solve_all(problems)
    assert len(most) == len(problems)
    assert max(most) <= os.cpu_count()
    for (a, _, b, _), plan in zip(problems, plans, strict=True):
        torch.testing.assert_close(plan.coupling.sum(1), a)
        torch.testing.assert_close(plan.coupling.sum(0), b)


def test_one_problem_that_has_left_the_numbers_is_told():
    problems = [clouds(20, 20, 2, k) for k in range(9)]
    problems[5][1][3, 0] = float("nan")
    with pytest.raises(Diverged):
        transport.solve_all(problems)


def test_barycentres_of_a_permutation_are_the_partners():
    x = torch.rand(12, 3, dtype=torch.float64)
    order = torch.randperm(12)
    w = torch.full((12,), 1 / 12, dtype=torch.float64)
    plan = transport.solve(w, x, w, x[order])
    torch.testing.assert_close(transport.barycentres(plan, x[order]), x)

"""What a step of training, its parts and the metrics cost, and how that grows with the cells in the file."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData
from pytest_benchmark.fixture import BenchmarkFixture
from scipy import sparse
from torchdiffeq import odeint

from cellstream import evaluation, readers, training, transport
from cellstream.dynamics import integrate
from cellstream.presets import preset
from cellstream.snapshots import Snapshots
from cellstream.state import State

FEATURES, TIMES = 50, 6


def drifting(n: int) -> Snapshots:
    """``n`` cells at six time points, drifting along one of fifty features."""
    rng = np.random.default_rng(0)
    index = np.sort(np.arange(n) % TIMES)
    x = rng.normal(size=(n, FEATURES)).astype(np.float32)
    x[:, 0] += 2 * index
    return Snapshots(
        x=torch.from_numpy(x),
        index=torch.from_numpy(index),
        times=torch.arange(TIMES, dtype=torch.float64),
        mass=torch.ones(TIMES, dtype=torch.float64),
        labels=tuple(map(str, range(TIMES))),
        unit="d",
    )


@pytest.fixture(scope="module", params=[3_000, 30_000, 300_000, 1_000_000])
def state(request: pytest.FixtureRequest) -> State:
    state = State.initial(drifting(request.param), preset("quick"))
    training.embedding_step(state, 0)  # what is made once, affinities and partners, is made here
    return state


@pytest.mark.parametrize("part", ["embedding_step", "warm_step", "autoencoder_step", "dynamics_step"])
def test_a_step_costs_the_same_for_any_number_of_cells(benchmark: BenchmarkFixture, state: State, part: str) -> None:
    """One step of each part, from 3,000 to 1,000,000 cells: the ratio within a part should stay near one."""
    benchmark.group = part
    numbers = itertools.count()

    def step() -> None:
        number, step = next(numbers), getattr(training, part)
        if part in ("embedding_step", "warm_step"):
            step(state, number)
        else:
            step(state, [state.draw(number, state.config.schedule.batch_size)])

    benchmark.pedantic(step, rounds=15, warmup_rounds=2)


@pytest.mark.parametrize("points", [256, 512, 1024])
def test_optimal_transport(benchmark: BenchmarkFixture, points: int) -> None:
    """An exact plan between two clouds of so many points in the plane."""
    benchmark.group = "transport"
    a, b = torch.randn(2, points, 2, generator=torch.Generator().manual_seed(0))
    one = torch.ones(points)
    benchmark.pedantic(transport.solve, args=(one, a, one, b), rounds=10, warmup_rounds=1)


@pytest.mark.parametrize("n", [10_000, 100_000, 1_000_000])
def test_evaluation(benchmark: BenchmarkFixture, n: int) -> None:
    """All metrics of a result: samples and neighbour trees, so that the time grows far less than the cells."""
    benchmark.group = "evaluation"
    snapshots = drifting(n)
    stream = State.initial(snapshots, preset("quick")).present()
    benchmark.pedantic(evaluation.evaluate, args=(stream, snapshots), rounds=1)


@pytest.mark.parametrize("how", ["torchdiffeq", "ours"])
def test_integration(benchmark: BenchmarkFixture, state: State, how: str) -> None:
    """256 particles through all time points and the gradient of where they end: all in one state handed to torchdiffeq,
    and positions alone in fixed steps. Both give the same (tests/model/test_dynamics.py)."""
    benchmark.group = "integration"
    s, c = state.snapshots, state.config
    if len(s.x) > 3_000:
        pytest.skip("does not depend on the number of cells")
    z, log_w = torch.randn(256, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(256)
    n = c.integration.steps_per_interval
    parts = torch.arange(n) / n
    grid = torch.cat([(s.tau[:-1, None] + s.tau.diff()[:, None] * parts).flatten(), s.tau[-1:]])

    def rate(t: torch.Tensor, joined: torch.Tensor) -> torch.Tensor:
        v, g = state.velocity(t, joined[:, :2]), state.growth(t, joined[:, :2])
        da = (v.square().sum(1) + c.weights.alpha * g.square()) * joined[:, 2].exp()
        return torch.cat([v, g[:, None], da[:, None]], 1)

    def theirs() -> None:
        start = torch.cat([z, log_w[:, None], torch.zeros(256, 1)], 1)
        how = dict(grid_constructor=lambda f, y, t: grid, perturb=True)
        odeint(rate, start, s.tau, method=c.integration.method, options=how).sum().backward()

    def ours() -> None:
        path = integrate(state.velocity, state.growth, z, log_w, s.tau, c.weights.alpha, c.integration)
        (path.z.sum() + path.log_w.sum() + path.action.sum()).backward()

    benchmark.pedantic(theirs if how == "torchdiffeq" else ours, rounds=20, warmup_rounds=2)


def test_reading(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """An h5ad of about 1 GB: 350,000 cells by 2,000 genes of sparse counts."""
    benchmark.group = "reading"
    rng = np.random.default_rng(0)
    block = sparse.random(10_000, 2_000, density=0.18, format="csr", dtype=np.float32, rng=rng)
    AnnData(sparse.vstack([block] * 35, format="csr")).write_h5ad(tmp_path / "large.h5ad")
    benchmark.extra_info["GB"] = round((tmp_path / "large.h5ad").stat().st_size / 1e9, 2)
    benchmark.pedantic(readers.open_file, args=(tmp_path / "large.h5ad",), rounds=2)

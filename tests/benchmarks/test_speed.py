"""What a step of training, its parts and the metrics cost, and how that grows with the cells in the file."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from cellstream import evaluation, training, transport
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


@pytest.fixture(scope="module", params=[3_000, 30_000, 300_000])
def state(request: pytest.FixtureRequest) -> State:
    state = State.initial(drifting(request.param), preset("quick"))
    training.embedding_step(state, 0)  # what is made once, affinities and partners, is made here
    return state


@pytest.mark.parametrize("part", ["embedding_step", "warm_step", "autoencoder_step", "dynamics_step"])
def test_a_step_costs_the_same_for_any_number_of_cells(benchmark: BenchmarkFixture, state: State, part: str) -> None:
    """One step of each part, at 3,000, 30,000 and 300,000 cells: the ratio within a part should stay near one."""
    benchmark.group = part
    numbers = itertools.count()

    def step() -> None:
        number, step = next(numbers), getattr(training, part)
        if part in ("embedding_step", "warm_step"):
            step(state, number)
        else:
            step(state, state.draw(number, state.config.schedule.batch_size))

    benchmark.pedantic(step, rounds=15, warmup_rounds=2)


@pytest.mark.parametrize("points", [256, 512, 1024])
def test_optimal_transport(benchmark: BenchmarkFixture, points: int) -> None:
    """An exact plan between two clouds of so many points in the plane."""
    benchmark.group = "transport"
    a, b = torch.randn(2, points, 2, generator=torch.Generator().manual_seed(0))
    one = torch.ones(points)
    benchmark.pedantic(transport.solve, args=(one, a, one, b), rounds=10, warmup_rounds=1)


@pytest.mark.parametrize("n", [3_000, 30_000])
def test_evaluation(benchmark: BenchmarkFixture, n: int) -> None:
    """All metrics of a result: neighbour trees, so that ten times the cells cost little more than ten times."""
    benchmark.group = "evaluation"
    snapshots = drifting(n)
    stream = State.initial(snapshots, preset("quick")).present()
    benchmark.pedantic(evaluation.evaluate, args=(stream, snapshots), rounds=2)

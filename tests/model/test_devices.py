"""Several processes that train one model together: what they do is what one does, and one that is lost is told."""

from __future__ import annotations

import multiprocessing
import os
import signal

import psutil
import pytest
import torch

from cellstream import descent
from cellstream.card import Card
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.presets import preset
from cellstream.runs import Run
from cellstream.state import State, require_devices
from cellstream.team import Team
from cellstream.worker import work
from tests.conftest import TINY
from tests.model.test_runs import reached, same_model, until

EVERYTHING = TINY | dict(start_steps=10, embedding_steps=10, warm_steps=10, rounds=2, batch_size=16)
"""A short training with each of the method's terms and parts in it."""


@pytest.fixture
def make(moving_cloud, tmp_path):
    made = []

    def one(name: str, **changes: object) -> Run:
        run = Run.create(tmp_path / name, moving_cloud, preset("best", **{**EVERYTHING, **changes}), {})
        made.append(run)
        return run

    yield one
    for run in made:
        if run.status().live:
            run.kill()
            until(lambda run=run: not run.status().live)


def losses(run: Run) -> list[dict[str, float]]:
    run.poll()
    return [
        {name: value for name, value in step.items() if isinstance(value, float)} for step in run.history.steps.values()
    ]


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_step_goes_down_the_mean_gradient_of_its_batches(moving_cloud):
    """On the mean of |p − a|² / 2 and |p − b|² / 2, whose gradient is p − (a + b) / 2."""
    state = State.initial(moving_cloud, preset("best", **EVERYTHING, batches=2, updates_per_batch=1, clip=1e6))
    p = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    state.optimisers["bowl"] = torch.optim.SGD([p], lr=0.1)
    centres = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    each = [lambda c=c: dict(apart=(p - c).square().sum()) for c in centres]
    found = descent.descend(state, "bowl", each, lambda terms: terms["apart"] / 2)
    torch.testing.assert_close(p.detach(), torch.tensor([3.0, 4.0]) - 0.1 * torch.tensor([2.5, 3.5]))
    assert found["apart"].item() == pytest.approx((4 + 16 + 9 + 9) / 2)
    assert found["total"].item() == pytest.approx(found["apart"].item() / 2)


def test_batches_of_a_step_are_drawn_apart_and_shared_out_once(moving_cloud):
    state = State.initial(moving_cloud, preset("best", **EVERYTHING, batches=5))
    every = [batch.cells[0].tolist() for batch in state.batches()]
    assert len({tuple(cells) for cells in every}) == 5
    assert state.keys[0] == state.step, "One batch is that of a training with one."
    shared = []
    for rank in range(3):
        state.team = Team(rank, 3)
        shared += [batch.cells[0].tolist() for batch in state.batches()]
    assert sorted(shared) == sorted(every)


# --- processes --------------------------------------------------------------------------------------------------------


def test_two_processes_are_one_with_two_batches(make):
    together, alone, half = make("together", devices=2), make("alone", batches=2), make("half")
    for run in (together, alone, half):
        work(run.folder)
        assert run.status().state == "finished", run.status()
    assert same_model(together, alone)
    assert losses(together) == losses(alone)
    assert together.metrics() == alone.metrics()
    assert not same_model(alone, half)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_three_processes_and_an_ensemble_are_one_with_four_batches(make):
    """The order in which three add up is not that of one: to rounding."""
    changes = dict(batches=4, ensemble=2, precision="float64")
    together, alone = make("together", devices=3, **changes), make("alone", **changes)
    for run in (together, alone):
        work(run.folder)
        assert run.status().state == "finished", run.status()
    assert len(together.result().members) == 1
    assert len(losses(together)) == len(losses(alone))
    for one, other in zip(losses(together), losses(alone), strict=True):
        assert one == pytest.approx(other, rel=1e-6)


def children(run: Run) -> list[psutil.Process]:
    """The processes that a run has started."""
    started = psutil.Process(Card.read(run.folder).pid).children()
    return [one for one in started if "spawn_main" in " ".join(one.cmdline())]


def test_a_lost_process_is_told_and_the_run_goes_on_from_its_checkpoint(make):
    run = make("run", devices=2, rounds=10_000, patience=10_000)
    run.start()
    until(lambda: reached(run, 40))
    run.pause()
    until(lambda: run.status().state == "paused")
    (helper,) = children(run)
    os.kill(helper.pid, signal.SIGKILL)
    run.unpause()
    until(lambda: not run.status().live)
    assert run.status().state == "failed"
    assert "One of the 2 processes" in run.status().reason
    at = run.history.step
    run.start()
    until(lambda: run.poll() and run.history.step > at)
    (helper,) = children(run)
    run.cancel()
    until(lambda: run.status().state == "cancelled")
    assert run.result() is not None
    until(lambda: not helper.is_running())


def test_nothing_is_left_of_a_run_that_is_killed(make):
    run = make("run", devices=2, rounds=10_000, patience=10_000)
    run.start()
    until(lambda: reached(run, 40))
    (helper,) = children(run)
    run.kill()
    until(lambda: not helper.is_running() or helper.status() == psutil.STATUS_ZOMBIE, 15)


def test_fewer_gpus_than_devices_are_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"Expected 3 GPUs, .* torch finds 1"):
        require_devices(Config().with_settings(device="cuda", devices=3))
    require_devices(Config().with_settings(device="cpu", devices=3))

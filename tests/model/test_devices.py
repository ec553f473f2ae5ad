"""Several processes that train one model together: what they do is what one does, and one that is lost is told."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
import weakref
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import torch

from cellstream import descent, ensemble, helpers, intake, objective, shaping, training
from cellstream.card import Card
from cellstream.cluster import VARIABLE
from cellstream.config import Config
from cellstream.errors import Diverged, UserError
from cellstream.presets import preset
from cellstream.runs import Run, require_devices_here
from cellstream.state import Batch, State, require_devices
from cellstream.team import Team
from cellstream.worker import work
from tests.conftest import TINY
from tests.model.test_runs import PATIENT, reached, same_model, until

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
    state.team = Team()
    state.step += 1
    assert not {tuple(cells) for cells in every} & {tuple(batch.cells[0].tolist()) for batch in state.batches()}


@pytest.mark.parametrize(("updates", "at_once"), [(1, 1), (2, 6)])
def test_of_many_batches_one_is_in_memory(moving_cloud, monkeypatch, updates, at_once):
    """With all that it takes, in each part of the training; all of them only where they serve again."""
    state = State.initial(moving_cloud, preset("best", **EVERYTHING, batches=6, updates_per_batch=updates))
    assert state.partners
    assert state.principal
    known, alive, draw = [], [], State.draw

    def counted(*way: object) -> Batch:
        batch = draw(*way)
        known.append(weakref.ref(batch))
        alive.append(sum(one() is not None for one in known))
        return batch

    monkeypatch.setattr(State, "draw", counted)
    shaping.start_step(state, 0)
    shaping.embedding_step(state, 0)
    for step in (training.autoencoder_step, training.dynamics_step):
        step(state, state.batches())
    assert len(known) == 4 * 6
    assert max(alive) == at_once


def test_all_keep_the_model_that_the_first_process_judges_best(moving_cloud):
    """Machines round differently, and all must stop together."""

    class Second(Team):
        def of_first(self, value: float) -> float:
            return 7.0

    state = State.initial(moving_cloud, preset("best", **EVERYTHING))
    state.team = Second(1, 2)
    assert training.judge(state, 8).loss == state.best_loss == 7.0
    assert not training.judge(state, 16).best


def test_a_member_of_an_ensemble_is_shared_out_as_the_model_is(moving_cloud):
    state = State.initial(moving_cloud, preset("best", **EVERYTHING, batches=4, ensemble=2))
    state.team = Team(1, 2)
    assert len(list(ensemble.begin(state, 1).batches())) == 2


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


@pytest.mark.slow
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


@pytest.mark.slow
def test_nothing_is_left_of_a_run_that_is_killed(make, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run = make("run", devices=2, rounds=10_000, patience=10_000)
    run.start()
    until(lambda: reached(run, 40))
    (helper,) = children(run)
    assert list(tmp_path.glob("cellstream-*"))
    run.kill()
    until(lambda: not helper.is_running() or helper.status() == psutil.STATUS_ZOMBIE, 15)
    assert not list(tmp_path.glob("cellstream-*"))


# what a helper or the first process may be in its place


def asleep(*_: object) -> None:
    time.sleep(1000)


def at_the_door(*_: object) -> None:
    os.write(1, b"The others have come up.\n")
    time.sleep(1000)


def killed_before_joining(folder: Path, place: Path, rank: int, size: int) -> None:
    (place / f"{rank}").touch()
    os._exit(1)


def killed_in_training(folder: Path, place: Path, rank: int, size: int) -> None:
    objective.couplings = lambda *_: os._exit(1)
    helpers.follow(folder, place, rank, size)


def diverged_in_training(folder: Path, place: Path, rank: int, size: int) -> None:
    def couplings(*_: object) -> None:
        raise Diverged("The helper's own batch.")

    objective.couplings = couplings
    helpers.follow(folder, place, rank, size)


def working(run: Run, **instead: str) -> subprocess.Popen:
    """The run's process, with functions of this file in place of some of :mod:`cellstream.helpers` and of Team."""
    code = ["import sys; from pathlib import Path; from cellstream import helpers; from cellstream.team import Team"]
    code += ["from cellstream.worker import work; from tests.model import test_devices; helpers.NOTICE_SECONDS = 1"]
    code += [f"{name.replace('__', '.')} = test_devices.{other}" for name, other in instead.items()]
    code += ["work(Path(sys.argv[1]))"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([sys.executable, "-c", "\n".join(code), str(run.folder)], env=env, stdout=subprocess.PIPE)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("helper", "first", "says"),
    [
        ("killed_before_joining", {}, "One of the 2 processes"),
        # as a GPU does: it waits for a peer that is gone, without an error
        ("killed_in_training", dict(Team___together="asleep"), "One of the 2 processes"),
        ("diverged_in_training", dict(Team___together="asleep"), "The helper's own batch."),
    ],
)
def test_nobody_waits_for_a_helper_that_is_gone(make, helper, first, says):
    run = make("run", devices=2, start_steps=0, embedding_steps=0, warm_steps=0)
    process = working(run, helpers__follow=helper, **first)
    try:
        process.wait(3 * PATIENT)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert run.status().state == "failed"
    assert says in run.status().reason


def test_what_diverges_on_a_helper_is_told_as_such(make, monkeypatch):
    monkeypatch.setattr(helpers, "follow", diverged_in_training)
    run = make("run", devices=2)
    work(run.folder)
    assert (run.status().state, run.status().reason) == ("failed", "The helper's own batch.")


def test_a_wish_to_stop_is_heard_while_helpers_come_up(make, monkeypatch, moving_cloud):
    monkeypatch.setattr(helpers, "follow", asleep)
    run = make("run", devices=2)
    state = State.initial(moving_cloud, run.config)
    began = time.monotonic()
    with helpers.helped(state, run, lambda: False, pytest.fail):
        assert state.team.size == 1
    assert time.monotonic() - began < PATIENT
    assert not multiprocessing.active_children()


def test_a_signal_to_all_processes_of_a_job_stops_the_run(make):
    """As a machine or a cluster ends a job."""
    run = make("run", devices=2, rounds=10_000, patience=10_000)
    run.start()
    until(lambda: reached(run, 40))
    (helper,) = children(run)
    for process in (helper, psutil.Process(Card.read(run.folder).pid)):
        process.send_signal(signal.SIGTERM)
    until(lambda: not run.status().live)
    assert run.status().state == "cancelled", run.status()
    assert run.result() is not None


def test_a_helper_ends_with_the_first_process_before_it_has_joined(make):
    run = make("run", devices=2)
    first = working(run, helpers__joined="at_the_door")
    assert first.stdout.readline()
    (helper,) = children(run)
    first.kill()
    first.wait()
    first.stdout.close()
    try:
        until(lambda: not helper.is_running() or helper.status() == psutil.STATUS_ZOMBIE, 15)
    finally:
        with suppress(psutil.NoSuchProcess):
            helper.kill()


def test_fewer_gpus_than_devices_are_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"Expected 3 GPUs, .* torch finds 1"):
        require_devices(Config().with_settings(device="cuda", devices=3))
    require_devices(Config().with_settings(device="cpu", devices=3))


def test_the_machine_that_does_the_work_is_asked_for_its_devices(make, monkeypatch):
    """Not the one that gives the run to a cluster."""
    run = make("run", device="cuda", devices=2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch finds none"):
        require_devices_here(run.config)
    monkeypatch.setenv(VARIABLE, "tcp://127.0.0.1:9")
    require_devices_here(run.config)
    work(run.folder)
    assert run.status().state == "failed"
    assert "torch finds none" in run.status().reason
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    work(run.folder)
    assert run.status().reason.startswith("Expected 2 GPUs")


@pytest.mark.parametrize(
    ("devices", "batches", "says"),
    [
        (4, 1, "follows 4 batches of cells instead of 1. The number of steps stays, so the fit does not end sooner"),
        (4, 2, "follows 4 batches of cells instead of 2. .* not end sooner than with 2 processes"),
        (4, 8, "share the 8 batches of each step.$"),
        (4, 4, "share the 4 batches of each step.$"),
    ],
)
def test_what_several_processes_mean_for_the_time_is_said(devices, batches, says):
    """A step has as many batches as is asked for, and one for each process at least."""
    config = Config().with_settings(devices=devices, batches=batches)
    assert re.search(says, intake.togetherness(config))

"""Runs: what a folder, and the process in it, do when all goes well, and when it does not."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from cellstream import events, runs, worker
from cellstream.card import Card
from cellstream.config import Integration
from cellstream.dynamics import integrate
from cellstream.errors import Diverged, UserError
from cellstream.history import History
from cellstream.runs import Run
from cellstream.snapshots import Snapshots
from cellstream.training import train
from cellstream.worker import work

PATIENT = 120
"""Seconds within which a busy machine does anything that takes one."""


@pytest.fixture
def make(moving_cloud, tiny_config, tmp_path):
    """Makes runs in one folder; what still runs at the end is killed."""
    made = []

    def one(name: str = "run", **changes: object) -> Run:
        recipe = {"takes_turns": True} if changes.pop("takes_turns", False) else {}
        run = Run.create(tmp_path / name, moving_cloud, tiny_config.with_settings(**changes), recipe)
        made.append(run)
        return run

    yield one
    for run in made:
        if run.folder.exists() and (card := Card.read(run.folder)) and card.pid != os.getpid():
            run.kill()


def until(condition, seconds: float = PATIENT):
    """Wait for something to come true; returns it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "It did not happen."
        time.sleep(0.02)
    return found


def reached(run: Run, step: int) -> bool:
    state = run.status()
    assert state.live, state
    return state.step >= step


def same_model(one: Run, other: Run) -> bool:
    a, b = (load_file(run.folder / "model.safetensors") for run in (one, other))
    return a.keys() == b.keys() and all(a[k].equal(b[k]) for k in a)


# --- a life without trouble -------------------------------------------------------------------------------------------


def test_a_run_starts_finishes_and_leaves_its_result(make, moving_cloud):
    run = make()
    assert run.status().state == "new"
    assert run.result() is None
    run.start()
    assert run.status().live
    pid = Card.read(run.folder).pid
    run.start()
    assert Card.read(run.folder).pid == pid, "A second start of a live run starts nothing."
    until(lambda: not run.status().live)
    status = run.status()
    assert (status.state, status.step, status.total) == ("finished", 44, 44), status.reason
    # the process did what training in this one does, to the bit
    other = make("other")
    work(other.folder)
    assert same_model(run, other)
    assert run.metrics().keys() >= {"vc", "tc", "trust", "match", "mass"}
    assert run.result().encode(moving_cloud.x.numpy(), 0).shape == (190, 2)
    picture = run.preview()
    assert picture["z"].shape == picture["v"].shape == (190, 2)
    assert isinstance(run.history.last, events.Finished)
    run.delete()
    assert not run.folder.exists()


@pytest.mark.parametrize("way", ["wish", "signal"])
def test_cancel_keeps_the_best_model_at_once(make, way):
    run = make(rounds=10_000, patience=10_000)
    run.start()
    until(lambda: reached(run, 60))
    with pytest.raises(UserError, match="Stop it before"):
        run.delete()
    began = time.monotonic()
    if way == "wish":
        run.cancel()
    else:
        os.kill(Card.read(run.folder).pid, signal.SIGTERM)
    until(lambda: run.status().state == "cancelled")
    assert time.monotonic() - began < 4  # about one second, on a machine with other work
    best = min(run.history.rounds, key=lambda r: r.loss)
    assert best.best
    assert run.history.last.loss == best.loss
    assert run.result() is not None
    assert not (run.folder / "cancel").exists()
    run.delete()


def test_pause_waits_and_goes_on_to_the_same_result(make):
    run, unbroken = make(rounds=10), make("unbroken", rounds=10)
    run.start()
    run.pause()
    until(lambda: run.status().state == "paused")
    step = run.status().step
    beat = run.folder / "heartbeat"
    first = until(lambda: beat.exists() and beat.stat().st_mtime_ns)
    until(lambda: beat.stat().st_mtime_ns > first)  # a paused worker is alive
    assert run.status().step == step
    run.unpause()
    until(lambda: not run.status().live)
    assert run.status().state == "finished"
    work(unbroken.folder)
    assert same_model(run, unbroken)


# --- a process that is killed -----------------------------------------------------------------------------------------


def test_a_killed_run_is_dead_and_resumes_to_the_same_bits(make):
    run, unbroken = make(rounds=25), make("unbroken", rounds=25)
    stop = random.randint(30, 100)
    run.start()
    run.pause()
    until(lambda: run.status().state == "paused")  # which leaves a checkpoint to go on from
    run.unpause()
    until(lambda: reached(run, stop))
    os.kill(Card.read(run.folder).pid, signal.SIGKILL)
    other = Run(run.folder)  # as another page of the app sees it
    until(lambda: not other.status().live)
    assert other.status().state == run.status().state == "dead"
    assert "killed" in run.status().reason
    assert f"step {run.status().step}" in run.status().reason
    (run.folder / ".checkpoint-00000031-99999.safetensors").write_bytes(b"half")
    run.start()
    until(lambda: not run.status().live)
    assert run.status().state == "finished", run.status().reason
    assert not list(run.folder.glob(".*checkpoint*"))
    work(unbroken.folder)
    assert same_model(run, unbroken), f"killed at {stop}"
    unbroken.poll()
    assert run.history.rounds == unbroken.history.rounds
    assert list(run.history.steps) == list(range(1, 221))


def test_a_cancelled_run_can_go_on(make):
    run, unbroken = make(rounds=20), make("unbroken", rounds=20)
    (run.folder / "cancel").touch()
    work(run.folder)
    assert run.status().state == "cancelled"
    assert run.result() is None  # nothing was learned
    work(run.folder)
    assert run.status().state == "finished"
    work(unbroken.folder)
    assert same_model(run, unbroken)


def test_words_of_an_earlier_process_do_not_speak_for_a_later_one(make):
    run = make()
    (run.folder / "cancel").touch()
    work(run.folder)
    assert run.status().state == "cancelled"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    said = (run.folder / "events.jsonl").stat().st_size
    Card(gone.pid, time.time(), Card.read(run.folder).host, "starting", since=said).write(run.folder)
    assert run.status().state == "dead"


def test_a_process_that_cannot_begin_says_why(make):
    run = make()
    (run.folder / "recipe.json").write_text("{")
    run.start()
    until(lambda: not run.status().live)
    assert run.status().state in ("failed", "dead")
    assert run.status().reason


# --- what a crash leaves on the disk ----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["truncated", "empty", "zeros", "text"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(make, monkeypatch, damage):
    monkeypatch.setattr(worker, "CHECKPOINT_SECONDS", 0.0)
    run, unbroken = make(), make("unbroken")
    for one in (run, unbroken):
        work(one.folder)
    newest, before = sorted(run.folder.glob("checkpoint-*"), reverse=True)
    data = newest.read_bytes()
    bad = dict(truncated=data[: len(data) // 2], empty=b"", zeros=bytes(len(data)), text=b"not a checkpoint")[damage]
    newest.write_bytes(bad)
    (run.folder / "model.safetensors").unlink()
    work(run.folder)
    run.poll()
    assert run.status().state == "finished", run.status().reason
    resumed = [e for e in _events(run) if isinstance(e, events.Resumed)]
    assert [e.step for e in resumed] == [int(before.stem.split("-")[1])]
    assert same_model(run, unbroken)


def test_without_any_good_checkpoint_it_starts_anew(make):
    run, unbroken = make(), make("unbroken")
    for one in (run, unbroken):
        work(one.folder)
    for path in run.folder.glob("checkpoint-*"):
        path.write_bytes(b"")
    (run.folder / "model.safetensors").unlink()
    work(run.folder)
    assert same_model(run, unbroken)
    assert run.status().state == "finished"
    assert list(run.history.steps) == list(range(1, 45))


def _events(run: Run) -> list[events.Event]:
    found = []
    for line in (run.folder / "events.jsonl").read_text().splitlines():
        try:
            found.append(events.from_line(line))
        except ValueError:
            continue
    return found


@pytest.mark.parametrize("half", [b'{"event": "Step", "step": 7, "tot', '{"event": "Stage", "name": "é'.encode()[:-1]])
def test_half_a_line_of_events_is_survived(make, half):
    run = make()
    (run.folder / "cancel").touch()
    work(run.folder)
    with open(run.folder / "events.jsonl", "ab") as file:
        file.write(half)
    assert run.status().state == "cancelled"
    work(run.folder)
    assert run.status().state == "finished"
    assert Run(run.folder).status() == run.status()
    assert list(run.history.steps) == list(range(1, 45))
    assert run.history.seen == (run.folder / "events.jsonl").stat().st_size


def test_a_history_read_in_any_pieces_is_the_same(make, tmp_path):
    run = make()
    work(run.folder)
    text = (run.folder / "events.jsonl").read_bytes()
    whole, pieces = History(), History()
    whole.read(run.folder / "events.jsonl")
    grown, generator = tmp_path / "grown.jsonl", random.Random(0)
    ends = sorted(generator.choices(range(len(text)), k=50)) + [len(text)]
    for end in ends:
        grown.write_bytes(text[:end])
        pieces.read(grown)
    assert pieces == whole
    assert len(whole.steps) == 44


def test_a_history_that_two_threads_read_has_each_event_once(tmp_path, monkeypatch):
    path, n = tmp_path / "events.jsonl", 2000
    path.write_text("".join(f"{events.to_line(events.Stage('rounds', '', i, n))}\n" for i in range(n)))
    switches = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(3):
            history = History()
            threads = [threading.Thread(target=history.read, args=(path,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert [stage.step for stage in history.stages] == list(range(n))
            assert history.seen == path.stat().st_size
    finally:
        sys.setswitchinterval(switches)


# --- who works here ---------------------------------------------------------------------------------------------------


def test_a_process_number_that_was_given_on_is_not_the_worker(tmp_path):
    mine = Card.of(os.getpid(), "running", 0)
    mine.write(tmp_path)
    assert Card.read(tmp_path) == mine
    assert mine.alive(tmp_path)
    assert not Card(mine.pid, mine.started - 1000, mine.host, "running").alive(tmp_path)


def test_a_zombie_is_not_alive(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    card = Card.of(child.pid, "running", 0)
    assert card.alive(tmp_path)
    child.stdin.close()
    until(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
    assert not card.alive(tmp_path)
    child.wait()
    assert not card.alive(tmp_path)


def test_a_worker_on_another_machine_lives_while_its_heart_beats(make):
    run = make()
    Card(1, 0.0, "another-machine", "running").write(run.folder)
    assert run.status().state == "dead"
    (run.folder / "heartbeat").touch()
    assert run.status().state == "running"
    old = time.time() - 60
    os.utime(run.folder / "heartbeat", (old, old))
    assert run.status().state == "dead"


def test_two_workers_in_one_folder_are_refused(make, monkeypatch):
    monkeypatch.setattr(worker, "LOCK_SECONDS", 0.1)
    run = make()
    with FileLock(run.folder / "lock"), pytest.raises(UserError, match="already works"):
        work(run.folder)
    assert run.status().state == "new"
    work(run.folder)
    assert run.status().state == "finished"


def test_a_card_that_was_written_late_is_put_right(make):
    run = make()
    (run.folder / "pause").touch()
    with _working(run):
        until(lambda: run.status().state == "paused")
        mine = Card.read(run.folder)
        Card.of(os.getppid(), "starting", 0).write(run.folder)
        until(lambda: Card.read(run.folder) == mine)
        run.unpause()
    assert run.status().state == "finished"


class _working:
    """A worker in a thread of this process: starts without the seconds that a process needs."""

    def __init__(self, run: Run):
        self.thread = threading.Thread(target=work, args=(run.folder,), daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.thread.join(PATIENT)
        assert not self.thread.is_alive()


def test_a_worker_whose_folder_was_emptied_ends(make):
    run = make(rounds=10_000, patience=10_000)
    with _working(run):
        until(lambda: run.status().step >= 21)
        (run.folder / "config.json").unlink()


# --- taking turns -----------------------------------------------------------------------------------------------------


def test_runs_of_the_app_take_turns_and_others_do_not(make):
    queued, free = make("queued", takes_turns=True), make("free")
    with FileLock(queued.folder.parent / ".turn"):
        with _working(free):
            until(lambda: free.status().state == "finished")
        with _working(queued):
            until(lambda: queued.status().state == "queued")
            queued.cancel()
    assert queued.status().state == "cancelled"
    assert queued.status().step == 0
    with _working(queued):
        pass
    assert queued.status().state == "finished"


def test_a_paused_run_lets_the_next_one_go(make):
    run = make(takes_turns=True)
    turn = FileLock(run.folder.parent / ".turn")
    (run.folder / "pause").touch()
    with _working(run):
        until(lambda: run.status().state == "paused")
        with turn.acquire(timeout=5):
            run.unpause()
            until(lambda: run.status().state == "queued")
    assert run.status().state == "finished"


def test_who_came_first_goes_first(make):
    first, second = make("a", takes_turns=True), make("b", takes_turns=True)
    Card.of(os.getpid(), "queued", 0).write(first.folder)  # alive, as this process is
    with _working(second):
        until(lambda: second.status().state == "queued")
        time.sleep(0.5)
        assert second.status().state == "queued"
        (first.folder / "worker.json").unlink()
    assert second.status().state == "finished"


# --- what goes wrong in the training ----------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_keeps_the_best_model(make, monkeypatch):
    run = make()
    kept = {}

    def diverging(state):
        for event in train(state):
            yield event
            if isinstance(event, events.Round):
                kept.update(state.best)
                raise Diverged

    monkeypatch.setattr(worker, "train", diverging)
    work(run.folder)
    assert run.status().state == "failed"
    assert run.status().reason == str(Diverged())
    model = run.result().weights()
    assert all(model[k].equal(kept[k]) for k in model)


@pytest.mark.parametrize(
    ("error", "says"), [(MemoryError(), "smaller batch_size"), (RuntimeError("strange"), "RuntimeError: strange")]
)
def test_what_breaks_is_said_in_words(make, monkeypatch, error, says):
    run = make()

    def breaking(state):
        raise error
        yield

    monkeypatch.setattr(worker, "train", breaking)
    work(run.folder)
    assert run.status().state == "failed"
    assert says in run.status().reason
    assert "Traceback" in run.history.last.detail


def exploding(t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return 1e3 * z**3  # infinite after a finite time


def no_number(t: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return z * float("nan")


@pytest.mark.parametrize("method", ["dopri5", "bosh3"])
@pytest.mark.parametrize("field", [exploding, no_number])
def test_an_adaptive_solver_that_gives_up_has_diverged(method, field):
    z, log_w = torch.ones(4, 2), torch.zeros(4)
    with pytest.raises(Diverged, match="steps_per_interval"):
        integrate(field, lambda t, z: z[:, 0], z, log_w, torch.tensor([0.0, 1.0]), 1.0, Integration(method=method))


def test_what_diverged_is_not_told_to_resume():
    assert "esume" not in str(Diverged())


@pytest.mark.parametrize("measure", ["glance", "evaluate"])
def test_a_training_does_not_break_because_it_cannot_be_measured(make, monkeypatch, measure):
    def broken(stream, snapshots):
        raise FloatingPointError("Eigenvalues did not converge")

    monkeypatch.setattr(worker.evaluation, measure, broken)
    run, unbroken = make(), make("unbroken")
    work(run.folder)
    status = run.status()
    assert status.state == "finished"
    assert ("could not be measured" in status.reason) == (measure == "evaluate") == (run.metrics() is None)
    monkeypatch.undo()
    work(unbroken.folder)
    assert same_model(run, unbroken)


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_with_files_is_not_taken_for_a_run(make, moving_cloud, tiny_config, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(UserError, match="Name another"):
        Run.create(tmp_path / "mine", moving_cloud, tiny_config, {})
    with pytest.raises(UserError, match="run folder"):
        Run(tmp_path / "mine")


@pytest.mark.parametrize("name", ["a file", "bytes \udcff"])
def test_a_folder_that_can_be_none_is_refused_before_the_work(moving_cloud, tiny_config, tmp_path, name):
    (tmp_path / "a file").touch()
    with pytest.raises(UserError, match="Name another one"):
        Run.create(tmp_path / name, moving_cloud, tiny_config, {})


@pytest.mark.parametrize("content", ["{", "[]", "", None])
@pytest.mark.parametrize("name", ["recipe.json", "config.json"])
def test_a_damaged_folder_gets_a_sentence(make, name, content):
    run = make()
    path = run.folder / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=f"{name} is (missing or )?damaged"):
        _ = (run.config, run.recipe)


def test_damaged_metrics_are_none(make):
    run = make()
    assert run.metrics() is None
    (run.folder / "metrics.json").write_text("{")
    assert run.metrics() is None


def test_a_run_keeps_what_it_was_given(make, moving_cloud):
    run = Run(make(lambda_ae=7).folder)
    assert run.config.weights.lambda_ae == 7
    kept = run.snapshots()
    assert isinstance(kept, Snapshots)
    assert kept.x.equal(moving_cloud.x)
    run.rename("with a better name")
    assert Run(run.folder).name == "with a better name"


def test_another_name_is_heard_of_by_who_has_read_the_old_one_and_nothing_else_is_written_over(make):
    one = make()
    other, path = Run(one.folder), one.folder / "recipe.json"
    assert other.name == one.name == "run"
    other.rename("first")
    assert one.name == "first"
    path.write_text(json.dumps({**json.loads(path.read_text()), "out": "cells.h5ad"}))
    one.rename("second")
    assert other.name == "second"
    assert other.recipe["out"] == json.loads(path.read_text())["out"] == "cells.h5ad"
    shutil.rmtree(one.folder)
    assert other.name == "second"  # it may still be spoken of


def test_runs_are_listed_newest_first_and_other_folders_passed_over(make, tmp_path):
    one, other = make("one"), make("other")
    for run, made in ((one, "2024-01-02"), (other, "2024-01-01")):
        run.recipe["made"] = made
        run.rename(run.name)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    assert [run.name for run in runs.all_runs(tmp_path)] == ["one", "other"]
    assert runs.all_runs(tmp_path / "nowhere") == []


def test_new_folders_differ_and_stay_inside(tmp_path):
    names = ["../../etc", "a b/c", "", "день 3"] * 2
    made = [runs.new_folder(name, tmp_path) for name in names]
    assert len(set(made)) == len(names)
    assert all(path.is_dir() and path.parent == tmp_path for path in made)


def test_home_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path))
    assert runs.home() == Path(tmp_path)

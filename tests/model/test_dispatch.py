"""What is said of a run that a cluster has, by what its scheduler last said; and what is done where that is lost."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import distributed
import pytest

from cellstream import cluster, dispatch
from cellstream.dispatch import Ended, Seen
from cellstream.errors import UserError
from cellstream.runs import Run
from cellstream.ticket import PASS, Attempt, Ticket, fenced_out

HERE = "tcp://10.0.0.9:8786"
ONE, TWO = Attempt("tcp://10.0.0.1:1", "one"), Attempt("tcp://10.0.0.2:2", "two")
WORKERS = frozenset({TWO.worker})


class KilledWorker(Exception):
    """Of Dask's name, by which it is known."""


def seen(state: str, ago: float = 0, workers=WORKERS, alone: float = 0, over: float = 60, error=None) -> Seen:
    """What was said so many seconds ago."""
    now = time.monotonic()
    return Seen(now - ago, state, workers, now - alone, now - over, error)


NOBODY = frozenset()
GAVE_UP = "and the cluster gave the run up after"
SAID = [
    # what was said, the attempts, and the state and the words that follow
    (None, [], "queued", f"The scheduler at {HERE} has not answered yet."),
    (("unanswered", 19), [], "queued", f"The scheduler at {HERE} has not answered yet."),
    (("unanswered", 21), [], "dead", f"The scheduler at {HERE} does not answer: start it. Resume"),
    (("pending", 19), [], "queued", ""),
    (("pending", 21), [], "dead", f"The scheduler at {HERE} no longer answers: start it again. Resume"),
    (("finished", 21), [ONE], "dead", "no longer answers"),
    (("pending", 0, NOBODY), [], "queued", "The cluster has no worker yet."),
    (("pending", 0, WORKERS), [TWO], "starting", ""),
    (("pending", 0, WORKERS), [ONE], "queued", "The worker tcp://10.0.0.1:1 on one was lost at step 7; the run waits"),
    (("pending", 0, NOBODY, 19), [ONE], "queued", "on one was lost at step 7; the run waits for another one."),
    (("pending", 0, NOBODY, 21), [ONE], "dead", "lost at step 7, and the cluster has no other one: start one. Resume"),
    (("error", 0, WORKERS, 0, 1, UserError("No.")), [ONE], "starting", ""),
    (("finished", 0, WORKERS, 0, 3), [ONE], "", ""),
    (("error", 0, WORKERS, 0, 3, Ended()), [ONE], "", ""),
    (("error", 0, WORKERS, 0, 3, UserError("A folder.")), [ONE], "failed", "A folder."),
    (("error", 0, WORKERS, 0, 3, KilledWorker()), [ONE, TWO], "dead", f"on two was lost at step 7, {GAVE_UP} 2"),
    (("error", 0, WORKERS, 0, 3, KilledWorker()), [], "dead", f"No worker could begin the run, {GAVE_UP} 0"),
    (("error", 0, WORKERS, 0, 3, ImportError("no x")), [ONE], "dead", "could not do the run (ImportError: no x)"),
    (("gone", 0, WORKERS, 0, 3), [], "dead", f"The scheduler at {HERE} no longer has the run. It had not begun. Res"),
    (("gone", 0, WORKERS, 0, 3), [ONE], "dead", "no longer has the run. The worker tcp://10.0.0.1:1 on one was lost"),
]


@pytest.mark.parametrize(("said", "attempts", "state", "words"), SAID)
def test_what_is_said_of_a_run_follows_from_what_its_scheduler_said(monkeypatch, said, attempts, state, words):
    asked = []
    board = SimpleNamespace(look=lambda key: asked.append(key) or (seen(*said) if said else None))
    monkeypatch.setattr(dispatch, "_board", lambda address: board if address == HERE else pytest.fail(address))
    found, reason = dispatch.standing(Ticket(HERE, "task", 0, tuple(attempts)), 7)
    assert found == state
    assert words in reason
    assert bool(words) == bool(reason)
    assert asked == ["task"]


@pytest.fixture
def unanswered(monkeypatch) -> Iterator[dispatch.Board]:
    """The board of a scheduler that is not there."""
    over, before = threading.Event(), set(threading.enumerate())

    def unreachable(address: str) -> None:
        raise SystemExit if over.is_set() else UserError("Expected a Dask scheduler.")

    monkeypatch.setattr(dispatch, "connect", unreachable)
    board = dispatch.Board(HERE)
    monkeypatch.setattr(dispatch, "_board", lambda address: board)
    (asking,) = set(threading.enumerate()) - before
    yield board
    over.set()
    asking.join()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_scheduler_that_never_answered_has_said_nothing_of_its_workers(unanswered, monkeypatch):
    ticket = Ticket(HERE, "task")
    expected = "queued", f"The scheduler at {HERE} has not answered yet."
    assert dispatch.standing(ticket, 0) == expected
    assert unanswered.look("task").state == "unanswered"
    assert dispatch.standing(ticket, 0) == expected
    monkeypatch.setattr(dispatch, "SILENT_SECONDS", 0.1)
    time.sleep(0.2)
    assert dispatch.standing(ticket, 0)[0] == "dead"


def test_a_scheduler_lost_while_it_is_given_a_run_is_one_sentence(moving_cloud, tiny_config, tmp_path, monkeypatch):
    class Lost:
        def submit(self, *_: object, **__: object) -> object:
            return object()

        def publish_dataset(self, *_: object, **__: object) -> None:
            raise distributed.CommClosedError("Connection closed")

    monkeypatch.setenv(cluster.VARIABLE, HERE)
    monkeypatch.setattr(dispatch, "connect", lambda address: Lost())
    run = Run.create(tmp_path / "run", moving_cloud, tiny_config, {})
    with pytest.raises(UserError, match=rf"{HERE} was lost while it was given the run .*: start it again"):
        run.start()
    assert run.status().state == "new"


def test_another_attempt_fences_this_process_out(tmp_path, monkeypatch):
    ticket = Ticket(HERE, "task").begun(ONE)
    monkeypatch.delenv(PASS, raising=False)
    ticket.write(tmp_path)
    assert not fenced_out(tmp_path), "No cluster has started it."
    monkeypatch.setenv(PASS, ticket.word)
    assert not fenced_out(tmp_path)
    for other in (ticket.begun(TWO), ticket.begun(ONE), Ticket(HERE, "another task").begun(ONE), Ticket(HERE, "")):
        other.write(tmp_path)
        assert fenced_out(tmp_path), other
    (tmp_path / "ticket.json").unlink()
    assert not fenced_out(tmp_path)


def test_what_a_lost_process_left_does_not_put_the_next_one_aside(tmp_path, monkeypatch):
    """It would give its place on the worker to other tasks, and train beside them."""
    seceded, worker = [], SimpleNamespace(address=ONE.worker, scheduler=SimpleNamespace(address=HERE))
    for name, stand_in in dict(get_worker=lambda: worker, secede=lambda: seceded.append(1)).items():
        monkeypatch.setattr(distributed, name, stand_in)
    Ticket(HERE, "task").write(tmp_path)
    (tmp_path / "aside").touch()
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda words, **how: popen(["sleep", "0.5"], **how))
    with pytest.raises(Ended):
        dispatch.conduct(str(tmp_path), "task", 1)
    assert json.loads((tmp_path / "ticket.json").read_text())["attempts"][0]["worker"] == ONE.worker
    assert not seceded
    monkeypatch.setattr(
        subprocess, "Popen", lambda words, **how: (tmp_path / "aside").touch() or popen(["sleep", "0.5"], **how)
    )
    with pytest.raises(Ended):
        dispatch.conduct(str(tmp_path), "task", 1)
    assert seceded == [1]


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("cellstream.members", "no cellstream.members: install the same version of CellStream"),
        ("mioflow", "no mioflow: the fit 'a' needs it; install it on every machine."),
        ("cellstreams", "no cellstreams: the fit 'a' needs it"),
    ],
)
def test_a_package_that_a_worker_lacks_is_named(missing, says):
    def result() -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    with pytest.raises(UserError, match=says):
        cluster.result(SimpleNamespace(result=result), "the fit 'a'")

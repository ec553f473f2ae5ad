"""Runs on a cluster: a run is given to it, taken away from it, and done by one of its workers.

The worker starts the same process as on one machine, ``cellstream run FOLDER``, and waits for it. All that is said of
the run goes through its folder, which all machines share; the cluster is asked only where no process works there.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from cellstream import events
from cellstream.card import Card
from cellstream.cluster import VARIABLE, connect
from cellstream.errors import UserError
from cellstream.history import History
from cellstream.ticket import PASS, Attempt, Ticket

if TYPE_CHECKING:
    from distributed import Client, Future

LOOK_SECONDS = 0.5
"""How often a scheduler is asked."""
SILENT_SECONDS = 20.0
"""Without an answer for so long, a scheduler counts as gone."""
GONE_SECONDS = 2.0
"""A task is over for so long before the run counts as dead: its last word may take a while to be seen."""
ALONE_SECONDS = 20.0
"""How long a run whose worker was lost waits for another one to come, before it is shown as dead."""
SHARED_SECONDS = 5.0
"""How long a new file may take to be seen by the other machines."""
PREDECESSOR_SECONDS = 60.0
"""How long a process that has been replaced may take to see it, and to end."""
RESUME = "Resume goes on from the last checkpoint."


class Ended(Exception):
    """The run's process ended without a last word, as one that was killed. An error, since Dask does again what was
    well done when the worker that has the result dies: the run would begin anew by itself."""


# --- from outside -----------------------------------------------------------------------------------------------------


def submit(folder: Path, address: str, since: int, threads: int) -> None:
    """Give the run to the cluster, which goes on with it when this process has ended. Raises :class:`UserError`."""
    client = connect(address)
    key = f"cellstream-run-{uuid.uuid4().hex}"
    Ticket(address, key, since).write(folder)
    try:
        future = client.submit(conduct, str(folder), key, threads, key=key, pure=False)
        # the scheduler keeps what is published, whoever leaves; this returns when it has it
        client.publish_dataset(future, name=key)
    except Exception as error:  # Dask raises anything
        (folder / "ticket.json").unlink(missing_ok=True)  # should a worker have the task all the same, it leaves it
        raise UserError(
            f"The scheduler at {address} was lost while it was given the run ({type(error).__name__}): start it again, "
            "then start the run again."
        ) from error


def withdraw(ticket: Ticket) -> None:
    """Let the cluster forget the task; nothing happens where it has, or cannot be reached."""
    with suppress(UserError, OSError, KeyError):
        client = connect(ticket.scheduler)
        future = client.get_dataset(ticket.key)
        client.unpublish_dataset(ticket.key)
        client.cancel(future, force=True)


def standing(ticket: Ticket, step: int) -> tuple[str, str]:
    """State of a run in whose folder no process works, and the reason in words; the state is empty where all that the
    cluster knows is that the task is over. Does not wait for the network, but for the first answer up to a second.
    """
    seen = _board(ticket.scheduler).look(ticket.key)
    now, last = time.monotonic(), ticket.attempts[-1] if ticket.attempts else None
    if seen is not None and now - seen.at > SILENT_SECONDS:
        what = "does not answer: start it" if seen.state == "unanswered" else "no longer answers: start it again"
        return "dead", f"The scheduler at {ticket.scheduler} {what}. {RESUME}"
    if seen is None or seen.state == "unanswered":
        return "queued", f"The scheduler at {ticket.scheduler} has not answered yet."
    lost = f"The {last} was lost at step {step}" if last else ""
    if seen.state == "pending":
        if last is None:
            return "queued", "" if seen.workers else "The cluster has no worker yet."
        if last.worker in seen.workers:
            return "starting", ""
        if seen.workers or now - seen.alone_since < ALONE_SECONDS:
            return "queued", f"{lost}; the run waits for another one."
        return "dead", f"{lost}, and the cluster has no other one: start one. {RESUME}"
    if now - seen.over_since < GONE_SECONDS:
        return "starting", ""
    if isinstance(seen.error, Ended):
        return "", ""
    if isinstance(seen.error, UserError):
        return "failed", str(seen.error)
    if type(seen.error).__name__ == "KilledWorker":
        lost = lost or "No worker could begin the run"
        return "dead", f"{lost}, and the cluster gave the run up after {len(ticket.attempts)} workers. {RESUME}"
    if seen.error is not None:
        what = f"{type(seen.error).__name__}: {seen.error}"
        need = "its workers need this version of CellStream"
        return "dead", f"The cluster could not do the run ({what}): {need}. {RESUME}"
    if seen.state != "finished":
        lost = lost or "It had not begun"
        return "dead", f"The scheduler at {ticket.scheduler} no longer has the run. {lost}. {RESUME}"
    return "", ""


@dataclass(frozen=True)
class Seen:
    """What a scheduler said of a task."""

    at: float
    """When, by :func:`time.monotonic`, as all times here."""
    state: str
    """unanswered, pending, finished, error, or gone."""
    workers: frozenset[str]
    alone_since: float
    """Since when there is no worker."""
    over_since: float
    """Since when the task is not pending."""
    error: BaseException | None = None


class Board:
    """What a scheduler says of tasks, asked by a thread of its own, so that nobody waits for it."""

    def __init__(self, address: str):
        self.address = address
        self.seen: dict[str, Seen] = {}
        self.asked: dict[str, float] = {}
        self.first = threading.Condition()
        threading.Thread(target=self._watch, daemon=True, name="cellstream-board").start()

    def look(self, key: str) -> Seen | None:
        """The latest that is known; None where there was no answer yet."""
        self.asked[key] = time.monotonic()
        with self.first:
            self.first.wait_for(lambda: key in self.seen, timeout=2 * LOOK_SECONDS)
        return self.seen.get(key)

    def _watch(self) -> None:
        futures: dict[str, Future] = {}
        heard = time.monotonic()
        while True:
            try:
                client = connect(self.address)
                now = time.monotonic()
                keys = [key for key, asked in list(self.asked.items()) if now - asked < 60]
                futures = {key: futures[key] for key in futures if key in keys}
                workers = frozenset(client.nthreads())
                for key in keys:
                    self._note(key, *_told(client, key, futures), workers)
                heard = time.monotonic()
            except Exception:  # whatever it is: the next look may do
                futures = {}
                for key in list(self.asked):
                    # nothing was ever said of it: it grows old from the scheduler's last word
                    self.seen.setdefault(key, Seen(heard, "unanswered", frozenset(), heard, heard))
            with self.first:
                self.first.notify_all()
            time.sleep(LOOK_SECONDS)

    def _note(self, key: str, state: str, error: BaseException | None, workers: frozenset[str]) -> None:
        now, before = time.monotonic(), self.seen.get(key)
        if before and before.state == "unanswered":
            before = None
        alone = before.alone_since if before and not before.workers else now
        over = before.over_since if before and before.state != "pending" else now
        self.seen[key] = Seen(now, state, workers, alone, over, error)


def _told(client: Client, key: str, futures: dict[str, Any]) -> tuple[str, BaseException | None]:
    """State of a task, and what it broke with."""
    if key not in futures:
        try:
            futures[key] = client.get_dataset(key)
        except KeyError:
            return "gone", None
    state = futures[key].status
    if state in ("cancelled", "lost"):
        del futures[key]
        return "gone", None
    return state, futures[key].exception(timeout=1) if state == "error" else None


_board = cache(Board)


# --- on the worker ----------------------------------------------------------------------------------------------------


def conduct(folder: str, key: str, threads: int) -> None:
    """The task: begin or go on with the run in a process of this machine, and wait for its end.

    Raises:
        UserError: this machine does not see the folder.
    """
    from distributed import get_client, get_worker, secede

    place = Path(folder)
    attempt = _admitted(place, key, Attempt(get_worker().address, platform.node()))
    if attempt is None:
        return
    # a worker that was lost may have left a process, which looks at the ticket once a second
    until = time.monotonic() + PREDECESSOR_SECONDS
    while (card := Card.read(place)) and card.alive(place) and time.monotonic() < until:
        time.sleep(0.2)
    (place / "aside").unlink(missing_ok=True)  # a process that was lost may have left it, and this one is not aside
    # a worker sets these for itself
    env = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    with open(place / "stderr.txt", "wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "cellstream", "run", folder],
            # it ends when this pipe is closed, be it by the death of this process
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, **env, PASS: attempt.word, VARIABLE: get_worker().scheduler.address},
        )
    seceded = False
    while child.poll() is None:
        if (place / "kill").exists():
            child.kill()
        if not seceded and (place / "aside").exists():
            secede()  # the process waits for other tasks, which need this one's place
            seceded = True
        time.sleep(0.1)
    assert child.stdin is not None
    child.stdin.close()
    (place / "kill").unlink(missing_ok=True)
    if not _over(place, attempt):
        raise Ended
    get_client().unpublish_dataset(key)  # all is said in the folder


def _admitted(place: Path, key: str, attempt: Attempt) -> Ticket | None:
    """The ticket with this attempt in it; None where the run is over, or was given to another task."""
    until = time.monotonic() + SHARED_SECONDS
    while not (place / "ticket.json").exists():
        if time.monotonic() > until:
            raise UserError(
                f"Expected the run folder {place} on a file system that all machines share, but the {attempt} does not "
                "see it: put runs where every worker sees them under the same path (--run-dir, CELLSTREAM_HOME)."
            )
        time.sleep(0.2)
    with FileLock(place / "start"):
        ticket = Ticket.read(place)
        if ticket is None or ticket.key != key or _over(place, ticket):
            return None
        ticket = ticket.begun(attempt)
        ticket.write(place)
        return ticket


def _over(place: Path, ticket: Ticket) -> bool:
    """Whether the run has said its last word."""
    history = History()
    history.read(place / "events.jsonl")
    ended = isinstance(history.last, events.Finished | events.Cancelled | events.Failed)
    return ended and history.last_at >= ticket.since

"""A Dask cluster: the scheduler that ``CELLSTREAM_SCHEDULER`` names, and tasks that tell how far they are.

Dask is imported when a cluster is asked for, and not before: without the variable nothing here needs it. See
https://distributed.dask.org for how to start a scheduler and workers.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cellstream.errors import UserError

if TYPE_CHECKING:
    from distributed import Client, Future

VARIABLE = "CELLSTREAM_SCHEDULER"
CONNECT_SECONDS = 8.0
TELL_SECONDS = 0.5
"""The least time between two words of a task on how far it is."""

_clients: dict[str, Client] = {}
_connecting = threading.Lock()
_alone = threading.Lock()


class Withdrawn(Exception):
    """Nobody waits for this task any more."""


def address() -> str | None:
    """The scheduler's address, where the user has named one."""
    return os.environ.get(VARIABLE, "").strip() or None


def connect(address: str) -> Client:
    """The connection of this process to a scheduler; the same one at every call while it holds.

    Raises:
        UserError: Dask is not installed, or the scheduler cannot be reached.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise UserError(
            f'{VARIABLE} names a Dask scheduler, and Dask is not installed: pip install "cellstream[dask]", or unset '
            "the variable to work on this machine."
        ) from error
    with _connecting:
        client = _clients.get(address)
        if client is not None and client.status in ("running", "connecting"):
            return client
        try:
            client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, ImportError) as error:
            raise UserError(
                f"Expected a Dask scheduler at {address}, as {VARIABLE} says, but could not reach one "
                f"({type(error).__name__}): start it, name another, or unset the variable to work on this machine."
            ) from error
        _clients[address] = client
        return client


class Errands:
    """Tasks on a cluster for one piece of work, side by side; what is outstanding at the end of the block is cancelled.

    >>> with Errands(address, "squares") as errands:
    ...     errands.submit(square, 7)
    ...     while errands.outstanding:
    ...         for number, message in errands.news():  # what tell() was given
    ...             ...
    ...         for number, future in errands.done():
    ...             print(future.result())
    """

    def __init__(self, address: str, what: str):
        self.client = connect(address)
        self.what = f"cellstream-{what}"
        self.topic = f"{self.what}-{uuid.uuid4().hex}"
        self.outstanding: dict[int, Future] = {}
        self.numbers: dict[str, int] = {}
        self.heard: deque[dict[str, Any]] = deque()

    def __enter__(self) -> Errands:
        self.client.subscribe_topic(self.topic, lambda event: self.heard.append(event[1]))
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # a scheduler that is gone has forgotten them already
            self.client.cancel(list(self.outstanding.values()))
            self.client.unsubscribe_topic(self.topic)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> int:
        """Do ``function(*arguments, tell)`` on a worker, one at a time in a process; returns the task's number. What is
        submitted first is done first."""
        number = len(self.numbers)
        key = f"{self.what}-{uuid.uuid4().hex}"
        self.numbers[key] = number
        self.outstanding[number] = self.client.submit(
            errand, self.topic, key, function, *arguments, key=key, pure=False, priority=-number
        )
        return number

    def news(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """What tasks have told since the last call."""
        while self.heard:
            message = self.heard.popleft()
            yield self.numbers[message.pop("key")], message

    def done(self) -> Iterator[tuple[int, Future]]:
        """Tasks that are over now, each once."""
        for number, future in list(self.outstanding.items()):
            if future.done():
                del self.outstanding[number]
                yield number, future

    @property
    def slots(self) -> int:
        """How many tasks the cluster does at once. Raises :class:`UserError` where the scheduler is lost."""
        try:
            return sum(self.client.nthreads().values())
        except Exception as error:  # Dask raises anything
            raise UserError(f"The scheduler was lost ({error}): start it again, then give the same command.") from error


def lost_workers(future: Future) -> bool:
    """Whether a task was given up since workers died over it."""
    from distributed import KilledWorker

    return future.status == "error" and isinstance(future.exception(), KilledWorker)


def result(future: Future, what: str) -> Any:
    """What a task gave. A cluster that lost it is a :class:`UserError` that names ``what`` and the worker."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker

    try:
        return future.result()
    except KilledWorker as error:
        raise UserError(
            f"The cluster has lost {error.allowed_failures + 1} workers over {what}, the last one "
            f"{error.last_worker.address}, and gave it up: look whether their memory is large enough, then try again."
        ) from error
    except ModuleNotFoundError as error:
        own = (error.name or "").partition(".")[0] == "cellstream"
        need = "install the same version of CellStream on every machine"
        raise UserError(
            f"A worker of the cluster has no {error.name}: "
            f"{need if own else f'{what} needs it; install it on every machine'}."
        ) from error
    except CancelledError as error:
        raise UserError(
            f"The scheduler was lost over {what}, or took it away: start the scheduler again, then try again."
        ) from error


# --- on the worker ----------------------------------------------------------------------------------------------------


def errand(topic: str, key: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """A task of :class:`Errands`. One at a time in a process, whose random numbers are common to its threads."""
    while not _alone.acquire(timeout=1):
        if not wanted(key):
            raise Withdrawn
    try:
        return function(*arguments, Teller(topic, key))
    finally:
        _alone.release()


class Teller:
    """Tells whoever waits for a task how far it is; raises :class:`Withdrawn` once nobody does."""

    def __init__(self, topic: str, key: str):
        self.topic, self.key = topic, key
        self.told = 0.0

    def __call__(self, **message: Any) -> None:
        """Pass on a message of plain values; one that comes too early is left out."""
        now = time.monotonic()
        if now - self.told < TELL_SECONDS:
            return
        from distributed import get_worker

        if not wanted(self.key):
            raise Withdrawn
        self.told = now
        get_worker().log_event(self.topic, {"key": self.key, **message})


def wanted(key: str) -> bool:
    """Whether the scheduler still waits for a task of this worker: it forgets those of a process that has ended."""
    from distributed import get_worker

    task = get_worker().state.tasks.get(key)
    return task is not None and task.state != "cancelled"

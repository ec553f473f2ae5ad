"""The ticket in a run folder: which task of which cluster works here, and the workers that have begun it.

It is also a fence. A process that a worker has started goes on only while the ticket names its own task and its own
attempt: one that was believed lost and comes back, or whose task was taken away, ends as soon as it looks.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cellstream.files import whole

PASS = "CELLSTREAM_TICKET"
"""Variable in which a worker tells the process it starts which attempt that is."""


@dataclass(frozen=True)
class Attempt:
    """A worker of the cluster that began the run."""

    worker: str
    """Its address."""
    host: str

    def __str__(self) -> str:
        return f"worker {self.worker} on {self.host}"


@dataclass(frozen=True)
class Ticket:
    """A run that was given to a cluster."""

    scheduler: str
    key: str
    """Of the task; empty where it was taken away."""
    since: int = 0
    """Bytes that events.jsonl held before."""
    attempts: tuple[Attempt, ...] = ()
    """All but the last were lost."""

    @classmethod
    def read(cls, folder: Path) -> Ticket | None:
        """The ticket in ``folder``, if there is one that can be read."""
        try:
            read = json.loads((folder / "ticket.json").read_text())
            return cls(**{**read, "attempts": tuple(Attempt(**one) for one in read["attempts"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def write(self, folder: Path) -> None:
        with whole(folder / "ticket.json") as path:
            path.write_text(json.dumps(asdict(self)))

    def begun(self, attempt: Attempt) -> Ticket:
        """With one more attempt."""
        return replace(self, attempts=(*self.attempts, attempt))

    @property
    def word(self) -> str:
        """Names the last attempt."""
        return f"{self.key}:{len(self.attempts)}"


def own_pass() -> str | None:
    """The attempt that this process is; None where no cluster has started it."""
    return os.environ.get(PASS)


def fenced_out(folder: Path) -> bool:
    """Whether another attempt has taken this process's place."""
    mine, ticket = own_pass(), Ticket.read(folder)
    return mine is not None and ticket is not None and ticket.word != mine

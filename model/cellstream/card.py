"""The card in a run folder: which process works there, and what it says it does.

A process number alone proves nothing: after a restart it belongs to somebody else. So the card also holds when the
process was started, and on which machine.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from cellstream.files import whole

DEAD_AFTER = 15.0
"""Seconds without a heartbeat after which a worker that cannot be looked at counts as dead."""


@dataclass(frozen=True)
class Card:
    """Who works in a run folder."""

    pid: int
    started: float
    """When the process was started, in seconds since 1970; also its place in the queue."""
    host: str
    phase: str
    """starting, queued, running or paused."""
    since: int = 0
    """Bytes that events.jsonl held before: what was said there is of an earlier process."""

    @classmethod
    def of(cls, pid: int, phase: str, since: int) -> Card:
        """The card of a process of this machine."""
        try:
            started = psutil.Process(pid).create_time()
        except psutil.Error:
            started = time.time()
        return cls(pid, started, platform.node(), phase, since)

    @classmethod
    def read(cls, folder: Path) -> Card | None:
        """The card in ``folder``, if there is one that can be read."""
        try:
            return cls(**json.loads((folder / "worker.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        with whole(folder / "worker.json") as path:
            path.write_text(json.dumps(dataclasses.asdict(self)))

    def alive(self, folder: Path) -> bool:
        """Whether this very process is there; on another machine, whether its heart was heard lately."""
        if self.host != platform.node():
            return _beats(folder)
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.started) < 2 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.AccessDenied:
            return _beats(folder)
        except psutil.NoSuchProcess:
            return False


def _beats(folder: Path) -> bool:
    try:
        return time.time() - (folder / "heartbeat").stat().st_mtime < DEAD_AFTER
    except FileNotFoundError:
        return False

"""What came of each fit, as one JSON file: a benchmark that was interrupted goes on from them."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from cellstream import __version__
from cellstream.errors import Diverged, UserError
from cellstream.events import Progress
from cellstream.files import whole
from cellstream.terminal import as_json


@dataclass(frozen=True)
class Job:
    """A fit to be made and measured."""

    table: str
    data: str
    method: str
    setting: str
    seed: int
    identity: dict[str, Any]
    """All that decides the outcome: data, settings, measure. Where it has not changed, nothing is fitted again."""
    work: Callable[[Progress], dict[str, Any]]

    @property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps([self.identity, self.seed], sort_keys=True).encode()).hexdigest()[:16]

    @property
    def file(self) -> str:
        """Name of its record."""
        words = (self.table, self.data, self.method, self.setting or "default", str(self.seed))
        return "-".join(re.sub(r"[^a-z0-9.]+", "_", word.lower()).strip("_") for word in words) + ".json"

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.data, self.method, self.setting, f"seed {self.seed}")))


@dataclass(frozen=True)
class Record:
    """A fit that was made: its metrics, or the sentence of why there are none."""

    table: str
    data: str
    method: str
    setting: str
    seed: int
    hash: str
    seconds: float
    metrics: dict[str, float | None] = field(default_factory=dict)
    failed: str = ""
    diverged: bool = False
    """The fit left the numbers and would again; what failed for another reason is tried anew."""
    date: str = ""
    commit: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """The record in a file, if there is one that can be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        with whole(path) as temporary:
            temporary.write_text(as_json(asdict(self)), encoding="utf-8")


class Folder:
    """The records in ``DIR/runs``."""

    def __init__(self, place: Path):
        self.place = place / "runs"
        self.place.mkdir(parents=True, exist_ok=True)
        known = (Record.read(path) for path in sorted(self.place.glob("*.json")))
        self.by_hash = {record.hash: record for record in known if record}

    def find(self, job: Job) -> Record | None:
        """The record of this very fit, be it of another table, under the job's own name."""
        found = self.by_hash.get(job.hash)
        if found is None or (found.failed and not found.diverged):
            return None
        words = dict(table=job.table, data=job.data, method=job.method, setting=job.setting)
        own = Record(**{**asdict(found), **words})
        if not (self.place / job.file).exists() or Record.read(self.place / job.file) != own:
            own.write(self.place / job.file)
        return own

    def keep(self, job: Job, record: Record) -> None:
        record.write(self.place / job.file)
        self.by_hash[job.hash] = record


@dataclass(frozen=True)
class Told:
    """How far a table has come."""

    job: Job
    done: int
    """Jobs that are over."""
    total: int
    record: Record | None = None
    """Where the job is over now."""


def run(jobs: Iterable[Job], folder: Folder, on_progress: Progress) -> Iterator[Told]:
    """Make what has not been made yet; yields before and after each job. ``on_progress`` hears of steps within one.

    A fit that diverges, or that its method refuses, is recorded with its sentence.
    """
    jobs = list(jobs)
    for done, job in enumerate(jobs):
        yield Told(job, done, len(jobs))
        record = folder.find(job)
        if record is None:
            record = made(job, on_progress)
            folder.keep(job, record)
        yield Told(job, done + 1, len(jobs), record)


def made(job: Job, on_progress: Progress) -> Record:
    """The job's fit, made now."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small networks run faster on one, and results do not depend on the machine's number
    began, metrics, failed, diverged = time.monotonic(), {}, "", False
    try:
        metrics = job.work(on_progress)
    except UserError as error:
        failed, diverged = str(error), isinstance(error, Diverged)
    finally:
        torch.set_num_threads(threads)
    seconds = time.monotonic() - began
    words = (job.table, job.data, job.method, job.setting, job.seed, job.hash, round(seconds, 2))
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Record(*words, metrics, failed, diverged, date, commit(), machine(), job.identity)


@cache
def commit() -> str:
    """The commit of the code where it stands in a git work tree, with ``-dirty`` where it was changed; else the
    version."""
    here = Path(__file__).parent
    git = ("git", "-C", str(here))
    try:
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", "records.py"], capture_output=True)
        said = subprocess.run([*git, "describe", "--always", "--dirty", "--exclude", "*"], capture_output=True)
    except OSError:  # there is no git
        return __version__
    known = tracked.returncode == said.returncode == 0
    return said.stdout.decode().strip() if known else __version__


@cache
def machine() -> dict[str, Any]:
    """Processor, cores, and the versions that numbers may depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    system = platform.system()
    return dict(cpu=cpu, cores=os.cpu_count(), gpu=gpu, system=system, python=platform.python_version(),
                torch=torch.__version__, cellstream=__version__)  # fmt: skip

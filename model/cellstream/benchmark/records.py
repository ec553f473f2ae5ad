"""What came of each fit, as one JSON file, and the fitted model: a benchmark that was interrupted goes on from them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

from cellstream import __version__
from cellstream.errors import Diverged, UserError
from cellstream.events import Progress
from cellstream.files import whole
from cellstream.stream import CellStream
from cellstream.terminal import as_json


@dataclass(frozen=True)
class Job:
    """A fit to be made and measured."""

    table: str
    data: str
    method: str
    seed: int
    identity: dict[str, Any]
    """All that decides the fit beside the seed: data, settings, code. Where it has not changed, nothing is fitted."""
    measure: str
    """Which measure, of which version. Where only this has changed, the fit is measured anew."""
    score: Callable[[CellStream | None], dict[str, Any]]
    """The fitted model, or None where nothing is fitted, in numbers."""
    fit: Callable[[Progress], CellStream] | None = None
    setting: str = ""
    value: float | None = None
    """The setting, where it is a number."""
    paper: Mapping[str, float] = field(default_factory=dict)
    """The paper's numbers, by metric."""

    @property
    def fitted(self) -> str:
        """Hash of the fit."""
        return _hash(self.identity, self.seed)

    @property
    def hash(self) -> str:
        """Hash of the fit and its measure."""
        return _hash(self.identity, self.seed, self.measure)

    @property
    def name(self) -> str:
        """Name of its files. Names that differ in case or in other letters than a–z differ in the hash at the end."""
        words = (self.table, self.data, self.method, self.setting or "default", str(self.seed))
        plain = (re.sub(r"[^a-z0-9.]+", "_", word.lower()).strip("_") for word in words)
        return "-".join((*plain, _hash(words, self.fitted)[:8]))

    @property
    def words(self) -> dict[str, Any]:
        """What a table says of it."""
        keys = ("table", "data", "method", "setting", "seed", "value", "paper")
        return {key: getattr(self, key) for key in keys}

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.data, self.method, self.setting, f"seed {self.seed}")))


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Origin:
    """Where a fit comes from."""

    hash: str
    seconds: float
    date: str
    commit: str
    machine: dict[str, Any]


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
    """Of the fit."""
    metrics: dict[str, float | None] = field(default_factory=dict)
    failed: str = ""
    diverged: bool = False
    """The fit left the numbers and would again; what failed for another reason is tried anew."""
    date: str = ""
    commit: str = ""
    """Of the code that made the fit."""
    measured: str = ""
    """Commit of the code that measured it."""
    machine: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    measure: str = ""
    value: float | None = None
    paper: Mapping[str, float] = field(default_factory=dict)

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

    @property
    def row(self) -> tuple[str, str, str, str, int]:
        """Where it stands in which table."""
        return self.table, self.data, self.method, self.setting, self.seed


class Folder:
    """The records in ``DIR/runs`` and the fitted models in ``DIR/fits``."""

    def __init__(self, place: Path):
        self.place, self.models = place / "runs", place / "fits"
        for folder in (self.place, self.models):
            folder.mkdir(parents=True, exist_ok=True)
        read = {path: Record.read(path) for path in sorted(self.place.glob("*.json"))}
        self.known = {path: record for path, record in read.items() if record}
        self.by_hash = {record.hash: record for record in self.known.values()}
        origins = {path: _origin(path) for path in sorted(self.models.glob("*.json"))}
        self.fits = {origin.hash: (path.with_suffix(MODEL), origin) for path, origin in origins.items() if origin}

    def find(self, job: Job) -> Record | None:
        """The record of this very fit, be it of another table, under the job's own name."""
        found = self.by_hash.get(job.hash)
        if found is None or (found.failed and not found.diverged):
            return None
        return self.keep(job, replace(found, **job.words))

    def keep(self, job: Job, record: Record) -> Record:
        """Write the record, in place of what stood in its row."""
        path = self.place / f"{job.name}.json"
        if self.known.get(path) != record:
            record.write(path)
        for other in [place for place, old in self.known.items() if old.row == record.row and place != path]:
            other.unlink(missing_ok=True)
            del self.known[other]
        self.known[path] = self.by_hash[job.hash] = record
        return record

    def model(self, job: Job) -> tuple[CellStream, Origin] | None:
        """The fitted model, if it is there and can be read."""
        path, origin = self.fits.get(job.fitted, (None, None))
        if path is None or origin is None:
            return None
        try:
            return CellStream.load(path), origin
        except UserError:
            return None

    def put(self, job: Job, stream: CellStream | bytes, origin: Origin) -> tuple[CellStream, Origin]:
        """Keep a fitted model, or the file of one; returns it as it is read back, so that it measures the same at any
        later time."""
        path = self.models / f"{job.name}{MODEL}"
        with whole(path) as temporary:
            if isinstance(stream, bytes):
                temporary.write_bytes(stream)
            else:
                stream.save(temporary)
        # last, since it says that the model is there
        with whole(path.with_suffix(".json")) as temporary:
            temporary.write_text(as_json(asdict(origin)), encoding="utf-8")
        self.fits[job.fitted] = path, origin
        return CellStream.load(path), origin


MODEL = ".safetensors"


def _origin(path: Path) -> Origin | None:
    try:
        return Origin(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


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
        record = folder.find(job) or folder.keep(job, made(job, folder, on_progress))
        yield Told(job, done + 1, len(jobs), record)


def made(job: Job, folder: Folder, on_progress: Progress) -> Record:
    """The job's record, measured now; its fit is made now where it is not there."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small networks run faster on one, and results do not depend on the machine's number
    began, stream, origin, metrics, failed, diverged = time.monotonic(), None, None, {}, "", False
    try:
        if job.fit is not None:
            stream, origin = folder.model(job) or folder.put(job, job.fit(on_progress), _now(job, began))
        metrics = {key: _number(value) for key, value in job.score(stream).items()}
    except UserError as error:
        failed, diverged = str(error), isinstance(error, Diverged)
    finally:
        torch.set_num_threads(threads)
    origin = origin or _now(job, began)
    return Record(
        **job.words,
        hash=job.hash,
        seconds=origin.seconds,
        metrics=metrics,
        failed=failed,
        diverged=diverged,
        date=origin.date,
        commit=origin.commit,
        measured=commit(),
        machine=origin.machine,
        identity=job.identity,
        measure=job.measure,
    )


def _now(job: Job, began: float) -> Origin:
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return Origin(job.fitted, round(time.monotonic() - began, 2), date, commit(), machine())


def _number(value: float | None) -> float | None:
    """As JSON knows it: what is not a number, or infinite, is None."""
    return value if value is not None and math.isfinite(value) else None


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

"""The jobs of a benchmark side by side on a cluster; records and models are written on this machine, as without one.

A job goes to a worker with its data and comes back with its record and its model, so the workers need see no folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cellstream.benchmark.records import Folder, Job, Origin, Record, Told, made
from cellstream.cluster import Errands, Teller, address, lost_workers, result
from cellstream.errors import UserError
from cellstream.events import Progress

WAIT_SECONDS = 0.1

Model = tuple[bytes, Origin]
"""The file of a fitted model, and where it comes from."""


def run(jobs: Iterable[Job], folder: Folder, on_progress: Progress) -> Iterator[Told]:
    """As :func:`cellstream.benchmark.records.run`, with several jobs under way at once: ``on_progress`` is told how
    much of them is done in sum. A job that the cluster gives up is recorded with the sentence of why.

    Raises:
        UserError: there is no cluster, or no longer; what is done is kept.
    """
    todo, done = list(jobs), 0
    total = len(todo)
    sent: dict[int, Job] = {}
    shares: dict[int, float] = {}
    # a worker that dies takes with it what had only waited there: those are tried once more, each by itself
    suspects: list[Job] = []
    by_itself = -1
    with Errands(address() or "", "fit") as errands:

        def send(job: Job) -> int:
            number = errands.submit(make, job, _kept(folder, job))
            sent[number] = job
            return number

        while todo or sent or suspects:
            # no more than are done at once: each carries its data, and would wait for one worker while others are free
            while len(sent) < max(errands.slots, 1) and (job := _next(todo, sent)):
                yield Told(job, done, total)
                if known := folder.find(job):
                    done += 1
                    yield Told(job, done, total, known)
                else:
                    send(job)
            if not sent and suspects:
                by_itself = send(suspects.pop())
            for number, news in errands.news():
                if number in sent:
                    shares[number] = news["step"] / max(news["total"], 1)
                    on_progress(round(1000 * sum(shares.values())), 1000)
            for number, future in errands.done():
                job = sent.pop(number)
                shares.pop(number, None)
                if lost_workers(future) and number != by_itself:
                    suspects.append(job)
                    continue
                record = _received(folder, job, future)
                done += 1
                yield Told(job, done, total, record)
            time.sleep(WAIT_SECONDS)


def _next(todo: list[Job], sent: dict[int, Job]) -> Job | None:
    """Take the first job out of the list whose fit is not being made already, for another row of the table."""
    under_way = {job.fitted for job in sent.values()}
    for i, job in enumerate(todo):
        if job.fitted not in under_way:
            return todo.pop(i)
    return None


def _kept(folder: Folder, job: Job) -> Model | None:
    """The model of the job, where it is there and only needs to be measured."""
    if job.fit is None or folder.model(job) is None:
        return None
    path, origin = folder.fits[job.fitted]
    return path.read_bytes(), origin


def _received(folder: Folder, job: Job, future: Any) -> Record:
    """Keep what a worker has made."""
    try:
        record, model = result(future, f"the fit '{job}'")
    except UserError as error:
        if not lost_workers(future):
            raise
        record, model = replace(_blank(job), failed=str(error)), None
    if model is not None:
        folder.put(job, *model)
    return folder.keep(job, record)


def _blank(job: Job) -> Record:
    return Record(**job.words, hash=job.hash, seconds=0.0, identity=job.identity, measure=job.measure)


def make(job: Job, model: Model | None, tell: Teller) -> tuple[Record, Model | None]:
    """On a worker: the job's record, and its model where it was fitted now."""
    with TemporaryDirectory(prefix="cellstream-") as place:
        folder = Folder(Path(place))
        if model is not None:
            folder.put(job, *model)
        record = made(job, folder, lambda step, total: tell(step=step, total=total))
        if model is not None or job.fitted not in folder.fits:
            return record, None
        path, origin = folder.fits[job.fitted]
        return record, (path.read_bytes(), origin)

"""``cellstream benchmark NAME``: the fits of a table that are not there yet, and the table made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cellstream import cluster
from cellstream.benchmark import NAMES, away, records, report
from cellstream.benchmark.plans import TABLES, Options
from cellstream.benchmark.records import Folder, Job, Record
from cellstream.errors import UserError
from cellstream.files import path_of
from cellstream.progress import Tally


def benchmark(name: str, out: str | Path, options: Options) -> list[Path]:
    """Make the table ``name`` in the folder ``out``; returns the files made.

    A quick run's files are named ``NAME-quick``, so that they never stand in the place of those to be quoted.

    Raises:
        UserError: there is no such table, data or method; or the folder cannot be written.
        KeyboardInterrupt: with the sentence of how to go on.
    """
    if name not in NAMES:
        raise UserError(f"There is no table '{name}'; choose one of: {', '.join(NAMES)}.")
    if options.seeds is not None and options.seeds < 1:
        raise UserError(f"Expected at least one seed, but got {options.seeds}.")
    folder = path_of(out)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"Expected a folder for the table, but {folder} is a file. Name another one.")
    if name == "speed":
        return timings(folder, options)
    table = TABLES[name]
    seeds = options.seeds or (1 if options.quick else table.seeds)
    called = f"{name}-quick" if options.quick else name
    jobs = [replace(job, table=called) for job in table.jobs(options, seeds)]
    if not jobs:
        raise UserError(f"There is nothing to fit for {name} with these data and methods: choose others.")
    return report.write(table, called, followed(jobs, Folder(folder)), folder, options.quick)


def timings(folder: Path, options: Options) -> list[Path]:
    """The table of how long things take, which has its own tasks in place of data, methods and seeds."""
    from cellstream.benchmark.speed import speed

    if options != Options(quick=options.quick):
        raise UserError("The table speed has its own data and methods: give it --out, and --quick or not.")
    return speed(folder, options.quick)


def followed(jobs: Sequence[Job], folder: Folder) -> list[Record]:
    """Run the jobs with a bar, where a cluster is named on that; what came of each."""
    run = away.run if cluster.address() else records.run
    bar = Tally(len(jobs))
    over: dict[str, Record] = {}
    try:
        for told in run(jobs, folder, lambda step, total: bar.part(step / max(total, 1))):
            if told.record is None:
                bar.begin(str(told.job))
            else:
                bar.end()
                over[told.job.name] = told.record
                if told.record.failed:
                    bar.say(f"{told.job}: {told.record.failed}")
    except KeyboardInterrupt as stopped:
        kept = f"{len(over)} of {len(jobs)} fits are kept in {folder.place}; the same command goes on from there."
        raise KeyboardInterrupt(kept) from stopped
    finally:
        bar.close()
    return [over[job.name] for job in jobs]  # a cluster ends them in another order


__all__ = ["Options", "benchmark"]

"""From a file to a result in a file: what ``cellstream fit`` and ``cellstream resume`` do, step by step."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellstream import datasets, readers, scverse
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.files import whole
from cellstream.progress import follow
from cellstream.runs import Run, Status
from cellstream.snapshots import Snapshots, from_anndata
from cellstream.times import guess_time_keys

if TYPE_CHECKING:
    from anndata import AnnData

PLAUSIBLE = 0.5
"""Score from which a column counts as one that may hold the time."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and what came of it."""

    status: Status
    out: Path | None
    """The file with the result, where one was written."""
    run: Path | None
    """The run's folder, unless it was a temporary one and is gone."""
    seconds: float = 0.0
    """Time spent on training."""
    metrics: dict[str, Any] | None = None
    """Where the run has finished."""


def fit(
    source: str,
    out: Path,
    config: Config,
    say: Callable[[str], object],
    *,
    time_key: str | None = None,
    input: str = "X",
    time_map: Mapping[str, float] | None = None,
    real_times: bool = False,
    masses: Sequence[float] | None = None,
    preset: str = "",
    run_dir: Path | None = None,
) -> Outcome:
    """Read, prepare, train in a run folder (a temporary one where ``run_dir`` is None), and write to ``out``.

    ``source`` is a file or the name of a data set; the other arguments are those of
    :func:`cellstream.snapshots.from_anndata`. ``say`` is given one sentence at a time on what was found and done.
    """
    if run_dir and (run_dir / "config.json").exists():
        raise UserError(
            f"There is a run in {run_dir} already: continue it with 'cellstream resume {run_dir}', "
            "or name another folder with --run-dir."
        )
    path, dataset = located(source)
    reading = readers.open_file(path)
    guessed = time_key is None
    if time_key is None:
        time_key = datasets.DATASETS[dataset].time_key if dataset else guessed_time_key(reading.adata)
    arguments: dict[str, Any] = dict(input=input, time_map=time_map, real_times=real_times, masses=masses)
    snapshots = from_anndata(reading.adata, time_key, **arguments, preprocess=config.preprocess)
    if guessed:
        say(f"Time is read from the column '{time_key}'; choose another with --time-key.")
    counts = snapshots.counts.tolist()
    cells = ", ".join(f"{label}: {n:,}" for label, n in zip(snapshots.labels, counts, strict=True))
    for sentence in (*reading.notes, *snapshots.report, f"Cells at the {len(counts)} time points: {cells}."):
        say(sentence)
    recipe = dict(
        name=dataset or path.stem,
        source=dataset or str(path),
        time_key=time_key,
        **arguments,
        preprocess=dataclasses.asdict(config.preprocess),
        preset=preset,
        out=str(out),
    )
    run = Run.create(run_dir or tempfile.mkdtemp(prefix="cellstream-"), snapshots, config, recipe)
    return train(run, out, reading.adata, snapshots, temporary=run_dir is None)


def resume(run: Run, out: Path | None) -> Outcome:
    """Go on with a run that was interrupted; its result is written to ``out``, where that is given."""
    # read first: better to hear now than after the training that the file has moved
    adata = readers.open_file(located(run.recipe["source"])[0]).adata if out else None
    return train(run, out, adata, run.snapshots())


def train(
    run: Run, out: Path | None, adata: AnnData | None, snapshots: Snapshots, *, temporary: bool = False
) -> Outcome:
    """Start a run's process unless it is done, follow it to its end, and write the result."""
    try:
        if run.status().state != "finished":
            run.start()
        status = follow(run)
    except KeyboardInterrupt:  # before anybody followed
        run.cancel()
        status = follow(run)
    if not (run.folder / "config.json").exists():
        raise UserError(f"The run's folder {run.folder} was removed while it was at work: fit again.")
    stream = run.result()
    metrics = run.metrics() if status.state == "finished" else None
    written = None
    if out and adata is not None and stream is not None and status.state != "dead":
        scverse.annotate(stream, adata, snapshots, run.recipe, metrics=metrics, history=run.history)
        write(adata, out, f"the run is kept in {run.folder}")
        written = out
    # the folder of a run that broke stays, to be looked at and resumed
    gone = temporary and status.state in ("finished", "cancelled")
    if gone:
        run.delete()
    seconds = getattr(run.history.last, "seconds", 0.0)
    return Outcome(status, written, None if gone else run.folder, seconds, metrics)


def write(adata: AnnData, out: Path, otherwise: str = "choose another place with --out") -> None:
    """``adata`` as a whole ``.h5ad`` or none."""
    try:
        with whole(out) as path:
            adata.write_h5ad(path)
    except (OSError, TypeError, ValueError, KeyError, NotImplementedError) as error:
        raise UserError(f"{out} could not be written ({error}): {otherwise}.") from error


def located(source: str) -> tuple[Path, str | None]:
    """The file that ``source`` names, and the data set, if it is the name of one."""
    path = Path(source).expanduser()
    if path.exists():
        return path.resolve(), None
    if source in datasets.DATASETS:
        return datasets.fetch(source), source
    if not path.suffix and path.name == source:
        raise UserError(
            f"There is no file and no data set '{source}': give a path, or one of {', '.join(datasets.DATASETS)}."
        )
    return path, None  # the reader says what is missing, and what is there instead


def guessed_time_key(adata: AnnData) -> str:
    """The one column that may hold the time; a sentence where there is none, or more than one."""
    guesses = guess_time_keys(adata.obs)
    plausible = [guess for guess in guesses if guess.score >= PLAUSIBLE]
    if len(plausible) == 1:
        return plausible[0].key
    if guesses:
        listed = "; ".join(f"'{guess.key}' ({guess.reason})" for guess in plausible or guesses)
        raise UserError(
            f"Expected --time-key, the column with the time of each cell. Columns that may be it: {listed}."
        )
    there = ", ".join(f"'{name}'" for name in adata.obs.columns[:12]) or "none"
    raise UserError(
        f"Expected --time-key, the column with the time of each cell, and no column looks like it: {there}."
    )

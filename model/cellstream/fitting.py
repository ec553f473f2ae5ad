"""From a file to a result in a file: what ``cellstream fit`` and ``cellstream resume`` do, step by step."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from cellstream import cluster, datasets, fixes, metadata, readers, scverse, terminal
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.files import beside, path_of, require_disk, require_vacant, resuming
from cellstream.intake import COMMAND, take_in
from cellstream.keeping import reason, write
from cellstream.progress import follow, interrupts
from cellstream.runs import Run, Status, require_devices_here
from cellstream.snapshots import Snapshots


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
    rate_unit: str = ""
    """What the growth rates and velocities in ``out`` are per."""


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
    asked: Sequence[str] = (),
    preset: str = "",
    run_dir: Path | None = None,
) -> Outcome:
    """Read, prepare, train in a run folder (a temporary one where ``run_dir`` is None), and write to ``out``.

    ``source`` is a file or the name of a data set; the other arguments are those of
    :func:`cellstream.snapshots.from_anndata`, ``asked`` its fixes. ``say`` is given one sentence at a time on what was
    found and done.
    """
    asked = fixes.ordered(asked)
    if run_dir:
        require_vacant(run_dir)
    if scheduler := cluster.address():
        cluster.connect(scheduler)  # one that is not there is told before the data are read
    path, dataset = located(source)
    reading = readers.open_file(path)
    require_devices_here(config)
    require_writable(reading.adata, out, asked)
    require_disk(out.parent, readers.size_of(path, reading.adata), "The file with the result")
    taken = take_in(
        reading.adata,
        config,
        COMMAND,
        time_key=datasets.DATASETS[dataset].time_key if dataset and time_key is None else time_key,
        input=input,
        time_map=time_map,
        real_times=real_times,
        masses=masses,
        asked=asked,
        notes=reading.notes,
    )
    for sentence in taken.notes:
        say(sentence)
    recipe = dict(name=dataset or path.stem, source=dataset or str(path), **taken.recipe, preset=preset, out=str(out))
    # other machines do not see this one's temporary files: there, it is beside the result
    folder = run_dir or Path(tempfile.mkdtemp(prefix="cellstream-", dir=out.parent if scheduler else None))
    try:
        run = Run.create(folder, taken.snapshots, taken.config, recipe)
    except BaseException:
        if run_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if run_dir is None:
        say(f"The run is in {run.folder} until its result is written.")
    return train(run, out, reading.adata, taken.snapshots, temporary=run_dir is None)


def resume(run: Run, out: Path | None) -> Outcome:
    """Go on with a run that was interrupted; its result is written to ``out``, where that is given."""
    adata, snapshots = None, run.snapshots()
    # better to hear now than after the training that the file has moved, or was changed
    if out:
        source = run.recipe.get("source")
        if not source:
            raise UserError(f"The run in {run.folder} does not say where its data came from: resume it without --out.")
        path, _ = located(str(source))
        adata = readers.open_file(path).adata
        scverse.require_same_cells(adata, snapshots, run.recipe)
        require_writable(adata, out, run.recipe.get("fixes", ()))
        require_disk(out.parent, readers.size_of(path, adata), "The file with the result")
    if run.status().state != "finished":
        require_devices_here(run.config)
    return train(run, out, adata, snapshots)


def train(
    run: Run, out: Path | None, adata: AnnData | None, snapshots: Snapshots, *, temporary: bool = False
) -> Outcome:
    """Start a run's process unless it is done, follow it to its end, and write the result."""
    over = run.status().state == "finished"
    told = len(run.history.stages)  # of one that is resumed, what was said before is not said again
    with interrupts() as came:  # a process that is just coming up must not be left alone
        if not over:
            if run.history.step:
                terminal.say(f"Going on from the last checkpoint; {run.history.step:,} steps had been made.")
            run.start()
        if came:
            run.cancel()
        status = follow(run, told=told)
    if not (run.folder / "config.json").exists():
        raise UserError(f"The run's folder {run.folder} was removed while it was at work: fit again.")
    stream = run.result()
    metrics = run.metrics() if status.state == "finished" else None
    written, unit = None, ""
    if out and adata is not None and stream is not None and status.state != "dead":
        kept = f"The run is kept in {run.folder}; '{resuming(run.folder)} --out FILE.h5ad' writes its result."
        try:
            scverse.annotate(stream, adata, snapshots, run.recipe, metrics=metrics, history=run.history)
            write(adata, out)
        except UserError as error:
            raise UserError(f"{error} {kept}") from error
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(kept) from error
        written, unit = out, stream.clock.rate_unit
    # the folder of a run that broke stays, to be looked at and resumed
    gone = temporary and status.state in ("finished", "cancelled") and _deleted(run)
    seconds = getattr(run.history.last, "seconds", 0.0)
    return Outcome(status, written, None if gone else run.folder, seconds, metrics, unit)


def _deleted(run: Run) -> bool:
    try:
        run.delete()
    except (UserError, OSError):
        return False  # the result is written: a folder that cannot be cleared away is no reason to break
    return True


def require_writable(adata: AnnData, out: Path, asked: Collection[str] = ()) -> None:
    """Raise before the training, not after it, the :class:`UserError` of a result that could not be written.

    Either a name is taken in ``adata``, or something in it cannot be written. Tables and ``uns`` are written beside
    ``out`` and thrown away: matrices can always be written, columns cannot. ``asked`` are the fixes asked for.
    """
    scverse.require_free(adata)
    obs, var = (metadata.as_text(frame) if fixes.TEXT in asked else frame.copy() for frame in (adata.obs, adata.var))
    frames = {key: value for key, value in adata.obsm.items() if isinstance(value, pd.DataFrame)}
    try:
        with beside(out) as path, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            AnnData(obs=obs, var=var, uns=adata.uns, obsm=frames).write_h5ad(path)
    except OSError as error:
        raise UserError(f"{out} cannot be written ({reason(error)}): choose another place with --out.") from error
    except Exception as error:  # anndata raises anything
        where = [f"{slot}['{key}']" for slot, of in (("obs", obs), ("var", var)) for key in _unwritable(of, out)]
        what = f"{' and '.join(where)}" if where else "something beside the matrices"
        mend = f" --fix {fixes.TEXT} {fixes.FIXES[fixes.TEXT].doc}." if where else ""
        raise UserError(
            f"An .h5ad cannot hold {what} of the data ({reason(error)}): make it text, numbers or categories, "
            f"or remove it first.{mend}"
        ) from error


def _unwritable(frame: pd.DataFrame, out: Path) -> list[str]:
    """Columns that cannot be written, found by writing each by itself."""
    found = []
    for i, key in enumerate(frame.columns):
        try:
            with beside(out) as path:
                AnnData(obs=frame.iloc[:, [i]].copy()).write_h5ad(path)
        except Exception:
            found.append(str(key))
    return found


def located(source: str) -> tuple[Path, str | None]:
    """The file that ``source`` names, and the data set, if it is the name of one."""
    path = Path(source)
    if (real := path_of(source)).exists():
        return real, None
    if source in datasets.DATASETS:
        return datasets.fetch(source), source
    if not path.suffix and path.name == source:
        raise UserError(
            f"There is no file and no data set '{source}': give a path, or one of {', '.join(datasets.DATASETS)}."
        )
    return real, None  # the reader says what is missing, and what is there instead

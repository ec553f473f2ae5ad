"""What ``import cellstream as cs`` offers for notebooks and scripts, all on the road of the command line."""

from __future__ import annotations

import difflib
import inspect
import io
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
from anndata import AnnData

from cellstream import cluster, config, datasets, handover, readers, scverse
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.files import new_folder, path_of, require_vacant, resuming
from cellstream.fitting import located
from cellstream.intake import PYTHON, take_in
from cellstream.keeping import place_for, write
from cellstream.presets import PRESETS
from cellstream.presets import preset as preset_of
from cellstream.progress import follow, in_notebook, interrupts
from cellstream.record import Record
from cellstream.runs import Run, Status, require_devices_here
from cellstream.stream import CellStream
from cellstream.terminal import say
from cellstream.time_labels import as_label


def fit(
    data: AnnData | str | Path,
    time_key: str | None = None,
    *,
    preset: str = "best",
    seed: int | None = None,
    input: str = "X",
    use_rep: str | None = None,
    time_map: Mapping[Any, float] | None = None,
    real_times: bool = False,
    masses: Sequence[float] | None = None,
    fixes: Sequence[str] = (),
    run_dir: str | Path | None = None,
    progress: bool = True,
    **settings: Any,
) -> CellStream:
    """Learn an embedding, velocity and growth from cells of two time points or more.

    The same as ``cellstream fit`` with the same settings, bit for bit on the same machine: a process of its own trains,
    and this one follows it.

    **Interrupting** (Kernel → Interrupt, Ctrl-C) stops the training within a second and returns the best model so far,
    with ``record.state == "cancelled"`` and without metrics. Before there is one, it raises ``KeyboardInterrupt`` once
    all is cleared away. A second interrupt does not wait for the process to put its model away.

    Parameters
    ----------
    data
        Cells by genes, in memory, which stay as they are; or the path of a file, or the name of a data set
        (:mod:`cellstream.datasets`).
    time_key
        Column of ``obs`` with the time of each cell; by default the one column that looks like it.
    preset
        ``"best"``, ``"quick"`` or ``"paper"``; see :mod:`cellstream.presets`.
    seed
        Same seed, same machine, same result; 0 by default.
    input
        What the encoder reads: ``"X"``, ``"layer:NAME"`` or ``"obsm:NAME"``.
    use_rep
        An embedding in ``obsm``, as in scanpy: ``use_rep="X_pca"`` is ``input="obsm:X_pca"``.
    time_map
        The time of each label, where it cannot be read off.
    real_times
        Follow the real gaps between time points; otherwise they are 0, 1, 2, … as in the paper.
    masses
        Size of the population at each time point, in any unit; by default the numbers of cells, from which growth is
        then learned.
    fixes
        Names in :data:`cellstream.fixes.FIXES` of what is mended in how the data are read.
    run_dir
        A new folder that keeps the run, for ``cellstream describe`` and ``cellstream resume``; temporary by default.
    progress
        Show a bar, and before it what one should know of the data; the latter is in ``record.notes`` as well.
    **settings
        Any setting by its name, such as ``rounds=20``, ``ensemble=5`` or ``device="cpu"``; see
        :func:`cellstream.settings`.

    Returns
    -------
    CellStream
        The result, which knows its cells. It can :meth:`~cellstream.CellStream.annotate` them,
        :meth:`~cellstream.CellStream.save` them with the result, and is what :mod:`cellstream.figures` draws.

    Raises
    ------
    UserError
        The data or a setting are not as expected; one sentence says what is, and what to do. Also where training broke.

    Examples
    --------
    >>> import cellstream as cs
    >>> result = cs.fit("branching", time_key="day", real_times=True, preset="quick")
    >>> cs.figures.embedding(result, colour="lineage", layers=["cells", "streams"])
    >>> result.save("result.h5ad")
    """
    chosen = _configured(preset, seed, settings)
    folder = require_vacant(run_dir) if run_dir is not None else None
    if scheduler := cluster.address():
        if folder is None:
            raise UserError(
                "CELLSTREAM_SCHEDULER names a cluster, whose machines do not see temporary files of this one: say with "
                "run_dir which new folder all of them see."
            )
        cluster.connect(scheduler)  # one that is not there is told before the data are read
    adata, source, notes = _opened(data)
    require_devices_here(chosen)
    if isinstance(source, str) and source in datasets.DATASETS and time_key is None:
        time_key = datasets.DATASETS[source].time_key
    taken = take_in(
        adata,
        chosen,
        PYTHON,
        time_key=time_key,
        input=_input(input, use_rep),
        time_map=None if time_map is None else {as_label(label): float(time) for label, time in time_map.items()},
        real_times=bool(real_times),
        masses=None if masses is None else [float(mass) for mass in masses],
        asked=[fixes] if isinstance(fixes, str) else list(fixes),
        notes=notes,
    )
    notebook = in_notebook()
    out: TextIO = io.StringIO() if not progress else sys.stdout if notebook else sys.stderr
    for sentence in taken.notes:
        say(sentence, out)
    name = Path(source).name.partition(".")[0] if source else "data in memory"
    recipe = dict(name=name, source=source, **taken.recipe, preset=preset)
    place = folder or Path(tempfile.mkdtemp(prefix="cellstream-"))
    kept = folder is not None
    try:
        run = Run.create(place, taken.snapshots, taken.config, recipe)
        status = _trained(run, out, notebook and progress)
        if status.state in ("failed", "dead"):
            kept = True
            again = f"; '{resuming(run.folder)}' goes on from its last checkpoint" if "Resume" in status.reason else ""
            raise UserError(f"{status.reason} The run is kept in {run.folder}{again}.")
        stream = run.result()
        if stream is None:
            raise KeyboardInterrupt(status.reason)
        record = _record(run, adata, status, taken.notes, run.folder if kept else None)
    finally:
        if not kept:
            _clear(place)
    if status.state != "finished":
        say(status.reason, out)
    return replace(stream, record=record)


def load(path: str | Path, adata: AnnData | None = None) -> CellStream:
    """A result that was kept: a file of ``cellstream fit``, the app or :meth:`cellstream.CellStream.save`; the folder
    of a run; or a ``.safetensors`` file, which holds the model alone.

    ``adata`` are the cells of a run's folder where they came from memory, or their file has moved; other results hold
    theirs, and are refused with it.

    Raises
    ------
    UserError
        There is no result, or the cells have changed since.
    """
    place = path_of(path)
    folder = (place / "config.json").is_file()
    if adata is not None and not folder:
        raise UserError(f"'{place}' is no folder of a run, so it takes no cells: leave adata out, as in cs.load(path).")
    if place.suffix == ".safetensors":
        return CellStream.load(place)
    if not folder:
        return scverse.result_in(readers.open_file(path).adata, place)
    run = Run(place)
    status, stream, recipe = run.status(), run.result(), run.recipe
    if stream is None:
        raise UserError(f"The run in {place} has no model yet: wait until it has, or fit again.")
    if adata is None:
        if not recipe.get("source"):
            raise UserError(f"The cells of the run in {place} came from memory: give them, as in cs.load(path, adata).")
        adata = readers.open_file(located(str(recipe["source"]))[0]).adata
    snapshots = run.snapshots()
    scverse.require_same_cells(adata, snapshots, recipe)
    return replace(stream, record=_record(run, adata, status, snapshots.report, place))


def export(
    result: CellStream,
    out: str | Path | None = None,
    *,
    velocity_layer: bool = False,
    transitions: bool = False,
    tmaps: str | Path | None = None,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Hand a result over to scVelo, CellRank, moscot and WOT, as ``cellstream export`` does: see
    :mod:`cellstream.handover`.

    Parameters
    ----------
    result
        Of :func:`fit` or :func:`load`.
    out
        An ``.h5ad`` or a ``.zarr`` folder for a copy of the cells with the result, growth and time in it.
    velocity_layer
        Velocities of genes as well, for scVelo.
    transitions
        Transition probabilities between cells as well, for CellRank's ``PrecomputedKernel``.
    tmaps
        A folder for a transport map of each interval, as WOT writes them, for CellRank's ``RealTimeKernel.from_wot``.
    overwrite
        Replace what is there.

    Returns
    -------
    pandas.DataFrame
        Each key that was written beside the result, and what it holds.
    """
    again = "choose another name, or say overwrite=True"
    if out is None and (tmaps is None or velocity_layer or transitions):
        raise UserError('Expected a file to write to, as in cs.export(result, "handed.h5ad"), but got none.')
    place = place_for(out, overwrite) if out is not None else None
    if place is not None and place.suffix == ".safetensors":
        raise UserError(f"Expected a name that ends in .h5ad or .zarr to write to, but got '{out}'.")
    maps = new_folder(str(tmaps), overwrite, handover.only_maps, "transport maps", again) if tmaps is not None else None
    known = result.known
    adata = known.adata.copy()
    result.annotate(adata)
    landed = handover.landings(result, known.snapshots)
    wanted = dict(velocity_layer=velocity_layer, transitions=transitions)
    written = handover.hand_over(adata, result, known.snapshots, **wanted, landed=landed) if place else {}
    if maps is not None:
        handover.write_transport_maps(landed, adata.obs_names[scverse.rows_of(adata, known.snapshots)], maps)
    if place is not None:
        write(adata, place, "choose another place")
    return pd.DataFrame(written.items(), columns=["key", "what"])


def settings(preset: str = "best") -> pd.DataFrame:
    """Every setting that :func:`fit` takes by name, with its value in a preset, what it may be and what it means."""
    values, rows = preset_of(preset), {}
    for section, item in config.settings():
        meta = item.metadata
        may = ", ".join(map(str, meta["choices"])) if meta["choices"] else _span(meta["bounds"])
        value = getattr(getattr(values, section), item.name)
        rows[item.name] = dict(value=value, may_be=may, unit=meta["unit"], meaning=meta["doc"], section=section)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("setting")


def _span(bounds: tuple[Any, Any] | None) -> str:
    low, high = bounds or (None, None)
    return f"{low} to {high}" if high is not None else f"at least {low}" if low is not None else ""


def _configured(name: str, seed: int | None, changes: Mapping[str, Any]) -> Config:
    """A preset with changes. What is neither a setting nor an argument is told, with what is like it."""
    if name not in PRESETS:
        close = difflib.get_close_matches(str(name), PRESETS, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else f": choose one of {', '.join(PRESETS)}."
        raise UserError(f"No preset is called {name!r}{hint}")
    own = [key for key in inspect.signature(fit).parameters if key not in ("data", "settings")]
    for key in changes:
        try:
            config.find(key)
        except UserError:
            if close := difflib.get_close_matches(key, own, n=1, cutoff=0.75):
                raise UserError(f"cs.fit has no argument and no setting '{key}'; did you mean {close[0]}?") from None
            raise
    return preset_of(name, **changes, **({} if seed is None else {"seed": seed}))


def _input(input: str, use_rep: str | None) -> str:
    if use_rep is None:
        return input
    if input != "X":
        raise UserError("Expected input or use_rep, which say the same in two ways, but got both: leave one out.")
    return "X" if use_rep == "X" else f"obsm:{use_rep}"


def _opened(data: AnnData | str | Path) -> tuple[AnnData, str | None, tuple[str, ...]]:
    """The cells, from where they can be read again, and what was noticed in the file."""
    if isinstance(data, AnnData):
        readers.require_cells(data, "adata")
        return data, str(path_of(data.filename)) if data.filename else None, ()
    if not isinstance(data, str | Path):
        raise UserError(f"Expected an AnnData, a path or the name of a data set, but got {type(data).__name__}.")
    path, dataset = located(str(data))
    reading = readers.open_file(path)
    return reading.adata, dataset or str(path), reading.notes


def _trained(run: Run, out: TextIO, notebook: bool) -> Status:
    """Train in the run's process, to its end or until it is interrupted."""
    with interrupts() as came:  # a process that is just coming up must not be left alone
        run.start()
        if came:
            run.cancel()
        return follow(run, out, notebook=notebook)


def _record(run: Run, adata: AnnData, status: Status, notes: Sequence[str], folder: Path | None) -> Record:
    history = run.history
    return Record(
        adata,
        run.snapshots(),
        run.recipe,
        (run.metrics() or {}) if status.state == "finished" else {},
        scverse.losses_of(history),
        tuple(notes),
        status.state,
        float(getattr(history.last, "seconds", 0.0)),
        str((run.recipe.get("versions") or {}).get("cellstream", "")),
        run=folder,
    )


def _clear(folder: Path) -> None:
    """Remove a temporary run; one that cannot be is no reason to lose its result."""
    try:
        Run(folder).delete()
    except (UserError, OSError):
        shutil.rmtree(folder, ignore_errors=True)

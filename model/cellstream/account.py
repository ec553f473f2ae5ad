"""How a result came about, as far as its run's folder or its file tells: what :mod:`cellstream.words` writes about and
:mod:`cellstream.script` makes again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from cellstream import readers, scverse
from cellstream.config import Config
from cellstream.files import path_of
from cellstream.runs import Run
from cellstream.snapshots import Snapshots
from cellstream.stream import METHOD, CellStream


@dataclass(frozen=True)
class Account:
    """What is known of a result, or of a run that has none yet."""

    config: Config
    recipe: Mapping[str, Any]
    """Where the cells came from, how they were read, and by what software; see :class:`cellstream.runs.Run`."""
    snapshots: Snapshots
    method: str
    """``"CellStream"``, or the name of another method."""
    trained: bool
    """There is a model."""
    members: int = 0
    """Further models of an ensemble."""
    metrics: Mapping[str, Any] | None = None
    rounds: int | None = None
    """Rounds that were made, where that is known."""
    stopped: bool = False
    """Training was stopped before its end, as far as is known."""
    version: str = ""
    """Of CellStream, where a file with a result tells it and its recipe does not."""
    folder: Path | None = None
    """The run's own, where it was read from one."""


def of(path: Path | str) -> Account:
    """What a run's folder, or a file with a result in it, tells. Raises :class:`UserError` where it is neither."""
    place = path_of(path)
    if (place / "config.json").is_file():
        return of_run(Run(place))
    return of_result(readers.open_file(path).adata)


def of_run(run: Run) -> Account:
    """What a run's folder tells, whatever has become of the run."""
    stream, state = run.result(), run.status().state
    return Account(
        run.config if stream is None else stream.config,
        run.recipe,
        run.snapshots(),
        str(run.recipe.get("method") or METHOD) if stream is None else stream.method,
        stream is not None,
        0 if stream is None else len(stream.members),
        run.metrics() or None,
        len(run.history.rounds) or None,
        stopped=state != "finished",
        folder=run.folder,
    )


def of_result(adata: AnnData) -> Account:
    """What a result in an AnnData tells. Raises :class:`UserError` where there is none, or the cells have changed."""
    stream, snapshots, recipe = scverse.read_result(adata)
    kept = adata.uns[scverse.KEY]
    metrics, rounds = json.loads(kept.get("metrics", "{}")) or None, _rounds(kept.get("losses", {}), stream)
    return Account(
        stream.config,
        recipe,
        snapshots,
        stream.method,
        True,
        len(stream.members),
        metrics,
        rounds,
        # of a run that was stopped nothing is measured
        stopped=metrics is None and (rounds or 0) < stream.config.schedule.rounds and bool(kept.get("losses")),
        version=str(kept.get("version", "")),
    )


def _rounds(losses: Mapping[str, Any], stream: CellStream) -> int | None:
    """Whole rounds among the steps that a file tells of."""
    schedule = stream.config.schedule
    steps = int((np.asarray(losses.get("stage", ()), dtype=str) == "rounds").sum())
    return steps // (schedule.autoencoder_steps + schedule.dynamics_steps) if steps else None

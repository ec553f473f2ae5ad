"""A result in a file becomes a finished run again, in a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from cellstream import events, scverse
from cellstream.files import whole
from cellstream.runs import Run, picture
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream


def made_run(
    folder: Path,
    stream: CellStream,
    snapshots: Snapshots,
    recipe: Mapping[str, Any],
    metrics: Mapping[str, Any],
    title: str,
) -> Run:
    """A finished run of what :func:`cellstream.scverse.read_result` gave; ``title`` names the file."""
    # what the file does not tell of the software is not known: that of today is not it
    run = Run.create(folder, snapshots, stream.config, {"versions": None, **recipe})
    with whole(run.folder / "model.safetensors") as path:
        stream.save(path)
    with whole(run.folder / "metrics.json") as path:
        path.write_text(json.dumps(dict(metrics)))
    with whole(run.folder / "preview.npz") as path:
        np.savez(path, **picture(stream, snapshots, 0))
    # no steps, stages and losses: the file does not tell of them
    finished = events.Finished(0, f"Read from {title}.", 0.0, 0.0, dict(metrics))
    said = (events.Preview(0, "preview.npz"), finished)
    (run.folder / "events.jsonl").write_text("".join(f"{events.to_line(event)}\n" for event in said))
    return run


def metrics_in(adata: AnnData) -> dict[str, Any]:
    """What a file with a result says that it is worth; nothing where that cannot be read."""
    try:
        return dict(json.loads(adata.uns[scverse.KEY]["metrics"]))
    except (KeyError, TypeError, ValueError):
        return {}

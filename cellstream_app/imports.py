"""A file that already holds a result of CellStream becomes a run again, so that it can be looked at like any other."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from cellstream import events, runs, scverse
from cellstream.files import whole
from cellstream.runs import Run, picture
from cellstream_app.sources import Source


def holds_result(source: Source) -> bool:
    """Whether the file carries a model of CellStream's."""
    kept = source.adata.uns.get(scverse.KEY)
    return hasattr(kept, "get") and hasattr(kept.get("model"), "get")


def import_result(source: Source) -> Run:
    """A finished run of the result in a file. Takes a while; raises :class:`UserError` where the file was changed."""
    stream, snapshots, recipe = scverse.read_result(source.adata)
    metrics = _metrics(source)
    name = f"{recipe.get('name', source.title)}, from {source.title}"
    said = {**recipe, "name": name, "source": source.key, "title": source.title}
    run = Run.create(runs.new_folder(source.title.split(".")[0]), snapshots, stream.config, said)
    with whole(run.folder / "model.safetensors") as path:
        stream.save(path)
    with whole(run.folder / "metrics.json") as path:
        path.write_text(json.dumps(metrics))
    with whole(run.folder / "preview.npz") as path:
        np.savez(path, **picture(stream, snapshots, 0))
    # no steps, stages and losses: the file does not tell of them
    finished = events.Finished(0, f"Read from {source.title}.", 0.0, 0.0, metrics)
    said = (events.Preview(0, "preview.npz"), finished)
    (run.folder / "events.jsonl").write_text("".join(f"{events.to_line(event)}\n" for event in said))
    return run


def _metrics(source: Source) -> dict[str, Any]:
    try:
        return dict(json.loads(source.adata.uns[scverse.KEY]["metrics"]))
    except (KeyError, TypeError, ValueError):
        return {}

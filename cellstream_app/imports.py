"""A file that already holds a result of CellStream becomes a run again, so that it can be looked at like any other."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import Any

import numpy as np

from cellstream import runs, scverse
from cellstream.bundle.of_result import made_run, metrics_in
from cellstream.runs import Run
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream
from cellstream_app.sources import Source

MARK = "result"
"""Where the recipe of such a run says which result it is of."""
_making = threading.Lock()
"""One at a time: of two who ask for the same result at once, the second is given the first one's."""


def holds_result(source: Source) -> bool:
    """Whether the file carries a model of CellStream's."""
    kept = source.adata.uns.get(scverse.KEY)
    return hasattr(kept, "get") and hasattr(kept.get("model"), "get")


def import_result(source: Source) -> Run:
    """A finished run of the result in a file: the one made before, where it is still there. Takes a while; raises
    :class:`UserError` where the file was changed."""
    stream, snapshots, recipe = scverse.read_result(source.adata)
    mark = _mark(source, snapshots)
    with _making:
        same = (run for run in runs.all_runs() if run.recipe.get(MARK) == mark and run.status().state == "finished")
        return next(same, None) or _made(source, stream, snapshots, {**recipe, MARK: mark})


def _made(source: Source, stream: CellStream, snapshots: Snapshots, recipe: dict[str, Any]) -> Run:
    name = f"{recipe.get('name', source.title)}, from {source.title}"
    said = {**recipe, "name": name, "source": source.key, "title": source.title}
    folder = runs.new_folder(source.title.split(".")[0])
    return made_run(folder, stream, snapshots, said, metrics_in(source.adata), source.title)


def _mark(source: Source, snapshots: Snapshots) -> str:
    """By what a result in a file is known again: its model, what was said of it, and the cells that the file holds."""
    kept = source.adata.uns[scverse.KEY]
    model = kept["model"]
    said = [source.key, snapshots.fingerprint, *(str(part) for part in (model["header"], kept["recipe"]))]
    mark = hashlib.blake2b(json.dumps([*said, metrics_in(source.adata)]).encode(), digest_size=12)
    for name in sorted(model["weights"]):
        mark.update(name.encode())
        mark.update(np.ascontiguousarray(model["weights"][name]))
    return mark.hexdigest()

"""A run's result, and the last ones in memory. It knows no screen."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable
from pathlib import Path

from cellstream.errors import UserError
from cellstream.history import History
from cellstream.runs import Run
from cellstream.scene import Scene
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream
from cellstream_app.live import MOVING

KEPT = 4
"""Results that stay in memory."""


class Result(Scene):
    """A run's model with its cells. Made by :func:`load_result`."""

    def __init__(
        self,
        run: Run,
        stream: CellStream,
        snapshots: Snapshots,
        final: bool,
        learned: bool = False,
        version: Hashable = None,
    ):
        super().__init__(stream, snapshots)
        self.run, self.final, self.version = run, final, version
        """Of a file that is written anew again and again, ``version`` tells which of its contents this is."""
        self.learned = final or learned
        """Whether velocity and growth mean anything: of a picture on the way, whether its stage had learned them."""

    def of_same_run(self, other: Result | None) -> bool:
        """Whether the other one shows the same run, be it an earlier or a later picture of it."""
        return other is not None and other.run.folder == self.run.folder


_loading = threading.Lock()
_loaded: dict[Path, tuple[tuple[int, bool], Result]] = {}
"""The last results that were loaded, shared by all browser sessions; nobody changes them."""


def load_result(run: Run) -> Result | None:
    """The run's best model with its cells, or what it has shown of itself so far; None before its first picture."""
    final = run.folder / "model.safetensors"
    for path in (final, run.folder / "preview.safetensors"):
        if not path.exists():
            continue
        # asked before the file is read: should a newer one come meanwhile, it is of this stage or of a later one
        learned = path == final or _pictured(run) in MOVING
        version = path.stat().st_mtime_ns, learned
        if (known := _loaded.get(path)) and known[0] == version:
            return known[1]
        result = Result(run, CellStream.load(path), run.snapshots(), path == final, learned, version)
        with _loading:
            _loaded.pop(path, None)  # so that it stands last
            _loaded[path] = (version, result)
            while len(_loaded) > KEPT:
                _loaded.pop(next(iter(_loaded)))
        return result
    return None


def _pictured(run: Run) -> str:
    """The stage of the run's latest picture. Read anew: the run's own history is read elsewhere, in another thread."""
    history = History()
    history.read(run.folder / "events.jsonl")
    return history.pictured


def sample_run() -> Run | None:
    """The bundled run on the sample data, with which the app greets; None where it was not installed.

    As for data sets, the folder in ``CELLSTREAM_DATA_DIR`` comes first.
    """
    here = Path(__file__).resolve().parent
    given = os.environ.get("CELLSTREAM_DATA_DIR")
    for place in ([Path(given)] if given else []) + [here.parent / "sample_data", here / "sample_data"]:
        folder = place / "branching-result"
        if (folder / "config.json").is_file():
            try:
                return Run(folder)
            except UserError:
                continue
    return None

"""Other embeddings of a result's cells, as a stage shows them: by well-known methods, or from the file's ``obsm``.

They have no dynamics until TIGON's are fitted on them, in a run folder like any other (:mod:`cellstream.rivals`).
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property

import numpy as np

from cellstream import metrics, rivals, runs
from cellstream.baselines.embeddings import EMBEDDINGS, checked
from cellstream.errors import UserError
from cellstream.fields import Grid
from cellstream.runs import Run
from cellstream.scene import rows_of
from cellstream.snapshots import Snapshots
from cellstream.stream import Clock, Flow
from cellstream_app.imports import MARK
from cellstream_app.results import Result
from cellstream_app.sources import Source

KEPT = 8
"""Computed embeddings that stay in memory, shared by all browser sessions."""
MOST = 50_000
"""Cells that are embedded by what takes minutes for more of them; of more, so many are drawn."""
LEAST = 200
"""Of each time point at least so many are drawn."""
PCA = "PCA"
IN_FILE = "obsm:"
"""How keys of embeddings in the file begin."""
SHOWN_NAMES = {PCA: "PCA", "t-SNE": "t-SNE", "UMAP": "UMAP", "diffusion map": "Diffusion map"}
"""Embeddings that are made here: key -> shown name."""

_made: OrderedDict[tuple[str, str], np.ndarray] = OrderedDict()
_making = threading.Lock()
"""One at a time, PCA apart: numba's parallel loops, in which UMAP works, may not be entered by two threads at once."""


class Plain:
    """An embedding without dynamics, of all or some cells of a result. Has what a stage reads of a result."""

    learned = False
    """It has no velocity and no growth."""

    def __init__(self, key: str, snapshots: Snapshots, z: np.ndarray, share: str = ""):
        self.key, self.snapshots, self.share = key, snapshots, share
        self.z = self.points = z
        self.index = snapshots.index.numpy()
        self.times = snapshots.times.numpy().astype(np.float64)
        self.clock = Clock.of(snapshots)

    @property
    def name(self) -> str:
        return name_of(self.key)

    @property
    def method(self) -> str:
        """What TIGON on it is called."""
        return f"TIGON + {self.key.removeprefix(IN_FILE)}"

    @property
    def rows(self) -> np.ndarray:
        """Row of each cell in the file, (n,)."""
        return rows_of(self.snapshots)

    @cached_property
    def mark(self) -> str:
        """By what the same places of the same cells are known again. Takes a moment where there are many."""
        return _hashed(self.snapshots.x.numpy(), self.index, self.z)

    @cached_property
    def grid(self) -> Grid:
        return Grid.around(self.points)

    @cached_property
    def flow(self) -> Flow:
        """No particles, from the first to the last time."""
        return Flow(self.times[[0, -1]], np.empty((2, 0, 2), np.float32), np.empty((2, 0), np.float32))

    @property
    def paths(self) -> np.ndarray:
        return self.flow.z


def name_of(key: str) -> str:
    """An embedding's name as it is shown."""
    return SHOWN_NAMES.get(key, key.removeprefix(IN_FILE))


def choices(result: Result, source: Source | None) -> dict[str, str]:
    """Embeddings of the result's cells: shown name -> key. Those in the file have at least two columns of numbers."""
    found = {name: key for key, name in SHOWN_NAMES.items()}
    for name, values in source.adata.obsm.items() if source is not None else ():
        kind = getattr(values, "dtype", None)
        if kind is not None and np.issubdtype(kind, np.number) and len(values.shape) == 2 and values.shape[1] > 1:
            found[f"{name}, in the file"] = f"{IN_FILE}{name}"
    return found


def embedded(result: Result, source: Source | None, key: str) -> Plain:
    """An embedding of the result's cells. May take minutes; made once, however often it is asked for.

    Raises :class:`UserError` where it cannot be made or is not there.
    """
    snapshots, share = result.snapshots, ""
    if key.startswith(IN_FILE):
        z, share = _from_file(result, source, key.removeprefix(IN_FILE))
        return Plain(key, snapshots, z, share)
    if key != PCA and (chosen := drawn(result.index)) is not None:
        share = f"{len(chosen):,} of the {len(result.index):,} cells, drawn at random."
        snapshots = some_of(snapshots, chosen)
    z = _kept(key, snapshots, MAKERS[key])
    return Plain(key, snapshots, z, share)


def _pca(snapshots: Snapshots) -> np.ndarray:
    return metrics.principal_components(snapshots.x.numpy(), 2)


def _by(key: str) -> Callable[[Snapshots], np.ndarray]:
    return lambda snapshots: EMBEDDINGS[key](snapshots, 0)


MAKERS: dict[str, Callable[[Snapshots], np.ndarray]] = {PCA: _pca, **{key: _by(key) for key in EMBEDDINGS}}


def _kept(key: str, snapshots: Snapshots, make: Callable[[Snapshots], np.ndarray]) -> np.ndarray:
    mark = _hashed(snapshots.x.numpy(), snapshots.index.numpy()), key
    if (there := _made.get(mark)) is not None:
        return there
    with _making if key != PCA else nullcontext():
        if (there := _made.get(mark)) is None:
            there = _made[mark] = checked(snapshots, make(snapshots), name_of(key))
            while len(_made) > KEPT:
                _made.popitem(last=False)
        return there


def _from_file(result: Result, source: Source | None, name: str) -> tuple[np.ndarray, str]:
    if source is None or name not in source.adata.obsm:
        raise UserError(f"There is no embedding '{name}' in the file behind this result: choose another one.")
    found = source.adata.obsm[name]
    columns = found.shape[1]
    z = np.asarray(found.iloc[:, :2] if hasattr(found, "iloc") else found[:, :2], np.float32)[result.rows]
    share = f"The first two of its {columns} columns." if columns > 2 else ""
    return checked(result.snapshots, z, f"'{name}'"), share


def drawn(index: np.ndarray, most: int = MOST) -> np.ndarray | None:
    """Positions of about ``most`` cells, in order, of each time point in its share and some of the smallest; None
    where there are no more."""
    if len(index) <= most:
        return None
    random, parts = np.random.default_rng(0), []
    for i in np.unique(index):
        cells = np.flatnonzero(index == i)
        n = min(len(cells), max(LEAST, round(most * len(cells) / len(index))))
        parts.append(random.choice(cells, n, replace=False))
    return np.sort(np.concatenate(parts))


def some_of(snapshots: Snapshots, chosen: np.ndarray) -> Snapshots:
    """The snapshots with these cells only, (k,) positions; they keep their rows in the file."""
    rows = tuple(rows_of(snapshots)[chosen].tolist())
    return replace(snapshots, x=snapshots.x[chosen], index=snapshots.index[chosen], rows=rows)


def _hashed(*arrays: np.ndarray) -> str:
    mark = hashlib.blake2b(digest_size=12)
    for part in arrays:
        mark.update(np.ascontiguousarray(part).data)
    return mark.hexdigest()


def same_cells(one: Snapshots, other: Snapshots) -> bool:
    """Whether both are of one file, so that rows in it say which cell is which."""
    if one.fingerprint or other.fingerprint:
        return one.fingerprint == other.fingerprint
    rows = rows_of(one), rows_of(other)
    return len(rows[0]) == len(rows[1]) and all(
        np.array_equal(a, b) for a, b in (rows, (one.index.numpy(), other.index.numpy()))
    )


def start_dynamics(plain: Plain, of: Result) -> Run:
    """Make a run that fits TIGON's dynamics on the embedding, and start its process; an old one of the same embedding
    begins again. Takes a while; raises :class:`UserError`."""
    run = dynamics_of(plain, runs.all_runs())
    if run is None:
        about = {key: value for key, value in of.run.recipe.items() if key not in ("made", "versions", MARK)}
        about["some_cells"] = bool(about.get("some_cells")) or len(plain.index) < len(of.index)
        name = f"{plain.method} of {about.get('title') or of.run.name}"
        recipe = {**about, "name": name, "takes_turns": True, "embedding": plain.mark, "preset": plain.method}
        z = None if plain.key == PCA else plain.z  # of PCA, the way to new cells and back is known exactly
        run = rivals.create(runs.new_folder(plain.method), plain.snapshots, plain.method, recipe, z)
    run.start()
    return run


def dynamics_of(plain: Plain, known: list[Run]) -> Run | None:
    """The run that fits, or has fitted, dynamics on this embedding of these cells."""
    same = [run for run in known if run.recipe.get("method") == plain.method]
    return next((run for run in same if run.recipe.get("embedding") == plain.mark), None)

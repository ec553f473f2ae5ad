"""Data to compare on: a named set, a file, or the paper's simulation; with lineages or true velocities if known."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from cellstream import datasets, fitting, intake, readers, scverse, simulate
from cellstream.errors import UserError
from cellstream.files import path_of
from cellstream.snapshots import Snapshots, from_anndata

FEW = 40
"""Cells of each time point in a quick run."""
LINEAGES = {"ipsc": ("fate_day3_derived", "2"), "branching": ("lineage", None)}
"""Column with the lineages of a named data set, and the time point from which they are followed."""


@dataclass(frozen=True)
class Case:
    """Snapshots under a name, and what is known of their cells."""

    name: str
    snapshots: Snapshots
    lineages: np.ndarray | None = None
    """A label per cell; see :func:`cellstream.metrics.labelled`."""
    since: str | None = None
    """Label of the time point from which lineages are followed."""
    velocity: np.ndarray | None = None
    """True velocity of each cell in the features, (n, p)."""
    fate: np.ndarray | None = None
    """True fate of each cell, a word; every cell has one."""
    growth: np.ndarray | None = None
    """True growth rate of each cell, per unit of time."""
    dataset: str = ""
    """The named data set that this is, as the paper uses it; empty for anything else."""

    @property
    def digest(self) -> str:
        """A short word for all that is in it but its name."""
        s = self.snapshots
        said = hashlib.sha256(repr((s.labels, s.even, s.x.shape, self.since)).encode())
        for part in (s.x, s.index, s.times, s.mass):
            said.update(np.ascontiguousarray(part.cpu().numpy()).tobytes())
        if self.lineages is not None:
            said.update("\0".join(map(str, self.lineages)).encode())
        if self.fate is not None:
            said.update("\0".join(map(str, self.fate)).encode())
        for known in (self.velocity, self.growth):
            if known is not None:
                said.update(np.ascontiguousarray(known).tobytes())
        return said.hexdigest()[:16]

    def few(self, n: int = FEW) -> Case:
        """At most ``n`` cells of each time point, always the same ones; masses stay those of all."""
        rng, s = np.random.default_rng(0), self.snapshots
        chosen = [rng.permutation(s.cells(i).cpu().numpy())[:n] for i in range(len(s.times))]
        return self._of(np.sort(np.concatenate(chosen)))

    def without(self, i: int) -> Case:
        """Without time point ``i``: its cells are gone, and the others keep their times."""
        s = self.snapshots
        others = [j for j in range(len(s.times)) if j != i]
        return self._of(
            np.flatnonzero(s.index.cpu().numpy() != i),
            index=(s.index - (s.index > i).long())[s.index != i],
            times=s.times[others],
            mass=s.mass[others] / s.mass[others[0]],
            labels=tuple(s.labels[j] for j in others),
        )

    def _of(self, cells: np.ndarray, **changes: Any) -> Case:
        """With these cells only, and changes to their time points made at once: snapshots are checked when made."""
        s, at = self.snapshots, torch.from_numpy(cells)
        changes = dict(index=s.index[at]) | changes
        known: dict[str, np.ndarray | None] = {
            key: getattr(self, key) for key in ("lineages", "velocity", "fate", "growth")
        }
        return replace(
            self,
            snapshots=replace(s, x=s.x[at], rows=None, fingerprint="", report=(), **changes),
            **{key: None if values is None else values[cells] for key, values in known.items()},  # type: ignore[arg-type]
        )


def load(source: str, time_key: str | None = None, lineages: str | None = None) -> Case:
    """The data of a name or a file, with what the encoder reads behind an ``@``: ``cells.h5ad@obsm:X_scVI``.

    Raises:
        UserError: there is no such data, column or array.
    """
    place, at, input = source.rpartition("@")
    if not (at and input.startswith(("obsm:", "layer:", "X"))) or path_of(source).exists():
        place, input = source, "X"
    path, dataset = fitting.located(place)
    adata = readers.open_file(path).adata
    since, as_used = None, ""
    if dataset:
        own_key = datasets.DATASETS[dataset].time_key
        time_key = time_key or own_key
        as_used = dataset if (input, time_key) == ("X", own_key) else ""
        known, since = LINEAGES.get(dataset, (None, None)) if lineages is None else (lineages, None)
    else:
        known = lineages
    snapshots = from_anndata(adata, time_key or intake.guessed_time_key(adata), input=input)
    labels = scverse.lineages(adata, snapshots, known) if known else None
    # a file may be called like a data set and is not one
    name = dataset or (f"{path.stem} (file)" if path.stem.lower() in datasets.DATASETS else path.stem)
    return Case(name if input == "X" else f"{name}@{input}", snapshots, labels, since, dataset=as_used)


def populations(sigma: float, seed: int) -> Case:
    """The paper's simulated populations with their true velocity (:func:`cellstream.simulate.populations`)."""
    adata = simulate.populations(sigma_main=sigma, seed=seed)
    return Case("populations", from_anndata(adata, "time"), velocity=adata.layers["velocity_true"])


def branching(seed: int) -> Case:
    """Simulated blood with its true fates and growth rates (:func:`cellstream.simulate.branching`), at real times."""
    adata = simulate.branching(seed=seed)
    fate, growth = (adata.obs[key].to_numpy() for key in ("fate_true", "growth_true"))
    return Case("branching", from_anndata(adata, "day", real_times=True), fate=fate.astype(object), growth=growth)


def distinct(cases: list[Case]) -> list[Case]:
    """The same cases; a :class:`UserError` where two have one name and would share their rows."""
    names = [case.name for case in cases]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"Expected data of different names, but '{name}' comes twice: rename one of the files.")
    return cases

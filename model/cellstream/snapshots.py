"""Snapshots: the cells, the times at which they were measured and the size of the population at each.

:func:`from_anndata` is the only door from AnnData to the method; beyond it there are only tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cellstream.config import Preprocess
from cellstream.errors import UserError
from cellstream.fixes import COPIES, FEW, FIXES, ordered
from cellstream.gene_space import GeneSpace

if TYPE_CHECKING:
    from anndata import AnnData

    from cellstream.checkup import Checkup
    from cellstream.preprocess import Prepared


@dataclass(frozen=True)
class Snapshots:
    """A time course of ``n`` cells with ``p`` features at ``T`` time points; the cells keep the order of the file."""

    x: Float[Tensor, "n p"]
    """Features of every cell, in the input space."""
    index: Int64[Tensor, " n"]
    """Time point of every cell, ``0 .. T-1``."""
    times: Float[Tensor, " T"]
    """When the time points were, strictly increasing, in ``unit``; float64, since float32 does not tell days apart
    that are written as 20231101."""
    mass: Float[Tensor, " T"]
    """Relative size of the population at each time point, ``mass[0] == 1``."""
    labels: tuple[str, ...]
    """The time points as the file names them."""
    unit: str = ""
    """Unit of ``times``: ``"h"``, ``"d"``, … or empty where unknown."""
    even: bool = True
    """The dynamics see the time points as 0, 1, 2, … (the paper); otherwise they follow the real gaps."""
    rows: tuple[int, ...] | None = None
    """Rows of the AnnData that the cells came from, where some had no time or were left out; None means all."""
    features: tuple[str, ...] = ()
    report: tuple[str, ...] = ()
    """What was found in the file and done to it, one sentence each."""
    fingerprint: str = ""
    """Of the names of all cells in the file, by which it is known again; empty where there was no file."""
    genes: GeneSpace | None = None
    """The way from features back to genes; None where the input was an embedding."""

    def __post_init__(self) -> None:
        if len(self.times) < 2:
            raise UserError(f"Expected at least two time points, but found {len(self.times)}.")
        if not bool((self.times[1:] > self.times[:-1]).all()):
            raise UserError("Expected time points in increasing order, each with a value of its own.")
        if int(self.counts.min()) < 2:
            few = self.labels[int(self.counts.argmin())]
            raise UserError(
                f"Expected at least two cells at each time point, but {few!r} has {int(self.counts.min())}."
            )
        if not bool((self.mass > 0).all()):
            raise UserError("Expected relative masses above zero at every time point.")

    @property
    def counts(self) -> Int64[Tensor, " T"]:
        """Cells at each time point."""
        return torch.bincount(self.index, minlength=len(self.times))

    @property
    def tau(self) -> Float[Tensor, " T"]:
        """Time points in the networks' time, from 0 to T-1: in even steps, or in proportion to the real gaps."""
        last = len(self.times) - 1
        if self.even:
            return torch.arange(last + 1, device=self.x.device, dtype=self.x.dtype)
        return ((self.times - self.times[0]) / (self.times[-1] - self.times[0]) * last).to(self.x.dtype)

    @property
    def digest(self) -> str:
        """A short word for all that training reads: to the last bit, others have another one."""
        mark = hashlib.blake2b(str(self.even).encode(), digest_size=16)
        for part in (self.x, self.index, self.times, self.mass):
            array = part.cpu().numpy()
            mark.update(f"{array.dtype}{array.shape}".encode())
            mark.update(np.ascontiguousarray(array).data)
        return mark.hexdigest()

    def cells(self, i: int) -> Int64[Tensor, " n_i"]:
        """Positions of the cells of time point ``i``."""
        return torch.nonzero(self.index == i).squeeze(1)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Snapshots:
        """The same snapshots on a device, in a precision; the times keep theirs."""
        return replace(
            self,
            x=self.x.to(device, dtype),
            index=self.index.to(device),
            times=self.times.to(device),
            mass=self.mass.to(device, dtype),
        )

    def save(self, path: Path) -> None:
        """Write to an ``.npz`` without pickled objects."""
        names = ("labels", "unit", "even", "features", "report", "fingerprint")
        words = {"version": 1, **{name: getattr(self, name) for name in names}}
        components: dict[str, Any] = {}
        if self.genes is not None:
            words["genes"] = self.genes.names
            if self.genes.loadings is not None:
                components = dict(loadings=self.genes.loadings, gene_mean=self.genes.mean)
        rows = np.asarray(self.rows if self.rows is not None else [], dtype=np.int64)
        np.savez(
            path,
            x=self.x.cpu().numpy(),
            index=self.index.cpu().numpy(),
            times=self.times.cpu().numpy(),
            mass=self.mass.cpu().numpy(),
            rows=rows,
            words=np.frombuffer(json.dumps(words).encode(), dtype=np.uint8),
            **components,
        )

    @classmethod
    def load(cls, path: Path) -> Snapshots:
        """Read what :meth:`save` wrote."""
        with _opened(path) as (data, words):
            tensors: dict[str, Any] = {k: torch.from_numpy(data[k]) for k in ("x", "index", "times", "mass")}
            rows = tuple(data["rows"].tolist()) or None
            lists: dict[str, Any] = {name: tuple(words[name]) for name in ("labels", "features", "report")}
            plain: dict[str, Any] = dict(unit=words["unit"], even=words["even"])
            if "genes" in words:
                components = (data["loadings"], data["gene_mean"]) if "loadings" in data else ()
                plain["genes"] = GeneSpace(tuple(words["genes"]), *components)
        tensors["times"] = tensors["times"].double()  # of an earlier version they are float32
        return cls(**tensors, **lists, **plain, rows=rows, fingerprint=words.get("fingerprint", ""))


def labels_of(path: Path) -> tuple[str, ...]:
    """The labels in a file of :meth:`Snapshots.save`, without reading the cells. Raises :class:`UserError`."""
    with _opened(path) as (_, words):
        return tuple(map(str, words["labels"]))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Arrays and words of a file of :meth:`Snapshots.save`; whatever is wrong in it becomes a :class:`UserError`."""
    try:
        with np.load(path, allow_pickle=False) as data:
            yield data, json.loads(data["words"].tobytes())
    except (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise UserError(f"Expected snapshots in {path}, but could not read them ({error}).") from error


def from_anndata(
    adata: AnnData,
    time_key: str,
    *,
    input: str = "X",
    time_map: Mapping[Any, float] | None = None,
    real_times: bool = False,
    masses: Sequence[float] | None = None,
    preprocess: Preprocess | None = None,
    fixes: Sequence[str] = (),
    rows: np.ndarray | None = None,
    checked_by: Callable[[], Checkup] | None = None,
    prepared_by: Callable[[np.ndarray], Prepared] | None = None,
) -> Snapshots:
    """Snapshots of an AnnData.

    Parameters
    ----------
    adata
        Cells by genes; it is not changed.
    time_key
        Column of ``adata.obs`` that holds the time: numbers, categories, or text such as ``"day 3"``.
    input
        What the encoder reads: ``"X"``, ``"layer:NAME"`` or ``"obsm:NAME"``.
    time_map
        Values for the labels, where they cannot be read off.
    real_times
        Follow the real gaps between time points; otherwise they are 0, 1, 2, … as in the paper.
    masses
        Relative size of the population at each time point of the column, in any unit; by default the numbers of cells
        that take part.
    preprocess
        See :class:`cellstream.config.Preprocess`.
    fixes
        Names in :data:`cellstream.fixes.FIXES` of what is mended; the choices among them are for other arguments.
    rows
        The cells that take part, ascending, where that is known from before; by default ``fixes`` say it.
    checked_by
        What :func:`cellstream.checkup.checkup` finds in the input with these fixes, for those who have it already.
    prepared_by
        What :func:`cellstream.preprocess.prepare` makes of these rows of ``adata``, for those who have it already.
    """
    from cellstream.checkup import checkup, kept, needs_checkup
    from cellstream.preprocess import cells_of, matrix_of, prepare
    from cellstream.time_labels import counted, listed, shortened
    from cellstream.times import read_times
    from cellstream.twins import twins

    asked = ordered(fixes)
    read = read_times(adata.obs, time_key, time_map)
    timed = np.where(np.isin(np.arange(adata.n_obs), rows), read.index, -1) if rows is not None else read.index
    check = None
    if rows is None and needs_checkup(asked):
        check = checked_by() if checked_by is not None else checkup(matrix_of(adata, input, asked)[0])
    stay = kept(timed, check, asked if rows is None else ())
    every = len(stay.rows) == adata.n_obs
    report = [read.note] if read.note else []
    if untimed := int((read.index < 0).sum()):
        report.append(
            f"{counted(untimed, 'cell')} {'has no time and is' if untimed == 1 else 'have no time and are'} left out."
        )
    report += [f"{counted(n, 'cell')} left out, as asked for: {FIXES[name].why}." for name, n in stay.left.items() if n]
    gone = sorted(set(range(len(read.labels))) - set(stay.points.tolist()))
    if gone:
        report.append(f"No cell of {listed([read.labels[i] for i in gone])} takes part.")
    if not len(stay.points):
        raise UserError(f"Of the {adata.n_obs:,} cells none takes part once the others are left out: leave out fewer.")
    prepared = (
        prepared_by(stay.rows)
        if prepared_by is not None
        else prepare(cells_of(adata, stay.rows), input, preprocess or Preprocess(), asked)
    )
    report += prepared.report
    index = np.searchsorted(stay.points, read.index[stay.rows])
    copies = len(index) - sum(len(np.unique(twins(prepared.x[index == i]))) for i in range(len(stay.points)))
    if copies:
        report.append(
            f"{counted(copies, 'cell')} {'is a copy' if copies == 1 else 'are copies'} of another one of the same time "
            f"point, feature by feature: kept, but better left out (fix {COPIES}) where it is the same cell twice."
        )
    # who gives sizes gives them of all time points that the column has, whichever take part
    mass = np.asarray(masses if masses is not None else np.ones(len(read.values)), dtype=np.float64)
    if len(mass) != len(read.values):
        named = ", ".join(read.labels)
        raise UserError(
            f"Expected {len(read.values)} relative masses, one for each time point ({named}), but got {len(mass)}."
        )
    if not (np.isfinite(mass).all() and (mass > 0).all()):
        raise UserError(f"Expected relative masses above zero, but got {mass.tolist()}.")
    mass = mass[stay.points] if masses is not None else np.bincount(index).astype(np.float64)
    return Snapshots(
        x=torch.from_numpy(np.ascontiguousarray(prepared.x, dtype=np.float32)),
        index=torch.from_numpy(index.astype(np.int64)),
        times=torch.from_numpy(read.values[stay.points].astype(np.float64)),
        mass=torch.from_numpy((mass / mass[0]).astype(np.float32)),
        labels=shortened([read.labels[i] for i in stay.points]),
        unit=read.unit,
        even=not real_times,
        rows=None if every else tuple(stay.rows.tolist()),
        features=tuple(prepared.features),
        report=tuple(report),
        fingerprint=fingerprint(adata.obs_names),
        genes=prepared.genes,
    )


def uneven_gaps(snapshots: Snapshots) -> str:
    """How far apart the time points are, in words, where unequal gaps count as even steps; else nothing."""
    between = snapshots.times.diff().tolist()
    low, high = min(between), max(between)
    if not snapshots.even or high <= 1.01 * low:  # 1 %: times may be rounded
        return ""
    return f"from {low:.4g} to {high:.4g} {snapshots.unit}".rstrip()


def cautions(
    snapshots: Snapshots, *, sizes: str, gaps: str, masses: Sequence[float] | None = None, growth: bool = True
) -> list[str]:
    """What a person should know before training: where population sizes come from, even steps, few cells.

    ``sizes`` and ``gaps`` say how, at this door, true sizes are given and the real gaps followed; ``masses`` are the
    sizes that were given; ``growth``, whether it is learned at all.
    """
    said = []
    if masses is None and growth:
        said.append(
            "Population sizes are taken from the numbers of cells in the file, and growth is learned from them. Where "
            f"those only say how many cells were sequenced, {sizes}."
        )
    if uneven := uneven_gaps(snapshots):
        said.append(
            f"The gaps between time points are {uneven}, but count as even steps: speed and growth are per "
            f"step; {gaps}."
        )
    few = [label for label, n in zip(snapshots.labels, snapshots.counts.tolist(), strict=True) if n < FEW]
    if few:
        said.append(f"Few cells at {', '.join(few)}: what is learned there is uncertain.")
    return said


def fingerprint(names: Iterable[str]) -> str:
    """A short word for these names in this order; other names, or another order, have another one."""
    joined = "\0".join(map(str, names))
    return hashlib.blake2b(joined.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()

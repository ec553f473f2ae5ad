"""Figures of a result: what a person asks for in words or on the screen, looked up in the result and drawn."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from cellstream import __version__, evaluation, genes, scverse
from cellstream.ancestry import ancestry
from cellstream.colours import Categories
from cellstream.errors import UserError
from cellstream.figures import CELLS, KINDS, charts, drawings
from cellstream.figures.drawings import Drawn
from cellstream.figures.marks import View
from cellstream.figures.paper import Sheet
from cellstream.genes import Course
from cellstream.history import STAGES
from cellstream.painting import (
    GENE,
    TIME,
    WORDS,
    Own,
    Painted,
    painted,
    require_gene,
)
from cellstream.scene import Scene
from cellstream.stream import CellStream

NO_CELLS = "Expected cells as KEY=VALUE, as in lineage=erythroid."
POINTS = 400
"""Points of a loss curve; steps are averaged in between."""
YARDSTICKS = {
    "trust": ("Trust", "neighbours kept", "trust_pca", "PCA"),
    "tc": ("TC", "neighbours of one time", "tc_pca", "PCA"),
    "vc": ("VC", "neighbours move alike", "", ""),
    "direction": ("Direction", "arrows point to the next cells", "direction_constant", "one arrow for all"),
    "r2": ("R²", "features given back", "r2_pca", "PCA"),
}
"""Metrics of 0 to 1, more being better: name, what it says, and the yardstick beside it."""


@dataclass(frozen=True)
class Wish:
    """What a figure shall show; what a kind of figure does not know it leaves aside."""

    kind: str = "embedding"
    colour: str = TIME
    """One of :data:`cellstream.painting.WORDS`, ``gene:NAME``, or a column of obs (``obs:NAME``, where another colour
    has its name)."""
    layers: tuple[str, ...] = (CELLS,)
    time: float | None = None
    """The moment of streamlines and growth; None: the whole course."""
    genes: tuple[str, ...] = ()
    select: str = ""
    """``KEY=VALUE``: cells, where they are not selected by ``cells``."""
    labels: str = ""
    """Column of obs by which kin are told apart."""
    view: View | None = None
    """What is seen of the plane: x0, x1, y0, y1; None: all cells."""
    axes: tuple[int, int] = (0, 1)
    """Principal components of the plane, 0 the first, of an embedding of more than two dimensions."""
    cells: np.ndarray | None = field(default=None, compare=False)
    """Positions (k,) of selected cells: in an embedding the others are faint, and kin and genes are of these."""


class Source:
    """A result, with what figures tell of it beside its cells.

    ``adata`` is the file behind it, where it is there; ``recipe`` says how it was made; ``losses`` are step by step, as
    :func:`cellstream.scverse.losses_of` has them; ``metrics`` those of :func:`cellstream.evaluation.evaluate`;
    ``trained_by`` the version; ``path``, where it was read from, is for its name and hash; ``own`` are colours that a
    user has given.
    """

    def __init__(
        self,
        scene: Scene,
        adata: AnnData | None,
        recipe: Mapping[str, Any],
        *,
        losses: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        trained_by: str = "",
        path: Path | None = None,
        own: Own | None = None,
    ):
        self.scene, self.adata, self.recipe = scene, adata, recipe
        self.stream, self.snapshots = scene.stream, scene.snapshots
        self.steps, self.metrics = losses or {}, metrics or {}
        self.trained_by, self.path, self.own = trained_by, path, own

    @classmethod
    def in_file(cls, adata: AnnData, path: Path | None = None) -> Source:
        """The result that a file holds. Raises :class:`UserError` where it holds none."""
        return cls._of(scverse.result_in(adata, path))

    @classmethod
    def of(cls, result: CellStream) -> Source:
        """A result with the cells that it knows. Raises :class:`UserError` where it knows none, or where others are in
        their place now."""
        known = result.known
        scverse.require_same_cells(known.adata, known.snapshots, known.recipe)
        return cls._of(result)

    @classmethod
    def _of(cls, result: CellStream) -> Source:
        known = result.known
        return cls(
            Scene(result, known.snapshots),
            known.adata,
            known.recipe,
            losses=known.losses,
            metrics=known.metrics,
            trained_by=known.version,
            path=known.path,
        )

    def along(self, axes: tuple[int, int]) -> Source:
        """The same result in the plane of these components. Raises :class:`UserError` where it has no such."""
        other = copy.copy(self)
        other.scene = self.seen(axes)
        return other

    def painted(self, colour: str, scene: Scene | None = None) -> Painted:
        """The cells in the colours that are named as in :class:`Wish`."""
        return cells_in(scene or self.scene, self.adata, colour, self.own)

    def drawn(self, wish: Wish, sheet: Sheet) -> Drawn:
        """The figure that is wished for. Raises :class:`UserError` where the file does not hold what it needs."""
        if wish.time is not None:
            self.stream.clock.to_tau([wish.time])  # a time that is not among them is told
        drawn = self._drawn(wish, sheet)
        if "row" in drawn.numbers and self.adata is not None:
            drawn.numbers.insert(1, "cell", self.adata.obs_names[drawn.numbers["row"]].to_numpy(object))
        return drawn

    def _drawn(self, wish: Wish, sheet: Sheet) -> Drawn:
        unit = self.stream.clock.unit
        cells = self.selected(wish.select) if wish.cells is None and wish.select else wish.cells
        match wish.kind:
            case "genes":
                courses = self.courses(wish.genes, cells)
                return charts.gene_trends(courses, self.scene.times, unit, "expression", sheet)
            case "losses":
                return charts.losses(self.losses(), sheet)
            case "match":
                return charts.match(self.match(), unit, sheet)
            case "metrics":
                return charts.metrics(self.scores(), sheet)
        scene = self.seen(wish.axes)
        match wish.kind:
            case "embedding":
                lit = None if cells is None else np.isin(np.arange(len(scene.index)), cells)
                painted = self.painted(wish.colour)
                return drawings.embedding(scene, painted, sheet, wish.layers, wish.time, wish.view, lit)
            case "times":
                return drawings.time_panels(scene, self.painted(wish.colour), sheet, wish.view)
            case "lineage":
                if cells is None:
                    raise UserError(NO_CELLS)
                return drawings.lineage(scene, ancestry(scene, cells, self.kinds(wish.labels)), sheet, wish.view)
        raise UserError(f"Expected a kind of figure out of {', '.join(KINDS)}, but got '{wish.kind}'.")

    def seen(self, axes: tuple[int, int]) -> Scene:
        """The result in the plane of these components. Raises :class:`UserError` where it has no such."""
        d = self.scene.z.shape[1]
        if axes == (0, 1):
            return self.scene
        if d <= 2 or axes[0] == axes[1] or not all(0 <= axis < d for axis in axes):
            told = " and ".join(str(axis + 1) for axis in axes)
            raise UserError(f"Expected two of the embedding's {d} components, of more than two, but got {told}.")
        return self.scene.along(axes)

    def selected(self, words: str) -> np.ndarray:
        """Positions of the cells that ``KEY=VALUE`` names."""
        key, equals, value = words.partition("=")
        if not equals:
            raise UserError(f"{NO_CELLS.rstrip('.')}, but got '{words}'.")
        column = scverse.column(file_of(self.adata), self.snapshots, key).astype(str)
        cells = np.flatnonzero(column == value)
        if not len(cells):
            there = ", ".join(f"'{name}'" for name in pd.unique(column)[:12])
            raise UserError(f"No cell has '{value}' in '{key}'; there are: {there}.")
        return cells

    def kinds(self, key: str) -> Categories | None:
        """Kinds of cells by a column of obs; None where none is named."""
        if not key:
            return None
        colour = self.painted(key).colour
        if not isinstance(colour, Categories):
            raise UserError(f"Expected a column with kinds of cells, but '{key}' holds numbers: choose another one.")
        return colour

    def courses(self, names: Sequence[str], cells: np.ndarray | None = None) -> list[Course]:
        """Each gene along the flow of some cells, by default the first time point's, and as it was observed."""
        space, scene = genes.space(self.stream), self.scene
        missing = [name for name in names if name not in space.names]
        if missing:
            some = ", ".join(space.names[:8])
            raise UserError(f"The model does not decode {', '.join(missing)}; it knows {some}, ….")
        cells = genes.some(self.snapshots, cells)
        flow = self.stream.carry(scene.z[cells], scene.t[cells], scene.moments)
        expression = scverse.expression(file_of(self.adata), self.stream, self.snapshots, self.recipe)
        returned = evaluation.returned(self.stream, self.snapshots, expression)
        found = []
        for name in names:
            k = space.names.index(name)
            column = expression[:, [k]]
            values = np.asarray(column.toarray() if hasattr(column, "toarray") else column, np.float64)
            seen = genes.observed_trend(values, scene.index, np.ones(len(values)), scene.times)
            r2 = float(np.atleast_1d(returned[name])[0])
            found.append(Course(name, genes.trend(self.stream, flow, [k]), seen, r2))
        return found

    def losses(self) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Losses by stage and name: steps and values, averaged to at most :data:`POINTS`."""
        kept = self.steps
        if not len(kept):
            return {}
        steps, stages = np.asarray(kept["step"], float), np.asarray(kept["stage"]).astype(str)
        found: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        for stage, title in STAGES.items():
            if stage == "ensemble":  # many short courses, one after the other
                continue
            here = np.flatnonzero(stages == stage)
            terms = {}
            for name in sorted(set(kept) - {"step", "stage"}):
                values = np.asarray(kept[name], float)[here]
                known = np.isfinite(values)
                if known.any():
                    blocks = np.array_split(np.flatnonzero(known), min(int(known.sum()), POINTS))
                    means = [np.array([part[b].mean() for b in blocks]) for part in (steps[here], values)]
                    terms[name] = means[0], means[1]
            if terms:
                found[title] = terms
        return found

    def match(self) -> pd.DataFrame:
        """A row for each later time point, as :func:`cellstream.figures.charts.match` draws it."""
        if not self.metrics.get("match"):
            return pd.DataFrame()
        rows = {
            label: {key: found.get(key, np.nan) for key in ("w2", "floor", "stays")}
            | self.metrics["mass"].get(label, {})
            for label, found in self.metrics["match"].items()
        }
        return pd.DataFrame.from_dict(rows, orient="index")[["w2", "floor", "stays", "predicted", "observed"]]

    def scores(self) -> pd.DataFrame:
        """A row for each metric that is known, as :func:`cellstream.figures.charts.metrics` draws it."""
        found = self.metrics
        rows = [
            (name, means, found[key], found.get(beside, np.nan), what)
            for key, (name, means, beside, what) in YARDSTICKS.items()
            if isinstance(found.get(key), int | float)
        ]
        return pd.DataFrame(rows, columns=["metric", "meaning", "value", "yardstick", "yardstick is"]).set_index(
            "metric"
        )

    def provenance(self, wish: Wish, sheet: Sheet) -> dict[str, Any]:
        """Where a figure came from: data, settings, seed, version, and what it shows on which sheet."""
        return self.origin() | dict(shows=_told(wish), sheet=asdict(sheet))

    def origin(self) -> dict[str, Any]:
        """Where what is drawn came from: data, settings, seed, version; plain JSON values, and no path."""
        return dict(
            # names alone: where a person keeps their files is nobody's business
            data=file_name(self.recipe.get("source") or ""),
            result=file_name(self.path or ""),
            result_sha256=_hash(self.path),
            cells=len(self.snapshots.index),
            cells_fingerprint=self.snapshots.fingerprint,
            recipe={k: v for k, v in self.recipe.items() if k not in ("source", "out")},
            config=self.stream.config.to_dict(),
            seed=self.stream.config.compute.seed,
            method=self.stream.method,
            trained_by=f"CellStream {self.trained_by}".strip(),
            drawn_by=f"CellStream {__version__}",
        )


def _told(wish: Wish) -> dict[str, Any]:
    """A wish as plain JSON values; of selected cells their number."""
    told = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(wish).items()}
    told["cells"] = None if wish.cells is None else len(wish.cells)
    return told


def file_of(adata: AnnData | None) -> AnnData:
    """The file behind a result. Raises :class:`UserError` where it is not there."""
    if adata is None:
        raise UserError(
            "The file behind this result is not there, so its columns cannot be shown: open it on the Data page, "
            "or colour by time, growth or speed."
        )
    return adata


def cells_in(scene: Scene, adata: AnnData | None, colour: str, own: Own | None = None) -> Painted:
    """The cells of a result in the colours that are named as in :class:`Wish`, looked up in their file."""
    key, gene = WORDS.get(colour, ""), ""
    if colour.startswith("gene:"):
        key, gene = GENE, colour.removeprefix("gene:")
        require_gene(scene, adata, gene)
    elif not key:
        column = colour.removeprefix("obs:")
        scverse.column(file_of(adata), scene.snapshots, column)
        key = f"obs:{column}"
    return painted(scene, adata, key, gene, own)


def file_name(path: Path | str) -> str:
    """The last part of a path of any system."""
    return re.split(r"[\\/]", str(path))[-1]


def _hash(path: Path | None) -> str:
    """SHA-256 of a file, as ``sha256sum`` tells it; none of a folder."""
    if path is None or not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

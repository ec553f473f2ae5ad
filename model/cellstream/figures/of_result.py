"""Figures of a result in a file: what a person asks for in words, looked up in the file and drawn."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
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
from cellstream.figures.paper import Sheet
from cellstream.genes import Course
from cellstream.painting import GENE, GROWTH, SPEED, TIME, Painted, gene_names, painted
from cellstream.scene import Scene
from cellstream.stream import CellStream

STAGES = dict(
    start="autoencoder start", embedding="embedding", warm="warm start", rounds="joint rounds", dynamics="dynamics"
)
"""Stages of a training by name, as people call them; those of an ensemble are many short courses, and left out."""
POINTS = 400
"""Points of a loss curve; steps are averaged in between."""


@dataclass(frozen=True)
class Wish:
    """What a figure shall show; what a kind of figure does not know it leaves aside."""

    kind: str = "embedding"
    colour: str = TIME
    """``time``, ``growth``, ``speed``, ``gene:NAME``, or a column of obs."""
    layers: tuple[str, ...] = (CELLS,)
    time: float | None = None
    """The moment of streamlines and growth; None: the whole course."""
    genes: tuple[str, ...] = ()
    select: str = ""
    """``KEY=VALUE``: the cells of a lineage figure."""
    labels: str = ""
    """Column of obs by which kin are told apart."""


class Source:
    """A result with the file that it is in; ``path``, where it was read from, is for its name and hash.

    One that is in memory is given as ``result``, with the AnnData that it knows.
    """

    def __init__(self, adata: AnnData, path: Path | None = None, result: CellStream | None = None):
        self.adata, self.path = adata, path
        self.stream = scverse.result_in(adata, path) if result is None else result
        self.record = self.stream.known
        self.snapshots, self.recipe = self.record.snapshots, self.record.recipe

    @classmethod
    def of(cls, result: CellStream) -> Source:
        """A result with the cells that it knows. Raises :class:`UserError` where it knows none, or where others are in
        their place now."""
        known = result.known
        scverse.require_same_cells(known.adata, known.snapshots, known.recipe)
        return cls(known.adata, known.path, result)

    @cached_property
    def scene(self) -> Scene:
        return Scene(self.stream, self.snapshots)

    def painted(self, colour: str) -> Painted:
        """The cells in the colours that are named as in :class:`Wish`."""
        key, gene = colour, ""
        if colour.startswith("gene:"):
            key, gene = GENE, colour.removeprefix("gene:")
            names = gene_names(self.scene, self.adata)
            if gene not in names:
                close = difflib.get_close_matches(gene, names, n=1)
                hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names[:8])}, …."
                raise UserError(f"There is no gene '{gene}' in the file: {hint}")
        elif colour not in (TIME, GROWTH, SPEED):
            scverse.column(self.adata, self.snapshots, colour)
            key = f"obs:{colour}"
        return painted(self.scene, self.adata, key, gene)

    def drawn(self, wish: Wish, sheet: Sheet) -> Drawn:
        """The figure that is wished for. Raises :class:`UserError` where the file does not hold what it needs."""
        scene = self.scene
        if wish.time is not None:
            self.stream.clock.to_tau([wish.time])  # a time that is not among them is told
        match wish.kind:
            case "embedding":
                return drawings.embedding(scene, self.painted(wish.colour), sheet, wish.layers, wish.time)
            case "times":
                return drawings.time_panels(scene, self.painted(wish.colour), sheet)
            case "lineage":
                return drawings.lineage(
                    scene, ancestry(scene, self.selected(wish.select), self.kinds(wish.labels)), sheet
                )
            case "genes":
                unit = self.stream.clock.unit
                return charts.gene_trends(self.courses(wish.genes), scene.times, unit, "expression", sheet)
            case "losses":
                return charts.losses(self.losses(), sheet)
            case "match":
                return charts.match(self.match(), self.stream.clock.unit, sheet)
        raise UserError(f"Expected a kind of figure out of {', '.join(KINDS)}, but got '{wish.kind}'.")

    def selected(self, words: str) -> np.ndarray:
        """Positions of the cells that ``KEY=VALUE`` names."""
        key, equals, value = words.partition("=")
        if not equals:
            raise UserError(f"Expected cells as KEY=VALUE, as in lineage=erythroid, but got '{words}'.")
        column = scverse.column(self.adata, self.snapshots, key).astype(str)
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

    def courses(self, names: Sequence[str]) -> list[Course]:
        """Each gene along the flow of the first time point's cells, and as it was observed."""
        space, scene = genes.space(self.stream), self.scene
        missing = [name for name in names if name not in space.names]
        if missing:
            some = ", ".join(space.names[:8])
            raise UserError(f"The model does not decode {', '.join(missing)}; it knows {some}, ….")
        cells = genes.some(self.snapshots)
        flow = self.stream.carry(scene.z[cells], scene.t[cells], scene.moments)
        expression = scverse.expression(self.adata, self.stream, self.snapshots, self.recipe)
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
        kept = self.record.losses
        if not len(kept):
            return {}
        steps, stages = np.asarray(kept["step"], float), np.asarray(kept["stage"]).astype(str)
        found: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        for stage, title in STAGES.items():
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
        metrics = self.record.metrics
        if not metrics.get("match"):
            return pd.DataFrame()
        rows = {
            label: {key: found.get(key, np.nan) for key in ("w2", "floor", "stays")} | metrics["mass"].get(label, {})
            for label, found in metrics["match"].items()
        }
        return pd.DataFrame.from_dict(rows, orient="index")[["w2", "floor", "stays", "predicted", "observed"]]

    def provenance(self, wish: Wish, sheet: Sheet) -> dict[str, Any]:
        """Where a figure came from: data, settings, seed, version, and what it shows on which sheet."""
        return dict(
            # names alone: where a person keeps their files is nobody's business
            data=_name(self.recipe.get("source") or ""),
            result=_name(self.path or ""),
            result_sha256=_hash(self.path),
            cells=len(self.snapshots.index),
            cells_fingerprint=self.snapshots.fingerprint,
            recipe={k: v for k, v in self.recipe.items() if k not in ("source", "out")},
            config=self.stream.config.to_dict(),
            seed=self.stream.config.compute.seed,
            method=self.stream.method,
            trained_by=f"CellStream {self.record.version}".strip(),
            drawn_by=f"CellStream {__version__}",
            shows={key: list(value) if isinstance(value, tuple) else value for key, value in asdict(wish).items()},
            sheet=asdict(sheet),
        )


def _name(path: Path | str) -> str:
    """The last part of a path of any system."""
    return re.split(r"[\\/]", str(path))[-1]


def _hash(path: Path | None) -> str:
    """SHA-256 of a file, as ``sha256sum`` tells it; none of a folder."""
    if path is None or not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

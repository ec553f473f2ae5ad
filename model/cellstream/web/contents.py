"""What a page shows, as plain values and arrays: the cells and their colours, particles, streamlines, growth."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from anndata import AnnData
from scipy.spatial import cKDTree

from cellstream import painting
from cellstream.colours import Categories, Values, growth_palette
from cellstream.errors import UserError
from cellstream.fields import Field
from cellstream.painting import GENE, GROWTH, Painted, painted
from cellstream.scene import Scene
from cellstream.streamlines import streamlines
from cellstream.traces import HEAD_AT, strength_of
from cellstream.web.options import MOST_CELLS
from cellstream.web.packing import Pack

MOST_NUMBERS = 24
"""Columns of numbers that a page takes along."""
MOST_MOMENTS = 40
"""Moments of streamlines and growth, about."""
EVERY = 2
"""Of a streamline's points one out of so many is kept; they lie a quarter of the lines' distance apart."""
FAR = 2.0
"""Extents of the cells beyond which a particle that escapes is held at the rim."""
LEVELS = 254
"""Of growth between the ends of its colours; 255 stands for none."""
NO_NAME = 255
GROUPS = {"result": "From the model", "labels": "Labels of the cells", "numbers": "Numbers", "genes": "Genes"}


@dataclass(frozen=True)
class Options:
    """What a page can be asked for."""

    title: str = ""
    """Empty: the name of the data."""
    genes: tuple[str, ...] = ()
    colour: str = painting.TIME
    """What cells are coloured by at first: ``time``, ``growth``, ``speed``, ``gene:NAME``, or a column of obs."""
    names: bool = False
    """Take the cells' names along."""
    cells: int = MOST_CELLS
    """Of more cells, an even random part is shown."""
    axes: tuple[int, int] = (0, 1)
    """Principal components of the plane, 0 the first, of an embedding of more than two dimensions."""

    def __post_init__(self) -> None:
        if self.cells < 1:
            raise UserError(f"Expected a number of cells from 1 on, but got {self.cells}.")


@dataclass
class Contents:
    """A scene as plain JSON values, ``told``, and ``pack``, the arrays that they point to."""

    scene: Scene
    adata: AnnData | None
    options: Options
    time_key: str = ""
    """Column of obs that the time was read from, which is offered as time already."""
    own: painting.Own | None = None
    """Colours that a user has given to labels."""
    pack: Pack = field(default_factory=Pack)
    told: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """Columns that cells cannot be coloured by on the page, with the reason."""

    def __post_init__(self) -> None:
        scene = self.scene
        self.chosen = some(scene.index, self.options.cells)
        for gene in self.genes:
            painting.require_gene(scene, self.adata, gene)
        self._colours()
        self._cells()
        self._particles()
        self._fields()
        clock = scene.stream.clock
        marks = [
            dict(time=float(t), label=str(label), cells=int(n))
            for t, label, n in zip(scene.times, scene.snapshots.labels, scene.snapshots.counts.tolist(), strict=True)
        ]
        self.told |= dict(unit=clock.unit, rate_unit=clock.rate_unit, marks=marks, total=len(scene.index))

    @property
    def genes(self) -> tuple[str, ...]:
        """Those asked for, each once, and that of the first colour."""
        first = self.options.colour
        asked = (*self.options.genes, *([first.removeprefix("gene:")] if first.startswith("gene:") else []))
        return tuple(dict.fromkeys(asked))

    def _cells(self) -> None:
        scene, points = self.scene, self.scene.points[self.chosen]
        corners = scene.grid.points[[0, -1]]
        around = np.concatenate([points, corners])
        self.low, self.high = np.nanmin(around, 0).astype(float), np.nanmax(around, 0).astype(float)
        self.told |= dict(cells=self._places(points), home=[*corners[:, 0].tolist(), *corners[:, 1].tolist()])
        if self.options.names and self.adata is not None:
            names = self.adata.obs_names
            self.told["names"] = self.pack.add_json([str(names[row]) for row in scene.rows[self.chosen]])

    def _places(self, points: np.ndarray, far: float = 0.0) -> dict[str, Any]:
        """Points (…, 2) as a column x and a column y; they may lie ``far`` extents beyond the cells."""
        room = far * (self.high - self.low)
        ends = zip("xy", self.low - room, self.high + room, strict=True)
        return {
            axis: self.pack.add_scale(points[..., i].ravel(), low, high) for i, (axis, low, high) in enumerate(ends)
        }

    # colours

    def _colours(self) -> None:
        scene, adata = self.scene, self.adata
        found = [self._colour("result", painting.NAMES[key], key) for key in painting.own_keys(scene)]
        numbers = 0
        for key in painting.columns(adata.obs, self.time_key) if adata is not None else ():
            scale = painting.is_scale(adata.obs[key]) if adata is not None else False
            numbers += scale
            if scale and numbers > MOST_NUMBERS and key != self.options.colour.removeprefix("obs:"):
                self.left_out.append(f"{key} (more than {MOST_NUMBERS} columns of numbers)")
                continue
            found.append(self._colour("numbers" if scale else "labels", key, f"obs:{key}"))
        found += [self._colour("genes", gene, GENE, gene) for gene in self.genes]
        self.told["colours"] = kept = [colour for colour in found if colour]
        first = self.options.colour
        own = painting.WORDS.get(first)
        wanted = own or (f"{GENE}:{first[5:]}" if first[:5] == "gene:" else f"obs:{first.removeprefix('obs:')}")
        keys = [colour.pop("key") for colour in kept]
        if wanted not in keys:
            there = ", ".join(key.removeprefix("obs:").replace(f"{GENE}:", "gene:") for key in keys)
            raise UserError(f"The page has no colour '{first}': choose one of {there}.")
        self.told["first"] = keys.index(wanted)

    def _colour(self, group: str, label: str, key: str, gene: str = "") -> dict[str, Any] | None:
        """A choice of the page; None where no cell has a value."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN|invalid value", RuntimeWarning)
            made = painted(self.scene, self.adata, key, gene, self.own)
        about = dict(key=f"{GENE}:{gene}" if gene else key, group=GROUPS[group], label=label, title=made.title)
        if isinstance(made.colour, Categories):
            return about | self._names(made, made.colour)
        values = np.where(np.isfinite(made.colour.values), made.colour.values, np.nan)[self.chosen]
        if not np.isfinite(values).any():
            self.left_out.append(f"{label} (no cell has a value)")
            return None
        return about | self._numbers(made, made.colour, values) | dict(middle="0" if key == GROWTH else "")

    def _names(self, made: Painted, colour: Categories) -> dict[str, Any]:
        codes = np.asarray(colour.codes)[self.chosen]
        counts = made.counts or {}
        return dict(
            kind="names",
            names=[str(name) for name in colour.names],
            colours=list(colour.colours),
            counts=[int(counts.get(name, 0)) for name in colour.names],
            below=list(colour.below),
            codes=self.pack.add(np.where(codes < 0, NO_NAME, codes).astype(np.uint8)),
        )

    def _numbers(self, made: Painted, colour: Values, values: np.ndarray) -> dict[str, Any]:
        low, high = colour.span()
        ends = float(np.nanmin(values)), float(np.nanmax(values))
        if not np.isfinite([low, high]).all():
            low, high = ends
        return dict(
            kind="numbers",
            palette=list(colour.palette),
            limits=[low, high],
            explained=made.explained,
            values=self.pack.add_scale(values, *ends),
        )

    # what flows

    def _particles(self) -> None:
        scene, flow = self.scene, self.scene.flow
        log_w = flow.log_w - flow.log_w[0]
        finite = log_w[np.isfinite(log_w)]
        index = scene.index[self.chosen]
        starts, ends = (
            nearest(scene.z[self.chosen], np.flatnonzero(index == i), flow.z[k])
            for i, k in ((0, 0), (len(scene.times) - 1, -1))
        )
        self.told["particles"] = dict(
            n=flow.z.shape[1],
            times=np.asarray(flow.times, float).tolist(),
            log_w=self.pack.add_scale(log_w.ravel(), *((finite.min(), finite.max()) if finite.size else (0.0, 0.0))),
            starts=self.pack.add(starts),
            ends=self.pack.add(ends),
            **self._places(scene.paths, FAR),
        )

    # fields on the grid

    def _fields(self) -> None:
        scene, grid = self.scene, self.scene.grid
        x0, x1, y0, y1 = self.told["home"]
        half = float(grid.x[1] - grid.x[0]) / 2
        times = moments(scene.moments, len(scene.times))
        self.told["fields"] = dict(
            columns=len(grid.x),
            rows=len(grid.y),
            # a value stands for a square: the picture reaches half of one beyond the grid's points
            view=[x0 - half, x1 + half, y0 - half, y1 + half],
            limit=scene.growth_limit,
            palette=growth_palette(),
            head_at=HEAD_AT,
            times=times.tolist(),
            # the whole course first
            at=[self._field(scene.course), *(self._field(scene.field(t)) for t in times)],
        )

    def _field(self, found: Field) -> dict[str, Any]:
        share = (found.growth / self.scene.growth_limit + 1) / 2
        level = np.where(np.isfinite(share), np.round(np.clip(np.nan_to_num(share), 0, 1) * LEVELS), 255)
        # its root, as the map is drawn: of small numbers little would be left in a byte
        cover = np.round(255 * np.sqrt(np.clip(np.where(np.isfinite(share), found.weight, 0), 0, 1)))
        lines = streamlines(found.x, found.y, found.vx, found.vy, found.weight)
        thin = [(line.xy[::EVERY], strength_of(line)[::EVERY]) for line in lines]
        xy = np.concatenate([np.empty((0, 2)), *(xy for xy, _ in thin)])
        strength = np.concatenate([np.empty(0), *(s for _, s in thin)])
        return dict(
            growth=self.pack.add(level.astype(np.uint8)),
            cover=self.pack.add(cover.astype(np.uint8)),
            lengths=[len(xy) for xy, _ in thin],
            strength=self.pack.add(np.round(255 * strength).astype(np.uint8)),
            **self._places(xy),
        )


def some(index: np.ndarray, most: int) -> np.ndarray:
    """Positions of ``most`` of the cells with time points ``index`` (n,), of each time point one at least; mixed, so
    that none are drawn over others because of where they stand in the file."""
    order = np.random.default_rng(0).permutation(len(index))
    _, first = np.unique(index[order], return_index=True)
    rest = np.setdiff1d(np.arange(len(order)), first)[: max(most - len(first), 0)]
    return order[np.sort(np.concatenate([first, rest]))]


def nearest(z: np.ndarray, there: np.ndarray, particles: np.ndarray) -> np.ndarray:
    """Which of the cells ``there`` is nearest in the embedding ``z`` (n, d) to each of the particles (k, d), (k,)."""
    return there[cKDTree(z[there]).query(np.nan_to_num(particles))[1]].astype(np.uint32)


def moments(times: np.ndarray, measured: int) -> np.ndarray:
    """At most about :data:`MOST_MOMENTS` of the moments at which what flows is looked at, evenly in each gap, with the
    measured times among them."""
    gaps = max(measured - 1, 1)
    parts = (len(times) - 1) // gaps
    fits: Sequence[int] = [k for k in range(1, parts + 1) if parts % k == 0 and gaps * parts / k < MOST_MOMENTS]
    return np.asarray(times[:: fits[0] if fits else parts], float)

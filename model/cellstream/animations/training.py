"""A film of a training: the embedding organises itself, from the pictures that a run has kept in its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.path import Path as Shape
from matplotlib.transforms import IdentityTransform

from cellstream import __version__, pictures, readers, scverse
from cellstream.animations import TIME
from cellstream.animations.canvas import Canvas
from cellstream.animations.film import Film, Shot
from cellstream.animations.particles import Paths, drawn_by
from cellstream.animations.strip import Mark, Strip
from cellstream.animations.tints import shades
from cellstream.colours import Categories, Values, time_colours
from cellstream.errors import UserError
from cellstream.figures import keys, marks
from cellstream.figures.drawings import time_names
from cellstream.figures.of_result import cells_in, file_name
from cellstream.fitting import located
from cellstream.history import STAGES
from cellstream.painting import Painted, painted
from cellstream.pictures import Pictures
from cellstream.runs import Run
from cellstream.scene import Scene

ALPHA = 0.8
"""Opacity of a cell."""
EVEN = 0.35
"""Part of the film that is shared evenly by all pictures; of the rest each has more the more changes in it."""
ROOM = 1.06
"""The view against the box, which a few cells leave."""
WORDS = 1.15
"""Size of the words beside the axis, in that of the text."""


@dataclass(frozen=True)
class Stage:
    """A part of the training, in words, and the step at which it began."""

    name: str
    step: int


def training(
    kept: Pictures,
    cells: Painted,
    stages: Sequence[Stage],
    shot: Shot,
    times: Mapping[str, str] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Film:
    """The film of pictures of ``cells``, which are coloured as given; ``times`` says how labels of time are written."""
    x, y = ROOM * box_of(shot)
    last = int(kept.steps[-1])
    began = [stage for stage in stages if stage.step < last] or [Stage("training", 0)]
    many = f"step {last:,}"
    longest = max((f"{stage.name.capitalize()}\n{many}" for stage in began), key=len)
    strip = Strip([Mark(stage.step / last, stage.name) for stage in began], longest, dots=False, size=WORDS)
    canvas = Canvas(shot, (-x, x, -y, y), None, strip, lambda page, high: keys.key_of(page, cells, high, times or {}))
    still = canvas.still()

    order, below = _order(cells.colour)
    colours = np.column_stack([shades(cells.colour)[order], np.where(below[order], 0.4, 1.0) * ALPHA])
    paths = Paths(kept.points[:, order], np.zeros(kept.points.shape[:1] + (len(order),)))
    size = marks.cell_size(len(order), canvas.millimetres)
    pace = _pace(kept.points)
    course = shot.course()

    def frame(k: int) -> np.ndarray:
        s = float(np.interp(course[k], pace, np.arange(len(pace))))
        step = float(np.interp(s, np.arange(len(pace)), kept.steps))
        dots = PathCollection(
            [Shape.unit_circle()], sizes=[np.pi * (size / 2) ** 2], offsets=canvas.at(paths.place(s)),
            offset_transform=IdentityTransform(), facecolors=colours, linewidths=0,
        )  # fmt: skip
        dots.set_clip_box(canvas.ax.bbox)  # a few cells are far out
        stage = next((one.name for one in reversed(began) if one.step <= step), began[0].name)
        words = f"{stage.capitalize()}\nstep {round(step):,}"
        return canvas.frame(still, [*drawn_by(canvas.figure, dots), *canvas.strip.shown(step / last, words)])

    return Film(shot, frame, provenance or {})


def box_of(shot: Shot) -> np.ndarray:
    """Half of the width and of the height that a picture fills: about as the film leaves room for it."""
    width, height = shot.size
    return np.array([np.clip(width / height, 0.5, 2.5), 1.0])


def film_of_run(run: Run, colour: str, shot: Shot) -> Film:
    """The film of the training in a run's folder, its cells coloured by ``time``, or as those of a figure.

    Raises :class:`UserError` where the folder holds no pictures, or not what the colour needs.
    """
    run.poll()
    snapshots = run.snapshots()
    index = snapshots.index.numpy()
    kept = pictures.read(run.folder, index, box_of(shot))
    cells = _painted(run, colour)
    paint = Painted(cells.colour.only(kept.cells), cells.title, cells.name)
    stages = [Stage(STAGES.get(stage.name, stage.name), stage.step) for stage in run.history.stages]
    told = dict(
        data=file_name(run.recipe.get("source") or ""),
        run=run.folder.name,
        cells=len(index),
        cells_fingerprint=snapshots.fingerprint,
        recipe={k: v for k, v in run.recipe.items() if k not in ("source", "out")},
        config=run.config.to_dict(),
        seed=run.config.compute.seed,
        drawn_by=f"CellStream {__version__}",
        shows=dict(kind="training", colour=colour, pictures=len(kept.steps), cells=len(kept.cells)),
        film=asdict(shot),
    )
    return training(kept, paint, stages, shot, time_names(snapshots.labels, snapshots.unit), told)


def _painted(run: Run, colour: str) -> Painted:
    """All cells of a run in colours; of a run that has not come to a model, by time alone."""
    stream, snapshots = run.result(), run.snapshots()
    if stream is None:
        if colour == TIME:
            labels = [str(label) for label in snapshots.labels]
            return Painted(Categories(snapshots.index.numpy(), labels, time_colours(len(labels))), TIME)
        raise UserError("This run has no model yet, so its cells can be coloured by time alone: choose that colour.")
    scene = Scene(stream, snapshots)
    if colour in (TIME, "growth", "speed"):
        return painted(scene, None, colour)
    source = str(run.recipe.get("source") or "")
    if not source:
        raise UserError(
            "Where the cells of this run came from is not known: its film can be coloured by time, growth or speed "
            "alone."
        )
    path, _ = located(source)
    adata = readers.open_file(path).adata
    scverse.require_same_cells(adata, snapshots, run.recipe)
    return cells_in(scene, adata, colour)


def _order(colour: Categories | Values) -> tuple[np.ndarray, np.ndarray]:
    """In which order cells are drawn, and which lie below: those without a value; high numbers lie on top."""
    if isinstance(colour, Categories):
        shuffled = np.random.default_rng(0).permutation(len(colour.codes))
        below = np.asarray(colour.first)
        return shuffled[np.argsort(~below[shuffled], kind="stable")], below
    values = np.asarray(colour.values, np.float64)
    return np.argsort(np.where(np.isfinite(values), values, -np.inf), kind="stable"), ~np.isfinite(values)


def _pace(points: np.ndarray) -> np.ndarray:
    """Part of the film that has passed at each picture, (pictures,) from 0 to 1."""
    moved = np.sqrt(np.linalg.norm(np.diff(points, axis=0), axis=-1).mean(1))
    n = len(moved)
    share = EVEN / n + (1 - EVEN) * moved / max(moved.sum(), 1e-12)
    passed = np.append(0.0, np.cumsum(share))
    return passed / passed[-1]

"""A film of the flow: particles that start around the cells of the first time point move, grow and die."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection

from cellstream.animations import BACK, CELLS, END, GROUNDS, START, TIME
from cellstream.animations.canvas import Canvas, between
from cellstream.animations.film import Film, Shot
from cellstream.animations.particles import Paths, dots, drawn_by, tails
from cellstream.animations.strip import Mark, Strip
from cellstream.animations.tints import tint
from cellstream.colours import Categories, time_colours
from cellstream.figures import keys, marks
from cellstream.figures.drawings import axis_names, home, time_names
from cellstream.figures.page import Page
from cellstream.painting import Painted
from cellstream.scene import Scene

LIT, FAINT = 0.5, 0.16
"""Opacity of the cells that were measured about now, and of all others."""
STREAM = 0.3
"""Opacity of the streamlines."""
STREAM_SECONDS = 1.0
"""Between two moments whose streamlines are found; in between one fades into the other."""
TAIL_SECONDS, TAIL_SHARE = 0.5, 0.05
"""Length of a tail, and of a short film the share of it that a tail has at most: all would be one smear."""
TAIL_POINTS = 9


@dataclass(frozen=True)
class Wish:
    """What a film of the flow shall show."""

    colour: str = "time"
    """Of the cells, as for a figure: ``time``, ``growth``, ``speed``, ``gene:NAME``, or a column of obs."""
    labels: str = ""
    """Column of obs whose labels colour the particles; empty: that of the cells, where these are labels."""
    particles: str = ""
    """One of :data:`cellstream.animations.PARTICLES`; empty: as the cells have it."""
    streams: bool = True
    axes: tuple[int, int] = (0, 1)
    """Principal components of the plane, 0 the first, of an embedding of more than two dimensions."""


def flow(
    scene: Scene,
    cells: Painted,
    shot: Shot,
    labels: Painted | None = None,
    particles: str = "",
    streams: bool = True,
    provenance: Mapping[str, Any] | None = None,
) -> Film:
    """The film of a result.

    ``cells`` are those behind, in colours; those of the nearest time points are bright. ``particles`` take the colour
    of the moment (``time``), of the ``labels`` of where they start or end (``start``, ``end``), or none (``plain``); by
    default the moment's where cells are coloured by time, the labels' they end with where there are labels, and that of
    the cells around them (``cells``) where these are coloured by a number.
    """
    paths = Paths(scene.paths, scene.flow.log_w)
    view = home(np.concatenate([scene.points, paths.points.reshape(-1, 2)]))
    by_time = isinstance(cells.colour, Categories) and np.array_equal(cells.colour.codes, scene.index)
    if labels is None and isinstance(cells.colour, Categories) and not by_time:
        labels = cells
    particles = particles or (END if labels else TIME if by_time else CELLS)
    colours_at = tint(scene, cells if particles == CELLS else labels, particles, shot.ink)
    canvas = Canvas(shot, view, axis_names(scene), _strip(scene), _keys(scene, cells, labels, by_time, particles))
    size = marks.cell_size(len(scene.points), canvas.millimetres)

    @lru_cache(3)
    def lit(i: int) -> np.ndarray:
        """The still part with the cells of a time point bright."""

        def draw(ax: Axes) -> None:
            now = scene.index == i
            marks.cells(ax, scene.points[~now], cells.colour.only(~now), size, FAINT)
            marks.cells(ax, scene.points[now], cells.colour.only(now), size, LIT)

        return canvas.still(draw)

    tau, known = scene.tau(scene.moments), scene.tau(scene.times)
    now = known[0] + shot.course() * (known[-1] - known[0])
    number = np.arange(shot.frames)
    spread = max(int(np.ceil(shot.seconds / STREAM_SECONDS / (2 if shot.loop == BACK else 1))), 1)
    looked = np.linspace(known[0], known[-1], spread + 1)

    @lru_cache(3)
    def lines(j: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        field = scene.field(float(np.interp(looked[j], known, scene.times)))
        bands, heads = marks.stream_shapes(marks.traced(field), view)
        return [canvas.at(band) for band in bands], [canvas.at(head) for head in heads]

    def frame(k: int) -> np.ndarray:
        """Of the film."""
        t = float(now[k])
        s = float(np.interp(t, tau, np.arange(len(tau))))
        i = int(np.clip(np.searchsorted(known, t, side="right") - 1, 0, len(known) - 2))
        u = (t - known[i]) / (known[i + 1] - known[i])
        ground = between(lit(i), lit(i + 1), _smooth(u))
        artists: list = []
        if streams:
            place = (t - looked[0]) / (looked[-1] - looked[0]) * spread
            j = int(np.clip(np.floor(place), 0, spread - 1))
            for one, share in ((j, 1 - _smooth(place - j)), (j + 1, _smooth(place - j))):
                artists += [
                    PolyCollection(shapes, facecolors=shot.ink, alpha=STREAM * share, linewidths=0, transform=None)
                    for shapes in lines(one)
                    if shapes and share > 0.01
                ]
        mass, colours = paths.mass(s), colours_at(t)
        tail = min(TAIL_SECONDS * shot.fps, TAIL_SHARE * shot.frames)
        before = np.clip(k - np.linspace(tail, 0, TAIL_POINTS), 0, None)
        back = np.interp(np.interp(before, number, now), tau, np.arange(len(tau)))
        ways = canvas.at(np.stack([paths.place(float(r)) for r in back]))
        artists.append(tails(ways, mass, colours, canvas.unit))
        artists.append(dots(ways[-1], mass, colours, GROUNDS[shot.ground], canvas.unit, canvas.pixel))
        share = (t - known[0]) / (known[-1] - known[0])
        clock = _clock(scene)(float(np.interp(t, known, scene.times)))
        return canvas.frame(ground, [*drawn_by(canvas.figure, *artists), *canvas.strip.shown(share, clock)])

    return Film(shot, frame, provenance or {})


def _smooth(u: float) -> float:
    u = float(np.clip(u, 0, 1))
    return u * u * (3 - 2 * u)


def _strip(scene: Scene) -> Strip:
    known = scene.tau(scene.times)
    names = time_names(scene.snapshots.labels, scene.stream.clock.unit).values()
    places = (known - known[0]) / (known[-1] - known[0])
    colours = time_colours(len(known))
    says = _clock(scene)
    longest = max((says(t) for t in np.linspace(scene.times[0], scene.times[-1], 50)), key=len)
    return Strip([Mark(*mark) for mark in zip(places.tolist(), names, colours, strict=True)], longest)


def _clock(scene: Scene) -> Callable[[float], str]:
    """A function that gives a time in words, always with as many decimals: like the labels, where these hold numbers,
    as in "day 3"; else with the unit."""
    span = float(scene.times[-1] - scene.times[0])
    digits = int(np.clip(np.ceil(-np.log10(span / 40)), 0, 6))
    found = [re.fullmatch(r"(\D*?)([-+]?\d+(?:\.\d+)?)(\D*)", str(label)) for label in scene.snapshots.labels]
    parts = [one.groups() for one in found if one]
    around = {(before, after) for before, _, after in parts}
    if len(parts) == len(found) and len(around) == 1 and around != {("", "")}:
        before, after = around.pop()
        if np.allclose([float(number) for _, number, _ in parts], scene.times):
            return lambda t: f"{before}{t:.{digits}f}{after}"
    unit = scene.stream.clock.unit
    return lambda t: f"{t:.{digits}f} {unit}" if unit else f"time {t:.{digits}f}"


def _keys(
    scene: Scene, cells: Painted, labels: Painted | None, by_time: bool, particles: str
) -> Callable[[Page, float], keys.Made] | None:
    """What makes the key of a page; None where there is nothing to explain: the strip explains the colours of time."""
    times = time_names(scene.snapshots.labels, scene.stream.clock.unit)
    of_labels = labels is not None and labels is not cells and particles in (START, END)
    if by_time and not of_labels:
        return None

    def make(page: Page, high: float) -> keys.Made:
        made = [] if by_time else keys.key_of(page, cells, high / (2 if of_labels else 1), times)
        if of_labels and labels is not None:
            made += keys.key_of(page, labels, high / 2, times)
        return made

    return make

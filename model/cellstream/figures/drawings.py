"""The figures, one function each: arrays in, a figure and the numbers behind it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cellstream.ancestry import Ancestry
from cellstream.colours import CATEGORY_PALETTE, STILL, Categories, Values, time_colours
from cellstream.errors import UserError
from cellstream.figures import marks
from cellstream.figures.marks import View
from cellstream.figures.paper import INK, MUTED, Sheet
from cellstream.genes import Course
from cellstream.painting import Painted
from cellstream.scene import Scene
from cellstream.traces import ribbon_columns

MARGIN = 0.05
"""Empty share around the cells."""
FAINT = 0.25
"""Opacity of cells that stand behind something else."""
STREAMS, GROWTH, ARROWS, CELLS = "streams", "growth", "arrows", "cells"
LAYERS = (CELLS, STREAMS, GROWTH, ARROWS)
RIBBON = 0.13
"""Width of all mass together, as a share of the embedding's longer side."""
ARROWS_SHOWN = 350
ACROSS = 4
"""Panels beside each other."""


@dataclass(frozen=True)
class Drawn:
    """A figure with the numbers behind it."""

    figure: Figure
    numbers: pd.DataFrame


def home(points: np.ndarray) -> View:
    """The view that holds all points (n, 2), with a margin."""
    low, high = points.min(0).astype(float), points.max(0).astype(float)
    room = MARGIN * max(float((high - low).max()), 1e-9)
    return low[0] - room, high[0] + room, low[1] - room, high[1] + room


def embedding(
    scene: Scene,
    painted: Painted,
    sheet: Sheet,
    layers: Sequence[str] = (CELLS,),
    t: float | None = None,
    view: View | None = None,
    lit: np.ndarray | None = None,
) -> Drawn:
    """The cells in the plane, with what lies over them.

    ``layers`` are some of :data:`LAYERS`; streamlines and growth are those of the moment ``t``, or with None of each cell
    at its own time. ``view`` is what is seen, all cells by default; cells that are not ``lit`` (n,) are faint. The numbers
    are each cell's place and what it is coloured by.
    """
    for name in layers:
        if name not in LAYERS:
            raise UserError(f"Expected layers out of {', '.join(LAYERS)}, but got '{name}'.")
    view = view or home(scene.points)
    aspect = (view[3] - view[2]) / (view[1] - view[0])
    with sheet.type():
        beside, below = sheet.legend == "right", sheet.legend == "below"
        figure = sheet.figure(aspect * (0.8 if beside else 1.0) + (0.25 if below else 0.0))
        ax = figure.add_subplot()
        marks.plane(ax, view)
        marks.compass(ax, axis_names(scene), sheet)
        field = None
        if {STREAMS, GROWTH} & set(layers):
            field = scene.course if t is None else scene.field(t)
        if GROWTH in layers and field is not None:
            marks.growth_map(ax, field, scene.growth_limit)
            marks.growth_scale(figure, ax, scene.growth_limit, scene.stream.clock.rate_unit, sheet)
        if CELLS in layers:
            size = sheet.point or marks.cell_size(len(scene.points), view, sheet.width)
            behind = FAINT if GROWTH in layers else marks.ALPHA
            _cells(ax, scene.points, painted.colour, size, behind, lit)
            marks.legend(figure, ax, painted.colour, painted.title, painted.counts, sheet)
        if STREAMS in layers and field is not None:
            marks.streams(ax, field, view)
        if ARROWS in layers:
            chosen = np.random.default_rng(0).permutation(len(scene.points))[:ARROWS_SHOWN]
            marks.arrows(ax, scene.points[chosen], scene.vectors[chosen], view)
        _letter(figure, sheet)
    return Drawn(figure, _places(scene, painted))


def _cells(
    ax: Axes, points: np.ndarray, colour: Categories | Values, size: float, alpha: float, lit: np.ndarray | None
) -> None:
    if lit is None:
        marks.cells(ax, points, colour, size, alpha)
        return
    marks.cells(ax, points[~lit], colour.only(~lit), size, 0.15)
    marks.cells(ax, points[lit], colour.only(lit), size, alpha)


def time_panels(scene: Scene, painted: Painted, sheet: Sheet, view: View | None = None) -> Drawn:
    """A panel for each time point: its cells in colour, all others grey behind them."""
    view = view or home(scene.points)
    n = len(scene.times)
    across = min(n, ACROSS)
    down = -(-n // across)
    aspect = (view[3] - view[2]) / (view[1] - view[0])
    with sheet.type():
        figure = sheet.figure(down * (aspect + 0.12) / across)
        grid = figure.subplots(down, across, squeeze=False).flat
        size = sheet.point or marks.cell_size(len(scene.points), view, sheet.width / across)
        for i, ax in enumerate(grid):
            marks.plane(ax, view)
            if i >= n:
                continue
            here = scene.index == i
            ax.plot(
                *scene.points[~here].T, linestyle="none", marker="o", markersize=size, markeredgewidth=0, color=STILL,
                alpha=FAINT, rasterized=True, zorder=1.5,
            )  # fmt: skip
            marks.cells(ax, scene.points[here], painted.colour.only(here), size)
            ax.set_title(str(scene.snapshots.labels[i]), fontsize=sheet.text, pad=2)
        marks.legend(figure, figure.axes[0], painted.colour, painted.title, painted.counts, sheet)
        _letter(figure, sheet)
    return Drawn(figure, _places(scene, painted))


def lineage(scene: Scene, found: Ancestry, sheet: Sheet, view: View | None = None) -> Drawn:
    """Ribbons from selected cells to their ancestors and descendants, over all cells in grey, and below them the shares
    of each kind at each time point."""
    view = view or home(scene.points)
    tau = scene.tau(found.kin.times)[:, None]
    paths = scene.plane.points(found.kin.z, tau)
    widest = RIBBON * float(np.ptp(scene.points, axis=0).max())
    mass = np.exp(found.kin.log_w.astype(np.float64))
    chosen = np.zeros(len(scene.points), bool)
    chosen[found.kin.cells] = True
    size = sheet.point or marks.cell_size(len(scene.points), view, sheet.width)
    aspect = (view[3] - view[2]) / (view[1] - view[0])
    with sheet.type():
        figure = sheet.figure(aspect * 0.8 + 0.45)
        ax, bars = figure.subplots(2, 1, height_ratios=(2.2, 1))
        marks.plane(ax, view)
        grey = Categories(np.zeros(len(chosen), int), ["cells"], [STILL])
        marks.cells(ax, scene.points[~chosen], grey.only(~chosen), size, 0.4)
        marks.ribbons(ax, ribbon_columns(paths, mass, found.fates, found.colours, widest))
        marks.cells(ax, scene.points[chosen], Categories(np.zeros(int(chosen.sum()), int), ["s"], [INK]), size, 0.9)
        below = np.zeros(len(found.labels))
        for k, (name, colour) in enumerate(zip(found.names, found.colours, strict=True)):
            if found.shares[:, k].max() > 0:
                bars.bar(found.labels, 100 * found.shares[:, k], bottom=below, color=colour, label=name, width=0.72)
                below = below + 100 * found.shares[:, k]
        bars.set_ylabel("share of kin, %")
        bars.set_ylim(0, 100)
        if sheet.legend != "none":
            right = sheet.legend == "right"
            figure.legend(loc="outside right center" if right else "outside lower center", ncols=1 if right else 3)
        _letter(figure, sheet)
    return Drawn(figure, found.table())


def gene_trends(courses: Sequence[Course], times: np.ndarray, unit: str, expression: str, sheet: Sheet) -> Drawn:
    """A panel for each gene: its course along the flow with its spread, and dots for what was observed."""
    if not courses:
        raise UserError("Expected at least one gene to draw, but got none.")
    across = min(len(courses), 3 if sheet.width > 130 else 2)
    down = -(-len(courses) // across)
    parts = []
    with sheet.type():
        figure = sheet.figure(down * 0.75 / across if len(courses) > 1 else 0.7)
        for ax, course in zip(_grid(figure, down, across, len(courses)), courses, strict=True):
            if course.flow is not None:
                mean, spread = course.flow.mean[:, 0], course.flow.spread[:, 0]
                ax.fill_between(
                    course.flow.times, mean - spread, mean + spread, color=CATEGORY_PALETTE[0], alpha=0.18, linewidth=0
                )
                ax.plot(course.flow.times, mean, color=CATEGORY_PALETTE[0])
                parts.append(_trend(course.name, "along the flow", course.flow.times, mean, spread))
            if course.observed is not None:
                seen = course.observed
                for t, m, s, colour in zip(
                    seen.times, seen.mean[:, 0], seen.spread[:, 0], time_colours(len(times)), strict=True
                ):
                    ax.errorbar(t, m, yerr=s, fmt="o", color=colour, markersize=3, linewidth=0.8)
                parts.append(_trend(course.name, "observed", seen.times, seen.mean[:, 0], seen.spread[:, 0]))
            ax.set_title(course.name, fontstyle="italic")
            ax.yaxis.set_major_locator(MaxNLocator(4))
        figure.supxlabel(f"time [{unit}]" if unit else "time", fontsize=sheet.text)
        figure.supylabel(expression, fontsize=sheet.text)
        _letter(figure, sheet)
    return Drawn(figure, pd.concat(parts, ignore_index=True) if parts else pd.DataFrame())


def losses(curves: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], sheet: Sheet) -> Drawn:
    """A panel for each stage of the training, a line for each of its losses: name -> (steps, values)."""
    if not curves:
        raise UserError("This result does not hold the losses of its training.")
    across = min(len(curves), 3 if sheet.width > 130 else 2)
    down = -(-len(curves) // across)
    parts = []
    with sheet.type():
        figure = sheet.figure(down * 0.8 / across if len(curves) > 1 else 0.7)
        for ax, (stage, terms) in zip(_grid(figure, down, across, len(curves)), curves.items(), strict=True):
            for k, (name, (steps, values)) in enumerate(terms.items()):
                ax.plot(steps, values, color=CATEGORY_PALETTE[k % len(CATEGORY_PALETTE)], linewidth=0.8, label=name)
                parts.append(pd.DataFrame(dict(stage=stage, loss=name, step=steps, value=values)))
            ax.set_title(stage)
            ax.xaxis.set_major_locator(MaxNLocator(4))
            if all((values > 0).all() for _, values in terms.values()):
                ax.set_yscale("log")
            if sheet.legend != "none":
                ax.legend(fontsize=sheet.text - 2, handlelength=1.2, labelspacing=0.2)
        figure.supxlabel("step", fontsize=sheet.text)
        _letter(figure, sheet)
    return Drawn(figure, pd.concat(parts, ignore_index=True))


def match(found: pd.DataFrame, sheet: Sheet) -> Drawn:
    """How well each time point is met, and the size of the population.

    ``found`` has a row for each later time point and the columns ``w2, floor, stays, predicted, observed``.
    """
    if found.empty:
        raise UserError("This result does not hold how well its time points are met: evaluate it first.")
    with sheet.type():
        figure = sheet.figure(0.5)
        left, right = figure.subplots(1, 2)
        at = np.arange(len(found))
        colours = time_colours(len(found) + 1)[1:]
        left.bar(at, found["w2"], color=colours, width=0.7)
        left.plot(at, found["stays"], "x", color=MUTED, markersize=4, label="first snapshot stays")
        for i, floor in enumerate(found["floor"]):
            left.plot([i - 0.42, i + 0.42], [floor, floor], color=INK, linewidth=0.9, label="" if i else "noise floor")
        left.set_ylabel("matching error, W₂")
        right.bar(at, found["predicted"], color=colours, width=0.7)
        for i, seen in enumerate(found["observed"]):
            right.plot([i - 0.42, i + 0.42], [seen, seen], color=INK, linewidth=0.9, label="" if i else "observed")
        right.set_ylabel("population size")
        for ax in (left, right):
            ax.set_xticks(at, [str(label) for label in found.index], rotation=30 if len(found) > 4 else 0)
            ax.set_ylim(0, None)
            if sheet.legend != "none":
                ax.legend(loc="upper left", handlelength=1.2)
        _letter(figure, sheet)
    return Drawn(figure, found)


def axis_names(scene: Scene) -> tuple[str, str]:
    """What the axes of the plane are called."""
    d = scene.z.shape[1]
    if d == 1:
        return "time", "CellStream"
    return ("CellStream 1", "CellStream 2") if d == 2 else ("component 1", "component 2")


def _grid(figure: Figure, down: int, across: int, n: int) -> list[Axes]:
    every = list(figure.subplots(down, across, squeeze=False).flat)
    for ax in every[n:]:
        ax.set_axis_off()
    return every[:n]


def _trend(gene: str, what: str, times: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(dict(gene=gene, what=what, time=times, mean=mean, standard_deviation=spread))


def _places(scene: Scene, painted: Painted) -> pd.DataFrame:
    """Each cell's row in the file, its place in the plane, its time and what it is coloured by."""
    colour = painted.colour
    if isinstance(colour, Categories):
        names = np.array([*colour.names, ""], dtype=object)
        value = names[np.asarray(colour.codes)]
    else:
        value = colour.values
    labels = np.array([str(label) for label in scene.snapshots.labels], dtype=object)[scene.index]
    x, y = scene.points.T
    return pd.DataFrame({"row": scene.rows, "x": x, "y": y, "time point": labels, painted.title: value})


def _letter(figure: Figure, sheet: Sheet) -> None:
    """The letter of a panel, in its upper left corner."""
    if sheet.letter:
        figure.text(0.0, 1.0, sheet.letter, fontsize=sheet.text + 2, fontweight="bold", ha="left", va="top")

"""Figures of the plane, one function each: arrays in, a figure and the numbers behind it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from cellstream.ancestry import NONE, Ancestry
from cellstream.colours import CATEGORY_PALETTE, Categories, growth_colours
from cellstream.errors import UserError
from cellstream.fields import Field
from cellstream.figures import ARROWS, CELLS, GROWTH, LAYERS, STREAMS, keys, marks
from cellstream.figures.marks import View
from cellstream.figures.page import Page, Rect, ResultFigure
from cellstream.figures.paper import INK, POINT, Sheet, plain
from cellstream.painting import TIME, Painted
from cellstream.scene import Scene
from cellstream.streamlines import Streamline
from cellstream.time_labels import number_label
from cellstream.traces import ribbon_columns

MARGIN = 0.03
"""Empty share around the cells."""
FAINT = 0.4
"""Opacity of cells that stand behind something else."""
RIBBON = 0.13
"""Width of all mass together, as a share of the embedding's longer side."""
PANEL = 24.0
"""Millimetres that the panel of a time point is wide at least."""
BETWEEN = 2.0
"""Millimetres between panels."""
ONE_KIND = CATEGORY_PALETTE[0]
"""Of kin, where no kinds are told apart."""
BARS = 24.0
"""Height of bars, in millimetres."""


@dataclass(frozen=True)
class Drawn:
    """A figure with the numbers behind it."""

    figure: ResultFigure
    numbers: pd.DataFrame
    further: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """Tables of what lies over the cells, by a word for it."""


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

    ``layers`` are some of :data:`cellstream.figures.LAYERS`; streamlines and growth are those of the moment ``t``, or
    with None of each cell at its own time. ``view`` is what is seen, all cells by default; cells that are not ``lit``
    (n,) are faint. The numbers are each cell's place and what it is coloured by; of the layers those that are drawn.
    """
    _require_layers(layers)
    further: dict[str, pd.DataFrame] = {}
    flow = None
    seen = [scene.points]
    if {STREAMS, GROWTH} & set(layers):
        flow = scene.course if t is None else scene.field(t)
        seen.append(marks.covered(flow))
    shown = marks.some_arrows(scene.points, scene.vectors) if ARROWS in layers else None
    if shown is not None:
        seen.append(shown[0] + shown[1])
    view = view or home(np.concatenate(seen))
    with sheet.type():
        page = Page(sheet)
        side = marks.compass_room(page)
        high = _aspect(view) * page.free[0]
        made = keys.key_of(page, painted, 0.8 * high, _times(scene)) if CELLS in layers else []
        if GROWTH in layers:
            limit = scene.growth_limit
            title = f"doublings per {scene.stream.clock.rate_unit}"
            made += keys.scale(page, growth_colours(), (-limit, limit), title)
        left, bottom, wide, tall = page.settle(made, _aspect(view) * (page.room(made) - side) + side)
        rect = left + side, bottom + side, wide - side, tall - side
        ax = marks.plane(page, rect, view)
        if GROWTH in layers and flow is not None:
            marks.growth_map(ax, flow, scene.growth_limit)
            further[GROWTH] = _grid(flow, title)
        if CELLS in layers:
            size = sheet.point or marks.cell_size(len(scene.points), rect[2])
            marks.cells(ax, scene.points, painted.colour, size, FAINT if GROWTH in layers else marks.ALPHA, lit)
        if STREAMS in layers and flow is not None:
            lines = marks.traced(flow)
            marks.streams(ax, lines, view)
            further[STREAMS] = _lines(lines)
        if shown is not None:
            marks.arrows(ax, *shown, view)
            further[ARROWS] = pd.DataFrame(np.concatenate(shown, 1), columns=["x", "y", "along x", "along y"])
        marks.compass(page, ax, axis_names(scene))
    return Drawn(page.figure, places(scene, painted), further)


def time_panels(scene: Scene, painted: Painted, sheet: Sheet, view: View | None = None) -> Drawn:
    """A panel for each time point: its cells in colour, all others grey behind them."""
    view = view or home(scene.points)
    n = len(scene.times)
    with sheet.type():
        page = Page(sheet)
        side, title = marks.compass_room(page), 1.6 * sheet.text * POINT
        # by time, the panels' titles are the legend
        by_time = isinstance(painted.colour, Categories) and np.array_equal(painted.colour.codes, scene.index)
        made = [] if by_time else keys.key_of(page, painted, 0.5 * sheet.width, _times(scene))
        width = page.room(made) - side
        down = -(-n // max(int((width + BETWEEN) / (PANEL + BETWEEN)), 1))
        across = -(-n // down)
        wide = (width - (across - 1) * BETWEEN) / across
        high = down * (wide * _aspect(view) + title) + (down - 1) * BETWEEN
        left, bottom, width, high = page.settle(made, high + side)
        rect = left + side, bottom + side, width - side, high - side
        size = sheet.point or marks.cell_size(len(scene.points), wide)
        for i, (panel, name) in enumerate(zip(_panels(rect, down, across, n), _times(scene).values(), strict=True)):
            left, bottom, wide, tall = panel
            ax = marks.plane(page, (left, bottom, wide, tall - title), view)
            ax.set_in_layout(False)
            here = scene.index == i
            marks.behind(ax, scene.points[~here], size, FAINT)
            marks.cells(ax, scene.points[here], painted.colour.only(here), size)
            ax.set_title(name, pad=2)
            if i == (down - 1) * across:
                marks.compass(page, ax, axis_names(scene))
    return Drawn(page.figure, places(scene, painted))


def lineage(scene: Scene, found: Ancestry, sheet: Sheet, view: View | None = None) -> Drawn:
    """Ribbons from selected cells to their ancestors and descendants, over all cells in grey; and below them the shares
    of each kind at each time point, or, where there are no kinds, how many kin each selected cell has."""
    view = view or home(scene.points)
    tau = scene.tau(found.kin.times)[:, None]
    paths = scene.plane.points(found.kin.z, tau)
    widest = RIBBON * float(np.ptp(scene.points, axis=0).max())
    mass = np.exp(found.kin.log_w.astype(np.float64))
    chosen = np.zeros(len(scene.points), bool)
    chosen[found.kin.cells] = True
    seen = [k for k in range(len(found.names)) if found.shares[:, k].max() > 0]
    told = found.names != (NONE,)
    colours = found.colours if told else (ONE_KIND,)
    with sheet.type():
        page = Page(sheet)
        side = marks.compass_room(page)
        handles: list[keys.Handle] = [keys.dark_dot(page)]
        names = ["selected cells"]
        if told:
            handles += [Patch(color=found.colours[k]) for k in seen]
            names += [found.names[k] for k in seen]
        else:
            handles.append(Patch(color=ONE_KIND))
            names.append("ancestors, descendants")
        high = _aspect(view) * page.free[0] + BARS
        made = keys.names_of(page, handles, names, "", 0.8 * high)
        width = page.room(made) - side
        left, bottom, wide, tall = page.settle(made, _aspect(view) * width + side + BARS)
        bars_high = min(BARS, 0.4 * tall)
        ax = marks.plane(
            page, (left + side, bottom + bars_high + side, wide - side, tall - bars_high - side), view
        )  # fmt: skip
        size = sheet.point or marks.cell_size(len(scene.points), wide)
        marks.behind(ax, scene.points[~chosen], size, 0.5)
        marks.ribbons(ax, ribbon_columns(paths, mass, found.fates, colours, widest))
        one = Categories(np.zeros(int(chosen.sum()), int), ["selected"], [INK])
        marks.cells(ax, scene.points[chosen], one, size, 0.9)
        marks.compass(page, ax, axis_names(scene))
        page.charts((left, bottom, wide, bars_high - 1))
        bars = page.figure.subplots()
        _bars(bars, found, seen if told else None, list(_times(scene).values()))
    return Drawn(page.figure, found.table())


def _bars(ax: Axes, found: Ancestry, seen: list[int] | None, names: Sequence[str]) -> None:
    at = np.arange(len(found.labels))
    if seen is None:
        ax.bar(at, found.mass, color=ONE_KIND, width=0.72)
        ax.set_ylabel("cells for each")
        ax.set_ylim(0, None)
        ax.yaxis.set_major_locator(MaxNLocator(4))
    else:
        below = np.zeros(len(at))
        for k in seen:
            share = 100 * found.shares[:, k]
            ax.bar(at, share, bottom=below, color=found.colours[k], width=0.72)
            below = below + share
        ax.set_ylabel("share of kin, %")
        ax.set_ylim(0, 100)
    crowded = sum(len(name) for name in names) > 40
    ax.set_xticks(at, names, rotation=35 if crowded else 0,
                  ha="right" if crowded else "center", rotation_mode="anchor")  # fmt: skip


def time_names(labels: Sequence[str], unit: str) -> dict[str, str]:
    """The time points by their labels, as a figure has them: bare numbers with their unit, and with two decimals where
    that tells them apart."""
    labels = [str(label) for label in labels]
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return {label: plain(label) for label in labels}
    short = [number_label(round(number, 2)) for number in numbers]
    if len(set(short)) < len(labels):
        short = labels
    return {label: plain(f"{name} {unit}") for label, name in zip(labels, short, strict=True)}


def _times(scene: Scene) -> dict[str, str]:
    return time_names(scene.snapshots.labels, scene.stream.clock.unit)


def axis_names(scene: Scene) -> tuple[str, str]:
    """What the axes of the plane are called."""
    d = scene.z.shape[1]
    if d == 1:
        return "time", "CellStream"
    if d == 2:
        return "CellStream 1", "CellStream 2"
    first, second = scene.plane.which
    return f"component {first + 1}", f"component {second + 1}"


def places(scene: Scene, painted: Painted) -> pd.DataFrame:
    """Each cell's row in the file, counted from 0, its place in the plane, its time point and what it is coloured by,
    where that is not its time point."""
    colour = painted.colour
    if isinstance(colour, Categories):
        value = np.array([*colour.names, ""], dtype=object)[np.asarray(colour.codes)]
    else:
        value = colour.values
    labels = np.array([str(label) for label in scene.snapshots.labels], dtype=object)[scene.index]
    x, y = scene.points.T
    table = pd.DataFrame({"row": scene.rows, "x": x, "y": y, "time point": labels})
    if not (painted.title == TIME and np.array_equal(labels, value)):
        # a column of the file may be called x, too
        table[f"colour: {painted.title}" if painted.title in table else painted.title] = value
    return table


def _grid(flow: Field, title: str) -> pd.DataFrame:
    """The growth map: its places, their growth, and how far there are cells, where there are some."""
    y, x = np.meshgrid(flow.y, flow.x, indexing="ij")
    table = pd.DataFrame({"x": x.ravel(), "y": y.ravel(), title: flow.growth.ravel(), "cover": flow.weight.ravel()})
    return table[table["cover"] > marks.COVERED].reset_index(drop=True)


def _lines(lines: Sequence[Streamline]) -> pd.DataFrame:
    """Streamlines, point by point."""
    if not lines:
        return pd.DataFrame(columns=["line", "x", "y"])
    number = np.repeat(np.arange(len(lines)), [len(line.xy) for line in lines])
    x, y = np.concatenate([line.xy for line in lines]).T
    return pd.DataFrame({"line": number, "x": x, "y": y})


def _aspect(view: View) -> float:
    return (view[3] - view[2]) / (view[1] - view[0])


def _panels(rect: Rect, down: int, across: int, n: int) -> list[Rect]:
    """Equal rectangles, row by row from the top."""
    left, bottom, width, height = rect
    wide = (width - (across - 1) * BETWEEN) / across
    tall = (height - (down - 1) * BETWEEN) / down
    return [
        (left + (i % across) * (wide + BETWEEN), bottom + height - tall - (i // across) * (tall + BETWEEN), wide, tall)
        for i in range(n)
    ]


def _require_layers(layers: Sequence[str]) -> None:
    if not layers:
        raise UserError(f"Expected layers out of {', '.join(LAYERS)}, but got none.")
    for name in layers:
        if name not in LAYERS:
            raise UserError(f"Expected layers out of {', '.join(LAYERS)}, but got '{name}'.")

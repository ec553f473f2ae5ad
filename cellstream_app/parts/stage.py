"""The stage of the Explore page: cells, layers over them, and particles over all of it, on the same axes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import holoviews as hv
import numpy as np
import panel as pn
from bokeh.models import Tool

from cellstream.ancestry import Ancestry
from cellstream.colours import colour_array, growth_palette
from cellstream.fields import Field
from cellstream.traces import Columns, arrow_columns, growth_columns, ribbon_columns, stream_columns
from cellstream_app import plots, ui
from cellstream_app.colouring import Colouring
from cellstream_app.components import flow
from cellstream_app.leaving import weakly
from cellstream_app.overlays import Image, Lines, Ribbons
from cellstream_app.picking import MOVE, add_tools, inside
from cellstream_app.results import Result
from cellstream_app.sources import Source
from cellstream_app.style import Theme, colour_bar_html, theme
from cellstream_app.ui import BOTH

SIZE = (960, 540)
"""Pixels of the stage, about; in a window of another shape one side is widened."""
LAYERS = ("growth", "arrows", "streams")
"""What is drawn by this machine and not by the browser, from the lowest to the highest."""
RIBBON = 0.075
"""Width of a ribbon that carries all mass, as a share of the picture's longer side."""
ARROWS = 260
"""Arrows at most; they stand at cells spread evenly over the picture."""
BEHIND, ON_GROWTH, ALONE = 0.5, 0.75, 0.85
"""Opacity of the cells behind particles, there on the growth map, which would tint them, and without particles."""
LABELLED = plots.SHADE_ABOVE
"""Cells up to which the pointer reads their names."""


class Surroundings(Protocol):
    """What a stage reads of where it stands: of a session, or of a side with a data set of its own."""

    @property
    def dark(self) -> bool: ...

    @property
    def pixel_ratio(self) -> float: ...

    @property
    def result_source(self) -> Source | None: ...

    @property
    def selection(self) -> np.ndarray | None: ...


class Stage(pn.viewable.Viewer):
    """One figure per result and theme, whose data are replaced, so that axes and zoom stay.

    ``picked`` is called with the positions of the cells that a box or a lasso was drawn around; ``tools`` are widgets
    that stand in its corner; ``hooks`` are HoloViews' for each figure; ``size`` is its size in pixels, about.
    """

    def __init__(
        self,
        around: Surroundings,
        picked: Callable[[np.ndarray], None] | None = None,
        tools: Sequence[Any] = (),
        hooks: Sequence[Callable] = (),
        size: tuple[int, int] = SIZE,
    ):
        super().__init__()
        self.around, self.picked, self.hooks, self.size = around, picked, hooks, size
        self.growth_limit: float | None = None
        """Where the colours of growth end, if not where the result's own do; of the next figure."""
        self.drag = MOVE
        """What dragging does on a figure to come; on the one that is shown the browser sees to it."""
        self.kin: Ancestry | None = None
        self.layers: dict[str, bool] = dict(streams=True, growth=False, arrows=False, moment=False, particles=True)
        self.last_cost = 0.1
        """Seconds that the last drawing of the layers took."""
        self.next_view: plots.View | None = None
        """What the next figure shows of the plane, if not all cells."""
        self.canvas = flow.FlowCanvas(frame_id=flow.new_frame_id(), point_size=4.5)
        self.pane = pn.pane.HoloViews(None, margin=0, linked_axes=False, **BOTH)
        corner = {"position": "absolute", "top": "10px", "right": "12px", "width": "auto", "z-index": "2"}
        self.tools = ui.row(*tools, sizing_mode=None, styles=corner)
        whole = flow.over(self.pane, self.canvas)
        whole.append(self.tools)
        self.view = pn.Column(whole, margin=0, min_height=320, **BOTH)
        self.result: Result | None = None
        self._t = 0.0
        self._figure: Any = None
        self._tools: dict[str, Tool] = {}
        self._drawn: dict[str, tuple] = {}

    def __panel__(self) -> pn.Column:
        return self.view

    def show(self, result: Result, colouring: Colouring, t: float, colours: np.ndarray | None = None) -> None:
        """Another result, or another theme: a new figure. ``colours`` are the particles', bytes (particles, 4)."""
        self.result, self._t, self._colours = result, t, colours
        home = plots.view_of(result.grid.points, self.size, margin=0)
        self._cells = hv.streams.Pipe(self._coloured(colouring))
        layered = plots.embedding_map(self._cells, home, self.around.pixel_ratio)
        hooks = [weakly(self._put_on), flow.attach(self.canvas.frame_id), *self.hooks]
        self.pane.object = layered.opts(hv.opts.Overlay(hooks=hooks))
        self.canvas.param.update(theme=self._look(), unit=result.snapshots.unit)
        self._show_particles()
        self.canvas.time = t

    def paint(self, colours: np.ndarray) -> None:
        """Other colours for the particles, bytes (particles, 4)."""
        self._colours = colours
        self._show_particles()

    def follow(self, kin: Ancestry | None) -> None:
        """Let the particles be the kin of selected cells, on ribbons to what they become; or no longer."""
        if kin is self.kin:
            return
        self.kin = kin
        if self.result is None:
            return
        self._show_particles()
        if self._figure is not None:
            ui.in_turn(self._show_ribbons)

    def _show_particles(self) -> None:
        result, kin = self.result, self.kin
        marks = list(zip(result.times.tolist(), map(str, result.snapshots.labels), strict=True))
        if kin is None:
            log_w = result.flow.log_w - result.flow.log_w[0]
            one = np.repeat(colour_array([self._look().accent]), log_w.shape[1], axis=0)
            colours = one if self._colours is None else self._colours
            self.canvas.show(result.paths, log_w, result.flow.times, colours, marks)
        else:
            log_w = kin.kin.log_w - kin.kin.log_w[0]
            self.canvas.show(self._paths(kin), log_w, kin.kin.times, colour_array(kin.colours)[kin.fates], marks)

    def _paths(self, kin: Ancestry) -> np.ndarray:
        """The selected cells' ways in the plane, (frames, n, 2)."""
        return self.result.plane.points(kin.kin.z, self.result.tau(kin.kin.times)[:, None])

    def _show_ribbons(self) -> None:
        kin = self.kin
        if kin is None:
            self._ribbons.clear()
            return
        widest = RIBBON * float(np.ptp(self.result.points, axis=0).max())
        mass = np.exp(kin.kin.log_w.astype(np.float64))
        self._ribbons.show(ribbon_columns(self._paths(kin), mass, kin.fates, kin.colours, widest))

    def recolour(self, colouring: Colouring) -> None:
        """Other colours for the cells."""
        self._cells.send(self._coloured(colouring))

    async def at(self, t: float) -> None:
        """Draw the layers as they are at time ``t``; what is costly in a thread."""
        began = time.monotonic()
        self._t = t
        result, figure = self.result, self._figure
        todo = {name: state for name in LAYERS if self._drawn.get(name) != (state := self._state(name))}
        if result is None or figure is None or not todo:
            return
        found = await asyncio.to_thread(self._columns, result, dict(self.layers), t, list(todo), self.growth_limit)
        if figure is self._figure:
            self._drawn |= todo
            ui.in_turn(partial(self._show_layers, figure, found))
        self.last_cost = time.monotonic() - began

    def fit(self) -> None:
        """Back to the view that holds all cells."""
        if self.result is not None:
            self.pane.param.trigger("object")

    @property
    def seen(self) -> plots.View | None:
        """What is seen of the plane; None where all cells are, or nothing has been drawn yet."""
        figure, result = self._figure, self.result
        if figure is None or result is None:
            return None
        x, y = figure.x_range, figure.y_range
        view = tuple(float(end) for end in (x.start, x.end, y.start, y.end))
        (x0, y0), (x1, y1) = result.points.min(0), result.points.max(0)
        whole = view[0] <= x0 and x1 <= view[1] and view[2] <= y0 and y1 <= view[3]
        return None if whole else view

    @property
    def shown_limit(self) -> float:
        """Where the colours of growth end on the figure that is shown."""
        return self.growth_limit or self.result.growth_limit

    def growth_legend(self, place: str = "") -> str:
        """The colour bar of the growth map; ``place`` says which of two it is."""
        limit, unit = self.shown_limit, self.result.stream.clock.rate_unit
        title = f"{place}growth, doublings per {unit}"
        return colour_bar_html(growth_palette(), (-limit, limit), title, "0")

    # layers

    def _look(self) -> Theme:
        return theme(self.around.dark)

    def _coloured(self, colouring: Colouring) -> plots.Cells:
        result = self.result
        labels = None
        if len(result.index) <= LABELLED and self.around.result_source is not None:
            names = self.around.result_source.adata.obs_names
            labels = [str(names[row]) for row in result.rows]
        behind = ON_GROWTH if self.layers["growth"] else BEHIND
        alpha, lit, selected = behind if self.layers["particles"] else ALONE, None, self.around.selection
        if selected is not None:
            alpha, lit = ALONE, np.isin(np.arange(len(result.index)), selected, kind="table")
        return plots.Cells(result.points, colouring.colour, labels, alpha, lit, colouring.title)

    def _put_on(self, plot: Any, element: Any) -> None:
        """A hook: the layers come onto a new figure."""
        figure = plot.handles["plot"]
        if figure is not self._figure:
            look = self._look()
            self._figure, self._drawn = figure, {}
            if self.next_view is not None:
                plots.show_first(figure, self.next_view)
                self.next_view = None
            self._growth, self._arrows = Image(figure), Lines(figure, look, head_size=6)
            self._streams, self._ribbons = Lines(figure, look, head_size=8), Ribbons(figure)
            self._show_layers(figure, self._columns(self.result, self.layers, self._t, LAYERS, self.growth_limit))
            self._drawn = {name: self._state(name) for name in LAYERS}
            self._show_ribbons()
            if self.picked is not None:
                self._tools = add_tools(figure, self._on_outline)
        if self._tools:
            figure.toolbar.active_drag = self._tools[self.drag]

    def _on_outline(self, geometry: Mapping[str, Any]) -> None:
        if self.result is not None:
            self.picked(inside(self.result.points, geometry))

    def _show_layers(self, figure: Any, found: dict[str, dict[str, Columns] | None]) -> None:
        if figure is not self._figure:  # another one has come before its turn
            return
        layers = {"growth": self._growth, "arrows": self._arrows, "streams": self._streams}
        for name, columns in found.items():
            if columns is None:
                layers[name].clear()
            else:
                layers[name].show(columns)

    def _state(self, name: str) -> tuple:
        """What a layer's picture depends on: what stands still is not drawn again."""
        shown = self.layers[name]
        return shown, self._t if shown and self.layers["moment"] and name != "arrows" else None

    @staticmethod
    def _columns(
        result: Result, layers: dict[str, bool], t: float, names: Sequence[str], limit: float | None
    ) -> dict[str, dict[str, Columns] | None]:
        """What the layers of these names show at time ``t``; None for nothing."""
        found: dict[str, dict[str, Columns] | None] = dict.fromkeys(names)
        wanted = [name for name in names if layers[name]]
        if {"growth", "streams"} & set(wanted):
            f: Field = result.field(t) if layers["moment"] else result.course
        for name in wanted:
            if name == "streams":
                found[name] = stream_columns(f.x, f.y, f.vx, f.vy, f.weight)
            elif name == "growth":
                found[name] = growth_columns(f.x, f.y, f.growth, f.weight, limit or result.growth_limit)
            else:
                chosen = spread_out(result.points, ARROWS)
                longest = 0.06 * float(np.ptp(result.points, axis=0).max())
                found[name] = arrow_columns(result.points[chosen], result.vectors[chosen], longest)
        return found


def spread_out(points: np.ndarray, most: int) -> np.ndarray:
    """At most about ``most`` of the points, one from each occupied cell of a grid, so that none crowd."""
    low, high = points.min(0), points.max(0)
    side = max(float((high - low).max()), 1e-9)
    for parts in (40, 32, 26, 21, 17, 14, 11, 8):
        cell = np.floor((points - low) / side * parts).astype(int)
        _, first = np.unique(cell[:, 0] * 10_000 + cell[:, 1], return_index=True)
        if len(first) <= most:
            return first
    return first[:most]

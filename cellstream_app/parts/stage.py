"""The stage of the Explore page: cells, layers over them, and particles over all of it, on the same axes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import holoviews as hv
import numpy as np
import panel as pn

from cellstream_app import plots, ui
from cellstream_app.colouring import Colouring
from cellstream_app.components import flow
from cellstream_app.fields import Field
from cellstream_app.overlays import Columns, Image, Lines, arrow_columns, growth_columns, stream_columns
from cellstream_app.results import Result
from cellstream_app.session import Session
from cellstream_app.style import Theme, colour_array, colour_bar_html, growth_palette, theme
from cellstream_app.ui import BOTH

SIZE = (960, 540)
"""Pixels of the stage, about; in a window of another shape one side is widened."""
LAYERS = ("growth", "arrows", "streams")
"""What is drawn by this machine and not by the browser, from the lowest to the highest."""
ARROWS = 260
"""Arrows at most; they stand at cells spread evenly over the picture."""
BEHIND, ON_GROWTH, ALONE = 0.5, 0.75, 0.85
"""Opacity of the cells behind particles, there on the growth map, which would tint them, and without particles."""
LABELLED = plots.SHADE_ABOVE
"""Cells up to which the pointer reads their names."""


class Stage(pn.viewable.Viewer):
    """One figure per result and theme, whose data are replaced, so that axes and zoom stay."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.layers: dict[str, bool] = dict(streams=True, growth=False, arrows=False, moment=False, particles=True)
        self.last_cost = 0.1
        """Seconds that the last drawing of the layers took."""
        self.canvas = flow.FlowCanvas(frame_id=flow.new_frame_id(), point_size=4.5)
        self.pane = pn.pane.HoloViews(None, margin=0, linked_axes=False, **BOTH)
        self.view = pn.Column(flow.over(self.pane, self.canvas), margin=0, min_height=320, **BOTH)
        self.result: Result | None = None
        self._t = 0.0
        self._figure: Any = None
        self._drawn: dict[str, tuple] = {}

    def __panel__(self) -> pn.Column:
        return self.view

    def show(self, result: Result, colouring: Colouring, t: float) -> None:
        """Another result, or another theme: a new figure."""
        look = self._look()
        self.result, self._t = result, t
        home = plots.view_of(result.grid.points, SIZE, margin=0)
        self._cells = hv.streams.Pipe(self._coloured(colouring))
        layered = plots.embedding_map(self._cells, home, self.session.pixel_ratio)
        self.pane.object = layered.opts(hv.opts.Overlay(hooks=[self._put_on, flow.attach(self.canvas.frame_id)]))
        marks = list(zip(result.times.tolist(), map(str, result.snapshots.labels), strict=True))
        colours = np.repeat(colour_array([look.accent]), result.paths.shape[1], axis=0)
        log_w = result.flow.log_w - result.flow.log_w[0]
        self.canvas.param.update(theme=look, unit=result.snapshots.unit)
        self.canvas.show(result.paths, log_w, result.flow.times, colours, marks)
        self.canvas.time = t

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
        found = await asyncio.to_thread(self._columns, result, dict(self.layers), t, list(todo))
        if figure is self._figure:
            self._drawn |= todo
            ui.in_turn(partial(self._show_layers, figure, found))
        self.last_cost = time.monotonic() - began

    def fit(self) -> None:
        """Back to the view that holds all cells."""
        if self.result is not None:
            self.pane.param.trigger("object")

    def growth_legend(self) -> str:
        """The colour bar of the growth map."""
        limit, unit = self.result.growth_limit, self.result.stream.clock.rate_unit
        return colour_bar_html(growth_palette(), (-limit, limit), f"growth, doublings per {unit}", "0")

    # layers

    def _look(self) -> Theme:
        return theme(self.session.dark)

    def _coloured(self, colouring: Colouring) -> plots.Cells:
        result = self.result
        labels = None
        if len(result.index) <= LABELLED and self.session.result_source is not None:
            names = self.session.result_source.adata.obs_names
            labels = [str(names[row]) for row in result.rows]
        behind = ON_GROWTH if self.layers["growth"] else BEHIND
        return plots.Cells(result.points, colouring.colour, labels, alpha=behind if self.layers["particles"] else ALONE)

    def _put_on(self, plot: Any, element: Any) -> None:
        """A hook: the layers come onto a new figure."""
        figure = plot.handles["plot"]
        if figure is not self._figure:
            look = self._look()
            self._figure, self._drawn = figure, {}
            self._growth, self._arrows = Image(figure), Lines(figure, look, head_size=6)
            self._streams = Lines(figure, look, head_size=8)
            self._show_layers(figure, self._columns(self.result, self.layers, self._t, LAYERS))
            self._drawn = {name: self._state(name) for name in LAYERS}

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
        result: Result, layers: dict[str, bool], t: float, names: Sequence[str]
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
                found[name] = growth_columns(f.x, f.y, f.growth, f.weight, result.growth_limit)
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

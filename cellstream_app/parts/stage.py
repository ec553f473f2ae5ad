"""The stage of the Explore page: cells, layers over them, and particles over all of it, on the same axes."""

from __future__ import annotations

import time

import holoviews as hv
import numpy as np
import panel as pn

from cellstream_app import overlays, plots
from cellstream_app.colouring import Colouring
from cellstream_app.components import flow
from cellstream_app.fields import Field
from cellstream_app.results import Result
from cellstream_app.session import Session
from cellstream_app.style import Theme, colour_array, colour_bar_html, growth_palette, theme
from cellstream_app.ui import BOTH

SIZE = (960, 540)
"""Pixels of the stage, about; in a window of another shape one side is widened."""
ARROWS = 260
"""Arrows at most; they stand at cells spread evenly over the picture."""
BEHIND, ON_GROWTH, ALONE = 0.5, 0.75, 0.85
"""Opacity of the cells behind particles, there on the growth map, which would tint them, and without particles."""
LABELLED = plots.SHADE_ABOVE
"""Cells up to which the pointer reads their names."""


class Stage(pn.viewable.Viewer):
    """One figure per result and theme; its content goes through pipes, so axes and zoom stay."""

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

    def __panel__(self) -> pn.Column:
        return self.view

    def show(self, result: Result, colouring: Colouring, t: float) -> None:
        """Another result, or another theme: a new figure."""
        look = self._look()
        self.result, self._t = result, t
        home = plots.view_of(result.grid.points, SIZE, margin=0)
        self._cells = hv.streams.Pipe(self._coloured(colouring))
        self._growth, self._streams, self._arrows = (hv.streams.Pipe(None) for _ in range(3))
        layered = (
            plots.embedding_map(self._cells, home, self.session.pixel_ratio)
            * hv.DynamicMap(self._draw_growth, streams=[self._growth])
            * hv.DynamicMap(self._draw_arrows, streams=[self._arrows])
            * hv.DynamicMap(self._draw_streams, streams=[self._streams])
        )
        self.pane.object = layered.opts(hv.opts.Overlay(hooks=[flow.attach(self.canvas.frame_id)]))
        marks = list(zip(result.times.tolist(), map(str, result.snapshots.labels), strict=True))
        colours = np.repeat(colour_array([look.accent]), result.paths.shape[1], axis=0)
        log_w = result.flow.log_w - result.flow.log_w[0]
        self.canvas.param.update(theme=look, unit=result.snapshots.unit)
        self.canvas.show(result.paths, log_w, result.flow.times, colours, marks)
        self.canvas.time = t

    def recolour(self, colouring: Colouring) -> None:
        """Other colours for the cells."""
        self._cells.send(self._coloured(colouring))

    def at(self, t: float) -> None:
        """Draw the layers as they are at time ``t``."""
        began = time.monotonic()
        self._t = t
        for pipe in (self._growth, self._streams, self._arrows):
            # what stands still is not sent again
            state = self._state(pipe)
            if getattr(pipe, "drawn", None) != state:
                pipe.drawn = state
                pipe.send(state)
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

    def _state(self, pipe: hv.streams.Pipe) -> tuple:
        moment = self._t if self.layers["moment"] else None
        if pipe is self._streams:
            return self.layers["streams"], moment
        if pipe is self._growth:
            return self.layers["growth"], moment
        return (self.layers["arrows"],)

    def _field(self) -> Field:
        return self.result.field(self._t) if self.layers["moment"] else self.result.course

    def _draw_streams(self, data: object) -> hv.Overlay:
        field = self._field()
        weight = field.weight if self.layers["streams"] else np.zeros_like(field.weight)
        return overlays.streamlines(field.x, field.y, field.vx, field.vy, weight, self._look())

    def _draw_growth(self, data: object) -> hv.RGB:
        field = self._field()
        weight = field.weight if self.layers["growth"] else np.zeros_like(field.weight)
        return overlays.growth_map(field.x, field.y, field.growth, weight, self.result.growth_limit)

    def _draw_arrows(self, data: object) -> hv.Overlay:
        result = self.result
        chosen = spread_out(result.points, ARROWS) if self.layers["arrows"] else np.empty(0, int)
        longest = 0.06 * float(np.ptp(result.points, axis=0).max())
        return overlays.arrows(result.points[chosen], result.vectors[chosen], self._look(), longest)


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

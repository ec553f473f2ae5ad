"""The view of the selected run: where it stands, its picture as it learns, what it is worth so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream_app import charts, plots, ui
from cellstream_app.live import MOVING, STAGES, Camera, Match, Picture, curves, latest_metrics, match_of
from cellstream_app.parts.tiles import legend_row, tiles_html
from cellstream_app.session import Session
from cellstream_app.style import Theme, theme, time_colours
from cellstream_app.ui import WIDE

BREATH = 2.0
"""After a drawing, a rest so many times as long as it took."""
BOX = np.array([[-1.0, -0.72], [1.0, 0.72]])
"""The live picture's plane: its points lie in -1..1 along their longer side."""
COLOURS = dict(
    running="primary", starting="primary", queued="default", paused="warning", finished="success", cancelled="default",
    failed="error", dead="error", new="default",
)  # fmt: skip


class Watching(pn.viewable.Viewer):
    """Redraws only what has changed since it was last drawn."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.camera = Camera()
        self._drawn: dict[str, Any] = {}
        self._todo: dict[str, Callable[[], None]] = {}
        self._rest_until = 0.0
        self._make_status()
        self._make_pictures()
        session.param.watch(self._on_run, ["run", "dark"])
        session.param.watch(self._on_news, ["news", "page"])
        session.param.watch(self._tick, "beat")
        self._on_run()

    def __panel__(self) -> pn.Column:
        return self.view

    # where it stands

    def _make_status(self) -> None:
        self.title = ui.text("")
        self.state = pmui.Chip(label="", size="small", margin=0)
        self.said = ui.text("", muted=True)
        self.bar = pmui.LinearProgress(value=0, variant="determinate", margin=0, sx={"borderRadius": "4px"}, **WIDE)
        self.message = ui.Message("warning")
        button = dict(size="small", variant="outlined", margin=0)
        self.pause = pmui.Button(label="Pause", icon="pause", on_click=lambda event: self.session.run.pause(), **button)
        self.resume = pmui.Button(label="Resume", icon="play_arrow", on_click=self._on_resume, **button)
        self.stop = pmui.Button(
            label="Stop", icon="stop", on_click=lambda event: self.session.run.cancel(), color="error", **button,
        )  # fmt: skip
        self.explore = pmui.Button(label="Explore", icon="bubble_chart", on_click=self._on_explore, **button)
        self.buttons = ui.row(self.pause, self.resume, self.stop, self.explore, sizing_mode="fixed")

    async def _on_resume(self, event: Any) -> None:
        run = self.session.run
        if self.session.status.state == "paused":
            run.unpause()
        else:
            await asyncio.to_thread(run.start)
        self.session.poll()

    def _on_explore(self, event: Any) -> None:
        self.session.page = "explore"

    def _show_status(self) -> None:
        session, run, status = self.session, self.session.run, self.session.status
        preset = ui.escaped(str(run.recipe.get("preset") or "own settings"))
        self.title.object = ui.styled(
            f"<span style='font-weight:600'>{ui.escaped(run.name)}</span>"
            f"<span style='opacity:.68;font-size:13px'> · {preset}</span>",
            "16px",
        )
        self.state.param.update(label=status.state, color=COLOURS.get(status.state, "default"))
        share = 100 * status.step / status.total if status.total else 0
        self.bar.param.update(
            value=100 if status.state == "finished" else round(share, 1),
            variant="indeterminate" if status.state in ("starting", "queued") else "determinate",
        )
        said = [
            STAGES.get(status.stage, status.stage),
            f"step {status.step:,} of {status.total:,}" if status.total else "",
        ]
        if status.state == "queued":
            said = ["Waits for its turn: another run is under way."]
        elif status.state == "starting":
            said = ["Starting the training process …"]
        elif status.live:
            said.append(session.clock.left())
        elif status.state == "finished":
            said = [status.reason, f"{status.step:,} steps."]
        self.said.object = ui.styled(ui.escaped(" · ".join(part for part in said if part)), muted=True)
        bad = status.state in ("failed", "dead", "cancelled")
        self.message.say(status.reason if bad else "", "info" if status.state == "cancelled" else "error")
        self.pause.visible = status.state == "running"
        self.stop.visible = status.live
        self.resume.visible = status.state in ("paused", "cancelled", "failed", "dead", "new")
        self.explore.visible = bool(run.history.previews)

    # pictures

    def _make_pictures(self) -> None:
        self.picture = pn.pane.HoloViews(None, margin=0, linked_axes=False, height=400, **WIDE)
        self.legend = ui.text("")
        self.tiles = ui.text("")
        self.match = pn.pane.HoloViews(None, margin=0, linked_axes=False, height=230, **WIDE)
        self.mass = pn.pane.HoloViews(None, margin=0, linked_axes=False, height=247, **WIDE)
        self.stage = pmui.Select(
            label="Stage", options={name: key for key, name in STAGES.items()}, value="rounds", size="small", margin=0,
            width=190,
        )  # fmt: skip
        self.stage.param.watch(lambda event: self._show_losses(), "value")
        self.losses = pn.pane.HoloViews(None, margin=0, linked_axes=False, height=230, **WIDE)
        gap = {"gap": f"{ui.GAP}px"}
        top = ui.card(
            ui.row(self.title, self.state, self.buttons, gap=12), self.bar, self.said, self.message
        )  # fmt: skip
        picture = ui.card(ui.column(self.picture, height=400), self.legend, title="Embedding")
        self.too_early = ui.text("Velocity and growth are not learned yet; the embedding comes first.", muted=True)
        worth = ui.card(self.tiles, title="What it is worth")
        # boxes of a fixed height, so that nothing jumps when the first data come
        match = ui.card(
            ui.column(self.too_early, self.match, height=235),
            title="How well each time point is met",
            hint="lower is better",
        )
        losses = ui.card(ui.row(ui.heading("Losses"), self.stage), ui.column(self.losses, height=235))
        mass = ui.card(ui.column(self.mass, height=250), title="Population size")
        self.body = pn.Row(
            ui.column(picture, losses), ui.column(worth, match, mass, width=400, sizing_mode="fixed"),
            margin=0, styles={**gap, "max-height": "none"}, **WIDE,
        )  # fmt: skip
        self.empty = ui.empty_state(
            "No run is selected", "Start one at the left. The embedding and how well it fits appear here as it learns.",
            sizing_mode="stretch_width", height=420,
        )  # fmt: skip
        self.view = ui.column(self.empty, top, self.body)
        self.top = top

    def _on_run(self, *events: Any) -> None:
        """Another run, or another theme: everything is drawn anew."""
        self.camera, self._drawn, self._todo = Camera(), {}, {}
        for pane in (self.picture, self.losses, self.match, self.mass):
            pane.object = None
        self.tiles.object = tiles_html({}, False)
        self.legend.object = ""
        run = self.session.run
        self.empty.visible = run is None
        self.top.visible = self.body.visible = run is not None
        self._on_news()

    def _on_news(self, *events: Any) -> None:
        run = self.session.run
        if run is None or self.session.page != "train":
            return
        self._show_status()
        stages = run.history.stages
        if stages and self._drawn.get("stage") != stages[-1].name:
            self._drawn["stage"] = self.stage.value = stages[-1].name
        if self._new("picture", len(run.history.previews)):
            self._todo["picture"] = self._show_picture
        self._show_losses()
        metrics = latest_metrics(None if self.session.status.live else run.metrics(), run.history)
        if metrics and self._new("metrics", (len(run.history.previews), self.session.status.state)):
            self.tiles.object = tiles_html(metrics, self.session.status.stage in MOVING)
            labels = self._labels()
            moving = self.session.status.stage in MOVING
            self.too_early.visible = not moving
            if moving and (found := match_of(metrics, labels)):
                self._show_match(found)

    def _new(self, what: str, version: Any) -> bool:
        """Whether this version of it has not been drawn yet; it counts as drawn from now on."""
        known = self._drawn.get(what) == version
        self._drawn[what] = version
        return not known and version != 0

    def _labels(self) -> tuple[str, ...]:
        if "labels" not in self._drawn:
            self._drawn["labels"] = self.session.run.snapshots().labels
        return self._drawn["labels"]

    def _look(self) -> Theme:
        return theme(self.session.dark)

    def _tick(self, event: Any) -> None:
        """One drawing at a time, and a rest after each: what is drawn shall never keep a click waiting."""
        if self._todo and self.session.page == "train" and time.monotonic() > self._rest_until:
            began = time.monotonic()
            self._todo.pop(next(iter(self._todo)))()
            ended = time.monotonic()
            self._rest_until = ended + BREATH * (ended - began)

    def _show_picture(self) -> None:
        preview = self.session.run.preview()
        if preview is None:
            return
        picture = self.camera.picture(preview)
        if self.session.status.stage not in MOVING:
            picture = picture.without_flow()
        labels, look = [str(label) for label in self._labels()], self._look()
        colour = plots.Categories(picture.index, labels, time_colours(len(labels)))
        cells = plots.Cells(picture.points, colour)
        if "pipe" not in self._drawn:
            self._drawn["pipe"] = cells_pipe, flow_pipe = hv.streams.Pipe(cells), hv.streams.Pipe(picture)
            home = plots.view_of(BOX)
            flow = hv.DynamicMap(lambda data: _streams(data, look), streams=[flow_pipe])
            live = plots.embedding_map(cells_pipe, look, home, self.session.pixel_ratio) * flow
            self.picture.object = live.opts(hv.opts.Overlay(hooks=[scrolls_the_page]))
            self.legend.object = legend_row(dict(zip(labels, colour.colours, strict=True)))
            return
        cells_pipe, flow_pipe = self._drawn["pipe"]
        cells_pipe.send(cells)
        flow_pipe.send(picture)

    def _show_losses(self) -> None:
        run = self.session.run
        if run is None:
            return
        stage = self.stage.value
        steps = len(run.history.steps)
        if not self._new("losses", (stage, steps // 5, len(run.history.rounds), self.session.status.live)):
            return
        self._todo["losses"] = lambda: self._draw(
            "losses", curves(run.history, stage), self.losses, charts.losses, (stage,)
        )

    def _show_match(self, found: Match) -> None:
        def match(data: Match, look: Theme) -> hv.Overlay:
            return charts.match_bars(data.labels, data.w2, data.floor, data.stays, look)

        def mass(data: Match, look: Theme) -> hv.Overlay:
            return charts.mass_bars(data.labels, data.predicted, data.observed, look)

        kind = tuple(found.labels)
        self._todo["match"] = partial(self._draw, "match", found, self.match, match, kind)
        self._todo["mass"] = partial(self._draw, "mass", found, self.mass, mass, kind)

    def _draw(self, name: str, data: Any, pane: pn.pane.HoloViews, chart: Any, kind: tuple) -> None:
        """Draw new data in a chart; in the same figure, as long as it is of the same ``kind``."""
        look = self._look()
        terms = (*kind, *(data if isinstance(data, dict) else ()))
        key = f"{name} figure"
        if not data or (known := self._drawn.get(key)) is None or known[0] != terms:
            pipe = hv.streams.Pipe(data)
            self._drawn[key] = (terms, pipe)
            pane.object = hv.DynamicMap(lambda data: chart(data, look), streams=[pipe]) if data else None
            return
        known[1].send(data)


def scrolls_the_page(plot: object, element: object) -> None:
    """A hook: the wheel over this figure scrolls the page, as it does everywhere around it."""
    plot.handles["plot"].toolbar.active_scroll = None


def _streams(picture: Picture, look: Theme) -> hv.Overlay:
    field = picture.field
    return plots.streamlines(field.x, field.y, field.vx, field.vy, field.weight, look, separation=0.045)

"""The view of the selected run: where it stands, its picture as it learns, what it is worth so far."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui
from panel.io.document import hold

from cellstream.colours import time_colours
from cellstream.history import STAGES
from cellstream.pictures import BOX
from cellstream.runs import Run, Status
from cellstream.snapshots import labels_of
from cellstream.traces import Columns
from cellstream_app import charts, plots, ui
from cellstream_app.live import MOVING, Camera, Match, curves, latest_metrics, match_of
from cellstream_app.live_plot import LivePlot
from cellstream_app.parts.tiles import legend_row, tiles_html
from cellstream_app.session import SAMPLE, Session
from cellstream_app.style import Theme, theme
from cellstream_app.ui import WIDE

SIZE = (460, 400)
"""Pixels of the live picture in a narrow window; in a wider one it is widened."""
SHARPER = 1.5
"""Pixels shaded for one of the screen, at the smallest window."""
APART = "Gaps between time points come from the setting Time separation, not from the data."
MATCH = "Distance of predicted from measured cells; at the noise floor it is as good as it can be."
STOPPING = "stopping …"
LOSSES_LATER = "Appear once the first round is judged, or with the first steps of a stage."
NO_LOSSES = "None are known of this stage."
SIZES = "As predicted; the ticks are the sizes given on the Data page."
CURVES = {name: key for key, name in STAGES.items() if key != "ensemble"}
"""Stages whose losses are shown: those of the ensemble's members are many short courses one after the other."""
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
        self._drawing = False
        self._make_status()
        self._make_pictures()
        session.param.watch(self._on_run, ["run", "source", "dark"])
        session.param.watch(lambda event: self.refusal.clear(), "run")
        session.param.watch(self._on_news, ["news", "page", "runs_changed"])
        session.param.watch(self._show_picture, ["news", "page", "run", "source", "dark"])
        self._on_run()
        # made when it is first asked for, it may be there too late to hear so; a finished run says nothing more
        pn.state.execute(self._show_picture)

    def __panel__(self) -> pn.Column:
        return self.view

    @property
    def run(self) -> Run | None:
        """The run to show; not the sample once data are open, of which it would be taken for a run."""
        session = self.session
        return None if session.source is not None and session.run_id == SAMPLE else session.run

    @property
    def _moving(self) -> bool:
        """Whether velocity and growth have been learned in the run's latest picture; one that was read from a file has
        had its stages elsewhere."""
        return self.session.status.state == "finished" or self.run.history.pictured in MOVING

    # where it stands

    def _make_status(self) -> None:
        self.title = ui.text("")
        self.state = pmui.Chip(label="", size="small", margin=0)
        self.said = ui.text("", muted=True)
        self.bar = pmui.LinearProgress(value=0, variant="determinate", margin=0, sx={"borderRadius": "4px"}, **WIDE)
        self.message = ui.Message("warning")
        self.refusal = ui.Message()
        """Why Resume did not start it; where the run stands is another sentence, told anew with each news."""
        button = dict(size="small", variant="outlined", margin=0)
        self.pause = pmui.Button(label="Pause", icon="pause", on_click=self._on_pause, **button)
        self.resume = pmui.Button(label="Resume", icon="play_arrow", on_click=self._on_resume, **button)
        self.stop = pmui.Button(
            label="Stop", icon="stop", on_click=self._on_stop, color="error", **button,
        )  # fmt: skip
        self.explore = pmui.Button(label="Explore", icon="bubble_chart", on_click=self._on_explore, **button)
        self.buttons = ui.row(self.pause, self.resume, self.stop, self.explore, sizing_mode="fixed")

    def _on_pause(self, event: Any) -> None:
        self.session.run.pause()
        self._show_status()

    def _on_stop(self, event: Any) -> None:
        self.session.run.cancel()
        self._show_status()

    async def _on_resume(self, event: Any) -> None:
        async def resume() -> None:
            run = self.run
            if self.session.status.state == "paused":
                run.unpause()
            else:
                await asyncio.to_thread(run.start)
            self.session.poll()

        await ui.asks(self.refusal)(resume)()

    def _on_explore(self, event: Any) -> None:
        self.session.page = "explore"

    def _show_status(self) -> None:
        session, run, status = self.session, self.run, self.session.status
        preset = ui.escaped(str(run.recipe.get("preset") or "own settings"))
        self.title.object = ui.styled(
            f"<span style='font-weight:600'>{ui.escaped(run.name)}</span>"
            f"<span style='opacity:.68;font-size:13px'> · {preset}</span>",
            "16px",
        )
        wish = wished(run, status)
        self.state.param.update(label=wish or status.state, color=COLOURS.get(status.state, "default"))
        share = 100 * status.step / status.total if status.total else 0
        self.bar.param.update(
            value=100 if status.state == "finished" else round(share, 1),
            variant="indeterminate" if status.state == "starting" else "determinate",
        )
        said = [
            STAGES.get(status.stage, status.stage),
            f"step {status.step:,} of {status.total:,}" if status.total else "",
        ]
        if status.state == "queued":
            said = [status.reason or "Waits for its turn: another run is under way."]
        elif status.state == "starting":
            said = ["Starting the training process …"]
        elif status.live:
            said.append(session.clock.left())
        elif status.state == "finished":
            said = [status.reason, f"{status.step:,} steps." if status.step else ""]
        self.said.object = ui.styled(ui.escaped(" · ".join(part for part in said if part)), muted=True)
        # of one under way: that a worker was lost and another one goes on
        told = status.state in ("failed", "dead", "cancelled", "running", "paused")
        self.message.say(status.reason if told else "", "error" if status.state in ("failed", "dead") else "info")
        self.pause.visible = status.state == "running"
        self.stop.visible = status.live
        self.pause.disabled, self.stop.disabled = bool(wish), wish == STOPPING
        self.resume.visible = status.state in ("paused", "cancelled", "failed", "dead", "new")
        self.explore.visible = bool(run.history.previews) or (run.folder / "model.safetensors").exists()

    # pictures

    def _make_pictures(self) -> None:
        self.picture = pn.pane.Bokeh(None, margin=0, height=400, **WIDE)
        self.legend = ui.text("")
        self.tiles = ui.text("")
        self.match = pn.pane.Bokeh(None, margin=0, height=230, **WIDE)
        self.mass = pn.pane.Bokeh(None, margin=0, height=247, **WIDE)
        self.stage = pmui.Select(
            label="Stage", options=CURVES, value="rounds", size="small", margin=0,
            width=190,
        )  # fmt: skip
        self.stage.param.watch(lambda event: self._show_losses(), "value")
        self.no_losses = ui.text("", muted=True)
        self.losses = pn.pane.Bokeh(None, margin=0, height=230, **WIDE)
        gap = {"gap": f"{ui.GAP}px"}
        top = ui.card(
            ui.row(self.title, self.state, self.buttons, gap=12), self.bar, self.said, self.message, self.refusal
        )  # fmt: skip
        picture = ui.card(ui.column(self.picture, height=400), self.legend, title="Embedding", hint=APART)
        self.too_early = ui.text("Velocity and growth are not learned yet; the embedding comes first.", muted=True)
        worth = ui.card(self.tiles, title="Quality")
        # boxes of a fixed height, so that nothing jumps when the first data come
        match = ui.card(
            ui.column(self.too_early, self.match, height=235),
            title="How well each time point is met",
            hint=MATCH,
        )
        losses = ui.card(ui.row(ui.heading("Losses"), self.stage), ui.column(self.no_losses, self.losses, height=235))
        mass = ui.card(ui.column(self.mass, height=250), title="Population size", hint=SIZES)
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
        self.camera, self._drawn = Camera(), {}
        with hold(freeze=True):
            for pane in (self.picture, self.losses, self.match, self.mass):
                pane.object = None
        self.tiles.object = tiles_html({}, False)
        self.legend.object = ""
        run = self.run
        self.empty.visible = run is None
        self.top.visible = self.body.visible = run is not None
        self._on_news()

    def _on_news(self, *events: Any) -> None:
        run = self.run
        if run is None or self.session.page != "train":
            return
        self._show_status()
        stages = run.history.stages
        if stages and stages[-1].name in CURVES.values() and self._drawn.get("stage") != stages[-1].name:
            self._drawn["stage"] = self.stage.value = stages[-1].name
        self._show_losses()
        moving = self._moving
        self.too_early.visible = not moving
        metrics = latest_metrics(None if self.session.status.live else run.metrics(), run.history)
        if metrics and self._new("metrics", (len(run.history.previews), self.session.status.state)):
            self.tiles.object = tiles_html(metrics, moving)
            if moving and (found := match_of(metrics, self._labels())):
                self._show_match(found)

    def _new(self, what: str, version: Any) -> bool:
        """Whether this version of it has not been drawn yet; it counts as drawn from now on."""
        known = self._drawn.get(what) == version
        self._drawn[what] = version
        return not known and version != 0

    def _labels(self) -> list[str]:
        if "labels" not in self._drawn:
            self._drawn["labels"] = list(labels_of(self.run.folder / "data.npz"))
        return self._drawn["labels"]

    def _look(self) -> Theme:
        return theme(self.session.dark)

    async def _show_picture(self, *events: Any) -> None:
        """The latest picture, one at a time; the work is done in a thread, so that no click waits for it."""
        if self._drawing:
            return
        self._drawing = True
        try:
            # asked anew each time: run and theme may have changed while a picture was made
            while (run := self.run) is not None and self.session.page == "train":
                drawn, camera = self._drawn, self.camera
                if not self._new("picture", len(run.history.previews)):
                    break
                moving = self._moving
                if "live" not in drawn:
                    self._make_live()
                live = drawn["live"]
                found = await asyncio.to_thread(_read, run, camera, live, moving)
                if found is not None and self._drawn is drawn:
                    ui.in_turn(partial(live.show, found))
        finally:
            self._drawing = False

    def _make_live(self) -> None:
        labels = self._labels()
        colours = time_colours(len(labels))
        home = plots.view_of(np.array([-BOX, BOX]), SIZE)
        pixels = tuple(int(side * self.session.pixel_ratio * SHARPER) for side in SIZE)
        live = LivePlot(colours, self._look(), home, pixels)
        self._drawn["live"] = live
        self.picture.object = live.figure
        self.legend.object = legend_row(dict(zip(labels, colours, strict=True)))

    def _show_losses(self) -> None:
        run = self.run
        if run is None:
            return
        stage = self.stage.value
        known = len(run.history.rounds) if stage == "rounds" else len(run.history.steps) // 20
        if not self._new("losses", (stage, known, self.session.status.live)):
            return
        found = curves(run.history, stage)
        said = LOSSES_LATER if self.session.status.live else NO_LOSSES
        self.no_losses.param.update(object=ui.styled(said, muted=True), visible=not found)
        if self._new("losses figure", (stage, *found, charts.is_logarithmic(found))):
            self.losses.object = charts.losses(found, self._look()) if found else None
        elif found:
            ui.in_turn(partial(charts.show_losses, self.losses.object, found))

    def _show_match(self, found: Match) -> None:
        if self._new("bars", tuple(found.labels)):
            look, labels = self._look(), self._labels()
            colour_of = dict(zip(labels, time_colours(len(labels)), strict=True))
            colours = [colour_of[label] for label in found.labels]
            self.match.object = charts.match_bars(found.labels, found.w2, found.floor, found.stays, colours, look)
            self.mass.object = charts.mass_bars(found.labels, found.predicted, found.observed, colours, look)
        else:
            ui.in_turn(partial(charts.show_bars, self.match.object, found.w2, found.stays, found.floor))
            ui.in_turn(partial(charts.show_bars, self.mass.object, found.predicted, found.observed))


def wished(run: Run, status: Status) -> str:
    """What a run under way has been asked for and has not done yet."""
    if status.state == "running":
        for wish, name in (("cancel", STOPPING), ("pause", "pausing …")):
            if (run.folder / wish).exists():
                return name
    return ""


def _read(run: Run, camera: Camera, live: LivePlot, moving: bool) -> dict[str, Columns] | None:
    """The latest picture of a run, ready to be shown; None where there is none."""
    preview = run.preview()
    if preview is None:
        return None
    picture = camera.picture(preview)
    return live.columns(picture if moving else picture.without_flow())

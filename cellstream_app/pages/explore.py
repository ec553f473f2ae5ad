"""The Explore page: the embedding, its flow in time, and what lies over it; one time drives all."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream.ancestry import Ancestry
from cellstream.figures import ARROWS, GROWTH, STREAMS
from cellstream_app import ui
from cellstream_app.parts.choosing import COURSE, MOMENT
from cellstream_app.parts.colours import Colours
from cellstream_app.parts.opening import go_to_training, open_my_data
from cellstream_app.parts.pacer import Pacer
from cellstream_app.parts.selecting import Selecting
from cellstream_app.parts.stage import Stage
from cellstream_app.parts.timebar import TimeBar
from cellstream_app.picking import BOX, LASSO, MOVE, turn_with
from cellstream_app.session import SAMPLE, Session, folder_name, offered
from cellstream_app.shown import PARTICLES, Shown
from cellstream_app.style import theme
from cellstream_app.ui import BOTH, READ_OUT, WIDE

AXES = {"Components 1 and 2": (0, 1), "Components 1 and 3": (0, 2), "Components 2 and 3": (1, 2)}
ON_STAGE = {"bgcolor": "background.paper"}
WHAT_ONE_SEES = (
    "Each dot is a cell, coloured by the time it was measured. The particles start at the first time point and follow "
    "the learned flow: what grows swells, what dies fades."
)


class ExplorePage(pn.viewable.Viewer):
    """Controls at the left; the stage with its time bar at the right.

    ``alone``, it stands outside of the app and shows one result: no other can be chosen, and no other page gone to.
    """

    def __init__(self, session: Session, alone: bool = False):
        super().__init__()
        self.session, self.alone = session, alone
        self._make_tools()
        self.stage = Stage(session, self._on_picked, (self.drag, self.fit))
        self.drag.param.watch(lambda event: setattr(self.stage, "drag", event.new), "value")
        turn_with(self.drag, self.stage.canvas.frame_id)
        self.selecting = Selecting(session, self._on_kin)
        self.colours = Colours(session, self._recolour, self._repaint)
        self.time_bar = TimeBar(self.stage.canvas, self._on_moved)
        self.pacer = Pacer(lambda: self.stage.at(self.time_bar.time), lambda: self.stage.last_cost)
        self._syncing = False
        self._shown: Any = None
        self._undrawn = self._faded = False
        self._make_controls()
        self._make_place()
        session.param.watch(self._on_result, ["result", "dark"])
        session.param.watch(self._on_problem, ["result_problem", "loading", "run", "status"])
        session.param.watch(self._on_runs, ["runs_changed", "run_id"])
        session.param.watch(self._on_page, "page")
        session.param.watch(self._on_beat, "beat")
        session.param.watch(lambda event: self._recolour(), "selection")
        session.param.watch(self._on_asked, "asked")
        time, playing = session.time, session.playing  # as they are before drawing a result begins anew
        self._on_runs()
        self._on_result()
        self._on_problem()
        if self._shown is not None:
            self.time_bar.come(time, playing)

    def __panel__(self) -> pn.Row:
        return pn.Row(self.controls, self.place, self.selecting, margin=0, **BOTH)

    def key(self, key: str) -> None:
        """A key of the keyboard: space plays, arrows step through time, f shows all cells, m, b and l say what dragging
        the mouse does, Escape selects none."""
        if self.session.result is None:
            return
        if self.time_bar.key(key):
            return
        match key:
            case "f":
                self.stage.fit()
            case "m" | "b" | "l":
                self.drag.value = {"m": MOVE, "b": BOX, "l": LASSO}[key]
            case "Escape":
                self.session.selection = None

    def _make_tools(self) -> None:
        self.fit = pmui.Button(
            label="Fit view", icon="fit_screen", size="small", variant="outlined", margin=0, sx=ON_STAGE,
            on_click=lambda event: self.stage.fit(), description="Fit view: show all cells (f)",
        )  # fmt: skip
        self.drag = pmui.RadioButtonGroup(
            label="Dragging the mouse", options=[MOVE, BOX, LASSO], value=MOVE, size="small", margin=0,
            variant="outlined", color="primary", sx=ON_STAGE, width=190, stylesheets=READ_OUT,
        )  # fmt: skip

    def _make_controls(self) -> None:
        self.result = pmui.Select(label="Result", size="small", margin=0, visible=not self.alone, **WIDE)
        self.result.param.watch(self._on_choice, "value")
        self.message = ui.Message()
        self.axes = pmui.Select(
            label="Axes", options=AXES, value=(0, 1), size="small", margin=0, visible=False, **WIDE,
            description="The embedding has more than two dimensions: which of its principal components are drawn.",
        )  # fmt: skip
        self.axes.param.watch(self._on_axes, "value")
        switch = dict(margin=0, size="small", sx={"& .MuiTypography-root": {"fontSize": "14px"}})
        self.particles = pmui.Switch(label="Particles", value=True, **switch)
        self.streams = pmui.Switch(label="Streamlines of the velocity v", value=True, **switch)
        self.growth = pmui.Switch(label="Map of the growth rate g", value=False, **switch)
        self.arrows = pmui.Switch(label="Arrows at cells", value=False, **switch)
        self.when = pmui.RadioButtonGroup(
            label="Streamlines and growth of", options=[COURSE, MOMENT], value=COURSE, size="small", margin=0,
            variant="outlined", color="primary", **WIDE,
        )  # fmt: skip
        self.growth_legend = ui.text("", visible=False)
        for widget in (self.streams, self.growth, self.arrows, self.when):
            widget.param.watch(self._on_layers, "value")
        self.particles.param.watch(self._on_particles, "value")
        switches = ui.column(self.particles, self.streams, self.growth, self.arrows, gap=4)
        self.layers_card = ui.card(switches, self.when, self.growth_legend, title="Layers")
        export = pmui.Button(
            label="Export", icon="ios_share", variant="outlined", size="small", margin=0,
            on_click=lambda event: setattr(self.session, "page", "export"), **WIDE,
        )  # fmt: skip
        hint = "This picture as a figure for a paper, an animation, the result as a file, the methods in words"
        card = ui.card(export, title="Take it with you", hint=hint)
        self.exporting = ui.column(*([] if self.alone else [card]))
        self.controls = ui.side_panel(
            # which result can be chosen, also while the one that is chosen has nothing to show yet
            ui.card(self.result, self.axes, self.colours, self.message, title="Cells"),
            self.layers_card,
            self.exporting,
            width=316,
        )

    def _make_place(self) -> None:
        session = self.session
        self.title = ui.text("", align="center")
        mine = [] if self.alone else [open_my_data(session, size="small", css_classes=["open-my-data"])]
        bare = {"boxShadow": "none", "backgroundImage": "none", "overflow": "hidden"}
        self.what = ui.card(ui.row(self.title, *mine, gap=16), sx={**bare, "px": "16px", "py": "10px"})
        self.busy = pmui.LinearProgress(active=True, visible=False, margin=0, **WIDE)
        self.stage_card = ui.card(self.stage, sx={**bare, "p": 0}, **BOTH)
        self.empty = ui.empty_state(
            "Nothing to explore yet",
            "Open a data set and train on it; the embedding and its flow appear here. A run under way shows itself "
            "here after its first picture.",
            open_my_data(session),
            go_to_training(session),
        )
        self.place = ui.main_panel(self.what, self.busy, self.stage_card, self.time_bar, self.empty, scroll=False)

    # the result

    def _on_result(self, *events: Any) -> None:
        session, result = self.session, self.session.result
        for part in (self.what, self.stage_card, self.colours.box, self.layers_card):
            part.visible = result is not None
        self.time_bar.view.visible = self.exporting.visible = self._learned
        self.empty.visible = result is None and not session.loading
        self._undrawn = session.page != "explore"
        if result is None or self._undrawn:
            return
        same = result.of_same_run(self._shown)
        flowed = same and self.stage.layers["particles"]
        self._shown = result
        self.time_bar.show(result, start=not same)
        self.colours.show(same)
        self.selecting.show()
        self.axes.visible = result.z.shape[1] > 2
        if not same:
            self._syncing = True
            self.axes.value = (0, 1)
            self._syncing = False
        self._heed()
        if self.selecting.result is not result:  # the kin are of other cells: see `selecting.show`
            self.stage.kin = None
        self._say_what()
        for switch in (self.particles, self.streams, self.growth, self.arrows):
            switch.disabled = not self._learned
        self.stage.layers = self._layers()
        self.stage.canvas.visible = self.stage.layers["particles"]
        self.when.disabled = not (self.streams.value or self.growth.value)
        self._show_on_stage()
        self._show_growth_legend()
        if not self._learned:
            self.stage.canvas.playing = False
        elif self.particles.value and not flowed:
            self.stage.canvas.playing = True

    def _say_what(self) -> None:
        session, result, run = self.session, self.session.result, self.session.result.run
        said = f"{len(result.index):,} cells at {len(result.times)} time points."
        if folder_name(run) == SAMPLE:
            said = WHAT_ONE_SEES
        elif not result.final:
            ended = "Still learning" if session.status.live else "Stopped before its end"
            said += f" {ended}: this is its latest picture."
            if not self._learned:
                said += " Its velocity and growth have not been learned, so there is no flow to show."
        elif not result.stream.config.networks.growth:
            said += " Growth was not learned: every cell keeps its weight."
        elif run.recipe.get("masses") is None:
            said += " Growth is learned from the numbers of cells in the file."
        if (d := result.z.shape[1]) > 2:
            share = result.along(self.axes.value).plane.share(result.z)
            pair = " and ".join(str(axis + 1) for axis in self.axes.value)
            said += f" Shown: principal components {pair} of {d} dimensions, with {share:.0%} of the spread."
        self.title.object = ui.styled(
            f"<b style='font-weight:600'>{ui.escaped(run.name)}</b> <span style='opacity:.72'>{ui.escaped(said)}</span>"
        )

    def _on_problem(self, *events: Any) -> None:
        session = self.session
        self.busy.visible = session.loading
        self.message.say(session.result_problem, "info")
        self.empty.visible = session.result is None and not session.loading

    def _on_runs(self, *events: Any) -> None:
        session = self.session
        options = offered(session)
        self._syncing = True
        value = session.run_id if session.run_id in options.values() else SAMPLE
        self.result.param.update(options=options, value=value)
        self._syncing = False
        if session.result is not None and session.result is self._shown:
            self._say_what()  # of a run that may have been given another name

    def _on_choice(self, event: Any) -> None:
        # not a coroutine: when that began, nobody would be syncing any more
        if not self._syncing and event.new != self.session.run_id:
            pn.state.execute(partial(self.session.choose, event.new))

    async def _on_page(self, event: Any) -> None:
        if event.new != "explore":
            if event.old == "explore":
                self.time_bar.leave()
                self.session.shown = self._as_shown()
            return
        time, playing = self.session.time, self.session.playing  # drawing a new result begins anew
        self._on_runs()  # of those that were not the selected one nobody told that they have ended
        if self._undrawn:
            self._on_result()
        elif self._faded:
            self._recolour()
        self.time_bar.come(time, playing)
        self.selecting.come()
        await self.session.load_latest()

    def _show_on_stage(self) -> None:
        result = self.session.result
        seen = result.along(self.axes.value) if result.z.shape[1] > 2 else result
        self.stage.show(seen, self.colours.colouring(), self.time_bar.time, self._particle_colours())

    def _on_axes(self, event: Any) -> None:
        if self.session.result is not None and not self._syncing:
            self._say_what()
            self._show_on_stage()

    # what it shows, as choices

    def _as_shown(self) -> Shown:
        key, gene = self.colours.choice.key
        layers = tuple(name for name, switch in self._switches.items() if switch.value)
        when = self.when.value == MOMENT
        return Shown(key, gene, layers, when, self.axes.value, self.stage.seen, self.colours.particles.value)

    def _on_asked(self, event: Any) -> None:
        session = self.session
        if event.new is None or self._undrawn or session.result is None or session.result is not self._shown:
            return
        if session.result.run.folder == session.run.folder:  # else it is of the one before, and the asked for comes
            self._on_result()

    def _heed(self) -> None:
        """Take over what was asked for, as far as this result has it."""
        asked, self.session.asked = self.session.asked, None
        if asked is None:
            return
        self._syncing = True
        self.colours.choose(asked.colour, asked.gene, asked.particles)
        if self.axes.visible and asked.axes in AXES.values():
            self.axes.value = asked.axes
        self.when.value = MOMENT if asked.moment else COURSE
        for name, switch in self._switches.items():
            switch.value = name in asked.layers
        self.stage.next_view = asked.view
        self._syncing = False

    # cells that are selected

    def _on_picked(self, cells: np.ndarray) -> None:
        self.session.selection = cells if len(cells) else None

    def _on_kin(self, found: Ancestry | None) -> None:
        self.stage.follow(found)

    # colours and layers

    def _recolour(self) -> None:
        self._faded = self.session.page != "explore"  # out of sight: when the page is shown again
        if self._faded:
            return
        if self.stage.result is not None and self.session.result is not None and not self._undrawn:
            self.stage.recolour(self.colours.colouring())

    def _repaint(self) -> None:
        self.stage.paint(self._particle_colours())

    def _particle_colours(self) -> np.ndarray:
        return self.colours.particle_colours(theme(self.session.dark).accent)

    @property
    def _learned(self) -> bool:
        """Whether there is a result whose velocity and growth mean anything."""
        result = self.session.result
        return result is not None and result.learned

    def _layers(self) -> dict[str, bool]:
        learned = self._learned
        return dict(
            streams=learned and self.streams.value,
            growth=learned and self.growth.value,
            arrows=learned and self.arrows.value,
            moment=self.when.value == MOMENT,
            particles=learned and self.particles.value,
        )

    @property
    def _switches(self) -> dict[str, pmui.Switch]:
        return {PARTICLES: self.particles, STREAMS: self.streams, GROWTH: self.growth, ARROWS: self.arrows}

    def _on_layers(self, *events: Any) -> None:
        if self._syncing:
            return
        self.stage.layers = self._layers()
        self.when.disabled = not (self.streams.value or self.growth.value)
        self._show_growth_legend()
        self.pacer.stale = True
        if any(event.obj is self.growth for event in events):
            self._recolour()

    def _on_particles(self, event: Any) -> None:
        if self._syncing:
            return
        self.stage.layers = self._layers()
        self.stage.canvas.visible = event.new
        if not event.new:
            self.stage.canvas.playing = False
        self._recolour()

    def _show_growth_legend(self) -> None:
        self.growth_legend.visible = self.growth.value and self.session.result is not None
        if self.growth_legend.visible:
            self.growth_legend.object = self.stage.growth_legend()

    # time

    def _on_moved(self) -> None:
        self.pacer.stale = True
        if self.session.page == "explore":
            self.session.param.update(time=self.time_bar.time, playing=self.stage.canvas.playing)

    async def _on_beat(self, event: Any) -> None:
        if self.session.page == "explore" and self.session.result is not None:
            await self.pacer.beat(self.stage.canvas.playing)

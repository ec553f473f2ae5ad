"""The Compare page: the selected result beside another one, or beside another embedding of the same cells.

Both share the colours, the time, the view (as a share of each one's own) and the picked cells.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream import times
from cellstream.errors import UserError
from cellstream.runs import Run
from cellstream_app import colouring, embeddings, pairing, ui
from cellstream_app.colouring import GENE, TIME, Colouring
from cellstream_app.embeddings import Plain
from cellstream_app.live import MOVING
from cellstream_app.parts.dynamics import Dynamics
from cellstream_app.parts.linked import BOX, LASSO, MOVE, Linked
from cellstream_app.parts.picked import Picked
from cellstream_app.parts.scorecard import Scorecard
from cellstream_app.parts.side import Side, two_colourings
from cellstream_app.parts.timebar import TimeBar
from cellstream_app.results import Result, load_result, sample_run
from cellstream_app.session import SAMPLE, SAMPLE_NAME, Session, find_run, named, with_source
from cellstream_app.sources import Source
from cellstream_app.ui import BOTH, WIDE

COURSE, MOMENT = "whole course", "this moment"
RUN = "run:"
"""How keys of results begin among what can be chosen for the right; other keys are embeddings."""
BREATH = 2.0
"""While time plays, the layers rest so many times as long as it took to draw them."""
OTHER_DATA = "These are results of different data: colours, cells and picks of one say nothing of the other."
OTHER_UNIT = "Their times have different units, so each side plays its own time."


class ComparePage(pn.viewable.Viewer):
    """Controls at the left; two stages, their time, picked cells and metrics at the right."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.linked = Linked(self._on_drawn)
        self.left, self.right = (Side(session, [self.linked.hook(place)]) for place in ("left", "right"))
        self.right.stage.canvas.clock = False
        self.time_bar = TimeBar(self.left.stage.canvas, self._on_moved)
        self.dynamics = Dynamics(session, self._on_fitted)
        self.picked, self.scores = Picked(self._on_clear), Scorecard()
        self.same = True
        """Whether rows of one file say which cell of the left is which of the right."""
        self._there: np.ndarray | None = None
        self._here: np.ndarray | None = None
        self._syncing = self._stale = self._undrawn = self._drawing = False
        self._wished = self._drawn_at = 0.0
        self._make_controls()
        self._make_place()
        session.param.watch(self._on_result, ["result", "dark"])
        session.param.watch(self._on_problem, ["result_problem", "loading"])
        session.param.watch(self._on_runs, ["runs_changed", "run_id"])
        session.param.watch(self._on_selection, "selection")
        session.param.watch(self._on_page, "page")
        session.param.watch(self._on_beat, "beat")
        for event in ("playing", "speed"):
            self.left.stage.canvas.param.watch(self._on_playing, event)
        self._on_runs()
        self._on_problem()
        self._undrawn = True

    def __panel__(self) -> pn.Row:
        return pn.Row(self.controls, self.place, margin=0, **BOTH)

    def key(self, key: str) -> None:
        """A key of the keyboard: space plays, arrows step through time, f shows all cells."""
        if self.session.result is None:
            return
        match key:
            case " ":
                self.time_bar.toggle()
            case "ArrowRight" | "ArrowLeft":
                self.time_bar.stride(1 if key == "ArrowRight" else -1)
            case "f":
                self._fit()

    def _make_controls(self) -> None:
        choice = dict(size="small", margin=0, **WIDE)
        self.one = pmui.Select(label="Left", **choice)
        self.other = pmui.Select(label="Right", **choice)
        self.hint = ui.text("", muted=True)
        self.message = ui.Message()
        self.colour = pmui.Select(label="Colour cells by", value=TIME, options={"Time": TIME}, **choice)
        self.gene = pmui.AutocompleteInput(
            label="Gene", placeholder="type a name", restrict=False, case_sensitive=False, min_characters=1,
            search_strategy="includes", size="small", margin=0, visible=False, **WIDE,
        )  # fmt: skip
        self.legends = ui.text("")
        switch = dict(margin=0, size="small", sx={"& .MuiTypography-root": {"fontSize": "14px"}})
        self.particles = pmui.Switch(label="Particles", value=True, **switch)
        self.streams = pmui.Switch(label="Streamlines of the velocity v", value=True, **switch)
        self.growth = pmui.Switch(label="Map of the growth rate g", value=False, **switch)
        group = dict(size="small", margin=0, variant="outlined", color="primary", **WIDE)
        self.when = pmui.RadioButtonGroup(
            label="Streamlines and growth of", options=[COURSE, MOMENT], value=COURSE, **group
        )
        self.growth_legend = ui.text("", visible=False)
        self.drag = pmui.RadioButtonGroup(
            label="Dragging", options={"moves": MOVE, "picks a box": BOX, "picks freely": LASSO}, value=MOVE, **group
        )
        self.labels = pmui.Select(label="Count and compare labels", options={"none": ""}, value="", **choice)
        self.one.param.watch(self._on_one, "value")
        self.other.param.watch(self._on_other, "value")
        for widget in (self.colour, self.gene):
            widget.param.watch(self._on_colour, "value")
        for widget in (self.particles, self.streams, self.growth, self.when):
            widget.param.watch(self._on_layers, "value")
        self.drag.param.watch(self._on_drag, "value")
        self.labels.param.watch(self._on_labels, "value")
        self.cards = ui.column(
            ui.card(self.colour, self.gene, self.legends, title="Cells"),
            ui.card(
                self.drag, self.labels, title="Pick cells",
                hint="Draw around cells on one side: the same cells are lit on the other.",
            ),
            ui.card(
                ui.column(self.particles, self.streams, self.growth, gap=4), self.when, self.growth_legend,
                title="Layers",
            ),
        )  # fmt: skip
        self.controls = ui.side_panel(
            ui.card(self.one, self.other, self.hint, self.message, title="Compare"), self.cards, width=316
        )

    def _make_place(self) -> None:
        self.busy = pmui.LinearProgress(active=True, margin=0, **WIDE)
        self.doing = ui.text("", muted=True)
        self.waiting = ui.column(self.busy, self.doing, gap=4, visible=False)
        fit = pmui.Button(
            label="Fit view", icon="fit_screen", size="small", variant="outlined", margin=0,
            on_click=lambda event: self._fit(),
        )  # fmt: skip
        self.note = ui.text("")
        head = ui.row(self.note, fit, gap=16)
        stages = pn.Row(
            self.left, self.right, margin=0, styles={"gap": f"{ui.GAP}px", "max-height": "none"}, **WIDE
        )  # fmt: skip
        self.shown = ui.column(
            head, self.waiting, stages, self.time_bar, self.dynamics, self.picked, self.scores, visible=False
        )
        go_to = dict(on_click=self._go_to, margin=0)
        self.empty = ui.empty_state(
            "Nothing to compare yet",
            "Open a data set and train on it. Its result then stands here beside other results, or beside PCA, t-SNE, "
            "UMAP and other embeddings of the same cells.",
            pmui.Button(label="Open my data", icon="folder_open", tags=["data"], **go_to),
            pmui.Button(label="Go to training", icon="model_training", variant="outlined", tags=["train"], **go_to),
        )
        self.place = ui.main_panel(self.shown, self.empty)

    def _go_to(self, event: Any) -> None:
        self.session.page = event.obj.tags[0]

    # what is compared

    def _on_runs(self, *events: Any) -> None:
        session = self.session
        runs = [run for run in session.runs() if run is session.run or (run.folder / "model.safetensors").exists()]
        options = {SAMPLE_NAME: SAMPLE} | named(runs)
        self._syncing = True
        value = session.run_id if session.run_id in options.values() else SAMPLE
        self.one.param.update(options=options, value=value)
        self._offer(options)
        self._syncing = False

    def _offer(self, results: dict[str, str]) -> None:
        """What can stand on the right: embeddings of the left's cells, and other results."""
        session, result = self.session, self.session.result
        others = {name: f"{RUN}{folder}" for name, folder in results.items() if folder != session.run_id}
        made = {name: key for key, name in embeddings.SHOWN_NAMES.items()}
        if result is not None:
            found = embeddings.choices(result, session.result_source)
            made, in_file = ({n: k for n, k in found.items() if k.startswith("obsm:") == w} for w in (False, True))
        else:
            in_file = {}
        groups = {"Well-known embeddings of these cells": made, "In the data set": in_file, "Other results": others}
        groups = {name: of for name, of in groups.items() if of}
        every = [key for of in groups.values() for key in of.values()]
        value = self.other.value if self.other.value in every else embeddings.PCA
        self.other.param.update(groups=groups, value=value)
        self.hint.object = ui.styled(
            "" if others else "There is one result so far. Train again with other settings to compare two.", muted=True
        )

    async def _on_one(self, event: Any) -> None:
        if not self._syncing and event.new != self.session.run_id:
            self.session.run_id = event.new
            await self.session.restore()

    async def _on_other(self, event: Any) -> None:
        if not self._syncing:
            await self._show_right()

    async def _on_fitted(self, run: Run) -> None:
        """TIGON's dynamics are there: they take the place of the embedding without."""
        self._on_runs()
        self.other.value = f"{RUN}{run.folder.name}"

    async def _on_result(self, *events: Any) -> None:
        result = self.session.result
        self._on_problem()
        self._undrawn = self.session.page != "compare"
        if result is None or self._undrawn:
            return
        new = self.left.shown is not result
        self._on_runs()
        self._syncing = True
        options = colouring.choices(result, self.session.result_source)
        self.colour.options = options
        if self.colour.value not in options.values() or (self.colour.value == GENE and new):
            self.colour.value, self.gene.value, self.gene.visible = TIME, "", False
        self.gene.options = colouring.genes(result, self.session.result_source)
        found = labels_of(self.session.result_source)
        kept = self.labels.value if self.labels.value in found else next(iter(found), "")
        self.labels.param.update(options={**{key: key for key in found}, "none": ""}, value=kept)
        self._syncing = False
        if new:
            self.time_bar.show(result, start=False)
            self.time_bar.slider.value = float(np.clip(self.session.time, result.times[0], result.times[-1]))
        await self._show_right()

    async def _show_right(self) -> None:
        """Load or make what stands on the right, and draw both sides. Of several wishes the last one counts."""
        result, source, key = self.session.result, self.session.result_source, self.other.value
        if result is None:
            return
        self._wished += 1
        mine = self._wished
        self.message.clear()
        said = "Loading the result" if key.startswith(RUN) else f"Making {embeddings.name_of(key)}"
        self.doing.object = ui.styled(f"{ui.escaped(said)} …", muted=True)
        self.waiting.visible = True
        shown: Result | Plain | None = None
        theirs: Source | None = source
        try:
            if key.startswith(RUN):
                shown, theirs = await asyncio.to_thread(loaded, key.removeprefix(RUN), self.session.runs())
            else:
                shown = await asyncio.to_thread(embeddings.embedded, result, source, key)
        except UserError as error:
            self.message.say(str(error))
        except (OSError, MemoryError) as error:
            self.message.say(f"It could not be loaded ({error or 'not enough memory'}): choose another one.")
        if mine != self._wished or result is not self.session.result:
            return
        self.waiting.visible = False
        self._match(result, shown)
        self._draw(result, source, shown, theirs)
        plain = shown if isinstance(shown, Plain) else None
        await asyncio.gather(
            self.dynamics.show(plain, result), self.scores.show(self.left, self.right, self.labels.value)
        )

    def _match(self, left: Result, right: Result | Plain | None) -> None:
        """Which cell is which, and what is said where that is not known."""
        said = ""
        self.same = right is None or embeddings.same_cells(left.snapshots, right.snapshots)
        self._there = self._here = None
        if right is not None and self.same:
            self._here, self._there = (pairing.matched(*rows) for rows in _both_ways(left.rows, right.rows))
        elif right is not None:
            said = OTHER_DATA if self._timed(left, right) else f"{OTHER_DATA} {OTHER_UNIT}"
        self.note.object = ui.styled(
            ui.escaped(said) or "Zoom, pan and pick on one side, and the other follows.", muted=not said
        )
        follows = right is None or self._timed(left, right)
        self.right.stage.canvas.follows = self.left.stage.canvas.frame_id if follows else ""

    def _timed(self, left: Result, right: Result | Plain) -> bool:
        """Whether both have the same kind of time."""
        return self.same or left.snapshots.unit == right.snapshots.unit

    def _draw(self, result: Result, source: Source | None, shown: Result | Plain | None, theirs: Source | None) -> None:
        session, t, layers = self.session, self.time_bar.time, self._layers()
        new = self.left.shown is not result
        learned = result.final or session.status.stage in MOVING
        self.left.shown, self.right.shown = result, shown
        self.left.screen.result_source, self.right.screen.result_source = source, theirs
        one, two = self._colours()
        self._take_selection()
        self.left.show(result, source, one, layers, t, learned)
        self.right.view.visible = shown is not None
        if shown is not None:
            self.right.show(shown, theirs, two, layers, t, isinstance(shown, Result))
        self._show_growth_legend()
        self._tell_picked()
        self._on_playing()
        self.time_bar.view.visible = learned
        if not learned:
            self.left.stage.canvas.playing = False
        elif new and self.particles.value:
            self.left.stage.canvas.playing = True

    def _on_problem(self, *events: Any) -> None:
        session = self.session
        self.shown.visible = self.cards.visible = session.result is not None
        self.empty.visible = session.result is None and not session.loading
        self.message.say(session.result_problem, "info")

    async def _on_page(self, event: Any) -> None:
        if event.new != "compare":
            if event.old == "compare":
                self.time_bar.leave()
            return
        self.time_bar.come()
        if self._undrawn or self.left.shown is not self.session.result:
            await self._on_result()
        elif self.session.result is not None:
            self.time_bar.slider.value = self.left.within(self.session.time)
            self._on_selection()

    # colours and layers

    def _colours(self) -> tuple[Colouring, Colouring]:
        key = TIME if self.colour.value == GENE and not self.gene.value else self.colour.value
        one, two, problem = two_colourings(self.left, self.right, key, self.gene.value or "", self._there)
        if problem:
            self.message.say(problem, "error")
        legends = [one.legend]
        if two.legend != one.legend:
            legends = [f"<div style='opacity:.68;margin-top:6px'>{side}</div>{of.legend}" for side, of in
                       (("Left", one), ("Right", two))]  # fmt: skip
        self.legends.object = ui.styled("".join(legends))
        return one, two

    def _on_colour(self, event: Any) -> None:
        self.gene.visible = self.colour.value == GENE
        if not self._syncing and self.left.shown is not None:
            self.message.clear()
            one, two = self._colours()
            self.left.recolour(one, self.left.picked)
            self.right.recolour(two, self.right.picked)

    def _layers(self) -> dict[str, bool]:
        return dict(
            streams=self.streams.value, growth=self.growth.value, particles=self.particles.value,
            moment=self.when.value == MOMENT,
        )  # fmt: skip

    def _on_layers(self, *events: Any) -> None:
        for side in (self.left, self.right):
            side.set_layers(self._layers())
            side.recolour(picked=side.picked)
        if not self.particles.value:
            self.left.stage.canvas.playing = False
        self.when.disabled = not (self.streams.value or self.growth.value)
        self._show_growth_legend()
        self._stale = True

    def _show_growth_legend(self) -> None:
        sides = [side for side in (self.left, self.right) if side.learned and side.stage.result is not None]
        self.growth_legend.visible = self.growth.value and bool(sides)
        if self.growth_legend.visible:
            self.growth_legend.object = "".join(dict.fromkeys(side.stage.growth_legend() for side in sides))

    def _fit(self) -> None:
        self.left.stage.fit()
        self.right.stage.fit()

    # picking

    def _on_drag(self, event: Any) -> None:
        ui.in_turn(partial(self.linked.choose, event.new))

    def _on_drawn(self, place: str, geometry: Mapping[str, Any]) -> None:
        """A box or a lasso was drawn on one side: the other one follows, and the session keeps the left's cells."""
        side = self.left if place == "left" else self.right
        if side.shown is None:
            return
        found = pairing.inside(side.shown.points, geometry)
        picked = found if len(found) else None
        if place == "left":
            self._set_selection(picked)
            self._light(picked, self._on_right(picked))
        elif self.same:
            left = None if picked is None else pairing.carried(picked, self._there)
            self._set_selection(left)
            self._light(left, picked)
        else:
            self._set_selection(None)
            self._light(None, picked)

    def _on_clear(self, event: Any) -> None:
        self._set_selection(None)
        self._light(None, None)

    def _on_selection(self, *events: Any) -> None:
        """Cells were picked elsewhere."""
        if not self._syncing and self.session.page == "compare" and self.left.shown is not None:
            self._light(self.session.selection, self._on_right(self.session.selection))

    def _take_selection(self) -> None:
        self.left.picked = self.session.selection
        self.right.picked = self._on_right(self.session.selection)

    def _set_selection(self, picked: np.ndarray | None) -> None:
        self._syncing = True
        self.session.selection = picked
        self._syncing = False

    def _on_right(self, picked: np.ndarray | None) -> np.ndarray | None:
        """The right's positions of cells of the left."""
        return None if picked is None or self._here is None else pairing.carried(picked, self._here)

    def _light(self, left: np.ndarray | None, right: np.ndarray | None) -> None:
        for side, picked in ((self.left, left), (self.right, right)):
            if side.picked is not None or picked is not None:
                side.recolour(picked=picked)
        self._tell_picked()

    def _tell_picked(self) -> None:
        side = self.right if self.left.picked is None and self.right.picked is not None else self.left
        if side.shown is None:
            return
        remark = ""
        if self.same and self.left.picked is not None and self.right.picked is not None:
            missing = len(self.left.picked) - len(self.right.picked)
            remark = f"{missing:,} of them are not among the cells on the right." if missing > 0 else ""
        elif not self.same:
            remark = f"On the {'right' if side is self.right else 'left'} only, since the data differ."
        labels = None
        if self.labels.value and side.source is not None and self.labels.value in side.source.adata.obs:
            whole = self.session.result if isinstance(side.shown, Plain) else side.shown
            labels = colouring.colouring(whole, side.source, f"obs:{self.labels.value}")
        self.picked.show(side.picked, side.shown.index, side.shown.snapshots.labels, labels, remark)

    async def _on_labels(self, event: Any) -> None:
        if not self._syncing and self.left.shown is not None:
            self._tell_picked()
            await self.scores.show(self.left, self.right, event.new)

    # time

    def _on_playing(self, *events: Any) -> None:
        """The right follows the left frame by frame; where their times differ, it plays its own."""
        here, there = self.left.stage.canvas, self.right.stage.canvas
        there.param.update(playing=here.playing and not there.follows and self.right.learned, speed=here.speed)

    def _on_moved(self) -> None:
        self._stale = True
        if self.session.page == "compare":
            self.session.time = self.time_bar.time

    async def _on_beat(self, event: Any) -> None:
        """Draw what depends on the time, where that has changed; one picture at a time."""
        if self._drawing or not self._stale or self.session.page != "compare" or self.left.shown is None:
            return
        cost = self.left.stage.last_cost + self.right.stage.last_cost
        if self.left.stage.canvas.playing and time.monotonic() - self._drawn_at < BREATH * cost:
            return
        self._stale, self._drawing = False, True
        try:
            await self.left.at(self.time_bar.time)
            own = not self.right.stage.canvas.follows
            await self.right.at(self.right.stage.canvas.time if own else self.time_bar.time)
        finally:
            self._drawing, self._drawn_at = False, time.monotonic()


def loaded(folder: str, known: list[Run]) -> tuple[Result, Source | None]:
    """The result of the run in this folder, with its data set where that is still there. Takes a while.

    Raises :class:`UserError` where it is gone.
    """
    run, problem = (sample_run(), "") if folder == SAMPLE else find_run(folder, known)
    result = load_result(run) if run is not None and not problem else None
    if result is None:
        raise UserError("This result is no longer there: choose another one.")
    result, source, _ = with_source(result)
    return result, source


def labels_of(source: Source | None) -> list[str]:
    """Columns of the data set that sort cells into kinds, best first."""
    return [] if source is None else [str(guess.key) for guess in times.guess_label_keys(source.adata.obs)]


def _both_ways(left: np.ndarray, right: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    return (left, right), (right, left)

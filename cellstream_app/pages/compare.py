"""The Compare page: the selected result beside another one, or beside another embedding of the same cells.

Both share the colours, the time, the view (as a share of each one's own) and the picked cells.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream.errors import UserError
from cellstream.runs import Run
from cellstream_app import embeddings, ui
from cellstream_app.colouring import Colouring, label_keys
from cellstream_app.embeddings import Plain
from cellstream_app.parts.choosing import RUN, Choosing
from cellstream_app.parts.colourby import toggled
from cellstream_app.parts.dynamics import Dynamics
from cellstream_app.parts.opening import go_to_training, open_my_data
from cellstream_app.parts.pacer import Pacer
from cellstream_app.parts.pair import Pair
from cellstream_app.parts.picked import Picked
from cellstream_app.parts.scorecard import Scorecard
from cellstream_app.parts.timebar import TimeBar
from cellstream_app.picking import turn_with
from cellstream_app.results import Result, load_result, sample_run
from cellstream_app.session import SAMPLE, Session, find_run, with_source
from cellstream_app.sources import Source
from cellstream_app.ui import BOTH, WIDE


class ComparePage(pn.viewable.Viewer):
    """Controls at the left; two stages, their time, picked cells and metrics at the right."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.choosing = Choosing(session, self._on_colour, self._on_name)
        self.pair = Pair(session, self._on_other_picked)
        self.canvas = self.pair.left.stage.canvas
        self.time_bar = TimeBar(self.canvas, self._on_moved)
        self.pacer = Pacer(lambda: self.pair.at(self.time_bar.time), lambda: self.pair.last_cost)
        self.dynamics = Dynamics(session, self._on_fitted)
        self.picked = Picked(lambda event: self.pair.clear())
        self.choosing.view.append(self.picked.brief)
        self.scores = Scorecard()
        self._wished = 0
        self._making = False
        self._undrawn = True
        self._make_place()
        self._listen()
        self._on_runs()
        self._on_problem()
        if session.page == "compare":  # made by the click that turned to it, of which it has not heard
            pn.state.execute(self._on_result)

    def __panel__(self) -> pn.Row:
        return pn.Row(self.choosing, self.place, margin=0, **BOTH)

    def key(self, key: str) -> None:
        """A key of the keyboard: space plays, arrows step through time, f shows all cells."""
        if self.session.result is not None and not self.time_bar.key(key) and key == "f":
            self._fit()

    def _make_place(self) -> None:
        # always of one height, so that nothing jumps when something is loaded
        self.busy = pmui.LinearProgress(active=True, margin=0, visible=False, **WIDE)
        self.note = ui.text("")
        fit = pmui.Button(
            label="Fit view", icon="fit_screen", size="small", variant="outlined", margin=0,
            on_click=lambda event: self._fit(),
        )  # fmt: skip
        head = ui.row(ui.column(self.note, ui.column(self.busy, height=4), gap=6), fit, gap=16)
        gap = {"gap": f"{ui.GAP}px", "max-height": "none"}
        stages = pn.Row(self.pair.left, self.pair.right, margin=0, styles=gap, **WIDE)
        self.shown = ui.column(head, stages, self.time_bar, self.dynamics, self.picked, self.scores, visible=False)
        self.empty = ui.empty_state(
            "Nothing to compare yet",
            "Open a data set and train on it. Its result then stands here beside other results, or beside PCA, t-SNE, "
            "UMAP and other embeddings of the same cells. A run under way shows itself here after its first picture.",
            open_my_data(self.session),
            go_to_training(self.session),
        )
        self.place = ui.main_panel(self.shown, self.empty)

    def _listen(self) -> None:
        session, choosing = self.session, self.choosing
        session.param.watch(self._on_result, ["result", "dark"])
        session.param.watch(self._on_problem, ["result_problem", "loading"])
        session.param.watch(self._on_runs, ["runs_changed", "run_id"])
        session.param.watch(self._on_page, "page")
        session.param.watch(lambda event: setattr(self, "_undrawn", True), "painted")  # which is done on Explore
        session.param.watch(self._on_beat, "beat")
        choosing.one.param.watch(self._on_one, "value")
        choosing.other.param.watch(self._on_other, "value")
        for widget in (choosing.particles, choosing.streams, choosing.growth, choosing.when):
            widget.param.watch(self._on_layers, "value")
        choosing.drag.param.watch(lambda event: setattr(self.pair.linked, "drag", event.new), "value")
        turn_with(choosing.drag, self.pair.linked.group)
        choosing.labels.param.watch(self._on_labels, "value")

    def _fit(self) -> None:
        ui.in_turn(self.pair.linked.fit)

    # what is compared

    def _on_runs(self, *events: Any) -> None:
        self.choosing.offer_sides()
        self.pair.say()
        self.scores.say()

    # these are no coroutines: when those began, it would be quiet no more

    def _on_one(self, event: Any) -> None:
        if not self.choosing.quiet and event.new != self.session.run_id:
            pn.state.execute(partial(self.session.choose, event.new))

    def _on_other(self, event: Any) -> None:
        if not self.choosing.quiet:
            self.session.beside = event.new
            pn.state.execute(self._show_right)

    async def _on_fitted(self, run: Run) -> None:
        """TIGON's dynamics are there: they take the place of the embedding without."""
        self.choosing.offer_sides()
        self.choosing.other.value = f"{RUN}{run.folder.name}"

    async def _on_result(self, *events: Any) -> None:
        session, result = self.session, self.session.result
        self._on_problem()
        self._undrawn = session.page != "compare"
        if result is None or self._undrawn:
            return
        new = self.pair.left.shown is not result
        self.choosing.offer_sides()
        self.choosing.offer_colours(result, session.result_source, label_keys(session.result_source), new)
        if new:
            self.time_bar.show(result, start=False)
            self.time_bar.go_to(self.session.time)  # that other pages have shown
        await self._show_right()

    async def _show_right(self) -> None:
        """Load or make what stands on the right, and draw both sides. Of several wishes the last one counts."""
        session, key = self.session, self.choosing.other.value
        result, source = session.result, session.result_source
        if result is None:
            return
        self._wished += 1
        mine = self._wished
        self.choosing.message.clear()
        said = "Loading the result" if key.startswith(RUN) else f"Making {embeddings.name_of(key)}"
        self._wait(said)
        await self.dynamics.show(None, None)
        self._making = True
        try:
            right, right_source, problem = await asyncio.to_thread(found_for, key, result, source, session.runs())
        except BaseException:  # whatever it is, nobody waits for it
            if mine == self._wished:
                self._making = self.busy.visible = False
                self.note.object = ""
                self.choosing.message.say(NOT_MADE, "error")
            raise
        if mine != self._wished or result is not session.result:
            return
        self._making = False
        self.choosing.message.say(problem or session.result_problem, "error" if right is None else "info")
        self._draw(result, source, right, right_source)
        plain = right if isinstance(right, Plain) else None
        await asyncio.gather(self.dynamics.show(plain, result), self._measure())

    def _wait(self, said: str) -> None:
        self.note.object = ui.styled(f"{ui.escaped(said)} …")
        self.busy.visible = True

    def _rest(self) -> None:
        self.note.object = ui.styled(self.pair.said, muted=self.pair.same)
        self.busy.visible = False

    def _draw(
        self, result: Result, source: Source | None, right: Result | Plain | None, right_source: Source | None
    ) -> None:
        session, pair, new = self.session, self.pair, self.pair.left.shown is not result
        pair.match(result, right)
        self._rest()
        pair.put(result, source, right, right_source)
        pair.draw(*self._colours(), self.choosing.layers, self.time_bar.time, result.learned)
        self._show_growth_legend()
        self._on_picked()
        self.time_bar.view.visible = result.learned
        if not result.learned:
            self.canvas.playing = False
        elif new and self.choosing.particles.value:
            self.canvas.playing = session.playing

    def _on_problem(self, *events: Any) -> None:
        session = self.session
        self.shown.visible = self.choosing.cards.visible = session.result is not None
        self.empty.visible = session.result is None and not session.loading
        self.choosing.message.say(session.result_problem, "info")
        if session.loading:
            self._wait("Loading the result")
        elif not self._making and self.pair.left.shown is session.result:
            self._rest()  # it was the same one

    async def _on_page(self, event: Any) -> None:
        if event.new != "compare":
            if event.old == "compare":
                self.time_bar.leave()
            return
        self.time_bar.come(self.session.time, self.session.playing)
        if await self.session.load_latest():
            return  # which `_on_result` has heard of
        if self._undrawn or self.pair.left.shown is not self.session.result:
            await self._on_result()
        elif self.session.result is not None:
            self.pair.follow_selection()

    # colours and layers

    def _colours(self) -> tuple[Colouring, Colouring]:
        one, two, problem = self.pair.colours(*self.choosing.colour.key)
        if problem:
            self.choosing.message.say(problem, "error")
        self.choosing.show_legends(one, two, self.pair.same)
        return one, two

    def _on_colour(self) -> None:
        pair = self.pair
        if pair.left.shown is not None:
            self.choosing.message.clear()
            for side, colours in zip((pair.left, pair.right), self._colours(), strict=True):
                side.recolour(colours, side.picked)

    def _on_layers(self, *events: Any) -> None:
        choosing = self.choosing
        self.pair.set_layers(choosing.layers)
        if not choosing.particles.value:
            self.canvas.playing = False
        choosing.when.disabled = not (choosing.streams.value or choosing.growth.value)
        self._show_growth_legend()
        self.pacer.stale = True

    def _show_growth_legend(self) -> None:
        legend = self.pair.growth_legend() if self.choosing.growth.value else ""
        self.choosing.growth_legend.param.update(object=legend, visible=bool(legend))

    # picked cells and their labels

    def _on_name(self, place: str, cells: np.ndarray, wanted: bool, add: bool) -> None:
        side = self.pair.left if place == "left" else self.pair.right
        if side.shown is not None:
            self.pair.pick(place, toggled(side.picked, cells, wanted, add))

    def _on_other_picked(self) -> None:
        self.choosing.forget_names()
        self._on_picked()

    def _on_picked(self) -> None:
        self.pair.tell(self.picked, self.choosing.labels.value)

    def _on_labels(self, event: Any) -> None:
        if not self.choosing.quiet and self.pair.left.shown is not None:
            self._on_picked()
            pn.state.execute(self._measure)

    async def _measure(self) -> None:
        pair = self.pair
        await self.scores.show(pair.left, pair.right, self.choosing.labels.value, pair.same)

    # time

    def _on_moved(self) -> None:
        self.pacer.stale = True
        if self.session.page == "compare":
            self.session.param.update(time=self.time_bar.time, playing=self.canvas.playing)

    async def _on_beat(self, event: Any) -> None:
        if self.session.page == "compare" and self.pair.left.shown is not None:
            await self.pacer.beat(self.canvas.playing)


NOT_MADE = "It could not be made by a fault of this app, of which its log tells more: choose another one."


def found_for(
    key: str, left: Result, source: Source | None, known: list[Run]
) -> tuple[Result | Plain | None, Source | None, str]:
    """What this choice for the right stands for, its data set, and a sentence where it is not to be had. May take
    minutes."""
    try:
        if not key.startswith(RUN):
            return embeddings.embedded(left, source, key), source, ""
        folder = key.removeprefix(RUN)
        run, gone = (sample_run(), "") if folder == SAMPLE else find_run(folder, known)
        result = load_result(run) if run is not None and not gone else None
        if result is None:
            return None, None, "This result is no longer there: choose another one."
        return with_source(result)
    except UserError as error:
        return None, None, str(error)
    except (OSError, MemoryError) as error:
        return None, None, f"It could not be loaded ({error or 'not enough memory'}): choose another one."

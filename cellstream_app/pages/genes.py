"""The Genes page: genes on the map, their course along the flow, which of them it changes most, and growth beside what
genes tell of division and death."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from cellstream import genes
from cellstream.errors import UserError
from cellstream.genes import Course
from cellstream.time_labels import counted
from cellstream_app import ui
from cellstream_app.decoded import Decoded, decoded
from cellstream_app.parts.courses import Courses
from cellstream_app.parts.drivers import Drivers
from cellstream_app.parts.genemap import GeneMap
from cellstream_app.parts.genepicker import GenePicker
from cellstream_app.parts.opening import open_my_data
from cellstream_app.parts.saving import stem
from cellstream_app.parts.scoring import Scoring
from cellstream_app.session import Session
from cellstream_app.style import theme
from cellstream_app.ui import BOTH, WIDE

STAGES = ("known", "ranking", "cells", "courses", "scores")
"""What is worked out for a result, one after the other: first what is quick."""
FIRST = 4
"""Genes that are shown of a new result: its strongest drivers."""
NO_WAY = (
    "This result was trained on an embedding, from which no way leads back to genes: only what was measured is shown. "
    "For courses along the flow and for drivers, train again with X or a layer as the input."
)
NOT_YET = "Velocity and growth have not been learned yet: only what was measured is shown until there is a flow."
NO_MEMORY = "There is not enough memory to work this out: close other programs, or take fewer cells."
AS_TRAINED = (
    "The file behind this result is not there: shown are the features that it was trained on, and none of its others."
)
GONE = "The file with the measured genes is not there: shown is what the map tells of them, without dots."


class GenesPage(pn.viewable.Viewer):
    """Genes and cells at the left; map, courses, drivers and scores at the right. What is costly runs in a thread."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.genes: Decoded | None = None
        self._todo: set[str] = set()
        self._working = False
        self._folder: Any = None
        self._time, self._dark = 0.0, False
        self.picker = GenePicker(self._on_genes, lambda: self._ask("cells"))
        self.drivers = Drivers(lambda: self._ask("ranking"), self._on_driver)
        self.map, self.courses, self.scoring = GeneMap(session), Courses(), Scoring()
        self._make_controls()
        self._make_place()
        session.param.watch(self._on_result, ["result", "result_source", "dark", "page", "loading"])
        session.param.watch(self._on_page, "page")
        session.param.watch(self._on_runs, ["runs_changed", "page"])
        session.param.watch(self._on_selection, "selection")
        self._on_result()

    def __panel__(self) -> pn.Row:
        return pn.Row(self.controls, self.place, margin=0, **BOTH)

    def _make_controls(self) -> None:
        self.cells = ui.text("")
        self.clear = pmui.Button(
            label="Clear the selection", icon="clear", size="small", variant="outlined", margin=0, visible=False,
            on_click=lambda event: setattr(self.session, "selection", None),
        )  # fmt: skip
        self.controls = ui.side_panel(
            self.picker, ui.card(self.cells, self.clear, title="Cells that are followed"), width=316
        )

    def _make_place(self) -> None:
        self.note = ui.Message("info")
        self.busy = pmui.LinearProgress(active=True, visible=False, margin=0, **WIDE)
        self.both = ui.row(self.map, self.courses, gap=ui.GAP, styles={"align-items": "flex-start"})
        self.empty = ui.empty_state(
            "No genes to show yet",
            "Open a data set and train on it; its genes and how the flow changes them appear here. A run under way "
            "shows itself here after its first picture.",
            open_my_data(self.session),
        )
        self.place = ui.main_panel(
            ui.at_top(self.busy), self.note, self.both, self.drivers, self.scoring, self.empty
        )  # fmt: skip

    # what is shown

    def _on_result(self, *events: Any) -> None:
        session, result = self.session, self.session.result
        there = result is not None
        self.busy.visible = session.loading or self._working
        self.both.visible = self.controls.visible = there
        self.empty.visible = not there and not session.loading
        if not there:
            self.drivers.view.visible = self.scoring.view.visible = False
            return
        if session.page != "genes":
            return
        mine = self.genes
        same = mine is not None and mine.result is result and mine.source is session.result_source
        found = mine if same else decoded(result, session.result_source)
        if found is mine and self._dark == session.dark:
            if session.time != self._time and not session.playing:  # somebody has chosen another one elsewhere
                self._time = session.time
                self.drivers.go_to(session.time)
            return
        self._take(found)

    def _on_runs(self, *events: Any) -> None:
        """The run may have been given another name."""
        if self.genes is not None and self.session.result is self.genes.result:
            self._say_cells()

    async def _on_page(self, event: Any) -> None:
        if event.new == "genes":
            await self.session.load_latest()

    def _take(self, found: Decoded) -> None:
        """Another result, or another theme."""
        session, result, known = self.session, self.session.result, self.genes is found
        same = self._folder == result.run.folder
        self.genes, self._folder, self._time, self._dark = found, result.run.folder, session.time, session.dark
        self.note.say(self._what_lacks())
        self.drivers.view.visible = self._decodes
        self.scoring.view.visible = found.source is not None
        if not known:
            self.drivers.start(result, stem(found.source) if found.source else result.run.folder.name, same)
            kept = [name for name in self.picker.names if same and name in found.names]
            session.genes = kept
            self.picker.show(found, kept)
            self.scoring.wait()
            self.courses.wait()
        self.picker.view.visible = bool(found.names)
        self.map.start(result)
        self._say_cells()
        self._ask(*STAGES)

    def _what_lacks(self) -> str:
        """Why not everything can be shown, in a sentence."""
        if self.genes.stream.genes is None:
            return NO_WAY
        if not self.genes.result.learned:
            return NOT_YET
        if self.genes.source is not None:
            return ""
        return GONE if self.genes.stream.genes.loadings is not None else AS_TRAINED

    @property
    def _decodes(self) -> bool:
        """Whether the flow can be told in genes."""
        return self.genes.result.learned and self.genes.stream.genes is not None

    @property
    def _selection(self) -> np.ndarray | None:
        chosen = self.session.selection
        return None if chosen is None or len(chosen) == 0 else np.asarray(chosen, np.int64)

    def _on_selection(self, *events: Any) -> None:
        if self.genes is not None and self.session.result is self.genes.result:
            self._say_cells()
            self._ask("ranking", "courses")

    def _in_words(self, chosen: np.ndarray | None) -> str:
        """The cells that are followed: these, or all of the first time point."""
        first = self.genes.snapshots.labels[0]
        if chosen is None:
            return f"the cells of the first time point ({first})"
        return f"the {counted(len(chosen), 'selected cell')}"

    def _say_cells(self) -> None:
        chosen, result = self._selection, self.genes.result
        if chosen is None:
            n = int(result.snapshots.counts[0])
            said = (
                f"All {n:,} cells of the first time point ({result.snapshots.labels[0]}): none are selected on Explore."
            )
        else:
            n = len(chosen)
            said = f"{counted(n, 'cell')} selected on Explore."
        if n > genes.CARRIED:
            said += f" {genes.CARRIED:,} of them, drawn at random, are carried along the flow."
        name = ui.escaped(result.run.name)
        self.cells.object = ui.styled(f"<b style='font-weight:600'>{name}</b> {ui.escaped(said)}")
        self.clear.visible = chosen is not None

    def _on_genes(self) -> None:
        self.session.genes = list(self.picker.names)
        self._ask("courses")

    async def _on_driver(self, name: str) -> None:
        await ui.asks(self.picker.message)(partial(self.picker.add, name))()

    # the work, one piece after the other

    def _ask(self, *stages: str) -> None:
        self._todo |= set(stages)
        if not self._working and self.genes is not None:
            self._working = True
            pn.state.execute(self._work)

    async def _work(self) -> None:
        """Everything that is to be done; what is asked for meanwhile, too."""
        self.busy.visible = True
        try:
            while self._todo:
                stage = next(name for name in STAGES if name in self._todo)
                self._todo.discard(stage)
                found, asked = self.genes, getattr(self, f"_find_{stage}")
                try:
                    done = await asyncio.to_thread(asked, found)
                except (UserError, OSError, MemoryError) as error:
                    self.note.say(str(error) or NO_MEMORY, "warning")
                    continue
                if ui.gone():
                    return
                if stage not in self._todo:  # else it was asked for once more meanwhile
                    ui.in_turn(partial(self._show, stage, found, done))
        finally:
            self._working = self.busy.visible = False

    def _show(self, stage: str, found: Decoded, done: Any) -> None:
        """What was found, unless another result has come before its turn."""
        if found is self.genes:
            getattr(self, f"_show_{stage}")(done)

    def _find_ranking(self, found: Decoded) -> tuple[pd.DataFrame, np.ndarray | None, float] | None:
        """The ranking, the cells that it is of, and the time."""
        chosen, t = self._selection, self.drivers.time
        return (found.ranking(t, chosen), chosen, t) if self._decodes else None

    def _show_ranking(self, done: tuple[pd.DataFrame, np.ndarray | None, float] | None) -> None:
        strongest: list[str] = []
        if done is not None:
            full, chosen, t = done
            self.drivers.show(full, self.genes.result, self._in_words(chosen), t)
            strongest = self.drivers.strongest(12)
        self.picker.offer(strongest)
        if not self.picker.names:
            self.picker.show(self.genes, (strongest or self.genes.names)[:FIRST])
            self.picker.offer(strongest)
            self._ask("courses", "cells")

    def _find_known(self, found: Decoded) -> None:
        """How much of each gene the map returns."""
        return found.r2 if self._decodes else None

    def _show_known(self, r2: pd.Series | None) -> None:
        if r2 is not None:
            self.picker.draw()

    def _find_courses(self, found: Decoded) -> tuple[list[Course], np.ndarray | None]:
        """The courses, and the cells that they are of."""
        chosen = self._selection
        return found.courses(list(self.picker.names), chosen, self._decodes), chosen

    def _show_courses(self, done: tuple[list[Course], np.ndarray | None]) -> None:
        courses, chosen = done
        words, look = self._in_words(chosen), theme(self.session.dark)
        self.courses.show(courses, self.genes, words, chosen is not None, self._decodes, look)

    def _find_cells(self, found: Decoded) -> tuple[str, np.ndarray | None]:
        name = self.picker.shown
        return name, found.values(name) if name else None

    def _show_cells(self, shown: tuple[str, np.ndarray | None]) -> None:
        self.map.show(*shown, self.genes.unit)

    def _find_scores(self, found: Decoded) -> list:
        return found.scores if found.source is not None else []

    def _show_scores(self, scores: Sequence[Any]) -> None:
        self.scoring.show(scores, self.genes.result, theme(self.session.dark))

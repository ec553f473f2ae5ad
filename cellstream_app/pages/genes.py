"""The Genes page: genes on the map, their course along the flow, which of them it changes most, and growth beside what
genes tell of division and death."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from cellstream import genes
from cellstream.errors import UserError
from cellstream.time_labels import counted
from cellstream_app import gene_charts, plots, ui
from cellstream_app.decoded import Course, Decoded, decoded
from cellstream_app.live import MOVING
from cellstream_app.parts.drivers import Drivers
from cellstream_app.parts.genepicker import GenePicker
from cellstream_app.parts.saving import stem
from cellstream_app.parts.scoring import Scoring
from cellstream_app.session import Session
from cellstream_app.style import VALUE_PALETTE, colour_bar_html, theme, time_colours
from cellstream_app.ui import BOTH, WIDE

STAGES = ("known", "ranking", "cells", "courses", "scores")
"""What is worked out for a result, one after the other: first what is quick."""
FIRST = 4
"""Genes that are shown of a new result: its strongest drivers."""
SIZE = (420, 330)
"""Pixels of the map, about."""
ROBUST = 99.0
"""Percentile at which the colours of a gene end."""
NO_WAY = (
    "This result was trained on an embedding, from which no way leads back to genes: only what was measured is shown. "
    "For courses along the flow and for drivers, train again with X or a layer as the input."
)
NOT_YET = "Velocity and growth have not been learned yet: only what was measured is shown until there is a flow."
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
        self._time = 0.0
        self.picker = GenePicker(lambda: self._ask("courses"), lambda: self._ask("cells"))
        self.drivers = Drivers(lambda: self._ask("ranking"), self._on_driver)
        self.scoring = Scoring()
        self._make_controls()
        self._make_place()
        session.param.watch(self._on_result, ["result", "result_source", "dark", "page", "loading"])
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
        self.map_title, self.legend = ui.text(""), ui.text("")
        self.map = pn.pane.HoloViews(None, margin=0, linked_axes=False, height=SIZE[1], **WIDE)
        self.what, self.grid = ui.text("", muted=True), ui.column()
        self.both = pn.Row(
            ui.card(self.map_title, self.map, self.legend, styles={"flex": "3 1 0"}),
            ui.card(self.grid, self.what, title="Course along the flow", styles={"flex": "4 1 0"}),
            margin=0, styles={"gap": f"{ui.GAP}px", "align-items": "stretch"}, **WIDE,
        )  # fmt: skip
        self.empty = ui.empty_state(
            "No genes to show yet",
            "Open a data set and train on it; its genes and how the flow changes them appear here.",
            pmui.Button(
                label="Open my data", icon="folder_open", margin=0,
                on_click=lambda event: setattr(self.session, "page", "data"),
            ),
        )  # fmt: skip
        self.place = ui.main_panel(self.note, self.busy, self.both, self.drivers, self.scoring, self.empty)

    # what is shown

    def _on_result(self, *events: Any) -> None:
        session, result = self.session, self.session.result
        there = result is not None
        self.both.visible = self.controls.visible = there
        self.empty.visible = not there and not session.loading
        if not there:
            self.drivers.view.visible = self.scoring.view.visible = False
            return
        if session.page != "genes":
            return
        found = decoded(result, session.result_source)
        if found is self.genes and not any(event.name == "dark" for event in events):
            if session.time != self._time:  # what Explore shows has moved
                self._time = session.time
                self.drivers.go_to(session.time)
            return
        self._take(found)

    def _take(self, found: Decoded) -> None:
        """Another result, or another theme."""
        session, result, known = self.session, self.session.result, self.genes is found
        same = self._folder == result.run.folder
        self.genes, self._folder, self._time = found, result.run.folder, session.time
        self.note.say("" if self._decodes and found.source else NO_WAY if result.stream.genes is None else
                      GONE if self._learned else NOT_YET)  # fmt: skip
        self.drivers.view.visible = self._decodes
        self.scoring.view.visible = found.source is not None
        if not known:
            self.drivers.start(result, session.time, stem(found.source) if found.source else result.run.folder.name)
            kept = [name for name in self.picker.names if same and name in found.names]
            self.picker.show(found, kept)
            self.scoring.wait()
            self.grid[:], self.what.object = [], ui.styled("Carrying the cells along the flow …", muted=True)
        self.picker.view.visible = bool(found.names)
        self._new_map()
        self._say_cells()
        self._ask(*STAGES)

    @property
    def _learned(self) -> bool:
        return self.session.result.final or self.session.status.stage in MOVING

    @property
    def _decodes(self) -> bool:
        """Whether the flow can be told in genes."""
        return self._learned and self.session.result.stream.genes is not None

    @property
    def _selection(self) -> np.ndarray | None:
        chosen = self.session.selection
        return None if chosen is None or len(chosen) == 0 else np.asarray(chosen, np.int64)

    def _on_selection(self, *events: Any) -> None:
        if self.genes is not None and self.session.result is self.genes.result:
            self._say_cells()
            self._ask("ranking", "courses")

    def _in_words(self) -> str:
        """The cells that are followed."""
        chosen, first = self._selection, self.session.result.snapshots.labels[0]
        if chosen is None:
            return f"the cells of the first time point ({first})"
        return f"the {counted(len(chosen), 'selected cell')}"

    def _say_cells(self) -> None:
        chosen, result = self._selection, self.session.result
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
        self.cells.object = ui.styled(ui.escaped(said))
        self.clear.visible = chosen is not None

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
                except UserError as error:
                    self.note.say(str(error), "warning")
                    continue
                if found is self.genes:
                    ui.in_turn(partial(getattr(self, f"_show_{stage}"), done))
        finally:
            self._working = self.busy.visible = False

    def _find_ranking(self, found: Decoded) -> pd.DataFrame | None:
        return found.ranking(self.drivers.time, self._selection) if self._decodes else None

    def _show_ranking(self, full: pd.DataFrame | None) -> None:
        strongest: list[str] = []
        if full is not None:
            self.drivers.show(full, self.genes.result, self._in_words())
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

    def _find_courses(self, found: Decoded) -> list[Course]:
        return found.courses(list(self.picker.names), self._selection, self._decodes)

    def _show_courses(self, courses: Sequence[Course]) -> None:
        result = self.genes.result
        colours = time_colours(len(result.times))
        unit = result.snapshots.unit
        xlabel = f"time [{unit}]" if unit else "time"
        few = len(courses) < 3
        made = [self._course(course, colours, xlabel, 250 if few else 190) for course in courses]
        self.grid[:] = [pn.GridBox(*made, ncols=1 if len(made) == 1 else 2, margin=0, **WIDE)] if made else []
        self.what.object = ui.styled(ui.escaped(self._told(bool(made))), muted=True)

    def _course(self, course: Course, colours: Sequence[str], xlabel: str, height: int) -> pn.Column:
        flow, observed = (
            None if t is None else (t.times, t.mean[:, 0], t.spread[:, 0]) for t in (course.flow, course.observed)
        )
        chart = gene_charts.course(flow, observed, colours, theme(self.session.dark), xlabel, height)
        said = "" if np.isnan(course.r2) else f"the map returns {course.r2:.0%} of its variation"
        if course.flow is None and self._decodes:
            said = "not among the genes that were trained on: no line"
        head = f"<b style='font-weight:600'>{ui.escaped(course.name)}</b> <span style='opacity:.68'>{said}</span>"
        return ui.column(ui.text(head), pn.pane.Bokeh(chart, margin=0, height=height, **WIDE), gap=0)

    def _told(self, any_genes: bool) -> str:
        """What exactly the charts show."""
        if not any_genes:
            return "Add a gene at the left."
        beside = (
            "all cells observed at each time point"
            if self._selection is None
            else "the cells observed at each time point that lie nearest to where the flow has carried them"
        )
        dots = f"Dots: mean and standard deviation of {beside}." if self.genes.source else ""
        line = (
            f"Line: {self._in_words()}, carried along the learned flow, forwards and backwards, decoded from the map; "
            "their mean, each weighted by the mass it has grown to. Band: the standard deviation between them; between "
            "measured cells it is larger, for the map does not keep their noise."
        )
        vertical = f"Vertical: expression, {self.genes.unit}."
        return " ".join(part for part in (line if self._decodes else "", dots, vertical) if part)

    def _find_cells(self, found: Decoded) -> tuple[str, np.ndarray | None]:
        name = self.picker.shown
        return name, found.values(name) if name else None

    def _show_cells(self, shown: tuple[str, np.ndarray | None]) -> None:
        name, values = shown
        result = self.genes.result
        if values is None:
            values, name = np.full(len(result.points), np.nan, np.float32), ""
        colour = plots.Values(values, VALUE_PALETTE, _limits(values))
        self._pipe.send(plots.Cells(result.points, colour))
        self.map_title.object = ui.styled(
            f"<b style='font-weight:600'>{ui.escaped(name)}</b> on the map" if name else "No gene is chosen."
        )
        self.legend.object = colour_bar_html(VALUE_PALETTE, colour.span(), self.genes.unit) if name else ""

    def _new_map(self) -> None:
        """A figure for this result and theme; its colours come later."""
        result = self.genes.result
        nothing = plots.Values(np.full(len(result.points), np.nan, np.float32), limits=(0.0, 1.0))
        self._pipe = hv.streams.Pipe(plots.Cells(result.points, nothing))
        home = plots.view_of(result.points, SIZE)
        self.map.object = plots.embedding_map(self._pipe, home, self.session.pixel_ratio)

    def _find_scores(self, found: Decoded) -> list:
        return found.scores if found.source is not None else []

    def _show_scores(self, scores: Sequence[Any]) -> None:
        self.scoring.show(scores, self.genes.result, theme(self.session.dark))


def _limits(values: np.ndarray) -> tuple[float, float] | None:
    """Ends of a gene's colours, so that one cell does not darken all others."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    top = float(np.percentile(finite, ROBUST)) or float(finite.max())
    return min(float(finite.min()), 0.0), top

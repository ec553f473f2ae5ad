"""The Export page: figures for papers, the result for other tools, and the words and code that go with it."""

from __future__ import annotations

from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui

from cellstream_app import ui
from cellstream_app.figuring import NOT_YET
from cellstream_app.parts.figurebuilder import FigureBuilder
from cellstream_app.parts.filming import Filming
from cellstream_app.parts.handing_on import Bundling, Paging
from cellstream_app.parts.opening import go_to_training, open_my_data
from cellstream_app.parts.saving import Saving
from cellstream_app.parts.wording import Wording
from cellstream_app.session import Session
from cellstream_app.ui import BOTH, READ_OUT

FIGURE, FILM, PAGE, DATA, WORDS = KINDS = ("Figure", "Animation", "Page and bundle", "Data", "Methods and code")


class ExportPage(pn.viewable.Viewer):
    """What is to be exported is chosen at the top; its controls stand at the left, what comes of it in the middle."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self._shown: Any = None
        self._known: tuple = ()
        self._time: float | None = None
        self._cells: Any = None
        self.what = pmui.RadioButtonGroup(
            label="What to export", options=list(KINDS), value=FIGURE, size="small", margin=0,
            variant="outlined", color="primary", stylesheets=READ_OUT, width=660,
        )  # fmt: skip
        self.what.param.watch(self._turn, "value")
        self.title = ui.text("", align="center")
        self.note = ui.Message("info")
        self.figure, self.film, self.words = FigureBuilder(session), Filming(session), Wording(session)
        self.saving = ui.column(Saving(session), max_width=720)
        self.paging, self.bundling = Paging(session), Bundling(session, self.figure.for_bundle)
        self.one_file = ui.column(self.paging, self.bundling, max_width=720)
        self.side = ui.side_panel(self.figure.controls, self.film.controls, width=316)
        self.busy = pmui.LinearProgress(active=True, visible=False, margin=0, **ui.WIDE)
        self.empty = ui.empty_state(
            "Nothing to export yet",
            "Open a data set and train on it; figures, files and words of the result are made here.",
            open_my_data(session),
            go_to_training(session),
        )
        # above controls and pictures alike: it stays where it is, whatever is chosen
        margin = (ui.GAP, ui.GAP, 0, ui.GAP)
        self.head = ui.row(self.what, self.title, gap=16, margin=margin)
        self.place = ui.main_panel(
            ui.at_top(self.busy), self.note, self.figure.place, self.film.place, self.one_file, self.saving,
            self.words.place, self.empty,
        )  # fmt: skip
        for mine, other in ((self.figure, self.film), (self.film, self.figure)):
            mine.colour.changed = partial(self._recolour, mine, other)
        session.param.watch(self._on_result, ["result", "result_source", "loading", "page", "shown", "selection"])
        session.param.watch(self._on_page, "page")
        session.param.watch(lambda event: self._say(), ["runs_changed", "run_id"])
        self._on_result()

    def __panel__(self) -> pn.Column:
        return pn.Column(self.head, pn.Row(self.side, self.place, margin=0, **BOTH), margin=0, **BOTH)

    def _recolour(self, mine: FigureBuilder | Filming, other: FigureBuilder | Filming) -> None:
        """Figures and films are coloured alike."""
        other.colour.choose(*mine.colour.key)
        for part in (mine, other):
            part.drawing.ask()

    async def _on_page(self, event: Any) -> None:
        if event.new == "export":
            await self.session.load_latest()

    def _on_result(self, *events: Any) -> None:
        session, result = self.session, self.session.result
        there = result is not None
        self.empty.visible = not there and not session.loading
        self.busy.visible = session.loading
        self.head.visible = there
        self._turn()
        if session.page != "export" or not there:
            return
        self._say()
        self.note.say("" if result.learned else NOT_YET)
        known = result, session.result_source, session.shown
        if known != self._known:
            same = result.of_same_run(self._shown)
            self._shown, self._known = result, known
            self.figure.show(same)
            self.film.show(same)
            self.paging.show(same)
            self.bundling.show(same)
        elif session.time != self._time or session.selection is not self._cells:
            self.figure.move()
        self._time, self._cells = session.time, session.selection
        self._come()
        if self.what.value == WORDS:
            pn.state.execute(self.words.show)

    def _say(self) -> None:
        if self.session.result is not None:
            name = self.session.result.run.name
            self.title.object = ui.styled(f"<b style='font-weight:600'>{ui.escaped(name)}</b>")

    def _turn(self, *events: Any) -> None:
        there = self.session.result is not None
        chosen = self.what.value if there else ""
        self.side.visible = chosen in (FIGURE, FILM)
        self.figure.place.visible = self.figure.controls.visible = chosen == FIGURE
        self.film.place.visible = self.film.controls.visible = chosen == FILM
        self.one_file.visible, self.saving.visible = chosen == PAGE, chosen == DATA
        self.words.place.visible = chosen == WORDS
        if not events:
            return
        if chosen == WORDS:
            pn.state.execute(self.words.show)
        self._come()

    def _come(self) -> None:
        """What is in sight draws what was asked for while it was not."""
        for kind, part in ((FIGURE, self.figure), (FILM, self.film)):
            if self.what.value == kind and self.session.result is not None:
                part.drawing.come()

"""The frame around the pages: title, navigation, the run under way, the theme, the address; and the polling."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui
from bokeh.themes import Theme
from panel.io.document import hold
from panel.util import edit_readonly

from cellstream.errors import UserError
from cellstream_app import reopening, style, ui
from cellstream_app.browser import Browser
from cellstream_app.bundling import names_bundle
from cellstream_app.components.tour import Tour
from cellstream_app.imports import holds_result
from cellstream_app.leaving import forget_figures, forget_notifications, unlink_busy
from cellstream_app.pages.compare import ComparePage
from cellstream_app.pages.data import DataPage
from cellstream_app.pages.explore import ExplorePage
from cellstream_app.pages.export import ExportPage
from cellstream_app.pages.genes import GenesPage
from cellstream_app.pages.train import TrainPage
from cellstream_app.parts.about import About
from cellstream_app.parts.drop import Drop
from cellstream_app.session import PAGES, SAMPLE, Session

BEAT_MS = 100
POLL_BEATS = 2
"""Beats between two looks at what the selected run has said."""
ELSEWHERE_BEATS = 20
"""Beats between two looks at whether another run is under way."""
AHEAD_BEATS = 9
"""Beats between the first picture and the making of each page that is not shown yet."""
TABS = {
    "data": ("Data", "table_view"),
    "train": ("Train", "model_training"),
    "explore": ("Explore", "bubble_chart"),
    "genes": ("Genes", "biotech"),
    "compare": ("Compare", "compare"),
    "export": ("Export", "ios_share"),
}
MAKERS: dict[str, Callable[[Session], pn.viewable.Viewer]] = {
    "data": DataPage,
    "train": TrainPage,
    "explore": ExplorePage,
    "genes": GenesPage,
    "compare": ComparePage,
    "export": ExportPage,
}
KEYED = ("explore", "compare")
"""Pages on which keys mean something; elsewhere they are the browser's, which scrolls and unfolds by them."""

SEEN = ("explore", "genes", "compare", "export")
"""Pages that show a result, or the latest picture of a run under way."""

STEPS = [
    {
        "title": "Cells in motion",
        "text": "Each dot is a measured cell. The particles follow the flow that was learned between the time points: "
        "what grows swells and glows, what dies fades.",
        "find": ".bk-Figure",
    },
    {
        "title": "One time for all",
        "text": "Drag the slider, or press the space bar to play. The clock in the picture shows where you are between "
        "two measurements.",
        "find": ".MuiSlider-root",
    },
    {
        "title": "Colours",
        "text": "By time, a label, a gene or growth. A click on a name picks its cells; the dot of a label changes its "
        "colour.",
        "find": ".legend",
    },
    {
        "title": "Ask a group of cells",
        "text": "Choose Lasso and draw around cells: where did they come from, and where do they go?",
        "find": "button[aria-label=Lasso]",
    },
    {
        "title": "Your own data",
        "text": "Open .h5ad, zarr, loom, 10x or csv here, or drop a file on the window. The column of time is found by "
        "itself, and every guess is explained.",
        "find": ".open-my-data",
    },
]
"""The hints of a first visit."""

LOOK = {
    # these two words tell pmui to leave the header's children in the colours of the page
    ".MuiAppBar-root": {"bgcolor": "primary.contrastText", "color": "primary.main"},
    ".MuiAppBar-root.header": {
        "backgroundColor": "background.paper",
        "color": "text.primary",
        "boxShadow": "none",
        "backgroundImage": "none",
        "borderBottom": "1px solid",
        "borderColor": "divider",
    },
    ".header .MuiToolbar-root": {"minHeight": "52px", "height": "52px", "margin": 0},
    ".title": {"color": "inherit !important", "fontSize": "19px", "fontWeight": 650, "letterSpacing": "-0.01em"},
    ".header a": {"color": "inherit"},
    ".header > .MuiLinearProgress-root": {"display": "none"},
    "main": {"backgroundColor": "background.default"},
    "main .MuiToolbar-root": {"minHeight": "53px !important", "height": "53px", "margin": 0},
}

# what a theme of the document names, pmui leaves as the plots have it: their axes and legends are dressed by `charts`
PLOTS = Theme(json={"attrs": {name: {} for name in ("Axis", "Legend", "Grid")}})


def themes() -> dict:
    """The style's themes. Where there are two, nothing beside them is read: so what they share goes into both."""
    config = style.theme_config()
    shared = {key: value for key, value in config.items() if key not in ("light", "dark")} | {
        "components": style.BUTTONS
    }
    return {mode: {**shared, **config[mode]} for mode in ("light", "dark")}


class Shell:
    """Makes the page of one browser session."""

    def __init__(self) -> None:
        self.session = Session()
        self._begun = False
        self._from_address()  # before the menu: a click on the tab that it shows as chosen would be none
        self.views: dict[str, pn.viewable.Viewer] = {}
        self.holders: dict[str, pn.Column] = {}
        self.browser = Browser(width=0, height=0, margin=0)
        self.menu = pmui.TabMenu(
            items=[{"label": label, "icon": icon} for label, icon in TABS.values()],
            active=PAGES.index(self.session.page),
            icon_position="start",
            margin=(0, 0, 0, 28),
            width=760,
            sx={
                "minHeight": "52px",
                "& .MuiTab-root": {"minHeight": "52px", "textTransform": "none", "fontSize": "14px", "py": 0},
                "& .MuiTab-root.Mui-selected": {"fontWeight": 600},
            },
        )
        self.drop = Drop(self._received, self._refused, width=0, height=0, margin=0)
        self.tour = Tour(steps=STEPS, width=0, height=0, margin=0)
        self.help = pmui.IconButton(
            icon="help_outline", size="small", margin=0, align="center", description="Show the hints again",
            color="default", on_click=self._again,
        )  # fmt: skip
        self.chip = pmui.Chip(
            label="", icon="autorenew", size="small", visible=False, on_click=self._to_training, align="center",
            variant="outlined",
        )  # fmt: skip
        self.about = About()
        self.waiting = ui.row(ui.text("Loading …", muted=True, margin=ui.GAP))
        unseen = self.browser, self.drop, self.tour, self.about.dialog
        self.place = pn.Column(*unseen, self.waiting, margin=0, sizing_mode="stretch_both")
        head = self.menu, pn.HSpacer(), self.chip, self.help, self.about
        self.page = pmui.Page(
            title="CellStream",
            site_url="cellstream_app",
            header=[
                pn.Row(*head, sizing_mode="stretch_width", align="center", margin=0),
            ],
            main=[self.place],
            theme_config=themes(),
            busy_indicator=None,
            sx=LOOK,
            meta_description="Embeddings and continuous dynamics of time-series single-cell data",
        )
        # Panel links this to every callback, the clock's too: two messages to the browser for each beat
        with edit_readonly(self.page):
            self.page.busy = False
        unlink_busy(self.page)
        if pn.state.curdoc:
            pn.state.curdoc.theme = PLOTS
            self.document = pn.state.curdoc
            self.document.on_session_destroyed(self._leave)
        self.menu.param.watch(lambda event: self._go(event.new), "active")
        self.page.param.watch(lambda event: setattr(self.session, "dark", event.new), "dark_theme")
        self.session.param.watch(self._dress, "dark")
        self._dress()
        self.session.param.watch(self._show, "page")
        self.session.param.watch(self._to_address, ["page", "run_id", "beside"])
        self.session.param.watch(self._remember, ["source", "reading"])
        self.session.param.watch(self._on_status, ["status", "news", "runs_changed", "elsewhere"])
        self.session.param.watch(self._on_tour, "result")
        self.session.param.watch(self._to_title, ["page", "source", "run", "result"])
        self.browser.param.watch(self._begin, "hello")
        self.browser.param.watch(self._on_key, "strokes")

    # the browser is there

    async def _begin(self, event: Any) -> None:
        """The first pictures are drawn once it is known in which theme."""
        if self._begun:
            return
        self._begun = True
        session, browser = self.session, self.browser
        session.pixel_ratio = min(max(browser.pixel_ratio, 1.0), 3.0)
        if browser.prefers_dark:
            self.page.dark_theme = True
        self._show()
        try:
            if not await self._open_given():
                await session.restore()
            pn.state.execute(self._reopen)
        finally:  # not before: while nothing is to be seen yet, the other pages are not made
            pn.state.add_periodic_callback(self._beat, BEAT_MS)

    async def _open_given(self) -> bool:
        """Open the given file; whether a result that it holds is shown, or the run of a bundle."""
        if not self.given:
            return False
        if "data" not in self.views:
            self._build("data")
        opening, page = self.views["data"].opening, self.session.page
        await opening.open(self.given)
        if names_bundle(self.given):
            if "page" in self.asked and self.session.run is not None:
                self.session.page = page
            return self.session.run is not None
        if self.session.source is None or not holds_result(self.session.source):
            return False
        await ui.asks(opening.message)(self.session.show_result_in_file)()
        if "page" in self.asked:
            self.session.page = page
        return self.session.run is not None

    async def _reopen(self) -> None:
        """Open the data set that the tab had open before it was loaded again."""
        found = await asyncio.to_thread(reopening.remembered, self.word)
        if found is None or self.session.source is not None or self.session.opening:
            return
        try:
            await self.session.open(*found)
        except UserError as error:
            if "data" not in self.views:
                self._build("data")
            self.views["data"].opening.message.say(str(error))

    async def _beat(self) -> None:
        session = self.session
        session.beat += 1
        if session.beat % AHEAD_BEATS == 0 and (ahead := [name for name in PAGES if name not in self.views]):
            self._build(ahead[0])
        if session.beat % ELSEWHERE_BEATS == 0:
            pn.state.execute(session.look_elsewhere)
        if session.beat % POLL_BEATS == 0:
            live = session.status.live
            with hold():  # one message to the browser for all that is new
                session.poll()
            if live and not session.status.live:
                self._say_end()
                pn.state.execute(session.load)  # not awaited: until a beat has ended, no click is heard
            elif live and session.page in SEEN and not session.loading and self._first_is_there():
                pn.state.execute(session.load_latest)

    def _first_is_there(self) -> bool:
        """Whether the selected run has its first picture, for which somebody waits."""
        return self.session.result is None and bool(self.session.run.history.previews)

    def _dress(self, *events: Any) -> None:
        look = dataclasses.asdict(style.theme(self.session.dark)) | {"font": style.FONT}
        self.browser.look = self.drop.look = self.tour.look = look

    def _say_end(self) -> None:
        status = self.session.status
        if pn.state.notifications and self.session.page != "train":
            kind = "success" if status.state == "finished" else "info" if status.state == "cancelled" else "error"
            name = self.session.run.name.replace("<", "‹").replace(">", "›")  # shown as HTML
            getattr(pn.state.notifications, kind)(f"{name}: {status.state}.", duration=6000)

    def _on_key(self, event: Any) -> None:
        if self.session.page in KEYED:
            self.views[self.session.page].key(self.browser.key)

    # pages

    def _go(self, active: int | None) -> None:
        if active is not None:
            self.session.page = PAGES[active]

    def _show(self, *events: Any) -> None:
        name = self.session.page
        self.menu.active = PAGES.index(name)
        self.browser.listens = name in KEYED
        if name not in self.views:
            self._build(name)
        for holder in self.holders.values():
            holder.visible = holder.name == name
        self._on_tour()

    def _build(self, name: str) -> None:
        self.views[name] = MAKERS[name](self.session)
        self.waiting.visible = False
        shown = name == self.session.page
        self.holders[name] = ui.column(self.views[name], visible=shown, name=name, **ui.BOTH)
        self.place.append(self.holders[name])

    async def _to_training(self, event: Any) -> None:
        session = self.session
        session.page = "train"
        if session.elsewhere is not None:
            run, _ = session.elsewhere
            await session.choose(run.folder.name)

    def _on_status(self, *events: Any) -> None:
        status, run = self.session.status, self.session.run
        if not status.live and self.session.elsewhere is not None:
            run, status = self.session.elsewhere
        self.chip.visible = run is not None and status.live
        if self.chip.visible:
            share = f" {100 * status.step // status.total} %" if status.total else ""
            name = run.name if len(run.name) <= 30 else f"{run.name[:29]}…"
            self.chip.label = f"{name}: {status.state}{share}"

    def _on_tour(self, *events: Any) -> None:
        self.tour.shown = self.session.page == "explore" and self.session.result is not None

    def _again(self, event: Any) -> None:
        self.session.page = "explore"
        self.tour.again += 1

    # a file that is dropped on the window

    def _received(self, path: str) -> None:
        self.session.page = "data"
        pn.state.execute(partial(self.views["data"].opening.open, path))

    def _leave(self, context: Any) -> None:
        """The browser is gone: of a file that was under way there will be no rest."""
        forget_figures(self.document)
        forget_notifications(self.document)
        self.drop.discard()
        if "data" in self.views:
            self.views["data"].opening.dropper.discard()

    def _refused(self, sentence: str) -> None:
        self.session.page = "data"
        self.views["data"].opening.message.say(sentence)

    # the address, and the window's name

    def _to_title(self, *events: Any) -> None:
        session = self.session
        shown = session.source if session.page == "data" else session.run
        about = "" if shown is None else shown.title if session.page == "data" else shown.name
        self.browser.title = f"{about} – CellStream" if about else "CellStream"

    def _from_address(self) -> None:
        place = pn.state.location
        self.asked = {key: str(value) for key, value in place.query_params.items()} if place else {}
        # the file that `cellstream app FILE` was given; an address cannot name one, it could name any
        self.given = os.environ.get("CELLSTREAM_FILE", "") if self.asked.get("run", SAMPLE) == SAMPLE else ""
        self.word = self.asked.get("data", "")
        if self.word and reopening.remembered(self.word) is not None:
            self.given = ""
        else:
            self.word = reopening.new_word()
        if self.asked.get("page") in PAGES:
            self.session.page = self.asked["page"]
        elif self.given:
            self.session.page = "data"
        if self.asked.get("run"):
            self.session.run_id = self.asked["run"]
        self.session.beside = self.asked.get("beside", "")

    def _to_address(self, *events: Any) -> None:
        if pn.state.location:
            more = {"beside": self.session.beside} if self.session.beside else {}
            if self.session.source is not None:
                more["data"] = self.word
            pn.state.location.update_query(page=self.session.page, run=self.session.run_id, **more)

    def _remember(self, *events: Any) -> None:
        source, reading = self.session.source, self.session.reading
        if source is not None and pn.state.location:
            reopening.remember(self.word, source.key, reading)
            self._to_address()

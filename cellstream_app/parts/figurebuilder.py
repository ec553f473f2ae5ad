"""The figure builder of the Export page: what is shown, on which sheet, and the file."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream.errors import UserError
from cellstream.figures import ARROWS, CELLS, GROWTH, LAYERS, STREAMS
from cellstream.figures.of_result import Wish
from cellstream.time_labels import counted
from cellstream_app import figuring, search, ui
from cellstream_app.colouring import label_keys
from cellstream_app.decoded import Decoded, decoded
from cellstream_app.figuring import KIND_NAMES, Preview
from cellstream_app.parts.choosing import COURSE, MOMENT
from cellstream_app.parts.colourby import ColourBy
from cellstream_app.parts.saving import stem_of
from cellstream_app.parts.sheets import Sheets
from cellstream_app.session import Session
from cellstream_app.ui import WIDE

NO_CELLS = (
    "No cells are selected: on the Explore page draw a lasso around some, or click a name in the legend, and come back."
)
NOT_YET = (
    "Velocity and growth have not been learned yet: until they are, figures show cells alone, and there is no film and "
    "no page."
)
STILL = ("embedding", "times", "losses")
"""Kinds of figures that need no flow."""
NO_GENES = "No gene is chosen yet: add one at the left."
LAYER_NAMES = {"Cells": CELLS, "Streamlines": STREAMS, "Growth map": GROWTH, "Arrows": ARROWS}
assert set(LAYER_NAMES.values()) == set(LAYERS)
SUFFIXES = {"PDF": ".pdf", "SVG": ".svg", "PNG": ".png"}
FIRST = 4
"""Genes that are drawn before any was chosen: the strongest drivers at the start."""


class FigureBuilder:
    """``controls`` for the side of the page, ``place`` for its middle. What is costly runs in a thread."""

    def __init__(self, session: Session):
        self.session = session
        self._quiet = False
        self._wanted = self._drawn = 0
        self._working = self._late = False
        self._names = search.Names([])
        self.message = ui.Message()
        self._make_choices()
        self.sheets = Sheets(self._ask)
        self.controls = ui.column(
            ui.card(
                self.kind, self.colour, self.layers, self.when, self.time, self.zoomed, self.labels, self.gene,
                self.genes, title="What is shown", hint="As Explore was left; changes here stay here",
            ),
            ui.card(self.sheets, title="Sheet"),
        )  # fmt: skip
        self.busy = pmui.LinearProgress(active=True, visible=False, margin=0, **WIDE)
        self.picture = ui.text("")
        self.size = ui.text("", muted=True, align="center")
        self.downloads = {name: self._download(name, suffix) for name, suffix in SUFFIXES.items()}
        self.numbers = ui.Download(
            callback=self._numbers, filename="numbers.csv", label="Numbers behind it", icon="table_rows", size="small",
            variant="outlined", auto=True, embed=False, margin=0,
        )  # fmt: skip
        self.place = ui.column(
            ui.row(*self.downloads.values(), self.numbers, self.size, gap=10),
            self.message,
            ui.column(self.busy, height=4),
            self.picture,
        )
        session.param.watch(lambda event: self._ask(), ["painted"])

    def _make_choices(self) -> None:
        small = dict(size="small", margin=0, **WIDE)
        self.kind = pmui.Select(label="Figure", options=KIND_NAMES, value="embedding", **small)
        self.colour = ColourBy("Colour cells by", self._ask)
        self.layers = pmui.CheckBoxGroup(
            label="Layers", options=list(LAYER_NAMES), value=["Cells", "Streamlines"], inline=True, **small
        )
        self.when = pmui.RadioButtonGroup(
            label="Streamlines and growth of", options=[COURSE, MOMENT], value=COURSE, variant="outlined",
            color="primary", **small,
        )  # fmt: skip
        self.time = pmui.FloatInput(label="Time", value=0.0, step=0.1, visible=False, **small)
        self.zoomed = pmui.Switch(label="Zoomed as on Explore", value=False, visible=False, size="small", margin=0)
        self.labels = pmui.Select(label="Kinds of cells by", options={"none": ""}, value="", **small)
        self.gene = pmui.AutocompleteInput(
            label="Add a gene", placeholder="type a name", restrict=False, case_sensitive=False, min_characters=1,
            search_strategy="includes", **small,
        )  # fmt: skip
        self.genes = pmui.TextInput(label="Genes, with commas between them", placeholder="none", **small)
        for widget in (self.kind, self.layers, self.when, self.time, self.zoomed, self.labels, self.genes):
            widget.param.watch(self._on_choice, "value")
        self.gene.param.watch(self._on_typing, "value_input")
        self.gene.param.watch(self._on_gene, "value")

    def _download(self, name: str, suffix: str) -> ui.Download:
        return ui.Download(
            callback=partial(self._file, suffix), filename=f"figure{suffix}", label=name, icon="download", size="small",
            variant="contained" if name == "PDF" else "outlined", auto=True, embed=False, margin=0,
        )  # fmt: skip

    # what is offered

    def show(self, same: bool) -> None:
        """Offer what the session's result has, and begin with what Explore shows of it."""
        result, data = self.session.result, self.session.result_source
        if result is None:
            return
        self._quiet = True
        self.colour.offer(result, data, same)
        keys = label_keys(data)
        value = self.labels.value if self.labels.value in keys else (keys[0] if keys else "")
        self.labels.param.update(options={"none": "", **{key: key for key in keys}}, value=value)
        self._names = search.Names(list(result.stream.genes.names) if result.stream.genes else [])
        self.gene.param.update(options=self._names.matches(""), value="", value_input="")
        unit = result.snapshots.unit
        self.time.param.update(
            label=f"Time [{unit}]" if unit else "Time", start=float(result.times[0]), end=float(result.times[-1])
        )
        if not same:
            self.genes.value = ""
        self._as_on_explore()
        self._quiet = False
        self._fit_controls()
        self._ask()

    def move(self) -> None:
        """The time, or the selection, is another one; what was chosen here stays."""
        self._quiet = True
        self._take_time()
        self._quiet = False
        self._ask()

    def _take_time(self) -> None:
        self.time.value = float(np.clip(self.session.time, self.time.start, self.time.end))

    def _as_on_explore(self) -> None:
        shown = self.session.shown
        self.colour.choose(shown.colour, shown.gene)
        self.layers.value = [name for name, layer in LAYER_NAMES.items() if layer in shown.on_paper]
        self.when.value = MOMENT if shown.moment else COURSE
        self._take_time()
        self.zoomed.param.update(value=shown.view is not None, visible=shown.view is not None)

    def _fit_controls(self) -> None:
        """Only what the kind of figure heeds is in sight."""
        kind = self.kind.value
        flows = kind == "embedding" and bool({"Streamlines", "Growth map"} & set(self.layers.value))
        self.colour.view.visible = kind in ("embedding", "times")
        self.layers.visible = kind == "embedding"
        self.when.visible = flows
        self.time.visible = flows and self.when.value == MOMENT
        self.zoomed.visible = kind in ("embedding", "times", "lineage") and self.session.shown.view is not None
        self.labels.visible = kind == "lineage"
        self.gene.visible = self.genes.visible = kind == "genes"

    def _on_choice(self, event: Any) -> None:
        if self._quiet:
            return
        self._fit_controls()
        self._ask()

    def _on_typing(self, event: Any) -> None:
        self.gene.options = self._names.matches(event.new or "")

    def _on_gene(self, event: Any) -> None:
        if event.new and not self._quiet:
            have = [name.strip() for name in self.genes.value.split(",") if name.strip()]
            if event.new not in have:
                self.genes.value = ", ".join([*have, event.new])

    # what is asked for

    def wish(self) -> Wish:
        """What is chosen. Raises :class:`UserError` where something is missing."""
        session, kind = self.session, self.kind.value
        shown, cells, learned = session.shown, session.selection, session.result.learned
        if not learned and kind not in STILL:
            raise UserError(NOT_YET)
        view = shown.view if self.zoomed.value else None
        if kind == "embedding":
            layers = tuple(LAYER_NAMES[name] for name in self.layers.value) if learned else (CELLS,)
            time = self.time.value if self.time.visible and learned else None
            colour = figuring.colour_word(*self.colour.key)
            return Wish(kind, colour, layers, time, view=view, axes=shown.axes, cells=cells)
        if kind == "times":
            return Wish(kind, figuring.colour_word(*self.colour.key), view=view, axes=shown.axes)
        if kind == "lineage":
            if cells is None:
                raise UserError(NO_CELLS)
            return Wish(kind, labels=self.labels.value, view=view, axes=shown.axes, cells=cells)
        if kind == "genes":
            names = tuple(dict.fromkeys(name.strip() for name in self.genes.value.split(",") if name.strip()))
            if not names:
                raise UserError(NO_GENES)
            return Wish(kind, genes=names, cells=cells)
        return Wish(kind)

    def _source(self, wish: Wish) -> Any:
        session = self.session
        # a result is shared by all sessions; it is this one that hears what its run says
        history = session.run.history if wish.kind == "losses" and session.run is not None else None
        return figuring.source_of(session.result, session.result_source, history)

    def _stem(self) -> str:
        return f"{stem_of(self.session)}-{self.kind.value}"

    def for_bundle(self) -> Callable[[], tuple[str, bytes]]:
        """What draws the chosen figure as a file: its name and its bytes. Raises :class:`UserError`."""
        wish, sheet = self.wish(), self.sheets.sheet()
        source, name = self._source(wish), f"{self._stem()}.pdf"
        return lambda: (name, figuring.figure_bytes(source, wish, sheet, ".pdf"))

    # the picture

    def _ask(self) -> None:
        """Draw anew, soon; of several wishes in a row the last one counts."""
        out_of_sight = self.session.page != "export" or not self.place.visible
        if self._quiet or self.session.result is None:
            return
        self._late = out_of_sight
        if out_of_sight:
            return
        self._wanted += 1
        if not self._working:
            self._working = True
            pn.state.execute(self._work)

    def come(self) -> None:
        """It comes into sight: draw what was asked for meanwhile."""
        if not self.picture.object or self._late:
            self._ask()

    async def _work(self) -> None:
        self.busy.visible = True
        try:
            while self._drawn != self._wanted:
                mine = self._drawn = self._wanted
                found, said = None, ""
                try:
                    if self.session.result is None:
                        return
                    if self.kind.value == "genes" and not self.genes.value:
                        await self._first_genes()
                    wish, sheet = self.wish(), self.sheets.sheet()
                    found = await asyncio.to_thread(figuring.preview, self._source(wish), wish, sheet)
                except Exception as error:
                    said = ui.reason(error)
                if ui.gone():
                    return
                if mine == self._wanted:
                    ui.in_turn(partial(self._show, found, said))
        finally:
            self._working = self.busy.visible = False

    async def _first_genes(self) -> None:
        """Those that the flow changes most, where the page Genes has not been asked for others."""
        names = list(self.session.genes)
        result = self.session.result
        if not names and result.stream.genes is not None:
            names = await asyncio.to_thread(_drivers, decoded(result, self.session.result_source))
        self._quiet = True
        self.genes.value = ", ".join(names)
        self._quiet = False

    def _show(self, found: Preview | None, said: str) -> None:
        if self.session.result is None:  # it has gone before its turn
            return
        self.message.say(said, "info" if said in (NO_CELLS, NO_GENES, NOT_YET) else "error")
        for download in (*self.downloads.values(), self.numbers):
            download.disabled = found is None
        self.picture.visible = self.size.visible = found is not None
        if found is None:
            return
        for suffix, download in zip(SUFFIXES.values(), self.downloads.values(), strict=True):
            download.filename = f"{self._stem()}{suffix}"
        cells = self.session.selection
        lit = f" · {counted(len(cells), 'selected cell')}" if cells is not None and self._uses_cells else ""
        self.size.object = ui.styled(f"{found.width:.0f} × {found.height:.0f} mm{lit}", muted=True)
        self.picture.object = picture_html(found, self.sheets.transparent.value)

    @property
    def _uses_cells(self) -> bool:
        return self.kind.value in ("embedding", "lineage", "genes")

    # the files

    async def _file(self, suffix: str) -> io.BytesIO | None:
        return await self._made(
            self.downloads[suffix[1:].upper()],
            lambda source, wish, sheet: ("", figuring.figure_bytes(source, wish, sheet, suffix)),
        )

    async def _numbers(self) -> io.BytesIO | None:
        name = self._stem()
        return await self._made(
            self.numbers, lambda source, wish, sheet: figuring.numbers_bytes(source, wish, sheet, name)
        )

    async def _made(self, download: ui.Download, make: Callable) -> io.BytesIO | None:
        """What is to be downloaded; None where there is nothing, and why has been told. ``make`` gives a name, or none
        where it is known, and bytes."""
        self.busy.visible = True
        try:
            wish, sheet = self.wish(), self.sheets.sheet()
            source = self._source(wish)
        except UserError as error:
            self.message.say(str(error), "error")
            return None
        else:
            found = await ui.made_as(self._stem, lambda: make(source, wish, sheet), self.message)
            if found is None:
                return None
            if found[0]:
                download.filename = found[0]
            return io.BytesIO(found[1])
        finally:
            self.busy.visible = self._working


def _drivers(found: Decoded) -> list[str]:
    """The genes that the flow changes most at the start."""
    return [str(name) for name in found.ranking(float(found.result.times[0]), None).index[:FIRST]]


def picture_html(found: Preview, transparent: bool) -> str:
    """The figure on its sheet, as large as the page has room; where there is no ground, one sees so."""
    data = base64.b64encode(found.png).decode()
    ground = "#fff"
    if transparent:
        ground = "repeating-conic-gradient(#e4e6e9 0% 25%, #fff 0% 50%) 0 0 / 18px 18px"
    style = (
        f"display:block;max-width:100%;max-height:calc(100vh - 230px);width:{found.width * 9:.0f}px;object-fit:contain;"
        f"background:{ground};border-radius:4px;box-shadow:0 1px 10px rgba(0,0,0,.18)"
    )
    return f"<img alt='the figure' src='data:image/png;base64,{data}' style='{style}'>"

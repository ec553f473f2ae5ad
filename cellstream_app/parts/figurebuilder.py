"""The figure builder of the Export page: what is shown, on which sheet, and the file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import panel_material_ui as pmui

from cellstream.errors import UserError
from cellstream.figures import ARROWS, CELLS, GROWTH, LAYERS, STREAMS
from cellstream.figures.of_result import Wish
from cellstream.figures.paper import Sheet
from cellstream.time_labels import counted
from cellstream_app import figuring, search, ui
from cellstream_app.colouring import label_keys
from cellstream_app.decoded import Decoded, decoded
from cellstream_app.figuring import KIND_NAMES, NOT_YET, Preview
from cellstream_app.parts.choosing import COURSE, MOMENT
from cellstream_app.parts.colourby import ColourBy
from cellstream_app.parts.redrawing import Redrawing, picture_html
from cellstream_app.parts.saving import stem_of
from cellstream_app.parts.sheets import Sheets
from cellstream_app.parts.typed import names_in
from cellstream_app.results import Result
from cellstream_app.session import Session
from cellstream_app.sources import Source
from cellstream_app.ui import WIDE

T = TypeVar("T")
NO_CELLS = (
    "No cells are selected: on the Explore page draw a lasso around some, or click a name in the legend, and come back."
)
STILL = ("embedding", "times", "losses")
"""Kinds of figures that need no flow."""
NO_TIME = "Type the time that streamlines and growth are to be of, or choose the whole course."
NO_GENES = "No gene is chosen yet: add one at the left."
LAYER_NAMES = {"Cells": CELLS, "Streamlines": STREAMS, "Growth map": GROWTH, "Arrows": ARROWS}
assert set(LAYER_NAMES.values()) == set(LAYERS)
SUFFIXES = {"PDF": ".pdf", "SVG": ".svg", "PNG": ".png"}
CHEQUERED = "repeating-conic-gradient(#e4e6e9 0% 25%, #fff 0% 50%) 0 0 / 18px 18px"
"""Where there is no ground, one sees so."""
FIRST = 4
"""Genes that are drawn before any was chosen: the strongest drivers at the start."""


class FigureBuilder:
    """``controls`` for the side of the page, ``place`` for its middle. What is costly runs in a thread."""

    def __init__(self, session: Session):
        self.session = session
        self.drawing = Redrawing(session, lambda: self.place.visible, self._prepare, self._show)
        self._names = search.Names([])
        self.message = ui.Message()
        self._make_choices()
        self.sheets = Sheets(self.drawing.ask)
        self.controls = ui.column(
            ui.card(
                self.kind, self.colour, self.layers, self.when, self.time, self.zoomed, self.labels, self.gene,
                self.genes, title="What is shown", hint="As Explore was left; changes here stay here",
            ),
            ui.card(self.sheets, title="Sheet"),
        )  # fmt: skip
        self.picture = ui.text("")
        self.size = ui.text("", muted=True, align="center")
        self.downloads = {name: self._download(name, suffix) for name, suffix in SUFFIXES.items()}
        self.numbers = ui.Download(
            callback=self._numbers, filename="numbers.csv", label="Numbers behind it", icon="table_rows"
        )
        self.place = ui.column(
            ui.row(*self.downloads.values(), self.numbers, self.size, gap=10),
            self.message,
            ui.column(self.drawing.busy, height=4),
            self.picture,
        )
        session.param.watch(lambda event: self.drawing.ask(), "painted")

    def _make_choices(self) -> None:
        small = dict(size="small", margin=0, **WIDE)
        self.kind = pmui.Select(label="Figure", options=KIND_NAMES, value="embedding", **small)
        self.colour = ColourBy("Colour cells by", self.drawing.ask)
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
            callback=partial(self._file, suffix),
            filename=f"figure{suffix}",
            label=name,
            variant="contained" if name == "PDF" else "outlined",
        )

    # what is offered

    def show(self, same: bool) -> None:
        """Offer what the session's result has, and begin with what Explore shows of it."""
        result, data = self.session.result, self.session.result_source
        if result is None:
            return
        with self.drawing.quietly():
            self._offer(result, data, same)
        self._fit_controls()
        self.drawing.ask()

    def _offer(self, result: Result, data: Source | None, same: bool) -> None:
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

    def move(self) -> None:
        """The time, or the selection, is another one; what was chosen here stays."""
        with self.drawing.quietly():
            self._take_time()
        self.drawing.ask()

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
        if not self.drawing.quiet:
            self._fit_controls()
            self.drawing.ask()

    def _on_typing(self, event: Any) -> None:
        self.gene.options = self._names.matches(event.new or "")

    def _on_gene(self, event: Any) -> None:
        have = names_in(self.genes)
        if event.new and not self.drawing.quiet and event.new not in have:
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
            if self.time.visible and learned and time is None:
                raise UserError(NO_TIME)
            colour = figuring.colour_word(*self.colour.key)
            return Wish(kind, colour, layers, time, view=view, axes=shown.axes, cells=cells)
        if kind == "times":
            return Wish(kind, figuring.colour_word(*self.colour.key), view=view, axes=shown.axes)
        if kind == "lineage":
            if cells is None:
                raise UserError(NO_CELLS)
            return Wish(kind, labels=self.labels.value, view=view, axes=shown.axes, cells=cells)
        if kind == "genes":
            names = names_in(self.genes)
            if not names:
                raise UserError(NO_GENES)
            return Wish(kind, genes=names, cells=cells)
        return Wish(kind)

    def _asked(self, draw: Callable[[figuring.Source, Wish, Sheet], T]) -> Callable[[], T]:
        """What ``draw`` makes of what is chosen now, to be called in a thread. Raises :class:`UserError`."""
        result, data = self.session.result, self.session.result_source
        wish, sheet = self.wish(), self.sheets.sheet()
        return lambda: draw(figuring.source_of(result, data, losses=wish.kind == "losses"), wish, sheet)

    def _stem(self) -> str:
        return f"{stem_of(self.session)}-{self.kind.value}"

    def for_bundle(self) -> Callable[[], tuple[str, bytes]]:
        """What draws the chosen figure as a file: its name and its bytes. Raises :class:`UserError`."""
        return self._as_file(".pdf")

    def _as_file(self, suffix: str) -> Callable[[], ui.File]:
        name = f"{self._stem()}{suffix}"
        return self._asked(lambda *asked: ui.File(name, figuring.figure_bytes(*asked, suffix)))

    # the picture

    async def _prepare(self) -> Callable[[], Preview]:
        if self.kind.value == "genes" and not self.genes.value:
            await self._first_genes()
        return self._asked(figuring.preview)

    async def _first_genes(self) -> None:
        """Those that the flow changes most, where the page Genes has not been asked for others."""
        names = list(self.session.genes)
        result = self.session.result
        if not names and result.stream.genes is not None:
            names = await asyncio.to_thread(_drivers, decoded(result, self.session.result_source))
        if self.session.result is result and not self.genes.value:  # nobody has typed some meanwhile
            with self.drawing.quietly():
                self.genes.value = ", ".join(names)

    def _show(self, found: Preview | None, said: str) -> None:
        self.message.say(said, "info" if said in (NO_CELLS, NO_GENES, NO_TIME, NOT_YET) else "error")
        for download in (*self.downloads.values(), self.numbers):
            download.disabled = found is None
        self.picture.visible = self.size.visible = found is not None
        if found is None:
            return
        cells = self.session.selection
        lit = f" · {counted(len(cells), 'selected cell')}" if cells is not None and self._uses_cells else ""
        self.size.object = ui.styled(f"{found.width:.0f} × {found.height:.0f} mm{lit}", muted=True)
        ground = CHEQUERED if self.sheets.transparent.value else "#fff"
        self.picture.object = picture_html(found.png, "the figure", (9 * found.width, 9 * found.height), ground)

    @property
    def _uses_cells(self) -> bool:
        return self.kind.value in ("embedding", "lineage", "genes")

    # the files

    async def _file(self, suffix: str) -> ui.File | None:
        return await ui.made(lambda: self._as_file(suffix), self.message)

    async def _numbers(self) -> ui.File | None:
        name = self._stem()
        numbers = partial(figuring.numbers_bytes, stem=name)
        return await ui.made(lambda: self._asked(lambda *asked: ui.File(*numbers(*asked))), self.message)


def _drivers(found: Decoded) -> list[str]:
    """The genes that the flow changes most at the start."""
    return [str(name) for name in found.ranking(float(found.result.times[0]), None).index[:FIRST]]

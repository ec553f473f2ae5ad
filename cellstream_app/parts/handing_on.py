"""What is handed on as one file: a page to explore the result, and a bundle that opens as the same screen."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from cellstream import bundle
from cellstream.errors import UserError
from cellstream.files import size_in_words
from cellstream.web.contents import Options
from cellstream_app import figuring, making, ui
from cellstream_app.bundling import packer
from cellstream_app.figuring import NOT_YET
from cellstream_app.parts.saving import LARGEST_DOWNLOAD, size_of, stem_of, target
from cellstream_app.parts.typed import names_in
from cellstream_app.session import Session
from cellstream_app.ui import WIDE

MOST_GENES = 40
"""Genes that a page takes along; each costs a byte of each cell."""
PAGE_HINT = (
    "One html file that opens by a double click, without a server and without internet: for supplements and e-mail"
)


class Card(pn.viewable.Viewer):
    """A card that makes one file at a click; ``make`` returns its bytes and a sentence, and runs in a thread."""

    def __init__(self, session: Session, title: str, hint: str, label: str, name: str, *fields: Any):
        super().__init__()
        self.session, self.name_of_file = session, name
        self.message = ui.Message()
        self.busy = pmui.LinearProgress(active=True, visible=False, margin=0, **WIDE)
        self.download = ui.Download(callback=self._file, filename=name, label=label, variant="contained")
        self.buttons = ui.row(self.download, self.message)
        self.card = ui.card(*fields, ui.column(self.busy, height=4), self.buttons, title=title, hint=hint)

    def __panel__(self) -> pmui.Paper:
        return self.card

    def show(self, same: bool) -> None:
        """Another result, or the ``same`` run's, looked at otherwise."""
        self.message.clear()

    def prepared(self) -> Callable[[], tuple[bytes, str]]:
        """What makes the file. Raises :class:`UserError` for what cannot be asked for."""
        raise NotImplementedError

    async def _file(self) -> ui.File | None:
        """The file; None where there is none, and why has been told."""
        name = f"{stem_of(self.session)}{self.name_of_file}"
        self.busy.visible = True
        try:
            found = await ui.made(self.prepared, self.message)
        finally:
            self.busy.visible = False
        if found is None:
            return None
        self.message.say(f"{name} is among your browser's downloads. {found[1]}", "success")
        return ui.File(name, found[0])


class Paging(Card):
    """A page to explore the result."""

    def __init__(self, session: Session):
        small = dict(size="small", margin=0, **WIDE)
        self.title = pmui.TextInput(label="Title", placeholder="the name of the run", max_length=120, **small)
        self.genes = pmui.TextInput(
            label="Genes that cells can be coloured by, with commas between them", placeholder="none", **small
        )
        self.names = pmui.Switch(label="With the cells' names", value=False, size="small", margin=0)
        what = ui.text(
            "Cells in colours of the reader's choice, a legend whose names show their cells, the flow in time with "
            "play and slider, streamlines, growth, pan and zoom, a picture to save, and how the result was made. It "
            "asks nothing of the outside."
        )
        super().__init__(
            session, "Interactive page", PAGE_HINT, "Download page", ".html", what, self.title, self.genes, self.names
        )

    def show(self, same: bool) -> None:
        super().show(same)
        if not same:
            self.title.value = self.genes.value = ""
        if not self.genes.value:
            self.genes.value = ", ".join(self.session.genes)

    def prepared(self) -> Callable[[], tuple[bytes, str]]:
        session = self.session
        genes = names_in(self.genes)
        if len(genes) > MOST_GENES:
            raise UserError(f"Expected at most {MOST_GENES} genes on a page, but got {len(genes)}: choose fewer.")
        colour = figuring.colour_shown(session.shown, session.result, session.result_source)
        if not session.result.learned:
            raise UserError(NOT_YET)
        run = session.result.run
        title = self.title.value.strip() or run.name
        options = Options(title, genes, colour, self.names.value, axes=session.shown.axes)
        source = figuring.source_of(session.result, session.result_source)

        def make() -> tuple[bytes, str]:
            made, written = making.page_bytes(source, run, options)
            said = f"A page of {written.cells:,} cells, {size_in_words(written.size)}."
            return made, " ".join([said, *(f"Not among the colours: {words}." for words in written.left_out)])

        return make


class Bundling(Card):
    """A bundle of the run, with the data or without."""

    def __init__(self, session: Session, figure: Callable[[], Callable[[], tuple[str, bytes]]]):
        self.figure = figure
        """Gives what draws the chosen figure, a file's name and its bytes, or raises :class:`UserError`."""
        self.data = pmui.Switch(label="With the data file itself", value=False, size="small", margin=0)
        self.with_figure = pmui.Switch(
            label="With the figure that is chosen under Figure, as PDF", value=True, size="small", margin=0
        )
        what = ui.text(
            "Settings, training history, model, the cells as they were trained on, the Methods section with references "
            "and script, and what the screen shows now. Opened here again, by a path or dropped on the window, it is "
            "the same screen. Without the data file labels and genes are there only where it is found."
        )
        self.path = pmui.TextInput(label="Path of the bundle on this computer", size="small", margin=0, **WIDE)
        super().__init__(
            session, "Bundle", "All of it in one file, for a colleague or for oneself in a year", "Download bundle",
            bundle.SUFFIX, what, self.data, self.with_figure, ui.column(self.path, margin=(4, 0, 0, 0)),
        )  # fmt: skip
        self.save = pmui.Button(label="Save", icon="save", size="small", margin=0, on_click=self._on_save)
        self.download.variant = "outlined"
        self.buttons.insert(0, self.save)

    def show(self, same: bool) -> None:
        super().show(same)
        if not same:
            self.path.value = f"~/{stem_of(self.session)}{bundle.SUFFIX}"

    def prepared(self) -> Callable[[], tuple[bytes, str]]:
        if self.data.value and size_of(self.session.result_source) > LARGEST_DOWNLOAD:
            raise UserError("With its data file the bundle is too much for a download: save it to a path instead.")
        write, without = self._packer()

        def make() -> tuple[bytes, str]:
            with tempfile.TemporaryDirectory(prefix="cellstream-") as place:
                out = write(Path(place) / f"run{bundle.SUFFIX}")
                size = out.stat().st_size
                if size > LARGEST_DOWNLOAD:
                    raise UserError(
                        f"The bundle has {size_in_words(size)}, too much for a download: save it to a path instead."
                    )
                return out.read_bytes(), f"A bundle of {size_in_words(size)}.{without}"

        return make

    def _packer(self) -> tuple[Callable[[Path], Path], str]:
        """What writes it, and a sentence where it will be without the figure."""
        figure, without = None, ""
        try:
            figure = self.figure() if self.with_figure.value else None
        except UserError as error:  # it is not what was asked for
            without = f" Without the figure: {str(error)[:1].lower()}{str(error)[1:]}"
        return packer(self.session, self.data.value, figure), without

    async def _on_save(self, event: Any) -> None:
        async def save() -> None:
            out = target(self.path.value, bundle.SUFFIX)
            write, without = self._packer()
            await asyncio.to_thread(write, out)
            self.message.say(f"Saved to {out}, {size_in_words(out.stat().st_size)}.{without}", "success")

        self.message.alert.severity = "error"
        await ui.asks(self.message, self.save)(save)()

"""What is handed on as one file: a page to explore the result, and a bundle that opens as the same screen."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from cellstream import bundle
from cellstream.errors import UserError
from cellstream.files import size_in_words
from cellstream.runs import Run
from cellstream.web.contents import Options
from cellstream_app import figuring, making, ui
from cellstream_app.bundling import view_state
from cellstream_app.parts.figurebuilder import NOT_YET
from cellstream_app.parts.saving import LARGEST_DOWNLOAD, stem_of
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
        self.download = ui.Download(
            callback=self._file, filename=name, label=label, icon="download", size="small", variant="contained",
            auto=True, embed=False, margin=0,
        )  # fmt: skip
        self.card = ui.card(
            *fields, self.message, ui.column(self.busy, height=4), ui.row(self.download), title=title, hint=hint
        )

    def __panel__(self) -> pmui.Paper:
        return self.card

    def show(self, same: bool) -> None:
        """Another result, or the ``same`` run's, looked at otherwise."""
        self.download.filename = f"{stem_of(self.session)}{self.name_of_file}"
        self.message.clear()

    def prepared(self) -> Callable[[], tuple[bytes, str]]:
        """What makes the file. Raises :class:`UserError` for what cannot be asked for."""
        raise NotImplementedError

    async def _file(self) -> io.BytesIO | None:
        """The file; None where there is none, and why has been told."""
        self.message.clear()
        self.busy.visible = True
        try:
            make = self.prepared()
            found = await ui.made_as(lambda: self.download.filename, make, self.message)
        except UserError as error:
            self.message.say(str(error), "error")
            return None
        finally:
            self.busy.visible = False
        if found is None:
            return None
        self.message.say(found[1], "success")
        return io.BytesIO(found[0])


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
        session, shown = self.session, self.session.shown
        genes = tuple(dict.fromkeys(name.strip() for name in self.genes.value.split(",") if name.strip()))
        if len(genes) > MOST_GENES:
            raise UserError(f"Expected at most {MOST_GENES} genes on a page, but got {len(genes)}: choose fewer.")
        colour = figuring.colour_word(shown.colour, shown.gene)
        if not session.result.learned:
            raise UserError(NOT_YET)
        run = session.result.run
        options = Options(self.title.value.strip() or run.name, genes, colour, self.names.value)
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
        super().__init__(
            session, "Bundle", "All of it in one file, for a colleague or for oneself in a year", "Download bundle",
            ".cellstream.zip", what, self.data, self.with_figure,
        )  # fmt: skip

    def prepared(self) -> Callable[[], tuple[bytes, str]]:
        data, folder = self.data.value, self.session.result.run.folder
        shown = view_state(self.session, "explore")
        figure, without = None, ""
        try:
            figure = self.figure() if self.with_figure.value else None
        except UserError as error:  # it is not what was asked for
            without = f" Without the figure: {str(error)[:1].lower()}{str(error)[1:]}"

        def make() -> tuple[bytes, str]:
            figures = [figure()] if figure else []
            with tempfile.TemporaryDirectory(prefix="cellstream-") as place:
                out = Path(place) / "run.cellstream.zip"
                bundle.pack(Run(folder), out, data=data, shown=shown, figures=figures)
                size = size_in_words(out.stat().st_size)
                if out.stat().st_size > LARGEST_DOWNLOAD:
                    raise UserError(
                        f"The bundle has {size}, too much for a download: leave the data file out, or write it with "
                        f"'cellstream bundle {folder} --with-data --out FILE.cellstream.zip'."
                    )
                return out.read_bytes(), f"A bundle of {size}.{without}"

        return make

"""Opening a data set or a bundle: an example by name, a path on this machine, or an upload."""

from __future__ import annotations

import asyncio
import html
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from cellstream import datasets
from cellstream_app import sources, ui
from cellstream_app.bundling import names_bundle
from cellstream_app.session import Session
from cellstream_app.ui import WIDE

EXAMPLES, PATH, UPLOAD = "Examples", "This computer", "Upload"
SUGGESTED = 6
"""Paths that are suggested while one is typed, at most."""


def open_my_data(session: Session, **look: Any) -> pmui.Button:
    """A button of any page that leads to the user's own file."""

    def press(event: Any) -> None:
        session.own_data += 1
        session.page = "data"

    return pmui.Button(label="Open my data", icon="folder_open", margin=0, on_click=press, **look)


def go_to_training(session: Session) -> pmui.Button:
    """The other way on from a page that has nothing to show yet."""
    return pmui.Button(
        label="Go to training", icon="model_training", variant="outlined", margin=0,
        on_click=lambda event: setattr(session, "page", "train"),
    )  # fmt: skip


class Dropper(pn.widgets.FileDropper):
    """A place to drop files that writes each chunk to disk as it comes; ``received`` hears the path of a whole file."""

    def __init__(self, received: Any, refused: Any, **params: Any):
        super().__init__(**params)
        self._received, self._refused = received, refused
        self._spools: dict[str, sources.Spool] = {}

    def discard(self) -> None:
        """Forget the files that are under way."""
        for spool in self._spools.values():
            spool.discard()
        self._spools.clear()

    def _process_event(self, event: Any) -> None:
        data = event.data
        name = str(data["name"])
        if event.event_name == "delete_event":
            if spool := self._spools.pop(name, None):
                spool.discard()
            return
        try:
            if data["chunk"] == 1:
                self._spools[name] = sources.Spool(name)
            spool = self._spools.get(name)
            if spool is None:
                return
            chunk = data["data"]
            spool.add(chunk.encode() if isinstance(chunk, str) else bytes(chunk))
            if data["chunk"] == data["total_chunks"]:
                self._received(str(self._spools.pop(name).finish()))
        except (sources.UserError, OSError) as error:
            self._spools.pop(name, None)
            self._refused(str(error))


class Opening(pn.viewable.Viewer):
    """The card with the three ways in."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.message = ui.Message()
        self.ways = pmui.RadioButtonGroup(
            label="Where the data is", options=[EXAMPLES, PATH, UPLOAD], value=EXAMPLES, size="small", margin=0,
            variant="outlined", color="primary", **WIDE,
        )  # fmt: skip
        self.examples = ui.column(*map(self._example, datasets.available()), gap=6)
        self.path = pmui.TextInput(
            label="Path of a file or folder", placeholder="~/data/cells.h5ad", size="small", margin=0, **WIDE
        )
        # below the field and the button, which a list that opens over them would hide
        self.suggested = [self._suggestion() for _ in range(SUGGESTED)]
        self.open_path = pmui.Button(label="Open", icon="folder_open", on_click=self._on_path, margin=0)
        self.by_path = ui.column(
            self.path,
            ui.column(*self.suggested, gap=0),
            ui.row(self.open_path, ui.text("h5ad, zarr, loom, 10x, csv or a bundle; or drop one here", muted=True)),
            gap=10,
            visible=False,
        )
        self.dropper = Dropper(
            lambda path: pn.state.execute(partial(self.open, path)), self.message.say, margin=0, height=90, **WIDE
        )
        self.by_upload = ui.column(
            self.dropper, ui.text("Large files open faster by their path.", muted=True), gap=6, visible=False
        )
        self.busy = ui.row(
            pmui.CircularProgress(value=True, size=18, margin=0), ui.text("Reading …", muted=True), visible=False
        )
        self.again = pmui.Button(
            label="Open something else", icon="folder_open", variant="outlined", size="small", margin=0, visible=False,
            on_click=lambda event: self._fold(False), **WIDE,
        )  # fmt: skip
        self.ways.param.watch(self._on_way, "value")
        session.param.watch(lambda event: self._fold(event.new is not None), "source")
        self.path.param.watch(self._on_typing, "value_input")
        self.path.param.watch(self._on_path, "enter_pressed")
        session.param.watch(self._on_busy, "opening")
        session.param.watch(self._on_own_data, "own_data")
        if session.own_data:
            self._on_own_data()

    def __panel__(self) -> pmui.Paper:
        return ui.card(
            self.again,
            self.ways,
            self.examples,
            self.by_path,
            self.by_upload,
            self.busy,
            self.message,
            title="Data set",
        )

    def _fold(self, folded: bool) -> None:
        """Once a data set is open, the ways in make room for what is asked about it."""
        self.again.visible, self.ways.visible = folded, not folded
        for way, part in ((EXAMPLES, self.examples), (PATH, self.by_path), (UPLOAD, self.by_upload)):
            part.visible = not folded and self.ways.value == way

    def _example(self, dataset: datasets.Dataset) -> pmui.Clickable:
        async def open_it(event: Any) -> None:
            await self.open(dataset.name)

        origin = "bundled" if not dataset.urls else "public, fetched once"
        inside = pn.pane.HTML(
            ui.styled(
                f"<b style='font-weight:600'>{html.escape(dataset.title)}</b><div style='opacity:.68;font-size:12px'>"
                f"{dataset.cells:,} cells × {dataset.features:,} features · {origin}</div>"
            ),
            margin=(6, 8),
            **WIDE,
        )
        return pmui.Clickable(
            inside,
            on_click=open_it,
            margin=0,
            sx={"borderRadius": "8px", "border": "1px solid", "borderColor": "divider", "width": "100%"},
            **WIDE,
        )

    async def open(self, key: str) -> None:
        """Open by name or path; what goes wrong is said in the card."""
        into = self.session.open_bundle if await asyncio.to_thread(names_bundle, key) else self.session.open
        await ui.asks(self.message)(lambda: into(key))()

    async def _on_path(self, event: Any) -> None:
        """A path that was typed and entered: what is typed stays, to be corrected where it cannot be opened."""
        path = self.path.value_input or self.path.value or ""
        if path and self.session.opening == "":
            await self.open(path)

    def _on_typing(self, event: Any) -> None:
        typed = event.new or ""
        self._suggest([path for path in sources.completions(typed) if path != typed])

    def _suggest(self, paths: Sequence[str]) -> None:
        for n, button in enumerate(self.suggested):
            path = paths[n] if n < len(paths) else ""
            folder = path.endswith(os.sep)
            button.param.update(
                label=f"{Path(path).name}{os.sep if folder else ''}" if path else "", visible=bool(path),
                icon="folder" if folder else "description", tags=[path],
            )  # fmt: skip

    def _suggestion(self) -> pmui.Button:
        """A path that begins with what is typed: a folder is looked into, a file is opened."""

        async def take(event: Any) -> None:
            path = button.tags[0]
            self.path.param.update(value=path, value_input=path)
            if path.endswith(os.sep):
                self._suggest(sources.completions(path))
            else:
                self._suggest([])
                await self.open(path)

        button = pmui.Button(
            label="", icon="description", variant="text", size="small", margin=0, visible=False, on_click=take,
            sx={"justifyContent": "flex-start", "fontWeight": 400, "overflow": "hidden"}, **WIDE,
        )  # fmt: skip
        return button

    def _on_own_data(self, *events: Any) -> None:
        self.ways.value = PATH
        self._fold(False)

    def _on_way(self, event: Any) -> None:
        self._fold(False)
        self.message.clear()

    def _on_busy(self, event: Any) -> None:
        self.busy.visible = bool(event.new)

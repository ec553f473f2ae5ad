"""Words and code of the Export page: the Methods section, its references, a script and a command that make the run
again."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import panel_material_ui as pmui

from cellstream import account, script, words
from cellstream.account import Account
from cellstream.errors import UserError
from cellstream.runs import Run
from cellstream_app import ui
from cellstream_app.components.copy import copy_button
from cellstream_app.session import Session
from cellstream_app.style import MONO
from cellstream_app.ui import WIDE


@dataclass(frozen=True)
class Piece:
    """One text."""

    title: str
    hint: str
    make: Callable[[Account], str]
    file: str
    code: bool = True


PIECES = (
    Piece("Methods paragraph", "For the Methods section: complete sentences with this run's own numbers and versions",
          words.methods_paragraph, "methods.txt", code=False),
    Piece("References (BibTeX)", "What the paragraph cites", words.bibtex, "references.bib"),
    Piece("Command line", "Makes this run again in a shell", script.command_line, "run.sh"),
    Piece("Python script", "Makes this run again: on the same machine bit for bit", script.python_script, "run.py"),
)  # fmt: skip


class Wording:
    """``place`` is a card for each text; worked out in a thread when it comes into sight."""

    def __init__(self, session: Session):
        self.session = session
        self._shown: object = None
        self._wishes = 0
        self.message = ui.Message("info")
        self.busy = pmui.LinearProgress(active=True, visible=False, margin=0, **WIDE)
        self.texts: dict[str, str] = {}
        self._made = [self._card(piece) for piece in PIECES]
        self.place = ui.column(self.message, ui.column(self.busy, height=4), *(card for card, *_ in self._made))

    def _card(self, piece: Piece) -> tuple:
        shown, said = ui.text(""), ui.Message("info")
        copy, text = copy_button("Copy")
        download = ui.Download(callback=partial(self._file, piece), filename=piece.file, label=piece.file)
        buttons = ui.row(copy, download, text)
        return ui.card(buttons, said, shown, title=piece.title, hint=piece.hint), shown, said, text, buttons

    async def show(self) -> None:
        """The texts of the session's run; of several wishes in a row the last one counts."""
        result = self.session.result
        if result is None or (state := (result, result.run.name)) == self._shown:
            return
        self._shown = state
        self._wishes += 1
        mine, self.busy.visible = self._wishes, True
        found: dict[str, str | UserError] = {}
        said = ""
        try:
            # a run of its own: this one hears what is said, and nobody else may ask it in a thread
            found = await asyncio.to_thread(lambda: texts_of(Run(result.run.folder)))
        except Exception as error:
            said = ui.reason(error)
            if mine == self._wishes:
                self._shown = None  # so that it is tried again when it comes into sight
        finally:
            if mine == self._wishes:
                self.busy.visible = False
        if mine == self._wishes and not ui.gone():
            ui.in_turn(partial(self._show, found, said))

    def _show(self, found: dict[str, str | UserError], problem: str) -> None:
        self.texts = {}
        self.message.say(problem, "error")
        for card, *_ in self._made:
            card.visible = not problem
        if problem:
            return
        for piece, (_, shown, said, text, buttons) in zip(PIECES, self._made, strict=True):
            made = found[piece.title]
            there = isinstance(made, str)
            said.say("" if there else str(made))
            buttons.visible = shown.visible = there
            if there:
                self.texts[piece.title] = text.value = made
                shown.object = as_html(made, piece.code)

    def _file(self, piece: Piece) -> io.BytesIO:
        return io.BytesIO(self.texts.get(piece.title, "").encode())


def texts_of(run: Run) -> dict[str, str | UserError]:
    """Each text by its title, or why there is none. Takes a while."""
    try:
        told = account.of_run(run)
    except UserError as error:
        return {piece.title: error for piece in PIECES}
    found: dict[str, str | UserError] = {}
    for piece in PIECES:
        try:
            found[piece.title] = piece.make(told).rstrip("\n")
        except UserError as error:
            found[piece.title] = error
    return found


def as_html(text: str, code: bool) -> str:
    """A text of any length, that can be selected and scrolled."""
    if not code:
        return ui.styled(f"<div style='max-width:78ch;line-height:1.6'>{ui.escaped(text)}</div>")
    style = (
        f"font:12px/1.5 {MONO};margin:0;padding:10px 12px;border-radius:6px;background:rgba(128,128,128,.12);"
        "max-height:320px;overflow:auto;white-space:pre-wrap;overflow-wrap:anywhere;scrollbar-width:thin"
    )
    return f"<pre tabindex='0' style='{style}'>{ui.escaped(text)}</pre>"

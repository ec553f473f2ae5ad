"""A picture that follows its choices: drawn in a thread, and anew whenever something else is asked for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Generic, TypeVar

import panel as pn
import panel_material_ui as pmui

from cellstream_app import ui
from cellstream_app.session import Session
from cellstream_app.ui import WIDE

T = TypeVar("T")


class Redrawing(Generic[T]):
    """Of several wishes in a row the last one counts; what is out of sight waits until it comes into sight.

    ``prepare`` reads the choices and gives what draws them, to be called in a thread; what either raises is told.
    ``show`` takes what was drawn, or None and the reason.
    """

    def __init__(
        self,
        session: Session,
        in_sight: Callable[[], bool],
        prepare: Callable[[], Awaitable[Callable[[], T]]],
        show: Callable[[T | None, str], None],
    ):
        self.session, self.in_sight, self.prepare, self.show = session, in_sight, prepare, show
        self.busy = pmui.LinearProgress(active=True, visible=False, margin=0, **WIDE)
        self.quiet = False
        """Whether choices change that nobody has made."""
        self._wanted = self._drawn = 0
        self._working, self._late = False, True

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """While choices change that nobody has made, nothing is drawn."""
        before, self.quiet = self.quiet, True
        try:
            yield
        finally:
            self.quiet = before

    @property
    def done(self) -> bool:
        """Whether the picture is the last one that was asked for."""
        return not self._working and self._drawn == self._wanted

    def ask(self) -> None:
        """Draw anew, soon."""
        if self.quiet or self.session.result is None:
            return
        self._late = self.session.page != "export" or not self.in_sight()
        if self._late:
            return
        self._wanted += 1
        if not self._working:
            self._working = True
            pn.state.execute(self._work)

    def come(self) -> None:
        """It comes into sight: draw what was asked for meanwhile."""
        if self._late:
            self.ask()

    async def _work(self) -> None:
        self.busy.visible = True
        try:
            while self._drawn != self._wanted:
                mine = self._drawn = self._wanted
                found, said = None, ""
                try:
                    if self.session.result is None:
                        return
                    draw = await self.prepare()
                    found = await asyncio.to_thread(draw)
                except Exception as error:
                    said = ui.reason(error)
                if ui.gone():
                    return
                if mine == self._wanted:
                    ui.in_turn(partial(self._show, found, said))
        finally:
            self._working = self.busy.visible = False

    def _show(self, found: T | None, said: str) -> None:
        if self.session.result is not None:  # it may have gone before its turn
            self.show(found, said)


def picture_html(png: bytes, alt: str, size: tuple[float, float], ground: str = "none") -> str:
    """A picture as large as the page has room for it, so that its edges are seen: ``size`` are its width and height in
    pixels at most, ``ground`` is what is behind it in CSS."""
    data = base64.b64encode(png).decode()
    wide, high = size
    style = (
        f"display:block;width:min(100%, {wide:.0f}px, calc((100vh - 230px) * {wide / high:.4f}));background:{ground};"
        "border-radius:4px;box-shadow:0 1px 10px rgba(0,0,0,.18)"
    )
    return f"<img alt='{ui.escaped(alt)}' src='data:image/png;base64,{data}' style='{style}'>"

"""Legend: the names of the colours, which pick their cells, and the colours, which can be changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import panel as pn
import param

from cellstream_app.style import FONT


class Swatches(pn.custom.JSComponent):
    """A list of names with colours and counts.

    A click on a name calls ``on_pick(name, add)``, where ``add`` says that what is picked stays so (shift or ctrl was
    held); a new colour for one calls ``on_paint(name, colour)`` with ``#rrggbb``. Neither changes the legend itself.
    """

    items = param.List(default=[], doc="Dicts of `name`, `colour` as #rrggbb, and `count`, a number or None.")
    picked = param.List(default=[], doc="Names whose cells are picked; the others are faint. Empty: none is.")
    editable = param.Boolean(default=False, doc="Whether colours can be changed.")
    font = param.String(default=FONT, constant=True)

    _esm = Path(__file__).with_name("legend.js")

    def __init__(
        self,
        on_pick: Callable[[str, bool], None] | None = None,
        on_paint: Callable[[str, str], None] | None = None,
        **params: Any,
    ):
        super().__init__(**params)
        self.on_pick, self.on_paint = on_pick, on_paint

    def _handle_msg(self, msg: Any) -> None:
        """What the browser says; it may say anything."""
        names = {item["name"] for item in self.items}
        if not isinstance(msg, dict):
            return
        if self.on_pick and msg.get("pick") in names:
            self.on_pick(msg["pick"], bool(msg.get("add")))
        if self.on_paint and self.editable and msg.get("paint") in names:
            self.on_paint(msg["paint"], str(msg.get("colour")))

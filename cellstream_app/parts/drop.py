"""Drop: a file dropped anywhere on the window comes to the server part by part, and lies on disk when it is whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import panel as pn
import param

from cellstream.errors import UserError
from cellstream_app import components
from cellstream_app.sources import Spool


class Drop(pn.custom.JSComponent):
    """Invisible but while a file hovers over the window or is under way.

    ``received(path)`` hears of a whole file, ``refused(sentence)`` of one that could not be taken.
    """

    look = param.Dict(default={}, doc="Colours of the theme, and the font.")

    _esm = Path(components.__file__).with_name("drop.js")

    def __init__(self, received: Callable[[str], None], refused: Callable[[str], None], **params: Any):
        super().__init__(**params)
        self.received, self.refused = received, refused
        self._spool: Spool | None = None
        self._whole = 0

    def _handle_msg(self, msg: Any) -> None:
        """A part of a file, in order; what else the browser may say is refused."""
        try:
            self._take(msg)
        except (UserError, OSError) as error:
            self.discard()
            self._send_msg({"done": True})
            self.refused(str(error))

    def _take(self, msg: Any) -> None:
        try:
            start, whole, data, name = int(msg["from"]), int(msg["size"]), msg["data"], str(msg["name"])
            part = np.asarray(data, np.uint8).tobytes()
        except (TypeError, ValueError, KeyError):
            raise UserError("The file did not come as it should: open it by its path on the Data page.") from None
        if start == 0:
            self.discard()
            self._spool, self._whole = Spool(name), whole
        spool = self._spool
        if spool is None or start != spool.size or whole != self._whole or not (part or whole == 0):
            raise UserError("The file came in parts that do not fit together: drop it once more.")
        spool.add(part)
        if spool.size < whole:
            self._send_msg({"next": spool.size})
            return
        self._spool = None
        self._send_msg({"done": True})
        self.received(str(spool.finish()))

    def discard(self) -> None:
        """Forget a file that is under way."""
        if self._spool is not None:
            self._spool.discard()
            self._spool = None

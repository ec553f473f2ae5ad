"""How what has changed on the server travels to the browser, where the libraries leave something to be wished for."""

from __future__ import annotations

from bokeh.document import Document
from bokeh.server.views.ws import WSHandler
from panel.io import document as wire


def compress_websockets() -> None:
    """Let pictures travel deflated, to a tenth of their bytes: a shaded view is some megabytes of mostly empty pixels.

    Bokeh's server can do so, but ``panel serve`` has no way to ask it to. The lowest level takes some 20 ms for such a
    view, higher ones several times as long for little less.
    """
    WSHandler.get_compression_options = lambda handler: {"compression_level": 1}


def send_what_waits() -> None:
    """Let no message lie until the next one comes.

    Panel (1.9.4, ``_dispatch_msgs``) lifts a page's block when one message is written, and what was queued for a task
    of its own in just that moment finds no block and leaves. So a sentence could appear late, or with the next click.
    """
    dispatch = wire._dispatch_msgs
    if getattr(dispatch, "sends_what_waits", False):
        return

    async def dispatch_all(document: Document) -> None:
        await dispatch(document)
        while wire._WRITE_MSGS.get(document) and document not in wire._WRITE_BLOCK:
            wire._WRITE_BLOCK[document] = True
            await dispatch(document)

    dispatch_all.sends_what_waits = True
    wire._dispatch_msgs = dispatch_all

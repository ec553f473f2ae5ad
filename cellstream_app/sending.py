"""How what has changed on the server travels to the browser, where the libraries leave something to be wished for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable
from weakref import WeakKeyDictionary

from bokeh.document import Document
from bokeh.document.events import DocumentPatchedEvent
from bokeh.protocol.message import Message
from bokeh.server.connection import ServerConnection
from bokeh.server.views.ws import WSHandler
from panel.io import document as wire


def compress_websockets() -> None:
    """Let pictures travel deflated, to a tenth of their bytes: a shaded view is some megabytes of mostly empty pixels.

    Bokeh's server can do so, but ``panel serve`` has no way to ask it to. The lowest level takes some 20 ms for such a
    view, higher ones several times as long for little less.
    """
    WSHandler.get_compression_options = lambda handler: {"compression_level": 1}


def send_in_order() -> None:
    """Let messages travel in the order in which they were made, and each as soon as it can.

    Panel (1.9.4) keeps its messages while another one is being written, and asks every 10 ms whether they can go; Bokeh
    sends its own meanwhile. So the new data of a figure could come before the figure, as an error on the page. And what
    was queued in the moment in which another message was written lay until the next one came.
    """
    wire.schedule_write_events = _schedule
    ServerConnection.send_patch_document = _send


_waiting: WeakKeyDictionary[Document, deque[tuple[ServerConnection, Message]]] = WeakKeyDictionary()
"""What has been made and not yet begun to be written."""


def _schedule(document: Document, connections: Iterable[ServerConnection], events: list[DocumentPatchedEvent]) -> None:
    """In place of Panel's: messages of changes without Bokeh's lock, where not all before them has been written."""
    _queue(document, connections, events)
    wire._dispatch_write_task(document, _write_waiting, document)


def _send(connection: ServerConnection, event: DocumentPatchedEvent) -> Awaitable[None]:
    """In place of Bokeh's: a message of a change under its lock. Bokeh waits for it when what has changed the document
    has ended, but not if that has failed: so it is on its way already."""
    document = connection.session.document
    _queue(document, [connection], [event])
    return asyncio.ensure_future(_write_waiting(document))


def _queue(document: Document, connections: Iterable[ServerConnection], events: list[DocumentPatchedEvent]) -> None:
    waiting, message = _waiting.setdefault(document, deque()), None
    for connection in connections:
        # one for all: what is in a message counts as known from then on, and the next one would only name it
        message = message or connection.protocol.create("PATCH-DOC", events)
        waiting.append((connection, message))
    if waiting:
        wire._WRITE_BLOCK[document] = True  # where Panel would write at once, it queues as well


async def _write_waiting(document: Document) -> None:
    """Write what waits; several may do so at once, as a socket takes messages in the order in which it is asked."""
    waiting = _waiting.get(document, ())
    while waiting:
        connection, message = waiting.popleft()
        if not waiting:
            wire._WRITE_BLOCK.pop(document, None)
        await connection._socket.send_message(message)

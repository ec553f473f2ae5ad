"""Messages to a browser: none of them waits for the next."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from bokeh.document import Document
from panel.io import document as wire

from cellstream_app.sending import send_what_waits


class Socket:
    """Where messages are written; what was begun is done when somebody says so."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.done: list[asyncio.Future] = []

    def write(self, connection: SimpleNamespace, events: list | None = None, msg: str = "") -> list[asyncio.Future]:
        self.written.append(msg)
        self.done.append(asyncio.get_running_loop().create_future())
        return self.done[-1:]


class Connection(SimpleNamespace):
    """Of a browser; Panel keeps its messages by it."""

    __hash__ = object.__hash__


@pytest.mark.parametrize("mended", [False, True])
def test_what_is_queued_in_the_moment_in_which_a_message_is_written_is_sent(
    mended: bool, monkeypatch: pytest.MonkeyPatch
):
    """Panel alone forgets it; once that fails, the repair can go."""
    monkeypatch.setattr(wire, "_dispatch_msgs", wire._dispatch_msgs)
    if mended:
        send_what_waits()
        send_what_waits()  # a second time changes nothing
    socket, document = Socket(), Document()
    monkeypatch.setitem(wire.extra_socket_handlers, Socket, socket.write)
    connection = Connection(_socket=socket, protocol=SimpleNamespace(create=lambda kind, events: events))

    async def story() -> None:
        wire.schedule_write_events(document, [connection], "first")
        await asyncio.sleep(0)
        socket.done[0].set_result(None)
        wire.schedule_write_events(document, [connection], "second")
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(story())
    assert socket.written == (["first", "second"] if mended else ["first"])

"""What the server does beside the sessions: it warms up when it starts, and guards its door.

Bokeh's own check of who may open a websocket is skipped where a request's Origin equals its Host, which a page of a
foreign name that points at this machine can arrange. So Host and Origin are compared here with the names that are
allowed, for the page and for the websocket alike. And from other machines nobody comes in without a login.
"""

from __future__ import annotations

import contextvars
import gc
import ipaddress
import logging
import sys
import threading
from typing import Any
from urllib.parse import urlsplit

import panel as pn
from tornado.web import HTTPError

from cellstream.errors import UserError

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
WARM_UP_AFTER = 20.0
"""Seconds after the start at which shading is compiled, for some seconds: later than the first visitor, who usually
comes at once, and before anybody has opened and trained a large file."""
HOW_TO_SHARE = (
    "This CellStream answers to its own machine only. To share it, start it with a login: "
    "panel serve cellstream_app --address 0.0.0.0 --allow-websocket-origin=HOST:PORT --basic-auth PASSWORD "
    "--cookie-secret SECRET"
)


def settle() -> None:
    """Let Python's garbage collector pass over what is loaded by now, which stays to the end.

    It walks through all objects every so often, and holds every page meanwhile: 0.1 to 0.5 s with the modules of torch,
    scanpy and Bokeh among them. Before there is a session, or what that leaves would never be cleared away.
    """
    gc.collect()
    gc.freeze()


def on_server_loaded(server_context: Any) -> None:
    """Import and load what takes seconds before the first visitor asks for it.

    Not in a thread: a visitor who came meanwhile would find modules that are half imported.
    """
    import scanpy  # noqa: F401

    from cellstream_app.logs import keep_log
    from cellstream_app.plots import warm_up
    from cellstream_app.results import load_result, sample_run
    from cellstream_app.sending import compress_websockets, send_in_order
    from cellstream_app.session import with_source
    from cellstream_app.sources import sweep

    keep_log()
    compress_websockets()
    send_in_order()
    sweep()
    run = sample_run()
    try:
        result = load_result(run) if run else None
        if result is not None:
            with_source(result)
    except UserError as error:
        logging.getLogger(__name__).warning("The sample could not be loaded: %s", error)
    settle()
    later = threading.Timer(WARM_UP_AFTER, warm_up)
    later.daemon = True
    later.start()


def on_session_created(session_context: Any) -> None:
    """Start Panel's own clock, which would keep the first visitor's page for ever, where no page is."""
    contextvars.Context().run(pn.state._schedule_busy_cleanup)


def process_request(request: Any) -> dict:
    """Called for every page and every websocket, before there is a session. Refuses by an HTTP error."""
    refusal = refused(
        request.headers.get("Host", ""),
        request.headers.get("Origin"),
        request.remote_ip,
        allowed_origins(sys.argv),
        has_login(),
    )
    if refusal:
        raise HTTPError(403, log_message=refusal.replace("%", "%%"), reason=refusal)
    return {}


def refused(host: str, origin: str | None, address: str, allowed: frozenset[str], login: bool) -> str:
    """Why a request is refused, in a sentence; empty where it is welcome.

    ``allowed`` are names with or without a port, or ``"*"``; this machine's own names are always allowed.
    """
    for place in (host, urlsplit(origin).netloc if origin else host):
        if not _named(place, allowed):
            name = place[:80]
            return f"Host or Origin {name!r} is not allowed: start the app with --allow-websocket-origin={name}"
    if not login and not _own_machine(address):
        return HOW_TO_SHARE
    return ""


def _named(place: str, allowed: frozenset[str]) -> bool:
    try:
        name = urlsplit(f"//{place}").hostname or ""
    except ValueError:
        return False
    return name in LOCAL or bool({"*", place.lower(), name} & allowed)


def _own_machine(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address == ""  # a unix socket
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def allowed_origins(arguments: list[str]) -> frozenset[str]:
    """The names given on the command line and in ``BOKEH_ALLOW_WS_ORIGIN``, in lower case."""
    from bokeh.settings import settings

    names = list(settings.allowed_ws_origin() or [])
    for i, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag == "--allow-websocket-origin":
            names.append(value if equals else "".join(arguments[i + 1 : i + 2]))
    return frozenset(name.lower() for name in names)


def has_login() -> bool:
    """Whether visitors have to log in."""
    from panel.config import config

    return bool(config.basic_auth or config.oauth_provider)

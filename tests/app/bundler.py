"""The newest visitor's screen into a bundle, asked for by an address beside the app's: as a page of the app does it
(``--plugins tests.app.bundler``). The place of the bundle stands in ``BUNDLE_OUT``."""

from __future__ import annotations

import asyncio
import gc
import os

from tornado.web import RequestHandler

from cellstream_app.bundling import pack_session
from cellstream_app.session import Session


class Bundler(RequestHandler):
    """Answers with the path."""

    async def get(self) -> None:
        session = max((thing for thing in gc.get_objects() if type(thing) is Session), key=lambda s: s.beat)
        out, figures = os.environ["BUNDLE_OUT"], [("a.svg", b"<svg/>")]
        made = await asyncio.to_thread(pack_session, session, out, True, figures, page="explore")
        self.write(str(made))


ROUTES = [(r"/bundle", Bundler, {})]

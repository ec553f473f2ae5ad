"""The newest visitor's screen into a bundle, asked for by an address beside the app's: as a page of the app does it
(``--plugins tests.app.bundler``). The place of the bundle stands in ``BUNDLE_OUT``."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

from tornado.web import RequestHandler

from cellstream_app.bundling import packer
from cellstream_app.session import Session


class Bundler(RequestHandler):
    """Answers with the path."""

    async def get(self) -> None:
        session = max((thing for thing in gc.get_objects() if type(thing) is Session), key=lambda s: s.beat)
        pack = packer(session, True, lambda: ("a.svg", b"<svg/>"))
        self.write(str(await asyncio.to_thread(pack, Path(os.environ["BUNDLE_OUT"]))))


ROUTES = [(r"/bundle", Bundler, {})]

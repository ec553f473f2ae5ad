"""How much lives in the server: an address beside the app's, for tests of long use (``--plugins tests.app.census``)."""

from __future__ import annotations

import gc

import psutil
from bokeh.document import Document
from tornado.web import RequestHandler

from cellstream_app.session import Session


class Census(RequestHandler):
    """Answers in numbers: ``sessions`` that the server keeps, our states and Bokeh's documents that are reachable by
    anything at all, and the ``megabytes`` of the process."""

    def get(self) -> None:
        gc.collect()
        kinds = [type(thing) for thing in gc.get_objects()]
        app = self.application
        self.write(
            dict(
                sessions=sum(len(app.get_sessions(path)) for path in app.app_paths),
                states=sum(kind is Session for kind in kinds),
                documents=sum(kind is Document for kind in kinds),
                megabytes=round(psutil.Process().memory_info().rss / 1e6),
            )
        )


ROUTES = [(r"/census", Census, {})]

"""A closed page is gone: nothing of it is kept in the tables of HoloViews and Panel."""

from __future__ import annotations

import gc

import numpy as np
import panel as pn
import panel_material_ui as pmui
from bokeh.document import Document
from holoviews.plotting.bokeh.callbacks import Callback
from panel.util import edit_readonly
from panel_material_ui import NotificationArea

from cellstream_app import style
from cellstream_app.colouring import TIME, colouring
from cellstream_app.leaving import forget_figures, forget_notifications, unlink_busy, weakly
from cellstream_app.parts.stage import Stage
from cellstream_app.results import load_result, sample_run
from cellstream_app.session import Session


def kept(document: Document) -> int:
    """Figures of the document that HoloViews keeps."""
    return sum(callback.plot.document is document for callback in Callback._callbacks.values())


def test_the_figures_of_a_closed_page_are_forgotten_and_no_others():
    style.use_defaults()
    documents, stage, result = (Document(), Document()), Stage(Session()), load_result(sample_run())
    stage.show(result, colouring(result, None, TIME), 0.0, np.zeros((len(result.starts), 4), np.uint8))
    for document in documents:
        document.add_root(pn.Column(stage).get_root(document))
    before = kept(documents[1])
    assert kept(documents[0]) == before > 0
    forget_figures(documents[0])
    assert kept(documents[0]) == 0
    assert kept(documents[1]) == before


def test_the_place_of_a_closed_pages_notifications_is_forgotten_and_no_other():
    documents = Document(), Document()
    places = [NotificationArea() for _ in documents]
    for place, document in zip(places, documents, strict=True):
        place.get_root(document)
    forget_notifications(documents[0])
    kept = [view for view, _, document, _ in pn.state._views.values() if document in documents]
    assert kept == [places[1]]


def test_a_hook_does_not_keep_its_object():
    class Part:
        def hook(self, *given: object) -> None:
            heard.append(given)

    heard: list[tuple] = []
    part = Part()
    hook = weakly(part.hook)
    hook("plot", "element")
    del part
    gc.collect()
    hook("plot", "element")
    assert heard == [("plot", "element")]


def test_a_page_that_is_unlinked_is_not_kept_by_panel():
    page = pmui.Page(title="test", busy_indicator=None)
    with edit_readonly(page):
        page.busy = False

    def listeners() -> int:
        return len(pn.state.param.watchers.get("busy", {}).get("value", []))

    before = listeners()
    unlink_busy(page)
    assert listeners() == before - 1

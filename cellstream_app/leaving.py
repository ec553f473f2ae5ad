"""What a closed page would leave for ever in tables of the libraries that it is made with.

HoloViews keeps every figure that tells its view or its size, and the options of every picture; Panel keeps whoever asks
to hear when it is busy, and the place of a page's notifications. From most of them a page is reached as a whole, with
its result.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import panel as pn
import param
from bokeh.document import Document
from holoviews.plotting.bokeh.callbacks import Callback
from panel.io.notifications import NotificationAreaBase


def weakly(method: Callable) -> Callable:
    """A hook for HoloViews that does not keep the object of its method."""
    held = weakref.WeakMethod(method)

    def hook(*given: Any, **more: Any) -> None:
        if (alive := held()) is not None:
            alive(*given, **more)

    return hook


def forget_figures(document: Document) -> None:
    """Let HoloViews forget the figures of a document whose page is closed."""
    for callback in list(Callback._callbacks.values()):
        if getattr(callback.plot, "document", None) in (document, None):
            callback.cleanup()


def forget_notifications(document: Document) -> None:
    """Let Panel forget where the notifications of a closed page were shown, and with it the document."""
    for ref, (view, root, of, _) in list(pn.state._views.items()):
        if of is document and isinstance(view, NotificationAreaBase):
            view._cleanup(root)
            del pn.state._views[ref]


def unlink_busy(page: param.Parameterized) -> None:
    """Let a page no longer hear of Panel being busy."""
    for watcher in list(pn.state.param.watchers.get("busy", {}).get("value", [])):
        if getattr(getattr(watcher.fn, "__self__", None), "self", None) is page:
            pn.state.param.unwatch(watcher)

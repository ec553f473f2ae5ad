"""Building blocks of the pages: cards, headings, messages, facts. Texts from files are escaped here."""

from __future__ import annotations

import asyncio
import html
import io
import logging
import re
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, ClassVar, NamedTuple, TypeVar

import panel as pn
import panel_material_ui as pmui
import param

from cellstream.errors import UserError
from cellstream_app.style import FONT, SMALL_SIZE, SPACE, TEXT_SIZE

T = TypeVar("T")
GAP = 2 * SPACE
WIDE = dict(sizing_mode="stretch_width")
BOTH = dict(sizing_mode="stretch_both")
# Panel's columns end in an invisible button, before which a gap would stand
NO_BUTTON = [".scroll-button { display: none !important }"]
READ_OUT = [".MuiFormLabel-root { display: none }"]
"""Of a group whose label is read out and not shown: what it offers says enough to those who see it."""

TABLE_STYLE = """
.tabulator { font-size: 13px !important; background: transparent !important; border: none !important; color: inherit }
.tabulator .tabulator-header, .tabulator .tabulator-header .tabulator-col, .tabulator-tableholder, .tabulator-table,
.tabulator .tabulator-row, .tabulator .tabulator-row.tabulator-row-even, .tabulator .tabulator-row:hover {
  background: transparent !important; color: inherit !important; border-color: rgba(128, 128, 128, .25) !important }
.tabulator .tabulator-header .tabulator-col .tabulator-col-content { padding: 4px 8px !important }
.tabulator .tabulator-col-title { font-weight: 600; font-size: 12px; padding-right: 0 !important }
.tabulator .tabulator-row { border-bottom: 1px solid rgba(128, 128, 128, .18) !important }
.tabulator .tabulator-tableholder { overflow-x: hidden !important; scrollbar-width: thin }
.tabulator .tabulator-row .tabulator-cell { border: none !important; padding: 8px !important }
.tabulator .tabulator-cell input { color: inherit !important; background: transparent !important }
"""
"""Of a Tabulator, so that it lies on the page's surface in both themes."""


def plain(text: str) -> str:
    """Text that Markdown and HTML show as it stands: file and category names are a stranger's."""
    return re.sub(r"([\\`*_{}\[\]()#+.!|<>&~^$-])", r"\\\1", text)


def escaped(text: str) -> str:
    """Text that HTML shows as it stands."""
    return html.escape(text)


class Text(pn.pane.HTML):
    """HTML that may come, go and change before it was drawn.

    Panel's own, where it is not yet in a document, as in a section that was folded, would have the style sheets of the
    whole page fetched from its makers' server; and made visible before the browser has drawn it, it breaks there.
    """

    _rename: ClassVar[dict] = {"visible": None}

    def _get_properties(self, doc: Any) -> dict[str, Any]:
        return super()._get_properties(doc or pn.state.curdoc)

    @param.depends("visible", watch=True, on_init=True)
    def _hide(self) -> None:
        if not self.visible or "display" in self.styles:  # a style that is taken away would stay in the browser
            self.styles = {**self.styles, "display": "revert-layer" if self.visible else "none"}


def text(content: str, size: str = TEXT_SIZE, muted: bool = False, **more: Any) -> Text:
    """A paragraph. ``content`` is HTML: escape what comes from a file."""
    return Text(styled(content, size, muted), **{**WIDE, "margin": 0, **more})


def styled(content: str, size: str = TEXT_SIZE, muted: bool = False) -> str:
    """HTML in the app's type."""
    return f"<div style='font:{size}/1.45 {html.escape(FONT)};opacity:{0.68 if muted else 1}'>{content}</div>"


def heading(title: str, hint: str = "") -> pn.pane.HTML:
    """The title of a card, with a sentence beneath it."""
    below = f"<div style='font-size:{TEXT_SIZE};opacity:.68;margin-top:2px'>{html.escape(hint)}</div>" if hint else ""
    return pn.pane.HTML(
        f"<div style='font:600 14px/1.3 {html.escape(FONT)}'>{html.escape(title)}</div>{styled(below)}",
        margin=0,
        **WIDE,
    )


def card(*objects: Any, title: str = "", hint: str = "", **more: Any) -> pmui.Paper:
    """A surface with a title."""
    top = [heading(title, hint)] if title else []
    inside = column(*top, *objects, gap=SPACE + 2)
    padding = {"p": f"{GAP}px", "boxSizing": "border-box", "boxShadow": "none", "backgroundImage": "none"}
    options = {**WIDE, "margin": 0, "elevation": 0, "variant": "outlined", "sx": padding, **more}
    inside.sizing_mode = options["sizing_mode"]
    return pmui.Paper(inside, **options)


def row(*objects: Any, gap: int = SPACE, **more: Any) -> pn.Row:
    """Things beside each other, centred on a line, as high as the highest: Panel would fit them into the window, and
    what stands below would lie on them."""
    styles = {"gap": f"{gap}px", "align-items": "center", "max-height": "none", **more.pop("styles", {})}
    return pn.Row(*objects, **{**WIDE, "margin": 0, **more}, styles=styles)


def column(*objects: Any, gap: int = GAP, **more: Any) -> pn.Column:
    """Things below each other, as high as they are: Panel would fit responsive plots into the window."""
    styles = {"gap": f"{gap}px", "max-height": "none", **more.pop("styles", {})}
    return pn.Column(*objects, **{**WIDE, "margin": 0, "stylesheets": NO_BUTTON, **more}, styles=styles)


def side_panel(*objects: Any, width: int = 340) -> pn.Column:
    """The controls at the left of a page; the only part of it that scrolls by itself."""
    styles = {"gap": f"{GAP}px", "overflow-y": "auto", "overflow-x": "hidden", "height": "100%"}
    styles |= {"box-sizing": "border-box", "padding": f"{GAP}px 4px {GAP}px {GAP}px", "scrollbar-width": "thin"}
    return column(*objects, width=width, sizing_mode="stretch_height", styles=styles)


def side_foot(*objects: Any) -> pn.Column:
    """The last part of a side panel, always in sight: what is above scrolls away behind it."""
    styles = {
        "position": "sticky",
        "bottom": f"-{GAP}px",
        "z-index": "5",
        "background": "var(--panel-background-color)",
    }
    return column(*objects, styles=styles | {"padding": f"{SPACE}px 0 {GAP}px", "margin": f"-{SPACE}px 0 -{GAP}px"})


def main_panel(*objects: Any, scroll: bool = True) -> pn.Column:
    """What the page shows, at the right of its controls."""
    styles = {"gap": f"{GAP}px", "height": "100%", "box-sizing": "border-box", "padding": f"{GAP}px"}
    styles |= {"overflow": "hidden auto" if scroll else "hidden", "scrollbar-width": "thin"}
    # what does not fit is scrolled to, not squeezed
    sheets = [*NO_BUTTON, ":host > * { flex-shrink: 0 }"] if scroll else NO_BUTTON
    return column(*objects, styles=styles, stylesheets=sheets, **BOTH)


class File(NamedTuple):
    """What a :class:`Download` hands out."""

    name: str
    content: bytes


class Download(pmui.FileDownload):
    """A file at each click: the browser takes one that is the same as the last one for no news, and does nothing.

    The callback gives a file as Panel knows them, or a :class:`File` with a name of its own; or None where something
    went wrong, of which it has told. While it is at work, a further click is none.
    """

    def __init__(self, **params: Any):
        look = dict(icon="download", size="small", variant="outlined", margin=0)
        super().__init__(**{**look, **params}, auto=True, embed=False)

    def _handle_click(self, event: Any = None) -> None:
        if self.loading:
            return
        self.data = None
        super()._handle_click(event)

    async def _async_sync_data(self) -> None:
        self.loading = True
        try:
            found = await self.callback()
        finally:
            self.loading = False
        self._sync_data(found)

    def _sync_data(self, fileobj: Any) -> None:
        if isinstance(fileobj, File):
            self.filename = fileobj.name  # before the bytes, at whose coming the browser saves them
            fileobj = io.BytesIO(fileobj.content)
        if fileobj is not None:
            super()._sync_data(fileobj)


FAULT = "This could not be made by a fault of this app, of which its log tells more: choose something else."
NO_MEMORY = "There is not enough memory for this: close other programs, or ask for less."


def reason(error: Exception) -> str:
    """Why something was not made, in a sentence; what is no user's mistake goes to the log as well."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError | MemoryError):
        return str(error) or NO_MEMORY
    logging.getLogger(__name__).error("%s", error, exc_info=error)
    return FAULT


async def made(prepare: Callable[[], Callable[[], T]], message: Message) -> T | None:
    """What that makes, in a thread, which ``prepare`` gives; None where there is nothing, and why has been told."""
    message.clear()
    try:
        return await asyncio.to_thread(prepare())
    except Exception as error:
        message.say(reason(error), "error")
        return None


def at_top(bar: Any) -> pn.Column:
    """A bar at the upper edge of a :func:`main_panel`, in sight wherever it is scrolled to; it takes no room, so that
    nothing jumps when it comes and goes."""
    styles = {"position": "sticky", "top": f"-{GAP}px", "z-index": "5", "margin": f"-{GAP}px 0 0"}
    return column(bar, height=0, styles=styles)


class Message(pn.viewable.Viewer):
    """A sentence beside the widget concerned; takes no room while there is nothing to say."""

    def __init__(self, severity: str = "error"):
        super().__init__()
        # pmui keeps room for a title, of which there is none, and takes it from below
        tight = {
            "& p": {"margin": 0, "overflowWrap": "anywhere"},
            "py": "0px",
            "& .MuiAlertTitle-root": {"display": "none"},
        }
        tight |= {"& .MuiAlert-message": {"padding": "8px 0 !important"}}
        self.alert = pmui.Alert(severity=severity, variant="outlined", visible=False, margin=0, sx=tight, **WIDE)

    def say(self, sentence: str, severity: str | None = None) -> None:
        if severity:
            self.alert.severity = severity
        self.alert.param.update(object=plain(sentence), visible=bool(sentence))

    def clear(self) -> None:
        self.say("")

    def __panel__(self) -> pmui.Alert:
        return self.alert


def asks(message: Message, button: pmui.Button | None = None) -> Callable:
    """Decorates a handler, plain or async: a user's mistake becomes a sentence in ``message``. The ``button`` that asks
    cannot be pressed again before it is done, whatever goes wrong; a click that was on its way by then is none."""

    def decorate(handler: Callable[..., Coroutine | None]) -> Callable:
        async def safe(*events: Any) -> None:
            if button is not None:
                if button.loading:
                    return
                button.loading = True
            message.clear()
            try:
                done = handler(*events)
                if done is not None:
                    await done
            except UserError as error:
                message.say(str(error))
            finally:
                if button is not None:
                    button.loading = False

        return safe

    return decorate


def in_turn(change: Callable[[], None]) -> None:
    """Change Bokeh's own models, as only who holds the document may; a handler does not, after it has awaited."""
    pn.state.execute(change, schedule=True)


def gone() -> bool:
    """Whether the browser session that this work is for has ended meanwhile: there is nothing left to draw on."""
    document = pn.state.curdoc
    if document is None:
        return False
    return document.session_context is None or document.session_context.destroyed


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Numbers and what they count, side by side, as HTML. Both are escaped."""
    tile = (
        "<div style='min-width:72px'>"
        "<div style='font-size:18px;font-weight:600;font-variant-numeric:tabular-nums'>{}</div>"
        f"<div style='font-size:{SMALL_SIZE};opacity:.68'>{{}}</div></div>"
    )
    tiles = "".join(tile.format(html.escape(value), html.escape(name)) for value, name in pairs)
    return styled(f"<div style='display:flex;flex-wrap:wrap;gap:{SPACE}px {3 * SPACE}px'>{tiles}</div>")


def bullets(sentences: Iterable[str]) -> str:
    """Sentences as a list, as HTML. They are escaped."""
    items = "".join(f"<li style='margin:2px 0'>{html.escape(s)}</li>" for s in sentences)
    return styled(f"<ul style='margin:0;padding-left:18px'>{items}</ul>")


def empty_state(title: str, hint: str, *actions: Any, **more: Any) -> pn.Column:
    """What stands where nothing is yet: what this place is for, and what to do next."""
    said = (
        f"<div style='text-align:center;font:{TEXT_SIZE}/1.5 {html.escape(FONT)}'>"
        f"<div style='font-size:18px;font-weight:600;margin-bottom:6px'>{html.escape(title)}</div>"
        f"<div style='opacity:.68;max-width:440px;margin:0 auto'>{html.escape(hint)}</div></div>"
    )
    buttons = pn.Row(*actions, margin=(GAP, 0, 0, 0), align="center") if actions else None
    middle = [pn.pane.HTML(said, margin=0, align="center"), *([buttons] if buttons else [])]
    styles = {"justify-content": "center", "align-items": "center", "height": "100%"}
    return column(*middle, gap=0, styles=styles, **{**BOTH, **more})

"""The list of runs: where each stands, and what can be done with it: show, rename, delete."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui

from cellstream.runs import Run, Status
from cellstream_app import ui
from cellstream_app.session import Session
from cellstream_app.ui import WIDE

REFRESH_BEATS = 20
RENAME, DELETE = "Rename", "Delete"
ICONS = dict(
    running=("autorenew", "primary"), starting=("autorenew", "primary"), queued=("schedule", "disabled"),
    paused=("pause_circle_outline", "warning"), finished=("check_circle_outline", "success"),
    cancelled=("stop_circle", "disabled"), failed=("error_outline", "error"), dead=("error_outline", "error"),
)  # fmt: skip
LIST = {
    "p": 0,
    "& .MuiListItemText-secondary": {"whiteSpace": "normal", "fontSize": "12px"},
    "& .MuiListItemText-primary": {"fontSize": "14px"},
    "& .MuiListItemIcon-root": {"minWidth": "36px"},
    "& .MuiIconButton-root": {"color": "text.secondary"},
}
MOST = 40
"""Runs that are listed; older ones stay in their folders."""


class RunList(pn.viewable.Viewer):
    """Rebuilt only when a run came, went, was renamed, or changed its state."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.message = ui.Message()
        self._items: list[dict[str, Any]] = []
        self.none = ui.text("No runs yet. What you train is kept here, also when the page is closed.", muted=True)
        self.list = pmui.MenuList(items=[], dense=True, margin=0, sx=LIST, **WIDE)
        self.list.on_click(self._show)
        self.list.on_action(RENAME, self._ask_name)
        self.list.on_action(DELETE, self._ask_delete)
        self._make_dialogs()
        session.param.watch(lambda event: self.refresh(), ["runs_changed", "run", "page"])
        session.param.watch(lambda event: event.new % REFRESH_BEATS or self.refresh(), "beat")
        self.refresh()

    def __panel__(self) -> pn.Column:
        return ui.column(ui.card(self.message, self.none, self.list, title="Runs"), self.renaming, self.deleting)

    def refresh(self) -> None:
        """Look at the runs' folders and show what is new."""
        if self.session.page != "train":
            return
        runs = self.session.runs()[:MOST]
        items = [item_of(run, run.status()) for run in runs]
        self.none.visible, self.list.visible = not items, bool(items)
        if items != self._items or any("folder" not in item for item in self.list.items):
            self._items = self.list.items = items
        folders = [run.folder for run in runs]
        selected = self.session.run.folder if self.session.run else None
        self.list.active = (folders.index(selected),) if selected in folders else None

    def _run(self, item: dict[str, Any]) -> Run | None:
        # the browser sends its items back without what it does not know, and may have done so just now
        name = item.get("folder") or next((i["folder"] for i in self._items if _alike(i, item)), None)
        return next((run for run in self.session.runs() if run.folder.name == name), None)

    async def _show(self, item: dict[str, Any]) -> None:
        run = self._run(item)
        if run is not None and run is not self.session.run:
            await ui.asks(self.message)(partial(self.session.select, run))()
            self.refresh()  # where it could not be, the list shows the one before

    # dialogs

    def _make_dialogs(self) -> None:
        self._concerned: Run | None = None
        self.new_name = pmui.TextInput(label="Name", margin=(10, 0, 0, 0), **WIDE)
        self.new_name.param.watch(self._rename, "enter_pressed")
        rename = pmui.Button(label="Rename", on_click=self._rename, margin=0)
        self.renaming = self._dialog("Rename the run", self.new_name, "Cancel", rename)
        self.question = ui.text("")
        delete = pmui.Button(label="Delete", color="error", on_click=self._delete, margin=0)
        self.deleting = self._dialog("Delete the run?", self.question, "Keep it", delete)

    def _dialog(self, title: str, asked: Any, no: str, yes: pmui.Button) -> pmui.Dialog:
        leave = pmui.Button(label=no, on_click=lambda event: self._close(), variant="text", margin=0)
        return pmui.Dialog(ui.column(asked, ui.row(pn.HSpacer(), leave, yes)), title=title, width_option="xs")

    def _ask_name(self, item: dict[str, Any]) -> None:
        run = self._run(item)
        if run is not None:
            self._concerned, self.new_name.value = run, run.name
            self.renaming.open = True

    def _ask_delete(self, item: dict[str, Any]) -> None:
        run = self._run(item)
        if run is None:
            return
        if run.status().live:
            self.message.say(f"The run '{run.name}' is still under way. Stop it before deleting it.", "info")
            return
        self._concerned = run
        self.message.clear()
        self.question.object = ui.styled(
            f"“{ui.escaped(run.name)}”, made {made(run)}, and its model will be gone for good."
        )
        self.deleting.open = True

    def _close(self) -> None:
        self.renaming.open = self.deleting.open = False

    async def _rename(self, event: Any) -> None:
        self._close()

        async def rename() -> None:
            self.session.rename(self._concerned, self.new_name.value_input or self.new_name.value)

        await ui.asks(self.message)(rename)()

    async def _delete(self, event: Any) -> None:
        self._close()

        async def delete() -> None:
            await self.session.delete(self._concerned)

        await ui.asks(self.message)(delete)()


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[key] == other.get(key) for key in ("label", "secondary"))


def item_of(run: Run, status: Status) -> dict[str, Any]:
    """A run in the list: its name; beneath it where it stands, when it was made, and why it ended if it broke."""
    icon, colour = ICONS.get(status.state, ("radio_button_unchecked", "disabled"))
    share = f" {100 * status.step // status.total} %" if status.live and status.total else ""
    why = status.reason if status.state in ("failed", "dead") else ""
    parts = [f"{status.state}{share}", made(run), str(run.recipe.get("preset") or ""), why]
    return dict(
        label=run.name,
        secondary=" · ".join(part for part in parts if part),
        icon=icon,
        color=colour,
        actions=[dict(label=RENAME, icon="edit", inline=True), dict(label=DELETE, icon="delete_outline", inline=True)],
        folder=run.folder.name,
    )


def made(run: Run) -> str:
    """When a run was made, in the form of this machine's clock."""
    try:
        return f"{datetime.fromisoformat(run.recipe['made']):%d %b %Y, %H:%M}"
    except ValueError:
        return ""

"""The list of runs: where each stands, and what can be done with it: show, rename, delete."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import panel as pn
import panel_material_ui as pmui

from cellstream.runs import Run, Status
from cellstream_app import ui
from cellstream_app.session import Session
from cellstream_app.ui import WIDE

REFRESH_BEATS = 20
MOST = 40
"""Runs that are listed; older ones stay in their folders."""


class RunList(pn.viewable.Viewer):
    """Rebuilt only when a run came, went, was renamed, or changed its state."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.message = ui.Message()
        self.rows = ui.column(gap=0)
        self._shown: list[tuple] = []
        self._make_dialogs()
        session.param.watch(lambda event: self.refresh(), ["runs_changed", "run", "page"])
        session.param.watch(lambda event: event.new % REFRESH_BEATS or self.refresh(), "beat")
        self.refresh()

    def __panel__(self) -> pn.Column:
        return ui.column(ui.card(self.message, self.rows, title="Runs"), self.renaming, self.deleting)

    def refresh(self) -> None:
        """Look at the runs' folders and show what is new."""
        if self.session.page != "train":
            return
        runs = self.session.runs()[:MOST]
        seen = [(run, run.name, run.status()) for run in runs]
        selected = self.session.run
        state = [(run.folder, name, status.state, status.reason, run is selected) for run, name, status in seen]
        if state == self._shown and self.rows.objects:
            return
        self._shown = state
        if not seen:
            hint = "No runs yet. What you train is kept here, also when the page is closed."
            self.rows.objects = [ui.text(hint, muted=True)]
            return
        self.rows.objects = [self._row(run, status, run is selected) for run, _, status in seen]

    def _row(self, run: Run, status: Status, selected: bool) -> pn.Row:
        async def show(event: Any) -> None:
            await self.session.select(run)

        button = dict(size="small", margin=0)
        return ui.row(
            ui.text(describe(run, status, selected)),
            pmui.Button(label="Show", variant="text", disabled=selected, on_click=show, **button),
            pmui.IconButton(
                icon="edit", label="Rename", description="Rename", on_click=lambda event: self._ask_name(run), **button
            ),
            pmui.IconButton(
                icon="delete_outline",
                label="Delete",
                description="Delete" if not status.live else "Stop the run before deleting it",
                disabled=status.live,
                on_click=lambda event: self._ask_delete(run),
                **button,
            ),
            styles={"border-top": "1px solid rgba(128,128,128,.18)", "padding": "4px 0"},
        )

    # dialogs

    def _make_dialogs(self) -> None:
        self._concerned: Run | None = None
        self.new_name = pmui.TextInput(label="Name", margin=0, **WIDE)
        self.new_name.param.watch(lambda event: self._rename(), "enter_pressed")
        keep = dict(variant="text", margin=0)
        self.renaming = pmui.Dialog(
            ui.column(
                self.new_name,
                ui.row(
                    pn.HSpacer(),
                    pmui.Button(label="Cancel", on_click=lambda event: self._close(), **keep),
                    pmui.Button(label="Rename", on_click=lambda event: self._rename(), margin=0),
                ),
                margin=(10, 0, 0, 0),
            ),
            title="Rename the run",
            width_option="xs",
        )
        self.question = ui.text("")
        self.deleting = pmui.Dialog(
            ui.column(
                self.question,
                ui.row(
                    pn.HSpacer(),
                    pmui.Button(label="Keep it", on_click=lambda event: self._close(), **keep),
                    pmui.Button(label="Delete", color="error", on_click=self._delete, margin=0),
                ),
            ),
            title="Delete the run?",
            width_option="xs",
        )

    def _ask_name(self, run: Run) -> None:
        self._concerned, self.new_name.value = run, run.name
        self.renaming.open = True

    def _ask_delete(self, run: Run) -> None:
        self._concerned = run
        self.question.object = ui.styled(f"“{ui.escaped(run.name)}” and its model will be gone for good.")
        self.deleting.open = True

    def _close(self) -> None:
        self.renaming.open = self.deleting.open = False

    async def _rename(self) -> None:
        self._close()

        async def rename() -> None:
            self.session.rename(self._concerned, self.new_name.value)

        await ui.asks(self.message)(rename)()

    async def _delete(self, event: Any) -> None:
        self._close()

        async def delete() -> None:
            await self.session.delete(self._concerned)

        await ui.asks(self.message)(delete)()


def describe(run: Run, status: Status, selected: bool) -> str:
    """A run in two lines of HTML: its name and state; when it was made, and why it ended where that needs saying."""
    colours = dict(finished="#2e9e5b", running="#0b7a75", failed="#d23f31", dead="#d23f31", paused="#c77700")
    dot = f"<span style='color:{colours.get(status.state, '#8a9199')}'>●</span>"
    share = f" {100 * status.step // status.total} %" if status.live and status.total else ""
    title = f"<b style='font-weight:{600 if selected else 500}'>{ui.escaped(run.name)}</b>"
    lines = [
        made(run),
        str(run.recipe.get("preset") or ""),
        status.reason if status.state in ("failed", "dead") else "",
    ]
    below = ui.escaped(" · ".join(line for line in lines if line))
    return ui.styled(
        f"{dot} {title} <span style='opacity:.68'>{status.state}{share}</span>"
        f"<div style='opacity:.62;font-size:12px'>{below}</div>"
    )


def made(run: Run) -> str:
    """When a run was made, in the form of this machine's clock."""
    try:
        return f"{datetime.fromisoformat(run.recipe['made']):%d %b %Y, %H:%M}"
    except ValueError:
        return ""

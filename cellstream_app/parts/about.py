"""What helps whoever is asked for help: versions, machine, where the log is; to read and to copy."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import panel as pn
import panel_material_ui as pmui

from cellstream import health
from cellstream_app import logs, ui
from cellstream_app.components.copy import copy_button
from cellstream_app.ui import WIDE

WHAT = (
    "What there is on the machine that CellStream runs on, and what is wrong there. Neither in it nor in the log is "
    "anything of your cells: copy it into a message to whoever helps you."
)


class About(pn.viewable.Viewer):
    """A button, and the dialog that it opens."""

    def __init__(self) -> None:
        super().__init__()
        self.button = pmui.IconButton(
            icon="info_outlined", size="small", margin=0, align="center", color="default", on_click=self._on_click,
            description="About this installation",
        )  # fmt: skip
        self.busy = pmui.LinearProgress(active=True, visible=False, margin=0, **WIDE)
        self.told = ui.text("")
        copy, self.text = copy_button("Copy diagnosis")
        inside = ui.column(ui.text(WHAT), ui.column(self.busy, height=4), self.told, ui.row(copy, self.text))
        self.dialog = pmui.Dialog(
            inside,
            title="About this installation",
            open=False,
            close_on_click=True,
            show_close_button=True,
            width_option="md",
            margin=0,
        )

    def __panel__(self) -> pmui.IconButton:
        return self.button

    async def _on_click(self, event: Any) -> None:
        """Look anew each time: what was wrong may have been mended."""
        self.dialog.open = True
        self.busy.visible = True
        try:
            found = await asyncio.to_thread(diagnosis)
        finally:
            self.busy.visible = False
        if not ui.gone():
            ui.in_turn(partial(self._show, found))

    def _show(self, found: list[health.Finding]) -> None:
        self.text.value = health.report(found)
        self.told.object = as_html(found)


def diagnosis() -> list[health.Finding]:
    """What ``cellstream doctor`` finds, and where the log is. Takes some seconds."""
    return [*health.examine(), health.Finding("Log", str(logs.place()))]


def as_html(found: list[health.Finding]) -> str:
    """The findings as a table; what is wrong stands out."""
    row = (
        "<tr><td style='padding:3px 18px 3px 0;vertical-align:top;white-space:nowrap;opacity:.68'>{}</td>"
        "<td style='padding:3px 0;overflow-wrap:anywhere'>{}{}</td></tr>"
    )
    wrong = "<div style='font-weight:600'>⚠ {}</div>"
    rows = [
        row.format(
            *(ui.escaped(health.without_name(words)) for words in (finding.what, finding.found)),
            wrong.format(ui.escaped(health.without_name(finding.wrong))) if finding.wrong else "",
        )
        for finding in found
    ]
    well = "" if any(finding.wrong for finding in found) else "<p style='margin:12px 0 0'>All is well.</p>"
    return ui.styled(f"<table style='border-collapse:collapse'>{''.join(rows)}</table>{well}")

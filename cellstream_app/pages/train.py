"""The Train page: settings at the left, the run at the right as it learns, every run beneath."""

from __future__ import annotations

from typing import Any

import panel as pn
import panel_material_ui as pmui
from panel.io.document import hold

from cellstream.errors import UserError
from cellstream.presets import PRESETS, preset
from cellstream_app import ui
from cellstream_app.equation import equation
from cellstream_app.forms import SECTIONS, Form
from cellstream_app.parts.runlist import RunList
from cellstream_app.parts.watching import Watching
from cellstream_app.session import Session
from cellstream_app.ui import BOTH, WIDE

FIRST = "quick"
SIMPLE = ("latent_dim", "time_separation", "ensemble", "seed")
ADVANCED = ("weights", "networks", "integration", "schedule", "compute")


class TrainPage(pn.viewable.Viewer):
    """Wires the form, the view of the selected run, and the list of runs."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.message = ui.Message()
        self.base = preset(FIRST)
        self.form = Form(self.base, [s for s in SECTIONS if s != "preprocess"], on_change=self._on_settings)
        for widget in self.form.widgets.values():
            widget.margin = 0
        self._make_controls()
        self.watching = Watching(session)
        self.runs = RunList(session)
        self.shown = ui.main_panel(self.watching, self.runs)
        session.param.watch(self._on_data, ["snapshots", "source", "preparing"])
        self._on_data()
        self._on_settings()

    def __panel__(self) -> pn.Row:
        return pn.Row(self.controls, self.shown, margin=0, **BOTH)

    def _make_controls(self) -> None:
        self.preset = pmui.RadioButtonGroup(
            label="Preset", options={name.capitalize(): name for name in PRESETS}, value=FIRST, size="small", margin=0,
            variant="outlined", color="primary", **WIDE,
        )  # fmt: skip
        self.preset_text = ui.text("")
        self.changed = ui.text("")
        self.run_name = pmui.TextInput(label="Name of the run", placeholder="optional", size="small", margin=0, **WIDE)
        self.start = pmui.Button(label="Start training", icon="play_arrow", on_click=self._on_start, margin=0, **WIDE)
        self.data = ui.text("")
        self.to_data = pmui.Button(
            label="Open data", icon="table_view", variant="outlined", size="small", margin=0, on_click=self._to_data
        )
        self.equation = ui.text("")
        self.preset.param.watch(self._on_preset, "value")
        simple = [self.form.widgets[name] for name in SIMPLE]
        folded = pmui.Accordion(
            *((SECTIONS[section], self._folded(section)) for section in ADVANCED),
            margin=0, toggle=True, dynamic=True, disable_gutters=True, elevation=0, title_variant="subtitle2", sx=FOLD,
            **WIDE,
        )  # fmt: skip
        self.controls = ui.side_panel(
            ui.card(
                self.data, self.to_data, self.preset, self.preset_text, self.run_name, self.start, self.message,
                title="New run",
            ),
            ui.card(*simple, self.changed, title="Settings"),
            folded,
            width=360,
        )  # fmt: skip

    def _folded(self, section: str) -> pn.Column:
        """The settings of a section that are not up front; the equation stands over its weights."""
        up_front = {self.form.widgets[name] for name in SIMPLE}
        widgets = [widget for widget in self.form.section(section) if widget not in up_front]
        top = [self.equation] if section == "weights" else []
        return ui.column(*top, *widgets, gap=12, margin=(4, 0, 8, 0))

    # the settings

    def _on_preset(self, event: Any) -> None:
        self.base = preset(event.new)
        with hold():  # forty settings, one message
            self.form.show(self.base)
            self._on_settings()

    def _on_settings(self) -> None:
        self.preset_text.object = ui.styled(PRESETS[self.preset.value].text, muted=True)
        try:
            config, changed = self.form.config, self.form.changed_from(self.base)
        except UserError:  # said at the widget
            self.changed.object = ui.styled("A setting is not valid: see what is written at it.", muted=True)
            return
        self.equation.object = equation(config)
        names = ", ".join(changed)
        self.changed.object = ui.styled(
            f"Changed from the preset: {names}." if names else "As in the preset.", muted=True
        )

    def _on_data(self, *events: Any) -> None:
        session = self.session
        ready = session.snapshots is not None and not session.preparing
        self.start.disabled = not ready
        self.to_data.visible = session.source is None
        if ready:
            s = session.snapshots
            said = f"{ui.escaped(session.source.title)}: {len(s.index):,} cells, {len(s.labels)} time points."
        elif session.source is None:
            said = "Open a data set first; then training can start."
        elif session.preparing:
            said = "The data set is being prepared …"
        else:
            said = "The data set is not ready: see the Data page."
        self.data.object = ui.styled(said)

    def _to_data(self, event: Any) -> None:
        self.session.page = "data"

    async def _on_start(self, event: Any) -> None:
        async def start() -> None:
            await self.session.start(self.form.config, self.preset.value, self.run_name.value)
            self.run_name.value = ""

        await ui.asks(self.message, self.start)(start)()


FOLD = {
    "& .MuiAccordion-root": {"border": "1px solid", "borderColor": "divider", "boxShadow": "none", "mt": "-1px"},
    "& .MuiAccordionSummary-root": {"minHeight": "42px"},
    "& .MuiAccordionSummary-content": {"my": "8px", "fontSize": "14px"},
}

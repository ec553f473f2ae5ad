"""Size and type of a figure, as a journal asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui
from matplotlib.font_manager import get_font_names

from cellstream.figures import LEGENDS, WIDTHS
from cellstream.figures.paper import FALLBACK, Sheet
from cellstream_app import ui
from cellstream_app.parts.typed import number_in
from cellstream_app.ui import WIDE

OWN = "own"
COLUMNS = {f"{name} column, {size:.0f} mm": name for name, size in WIDTHS.items()} | {"A width of my own": OWN}
LIKE_ARIAL = "Arial, or what is like it"
LEGEND_NAMES = {"right": "right", "below": "below", "none": "none"}
RESOLUTIONS = {"150 dpi": 150, "300 dpi": 300, "600 dpi": 600}
assert set(LEGEND_NAMES.values()) == set(LEGENDS)


class Sheets(pn.viewable.Viewer):
    """``changed`` is called when a user has chosen something else."""

    def __init__(self, changed: Callable[[], None]):
        super().__init__()
        small = dict(size="small", margin=0, **WIDE)
        self.column = pmui.Select(label="Width", options=COLUMNS, value="single", **small)
        self.width = pmui.TextInput(label="Width in mm", value="88", visible=False, **small)
        self.height = pmui.TextInput(label="Height in mm", placeholder="by itself", **small)
        self.font = pmui.Select(label="Typeface", options=_fonts(), value="", **small)
        self.text = pmui.TextInput(label="Text in points", value="7", **small)
        self.point = pmui.TextInput(label="Cells in points", placeholder="by itself", **small)
        self.legend = pmui.Select(label="Legend, scales", options=LEGEND_NAMES, value="right", **small)
        self.letter = pmui.TextInput(label="Panel letter", placeholder="none", max_length=4, **small)
        self.dpi = pmui.Select(label="Resolution of pixels", options=RESOLUTIONS, value=300, **small)
        self.transparent = pmui.Switch(label="Transparent ground", value=False, size="small", margin=0)
        self.view = ui.column(
            self.column,
            self.width,
            ui.row(self.height, self.dpi),
            self.font,
            ui.row(self.text, self.point),
            ui.row(self.legend, self.letter),
            self.transparent,
            gap=14,
        )
        watched = (self.width, self.height, self.font, self.text, self.point, self.legend, self.letter, self.dpi)
        for widget in (*watched, self.transparent, self.column):
            widget.param.watch(self._on_change, "value")
        self.changed = changed

    def __panel__(self) -> pn.Column:
        return self.view

    def sheet(self) -> Sheet:
        """What is chosen. Raises :class:`UserError` for what no figure can have."""
        width = number_in(self.width) if self.column.value == OWN else WIDTHS[self.column.value]
        return Sheet(
            width=width if width is not None else WIDTHS["single"],
            height=number_in(self.height),
            font=self.font.value,
            text=number_in(self.text) or 7.0,
            point=number_in(self.point),
            legend=self.legend.value,
            transparent=self.transparent.value,
            letter=self.letter.value.strip(),
            dpi=self.dpi.value,
        )

    def _on_change(self, event: Any) -> None:
        if event.obj is self.column:
            self.width.visible = event.new == OWN
            if event.new != OWN:
                self.width.value = f"{WIDTHS[event.new]:g}"
        self.changed()


def _fonts() -> dict[str, str]:
    """Typefaces that papers are set in, as far as this machine has them."""
    there = set(get_font_names())
    names = dict.fromkeys([*FALLBACK, "Times New Roman", "Liberation Serif", "DejaVu Serif"])
    return {LIKE_ARIAL: ""} | {name: name for name in names if name in there}

"""One gene on the map: the cells, coloured by how much of it they express."""

from __future__ import annotations

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream.colours import VALUE_PALETTE, Values
from cellstream.painting import gene_limits
from cellstream_app import plots, ui
from cellstream_app.results import Result
from cellstream_app.session import Session
from cellstream_app.style import colour_bar_html
from cellstream_app.ui import WIDE

SIZE = (420, 330)
"""Pixels of the map, about."""


class GeneMap(pn.viewable.Viewer):
    """One figure per result and theme, whose colours are replaced."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self.title, self.legend = ui.text(""), ui.text("")
        self.pane = pn.pane.HoloViews(None, margin=0, linked_axes=False, height=SIZE[1], **WIDE)
        self.view = ui.card(self.title, self.pane, self.legend, styles={"flex": "3 1 0"})

    def __panel__(self) -> pmui.Paper:
        return self.view

    def start(self, result: Result) -> None:
        """The cells of a result, without colours yet."""
        self.result, self._bare = result, True
        nothing = np.full(len(result.points), np.nan, np.float32)
        self._pipe = hv.streams.Pipe(self._cells(nothing))
        self.title.object = self.legend.object = ""
        made = plots.embedding_map(self._pipe, plots.view_of(result.points, SIZE), self.session.pixel_ratio)
        self.pane.object = made.opts(hv.opts.Overlay(hooks=[plots.scrolled_past]))

    def show(self, name: str, values: np.ndarray | None, unit: str) -> None:
        """The cells in the colours of a gene's ``values`` (n,); None: of no gene."""
        if values is None:
            if not self._bare:
                self.start(self.result)
            self.title.object = ui.styled("No gene is chosen.")
            return
        self._bare = False
        cells = self._cells(values)
        self._pipe.send(cells)
        self.title.object = ui.styled(f"<b style='font-weight:600'>{ui.escaped(name)}</b> on the map")
        self.legend.object = colour_bar_html(VALUE_PALETTE, cells.colour.span(), unit)

    def _cells(self, values: np.ndarray) -> plots.Cells:
        return plots.Cells(self.result.points, Values(values, VALUE_PALETTE, gene_limits(values)))

"""Which cells are picked: how many of each label at each time point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream_app import ui
from cellstream_app.colouring import Colouring
from cellstream_app.pairing import spread
from cellstream_app.plots import Categories
from cellstream_app.style import MISSING

NO_LABEL = "without a label"


class Picked(pn.viewable.Viewer):
    """Takes no room while no cells are picked."""

    def __init__(self, clear) -> None:
        super().__init__()
        self.said, self.table = ui.text(""), ui.text("")
        self.clear = pmui.Button(
            label="Clear", icon="close", size="small", variant="outlined", margin=0, on_click=clear
        )  # fmt: skip
        self.view = ui.card(ui.row(self.said, self.clear, gap=16), self.table, visible=False)

    def __panel__(self) -> pn.viewable.Viewable:
        return self.view

    def show(
        self,
        picked: np.ndarray | None,
        index: np.ndarray,
        times: Sequence[str],
        labels: Colouring | None,
        remark: str = "",
    ) -> None:
        """Positions ``picked`` (k,) among cells at the time points ``index`` (n,); ``labels`` by kind, if there are."""
        self.view.visible = picked is not None
        if picked is None:
            return
        share = f" ({len(picked) / len(index):.1%})" if len(index) else ""
        told = f"<b style='font-weight:600'>{len(picked):,} of {len(index):,} cells picked</b>{share}. "
        self.said.object = ui.styled(told + ui.escaped(remark))
        kinds = labels.colour if labels is not None and isinstance(labels.colour, Categories) else None
        self.table.object = counts_html(picked, index, times, kinds)


def counts_html(picked: np.ndarray, index: np.ndarray, times: Sequence[str], kinds: Categories | None) -> str:
    """Picked cells of each kind at each time point as a table; kinds without any are left out. Names are escaped."""
    at = index[picked]
    if kinds is None:
        names, colours, codes = ["cells"], [MISSING], np.zeros(len(picked), np.int64)
    else:
        codes = np.asarray(kinds.codes, np.int64)[picked]
        codes = np.where(codes < 0, len(kinds.names), codes)
        names, colours = [*kinds.names, NO_LABEL], [*kinds.colours, MISSING]
    counts = spread(codes, at, len(names), len(times))
    cell = "<{0} style='padding:3px 10px;text-align:{1};font-variant-numeric:tabular-nums;white-space:nowrap'>{2}</{0}>"
    head = "".join(cell.format("th", "right", ui.escaped(str(time))) for time in [*times, "all"])
    dot = "<span style='display:inline-block;width:10px;height:10px;border-radius:50%;background:{}'></span> {}"
    lines = [f"<tr>{cell.format('th', 'left', '')}{head}</tr>"]
    rows = [(dot.format(colours[k], ui.escaped(str(names[k]))), counts[k]) for k in np.flatnonzero(counts.sum(1))]
    if len(rows) != 1:
        rows.append(("all", counts.sum(0)))
    for name, row in rows:
        numbers = "".join(cell.format("td", "right", f"{n:,}" if n else "·") for n in [*row, row.sum()])
        lines.append(f"<tr>{cell.format('td', 'left', name)}{numbers}</tr>")
    return ui.styled(
        f"<div style='overflow-x:auto'><table style='border-collapse:collapse'>{''.join(lines)}</table></div>"
    )

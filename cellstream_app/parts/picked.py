"""Which cells are picked: how many of each label at each time point; and in brief, for where it is always seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream.colours import MISSING, Categories
from cellstream_app import ui
from cellstream_app.colouring import Colouring
from cellstream_app.pairing import spread
from cellstream_app.style import dot

NO_LABEL = "without a label"
LINES = 4
"""Kinds that are named in brief."""


class Picked(pn.viewable.Viewer):
    """The table, and in ``brief`` what there is to say in a few lines; neither takes room while no cells are picked."""

    def __init__(self, clear: Callable[[Any], None]) -> None:
        super().__init__()
        self.said, self.table = ui.text(""), ui.text("")
        self.clear = pmui.Button(
            label="Clear", icon="close", size="small", variant="outlined", margin=0, on_click=clear
        )  # fmt: skip
        self.many, self.kinds = ui.text(""), ui.text("")
        self.brief = ui.side_foot(ui.card(ui.row(self.many, self.clear), self.kinds))
        self.brief.visible = False
        self.view = ui.card(self.said, self.table, visible=False)

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
        self.view.visible = self.brief.visible = picked is not None
        if picked is None:
            return
        share = f" ({len(picked) / len(index):.1%})" if len(index) else ""
        told = f"<b style='font-weight:600'>{len(picked):,} of {len(index):,} cells picked</b>{share}"
        self.said.object = ui.styled(f"{told}. {ui.escaped(remark)}")
        self.many.object = ui.styled(f"<b style='font-weight:600'>{len(picked):,} cells picked</b>{share}")
        kinds = labels.colour if labels is not None and isinstance(labels.colour, Categories) else None
        self.table.object = counts_html(picked, index, times, kinds)
        self.kinds.object = brief_html(picked, kinds)


def _coded(picked: np.ndarray, kinds: Categories) -> tuple[np.ndarray, list[str], list[str]]:
    """The kind of each picked cell, and the kinds' names and colours, the last one of cells that have none."""
    codes = np.asarray(kinds.codes, np.int64)[picked]
    codes = np.where(codes < 0, len(kinds.names), codes)
    return codes, [*map(str, kinds.names), NO_LABEL], [*kinds.colours, MISSING]


def brief_html(picked: np.ndarray, kinds: Categories | None) -> str:
    """The shares of the kinds among picked cells as a bar, and the :data:`LINES` commonest by name, which are
    escaped; nothing where there are no kinds."""
    if kinds is None or not len(picked):
        return ""
    codes, names, colours = _coded(picked, kinds)
    counts = np.bincount(codes, minlength=len(names))
    order = [k for k in np.argsort(-counts, kind="stable").tolist() if counts[k]]
    slices = "".join(f"<div style='flex:{counts[k]} 0 0;background:{colours[k]}'></div>" for k in order)
    line = (
        "<div style='display:flex;align-items:center;gap:6px'>{}<span style='overflow:hidden;"
        "text-overflow:ellipsis;white-space:nowrap'>{}</span><span style='margin-left:auto;"
        "font-variant-numeric:tabular-nums'>{:,} · {:.0%}</span></div>"
    )
    shown = order if len(order) <= LINES else order[: LINES - 1]
    rows = [line.format(dot(colours[k]), ui.escaped(names[k]), counts[k], counts[k] / len(picked)) for k in shown]
    if others := len(order) - len(shown):
        rest = int(counts[order[len(shown) :]].sum())
        rows.append(line.format("<span style='width:10px'></span>", f"{others} others", rest, rest / len(picked)))
    bar = f"<div style='display:flex;height:8px;border-radius:4px;overflow:hidden;margin-bottom:4px'>{slices}</div>"
    return ui.styled(bar + "".join(rows), "12px")


def counts_html(picked: np.ndarray, index: np.ndarray, times: Sequence[str], kinds: Categories | None) -> str:
    """Picked cells of each kind at each time point as a table; kinds without any are left out. Names are escaped."""
    at = index[picked]
    if kinds is None:
        names, colours, codes = ["cells"], [MISSING], np.zeros(len(picked), np.int64)
    else:
        codes, names, colours = _coded(picked, kinds)
    counts = spread(codes, at, len(names), len(times))
    cell = "<{0} style='padding:3px 10px;text-align:{1};font-variant-numeric:tabular-nums;white-space:nowrap'>{2}</{0}>"
    head = "".join(cell.format("th", "right", ui.escaped(str(time))) for time in [*times, "all"])
    lines = [f"<tr>{cell.format('th', 'left', '')}{head}</tr>"]
    rows = [(f"{dot(colours[k])} {ui.escaped(str(names[k]))}", counts[k]) for k in np.flatnonzero(counts.sum(1))]
    if len(rows) != 1:
        rows.append(("all", counts.sum(0)))
    for name, row in rows:
        numbers = "".join(cell.format("td", "right", f"{n:,}" if n else "·") for n in [*row, row.sum()])
        lines.append(f"<tr>{cell.format('td', 'left', name)}{numbers}</tr>")
    return ui.styled(
        f"<div style='overflow-x:auto'><table style='border-collapse:collapse'>{''.join(lines)}</table></div>"
    )

"""The metrics of two pictures as one table, measured once in a thread; and as a file."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui

from cellstream import evaluation
from cellstream.errors import UserError
from cellstream_app import scores, ui
from cellstream_app.embeddings import Plain
from cellstream_app.parts.side import Side, described
from cellstream_app.results import Result
from cellstream_app.scores import ALIKE, LEFT, RIGHT, ROWS, Scores, known, verdicts
from cellstream_app.ui import WIDE

KEPT = 32
"""Measurements that stay in memory, shared by all browser sessions."""
HINT = (
    "No number says it all: VC and TC rise when a picture keeps only time and forgets how cells differ, so a gain that "
    "was paid for with Trust is not called better."
)
OTHER_DATA = "The data are different, so neither side is called better: what is hard in one may be easy in the other."
_measured: OrderedDict[Hashable, dict[str, float]] = OrderedDict()


class Scorecard(pn.viewable.Viewer):
    """Shows two sides; of two wishes in a row the last one counts."""

    def __init__(self) -> None:
        super().__init__()
        self.left: Scores = {}
        self.right: Scores = {}
        self.names, self.same = ("left", "right"), True
        self._wishes = 0
        self._pair: tuple[Result | Plain | None, ...] = ()
        self.table = ui.text("")
        self.message = ui.Message("info")
        self.bar = pmui.LinearProgress(active=True, margin=0, **WIDE)
        self.doing = ui.text("", muted=True)
        self.busy = ui.column(self.bar, self.doing, gap=4, visible=False)
        self.download = ui.Download(
            callback=self._file, filename="comparison.csv", label="Download .csv", disabled=True
        )
        head = ui.row(ui.heading("Which is better?", HINT), self.download, gap=16)
        self.view = ui.card(head, self.busy, self.message, self.table)

    def __panel__(self) -> pn.viewable.Viewable:
        return self.view

    async def show(self, left: Side, right: Side, label_key: str, same: bool) -> None:
        """Measure both sides, and the labels of this column of the file, where they are not known yet.

        ``same``: whether both are of the same data, so that one can be better than the other.
        """
        self._wishes, self.same = self._wishes + 1, same
        mine, self.left, self.right = self._wishes, {}, {}
        sides = [(side.shown, _labels(side, label_key)) for side in (left, right)]
        if self._pair != (pair := (left.shown, right.shown)):
            self._pair, self.table.object = pair, ""
        self.say()
        self.message.clear()
        self.busy.visible, self.download.disabled = True, True
        try:
            for place, (shown, labels) in zip(("left", "right"), sides, strict=True):
                if shown is None:
                    continue
                self.doing.object = ui.styled(f"Measuring {ui.escaped(described(shown)[0])} …", muted=True)
                found = await asyncio.to_thread(measure, shown, labels, label_key)
                if mine != self._wishes:
                    return
                setattr(self, place, found)
                self.say()
            dims = [shown.z.shape[1] for shown, _ in sides if shown is not None]
            if not same:
                self.message.say(OTHER_DATA)
            elif len(set(dims)) == 2:
                said = f"The left has {dims[0]} dimensions and the right {dims[1]}: more dimensions can keep more."
                self.message.say(said)
        except (UserError, MemoryError) as error:
            if mine == self._wishes:
                self.message.say(str(error) or "There is not enough memory to measure this.", "error")
        finally:
            if mine == self._wishes:
                self.busy.visible, self.download.disabled = False, not (self.left or self.right)

    def say(self) -> None:
        """Take the names of what is shown: a run may have been given another one."""
        self.names = tuple(described(shown)[0] if shown is not None else "" for shown in self._pair)
        if self.left:
            self.table.object = table_html(self.left, self.right, self.names, self.same)

    def _file(self) -> io.StringIO:
        left, right = self.names  # which may be the same: two runs of one file
        return io.StringIO(scores.as_csv(self.left, self.right, (f"left: {left}", f"right: {right}"), self.same))


def _labels(side: Side, key: str) -> np.ndarray | None:
    """Of the cells of a side, (n,); None where there are none."""
    if side.shown is None or side.source is None or key not in side.source.adata.obs:
        return None
    return side.source.adata.obs[key].iloc[side.shown.rows].to_numpy(object)


def measure(shown: Result | Plain, labels: np.ndarray | None, label_key: str) -> dict[str, float]:
    """All numbers of a picture. Takes a while the first time."""
    mark = mark_of(shown)
    found = _kept(mark, lambda: _whole(shown))
    if labels is not None:
        found = found | _kept((mark, label_key, _hashed(labels)), lambda: scores.of_labels(shown.z, labels))
    return found


def _hashed(labels: np.ndarray) -> int:
    """A file may come back with other labels in the column of the same name."""
    return hash(pd.util.hash_array(labels.astype(str).astype(object)).tobytes())


def mark_of(shown: Result | Plain) -> Hashable:
    """By what a picture is known again: the run may have written another one since."""
    if isinstance(shown, Plain):
        return shown.mark
    return str(shown.run.folder), shown.final, shown.version


def _whole(shown: Result | Plain) -> dict[str, float]:
    if isinstance(shown, Plain) or not shown.final:  # of a run under way, velocity and growth are not judged yet
        return scores.of_embedding(shown.z, shown.snapshots)
    said = shown.run.metrics() if shown.run.status().state == "finished" else None
    return scores.flat(said or evaluation.evaluate(shown.stream, shown.snapshots))


def _kept(mark: Hashable, make) -> dict[str, float]:
    if mark not in _measured:
        _measured[mark] = make()
        while len(_measured) > KEPT:
            _measured.popitem(last=False)
    return _measured[mark]


CELL = "padding:7px 12px;border-bottom:1px solid var(--mui-palette-divider,rgba(128,128,128,.25));vertical-align:top"
SMALL = "font-size:11px;opacity:.68"


def table_html(left: Scores, right: Scores, names: tuple[str, str], same: bool = True) -> str:
    """The table as HTML. Names come from strangers' files and are escaped."""
    heads = ("", f"Left: {names[0]}", f"Right: {names[1]}", "Better")
    head = "".join(f"<th style='{CELL};text-align:left;font-weight:600'>{ui.escaped(text)}</th>" for text in heads)
    judged, lines = verdicts(left, right, same), []
    for row in ROWS:
        if not (known(left, row.key) or known(right, row.key)):
            continue
        found = judged[row.key]
        told = {LEFT: "◀ left", RIGHT: "right ▶", ALIKE: "alike"}.get(found.side, "–")
        name = f"<b style='font-weight:600'>{row.name}</b> {row.question}"
        name += f"<div style='{SMALL}'>{row.caution}</div>" if row.caution else ""
        cells = [name]
        for side, scored in ((LEFT, left), (RIGHT, right)):
            strong = "font-weight:700" if found.side == side else ""
            number = row.form.format(scored[row.key]) if known(scored, row.key) else "–"
            beside = ui.escaped(row.yardstick(scored)) if known(scored, row.key) else ""
            style = f"font-size:16px;font-variant-numeric:tabular-nums;{strong}"
            cells.append(f"<div style='{style}'>{number}</div><div style='{SMALL}'>{beside}</div>")
        cells.append(f"<div>{told}</div><div style='{SMALL}'>{ui.escaped(found.why)}</div>")
        lines.append("<tr>" + "".join(f"<td style='{CELL}'>{cell}</td>" for cell in cells) + "</tr>")
    widths = "".join(f"<col style='width:{width}'>" for width in ("40%", "20%", "20%", "20%"))
    return ui.styled(
        f"<table style='border-collapse:collapse;width:100%;table-layout:fixed'><colgroup>{widths}</colgroup>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )

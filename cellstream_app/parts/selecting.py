"""The panel of selected cells: where they came from and where they go, by the learned flow."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from cellstream.ancestry import NONE, Ancestry, ancestry
from cellstream.colours import Categories
from cellstream.times import counted
from cellstream_app import ui
from cellstream_app.colouring import colouring, label_keys
from cellstream_app.results import Result
from cellstream_app.session import Session
from cellstream_app.style import SMALL_SIZE, dot
from cellstream_app.ui import WIDE

LEAST_SHARE = 0.005
"""Share from which a kind stands in the table."""
ROWS = 8
"""Kinds in the table at most."""
CAUTION = (
    "Ancestors each: how many cells of that time stand behind one of the selected ones; below 1 where cells have "
    "divided since, above 1 where cells have died. Followed by the learned velocity and growth. Before lineages have "
    "parted the fate of a single cell cannot be known: read the shares of many cells."
)
NO_MEMORY = "There is not enough memory to follow these cells: close other programs, or select fewer."
FROM_COUNTS = (
    " Population sizes were taken from the numbers of cells in the file: where those only say how many cells were "
    "sequenced, believe the shares, and not how many ancestors or descendants there are; true sizes are typed on the "
    "Data page, under Rel. size."
)


class Selecting(pn.viewable.Viewer):
    """Shown while cells are selected; ``told`` is called with what was found out of them, or None for none."""

    def __init__(self, session: Session, told: Callable[[Ancestry | None], None]):
        super().__init__()
        self.session, self.told = session, told
        self.found: Ancestry | None = None
        self.result: Result | None = None
        """What was found is of the cells of this one."""
        self._late = False
        self._syncing = False
        self.title = ui.text("")
        self.labels = pmui.Select(label="Kinds of cells by", options={}, size="small", margin=0, **WIDE)
        self.labels.param.watch(self._on_labels, "value")
        self.busy = pmui.LinearProgress(active=True, visible=False, margin=0, **WIDE)
        self.shares = ui.text("")
        self.caution = ui.text(CAUTION, size=SMALL_SIZE, muted=True)
        clear = pmui.Button(
            label="Clear", icon="close", size="small", variant="outlined", margin=0, on_click=self._on_clear,
            description="Clear: select no cells (Esc)",
        )  # fmt: skip
        self.download = ui.Download(callback=self._csv, filename="cellstream-kin.csv", label="Numbers (.csv)")
        self.view = ui.side_panel(
            ui.card(self.title, self.labels, self.busy, self.shares, self.caution, ui.row(clear, self.download)),
            width=340,
        )
        self.view.styles = {**self.view.styles, "padding": f"{ui.GAP}px {ui.GAP}px {ui.GAP}px 0"}
        self.view.visible = False
        session.param.watch(self._follow, ["selection", "painted"])

    def __panel__(self) -> pn.Column:
        return self.view

    def show(self) -> None:
        """Another result of the session: offer its labels, and follow what is selected by it."""
        keys = label_keys(self.session.result_source)
        self._syncing = True
        value = self.labels.value if self.labels.value in keys else (keys[0] if keys else None)
        self.labels.param.update(options=keys, value=value, visible=bool(keys))
        self._syncing = False
        if self.session.selection is not None and self.session.result is not self.result:
            pn.state.execute(self._follow)

    def come(self) -> None:
        """The page is shown again: follow what was selected elsewhere."""
        if self._late:
            pn.state.execute(self._follow)

    async def _follow(self, *events: Any) -> None:
        """Work out the kin of the session's selection; of the latest one, if it changes meanwhile."""
        session, cells, key = self.session, self.session.selection, self.labels.value
        if session.page != "explore":  # it is out of sight, and its figure perhaps not there: see `come`
            self._late = True
            return
        self._late = False
        self.view.visible = cells is not None
        self.result = session.result
        if cells is None or session.result is None:
            self.found = None
            self.told(None)
            return
        self.title.object = ui.styled(self._said(), "14px")
        self.busy.visible = self.download.disabled = True  # until there are numbers of these cells
        self.shares.object = ""
        result, source = session.result, session.result_source
        counted_only = result.run.recipe.get("masses") is None and result.stream.config.networks.growth
        said = CAUTION + FROM_COUNTS if counted_only else CAUTION
        self.caution.object = ui.styled(said, SMALL_SIZE, muted=True)
        found = None
        try:
            labels = colouring(result, source, f"obs:{key}").colour if key else None
            found = await asyncio.to_thread(ancestry, result, cells, labels if isinstance(labels, Categories) else None)
        except MemoryError:
            pass  # which is said below
        finally:
            latest = session.selection is cells and session.result is result and self.labels.value == key
            if latest:  # who came later waits for his own
                self.found, self.busy.visible = found, False
        if latest:
            self.download.disabled = found is None
            self.shares.object = ui.styled(NO_MEMORY) if found is None else shares_html(found)
            self.told(found)

    def _said(self) -> str:
        result, cells = self.session.result, self.session.selection
        times = [str(result.snapshots.labels[i]) for i in sorted(set(result.index[cells].tolist()))]
        when = f"of {times[0]}" if len(times) == 1 else f"of {len(times)} time points"
        return f"<b>{ui.escaped(counted(len(cells), 'cell'))} selected</b>, {ui.escaped(when)}"

    def _on_labels(self, event: Any) -> None:
        if not self._syncing:  # asked now: by the time that a task runs, nothing is being set by us any more
            pn.state.execute(self._follow)

    def _on_clear(self, event: Any) -> None:
        self.session.selection = None

    def _csv(self) -> io.StringIO:
        out = io.StringIO()
        if self.found is not None:
            self.found.table().to_csv(out, index=False)
        out.seek(0)
        return out


def shares_html(found: Ancestry) -> str:
    """For each time point a bar of the kinds with the size of the kin; below, the percentages as a table."""
    order = [k for k in found.shares.max(0).argsort()[::-1].tolist() if found.shares[:, k].max() >= LEAST_SHARE]
    own = found.selected > 0
    first, last = int(own.argmax()), len(own) - 1 - int(own[::-1].argmax())
    told = found.names != (NONE,)  # else all bars are full, and say nothing
    parts = []
    for i, label in enumerate(found.labels):
        what, kin = ("came from", "ancestors") if i < first else ("become", "descendants") if i > last else ("", "kin")
        many = f"{found.selected[i]:,} selected" if own[i] else f"{_rounded(found.mass[i])} {kin} each"
        slices = "".join(
            f"<div title='{ui.escaped(found.names[k])}: {share:.0%}' style='width:{100 * share:.2f}%;"
            f"background:{found.colours[k]}'></div>"
            for k, share in zip(order, found.shares[i, order], strict=True)
        )
        bar = f"<div style='display:flex;height:12px;border-radius:4px;overflow:hidden;margin-top:2px'>{slices}</div>"
        parts.append(
            f"<div style='display:flex;justify-content:space-between;margin-top:7px'><span><b style='font-weight:600'>"
            f"{ui.escaped(label)}</b> <span style='opacity:.68'>{what}</span></span>"
            f"<span style='opacity:.68'>{ui.escaped(many)}</span></div>{bar if told else ''}"
        )
    return ui.styled("".join(parts) + (_table(found, order) if told else ""))


def _table(found: Ancestry, order: list[int]) -> str:
    cell = "<td style='text-align:right;padding:2px 0 2px 5px;white-space:nowrap'>{}</td>"
    words = {label.rpartition(" ")[0] for label in found.labels}
    shared = len(words.pop()) if len(words) == 1 else 0  # "day" of "day 0", "day 1.5", …
    head = "".join(
        cell.format(f"<span style='opacity:.68' title='{ui.escaped(label)}'>{ui.escaped(label[shared:][:6])}</span>")
        for label in found.labels
    )
    rows = [
        "<tr><td style='max-width:84px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap' title='{name}'>"
        "{dot} {name}</td>{cells}</tr>".format(
            name=ui.escaped(found.names[k]),
            dot=dot(found.colours[k]),
            cells="".join(cell.format(_percent(share)) for share in found.shares[:, k]),
        )
        for k in order[:ROWS]
    ]
    return (
        "<div style='overflow-x:auto;scrollbar-width:thin'><table style='width:100%;border-collapse:collapse;"
        "margin-top:12px;font-size:12px;font-variant-numeric:tabular-nums'>"
        f"<tr><td></td>{head}</tr>{''.join(rows)}</table></div>"
    )


def _rounded(mass: float) -> str:
    return f"{mass:,.0f}" if mass >= 10 else f"{mass:.2g}"


def _percent(share: float) -> str:
    return "–" if share < LEAST_SHARE else f"{100 * share:.0f}%"

"""Which genes the flow changes most at a time: a table to sort and to filter, and to take away as csv."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models.widgets.tables import NumberFormatter

from cellstream.time_labels import number_label
from cellstream_app import ui
from cellstream_app.parts.timebar import apart
from cellstream_app.results import Result
from cellstream_app.ui import WIDE

PAGE = 10
"""Rows of the table at once."""
KNOWN = 0.1
"""R² from which the map is said to know a gene."""
BOTH_WAYS, UP, DOWN = "Both", "Up", "Down"
GENE, SCORE, RATE, LEVEL, SAME, RETURNED = "gene", "score", "rate", "expression", "same_way", "r2"
TITLES = {
    GENE: "Gene",
    SCORE: "Change, s.d.",
    RATE: "Rate",
    LEVEL: "Expression",
    SAME: "Cells going that way",
    RETURNED: "Returned by the map",
}
MEANING = (
    "Each gene's rate of change along the flow, decoded from the map: the mean over {cells} as they are at {time}, "
    "weighted by their mass. Ranked by change: that rate in standard deviations of the gene over all cells. Both are "
    "per {per}. Click a gene to see its course."
)
AT_AN_END = "This is the {} time point: no cells lie beyond it, so rates are unsure. Choose a time between two points."


class Drivers(pn.viewable.Viewer):
    """``moved`` is called when another time is asked for, ``chosen`` with the name of a gene that was clicked."""

    def __init__(self, moved: Callable[[], None], chosen: Callable[[str], Awaitable[None]]):
        super().__init__()
        self.moved, self.chosen = moved, chosen
        self.full: pd.DataFrame | None = None
        self.stem = "result"
        self.table: pn.widgets.Tabulator | None = None
        self.titles: dict[str, str] = {}
        self._make_slider(0.0, 1.0, 0.0)
        self.way = pmui.RadioButtonGroup(
            label="Direction", options=[BOTH_WAYS, UP, DOWN], value=BOTH_WAYS, size="small", margin=0,
            variant="outlined", color="primary", width=160,
        )  # fmt: skip
        self.find = pmui.TextInput(label="Filter by name", size="small", margin=0, width=170)
        self.known = pmui.Switch(
            label=f"only genes of which the map returns {KNOWN:.0%}", value=True, size="small", margin=0,
            sx={"& .MuiFormControlLabel-label, & .MuiTypography-root": {"fontSize": "13px"}},
        )  # fmt: skip
        self.download = ui.Download(callback=self._file, filename="genes.csv", label="Download csv")
        self.counted = ui.text("", muted=True)
        self.meaning = ui.text("", muted=True)
        self.box = ui.column()
        self.way.param.watch(self._filter, "value")
        self.find.param.watch(self._filter, "value_input")
        self.known.param.watch(self._filter, "value")
        self.slot, self.end = ui.column(self.slider), ui.Message("warning")
        filters = ui.row(self.way, self.find, self.known, self.download, gap=16, styles={"flex-wrap": "wrap"})
        self.view = ui.card(
            self.meaning, self.slot, self.end, filters, self.box, self.counted, title="Genes that the flow changes most"
        )

    def __panel__(self) -> pmui.Paper:
        return self.view

    @property
    def time(self) -> float:
        """The time of the ranking, in the data's unit."""
        return float(self.slider.value)

    def start(self, result: Result, stem: str, same: bool) -> None:
        """The times of another result; first the middle of them, since the flow is the least sure at its ends, or the
        time that was chosen of the ``same`` run."""
        first, last = float(result.times[0]), float(result.times[-1])
        unit = result.snapshots.unit
        self.stem, self.full, self.table = stem, None, None
        labels = apart(result.times, list(map(number_label, result.times)))
        chosen = float(np.clip(self.time, first, last)) if same else (first + last) / 2
        self._make_slider(
            first, last, chosen, label=f"Time [{unit}]" if unit else "Time",
            marks=[{"value": float(t), "label": label} for t, label in zip(result.times, labels, strict=True)],
        )  # fmt: skip
        self.slot[:], self.box[:] = [self.slider], []
        self._say_end()

    def go_to(self, time: float) -> None:
        """Rank at another time; ``moved`` hears of it."""
        self.slider.param.update(value=float(np.clip(time, self.slider.start, self.slider.end)))
        self.moved()

    def show(self, full: pd.DataFrame, result: Result, cells: str, t: float) -> None:
        """Another ranking, of ``cells`` in words, at time ``t``, from which the slider may have been moved on: columns
        as :func:`cellstream.genes.ranking` has them."""
        unit, per = result.snapshots.unit, result.stream.clock.rate_unit
        time = number_label(round(t, 3))
        self.full = full
        self.download.filename = f"{self.stem}-genes-at-{time}.csv"
        said = MEANING.format(cells=cells, time=f"{time} {unit}".strip(), per=per)
        self.meaning.object = ui.styled(ui.escaped(said), muted=True)
        self.known.visible = RETURNED in full
        self.titles = {name: title for name, title in TITLES.items() if name in full or name == GENE}
        if self.table is not None and self.table.titles == self.titles:
            self._filter()
            return
        # with what it shows: the browser's part of a table breaks where it is changed before it is drawn
        self.table = self._make_table(self._rows())
        self.box[:] = [self.table]

    def _say_end(self) -> None:
        self.end.say(at_an_end(self.time, self.slider.start, self.slider.end))

    def strongest(self, n: int) -> list[str]:
        """Names of the first genes that are shown."""
        return [] if self.full is None else list(self._filtered().index[:n].astype(str))

    def _filtered(self) -> pd.DataFrame:
        found = self.full[self.full[SCORE].notna()]
        if self.known.value and RETURNED in found:
            found = found[found[RETURNED] >= KNOWN]
        if self.way.value != BOTH_WAYS:
            found = found[(found[SCORE] > 0) == (self.way.value == UP)]
        words = (self.find.value_input or "").strip().casefold()
        if words:
            found = found[found.index.str.casefold().str.contains(words, regex=False)]
        return found

    def _rows(self) -> pd.DataFrame:
        """What the table shows; it says how many that are."""
        found = self._filtered()
        said = (
            f"{len(found):,} of {len(self.full):,} genes that can be decoded" if len(found) else "No gene is like that."
        )
        self.counted.object = ui.styled(said, muted=True)
        return found.reset_index()[list(self.titles)]

    def _filter(self, *events: Any) -> None:
        if self.table is not None:
            self.table.value = self._rows()

    def _make_table(self, rows: pd.DataFrame) -> pn.widgets.Tabulator:
        share = NumberFormatter(format="0 %", nan_format="–")
        made = pn.widgets.Tabulator(
            rows,
            show_index=False,
            disabled=True,
            titles=self.titles,
            widths={GENE: "22%", SCORE: "17%", RATE: "14%", LEVEL: "13%", SAME: "17%", RETURNED: "17%"},
            text_align={name: "right" for name in self.titles if name != GENE},
            formatters={
                SCORE: NumberFormatter(format="+0.00", nan_format="–"),
                RATE: NumberFormatter(format="+0.000", nan_format="–"),
                LEVEL: NumberFormatter(format="0.00", nan_format="–"),
                SAME: share,
                RETURNED: share,
            },
            pagination="remote",
            page_size=PAGE,
            theme="simple",
            margin=0,
            stylesheets=[ui.TABLE_STYLE],
            **WIDE,
        )
        made.on_click(self._on_click)
        return made

    async def _on_click(self, event: Any) -> None:
        await self.chosen(str(self.table.value[GENE].iloc[event.row]))

    def _file(self) -> io.StringIO | None:
        return None if self.full is None else io.StringIO(self.full.to_csv())

    def _make_slider(self, start: float, end: float, value: float, **more: Any) -> None:
        """A slider for these times: a new one, as in the time bar of the Explore page."""
        self.slider = pmui.FloatSlider(
            start=start, end=end, value=value, step=(end - start) / 200, margin=(0, 24, 0, 12), size="small",
            format="0.[000]",  # as a number, 0 would not be written
            **{"label": "Time", **more, **WIDE},
        )  # fmt: skip
        self.slider.param.watch(lambda event: self._say_end(), "value")
        self.slider.param.watch(lambda event: self.moved(), "value_throttled")


def at_an_end(time: float, first: float, last: float) -> str:
    """A sentence of caution where the time is the first or the last one, to half a percent; else nothing."""
    near = 0.005 * (last - first)
    word = "first" if time <= first + near else "last" if time >= last - near else ""
    return AT_AN_END.format(word) if word else ""

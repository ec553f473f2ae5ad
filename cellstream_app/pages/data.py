"""The Data page: open a data set, say when its cells were measured, see what will be learned from."""

from __future__ import annotations

import asyncio
import dataclasses
import html
from collections.abc import Callable
from functools import partial
from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn
import panel_material_ui as pmui
from bokeh.models import NumberFormatter

from cellstream import doctor, metrics, times
from cellstream.colours import Categories, time_colours
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.preprocess import WIDE as MANY
from cellstream.preprocess import features_in, inputs
from cellstream.snapshots import cautions, uneven_gaps
from cellstream_app import charts, plots, ui
from cellstream_app.forms import Form
from cellstream_app.imports import holds_result
from cellstream_app.parts.doctor import FileCheck
from cellstream_app.parts.opening import Opening
from cellstream_app.reading import Reading
from cellstream_app.session import Session
from cellstream_app.style import theme
from cellstream_app.timetable import CELLS, LABEL, SIZE, VALUE, time_table, unit_of, with_sizes, with_unit, with_values
from cellstream_app.ui import BOTH, WIDE

EVEN, REAL = "Even steps: 0, 1, 2, …", "Real gaps"
PICTURE_SIZE = (460, 480)
ROW_HEIGHT, MOST_ROWS = 36, 7
NO_UNIT = "no unit"
TYPE_OTHERS = "Type the values of the other time points too: one that has none is left out."
TYPE_THEM = " Type the values into the table: double-click a cell of the column Value."
SEE_CHECK = "Nothing can be trained on this yet: the file check, at the right, says why and mends it."
TYPE_SIZES = "type the true sizes, or 1 everywhere, under Rel. size"
FOLLOW_GAPS = f"choose '{REAL}' to follow the real ones"
CHOOSE = "Choose a column …"
PREPARING = "The data set is being prepared …"
LATER = "Pictures appear once the data can be trained on: see the message at the left."


class DataPage(pn.viewable.Viewer):
    """Controls at the left, what they make of the data at the right."""

    def __init__(self, session: Session):
        super().__init__()
        self.session = session
        self._syncing = False
        self.opening = Opening(session)
        self._make_time_controls()
        self._make_input_controls()
        self.next = pmui.Button(
            label="Continue to training", end_icon="arrow_forward", on_click=self._go_on, margin=0, **WIDE
        )
        self.time_card = ui.card(
            self.time_key,
            self.reason,
            ui.row(self.unit, self.gaps),
            self.uneven,
            self.table_box,
            self.problem,
            title="When",
        )
        self.input_card = ui.card(
            self.input,
            ui.column(*self.form.widgets.values(), gap=10),
            title="Input",
        )
        self.foot = ui.side_foot(self.next)
        self.controls = ui.side_panel(self.opening, self.time_card, self.input_card, self.foot, width=372)
        self.shown = ui.main_panel(*self._make_pictures())
        self.empty = ui.empty_state(
            "No data set is open",
            "Choose an example or open a file of your own at the left, with cells from two or more time points: "
            ".h5ad, zarr, loom, 10x, csv. Or drop one anywhere on this window.",
        )
        self.under_way = ui.empty_state(
            "Reading the data set …", "A large file takes some seconds, and a matrix of genes some more.", visible=False
        )
        for names, handler in (
            (["source"], self._on_source),
            (["reading"], self._on_reading),
            (["snapshots", "problem", "dark"], self._on_prepared),
            (["diagnosis"], self._say_problem),
            (["preparing", "opening"], self._on_busy),
        ):
            session.param.watch(handler, names)
        self._on_source()

    def __panel__(self) -> pn.Row:
        return pn.Row(self.controls, self.shown, self.empty, self.under_way, margin=0, **BOTH)

    # controls

    def _make_time_controls(self) -> None:
        self.time_key = pmui.Select(label="Time column", size="small", margin=0, **WIDE)
        self.reason = ui.text("")
        self.unit = pmui.Select(
            label="Unit", options={NO_UNIT: "", **{u: u for u in times.UNITS if u}}, size="small", margin=0, width=110
        )
        self.gaps = pmui.Select(
            label="Time steps",
            options=[EVEN, REAL],
            size="small",
            margin=0,
            description="Even steps, as in the paper: speed and growth are per step, however long it took. "
            "With real gaps they are per unit of time.",
            **WIDE,
        )
        self.uneven = ui.text("", muted=True, visible=False)
        self.table: pn.widgets.Tabulator | None = None
        self.table_box = ui.column()
        self.problem = ui.Message()
        self._on_choice(self.time_key, lambda r, key: dataclasses.replace(
            r, time_key=key, time_map=None, unit=None, masses=None))  # fmt: skip
        self._on_choice(self.unit, self._in_unit)
        self._on_choice(self.gaps, lambda r, gaps: dataclasses.replace(r, real_times=gaps == REAL))

    def _show_table(self, table: pd.DataFrame | None) -> None:
        """Other time points are another table: the browser's part of one breaks where it is changed before it is drawn,
        which it is not while the page is hidden."""
        known = self.table
        if known is None or table is None or list(known.value[LABEL]) != list(table[LABEL]):
            self.table = None if table is None else self._make_table(table)
            self.table_box[:] = [] if self.table is None else [self.table]
        elif not known.value.equals(table):
            known.value = table

    def _make_table(self, table: pd.DataFrame) -> pn.widgets.Tabulator:
        made = pn.widgets.Tabulator(
            table,
            show_index=False,
            editors={LABEL: None, CELLS: None, VALUE: {"type": "number"}, SIZE: {"type": "number", "min": 0}},
            titles={VALUE: "Value ✎", SIZE: "Rel. size ✎"},
            widths={LABEL: "32%", VALUE: "22%", CELLS: "18%", SIZE: "28%"},
            text_align={VALUE: "right", CELLS: "right", SIZE: "right"},
            formatters={
                VALUE: NumberFormatter(format="0.[000]", nan_format="–"),
                SIZE: NumberFormatter(format="0.00", nan_format="–"),
            },
            sortable=False,
            theme="simple",
            margin=0,
            height=ROW_HEIGHT * (min(len(table), MOST_ROWS) + 1) + 2,
            stylesheets=[ui.TABLE_STYLE],
            **WIDE,
        )
        made.on_edit(self._on_edit)
        return made

    def _make_input_controls(self) -> None:
        self.input = pmui.Select(label="Matrix", size="small", margin=0, **WIDE)
        self._on_choice(self.input, lambda r, name: dataclasses.replace(r, input=name))
        ask = self._ask(lambda: self.form.config.preprocess, lambda r, p: dataclasses.replace(r, preprocess=p))
        self.form = Form(Config(), ["preprocess"], on_change=ask)
        for widget in self.form.widgets.values():
            widget.margin = 0

    def _on_choice(self, widget: pmui.Select, change: Callable[[Reading, Any], Reading]) -> None:
        """Whatever is chosen in the widget prepares the data anew."""
        widget.param.watch(self._ask(lambda: widget.value, change), "value")

    def _ask(self, given: Callable[[], Any], change: Callable[[Reading, Any], Reading]) -> Callable[..., None]:
        """A handler that prepares the data anew: with what ``change`` makes of the reading and what is ``given``."""

        @ui.asks(self.problem)
        async def prepare(value: Any) -> None:
            await self.session.prepare(change(self.session.reading, value))

        def handler(*events: Any) -> None:
            # asked now: by the time that a task runs, the widgets are no longer being set by us, and they show what
            # an earlier task has made of the reading
            if self._syncing or self.session.source is None:
                return
            try:
                pn.state.execute(partial(prepare, given()))
            except UserError as error:
                self.problem.say(str(error))

        return handler

    def _in_unit(self, reading: Reading, unit: str) -> Reading:
        if not reading.time_key:  # no values yet that could be converted
            return dataclasses.replace(reading, unit=unit)
        # not that of the snapshots, which are those of an earlier reading while this one is prepared
        obs = self.session.source.adata.obs
        return with_unit(obs, reading, self.table.value, unit_of(obs, reading), unit)

    async def _on_edit(self, event: Any) -> None:
        @ui.asks(self.problem)
        async def change() -> None:
            reading, table = self.session.reading, self.table.value
            if event.column == SIZE:
                await self.session.prepare(with_sizes(reading, table))
            else:
                await self.session.prepare(with_values(self.session.source.adata.obs, reading, table))

        await change()

    async def _show_result(self, event: Any) -> None:
        await ui.asks(self.problem, event.obj)(self.session.show_result_in_file)()

    def _go_on(self, event: Any) -> None:
        self.session.page = "train"

    # pictures

    def _make_pictures(self) -> list:
        self.title = ui.text("")
        self.facts = ui.text("")
        self.check = FileCheck(self.session)
        self.bars = pn.pane.Bokeh(None, margin=0, height=250, **WIDE)
        self.picture = pn.pane.HoloViews(None, margin=0, linked_axes=False, min_height=300, **BOTH)
        self.report = ui.text("")
        self.busy = pmui.LinearProgress(active=True, visible=False, margin=0, **WIDE)
        self.bars_card = ui.card(ui.column(self.bars, height=250), title="Cells per time point")
        found = ui.card(self.report, title="What was found and done")
        self.picture_card = ui.card(
            self.picture, title="Principal components", hint="A first look, coloured by time", **BOTH
        )
        lower = pn.Row(
            self.picture_card,
            ui.column(self.bars_card, found, width=400, sizing_mode=None),
            margin=0,
            # not Panel's min_height, which it would add up to the least height of the whole page
            styles={"gap": f"{ui.GAP}px", "min-height": "520px"},
            **BOTH,
        )
        self.found_result = ui.row(
            ui.text("This file holds a result of CellStream.", align="center"),
            pmui.Button(
                label="Show it",
                icon="bubble_chart",
                size="small",
                variant="outlined",
                on_click=self._show_result,
                margin=0,
            ),
        )
        top = ui.card(self.title, self.facts, self.found_result, self.busy)
        return [top, self.check, lower]

    def _on_source(self, *events: Any) -> None:
        source = self.session.source
        for part in (self.time_card, self.input_card, self.foot, self.shown):
            part.visible = source is not None
        self._on_busy()
        if source is None:
            return
        self.title.object = ui.styled(html.escape(source.title), "17px")
        self._say_facts()
        self.found_result.visible = holds_result(source)
        self._on_reading()

    def _say_facts(self) -> None:
        adata, snapshots = self.session.source.adata, self.session.snapshots
        parts = [("cells", adata.n_obs), ("genes or features", adata.n_vars), ("layers", len(adata.layers))]
        if snapshots is not None and len(snapshots.index) < adata.n_obs:
            parts.insert(1, ("cells used", len(snapshots.index)))
        self.facts.object = ui.facts(
            [(f"{n:,}", name) for name, n in parts] + [(_listed(adata.obsm) or "none", "embeddings in the file")]
        )

    def _on_reading(self, *events: Any) -> None:
        source, reading = self.session.source, self.session.reading
        if source is None:
            return
        self._syncing = True
        try:
            obs = source.adata.obs
            guesses = {str(guess.key): guess.reason for guess in times.guess_time_keys(obs)}
            keys = [*guesses, *(str(key) for key in obs.columns if str(key) not in guesses)]
            # without an entry of its own for "none", a list that nothing was chosen from shows its first column
            options = {key: key for key in keys} if reading.time_key else {CHOOSE: "", **{key: key for key in keys}}
            self.time_key.param.update(options=options, value=reading.time_key)
            self.reason.object = ui.styled(_why(reading.time_key, guesses), muted=True)
            self.gaps.value = REAL if reading.real_times else EVEN
            self.input.param.update(options={_input_name(name): name for name in inputs(source.adata)})
            self.input.value = reading.input
            self.form.show(dataclasses.replace(self.form.base, preprocess=reading.preprocess))
            self._fit_form(reading)
            unit = unit_of(obs, reading)
            self.unit.value = unit if unit in times.UNITS else ""
            self._show_table(time_table(obs, reading) if reading.time_key else None)
        finally:
            self._syncing = False

    def _fit_form(self, reading: Reading) -> None:
        """Of few features all are kept: what chooses among many is not asked for."""
        p = features_in(self.session.source.adata, reading.input)
        few = p <= MANY
        self.form.widgets["n_top_genes"].visible = not few or 0 < reading.preprocess.n_top_genes < p
        self.form.widgets["n_pcs"].visible = not few

    def _say_problem(self, *events: Any) -> None:
        problem, found = self.session.problem, self.session.diagnosis
        given = None if self.table is None else self.table.value[VALUE].notna()
        if problem and given is not None and not given.any():
            problem += TYPE_THEM
        elif problem and given is not None and given.sum() == 1 and len(given) > 1:
            problem = TYPE_OTHERS
        elif problem and found is not None and any(finding.remedy for finding in found.of(doctor.STOP)):
            problem = SEE_CHECK
        self.problem.say(problem)

    async def _on_prepared(self, *events: Any) -> None:
        session, snapshots = self.session, self.session.snapshots
        self._say_problem()
        self.next.disabled = snapshots is None
        if session.source is not None:
            self._say_facts()
        # without data that can be trained on there is nothing to draw: no empty frames
        self.picture_card.visible = self.bars_card.visible = snapshots is not None or not session.problem
        if snapshots is None:
            self.bars.object = self.picture.object = None
            self.uneven.visible = False
            self.report.object = ui.styled(LATER if session.problem else PREPARING, muted=True)
            return
        uneven = uneven_gaps(snapshots)
        said = ui.styled(f"The gaps between them are {uneven}; they count as equal.", muted=True)
        self.uneven.param.update(object=said, visible=bool(uneven))
        self._syncing = True
        self._show_table(time_table(session.source.adata.obs, session.reading, snapshots.rows))
        self._syncing = False
        masses = session.reading.masses
        doubts = cautions(snapshots, sizes=TYPE_SIZES, gaps=FOLLOW_GAPS, masses=masses)
        self.report.object = ui.bullets([*snapshots.report, *doubts])
        look = theme(session.dark)
        self.bars.object = charts.cells_per_time(snapshots.labels, snapshots.counts.tolist(), look)
        points = await asyncio.to_thread(metrics.principal_components, snapshots.x.numpy())
        if snapshots is not session.snapshots:
            return
        names = [str(label) for label in snapshots.labels]
        colour = Categories(snapshots.index.numpy(), names, time_colours(len(names)))
        cells = plots.Cells(np.asarray(points, np.float32), colour)
        picture = await asyncio.to_thread(plots.embedding, cells, size=PICTURE_SIZE)
        if snapshots is not session.snapshots:
            return
        self.picture.object = picture.opts(hv.opts.Overlay(hooks=[plots.scrolled_past]))

    def _on_busy(self, *events: Any) -> None:
        nothing, opening = self.session.source is None, bool(self.session.opening)
        self.empty.visible, self.under_way.visible = nothing and not opening, nothing and opening
        self.busy.visible = self.session.preparing
        if self.session.preparing and self.session.snapshots is None:
            self.report.object = ui.styled(PREPARING, muted=True)


def _input_name(name: str) -> str:
    """An input, for people: the matrix, a layer or an embedding."""
    kind, _, rest = name.partition(":")
    return {"X": "X, the main matrix", "layer": f"Layer {rest}", "obsm": f"Embedding {rest}"}[kind]


def _why(key: str, guesses: dict[str, str]) -> str:
    """Why a column of the time was guessed, and which others may be it."""
    if key not in guesses:
        return ""
    others = [name for name in guesses if name != key]
    also = f" It may also be {_listed(others)}." if others else ""
    return html.escape(f"Guessed: {guesses[key]} in the file.{also}")


def _listed(names: Any, most: int = 4) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" +{len(names) - most}" if len(names) > most else "")

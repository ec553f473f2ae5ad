"""Choosing genes: a search over all of them, and the chosen ones, of which one colours the cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream.errors import UserError
from cellstream_app import ui
from cellstream_app.decoded import Decoded
from cellstream_app.ui import WIDE

MOST = 8
"""Genes that are shown at once."""


class GenePicker(pn.viewable.Viewer):
    """``names`` are chosen, ``shown`` colours the cells; ``changed`` and ``turned`` are called when they are others."""

    def __init__(self, changed: Callable[[], None], turned: Callable[[], None]):
        super().__init__()
        self.changed, self.turned = changed, turned
        self.names: list[str] = []
        self.shown = ""
        self.genes: Decoded | None = None
        self._made: dict[str, tuple[pn.Row, pmui.Button, pn.pane.HTML]] = {}
        self.drivers: list[str] = []
        self.message = ui.Message()
        self.slot = ui.column()
        self._new_search()
        self.rows = ui.column(gap=2)
        self.view = ui.card(
            self.slot, self.message, self.rows, title="Genes",
            hint="Up to eight; the one that is filled colours the cells",
        )  # fmt: skip

    def __panel__(self) -> pmui.Paper:
        return self.view

    def show(self, genes: Decoded, names: Sequence[str]) -> None:
        """The genes of another result, these of them chosen."""
        self.genes, self.names = genes, list(names)
        self.shown = self.names[0] if self.names else ""
        self.message.clear()
        self.draw()
        self.offer([])

    def offer(self, drivers: list[str]) -> None:
        """What is listed before anything is typed: the strongest drivers, or the first genes of the file."""
        self.drivers = drivers or self.genes.matches("")
        self.search.options = self.drivers

    def add(self, name: str) -> None:
        """Choose one more, and colour the cells by it. Raises :class:`UserError`."""
        name = self.genes.called(name)
        if name not in self.names:
            if len(self.names) == MOST:
                raise UserError(f"{MOST} genes are shown already: take one away first.")
            self.names.append(name)
            self.changed()
        self.turn_to(name)

    def turn_to(self, name: str) -> None:
        """Colour the cells by this one."""
        self.shown = name
        self.draw()
        self.turned()

    def remove(self, name: str) -> None:
        self.names.remove(name)
        self.changed()
        if name == self.shown:
            self.turn_to(self.names[0] if self.names else "")
        self.draw()

    def draw(self) -> None:
        """The chosen genes, and how much of each the map returns."""
        known, self._made = self._made, {}
        for name in self.names:
            _, shown, told = self._made[name] = known.get(name) or self._row(name)
            r2 = self.genes.returned(name)
            shown.variant = "contained" if name == self.shown else "outlined"
            told.object = ui.styled(f"map returns {r2:.0%}" if np.isfinite(r2) else "", muted=True)
        rows = [row for row, _, _ in self._made.values()]
        if rows != list(self.rows):
            self.rows[:] = rows

    def _row(self, name: str) -> tuple[pn.Row, pmui.Button, pn.pane.HTML]:
        """A gene that was chosen: its row, what turns to it, and what is told of it. To make one takes the server long
        enough to be felt, so that they are kept."""
        shown = pmui.Button(
            label=name, size="small", variant="outlined", margin=0, on_click=lambda event: self.turn_to(name),
            sx={"textTransform": "none", "maxWidth": "130px"},
        )  # fmt: skip
        told = ui.text("", align="center")
        away = pmui.IconButton(
            icon="close", size="small", margin=0, description=f"Remove {name}", on_click=lambda event: self.remove(name)
        )
        return ui.row(shown, told, away, gap=8), shown, told

    def _new_search(self) -> None:
        """An empty field: a new one, since one that is emptied while the browser sends its text may keep either."""
        self.search = pmui.AutocompleteInput(
            label="Add a gene", placeholder="type a name", restrict=False, case_sensitive=False, min_characters=0,
            search_strategy="includes", options=self.drivers, size="small", margin=0, **WIDE,
        )  # fmt: skip
        self.search.param.watch(self._on_typing, "value_input")
        self.search.param.watch(self._on_chosen, "value")
        self.slot[:] = [self.search]

    def _on_typing(self, event: Any) -> None:
        if self.genes is not None:
            self.search.options = self.genes.matches(event.new) if event.new else self.drivers

    async def _on_chosen(self, event: Any) -> None:
        if event.new and self.genes is not None:
            self._new_search()
            await ui.asks(self.message)(partial(self.add, event.new))()

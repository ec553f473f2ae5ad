"""What the cells and the particles of the Explore page are coloured by, and the legend that picks cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream.errors import UserError
from cellstream_app import ui
from cellstream_app.colouring import GENE, TIME, Colouring, choices, colouring, genes
from cellstream_app.components.legend import Legend
from cellstream_app.palette import paint
from cellstream_app.particles import ONE, particle_choices, particle_colours
from cellstream_app.plots import Categories
from cellstream_app.session import Session
from cellstream_app.ui import WIDE


class Colours(pn.viewable.Viewer):
    """``changed`` is called when the cells' colours have, ``painted`` when only the particles' have."""

    def __init__(self, session: Session, changed: Callable[[], None], painted: Callable[[], None]):
        super().__init__()
        self.session, self.changed, self.painted = session, changed, painted
        self._syncing = False
        self._found: tuple[tuple, Colouring] | None = None
        self.message = ui.Message()
        self.by = pmui.Select(
            label="Colour cells by", value=TIME, options={"Time": TIME}, size="small", margin=0, **WIDE
        )
        self.gene = pmui.AutocompleteInput(
            label="Gene", placeholder="type a name", restrict=False, case_sensitive=False, min_characters=1,
            search_strategy="includes", size="small", margin=0, visible=False, **WIDE,
        )  # fmt: skip
        self.names = Legend(self._pick, self._paint, visible=False, margin=0, **WIDE)
        self.bar = ui.text("")
        self.particles = pmui.Select(
            label="Colour particles by", value=ONE, options={"One colour": ONE}, size="small", margin=0, **WIDE
        )
        self.box = ui.column(self.by, self.gene, self.names, self.bar, self.particles, self.message, gap=10)
        self.by.param.watch(self._on_change, "value")
        self.gene.param.watch(self._on_change, "value")
        self.particles.param.watch(self._on_particles, "value")
        session.param.watch(self._on_selection, "selection")

    def __panel__(self) -> pn.Column:
        return self.box

    def show(self, same: bool) -> None:
        """Offer what the session's result can be coloured by; what was chosen stays where it is the ``same`` run's."""
        result, source = self.session.result, self.session.result_source
        self._syncing = True
        self.by.options = options = choices(result, source)
        if self.by.value not in options.values() or (self.by.value == GENE and not same):
            self.by.value, self.gene.value, self.gene.visible = TIME, "", False
        self.gene.options = genes(result, source)
        self._offer_particles()
        self._syncing = False

    def _offer_particles(self) -> None:
        gene = self.gene.value if self.by.value == GENE else ""
        options = particle_choices(self.session.result_source, gene or "")
        value = self.particles.value if self.particles.value in options.values() else ONE
        self.particles.param.update(options=options, value=value)

    def colouring(self) -> Colouring:
        """How the cells are coloured now; tells it in the legend."""
        result, source = self.session.result, self.session.result_source
        key = TIME if self.by.value == GENE and not self.gene.value else self.by.value
        state = (result, source, key, self.gene.value)
        if self._found is None or self._found[0] != state:
            try:
                found = colouring(result, source, key, self.gene.value or "")
            except UserError as error:
                self.message.say(str(error), "error")
                found = colouring(result, source, TIME)
            self._found = state, found
            self._show_legend(found, key)
        return self._found[1]

    def _show_legend(self, found: Colouring, key: str) -> None:
        self.names.visible, self.bar.visible = found.counts is not None, found.counts is None
        if found.counts is None:
            self.bar.object = found.legend
            return
        assert isinstance(found.colour, Categories)
        shown = zip(found.colour.names, found.colour.colours, strict=True)
        items = [dict(name=n, colour=c, count=found.counts[n]) for n, c in shown if n in found.counts]
        self.names.param.update(items=items, editable=key.startswith("obs:"), picked=[])

    def particle_colours(self, one: str) -> np.ndarray:
        """Bytes (particles, 4); ``one`` is the colour where there is only one."""
        session = self.session
        return particle_colours(session.result, session.result_source, self.particles.value, one)

    # what the user does

    def _on_change(self, event: Any) -> None:
        self.gene.visible = self.by.value == GENE
        if not self._syncing and self.session.result is not None:
            self.message.clear()
            self._syncing = True
            self._offer_particles()
            self._syncing = False
            self.changed()

    def _on_particles(self, event: Any) -> None:
        if not self._syncing and self.session.result is not None:
            self.painted()

    def _pick(self, name: str, add: bool) -> None:
        """Select the cells of a name; once more, and none of them is."""
        colour = self.colouring().colour
        assert isinstance(colour, Categories)
        cells = np.flatnonzero(np.asarray(colour.codes) == list(colour.names).index(name))
        others = [other for other in self.names.picked if add and other != name]
        before = self.session.selection if add and self.session.selection is not None else np.empty(0, int)
        if name in self.names.picked:
            self.session.selection = _or_none(np.setdiff1d(before, cells))
            self.names.picked = others
        else:
            self.session.selection = np.union1d(before, cells)
            self.names.picked = [*others, name]

    def _on_selection(self, event: Any) -> None:
        self.names.picked = []  # where names were picked, who picked them says so after this

    def _paint(self, name: str, colour: str) -> None:
        self.message.clear()
        try:
            paint(self.session.result_source.key, self.by.value.removeprefix("obs:"), name, colour)
        except UserError as error:
            self.message.say(str(error), "error")
        self._found = None
        self.changed()
        self.painted()


def _or_none(cells: np.ndarray) -> np.ndarray | None:
    return cells if len(cells) else None

"""What cells are coloured by: the choice, which Explore and Compare share, and the legend, whose names pick cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream.colours import Categories, Values
from cellstream_app import colouring, search, ui
from cellstream_app.colouring import GENE, TIME, Colouring
from cellstream_app.components.legend import Swatches
from cellstream_app.results import Result
from cellstream_app.sources import Source
from cellstream_app.ui import WIDE


class ColourBy(pn.viewable.Viewer):
    """A kind of colour, and the gene where it is one; ``changed`` is called when a user has chosen another."""

    def __init__(self, label: str, changed: Callable[[], None]):
        super().__init__()
        self.changed = changed
        self._offering = False
        self._genes = search.Names([])
        self.by = pmui.Select(label=label, value=TIME, options={"Time": TIME}, size="small", margin=0, **WIDE)
        self.gene = pmui.AutocompleteInput(
            label="Gene", placeholder="type a name", restrict=False, case_sensitive=False, min_characters=1,
            search_strategy="includes", size="small", margin=0, visible=False, **WIDE,
        )  # fmt: skip
        self.view = ui.column(self.by, self.gene, gap=10)
        for widget in (self.by, self.gene):
            widget.param.watch(self._on_change, "value")
        self.gene.param.watch(self._on_typing, "value_input")

    def __panel__(self) -> pn.Column:
        return self.view

    @property
    def key(self) -> tuple[str, str]:
        """What cells are coloured by, and the gene; by time while no gene has been chosen."""
        gene = self.gene.value or ""
        return (TIME, "") if self.by.value == GENE and not gene else (self.by.value, gene)

    def offer(self, result: Result, source: Source | None, same: bool) -> None:
        """What a result can be coloured by; a gene is forgotten unless it is the ``same`` run's."""
        self._offering = True
        options = colouring.choices(result, source)
        self.by.options = options
        if self.by.value not in options.values() or (self.by.value == GENE and not same):
            self.by.value, self.gene.value = TIME, ""
        self.gene.visible = self.by.value == GENE
        self._genes = search.Names(colouring.genes(result, source))
        self.gene.options = self._genes.matches(self.gene.value or "")
        self._offering = False

    def choose(self, key: str, gene: str = "") -> None:
        """Take this colour where there is such; nobody is told."""
        if key not in self.by.options.values():
            return
        self._offering = True
        self.by.value = key
        if key == GENE:
            self.gene.options = self._genes.matches(gene)
            self.gene.value = gene
        self.gene.visible = key == GENE
        self._offering = False

    def _on_typing(self, event: Any) -> None:
        self.gene.options = self._genes.matches(event.new or "")

    def _on_change(self, event: Any) -> None:
        self.gene.visible = self.by.value == GENE
        if not self._offering:
            self.changed()


class Names(pn.viewable.Viewer):
    """The legend of a colouring: names that pick their cells, or a bar of colours.

    ``picked`` is called with what :func:`toggled` needs beside what was picked before: the cells of a name, whether
    they are wanted, and whether others stay. ``paint`` is called with a name and its new colour.
    """

    def __init__(
        self, picked: Callable[[np.ndarray, bool, bool], None], paint: Callable[[str, str], None] | None = None
    ):
        super().__init__()
        self.picked = picked
        self.shown: Colouring | None = None
        self.names, self.bar = Swatches(self._on_pick, paint, visible=False, margin=0, **WIDE), ui.text("")
        self.view = ui.column(self.names, self.bar, gap=0)

    def __panel__(self) -> pn.Column:
        return self.view

    def show(self, found: Colouring, editable: bool = False) -> None:
        """Another colouring; ``editable``: whether its colours can be changed."""
        before, self.shown = self.shown, found
        counts, colour = found.counts, found.colour
        named = counts is not None and isinstance(colour, Categories)
        self.names.visible, self.bar.visible = named, not named
        if not named:
            self.bar.object = found.legend
            return
        pairs = zip(colour.names, colour.colours, strict=True)
        items = [dict(name=name, colour=c, count=counts[name]) for name, c in pairs if name in counts]
        self.names.param.update(items=items, editable=editable)
        if before is None or not _same_kinds(before.colour, colour):
            self.forget()

    def forget(self) -> None:
        """Cells were picked in another way: no name stands for them."""
        self.names.picked = []

    def _on_pick(self, name: str, add: bool) -> None:
        colour = self.shown.colour
        cells = np.flatnonzero(np.asarray(colour.codes) == list(colour.names).index(name))
        wanted = name not in self.names.picked
        others = [other for other in self.names.picked if add and other != name]
        self.picked(cells, wanted, add)  # whoever hears of other picked cells forgets the names
        self.names.picked = [*others, name] if wanted else others


def _same_kinds(one: Categories | Values, other: Categories) -> bool:
    return (
        isinstance(one, Categories)
        and list(one.names) == list(other.names)
        and np.array_equal(np.asarray(one.codes), np.asarray(other.codes))
    )


def toggled(before: np.ndarray | None, cells: np.ndarray, wanted: bool, add: bool) -> np.ndarray | None:
    """The picked cells after those of a name were ``wanted``, or no longer: alone, or added to those ``before``."""
    kept = before if add and before is not None else np.empty(0, int)
    found = np.union1d(kept, cells) if wanted else np.setdiff1d(kept, cells)
    return found if len(found) else None

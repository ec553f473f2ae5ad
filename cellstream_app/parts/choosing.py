"""The controls of the Compare page: what stands on each side, colours, picking, layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream_app import embeddings, ui
from cellstream_app.colouring import Colouring
from cellstream_app.parts.colourby import ColourBy, Names
from cellstream_app.picking import BOX, LASSO, MOVE
from cellstream_app.results import Result
from cellstream_app.session import SAMPLE, Session, offered
from cellstream_app.sources import Source
from cellstream_app.ui import WIDE

COURSE, MOMENT = "whole course", "this moment"
RUN = "run:"
"""How keys of results begin among what can be chosen for the right; other keys are embeddings."""
ONE_RESULT = "There is one result so far. Train again with other settings to compare two."


class Choosing(pn.viewable.Viewer):
    """Widgets; ``quiet`` while they are changed by the page and not by the user.

    ``coloured`` is called when another colour is chosen; ``picked`` with the place of the legend in which a name was
    clicked, "left" or "right", and what :class:`Names` says of it.
    """

    def __init__(
        self,
        session: Session,
        coloured: Callable[[], None],
        picked: Callable[[str, np.ndarray, bool, bool], None],
    ):
        super().__init__()
        self.session, self.quiet = session, False
        choice = dict(size="small", margin=0, **WIDE)
        self.one = pmui.Select(label="Left", **choice)
        self.other = pmui.Select(label="Right", value=embeddings.PCA, **choice)
        self.hint = ui.text("", muted=True)
        self.message = ui.Message()
        self.colour = ColourBy("Colour both by", coloured)
        self.names = {place: Names(partial(picked, place)) for place in ("left", "right")}
        self.places = [ui.text(place.capitalize(), muted=True, visible=False) for place in self.names]
        switch = dict(margin=0, size="small", sx={"& .MuiTypography-root": {"fontSize": "14px"}})
        self.particles = pmui.Switch(label="Particles", value=True, **switch)
        self.streams = pmui.Switch(label="Streamlines of the velocity v", value=True, **switch)
        self.growth = pmui.Switch(label="Map of the growth rate g", value=False, **switch)
        group = dict(variant="outlined", color="primary", **choice)
        self.when = pmui.RadioButtonGroup(
            label="Streamlines and growth of", options=[COURSE, MOMENT], value=COURSE, **group
        )
        self.growth_legend = ui.text("", visible=False)
        self.drag = pmui.RadioButtonGroup(label="Dragging", options=[MOVE, BOX, LASSO], value=MOVE, **group)
        self.labels = pmui.Select(label="Count and compare labels", options={"none": ""}, value="", **choice)
        titled = zip(self.places, self.names.values(), strict=True)
        legends = ui.column(*(part for pair in titled for part in pair), gap=4)
        cells = ui.card(self.colour, legends, title="Cells")
        pick = ui.card(
            self.drag, self.labels, title="Pick cells",
            hint="Draw around cells on one side, or click a name in the legend (Shift adds): the same cells are lit on "
            "the other.",
        )  # fmt: skip
        switches = ui.column(self.particles, self.streams, self.growth, gap=4)
        layers = ui.card(switches, self.when, self.growth_legend, title="Layers")
        self.cards = ui.column(cells, pick, layers)
        self.view = ui.side_panel(
            ui.card(self.one, self.other, self.hint, self.message, title="Compare"), self.cards, width=316
        )

    def __panel__(self) -> pn.viewable.Viewable:
        return self.view

    @property
    def layers(self) -> dict[str, bool]:
        return dict(
            streams=self.streams.value,
            growth=self.growth.value,
            particles=self.particles.value,
            moment=self.when.value == MOMENT,
        )

    def offer_sides(self) -> None:
        """Every result; for the right also embeddings of the left's cells."""
        session, result = self.session, self.session.result
        options = offered(session)
        one = session.run_id if session.run_id in options.values() else SAMPLE
        others = {name: f"{RUN}{folder}" for name, folder in options.items() if folder != one}
        made = embeddings.choices(result, session.result_source) if result is not None else {}
        in_file = {name: key for name, key in made.items() if key.startswith(embeddings.IN_FILE)}
        known = {name: key for key, name in embeddings.SHOWN_NAMES.items()}
        # across its groups, the list tells entries by their names alone
        taken = {*known, *in_file}
        others = {f"{name} (result)" if name in taken else name: key for name, key in others.items()}
        groups = {"Well-known embeddings of these cells": known, "In the data set": in_file, "Other results": others}
        every = [key for of in groups.values() for key in of.values()]
        wanted = session.beside or self.other.value  # which may be a column of a file that is still being opened
        value = wanted if wanted in every else embeddings.PCA
        self.quiet = True
        self.one.param.update(options=options, value=one)
        self.other.param.update(groups={name: of for name, of in groups.items() if of}, value=value)
        self.quiet = False
        self.hint.object = ui.styled("" if others else ONE_RESULT, muted=True)

    def offer_colours(self, result: Result, source: Source | None, labels: Iterable[str], new: bool) -> None:
        """What the cells of the left can be coloured and counted by; a gene is forgotten with a ``new`` result."""
        self.colour.offer(result, source, same=not new)
        self.quiet = True
        found = {key: key for key in labels}
        kept = self.labels.value if self.labels.value in found else next(iter(found), "")
        self.labels.param.update(options={**found, "none": ""}, value=kept)
        self.quiet = False

    def show_legends(self, one: Colouring, two: Colouring, same: bool) -> None:
        """One legend where it says the same of both sides; names stand for cells, so only of the ``same`` cells."""
        shared = one.legend == two.legend and (same or one.counts is None)
        self.names["left"].show(one)
        if not shared:
            self.names["right"].show(two)
        for part in (*self.places, self.names["right"].view):
            part.visible = not shared

    def forget_names(self) -> None:
        """Cells were picked in another way than by the legends."""
        for names in self.names.values():
            names.forget()

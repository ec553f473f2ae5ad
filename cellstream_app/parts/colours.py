"""What the cells and the particles of the Explore page are coloured by, and the legend that picks cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream.errors import UserError
from cellstream_app import ui
from cellstream_app.colouring import GENE, TIME, Colouring, colouring
from cellstream_app.palette import paint
from cellstream_app.particles import ONE, particle_choices, particle_colours, particle_key
from cellstream_app.parts.colourby import ColourBy, Names, toggled
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
        self.choice = ColourBy("Colour cells by", self._on_change)
        self.legend = Names(self._pick, self._paint)
        self.particles = pmui.Select(
            label="Colour particles by", value=ONE, options={"One colour": ONE}, size="small", margin=0, **WIDE
        )
        self.key = ui.text("", visible=False)
        self.box = ui.column(self.choice, self.legend, self.particles, self.key, self.message, gap=10)
        self.particles.param.watch(self._on_particles, "value")
        session.param.watch(lambda event: self.legend.forget(), "selection")

    def __panel__(self) -> pn.Column:
        return self.box

    def show(self, same: bool) -> None:
        """Offer what the session's result can be coloured by; what was chosen stays where it is the ``same`` run's."""
        self.choice.offer(self.session.result, self.session.result_source, same)
        self._offer_particles()

    def choose(self, key: str, gene: str, particles: str) -> None:
        """Take these, as far as there are such; nobody is told."""
        self.choice.choose(key, gene)
        self._offer_particles()
        if particles in self.particles.options.values():
            self._syncing = True
            self.particles.value = particles
            self._syncing = False

    def _offer_particles(self) -> None:
        key, gene = self.choice.key
        if key == GENE and self.colouring().title != gene:  # it was typed, and is none
            gene = ""
        options = particle_choices(self.session.result_source, gene if key == GENE else "")
        value = self.particles.value if self.particles.value in options.values() else ONE
        self._syncing = True
        self.particles.param.update(options=options, value=value)
        self._syncing = False

    def colouring(self) -> Colouring:
        """How the cells are coloured now; tells it in the legend."""
        result, source = self.session.result, self.session.result_source
        key, gene = self.choice.key
        state = (result, source, key, gene)
        if self._found is None or self._found[0] != state:
            try:
                found = colouring(result, source, key, gene)
            except UserError as error:
                self.message.say(str(error), "error")
                found = colouring(result, source, TIME)
            self._found = state, found
            self.legend.show(found, editable=key.startswith("obs:"))
            self._tell_key()
        return self._found[1]

    def _tell_key(self) -> None:
        """What the particles' colours mean, where the cells' legend does not say it."""
        session, choice = self.session, self.particles.value
        known = choice.partition(":")[2] in (self.choice.by.value, self.choice.gene.value)
        told = "" if known else particle_key(session.result, session.result_source, choice)
        self.key.param.update(object=told, visible=bool(told))

    def particle_colours(self, one: str) -> np.ndarray:
        """Bytes (particles, 4); ``one`` is the colour where there is only one."""
        session = self.session
        self._tell_key()
        return particle_colours(session.result, session.result_source, self.particles.value, one)

    # what the user does

    def _on_change(self) -> None:
        if self.session.result is not None:
            self.message.clear()
            self._offer_particles()
            self.changed()

    def _on_particles(self, event: Any) -> None:
        if not self._syncing and self.session.result is not None:
            self.painted()

    def _pick(self, cells: np.ndarray, wanted: bool, add: bool) -> None:
        self.session.selection = toggled(self.session.selection, cells, wanted, add)

    def _paint(self, name: str, colour: str) -> None:
        self.message.clear()
        try:
            paint(self.session.result_source.key, self.choice.by.value.removeprefix("obs:"), name, colour)
        except UserError as error:
            self.message.say(str(error), "error")
        self._found = None
        self.changed()
        self.painted()
        self.session.painted += 1

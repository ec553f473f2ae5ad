"""One of two pictures that stand beside each other: what it shows, in a line, over a stage; and the colours of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import panel as pn

from cellstream.colours import Categories, Values, growth_colours
from cellstream.errors import UserError
from cellstream.stream import METHOD
from cellstream_app import ui
from cellstream_app.colouring import GROWTH, TIME, Colouring, colouring
from cellstream_app.embeddings import Plain
from cellstream_app.parts.stage import Stage
from cellstream_app.results import Result
from cellstream_app.session import Session
from cellstream_app.sources import Source
from cellstream_app.style import colour_bar_html
from cellstream_app.ui import WIDE

HEIGHT = 420
"""Pixels of a stage; both are always of one size, so that a share of the view is the same for both."""
SIZE = (470, HEIGHT)
"""Pixels of a stage, about."""
LAYERS = ("streams", "growth", "particles")


class Screen:
    """The session's screen, as a stage reads it, with a data set and picked cells of its own."""

    def __init__(self, session: Session):
        self._session = session
        self.result_source: Source | None = None
        self.selection: np.ndarray | None = None

    @property
    def dark(self) -> bool:
        return self._session.dark

    @property
    def pixel_ratio(self) -> float:
        return self._session.pixel_ratio


class Side(pn.viewable.Viewer):
    """A result, or an embedding without dynamics, in a card."""

    def __init__(self, session: Session, hooks: Sequence[Callable]):
        super().__init__()
        self.screen = Screen(session)
        self.stage = Stage(self.screen, hooks=hooks, size=SIZE)
        self.shown: Result | Plain | None = None
        self.learned = False
        """Whether it has a velocity and a growth that mean anything."""
        self.title = ui.text("", min_height=38)
        self._colours: Colouring | None = None
        bare = {"boxShadow": "none", "backgroundImage": "none", "overflow": "hidden", "p": 0}
        head = ui.column(self.title, styles={"padding": "10px 16px 0", "box-sizing": "border-box"})
        place = pn.Column(self.stage, margin=0, height=HEIGHT, **WIDE)
        self.view = ui.card(head, place, sx=bare)

    def __panel__(self) -> pn.viewable.Viewable:
        return self.view

    @property
    def picked(self) -> np.ndarray | None:
        """Positions of the cells that are lit; None: all."""
        return self.screen.selection

    @picked.setter
    def picked(self, cells: np.ndarray | None) -> None:
        self.screen.selection = cells

    @property
    def source(self) -> Source | None:
        """The data set behind it, where it is still there."""
        return self.screen.result_source

    def show(self, colours: Colouring, layers: dict[str, bool], t: float, learned: bool) -> None:
        """Draw ``shown`` as a new figure: another picture, or another theme."""
        self.learned, self._colours = learned, colours
        self.set_layers(layers)
        self.stage.show(self.shown, colours, self.within(t))
        self.say()

    def say(self) -> None:
        """In a line above the stage, what it shows."""
        if self.shown is None:
            return
        name, said = described(self.shown)
        self.title.object = ui.styled(
            f"<b style='font-weight:600'>{ui.escaped(name)}</b> <span style='opacity:.72'>{ui.escaped(said)}</span>"
        )

    def set_layers(self, layers: dict[str, bool]) -> None:
        """Which layers are on; none where nothing has been learned."""
        self.stage.layers |= {name: layers[name] and self.learned for name in LAYERS} | {"moment": layers["moment"]}
        self.stage.canvas.visible = self.stage.layers["particles"]

    def recolour(self, colours: Colouring | None = None, picked: np.ndarray | None = None) -> None:
        """Other colours, or other cells lit."""
        self._colours, self.picked = colours or self._colours, picked
        if self.shown is not None:
            self.stage.recolour(self._colours)

    async def at(self, t: float) -> None:
        """Draw the layers as they are at time ``t``."""
        if self.shown is not None and self.learned:
            await self.stage.at(self.within(t))

    def within(self, t: float) -> float:
        """The time nearest to ``t`` that is known here."""
        return float(np.clip(t, self.shown.times[0], self.shown.times[-1]))


def described(shown: Result | Plain) -> tuple[str, str]:
    """Its name, and a sentence about it."""
    cells = f"{len(shown.index):,} cells at {len(shown.times)} time points."
    if isinstance(shown, Plain):
        return shown.name, f"{shown.share or cells} No velocity, no growth."
    d, method = shown.z.shape[1], shown.stream.method
    said = [cells]
    if method != METHOD and method not in shown.run.name:
        said.append(f"Dynamics of {method}.")
    if not shown.final:
        said.append("Not finished: its latest picture.")
    if d > 2:
        said.append(f"Two leading components of {d} dimensions.")
    return shown.run.name, " ".join(said)


def two_colourings(
    left: Side, right: Side, key: str, gene: str, there: np.ndarray | None
) -> tuple[Colouring, Colouring, str]:
    """One choice of colour for both sides, on one scale where numbers have one unit; and what went wrong, if anything.

    ``there`` are the positions on the left of the cells on the right, for embeddings without values of their own.
    """
    problem = ""
    one, problem = _or_time(left.shown, left.source, key, gene)
    if right.shown is None:
        return one, one, problem
    if isinstance(right.shown, Plain):
        return one, replace(one, colour=_of(one.colour, there, len(right.shown.index))), problem
    two, other = _or_time(right.shown, right.source, key, gene)
    if key == GROWTH and (limit := common_limit(left.shown, right.shown)):
        rate = left.shown.stream.clock.rate_unit
        bar = colour_bar_html(growth_colours(), (-limit, limit), f"doublings per {rate}", "0")
        one, two = (Colouring(replace(c.colour, limits=(-limit, limit)), bar) for c in (one, two))
    return one, two, problem or other


def common_limit(left: Result | Plain | None, right: Result | Plain | None) -> float | None:
    """Where the colours of growth end on both sides; None where only one has growth, or their units differ."""
    if not (isinstance(left, Result) and isinstance(right, Result)):
        return None
    same = left.stream.clock.rate_unit == right.stream.clock.rate_unit
    return max(left.growth_limit, right.growth_limit) if same else None


def _or_time(shown: Result, source: Source | None, key: str, gene: str) -> tuple[Colouring, str]:
    try:
        return colouring(shown, source, key, gene), ""
    except UserError as error:
        return colouring(shown, source, TIME), str(error)


def _of(colour: Categories | Values, there: np.ndarray, n: int) -> Categories | Values:
    """The colours of these cells; the very same array where they are all cells in their order."""
    if n == len(_numbers(colour)) and (n == 0 or (there[0] == 0 and np.array_equal(there, np.arange(n)))):
        return colour
    if isinstance(colour, Values):
        return replace(colour, values=colour.values[there], limits=colour.span())
    return replace(colour, codes=np.asarray(colour.codes)[there])


def _numbers(colour: Categories | Values) -> np.ndarray:
    return colour.values if isinstance(colour, Values) else colour.codes

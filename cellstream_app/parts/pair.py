"""Two sides as one: which cell of the left is which of the right, their colours, their time, and what is picked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cellstream_app import colouring, embeddings, pairing
from cellstream_app.colouring import Colouring
from cellstream_app.embeddings import Plain
from cellstream_app.parts.linked import Linked
from cellstream_app.parts.picked import Picked
from cellstream_app.parts.side import Side, common_limit, two_colourings
from cellstream_app.picking import inside
from cellstream_app.results import Result
from cellstream_app.session import Session
from cellstream_app.sources import Source

LINKED = "Zoom, pan and pick on one side, and the other follows."
OTHER_DATA = "These are results of different data: colours, cells and picks of one say nothing of the other."
OTHER_UNIT = "Their times have different units, so each side plays its own time."


class Pair:
    """A left side, which has a result, and a right one. Picked cells are kept as the session's ``selection``.

    ``changed`` is called when other cells are picked.
    """

    def __init__(self, session: Session, changed: Callable[[], None]):
        self.session, self.changed = session, changed
        self.linked = Linked(self._on_drawn)
        self.left, self.right = (Side(session, [self.linked.hook(place)]) for place in ("left", "right"))
        self.right.stage.canvas.clock = False
        self.same = True
        """Whether rows of one file say which cell of the left is which of the right."""
        self.said = LINKED
        """What is linked and what is not, in a sentence."""
        self._to_right: np.ndarray | None = None
        self._to_left: np.ndarray | None = None
        self._picking = False
        session.param.watch(self._on_selection, "selection")
        for name in ("playing", "speed"):
            self.left.stage.canvas.param.watch(self._keep_pace, name)

    def match(self, left: Result, right: Result | Plain | None) -> None:
        """Find out which cell is which, and what can be linked."""
        self.same, self._to_right, self._to_left = True, None, None
        timed = True
        if right is not None:
            # an embedding is always made of the left's cells, or of some of them
            self.same = isinstance(right, Plain) or embeddings.same_cells(left.snapshots, right.snapshots)
            timed = self.same or left.snapshots.unit == right.snapshots.unit
        if right is not None and self.same:
            self._to_right = pairing.matched(left.rows, right.rows)
            self._to_left = pairing.matched(right.rows, left.rows)
        self.right.stage.canvas.follows = self.left.stage.canvas.frame_id if timed else ""
        self.said = LINKED if self.same else OTHER_DATA if timed else f"{OTHER_DATA} {OTHER_UNIT}"

    def put(
        self, left: Result, source: Source | None, right: Result | Plain | None, right_source: Source | None
    ) -> None:
        """What stands on each side, matched before; drawn by :meth:`draw`."""
        for side, shown, of in ((self.left, left, source), (self.right, right, right_source)):
            side.shown, side.screen.result_source = shown, of
        self.left.picked = self.session.selection
        self.right.picked = self._on_right(self.session.selection)

    def draw(self, one: Colouring, two: Colouring, layers: dict[str, bool], t: float, learned: bool) -> None:
        """New figures on both sides; ``learned``: whether the left has dynamics that mean anything."""
        limit = common_limit(self.left.shown, self.right.shown)
        for side in (self.left, self.right):
            side.stage.growth_limit = limit
        self.left.show(one, layers, t, learned)
        self.right.view.visible = self.right.shown is not None
        if self.right.shown is not None:
            self.right.show(two, layers, t, self.right.shown.learned)
        self._keep_pace()

    def say(self) -> None:
        """Say again what each side shows: a run was given another name."""
        for side in (self.left, self.right):
            side.say()

    def colours(self, key: str, gene: str) -> tuple[Colouring, Colouring, str]:
        """The colours of both sides, and what went wrong, if anything."""
        return two_colourings(self.left, self.right, key, gene, self._to_left)

    def set_layers(self, layers: dict[str, bool]) -> None:
        for side in (self.left, self.right):
            side.set_layers(layers)
            side.recolour(picked=side.picked)

    async def at(self, t: float) -> None:
        """Draw the layers of both as they are at time ``t``; where the right plays its own time, there."""
        await self.left.at(t)
        canvas = self.right.stage.canvas
        await self.right.at(t if canvas.follows else canvas.time)

    @property
    def last_cost(self) -> float:
        """Seconds that the last drawing of the layers took."""
        return self.left.stage.last_cost + self.right.stage.last_cost

    def growth_legend(self) -> str:
        """The colour bars of the growth maps, one where both are on one scale; empty where there are none."""
        places = {"left: ": self.left, "right: ": self.right}
        sides = {place: side for place, side in places.items() if side.shown is not None and side.learned}
        if len(sides) == 2 and self.left.stage.growth_limit is None:
            return "".join(side.stage.growth_legend(place) for place, side in sides.items())
        return next((side.stage.growth_legend() for side in sides.values()), "")

    def _keep_pace(self, *events: Any) -> None:
        """The right follows the left frame by frame; where their times differ, it plays its own."""
        here, there = self.left.stage.canvas, self.right.stage.canvas
        there.param.update(playing=here.playing and not there.follows and self.right.learned, speed=here.speed)

    # picking

    def clear(self) -> None:
        """Nothing is picked."""
        self._pick(None, None)

    def tell(self, shown: Picked, label_key: str) -> None:
        """Which cells are picked, counted by this column of the data set."""
        side = self.right if self.left.picked is None and self.right.picked is not None else self.left
        if side.shown is None:
            return
        remark, labels = "", None
        if not self.same:
            remark = f"On the {'right' if side is self.right else 'left'} only, since the data differ."
        elif side.picked is not None and self.right.picked is not None:
            missing = len(side.picked) - len(self.right.picked)
            remark = f"{missing:,} of them are not among the cells on the right." if missing > 0 else ""
        if side.source is not None and label_key in side.source.adata.obs and isinstance(side.shown, Result):
            labels = colouring.colouring(side.shown, side.source, f"obs:{label_key}")
        shown.show(side.picked, side.shown.index, side.shown.snapshots.labels, labels, remark)

    def _on_drawn(self, place: str, geometry: Mapping[str, Any]) -> None:
        side = self.left if place == "left" else self.right
        if side.shown is None:
            return
        found = inside(side.shown.points, geometry)
        self.pick(place, found if len(found) else None)

    def pick(self, place: str, picked: np.ndarray | None) -> None:
        """Cells of the side at this place, and those that they are on the other."""
        if place == "left":
            self._pick(picked, self._on_right(picked))
        elif self.same and picked is not None:
            there = pairing.carried(picked, self._to_left)
            self._pick(there if len(there) else None, picked)
        else:
            self._pick(None, picked)

    def _pick(self, left: np.ndarray | None, right: np.ndarray | None) -> None:
        if self.left.shown is self.session.result:  # not while the right of another result is being made
            self._picking = True
            self.session.selection = left
            self._picking = False
        self._light(left, right)

    def _on_selection(self, *events: Any) -> None:
        """Cells were picked elsewhere. What is out of sight is lit when it is shown again."""
        if not self._picking and self.left.shown is self.session.result and self.session.page == "compare":
            self.follow_selection()

    def follow_selection(self) -> None:
        """Light what the session has as picked."""
        if self.left.picked is not self.session.selection:
            self._light(self.session.selection, self._on_right(self.session.selection))

    def _on_right(self, picked: np.ndarray | None) -> np.ndarray | None:
        """The right's positions of cells of the left."""
        return None if picked is None or self._to_right is None else pairing.carried(picked, self._to_right)

    def _light(self, left: np.ndarray | None, right: np.ndarray | None) -> None:
        for side, picked in ((self.left, left), (self.right, right)):
            if side.picked is not None or picked is not None:
                side.recolour(picked=picked)
        self.changed()

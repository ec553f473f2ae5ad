"""Bundles as the screen has them: what is shown goes into one, and comes back out of it. It knows no widget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellstream import bundle, runs
from cellstream.errors import UserError
from cellstream.runs import Run
from cellstream_app.palette import is_colour, own_colours, paint_all
from cellstream_app.results import Result
from cellstream_app.shown import Shown, is_number
from cellstream_app.sources import permitted

if TYPE_CHECKING:
    from cellstream_app.session import Session

PAGES = ("train", "explore", "genes", "compare")
"""Pages that show a run; of any other one, a bundle opens on Explore."""
MOST_NAMES = 2_000
"""Labels whose colours are taken over."""


@dataclass(frozen=True)
class View:
    """What a bundle says of the screen."""

    shown: Shown = field(default_factory=Shown)
    """What Explore shows."""
    page: str = "explore"
    time: float | None = None
    """In the data's unit; None for the first one."""
    playing: bool = True
    selection: tuple[int, ...] | None = None
    """Positions of cells."""
    colours: Mapping[str, Mapping[str, str]] | None = None
    """Colours that were given to labels, by column and name."""

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> View:
        """From what :func:`view_state` gave, be it a stranger's: what is not understood is as by default."""
        page, time, cells, colours = (found.get(key) for key in ("page", "time", "selection", "colours"))
        explore = found.get("explore")
        timed = is_number(time)
        return cls(
            Shown.from_dict(explore) if isinstance(explore, Mapping) else Shown(),
            page if page in PAGES else "explore",
            float(time) if timed else None,
            found.get("playing") is not False,
            tuple(cells) if isinstance(cells, list) and cells and all(type(k) is int for k in cells) else None,
            colours if isinstance(colours, Mapping) else None,
        )

    def of(self, result: Result) -> dict[str, Any]:
        """Values of the session's parameters that show it, as far as this result has them."""
        first, last = float(result.times[0]), float(result.times[-1])
        cells = None
        if self.selection is not None:
            asked = np.array([k for k in self.selection if 0 <= k < len(result.index)], dtype=int)
            cells = asked if len(asked) else None
        time = first if self.time is None else min(max(self.time, first), last)
        return dict(time=time, playing=self.playing, selection=cells)


def view_state(session: Session, page: str | None = None) -> dict[str, Any]:
    """What a session shows, as plain JSON values: what Explore was left with, the time, the selected cells, the colours
    given to labels, and the page, or another ``page`` in its place. Whether all is dark is nobody else's matter."""
    selection, source = session.selection, session.result_source
    page = session.page if page is None else page
    return dict(
        page=page if page in PAGES else "explore",
        explore=session.shown.to_dict(),
        time=float(session.time),
        playing=bool(session.playing),
        selection=None if selection is None else [int(k) for k in selection],
        colours=own_colours(source.key) if source is not None else {},
    )


def packer(
    session: Session, with_data: bool = False, figure: Callable[[], bundle.packing.Figure] | None = None
) -> Callable[[Path], Path]:
    """What writes a bundle of the session's result, with what is shown of it now, to a path whose name ends in
    ``.cellstream.zip``: to be called in a thread, since it takes a while. ``figure`` gives a file, or a name and bytes.

    Both raise :class:`UserError`: there is no result, or the run has no model yet; the path is taken or cannot be
    written to.
    """
    if session.result is None:
        raise UserError("No result is shown, so there is nothing to bundle: choose a run first.")
    folder, shown = session.result.run.folder, view_state(session, "explore")

    def write(out: Path) -> Path:
        figures = [figure()] if figure is not None else []
        return bundle.pack(Run(folder), out, data=with_data, shown=shown, figures=figures)

    return write


def names_bundle(key: str) -> bool:
    """Whether what the user names is a bundle."""
    try:
        return bundle.is_bundle(permitted(key))
    except UserError:
        return False


def opened_bundle(path: str) -> tuple[Run, View]:
    """The run of a bundle, made where it was not opened before, and what to show of it. Takes a while; raises
    :class:`UserError`."""
    place = permitted(path)
    try:
        opened = bundle.unpack(place)
    finally:
        if place.parent == (runs.home() / "uploads").resolve():
            with suppress(OSError):  # nobody needs what came from a browser once it is unpacked
                place.unlink()
    view = View.from_dict(opened.manifest.view or {})
    _take_colours(opened.run, view)
    return opened.run, view


def _take_colours(run: Run, view: View) -> None:
    """Colours that labels had there, where they have none of one's own here."""
    key, left = str(run.recipe.get("source") or ""), MOST_NAMES
    if not key or not view.colours:
        return
    own = own_colours(key)
    new: dict[str, dict[str, str]] = {}
    for column, names in view.colours.items():
        for name, colour in names.items() if isinstance(names, Mapping) else ():
            left -= 1
            if left >= 0 and name not in own.get(column, {}) and is_colour(colour):
                new.setdefault(column, {})[name] = colour
    if new:
        with suppress(UserError):
            paint_all(key, new)

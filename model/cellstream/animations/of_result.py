"""A result in a file as a film: what a person asks for in words, looked up in the file."""

from __future__ import annotations

from dataclasses import asdict

from cellstream.animations.film import Film, Shot
from cellstream.animations.flow import Wish, flow
from cellstream.colours import Categories
from cellstream.errors import UserError
from cellstream.figures.of_result import Source


def film_of(source: Source, wish: Wish, shot: Shot) -> Film:
    """The film of a result's flow. Raises :class:`UserError` where the file does not hold what it needs."""
    source = source.along(wish.axes)
    cells, labels = source.painted(wish.colour), None
    if wish.labels:
        labels = source.painted(wish.labels)
        if not isinstance(labels.colour, Categories):
            raise UserError(f"Expected a column with kinds of cells as labels, but '{wish.labels}' holds numbers.")
    told = source.origin() | dict(shows=dict(kind="flow", **asdict(wish)), film=asdict(shot))
    return flow(source.scene, cells, shot, labels, wish.particles, wish.streams, told)

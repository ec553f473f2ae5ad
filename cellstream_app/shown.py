"""What Explore shows of a result, as choices: what a figure or a bundle shows again. It knows no widget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cellstream.figures import ARROWS, CELLS, GROWTH, STREAMS
from cellstream.painting import TIME
from cellstream_app.particles import ONE

PARTICLES = "particles"


@dataclass(frozen=True)
class Shown:
    """Choices of the Explore page."""

    colour: str = TIME
    """A key of :func:`cellstream_app.colouring.choices`."""
    gene: str = ""
    layers: tuple[str, ...] = (PARTICLES, STREAMS)
    """What is drawn over the cells: some of particles, streams, growth, arrows."""
    moment: bool = False
    """Whether streamlines and growth are those of the shown time, and not of the whole course."""
    axes: tuple[int, int] = (0, 1)
    view: tuple[float, float, float, float] | None = None
    """What is seen of the plane, x0, x1, y0, y1; None where all cells are."""
    particles: str = ONE
    """A key of :func:`cellstream_app.particles.particle_choices`."""

    @property
    def on_paper(self) -> tuple[str, ...]:
        """The layers of a figure, which has no particles."""
        return (CELLS, *(name for name in (STREAMS, GROWTH, ARROWS) if name in self.layers))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Shown:
        """From what :meth:`to_dict` gave, be it of another version: what is not understood is as by default."""
        known: dict[str, Any] = {}
        for item in fields(cls):
            value = found.get(item.name)
            if item.name == "view":
                whole = isinstance(value, list | tuple) and len(value) == 4 and all(map(is_number, value))
                if whole and value[0] < value[1] and value[2] < value[3]:
                    known["view"] = tuple(map(float, value))
            elif item.name == "axes":
                if isinstance(value, list | tuple) and len(value) == 2 and all(_is_axis(v) for v in value):
                    known["axes"] = tuple(value)
            elif item.name == "layers":
                if isinstance(value, list | tuple):
                    known["layers"] = tuple(
                        name for name in (PARTICLES, STREAMS, GROWTH, ARROWS) if name in tuple(value)
                    )
            elif isinstance(value, type(item.default)):
                known[item.name] = value
        return cls(**known)


def _is_axis(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 100


def is_number(value: Any) -> bool:
    """Whether it is a number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # of an integer that no float can hold
        return False

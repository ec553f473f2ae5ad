"""A film: frames that are drawn when they are asked for; and the shot, which is their size, length and ground."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cellstream.animations import BACK, GROUNDS, LOOPS, SIZES
from cellstream.errors import UserError
from cellstream.figures.paper import INK, MUTED, Sheet

SMALLEST, LARGEST = 64, 4096
"""Pixels of a side."""
MOST_FRAMES = 20_000
HIGH = 90.0
"""Millimetres that the shorter side counts as, against which text and dots are sized."""
WIDE = 1.2
"""Width over height from which on the legend stands beside the picture."""
STANDS = (0.03, 0.09)
"""Parts of the film at its begin and its end in which time stands still, so that both can be looked at."""


@dataclass(frozen=True)
class Shot:
    """How it is filmed. Raises :class:`UserError` for what no film can have."""

    size: tuple[int, int] = SIZES["1080p"]
    """Width and height in pixels, both even, as H.264 wants them."""
    fps: int = 30
    seconds: float = 10.0
    """Of the whole film, there and back."""
    loop: str = LOOPS[0]
    """One of :data:`cellstream.animations.LOOPS`."""
    ground: str = "white"
    """One of :data:`cellstream.animations.GROUNDS`."""
    title: str = ""

    def __post_init__(self) -> None:
        if not all(SMALLEST <= side <= LARGEST and side % 2 == 0 for side in self.size):
            asked = "x".join(map(str, self.size))
            raise UserError(
                f"Expected an even width and an even height of {SMALLEST} to {LARGEST:,} pixels, as players want them, "
                f"but got {asked}."
            )
        if not 1 <= self.fps <= 120:
            raise UserError(f"Expected 1 to 120 frames per second, but got {self.fps}.")
        if not 2 <= self.seconds * self.fps <= MOST_FRAMES:  # not-a-number is not either
            raise UserError(
                f"Expected a film of 2 to {MOST_FRAMES:,} frames, but {self.seconds:g} s at {self.fps} frames per "
                "second is none: choose other seconds or frames per second."
            )
        if self.ground not in GROUNDS or self.loop not in LOOPS:
            raise UserError(f"Expected a ground out of {', '.join(GROUNDS)} and a loop out of {', '.join(LOOPS)}.")

    @property
    def frames(self) -> int:
        return round(self.seconds * self.fps)

    @property
    def dark(self) -> bool:
        return self.ground == "dark"

    @property
    def ink(self) -> str:
        return "#e9edf1" if self.dark else INK

    @property
    def muted(self) -> str:
        return "#8d98a3" if self.dark else MUTED

    def sheet(self, legend: bool) -> Sheet:
        """The sheet of a figure that has these pixels."""
        dots = int(np.clip(round(25.4 * min(self.size) / HIGH), 50, 1200))
        width, height = (25.4 * side / dots for side in self.size)
        where = "right" if width > WIDE * height else "below"
        return Sheet(width=width, height=height, dpi=dots, legend=where if legend else "none")

    def course(self) -> np.ndarray:
        """How much of what is shown has passed at each frame, 0 to 1, (frames,)."""
        before, after = STANDS
        n = self.frames
        if self.loop == BACK:
            # a wave's crests stand still by themselves
            return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / max(n - 1, 1))
        return np.clip((np.linspace(0, 1, n) - before) / (1 - before - after), 0, 1)


@dataclass(frozen=True)
class Film:
    """Frames on demand: ``draw(k)`` gives frame ``k`` as bytes (height, width, 3)."""

    shot: Shot
    draw: Callable[[int], np.ndarray]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where it came from, as plain JSON values; it is written into the file."""

    @property
    def frames(self) -> int:
        return self.shot.frames


def pixels(words: str) -> tuple[int, int]:
    """Width and height by a name or as in ``1080x1080``."""
    if words in SIZES:
        return SIZES[words]
    found = re.fullmatch(r"\s*(\d{1,6})\s*[x×]\s*(\d{1,6})\s*", words.lower())
    if not found:
        raise UserError(f"Expected a size as {', '.join(SIZES)} or WIDTHxHEIGHT in pixels, but got '{words}'.")
    return int(found[1]), int(found[2])

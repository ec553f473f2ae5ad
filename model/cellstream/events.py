"""What a run says of itself while it works: frozen, one JSON line each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field

Progress = Callable[[int, int], None]
"""Called with the steps done and all steps, where nobody asks for more than a bar."""


@dataclass(frozen=True)
class Stage:
    """A new part of the work begins."""

    name: str
    text: str
    """One sentence for a person."""
    step: int
    total: int


@dataclass(frozen=True)
class Step:
    """One batch has been learned from."""

    step: int
    total: int
    """Steps of the whole run at most; it may stop earlier."""
    stage: str
    losses: dict[str, float]


@dataclass(frozen=True)
class Round:
    """A round of block coordinate descent has ended and was judged on a fixed batch."""

    round: int
    step: int
    loss: float
    best: bool
    """Lower than every round before; the model of this round is kept."""
    losses: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Preview:
    """A picture of the state has been written."""

    step: int
    file: str
    metrics: dict = field(default_factory=dict)
    """As :func:`cellstream.evaluation.glance` gives them."""


@dataclass(frozen=True)
class Resumed:
    """The run goes on from a checkpoint; what was said of later steps before no longer holds."""

    step: int


@dataclass(frozen=True)
class Lost:
    """A worker of the cluster was lost in mid-run; another one goes on from the last checkpoint."""

    step: int
    """Up to which the lost one had come."""
    text: str
    """One sentence for a person."""


@dataclass(frozen=True)
class Waiting:
    """Nothing has happened for a while, for whoever listens to stop or to pause here; not written down."""

    step: int


@dataclass(frozen=True)
class Paused:
    """The run waits to be told to go on."""

    step: int


@dataclass(frozen=True)
class Finished:
    """The run came to its end."""

    step: int
    reason: str
    loss: float
    seconds: float
    metrics: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Cancelled:
    """The run was stopped by its user; the best model so far is kept."""

    step: int
    seconds: float
    loss: float | None = None


@dataclass(frozen=True)
class Failed:
    """The run broke; ``reason`` says why, in words."""

    step: int
    reason: str
    detail: str = ""


Event = Stage | Step | Round | Preview | Resumed | Lost | Waiting | Paused | Finished | Cancelled | Failed
KINDS = {kind.__name__: kind for kind in Event.__args__}


def to_line(event: Event) -> str:
    """One line of JSON, without a line break."""
    return json.dumps({"event": type(event).__name__, **dataclasses.asdict(event)}, ensure_ascii=False)


def from_line(line: str) -> Event:
    """The inverse of :func:`to_line`."""
    data = json.loads(line)
    return KINDS[data.pop("event")](**data)

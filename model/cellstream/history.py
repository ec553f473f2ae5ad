"""What a run has said so far, in the form in which it is drawn; read from its events.jsonl bit by bit."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellstream import events
from cellstream.events import Event

TERMS = {
    "total": "weighted sum",
    "ae": "reconstruction, L_AE",
    "neighbours": "neighbours, L_Nbr",
    "between": "between time points, L_Btw",
    "lineages": "who becomes whom, L_Lin",
    "steps": "even steps, L_Step",
    "separation": "time points apart, L_Sep",
    "wfr": "action, L_WFR",
    "ot": "positions, L_OT",
    "mass": "population size, L_Mass",
    "encoder": "encoder",
    "decoder": "decoder",
    "velocity": "velocity",
    "growth": "growth",
}
"""Losses of a run by name, as people call them, and the term of the equation."""

STAGES = {
    "start": "Autoencoder start",
    "embedding": "Embedding",
    "warm": "Warm start",
    "rounds": "Joint rounds",
    "ensemble": "Ensemble",
    "dynamics": "Dynamics",
}
"""Stages of a run by name, as people call them."""


@dataclass
class History:
    """Everything that a run has said; what it took back by going on from an earlier step is left out."""

    steps: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Of each step: ``stage``, and its losses by name."""
    stages: list[events.Stage] = field(default_factory=list)
    rounds: list[events.Round] = field(default_factory=list)
    previews: list[events.Preview] = field(default_factory=list)
    lost: list[events.Lost] = field(default_factory=list)
    """Workers of a cluster that were lost."""
    last: Event | None = None
    last_at: int = 0
    """Where in the file ``last`` begins, in bytes."""
    total: int = 0
    seen: int = 0
    """Bytes of the file read so far."""
    _reading: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)
    """One thread at a time: each line is read once."""

    def add(self, event: Event, at: int = 0) -> None:
        match event:
            case events.Step():
                self.steps[event.step] = {"stage": event.stage, **event.losses}
                self.total = event.total
            case events.Stage():
                self.stages.append(event)
                self.total = event.total
            case events.Round():
                self.rounds.append(event)
            case events.Preview():
                self.previews.append(event)
            case events.Lost():
                self.lost.append(event)
            case events.Resumed():
                self.steps = {k: v for k, v in self.steps.items() if k <= event.step}
                self.rounds = [r for r in self.rounds if r.step <= event.step]
                self.previews = [p for p in self.previews if p.step <= event.step]
                self.stages = [s for s in self.stages if s.step <= event.step]
        self.last, self.last_at = event, at

    @property
    def step(self) -> int:
        return next(reversed(self.steps), 0)

    @property
    def pictured(self) -> str:
        """Stage whose work the latest picture shows; of one made as a stage began, the stage before."""
        step = self.previews[-1].step if self.previews else -1
        return next((stage.name for stage in reversed(self.stages) if stage.step < step), "")

    def read(self, path: Path) -> bool:
        """Add the lines that have come to the file since the last time; whether there were any."""
        with self._reading:
            if not path.exists() or path.stat().st_size <= self.seen:
                return False
            with open(path, "rb") as file:
                file.seek(self.seen)
                text = file.read()
            end = text.rfind(b"\n") + 1  # what comes after is still being written
            at = self.seen
            for line in text[:end].splitlines(keepends=True):
                # half a line is left by a worker that was killed while writing it
                with suppress(ValueError, KeyError, TypeError):
                    self.add(events.from_line(line.decode()), at)
                at += len(line)
            self.seen = at
            return end > 0

"""What a run under way has to show, as arrays: its latest picture, its losses, how well each time point is met."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cellstream.fields import Field, Grid, leading_axes
from cellstream.history import TERMS, History
from cellstream.pictures import framed, steady

CURVE_POINTS = 250
"""Points of a loss curve; steps are averaged in between."""

MOVING = ("rounds", "ensemble", "dynamics")
"""Stages in which velocity and growth have been learned; before, what they say means nothing."""


@dataclass(frozen=True)
class Picture:
    """The embedding as it is now, in a box of fixed size so that axes stand still while it changes.

    ``points`` (n, 2) within ``BOX``; ``index`` (n,) time points; ``field`` its flow, averaged on a grid; ``step``.
    """

    points: np.ndarray
    index: np.ndarray
    field: Field
    step: int

    def without_flow(self) -> Picture:
        """The same, before there is a velocity to show."""
        return replace(self, field=replace(self.field, weight=np.zeros_like(self.field.weight)))


class Camera:
    """Turns one preview after the other into pictures that can be compared by eye."""

    def __init__(self) -> None:
        self.axes: np.ndarray | None = None

    def picture(self, preview: dict[str, np.ndarray]) -> Picture:
        """The picture of a preview with ``z`` (n, d), ``v`` (n, d), ``index`` (n,) and ``step``."""
        z, v, index = preview["z"], preview["v"], preview["index"]
        if z.shape[1] == 1:
            z, v = (
                np.column_stack([index * np.ptp(z), z[:, 0]]),
                np.column_stack([np.ones(len(v)) * np.ptp(z), v[:, 0]]),
            )
        elif z.shape[1] > 2:
            self.axes = steady(leading_axes(z - z.mean(0), index), self.axes)
            z, v = z @ self.axes, v @ self.axes
        points, half = framed(z)
        grid = Grid.around(points)
        vx, vy = (grid.average(points, part) for part in (v / half).T)
        field = Field(grid.x, grid.y, vx, vy, np.zeros_like(vx), grid.cover(points))
        return Picture(points, index, field, int(preview["step"]))


def curves(history: History, stage: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Losses of a stage: for each term its ``(steps, values)``, averaged to at most ``CURVE_POINTS``."""
    if stage == "rounds":
        return _judged(history)
    said = [(step, losses) for step, losses in history.steps.items() if losses["stage"] == stage]
    if not said:
        return {}
    steps = np.array([step for step, _ in said], float)
    blocks = np.array_split(np.arange(len(said)), min(len(said), CURVE_POINTS))
    found = {}
    for term, name in TERMS.items():
        values = np.array([losses.get(term, np.nan) for _, losses in said], float)
        if np.isfinite(values).any():
            found[name] = _averaged(steps, values, blocks)
    return found


def _judged(history: History) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The losses of the rounds, each judged on the same batch: steps of its two blocks minimise different things."""
    rounds = history.rounds
    steps = np.array([r.step for r in rounds], float)
    found = {TERMS["total"]: (steps, np.array([r.loss for r in rounds], float))} if rounds else {}
    for term, name in TERMS.items():
        if rounds and term in rounds[-1].losses:
            found[name] = (steps, np.array([r.losses.get(term, np.nan) for r in rounds], float))
    return found


def _averaged(steps: np.ndarray, values: np.ndarray, blocks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Means over blocks of steps; a term that only some steps have (the autoencoder's, in a round) is read there."""
    kept = [block[np.isfinite(values[block])] for block in blocks]
    kept = [block for block in kept if len(block)]
    return np.array([steps[b].mean() for b in kept]), np.array([values[b].mean() for b in kept])


@dataclass(frozen=True)
class Match:
    """Per later time point: the matching error with its yardsticks, and the mass; arrays of the labels' length."""

    labels: list[str]
    w2: np.ndarray
    floor: np.ndarray
    stays: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray


def match_of(metrics: dict[str, Any], labels: tuple[str, ...]) -> Match | None:
    """The matching part of metrics, as :mod:`cellstream.evaluation` gives them; None where there is none."""
    if not metrics.get("match"):
        return None
    later = [label for label in labels if label in metrics["match"]]

    def read(part: str, key: str) -> np.ndarray:
        return np.array([metrics[part].get(label, {}).get(key, np.nan) for label in later], float)

    return Match(
        later,
        read("match", "w2"),
        read("match", "floor"),
        read("match", "stays"),
        read("mass", "predicted"),
        read("mass", "observed"),
    )


def latest_metrics(final: dict[str, Any] | None, history: History) -> dict[str, Any]:
    """The final metrics, or those of the latest picture, or nothing."""
    if final:
        return final
    return history.previews[-1].metrics if history.previews else {}

"""The members of an ensemble side by side on a cluster: the same models as :func:`cellstream.training.train_members`
makes one after another, since each begins from the trained model and a seed of its own.

The run's process waits and tells how far they are; the trained model goes to them through the run's folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cellstream import ensemble
from cellstream.cluster import Errands, Teller, address, result
from cellstream.events import Event, Stage, Step, Waiting
from cellstream.files import whole
from cellstream.runs import Run
from cellstream.state import State
from cellstream.training import part_steps, train, train_model

TRAINED = "ensemble.safetensors"
"""The state that all members begin from, in the run's folder."""
WAIT_SECONDS = 0.2


@dataclass(frozen=True)
class Learned:
    """A trained member: its weights, as arrays."""

    weights: dict[str, Any]
    step: int
    seconds: float
    losses: dict[str, float]
    """Of the last step."""


def train_on_cluster(state: State, folder: Path) -> Iterator[Event]:
    """As :func:`cellstream.training.train`, for a run in a folder that the cluster's workers see."""
    yield from train_model(state)
    yield from train_members(state, folder)
    yield from train(state)  # to which the last word is left


def train_members(state: State, folder: Path) -> Iterator[Event]:
    """Train the members that are missing on the cluster, yielding events; ``state`` changes when the next one in order
    is done. Steps are those of all members together, told a few times a second.

    Raises:
        UserError: the cluster cannot be reached, or has lost a member for good.
        Diverged: the loss of a member stops being a number.
    """
    size, scheduler = state.config.schedule.ensemble, address()
    missing = range(len(state.members) + 1, size)
    if not missing or scheduler is None:
        return
    each, begin = sum(part_steps(ensemble.member_config(state.config, 1)).values()), state.step
    steps, most = dict.fromkeys(missing, 0), dict.fromkeys(missing, each)
    losses: dict[str, float] = {}
    text = f"Training {len(missing)} more models side by side for the uncertainty."
    yield Stage("ensemble", text, begin, begin + sum(most.values()))
    with whole(folder / TRAINED) as path:
        state.save(path)
    aside = folder / "aside"
    aside.touch()  # the place that this run has on its worker is for a member
    learned: dict[int, Learned] = {}
    try:
        with Errands(scheduler, "member") as errands:
            numbers = {errands.submit(learn, str(folder), k): k for k in missing}
            while len(state.members) + 1 < size:
                told = False
                for n, news in errands.news():
                    if n in errands.outstanding:
                        k = numbers[n]
                        told, steps[k], losses = True, news["step"], news["losses"]
                for n, future in errands.done():
                    k = numbers[n]
                    found: Learned = result(future, f"model {k + 1} of {size}")
                    learned[k], losses, told = found, found.losses, True
                    steps[k] = most[k] = found.step
                # out of order, they wait for those before them
                while (k := len(state.members) + 1) in learned:
                    _add(state, learned.pop(k))
                if told:
                    yield Step(begin + sum(steps.values()), begin + sum(most.values()), "ensemble", losses)
                else:
                    yield Waiting(state.step)
                    time.sleep(WAIT_SECONDS)
    finally:
        for path in (aside, folder / TRAINED):
            path.unlink(missing_ok=True)


def _add(state: State, member: Learned) -> None:
    device = state.snapshots.x.device
    state.members.append({name: torch.from_numpy(w).to(device) for name, w in member.weights.items()})
    state.step += member.step
    state.seconds += member.seconds


def learn(folder: str, k: int, tell: Teller) -> Learned:
    """Train member ``k`` of the run in ``folder``, on a worker; it waits while the run is paused."""
    run = Run(folder)
    state = run.state(run.folder / TRAINED)
    member, losses = ensemble.begin(state, k), {}
    for event in train_model(member):
        if isinstance(event, Step):
            losses = event.losses
            tell(step=event.step, losses=losses)
        while (run.folder / "pause").exists():
            tell(step=member.step, losses=losses)
            time.sleep(WAIT_SECONDS)
    weights = {name: w.numpy(force=True) for name, w in ensemble.weights_of(member).items()}
    return Learned(weights, member.step, member.seconds, losses)

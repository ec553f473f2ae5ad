"""Training: PCA start, then block coordinate descent, then the ensemble, as a generator of events.

>>> state = State.initial(snapshots, config)
>>> for event in train(state):
...     pass
>>> stream = state.result()
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cellstream import ensemble, objective
from cellstream.config import Config
from cellstream.descent import Losses, descend, slow_down
from cellstream.dynamics import Path, integrate
from cellstream.errors import Diverged
from cellstream.events import Event, Finished, Round, Stage, Step
from cellstream.lineages import bridges_for, warm_step
from cellstream.shaping import company_of, embedding_losses, embedding_step, start_step
from cellstream.state import Batch, State
from cellstream.transport import Plan

EVALUATION_CELLS = 512
"""Cells of each time point on which the rounds are judged."""


@dataclass(frozen=True)
class Part:
    """A part of the training: what it does, for how many steps, by which function."""

    name: str
    text: str
    steps: int
    learn: Callable[[State, int], Losses]


def part_steps(config: Config) -> dict[str, int]:
    """Steps of each part of a run at most, in order; parts without steps are left out."""
    s = config.schedule
    steps = dict(
        start=s.start_steps,
        embedding=s.embedding_steps,
        warm=s.warm_steps,
        rounds=s.rounds * (s.autoencoder_steps + s.dynamics_steps),
        ensemble=(s.ensemble - 1) * (s.warm_steps + s.rounds * s.dynamics_steps),
    )
    return {name: n for name, n in steps.items() if n}


def parts(config: Config) -> list[Part]:
    """The parts of the model's training, in order. Those of the ensemble come after it, see :func:`train_members`."""
    steps = part_steps(config)
    every = [
        ("start", "Fitting the autoencoder to principal components.", start_step),
        ("embedding", "Shaping the embedding.", embedding_step),
        ("warm", "Fitting velocity and growth to optimal couplings.", warm_step),
        ("rounds", "Learning embedding and dynamics together.", round_step),
    ]
    return [Part(name, text, steps[name], learn) for name, text, learn in every if name in steps]


def finished(state: State) -> bool:
    """Whether the rounds have been without gain for longer than the user's patience."""
    return state.rounds_without_gain >= state.config.schedule.patience


def train(state: State) -> Iterator[Event]:
    """Train to the end, yielding events; between any two events ``state`` is whole and may be saved.

    Stopping to iterate stops the training; ``state.result()`` is the best model so far at any time. Raises
    :class:`~cellstream.errors.Diverged` where the loss stops being a number.
    """
    yield from train_model(state)
    yield from train_members(state)
    reason = "All rounds are done."
    if finished(state):
        reason = f"The loss has not fallen for {state.rounds_without_gain} rounds."
    yield Finished(state.step, reason, state.best_loss, state.seconds)


def train_model(state: State) -> Iterator[Event]:
    """Train the model itself, part by part, from where it stands."""
    total, first = sum(part_steps(state.config).values()), 0
    for part in parts(state.config):
        if state.step < first + part.steps and not finished(state):
            yield Stage(part.name, part.text, state.step, total)
        while first <= state.step < first + part.steps and not finished(state):
            began = time.monotonic()
            if state.step == first and part.name in ("warm", "rounds"):
                scale_dynamics(state)
            losses = {name: value.item() for name, value in part.learn(state, state.step - first).items()}
            state.step += 1
            judged = judge(state, state.step - first) if part.name == "rounds" else None
            state.seconds += time.monotonic() - began
            if not math.isfinite(losses["total"]):
                raise Diverged
            yield Step(state.step, total, part.name, losses)
            if judged is not None:
                yield judged
        first += part.steps


def train_members(state: State) -> Iterator[Event]:
    """Train the members of the ensemble that are still missing, each from its own beginning.

    ``state`` changes when a member is done: a run that is interrupted within one begins that one again.
    """
    size = state.config.schedule.ensemble
    for k in range(len(state.members) + 1, size):
        member = ensemble.begin(state, k)
        total = state.step + (size - k) * sum(part_steps(member.config).values())
        yield Stage("ensemble", f"Training model {k + 1} of {size} for the uncertainty.", state.step, total)
        for event in train_model(member):
            if isinstance(event, Step):
                yield Step(state.step + event.step, total, "ensemble", event.losses)
        state.members.append(ensemble.weights_of(member))
        state.step += member.step
        state.seconds += member.seconds


@torch.no_grad()
def scale_dynamics(state: State) -> None:
    """Before the fields are first fitted, let them see the embedding as it then is in units of its own size."""
    if state.config.networks.latent_scale == "unit" or state.config.networks.frame == "moving":
        z, s = state.draw(-2, EVALUATION_CELLS).encode(state.autoencoder), state.snapshots
        for field in (state.velocity, state.growth):
            field.set_scaling(z, s.tau, s.mass)


@torch.no_grad()
def follow_cells(state: State) -> None:
    """Lead the fields' moving frame through the cells where the autoencoder has put them by now."""
    if state.config.networks.frame == "moving":
        z, s = state.draw(-2, EVALUATION_CELLS).encode(state.autoencoder), state.snapshots
        for field in (state.velocity, state.growth):
            field.follow(z, s.tau, s.mass)


def round_step(state: State, k: int) -> Losses:
    """One step of block coordinate descent: first the autoencoder's steps of the round, then the dynamics'."""
    s = state.config.schedule
    per_round = s.autoencoder_steps + s.dynamics_steps
    in_round = k % per_round
    slow_down(state, "autoencoder", s.autoencoder_rate, k, s.rounds * per_round)
    slow_down(state, "dynamics", s.dynamics_rate, k, s.rounds * per_round)
    if in_round == min(s.autoencoder_steps, per_round - 1):
        follow_cells(state)
    step = autoencoder_step if in_round < s.autoencoder_steps else dynamics_step
    return step(state, state.batches())


def autoencoder_step(state: State, batches: Iterable[Batch]) -> Losses:
    """Block (a): v and g fixed, the whole loss over the autoencoder; the dynamics' losses reach the encoder."""

    def losses_of(batch: Batch) -> Callable[[], Losses]:
        plans: list[Plan] = []
        company, bridges = company_of(state, batch), bridges_for(state, batch.key)

        def losses() -> Losses:
            z = batch.encode(state.autoencoder)
            lineages = bridges.total(state, bridges.ends(state)) if bridges else {}
            return embedding_losses(state, batch, z, company) | dynamics_losses(state, z, plans) | lineages

        return losses

    weights = state.config.weights
    return descend(state, "autoencoder", map(losses_of, batches), lambda terms: objective.total(terms, weights))


def dynamics_step(state: State, batches: Iterable[Batch]) -> Losses:
    """Block (b): autoencoder fixed, λ_WFR L_WFR + λ_Match L_Match (+ λ_Lin L_Lin) over v and g."""

    def losses_of(batch: Batch) -> Callable[[], Losses]:
        plans: list[Plan] = []
        bridges = bridges_for(state, batch.key)
        with torch.no_grad():
            z = batch.encode(state.autoencoder)
            ends = bridges.ends(state) if bridges else None

        def losses() -> Losses:
            lineages = bridges.total(state, ends) if bridges and ends else {}
            return dynamics_losses(state, z, plans) | lineages

        return losses

    weights = state.config.weights
    return descend(state, "dynamics", map(losses_of, batches), lambda terms: objective.total(terms, weights))


def dynamics_losses(state: State, z: Sequence[Float[Tensor, "_ d"]], plans: list[Plan]) -> Losses:
    """Action and matching of particles that start at ``z[0]``. ``plans`` is filled at first and then held fixed."""
    length = (
        spread(torch.cat(list(z)))
        if state.config.networks.latent_scale == "unit"
        else torch.ones((), device=z[0].device)
    )
    path = follow(state, z[0], length)
    if not plans:
        plans += objective.couplings(path, z)
    return dict(
        wfr=objective.action(path),
        mass=objective.mass_error(path, state.snapshots.mass),
        ot=objective.matching(path, z, plans) / length,
    )


def follow(state: State, z0: Float[Tensor, "n d"], length: Float[Tensor, ""]) -> Path:
    """Particles of equal weight, together of mass one, from the encoded first snapshot through all time points."""
    log_w = torch.full_like(z0[:, 0], -math.log(len(z0)))
    c = state.config
    return integrate(
        state.velocity, state.growth, z0, log_w, state.snapshots.tau, c.weights.alpha, c.integration, length
    )


def spread(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """exp ⟨ log |z − z̄| ⟩: the size of an embedding, its unit of length where shrinking shall gain nothing.

    The geometric mean, softened at the centre, and not the root mean square: that one grows with a few cells flung far
    away, and with it as the unit training flings them (simulated populations: box 32 instead of 9, VA 0.24).
    """
    squared = (z - z.mean(0)).square().sum(1)
    return (squared + 0.1 * squared.mean().detach()).log().mean().mul(0.5).exp()


@torch.no_grad()
def judge(state: State, done: int) -> Round | None:
    """At the end of a round, the whole loss on a fixed batch; the best model is copied."""
    s = state.config.schedule
    if done % (s.autoencoder_steps + s.dynamics_steps):
        return None
    batch = state.draw(-2, EVALUATION_CELLS)
    z = batch.encode(state.autoencoder)
    terms = embedding_losses(state, batch, z, company_of(state, batch)) | dynamics_losses(state, z, [])
    if bridges := bridges_for(state, batch.key):
        terms |= bridges.total(state, bridges.ends(state))
    # one process judges for all: machines round differently, and all must keep the same model and stop together
    loss = state.team.of_first(objective.total(terms, state.config.weights).item())
    state.round += 1
    better = loss < state.best_loss
    if better:
        state.best, state.best_loss, state.rounds_without_gain = state.weights(), loss, 0
    else:
        state.rounds_without_gain += 1
    return Round(state.round, state.step, loss, better, {k: v.item() for k, v in terms.items()})

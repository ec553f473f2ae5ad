"""Training: PCA start, then block coordinate descent, then the ensemble, as a generator of events.

state = State.initial(snapshots, config)
for event in train(state):
    ...
stream = state.result()
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from cellstream import ensemble, objective, transport
from cellstream.config import Config
from cellstream.dynamics import Path, integrate
from cellstream.errors import Diverged
from cellstream.events import Event, Finished, Round, Stage, Step
from cellstream.state import PLACES, Batch, State
from cellstream.transport import Plan

EVALUATION_CELLS = 512
"""Cells of each time point on which the rounds are judged."""

TOUCHING = 4.2
"""Separation at which neighbouring time points touch without overlapping; see :func:`objective.separation`."""

Losses = dict[str, Tensor]


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


def start_step(state: State, k: int) -> Losses:
    """Fit the encoder to the principal components of (t, x), and apart from it the decoder to invert them."""
    batch = state.draw(state.step, state.config.schedule.batch_size)
    joined = state.autoencoder.joined(torch.cat(batch.tau), torch.cat(batch.x))
    z = state.principal.project(joined)

    def losses() -> Losses:
        return dict(
            encoder=torch.nn.functional.mse_loss(state.autoencoder.encoder(joined), z) / z.var(),
            decoder=torch.nn.functional.mse_loss(state.autoencoder.decoder(z), joined),
        )

    return descend(state, "start", losses, lambda terms: terms["encoder"] + terms["decoder"])


def embedding_step(state: State, k: int) -> Losses:
    """Shape the embedding before there are dynamics: what it has to keep, even steps between coupled cells, and time
    points apart as far as the user wishes (ours)."""
    s, weights = state.config.schedule, state.config.weights
    batch, pairs = state.draw(state.step, s.batch_size), state.draw_pairs(state.step)
    gaps = state.snapshots.tau.diff()
    apart = TOUCHING * max(state.config.networks.time_separation, 0.05)

    def losses() -> Losses:
        z = batch.encode(state.autoencoder)
        here, there = (state.encode(cells.flatten()).unflatten(0, cells.shape) for cells in pairs)
        return embedding_losses(state, batch, z) | dict(
            steps=objective.uneven_steps(here, there, gaps),
            separation=torch.relu(1 - objective.separation(z) / apart).square().mean(),
        )

    return descend(state, "start", losses, lambda terms: objective.total(terms, weights))


def warm_step(state: State, k: int) -> Losses:
    """Regress v on the displacements of optimal couplings and g on the logarithms of the mass ratios (ours)."""
    batch = state.draw(state.step, state.config.schedule.batch_size)
    with torch.no_grad():
        z = batch.encode(state.autoencoder)
    tau, mass = state.snapshots.tau, state.snapshots.mass
    generator = state.generator(state.step, PLACES)
    times, points, slopes, rates = [], [], [], []
    for i, (a, b) in enumerate(pairwise(z)):
        gap = tau[i + 1] - tau[i]
        plan = transport.solve(torch.ones_like(a[:, 0]), a, torch.ones_like(b[:, 0]), b)
        step = transport.barycentres(plan, b) - a
        u = torch.rand(len(a), generator=generator).to(a)
        times.append(tau[i] + u * gap)
        points.append(a + u[:, None] * step)
        slopes.append(step / gap)
        rates.append(((mass[i + 1] / mass[i]).log() / gap).expand(len(a)))
    t, at, slope, rate = (torch.cat(part) for part in (times, points, slopes, rates))

    def losses() -> Losses:
        return dict(
            velocity=torch.nn.functional.mse_loss(state.velocity(t, at), slope) / slope.square().mean(),
            growth=torch.nn.functional.mse_loss(state.growth(t, at), rate),
        )

    return descend(state, "warm", losses, lambda terms: terms["velocity"] + terms["growth"])


def round_step(state: State, k: int) -> Losses:
    """One step of block coordinate descent: first the autoencoder's steps of the round, then the dynamics'."""
    s = state.config.schedule
    per_round = s.autoencoder_steps + s.dynamics_steps
    in_round = k % per_round
    if s.decay:
        factor = 0.55 + 0.45 * math.cos(math.pi * k / (s.rounds * per_round))
        for name, rate in (("autoencoder", s.autoencoder_rate), ("dynamics", s.dynamics_rate)):
            for group in state.optimisers[name].param_groups:
                group["lr"] = rate * factor
    batch = state.draw(state.step, s.batch_size)
    if in_round == min(s.autoencoder_steps, per_round - 1):
        follow_cells(state)
    return (autoencoder_step if in_round < s.autoencoder_steps else dynamics_step)(state, batch)


def autoencoder_step(state: State, batch: Batch) -> Losses:
    """Block (a): v and g fixed, the whole loss over the autoencoder; the dynamics' losses reach the encoder."""
    plans: list[Plan] = []

    def losses() -> Losses:
        z = batch.encode(state.autoencoder)
        return embedding_losses(state, batch, z) | dynamics_losses(state, z, plans)

    return descend(state, "autoencoder", losses, lambda terms: objective.total(terms, state.config.weights))


def dynamics_step(state: State, batch: Batch) -> Losses:
    """Block (b): autoencoder fixed, λ_WFR L_WFR + λ_Match L_Match over velocity and growth."""
    with torch.no_grad():
        z = batch.encode(state.autoencoder)
    plans: list[Plan] = []
    return descend(
        state,
        "dynamics",
        lambda: dynamics_losses(state, z, plans),
        lambda terms: objective.total(terms, state.config.weights),
    )


def embedding_losses(state: State, batch: Batch, z: Sequence[Float[Tensor, "_ d"]]) -> Losses:
    """What the embedding has to keep of the cells."""
    kept = dict(
        ae=objective.reconstruction(state.autoencoder, torch.cat(batch.tau), torch.cat(batch.x), torch.cat(list(z)))
    )
    if state.magnification is not None:
        terms = [
            objective.neighbours(
                state.magnification(part if cells is own else state.encode(cells)), state.affinities.among(cells)
            )
            for part, own, cells in zip(z, batch.cells, state.near(batch), strict=True)
        ]
        kept["neighbours"] = torch.stack(terms).mean()
    if state.config.weights.lambda_between:
        kept["between"] = reconstruction_between(state, batch.key)
    return kept


def reconstruction_between(state: State, key: int) -> Float[Tensor, ""]:
    """L_Btw: the decoder on places between the time points, which particles pass and no cell shows (ours).

    Where the way from a cell to its partner lies in the embedding, a share u along it, the decoder shall return what
    lies at the same share between the two in (t, x): displacement interpolation, on both sides.
    """
    before, after = (cells.flatten() for cells in state.draw_pairs(key))
    u = torch.rand(len(before), 1, generator=state.generator(key, PLACES)).to(state.snapshots.x)
    s = state.snapshots
    tau, x, z = (
        torch.lerp(here, there, u)
        for here, there in (
            (s.tau[s.index[before], None], s.tau[s.index[after], None]),
            (s.x[before], s.x[after]),
            (state.encode(before), state.encode(after)),
        )
    )
    return objective.reconstruction(state.autoencoder, tau.squeeze(1), x, z)


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


def descend(state: State, name: str, losses: Callable[[], Losses], weigh: Callable[[Losses], Tensor]) -> Losses:
    """Some updates of what the optimiser ``name`` holds, downhill of the weighed losses; returns the last losses."""
    optimiser, s = state.optimisers[name], state.config.schedule
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for _ in range(s.updates_per_batch):
        terms = losses()
        loss = weigh(terms)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, s.clip)
        optimiser.step()
    return {"total": loss.detach(), **{key: term.detach() for key, term in terms.items()}}


@torch.no_grad()
def judge(state: State, done: int) -> Round | None:
    """At the end of a round, the whole loss on a fixed batch; the best model is copied."""
    s = state.config.schedule
    if done % (s.autoencoder_steps + s.dynamics_steps):
        return None
    batch = state.draw(-2, EVALUATION_CELLS)
    z = batch.encode(state.autoencoder)
    terms = embedding_losses(state, batch, z) | dynamics_losses(state, z, [])
    loss = objective.total(terms, state.config.weights).item()
    state.round += 1
    better = loss < state.best_loss
    if better:
        state.best, state.best_loss, state.rounds_without_gain = state.weights(), loss, 0
    else:
        state.rounds_without_gain += 1
    return Round(state.round, state.step, loss, better, {k: v.item() for k, v in terms.items()})

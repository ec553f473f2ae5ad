"""Who becomes whom, in velocity and growth: L_Lin, and the warm start before the ODE is solved (ours).

L_Lin = ⟨ m |v(t, z) − ż|² ⟩ / s² + ⟨ m (g(t, z) − γ)² ⟩ over pairs (a, b) of coupled cells (:mod:`partners`) and
places u between them: t = t_a + u Δt, z = (1−u) z_a + u z_b, ż = (z_b − z_a) / Δt; γ Δt is the logarithm of the growth
of a, m = exp(u Δt γ) is what it then weighs, as a share of all, and s² the variance of ż within an interval.

Where it is zero, v and g carry the cells of each time point exactly onto those of the next (conditional flow matching;
Lipman et al., ICLR 2023; Tong et al., TMLR 2024; with growth, Zhang, Li & Zhou, ICLR 2025). W_2 in the embedding asks
only that the populations agree; this term, that cells become what they become in the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cellstream import transport
from cellstream.descent import Losses, descend, slow_down
from cellstream.state import LINEAGES, PLACES, State

STILL = 1e-3
"""Least s², as a share of ⟨|ż|²⟩: where all cells move alike nothing would be left to divide by."""


@dataclass(frozen=True)
class Bridges:
    """Pairs of coupled cells and places between them, for all updates of a step; interval by interval."""

    before: Int64[Tensor, " n"]
    after: Int64[Tensor, " n"]
    u: Float[Tensor, " n"]
    t: Float[Tensor, " n"]
    gap: Float[Tensor, " n"]
    growth: Float[Tensor, " n"]
    """Logarithm of the growth of ``before`` against the mean of its time point."""
    rate: Float[Tensor, " n"]
    """γ."""
    intervals: int

    @classmethod
    def of(cls, state: State, key: int, size: int) -> Bridges:
        """``size`` pairs of each interval; the same for the same ``key`` and seed."""
        tau, mass = state.snapshots.tau, state.snapshots.mass
        generator = state.generator(key, LINEAGES)
        before, after, growth = state.partners.draw_sources(size, generator)
        u = torch.rand(before.shape, generator=generator).to(state.snapshots.x)
        gap = tau.diff()[:, None].expand_as(u)
        rate = (growth + (mass[1:] / mass[:-1]).log()[:, None]) / gap
        t = tau[:-1, None] + u * gap
        parts = dict(before=before, after=after, u=u, t=t, gap=gap, growth=growth, rate=rate)
        return cls(**{name: part.flatten() for name, part in parts.items()}, intervals=len(before))

    def losses(self, state: State) -> Losses:
        """The two parts of L_Lin: ``velocity`` and ``growth``."""
        before, after = state.encode(torch.cat([self.before, self.after])).chunk(2)
        z = torch.lerp(before, after, self.u[:, None])
        speed = (after - before) / self.gap[:, None]
        by_interval = speed.unflatten(0, (self.intervals, -1))
        variance = (by_interval - by_interval.mean(1, keepdim=True)).square().sum(2).mean()
        weight = (self.u * self.growth).exp()
        weight = weight / weight.mean()
        strays = weight * (state.velocity(self.t, z) - speed).square().sum(1)
        return dict(
            velocity=strays.mean() / (variance + STILL * speed.square().sum(1).mean()),
            growth=(weight * (state.growth(self.t, z) - self.rate).square()).mean(),
        )

    def total(self, state: State) -> Losses:
        """L_Lin under its name; nothing where it has no weight."""
        return dict(lineages=torch.stack(list(self.losses(state).values())).sum())


def bridges_for(state: State, key: int) -> Bridges | None:
    """Pairs for a step of the rounds where L_Lin has a weight: as many as for L_Btw."""
    size = max(state.config.schedule.batch_size // 2, 1)
    return Bridges.of(state, key, size) if state.config.weights.lambda_lineages else None


def warm_step(state: State, k: int) -> Losses:
    """Regress v and g on couplings, before the ODE is solved (ours): on L_Lin where it has a weight; else v on the
    displacements of optimal couplings in the embedding, and g on the logarithms of the mass ratios."""
    schedule = state.config.schedule
    slow_down(state, "warm", schedule.start_rate, k, schedule.warm_steps)
    if state.config.weights.lambda_lineages:
        bridges = Bridges.of(state, state.step, state.config.schedule.batch_size)
        return descend(state, "warm", lambda: bridges.losses(state), lambda terms: terms["velocity"] + terms["growth"])
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

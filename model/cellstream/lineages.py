"""Who becomes whom, in velocity and growth: L_Lin, and the warm start before the ODE is solved (ours).

L_Lin = ⟨ m |v(t, z) Δt − Δz|² ⟩ / s² + ⟨ m (g(t, z) − γ)² Δt² ⟩ / ℓ² over pairs (a, b) of coupled cells
(:mod:`partners`) and places u between them: t = t_a + u Δt, z = (1−u) z_a + u z_b, Δz = z_b − z_a. r is the number of
descendants of a against the mean of its time point, γ Δt = log(r M_b / M_a) with the sizes M of the population, m = r^u
as a share of all, s² the variance of Δz within an interval, which is learned through, and ℓ = 0.3: growth by a factor
of e^0.3 more or less than the rest weighs as much as a move by a standard deviation. Changes over an interval and not
rates are compared, or the shortest interval would have the whole say.

Its minimiser, v Δt = ⟨m Δz⟩ / ⟨m⟩ and g Δt = ⟨m γ Δt⟩ / ⟨m⟩ at each (t, z), carries the cells of each time point onto
those of the next (conditional flow matching; Lipman et al., ICLR 2023; Tong et al., TMLR 2024; with growth, Zhang,
Li & Zhou, ICLR 2025). W_2 in the embedding asks only that the populations agree; this term, that cells become what they
become in the input.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cellstream import transport
from cellstream.descent import Losses, descend, slow_down
from cellstream.state import LINEAGES, PLACES, State

Ends = tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]

LOG_GROWTH = 0.3
"""ℓ. At 1 growth has next to no say beside movement: it comes out flat, and differs from seed to seed."""
STILL = 1e-3
"""Least s², as a share of ⟨|Δz|²⟩: where all cells move alike nothing would be left to divide by."""


@dataclass(frozen=True)
class Bridges:
    """Pairs of coupled cells and places between them, for all updates of a step; interval by interval."""

    before: Int64[Tensor, " n"]
    after: Int64[Tensor, " n"]
    u: Float[Tensor, " n"]
    t: Float[Tensor, " n"]
    gap: Float[Tensor, " n"]
    """Δt."""
    log_growth: Float[Tensor, " n"]
    """log r."""
    rate: Float[Tensor, " n"]
    """γ, growth rate of ``before``, that of the whole population included."""
    intervals: int

    @classmethod
    def of(cls, state: State, key: int, size: int) -> Bridges:
        """``size`` pairs of each interval; the same for the same ``key`` and seed."""
        tau, mass = state.snapshots.tau, state.snapshots.mass
        generator = state.generator(key, LINEAGES)
        before, after, log_growth = state.partners.draw_sources(size, generator)
        u = torch.rand(before.shape, generator=generator).to(state.snapshots.x)
        gap = tau.diff()[:, None].expand_as(u)
        rate = (log_growth + (mass[1:] / mass[:-1]).log()[:, None]) / gap
        t = tau[:-1, None] + u * gap
        parts = dict(before=before, after=after, u=u, t=t, gap=gap, log_growth=log_growth, rate=rate)
        return cls(**{name: part.flatten() for name, part in parts.items()}, intervals=len(before))

    def ends(self, state: State) -> Ends:
        """The pairs, encoded."""
        before, after = state.encode(torch.cat([self.before, self.after])).chunk(2)
        return before, after

    def losses(self, state: State, ends: Ends) -> Losses:
        """The two parts of L_Lin: ``velocity``, and ``growth`` where there is any."""
        before, after = ends
        z = torch.lerp(before, after, self.u[:, None])
        way = after - before
        by_interval = way.unflatten(0, (self.intervals, -1))
        variance = (by_interval - by_interval.mean(1, keepdim=True)).square().sum(2).mean()
        weight = (self.u * self.log_growth).exp()
        weight = weight / weight.mean()
        strays = (state.velocity(self.t, z) * self.gap[:, None] - way).square().sum(1)
        parts = dict(velocity=(weight * strays).mean() / (variance + STILL * way.square().sum(1).mean()))
        if state.config.networks.growth:
            misses = (state.growth(self.t, z) - self.rate) * self.gap / LOG_GROWTH
            parts["growth"] = (weight * misses.square()).mean()
        return parts

    def total(self, state: State, ends: Ends) -> Losses:
        """L_Lin under its name."""
        return dict(lineages=torch.stack(list(self.losses(state, ends).values())).sum())


def bridges_for(state: State, key: int) -> Bridges | None:
    """Bridges for a step of the rounds where L_Lin has a weight: as many as there are pairs for L_Btw."""
    return Bridges.of(state, key, state.pairs) if state.config.weights.lambda_lineages else None


def warm_step(state: State, k: int) -> Losses:
    """Regress v and g on couplings, before the ODE is solved (ours): on L_Lin where it has a weight, else on couplings
    in the embedding."""
    schedule = state.config.schedule
    slow_down(state, "warm", schedule.start_rate, k, schedule.warm_steps)
    steps = _steps_of_lineages if state.config.weights.lambda_lineages else _steps_in_embedding
    return descend(state, "warm", (steps(state, key) for key in state.keys), _unweighed)


def _unweighed(terms: Losses) -> Tensor:
    return torch.stack(list(terms.values())).sum()


def _steps_of_lineages(state: State, key: int) -> Callable[[], Losses]:
    """v and g to be those of coupled cells: L_Lin."""
    bridges = Bridges.of(state, key, state.config.schedule.batch_size)
    with torch.no_grad():
        ends = bridges.ends(state)
    return lambda: bridges.losses(state, ends)


def _steps_in_embedding(state: State, key: int) -> Callable[[], Losses]:
    """v to be the displacements of optimal couplings in the embedding, and g the logarithms of the mass ratios."""
    batch = state.draw(key, state.config.schedule.batch_size)
    with torch.no_grad():
        z = batch.encode(state.autoencoder)
    tau, mass = state.snapshots.tau, state.snapshots.mass
    generator = state.generator(key, PLACES)
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

    return losses

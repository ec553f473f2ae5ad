"""The particles' ordinary differential equation, solved with torchdiffeq or, in fixed steps, by ourselves.

dz/dt = v(t, z),   d log w/dt = g(t, z),   da/dt = (|v|² + α g²) w:
the Lagrangian form of ∂_t q + ∇·(v q) = g q, with the Wasserstein–Fisher–Rao action along as one more state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torchdiffeq import odeint

from cellstream.config import Integration
from cellstream.errors import Diverged
from cellstream.runge_kutta import TABLEAUS, Field, fixed_steps

FIXED_STEP = tuple(TABLEAUS)


@dataclass(frozen=True)
class Path:
    """Where n particles are at T times, and what they weigh. Time is the first axis."""

    times: Float[Tensor, " T"]
    z: Float[Tensor, "T n d"]
    log_w: Float[Tensor, "T n"]
    action: Float[Tensor, "T n"]
    """∫ (|v|² + α g²) w dt of each particle up to each time."""

    @property
    def mass(self) -> Float[Tensor, " T"]:
        """Σ_j w_j at each time."""
        return self.log_w.exp().sum(1)

    def weights(self, i: int) -> Float[Tensor, " n"]:
        """w / |w|₁ at time ``i``."""
        return torch.softmax(self.log_w[i], 0)


def integrate(
    velocity: Field,
    growth: Field,
    z: Float[Tensor, "n d"],
    log_w: Float[Tensor, " n"],
    times: Float[Tensor, " T"],
    alpha: float,
    settings: Integration,
    length: Tensor | float = 1.0,
) -> Path:
    """Carry particles from ``times[0]`` through all ``times`` (increasing, or decreasing to go back).

    ``length`` is the unit of length in which the action measures movement. Differentiable through the solver's steps.
    Fields may jump at any of ``times``. Adaptive methods are torchdiffeq's, with z, log w and the action in one tensor
    of shape (n, d + 2); fixed steps are those of :mod:`runge_kutta`.
    """

    if settings.method in FIXED_STEP:
        n = settings.steps_per_interval
        return Path(times, *fixed_steps(velocity, growth, z, log_w, times, alpha, settings.method, n, length))

    def rate(t: Tensor, state: Tensor) -> Tensor:
        at, log_weight = state[:, :-2], state[:, -2]
        v, g = velocity(t, at), growth(t, at)
        da = (v.square().sum(1) / length**2 + alpha * g.square()) * log_weight.exp()
        return torch.cat([v, g[:, None], da[:, None]], 1)

    start = torch.cat([z, log_w[:, None], torch.zeros_like(log_w)[:, None]], 1)
    how = dict(method=settings.method, rtol=settings.rtol, atol=settings.atol, options=dict(jump_t=times[1:-1]))
    try:
        states = odeint(rate, start, times, **how)
    except AssertionError as error:
        # the solver finds no step small enough, or meets what is no number: the field has exploded
        if any(words in str(error) for words in ("underflow", "non-finite")):
            raise Diverged from error
        raise
    return Path(times, states[..., :-2], states[..., -2], states[..., -1])

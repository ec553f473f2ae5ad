"""The warm start: velocity and growth regressed on optimal couplings, before the ODE is solved (ours)."""

from __future__ import annotations

from itertools import pairwise

import torch

from cellstream import transport
from cellstream.descent import Losses, descend
from cellstream.state import PLACES, State


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

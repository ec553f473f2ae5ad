"""Some updates downhill of weighed losses: what every part of the training does with the losses of its step."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from cellstream.state import State

Losses = dict[str, Tensor]


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


def slow_down(state: State, name: str, rate: float, k: int, n: int) -> None:
    """Before step ``k`` of ``n``, set the learning rate of an optimiser, which falls along half a cosine from ``rate``
    to a tenth of it; nothing where the schedule has no decay."""
    if state.config.schedule.decay:
        factor = 0.55 + 0.45 * math.cos(math.pi * k / n)
        for group in state.optimisers[name].param_groups:
            group["lr"] = rate * factor

"""Some updates downhill of weighed losses: what every part of the training does with the losses of its step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from cellstream.state import State

Losses = dict[str, Tensor]


def descend(
    state: State, name: str, losses: Iterable[Callable[[], Losses]], weigh: Callable[[Losses], Tensor]
) -> Losses:
    """Some updates of what the optimiser ``name`` holds, downhill of the weighed losses; returns the last losses.

    ``losses`` has one entry for each batch of this process. Gradients and losses are means over those of all processes.
    Where there is one update, an entry is taken when it is its turn and let go after it, so that of many batches one is
    in memory.
    """
    optimiser, s = state.optimisers[name], state.config.schedule
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    if s.updates_per_batch > 1:
        losses = list(losses)
    for _ in range(s.updates_per_batch):
        optimiser.zero_grad()
        told = []
        for of_batch in losses:
            told.append(_backward(of_batch(), weigh, state.n_batches))
            del of_batch  # or it would be there while the next one is made
        means = {key: torch.stack([terms[key] for terms in told]).sum() for key in told[0]}
        state.team.add_up([*(p.grad for p in parameters if p.grad is not None), *means.values()])
        torch.nn.utils.clip_grad_norm_(parameters, s.clip)
        optimiser.step()
    return means


def _backward(terms: Losses, weigh: Callable[[Losses], Tensor], n: int) -> Losses:
    """Add one n-th of the gradient; returns one n-th of the losses and of their ``total``."""
    total = weigh(terms) / n
    total.backward()
    return {"total": total.detach(), **{key: term.detach() / n for key, term in terms.items()}}


def slow_down(state: State, name: str, rate: float, k: int, n: int) -> None:
    """Before step ``k`` of ``n``, set the learning rate of an optimiser, which falls along half a cosine from ``rate``
    to a tenth of it; nothing where the schedule has no decay."""
    if state.config.schedule.decay:
        factor = 0.55 + 0.45 * math.cos(math.pi * k / n)
        for group in state.optimisers[name].param_groups:
            group["lr"] = rate * factor

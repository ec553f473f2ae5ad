"""Runge–Kutta with fixed steps for particles, several times faster than handing them to a general solver.

Where particles go does not depend on what they weigh, and neither weight nor action acts back on anything. So only the
positions are stepped; log w and the action follow as the quadratures that the same Runge–Kutta method makes of them,
for all particles, stages and many steps at once. The outcome is that of stepping everything together, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]
"""``(t, z) -> v`` of shape (n, d), or ``(t, z) -> g`` of shape (n,); ``t`` is one number or one per particle."""

AT_ONCE = 65_536
"""Places at which weights are worked out at a time, so that memory does not grow with the number of steps."""


@dataclass(frozen=True)
class Tableau:
    """The coefficients of an explicit method (Butcher): stage i looks at t + c_i h, at z + h Σ_j a_ij k_j."""

    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]


TABLEAUS = {
    "euler": Tableau((0.0,), ((),), (1.0,)),
    "midpoint": Tableau((0.0, 1 / 2), ((), (1 / 2,)), (0.0, 1.0)),
    # Kutta's 3/8 rule, torchdiffeq's method of this name
    "rk4": Tableau(
        (0.0, 1 / 3, 2 / 3, 1.0), ((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)), (1 / 8, 3 / 8, 3 / 8, 1 / 8)
    ),
}


def fixed_steps(
    velocity: Field,
    growth: Field,
    z: Float[Tensor, "n d"],
    log_w: Float[Tensor, " n"],
    times: Float[Tensor, " T"],
    alpha: float,
    method: str,
    steps_per_interval: int,
    length: Tensor | float,
) -> tuple[Float[Tensor, "T n d"], Float[Tensor, "T n"], Float[Tensor, "T n"]]:
    """Positions, log weights and action at ``times``, which steps meet exactly; see :func:`dynamics.integrate`.

    A stage at either end of a step looks just inside it, where a field that jumps there is still the step's own.
    """
    tableau = TABLEAUS[method]
    stages, (n, d) = len(tableau.c), z.shape
    begin, h = _grid(times, steps_per_interval)
    at = _inside(begin, h, tableau)
    field, sizes = _at_times(velocity, at.flatten()), h.tolist()
    a, b = (z.new_tensor(part) for part in (_square(tableau.a), tableau.b))
    zs, log_ws, actions = [z], [log_w], [torch.zeros_like(log_w)]
    steps_at_once = max(AT_ONCE // max(n * stages, 1), 1)
    for first in range(0, len(sizes), steps_at_once):
        steps = range(first, min(first + steps_at_once, len(sizes)))
        places, slopes = [], []
        for step in steps:
            own: list[Tensor] = []
            for stage, weights in enumerate(tableau.a):
                place = _moved(z, own, weights, sizes[step])
                own.append(field[step * stages + stage](place))
                places.append(place)
            z = _moved(z, own, tableau.b, sizes[step])
            slopes += own
            if (step + 1) % steps_per_interval == 0:
                zs.append(z)
        part, size = slice(first, first + len(steps)), h[first : first + len(steps), None]
        tau = at[part].flatten().repeat_interleave(n)
        g = growth(tau, torch.cat(places)).view(len(steps), stages, n)
        ends = log_ws[-1] + (size * (b @ g)).cumsum(0)
        starts = torch.cat([log_ws[-1][None], ends[:-1]])
        weight = (starts[:, None] + size[..., None] * (a @ g)).exp()
        v = torch.cat(slopes).view(len(steps), stages, n, d)
        rate = (v.square().sum(-1) / length**2 + alpha * g.square()) * weight
        log_ws += ends.unbind(0)
        actions += (actions[-1] + (size * (b @ rate)).cumsum(0)).unbind(0)
    every = steps_per_interval
    return torch.stack(zs), torch.stack(log_ws[::every]), torch.stack(actions[::every])


def _grid(times: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Where the steps begin, ``n`` between each two times, and how long they are."""
    gaps = times.diff()
    parts = torch.arange(n, device=times.device, dtype=times.dtype) / n
    return (times[:-1, None] + gaps[:, None] * parts).flatten(), (gaps / n).repeat_interleave(n)


def _inside(begin: Tensor, h: Tensor, tableau: Tableau) -> Float[Tensor, "steps stages"]:
    """Times of the stages; those at an end of a step are moved by the last digit towards its middle."""
    c = begin.new_tensor(tableau.c)
    at, middle = begin[:, None] + h[:, None] * c, (begin + h / 2)[:, None]
    return torch.where((c == 0) | (c == 1), at.nextafter(middle), at).contiguous()


def _at_times(field: Field, times: Tensor) -> Sequence[Callable[[Tensor], Tensor]]:
    """The field at each of the times; one that has a method of this name can prepare itself for all of them."""
    prepare = getattr(field, "at_times", None)
    return prepare(times) if prepare is not None else [partial(field, t) for t in times]


def _moved(z: Tensor, slopes: Sequence[Tensor], weights: Sequence[float], h: float) -> Tensor:
    for slope, weight in zip(slopes, weights, strict=True):
        if weight:
            z = torch.add(z, slope, alpha=h * weight)
    return z


def _square(rows: Sequence[Sequence[float]]) -> list[list[float]]:
    return [[*row, *[0.0] * (len(rows) - len(row))] for row in rows]

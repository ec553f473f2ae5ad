"""Optimal transport between two weighted clouds, by POT's exact solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ot
import torch
from jaxtyping import Float
from torch import Tensor

from cellstream.cores import side_by_side
from cellstream.errors import Diverged

Problem = tuple[Float[Tensor, " _"], Float[Tensor, "_ d"], Float[Tensor, " _"], Float[Tensor, "_ d"]]
"""Weights and positions of sources, weights and positions of targets."""


@dataclass(frozen=True)
class Plan:
    """An optimal coupling and its dual: all that the first-order change of the optimal cost needs."""

    coupling: Float[Tensor, "n m"]
    potential: Float[Tensor, " n"]
    """Dual variable of the source weights, centred; the slope of the cost when mass moves between sources."""


def squared_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """|x_i − y_j|²."""
    # the expanded square loses digits where clouds are far from the origin
    centre = y.detach().mean(0)
    x, y = x - centre, y - centre
    cost = x.square().sum(1)[:, None] + y.square().sum(1)[None] - 2 * x @ y.T
    return cost.clamp_min(0)


@torch.no_grad()
def solve(a: Float[Tensor, " n"], x: Float[Tensor, "n d"], b: Float[Tensor, " m"], y: Float[Tensor, "m d"]) -> Plan:
    """The coupling P ≥ 0 with P1 = a and Pᵀ1 = b that minimises Σ P_ij |x_i − y_j|².

    ``a`` and ``b`` are positive and are normalised to sum to one. Raises :class:`Diverged` where a position or a weight
    is no longer a number.
    """
    return solve_all([(a, x, b, y)])[0]


@torch.no_grad()
def solve_all(problems: Sequence[Problem]) -> list[Plan]:
    """:func:`solve` for each ``(a, x, b, y)``, side by side on the processor's cores: POT's solver runs on one each.

    Of the matrices in double precision that it works on, there are at a time those of as many problems as cores.
    """
    return side_by_side(_solved, problems)


def _solved(problem: Problem) -> Plan:
    source, target, cost = _prepared(*problem)
    coupling, log = ot.lp.emd(source, target, cost, log=True, numItermax=1_000_000)
    potential = log["u"] - float(np.dot(log["u"], source))
    x = problem[1]
    return Plan(*(torch.as_tensor(part, device=x.device, dtype=x.dtype) for part in (coupling, potential)))


def _prepared(a: Tensor, x: Tensor, b: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    source, target = (w.detach().cpu().double().numpy() for w in (a, b))
    source, target = source / source.sum(), target / target.sum()
    cost = squared_distances(x.detach(), y.detach()).cpu().double().numpy()
    if not (np.isfinite(source).all() and np.isfinite(cost).all()):
        raise Diverged
    return source, target, cost


def cost_of(plan: Plan, a: Float[Tensor, " n"], x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
    """Σ P_ij |x_i − y_j|², with the gradient of the *optimal* cost in positions and in source weights.

    By the envelope theorem the optimal coupling may be held fixed when differentiating in x and y, and the dual
    potential is the derivative in a (Peyré & Cuturi, Computational Optimal Transport, 2019, section 9.1).
    """
    along_positions = (plan.coupling * squared_distances(x, y)).sum()
    return along_positions + (plan.potential * (a - a.detach())).sum()


def wasserstein(
    a: Float[Tensor, " n"], x: Float[Tensor, "n d"], b: Float[Tensor, " m"], y: Float[Tensor, "m d"]
) -> Float[Tensor, ""]:
    """W_2: the square root of the optimal squared-Euclidean cost; differentiable in a, x and y."""
    return root(cost_of(solve(a, x, b, y), a, x, y))


def root(cost: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """√cost with a bounded slope at zero."""
    return (cost + 1e-12).sqrt()


def barycentres(plan: Plan, y: Float[Tensor, "m d"]) -> Float[Tensor, "n d"]:
    """Where the coupling sends each source on average: Σ_j P_ij y_j / Σ_j P_ij."""
    return plan.coupling @ y / plan.coupling.sum(1, keepdim=True)

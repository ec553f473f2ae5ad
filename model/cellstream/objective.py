"""The losses of the paper as pure functions, and the one place where they are weighed.

L = λ_AE L_AE + λ_WFR L_WFR + λ_Match L_Match (+ λ_Nbr L_Nbr + λ_Btw L_Btw + λ_Lin L_Lin, ours),
L_Match = λ_Mass L_Mass + λ_OT L_OT.

Before there are dynamics, while the embedding is shaped, λ_Step L_Step + λ_Sep L_Sep stand in place of L_WFR and
L_Match (ours).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from cellstream import transport
from cellstream.config import Weights
from cellstream.dynamics import Path
from cellstream.networks import Autoencoder
from cellstream.transport import Plan

TAIL = 0.1
"""Share of a time point's cells that count as its first or last ones."""
NORMAL_TAIL = 1.755
"""Mean of the last tenth of a standard normal distribution: φ(Φ⁻¹(0.9)) / 0.1."""


def reconstruction(
    autoencoder: Autoencoder, tau: Float[Tensor, " n"], x: Float[Tensor, "n p"], z: Float[Tensor, "n d"]
) -> Float[Tensor, ""]:
    """L_AE = MSE(f_dec(z), (t, x)) with z = f_enc(t, x), in the autoencoder's units."""
    return torch.nn.functional.mse_loss(autoencoder.decoder(z), autoencoder.joined(tau, x))


def action(path: Path) -> Float[Tensor, ""]:
    """L_WFR = Σ_j ∫ (|v|² + α g²) w_j dt: the Wasserstein–Fisher–Rao action of the path."""
    return path.action[-1].sum()


def mass_error(path: Path, mass: Float[Tensor, " T"]) -> Float[Tensor, ""]:
    """L_Mass = Σ_i | Σ_j w_j(t_i) − N_i/N_0 |."""
    return (path.mass - mass).abs().sum()


def couplings(path: Path, targets: Sequence[Float[Tensor, "_ d"]]) -> list[Plan]:
    """Optimal plans from the particles to the cells of each time point after the first."""
    return transport.solve_all(
        [(path.weights(i), path.z[i], torch.ones_like(y[:, 0]), y) for i, y in enumerate(targets) if i > 0]
    )


def matching(path: Path, targets: Sequence[Float[Tensor, "_ d"]], plans: Sequence[Plan]) -> Float[Tensor, ""]:
    """L_OT = Σ_{i>0} W_2(w(t_i)/|w(t_i)|₁ on ẑ(t_i), uniform on the encoded X_i), with the plans held fixed.

    At i = 0 both sides are the same cells and the distance is zero.
    """
    costs = [
        transport.root(transport.cost_of(plan, path.weights(i), path.z[i], targets[i]))
        for i, plan in enumerate(plans, start=1)
    ]
    return torch.stack(costs).sum()


@dataclass(frozen=True)
class Neighbourhood:
    """Affinities P within some cells of one time point, which sum to one, and Σ P log P; all zero where no two of the
    cells are near each other."""

    p: Float[Tensor, "n n"]
    negative_entropy: Float[Tensor, ""]

    @classmethod
    def of(cls, affinity: Float[Tensor, "n n"]) -> Neighbourhood:
        """From affinities of any sum: symmetric, and zero on the diagonal."""
        tiny = torch.finfo(affinity.dtype).tiny
        p = affinity / affinity.sum().clamp_min(tiny)
        return cls(p, p.flatten() @ p.clamp_min(tiny).log_().flatten())


def neighbours(z: Float[Tensor, "n d"], near: Neighbourhood) -> Float[Tensor, ""]:
    """L_Nbr = KL(P ‖ Q) over the cells of one time point: t-SNE's divergence from the affinities P of the input
    to Q_ij ∝ 1 / (1 + |z_i − z_j|²) (ours).

    Zero where P is. Source: van der Maaten & Hinton, JMLR 2008, equations 3 to 5.
    """
    return near.negative_entropy + _CrossEntropy.apply(z, near.p)


class _CrossEntropy(torch.autograd.Function):
    """−Σ P log Q with its gradient in closed form, 4 Σ_j (P_ij − Q_ij) s_ij (z_i − z_j), s_ij = 1 / (1 + |z_i − z_j|²):
    matrices of all pairs are passed over three times less often than when every operation is differentiated."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, p: Tensor) -> Tensor:
        apart = transport.squared_distances(z, z).add_(1)
        similarity = apart.reciprocal().fill_diagonal_(0)
        total, mass = similarity.sum(), p.sum()
        pull = similarity.mul(-mass / total).add_(p).mul_(similarity)
        # (zᵀ pullᵀ)ᵀ: a product with so narrow a matrix on the right takes three times as long
        ctx.save_for_backward(4 * (pull.sum(1, keepdim=True) * z - (z.T.contiguous() @ pull.T).T))
        # log Q_ij = −log(1 + |z_i − z_j|²) − log Σ
        return p.flatten() @ apart.log_().flatten() + mass * total.log()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return slope * gradient, None


def uneven_steps(
    before: Float[Tensor, "i b d"], after: Float[Tensor, "i b d"], gaps: Float[Tensor, " i"]
) -> Float[Tensor, ""]:
    """⟨ |(z_after − z_before) / Δt − s|² ⟩ / σ²: how far coupled cells stray from one constant velocity s, that of
    their mean over the whole time, in units of the embedding's variance σ² (ours).

    One s for all intervals, or the embedding would fold to and fro and lay time points over each other.

    before, after: b pairs of coupled cells for each of i intervals of length ``gaps``.
    """
    s = (after[-1].mean(0) - before[0].mean(0)) / gaps.sum()
    velocity = (after - before) / gaps[:, None, None]
    return (velocity - s).square().sum(-1).mean() / torch.cat([before, after]).flatten(0, 1).var(0).sum()


def separation(z: Sequence[Float[Tensor, "_ d"]]) -> Float[Tensor, " i"]:
    """For each interval, how far its time points lie apart along ŝ, which leads from the first to the last time point,
    in units of their spread σ along it (ours).

    From the mean of the last tenth of the earlier time point's cells to that of the first tenth of the later one's,
    plus what these lie off the middle of a normal distribution: of two normal ones it is the distance of their means.
    Strips side by side touch at 3.9, discs at 4.3, and a tail that reaches into the next time point counts.

    z: cells of each time point.
    """
    whole = z[-1].mean(0) - z[0].mean(0)
    along = [part @ (whole / whole.square().sum().sqrt()) for part in z]
    first, last = (torch.stack([_tail(part, largest).mean() for part in along]) for largest in (False, True))
    variance = torch.stack([part.var() for part in along])
    sigma = ((variance[1:] + variance[:-1]) / 2).sqrt()
    return (first[1:] - last[:-1]) / sigma + 2 * NORMAL_TAIL


def _tail(values: Float[Tensor, " n"], largest: bool) -> Float[Tensor, " k"]:
    """The last tenth of the values, or the first; at least one."""
    return values.topk(max(round(len(values) * TAIL), 1), largest=largest).values


def total(terms: Mapping[str, Tensor], weights: Weights) -> Float[Tensor, ""]:
    """The weighted sum of those terms that are given; the only place with weights."""
    weight = {
        "ae": weights.lambda_ae,
        "wfr": weights.lambda_wfr,
        "mass": weights.lambda_match * weights.lambda_mass,
        "ot": weights.lambda_match * weights.lambda_ot,
        "neighbours": weights.lambda_neighbours,
        "between": weights.lambda_between,
        "lineages": weights.lambda_lineages,
        "steps": weights.lambda_steps,
        "separation": weights.lambda_separation,
    }
    return torch.stack([weight[name] * term for name, term in terms.items()]).sum()

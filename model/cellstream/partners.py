"""Who becomes whom, as far as the input alone can tell: cells coupled with cells of the next time point (ours).

The couplings are exact and in the input space, which the embedding cannot bend to its ends. They are solved once, on
at most :data:`MOST` cells of each time point; steps then draw pairs from them, so that a step costs the same for any
number of cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cellstream import transport

MOST = 1024


@dataclass(frozen=True)
class Partners:
    """For each pair of neighbouring time points, coupled cells and how much mass goes between them."""

    sources: list[Int64[Tensor, " _"]]
    """Positions in the snapshots."""
    targets: list[Int64[Tensor, " _"]]
    mass: list[Float[Tensor, " _"]]

    @classmethod
    def of(cls, x: list[Float[Tensor, "_ p"]], cells: list[Int64[Tensor, " _"]]) -> Partners:
        """Couple the features ``x`` of ``cells``, given per time point."""
        sources, targets, mass = [], [], []
        for i in range(len(x) - 1):
            a, b = x[i], x[i + 1]
            plan = transport.solve(torch.ones_like(a[:, 0]), a, torch.ones_like(b[:, 0]), b)
            # an optimal vertex of the transport polytope has fewer than n + m entries
            here, there = plan.coupling.nonzero(as_tuple=True)
            sources.append(cells[i][here])
            targets.append(cells[i + 1][there])
            mass.append(plan.coupling[here, there])
        return cls(sources, targets, mass)

    def draw(self, size: int, generator: torch.Generator) -> tuple[Int64[Tensor, "i b"], Int64[Tensor, "i b"]]:
        """``size`` pairs for each interval, in proportion to their mass."""
        picked = [
            torch.multinomial(m.cpu(), size, replacement=True, generator=generator).to(m.device) for m in self.mass
        ]
        return (
            torch.stack([s[k] for s, k in zip(self.sources, picked, strict=True)]),
            torch.stack([t[k] for t, k in zip(self.targets, picked, strict=True)]),
        )

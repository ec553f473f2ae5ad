"""The embedding: its start at principal components, its shape before there are dynamics, and what it has to keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from cellstream import objective
from cellstream.descent import Losses, descend
from cellstream.objective import Neighbourhood
from cellstream.state import PLACES, Batch, State

TOUCHING = 4.2
"""Separation at which neighbouring time points touch without overlapping; see :func:`objective.separation`."""


Pairs = tuple[Float[Tensor, "i b _"], Float[Tensor, "i b _"]]
"""Something of the earlier and of the later cells of b pairs for each of i intervals."""


class Company:
    """The cells beside a batch that its embedding is judged with, drawn when first asked for and then the same for
    all updates that the batch serves."""

    def __init__(self, state: State, batch: Batch):
        self.state, self.batch = state, batch

    @cached_property
    def near(self) -> list[tuple[Int64[Tensor, " _"], Neighbourhood]]:
        """Cells of each time point whose affinities are known, and those."""
        among = self.state.affinities.among
        return [(cells, Neighbourhood.of(among(i, cells))) for i, cells in enumerate(self.state.near(self.batch))]

    @cached_property
    def others(self) -> tuple[list[int], Float[Tensor, " n"], Float[Tensor, "n p"]]:
        """How many cells of :attr:`near` are not the batch's own at each time point, and their times and features."""
        s = self.state.snapshots
        own = self.batch.cells
        cells = [near if near is not mine else near[:0] for (near, _), mine in zip(self.near, own, strict=True)]
        joined = torch.cat(cells)
        return [len(part) for part in cells], s.tau[s.index[joined]], s.x[joined]

    def near_in(self, z: Sequence[Float[Tensor, "_ d"]]) -> list[Float[Tensor, "_ d"]]:
        """Where the cells of :attr:`near` lie, given where those of the batch do: one call of the encoder at most."""
        sizes, tau, x = self.others
        if not any(sizes):
            return list(z)
        others = self.state.autoencoder.encode(tau, x).split(sizes)
        return [other if len(other) else own for own, other in zip(z, others, strict=True)]

    @cached_property
    def coupled(self) -> Coupled:
        """Coupled cells of neighbouring time points."""
        s = self.state.snapshots
        before, after = self.state.draw_pairs(self.batch.key)
        u = torch.rand(before.numel(), generator=self.state.generator(self.batch.key, PLACES)).to(s.x)
        tau = s.tau[s.index[before], None], s.tau[s.index[after], None]
        return Coupled(tau, (s.x[before], s.x[after]), u.view(*before.shape, 1))


@dataclass(frozen=True)
class Coupled:
    """Times (i, b, 1) and features of coupled cells, and places ``u`` between them, in 0 .. 1."""

    tau: Pairs
    x: Pairs
    u: Float[Tensor, "i b 1"]

    def encode(self, state: State) -> Pairs:
        """Where the cells lie, by one call of the encoder."""
        tau, x = (torch.cat(sides).flatten(0, 1) for sides in (self.tau, self.x))
        before, after = state.autoencoder.encode(tau.squeeze(1), x).chunk(2)
        return before.unflatten(0, self.u.shape[:2]), after.unflatten(0, self.u.shape[:2])


def start_step(state: State, k: int) -> Losses:
    """Fit the encoder to the principal components of (t, x), and apart from it the decoder to invert them."""

    def losses(joined: Float[Tensor, "n q"], z: Float[Tensor, "n d"]) -> Losses:
        return dict(
            encoder=torch.nn.functional.mse_loss(state.autoencoder.encoder(joined), z) / z.var(),
            decoder=torch.nn.functional.mse_loss(state.autoencoder.decoder(z), joined),
        )

    def losses_of(batch: Batch) -> Callable[[], Losses]:
        joined = state.autoencoder.joined(torch.cat(batch.tau), torch.cat(batch.x))
        return partial(losses, joined, state.principal.project(joined))

    return descend(state, "start", map(losses_of, state.batches()), lambda terms: terms["encoder"] + terms["decoder"])


def embedding_step(state: State, k: int) -> Losses:
    """Shape the embedding before there are dynamics: what it has to keep, even steps between coupled cells, and time
    points apart as far as the user wishes (ours)."""
    weights = state.config.weights
    gaps = state.snapshots.tau.diff()
    apart = TOUCHING * max(state.config.networks.time_separation, 0.05)

    def losses(batch: Batch, company: Company) -> Losses:
        z, pairs = batch.encode(state.autoencoder), company.coupled.encode(state)
        return embedding_losses(state, batch, z, company, pairs) | dict(
            steps=objective.uneven_steps(*pairs, gaps),
            separation=torch.relu(1 - objective.separation(z) / apart).square().mean(),
        )

    def losses_of(batch: Batch) -> Callable[[], Losses]:
        return partial(losses, batch, Company(state, batch))

    return descend(state, "start", map(losses_of, state.batches()), lambda terms: objective.total(terms, weights))


def embedding_losses(
    state: State, batch: Batch, z: Sequence[Float[Tensor, "_ d"]], company: Company | None, pairs: Pairs | None = None
) -> Losses:
    """What the embedding has to keep of the cells. ``company`` is that of the batch (:func:`company_of`), and ``pairs``
    its pairs where they have been encoded already."""
    terms = dict(
        ae=objective.reconstruction(state.autoencoder, torch.cat(batch.tau), torch.cat(batch.x), torch.cat(list(z)))
    )
    if company is not None and state.magnification is not None:
        each = [
            objective.neighbours(state.magnification(part), near)
            for part, (_, near) in zip(company.near_in(z), company.near, strict=True)
        ]
        terms["neighbours"] = torch.stack(each).mean()
    if company is not None and state.config.weights.lambda_between:
        terms["between"] = reconstruction_between(state, company.coupled, pairs or company.coupled.encode(state))
    return terms


def company_of(state: State, batch: Batch) -> Company | None:
    """The company of a batch where the weights ask for more than reconstruction."""
    asked = state.magnification is not None or state.config.weights.lambda_between
    return Company(state, batch) if asked else None


def reconstruction_between(state: State, coupled: Coupled, pairs: Pairs) -> Float[Tensor, ""]:
    """L_Btw: the decoder on places between the time points, which particles pass and no cell shows (ours).

    Where the way from a cell to its partner lies in the embedding, a share u along it, the decoder shall return what
    lies at the same share between the two in (t, x): displacement interpolation, on both sides.
    """
    tau, x, z = (torch.lerp(*sides, coupled.u).flatten(0, 1) for sides in (coupled.tau, coupled.x, pairs))
    return objective.reconstruction(state.autoencoder, tau.squeeze(1), x, z)

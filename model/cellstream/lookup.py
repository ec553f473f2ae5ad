"""An encoder without a network: cells whose places are known, looked up. For embeddings that come from elsewhere."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

NEAR = 5
"""Known cells between which a new cell is placed."""
NEIGHBOURHOOD = 30
"""Known cells from which the local slope of the embedding is read."""


class Lookup(nn.Module):
    """``(t, x) -> z`` by the known cells of the nearest time point.

    A known cell is where it was put; a new one is at the mean of its :data:`NEAR` nearest known cells, weighted by
    1 / distance² (Shepard 1968). It has no gradient.

    cells: ``(m, 1+p)`` known cells in the autoencoder's units, none twice. places: ``(m, d)``.
    """

    cells: Tensor
    places: Tensor

    def __init__(self, cells: Float[Tensor, "m q"], places: Float[Tensor, "m d"]):
        super().__init__()
        self.register_buffer("cells", cells)
        self.register_buffer("places", places)
        self._searches: dict[int, NearestNeighbors] = {}

    @classmethod
    def of(cls, joined: Float[Tensor, "n q"], z: Float[Tensor, "n d"]) -> Lookup:
        """Cells that are alike, at the same time, share the mean of their places."""
        cells, which = torch.unique(joined, dim=0, return_inverse=True)
        sums = torch.zeros(len(cells), z.shape[1], dtype=torch.float64).index_add_(0, which.cpu(), z.cpu().double())
        return cls(cells, (sums / which.cpu().bincount()[:, None]).to(z))

    def forward(self, joined: Float[Tensor, "n q"]) -> Float[Tensor, "n d"]:
        near, squared = self._near(joined, NEAR)
        weights = 1 / np.maximum(squared, 1e-300)
        places = self.places.cpu().double().numpy()
        z = (places[near] * (weights / weights.sum(1, keepdims=True))[..., None]).sum(1)
        known = squared[:, 0] == 0
        z[known] = places[near[known, 0]]
        return torch.as_tensor(z).to(self.places)

    def push(self, joined: Float[Tensor, "n q"], slope: Float[Tensor, "n p"]) -> Float[Tensor, "n d"]:
        """Velocities of the features as the embedding shows them: B'v, where z ≈ a + B'x is the least-squares fit to
        the :data:`NEIGHBOURHOOD` nearest known cells of the time point (minimum-norm where they leave directions open).

        Directions in which those cells hardly differ (singular values below a tenth of the largest) are left out, or
        their noise would decide.
        """
        near, _ = self._near(joined, NEIGHBOURHOOD)
        x, z = self.cells[:, 1:].double().cpu()[near], self.places.double().cpu()[near]
        x, z = x - x.mean(1, keepdim=True), z - z.mean(1, keepdim=True)
        pushed = slope.double().cpu()[:, None] @ torch.linalg.pinv(x, rtol=0.1) @ z
        return pushed.squeeze(1).to(self.places)

    def _near(self, joined: Float[Tensor, "n q"], k: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest known cells (n, k) of the nearest time point, nearest first, and squared distances to them.

        At a time point of fewer than k cells the last one is repeated, infinitely far away.
        """
        points, cells = (part.detach().cpu().double().numpy() for part in (joined, self.cells))
        times, index = np.unique(cells[:, 0], return_inverse=True)
        here = np.abs(points[:, :1] - times).argmin(1)
        near, squared = np.zeros((len(points), k), np.int64), np.full((len(points), k), np.inf)
        for i in np.unique(here):
            rows, members = np.flatnonzero(here == i), np.flatnonzero(index == i)
            if i not in self._searches:
                self._searches[i] = NearestNeighbors().fit(cells[members, 1:])
            few = min(k, len(members))
            found = members[self._searches[i].kneighbors(points[rows, 1:], few, return_distance=False)]
            # anew, since a search by products of matrices finds no zero
            exact = np.square(points[rows, None, 1:] - cells[found, 1:]).sum(-1)
            order = exact.argsort(1, kind="stable")
            near[rows] = np.take_along_axis(found, np.pad(order, ((0, 0), (0, k - few)), mode="edge"), 1)
            squared[rows, :few] = np.take_along_axis(exact, order, 1)
        return near, squared

"""Partners against POT's exact coupling."""

from __future__ import annotations

import numpy as np
import ot
import torch

from cellstream.partners import Partners


def test_partners_are_those_of_the_exact_coupling():
    g = torch.Generator().manual_seed(0)
    x = [torch.randn(20, 3, generator=g), torch.randn(30, 3, generator=g)]
    cells = [torch.arange(20), torch.arange(100, 130)]
    found = Partners.of(x, cells)
    expected = ot.emd(ot.unif(20), ot.unif(30), ot.dist(x[0].double().numpy(), x[1].double().numpy()))
    dense = np.zeros((20, 30))
    dense[found.sources[0], found.targets[0] - 100] = found.mass[0]
    np.testing.assert_allclose(dense, expected, atol=1e-6)


def test_pairs_are_drawn_in_proportion_to_their_mass():
    partners = Partners([torch.tensor([0, 1])], [torch.tensor([5, 6])], [torch.tensor([0.8, 0.2])])
    before, after = partners.draw(20_000, torch.Generator().manual_seed(0))
    assert abs((before == 0).float().mean().item() - 0.8) < 0.02
    assert torch.equal(after, before + 5)

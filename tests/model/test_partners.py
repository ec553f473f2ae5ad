"""Partners against POT's exact coupling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import ot
import pytest
import torch

from cellstream import partners
from cellstream.partners import Partners
from cellstream.presets import preset
from cellstream.state import State


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


def test_the_input_is_coupled_in_the_autoencoders_units(moving_cloud):
    """With every feature at variance 1, one of large numbers does not decide alone who becomes whom."""
    x = moving_cloud.x * torch.tensor([1.0, 1.0, 1000.0, 1.0, 1.0]) + 7
    state = State.initial(replace(moving_cloud, x=x), preset("best", held_out=0, input_scaling="standardise"))
    standardised = (x / x.std(0)).numpy().astype(float)
    for i, (n, m) in enumerate([(40, 60), (60, 90)]):
        here, there = (np.flatnonzero(moving_cloud.index == k) for k in (i, i + 1))
        cost = ot.dist(standardised[here], standardised[there])
        assert set(state.partners.sources[i].tolist()) == set(here)
        assert set(state.partners.targets[i].tolist()) == set(there)
        found = cost[state.partners.sources[i] - here[0], state.partners.targets[i] - there[0]]
        assert found @ state.partners.mass[i].numpy() == pytest.approx(ot.emd2(ot.unif(n), ot.unif(m), cost), rel=1e-4)


def test_large_time_points_are_coupled_on_a_sample(moving_cloud, monkeypatch):
    monkeypatch.setattr(partners, "MOST", 50)
    found = State.initial(moving_cloud, preset("paper")).partners
    assert [len(s.unique()) for s in found.sources] == [40, 50]
    assert [len(s.unique()) for s in found.targets] == [50, 50]
    assert set(found.targets[0].tolist()) == set(found.sources[1].tolist())

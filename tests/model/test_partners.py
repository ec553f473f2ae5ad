"""Partners against POT's exact coupling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import ot
import pytest
import torch

from cellstream import partners
from cellstream.benchmark import cases
from cellstream.partners import BLUR, MOST_GROWTH, NEAREST, PRICE, UNTOLD, Partners, descendants, row_sums
from cellstream.presets import preset
from cellstream.state import State


def test_partners_are_those_of_the_exact_coupling():
    g = torch.Generator().manual_seed(0)
    x = [torch.randn(20, 3, generator=g), torch.randn(30, 3, generator=g)]
    cells = [torch.arange(20), torch.arange(100, 130)]
    found = Partners.of(x, cells, growing=False)
    expected = ot.emd(ot.unif(20), ot.unif(30), ot.dist(x[0].double().numpy(), x[1].double().numpy()))
    dense = np.zeros((20, 30))
    dense[found.sources[0], found.targets[0] - 100] = found.mass[0]
    np.testing.assert_allclose(dense, expected, atol=1e-6)


def test_pairs_are_drawn_in_proportion_to_their_mass():
    partners = Partners([torch.tensor([0, 1])], [torch.tensor([5, 6])], [torch.tensor([0.8, 0.2])], [torch.zeros(2)])
    before, after = partners.draw(20_000, torch.Generator().manual_seed(0))
    assert abs((before == 0).float().mean().item() - 0.8) < 0.02
    assert torch.equal(after, before + 5)


def test_the_input_is_coupled_in_the_autoencoders_units(moving_cloud):
    """With every feature at variance 1, one of large numbers does not decide alone who becomes whom."""
    x = moving_cloud.x * torch.tensor([1.0, 1.0, 1000.0, 1.0, 1.0]) + 7
    state = State.initial(
        replace(moving_cloud, x=x), preset("best", held_out=0, input_scaling="standardise", lambda_lineages=0)
    )
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


def islands(*counts: int, at: float = 0.0, seed: int = 0) -> torch.Tensor:
    """Clouds of so many cells, twenty apart."""
    g = torch.Generator().manual_seed(seed)
    clouds = [torch.randn(n, 3, generator=g) + torch.tensor([at, 20.0 * k, 0.0]) for k, n in enumerate(counts)]
    return torch.cat(clouds)


def test_islands_too_far_apart_to_cross_grow_to_the_shares_observed():
    """From 60 and 60 cells to 120 and 60, all moved alike: the first island's cells have 4/3 of the mean, the other's
    2/3."""
    growth = descendants(islands(60, 60), islands(120, 60, at=5.0, seed=1))
    assert growth.mean().item() == pytest.approx(1)
    assert growth[:60].mean().item() == pytest.approx(4 / 3, rel=0.05)
    assert growth[60:].mean().item() == pytest.approx(2 / 3, rel=0.1)


@pytest.mark.parametrize(("late", "apart"), [(0.67, 6), (0.8, 6), (0.9, 10), (0.9, 20)])
def test_growth_of_standing_lineages_is_not_taken_for_a_move_of_all(late, apart):
    """From half and half to a share of ``late``: the logarithms of growth differ by the log odds. Were each cloud
    centred on its own mean, 0.4 to 1.0 would be found in place of 0.7 to 2.2."""

    def islands(first: int, second: int, seed: int) -> torch.Tensor:
        x = torch.randn(first + second, 5, generator=torch.Generator().manual_seed(seed))
        x[first:, 0] += apart
        return x

    move = torch.tensor([0.0, 5.0, 0.0, 0.0, 0.0])
    n = round(300 * late)
    growth = descendants(islands(150, 150, 0), islands(n, 300 - n, 1) + move).log()
    found = (growth[:150].mean() - growth[150:].mean()).item()
    assert found == pytest.approx(np.log(late / (1 - late)), rel=0.2)


def test_pairs_carry_the_growth_of_their_source():
    x = [islands(60, 60), islands(120, 60, at=5.0, seed=1)]
    found = Partners.of(x, [torch.arange(120), torch.arange(120, 300)], growing=True)
    torch.testing.assert_close(found.log_growth[0], descendants(*x).log()[found.sources[0]])


def test_growth_beyond_belief_is_cut():
    """From 600 and 20 to 600 and 400: the rare cells have 12.4 times as many descendants as the mean, of which e² are
    believed, and the others 0.62 times as many."""
    growth = descendants(islands(600, 20), islands(600, 400, at=5.0, seed=1))
    times = (growth[600:].mean() / growth[:600].mean()).item()
    assert times == pytest.approx(np.exp(MOST_GROWTH) / 0.62, rel=0.15)


def semirelaxed_rows(cost: torch.Tensor) -> torch.Tensor:
    """Row sums, of mean one, of the coupling at a cost in its own unit, by the iteration on logarithms."""
    n, m = cost.shape
    f = torch.zeros(n, dtype=torch.float64)
    for _ in range(5000):
        h = -BLUR * torch.logsumexp((f[:, None] - cost) / BLUR - np.log(n), 0)
        f = -PRICE / (PRICE + BLUR) * BLUR * torch.logsumexp((h - cost) / BLUR - np.log(m), 1)
    h = -BLUR * torch.logsumexp((f[:, None] - cost) / BLUR - np.log(n), 0)
    return torch.logsumexp((f[:, None] + h - cost) / BLUR, 1).exp() / m


def test_row_sums_are_those_of_the_semirelaxed_coupling():
    """Against the same iteration on logarithms, at the shift that the row sums themselves make the best one."""
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(40, 3, generator=g, dtype=torch.float64), torch.randn(50, 3, generator=g, dtype=torch.float64)
    b[:30, 0] += 2
    found = row_sums(a, b)
    unit = torch.cdist(a - a.mean(0), b - b.mean(0)).square().flatten().median()
    cost = torch.cdist(a - found @ a / found.sum(), b - b.mean(0)).square() / unit
    rows = semirelaxed_rows(cost)
    assert rows.std() > 0.1
    torch.testing.assert_close(found, rows, rtol=2e-3, atol=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("away", [10.0, 60.0])
def test_a_stray_cell_changes_little_for_the_others(late, away):
    """Of 60 standard deviations, exp(−cost / ε) is no number that could be divided by."""
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(600, 5, generator=g), torch.randn(700, 5, generator=g)
    expected = row_sums(a, b)
    stray = torch.tensor([[away, 0, 0, 0, 0]])
    found = row_sums(a, torch.cat([b, stray])) if late else row_sums(torch.cat([a, stray]), b)
    assert late or found[-1] < 0.2
    assert np.corrcoef(found[:600], expected)[0, 1] > 0.9
    assert (found[:600] - expected).abs().median() < 0.05


def test_row_sums_without_a_later_time_point_are_those_among_the_other_cells():
    """Against a copy in which each cell's own image is out of reach."""
    a = torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = row_sums(a)
    assert found.mean().item() == pytest.approx(1)
    assert found.std() > 0.3
    cost = torch.cdist(a - found @ a / found.sum(), a - a.mean(0)).square()
    unit = cost.flatten().median()
    cost = (cost / unit).fill_diagonal_(1e3)
    rows = semirelaxed_rows(cost)
    torch.testing.assert_close(found, rows, rtol=2e-2, atol=1e-3)


def test_descendants_are_divided_row_sums_averaged_over_the_nearest_cells():
    g = torch.Generator().manual_seed(0)
    a, b = torch.randn(60, 4, generator=g), torch.randn(70, 4, generator=g)
    near = torch.cdist(a, a).argsort(1)[:, :NEAREST]
    expected = ((row_sums(a, b) + UNTOLD) / (row_sums(a) + UNTOLD))[near].mean(1)
    assert expected.log().abs().max() < MOST_GROWTH
    torch.testing.assert_close(descendants(a, b), expected / expected.mean())


def test_noise_is_not_taken_for_growth():
    """Two kinds of cells that move and grow alike, one measured with twice the noise in 30 features: row sums alone say
    that its cells die, averaged or not, since neighbours are of one kind."""
    g = torch.Generator().manual_seed(0)
    quiet = torch.arange(400) % 2 == 0
    noise, place = torch.where(quiet, 0.7, 1.4)[:, None], torch.zeros(400, 30)
    place[:, 0] = torch.where(quiet, 2.0, -2.0)
    a, b = place + noise * torch.randn(400, 30, generator=g), place + noise * torch.randn(400, 30, generator=g) + 1
    apart = {f: (f(a, b)[quiet].log().mean() - f(a, b)[~quiet].log().mean()).item() for f in (row_sums, descendants)}
    assert apart[row_sums] > 0.5
    assert abs(apart[descendants]) < 0.05  # averaged alone 0.19


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_cells_grow_by_numbers(n):
    g = torch.Generator().manual_seed(0)
    found = descendants(torch.randn(n, 3, generator=g), torch.randn(7, 3, generator=g))
    assert found.isfinite().all()
    assert found.mean().item() == pytest.approx(1)


def test_descendants_tell_the_growth_of_simulated_lineages():
    """True rates are known; from day 5 on all cells have the fate they keep. Row sums alone: 0.83. Where all grow
    alike, at day 0, they tell a cell's number of molecules."""
    case = cases.branching(0)
    x = [case.snapshots.x[case.snapshots.cells(i)] for i in (4, 5)]
    true = case.growth[case.snapshots.cells(4)]
    assert np.corrcoef(descendants(*x).log(), true)[0, 1] > 0.95
    assert np.corrcoef(row_sums(*x).log(), true)[0, 1] < 0.87
    x = [case.snapshots.x[case.snapshots.cells(i)] for i in (0, 1)]
    assert descendants(*x).log().std() < 0.06
    assert row_sums(*x).log().std() > 0.3


def test_cells_that_nothing_tells_apart_grow_alike():
    same = torch.zeros(10, 3)
    assert torch.equal(descendants(same, torch.ones(12, 3)), torch.ones(10))


def test_sources_are_drawn_alike_and_targets_by_mass():
    known = Partners(
        [torch.tensor([0, 0, 1])], [torch.tensor([5, 6, 7])], [torch.tensor([0.6, 0.2, 0.2])],
        [torch.tensor([0.4, 0.4, -0.6])],
    )  # fmt: skip
    before, after, growth = known.draw_sources(20_000, torch.Generator().manual_seed(0))
    assert (before == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert (after[before == 0] == 5).float().mean().item() == pytest.approx(0.75, abs=0.02)
    assert torch.equal(growth, torch.where(before == 0, 0.4, -0.6))


def test_with_growth_pairs_stay_on_their_island(moving_cloud):
    """Coupled by balanced transport a sixth of the cells would cross."""
    x = [islands(60, 60), islands(120, 60, at=5.0, seed=1)]
    cells = [torch.arange(120), torch.arange(120, 300)]
    crossing = {}
    for growing in (False, True):
        found = Partners.of(x, cells, growing)
        crosses = (found.sources[0] < 60) != (found.targets[0] < 240)
        crossing[growing] = found.mass[0][crosses].sum().item()
    assert crossing[False] == pytest.approx(1 / 6, abs=1e-6)
    assert crossing[True] < 0.03

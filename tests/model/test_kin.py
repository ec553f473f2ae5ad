"""Ancestors and descendants: cells on known ways, of known growth, beside what can be worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cellstream import kin
from cellstream.stream import CellStream, Flow

TIMES = (0.0, 1.0, 3.0)


@dataclass
class Known:
    """A flow in closed form: cells left of zero move left by 1 per unit of time and halve in each, those right of it
    move right and double."""

    clock: object = field(default_factory=lambda: SimpleNamespace(times=TIMES))

    def push(self, z, start, times, log_w):
        side, past = np.sign(z[:, 0]), np.asarray(times)[:, None] - start
        places = z[None] + np.stack([side * past, np.zeros_like(side * past)], -1)
        return Flow(np.asarray(times), places.astype(np.float32), (log_w + side * past * np.log(2)).astype(np.float32))

    pull, carry = push, CellStream.carry


@pytest.fixture
def cells():
    """Left, middle-right and right cells at each time; kinds 0 on the left and 1 on the right."""
    random = np.random.default_rng(0)
    z, index, codes = [], [], []
    for i, t in enumerate(TIMES):
        for side in (-1, 1):
            z.append(np.column_stack([side * (5 + t) + random.normal(size=40) * 0.3, random.normal(size=40)]))
            index.append(np.full(40, i))
            codes.append(np.full(40, (side + 1) // 2))
    return np.concatenate(z).astype(np.float32), np.concatenate(index), np.concatenate(codes)


def at(z, index, i):
    there = np.flatnonzero(index == i)
    return cKDTree(z[there]), there


def test_kin_is_where_the_flow_leads_and_weighs_what_it_grows(cells):
    z, index, codes = cells
    chosen = np.flatnonzero((index == 1) & (codes == 1))[:10]
    found = kin.kin(Known(), z, index, chosen)
    np.testing.assert_array_equal(found.times[found.measured], TIMES)
    for i, t in enumerate(TIMES):
        np.testing.assert_allclose(found.z[found.measured[i], :, 0], z[chosen, 0] + t - 1, atol=1e-5)
        assert found.mass(i) == pytest.approx(2.0 ** (t - 1))
    between = found.times.searchsorted(2.0)
    np.testing.assert_allclose(found.z[between, :, 0], z[chosen, 0] + found.times[between] - 1, atol=1e-5)


def test_shares_are_those_of_the_mass(cells):
    """Ten cells of either side at the first time: at the last one, three units later, 1/8 and 8 times as many."""
    z, index, codes = cells
    chosen = np.concatenate([np.flatnonzero((index == 0) & (codes == side))[:10] for side in (0, 1)])
    found = kin.kin(Known(), z, index, chosen)
    for i, t in enumerate(TIMES):
        kinds = kin.kinds(found, i, codes, *at(z, index, i))
        np.testing.assert_array_equal(kinds, [0] * 10 + [1] * 10)
        left, right = 2.0**-t, 2.0**t
        np.testing.assert_allclose(
            kin.shares(found, i, kinds, ["left", "right"]), [left / (left + right), right / (left + right), 0]
        )


def test_cells_of_several_times_are_followed_both_ways(cells):
    z, index, _ = cells
    chosen = np.array([3, 83, 163])  # one of each time point, on the left
    found = kin.kin(Known(), z, index, chosen)
    np.testing.assert_array_equal(found.own, [0, 1, 2])
    for k, cell in enumerate(chosen):
        np.testing.assert_allclose(found.z[:, k, 0], z[cell, 0] - (found.times - TIMES[k]), atol=1e-5)
        np.testing.assert_allclose(found.log_w[:, k], -np.log(2) * (found.times - TIMES[k]), atol=1e-5)


def test_no_kind_is_a_kind_and_where_a_cell_was_measured_its_own_counts(cells):
    z, index, codes = cells
    codes = np.where((index == 2) & (codes == 0), -1, codes)
    chosen = np.flatnonzero((index == 1) & (z[:, 0] < 0))[:4]
    odd = codes.copy()
    odd[chosen[0]] = 1  # among cells of the other kind
    found = kin.kin(Known(), z, index, chosen)
    np.testing.assert_array_equal(kin.kinds(found, 1, odd, *at(z, index, 1)), [1, 0, 0, 0])
    kinds = kin.kinds(found, 2, codes, *at(z, index, 2))
    np.testing.assert_array_equal(kinds, [-1] * 4)
    np.testing.assert_allclose(kin.shares(found, 2, kinds, ["left", "right"]), [0, 0, 1])


def test_of_many_cells_an_even_part_is_followed(cells):
    z, index, codes = cells
    chosen = np.flatnonzero(index == 0)
    found = kin.kin(Known(), z, index, chosen, most=40)
    assert len(found.cells) == len(np.unique(found.cells)) == 40
    assert set(found.cells) <= set(chosen)
    assert 10 <= codes[found.cells].sum() <= 30  # half of them, give or take
    again = kin.kin(Known(), z, index, chosen, most=40)
    np.testing.assert_array_equal(again.cells, found.cells)

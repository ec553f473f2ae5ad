"""Held-out cells reach nothing of the training, and are found again from the result alone."""

from __future__ import annotations

from dataclasses import replace

import anndata
import numpy as np
import pytest
import torch

from cellstream import evaluation
from cellstream.held_out import held_out, unseen
from cellstream.presets import preset
from cellstream.snapshots import Snapshots, from_anndata
from cellstream.state import State
from cellstream.training import train
from cellstream.twins import twins
from tests.conftest import TINY

CONFIG = preset("best", **{**TINY, "embedding_steps": 3, "warm_steps": 3, "held_out": 0.1})


@pytest.fixture
def snapshots() -> Snapshots:
    """Time points of 39, 40 and 120 cells, mixed in the file."""
    rng = np.random.default_rng(0)
    index = rng.permutation(np.repeat(np.arange(3), [39, 40, 120]))
    x = rng.normal(size=(199, 5)) + index[:, None] * np.array([2.0, 1.0, 0.0, 0.0, 0.0])
    return Snapshots(
        x=torch.tensor(x, dtype=torch.float32),
        index=torch.tensor(index),
        times=torch.arange(3.0),
        mass=torch.tensor([1.0, 1.0, 3.0]),
        labels=("0", "1", "2"),
    )


def subset(snapshots: Snapshots, rows: np.ndarray) -> Snapshots:
    return replace(snapshots, x=snapshots.x[rows], index=snapshots.index[rows])


def test_a_share_of_each_time_point_that_can_spare_it(snapshots):
    held = held_out(snapshots, CONFIG)
    assert torch.bincount(snapshots.index[held], minlength=3).tolist() == [0, 4, 12]
    assert torch.equal(held, held_out(snapshots, CONFIG))
    assert not torch.equal(held, held_out(snapshots, CONFIG.with_settings(seed=1)))
    assert not held_out(snapshots, CONFIG.with_settings(held_out=0)).any()


def test_every_cell_is_as_likely_as_another(snapshots):
    """Over 400 seeds each of the 120 cells is held out 40 times, give or take."""
    times = sum(held_out(snapshots, CONFIG.with_settings(seed=s)).int() for s in range(400))
    counts = times[snapshots.index == 2].numpy()
    assert counts.sum() == 400 * 12
    assert ((counts - 40) ** 2).sum() / (40 * 0.9) < 181  # 0.1 % of a chi-square with 119 degrees of freedom, and more


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_a_cell_are_on_its_side(snapshots, seed):
    """Each of the last 80 cells of time point 2 is one of 20 cells, up to the rounding of single precision."""
    rng = np.random.default_rng(seed)
    cells = snapshots.cells(2).numpy()
    original = np.concatenate([np.arange(40), 40 + rng.permutation(np.repeat(np.arange(20), 4))])
    x = snapshots.x.numpy().copy()
    x[cells] = x[cells][original] * (1 + 1e-7 * rng.normal(size=(120, 5)))
    held = held_out(replace(snapshots, x=torch.tensor(x)), CONFIG.with_settings(seed=seed))
    sides = held.numpy()[cells]
    assert all(len(set(sides[original == k])) == 1 for k in range(60))
    assert 12 - 3 <= sides.sum() <= 12


def test_where_copies_are_all_that_there_is_none_is_new(snapshots):
    x = snapshots.x.clone()
    x[snapshots.cells(2)] = snapshots.x[snapshots.cells(2)[0]]
    held = held_out(replace(snapshots, x=x), CONFIG)
    assert torch.bincount(snapshots.index[held], minlength=3).tolist() == [0, 4, 0]


def test_copies_are_found_behind_principal_components():
    """Of 900 cells 200 are in the file twice; scanpy's scores of the two are not the same to the last bit."""
    rng = np.random.default_rng(0)
    once = rng.poisson(rng.uniform(0.2, 5, size=(900, 250)))
    original = rng.permutation(np.concatenate([np.arange(900), rng.choice(900, 200, replace=False)]))
    adata = anndata.AnnData(once[original].astype(np.float32))
    adata.obs["day"] = np.where(original < 450, 0, 1)
    s = from_anndata(adata, "day")
    assert s.x.shape[1] == 50
    assert "200 cells are copies of another one of the same time point" in " ".join(s.report)
    for i in (0, 1):
        cells = s.cells(i).numpy()
        _, expected = np.unique(original[cells], return_inverse=True)
        assert len(np.unique(np.stack([expected, twins(s.x[cells].numpy())]), axis=1).T) == expected.max() + 1
        assert len(np.unique(twins(s.x[cells].numpy()))) == expected.max() + 1
    unlike = from_anndata(adata[np.unique(original, return_index=True)[1]].copy(), "day")
    assert "copies" not in " ".join(unlike.report)


def test_many_cells_near_each_other_are_no_copies():
    """Of 200,000 cells in a ball of ten dimensions, and as many copies of a single one, quickly."""
    x = np.random.default_rng(0).normal(size=(200_000, 10)).astype(np.float32)
    assert len(np.unique(twins(x))) == 200_000
    x[::2] = x[0]
    assert len(np.unique(twins(x))) == 100_001


def test_held_out_cells_reach_nothing_of_the_training(snapshots):
    """With other features in their place the result is the same, to the last bit."""
    held = held_out(snapshots, CONFIG)
    results = []
    other = 1e3 * torch.randn(snapshots.x.shape, generator=torch.Generator().manual_seed(0))
    for x in (snapshots.x, torch.where(held[:, None], other, snapshots.x)):
        state = State.initial(replace(snapshots, x=x), CONFIG)
        for _ in train(state):
            pass
        results.append(state.result().weights())
    assert all(torch.equal(value, results[1][key]) for key, value in results[0].items())


def test_the_reconstruction_is_judged_on_them(snapshots):
    stream = State.initial(snapshots, CONFIG).result()
    held = held_out(snapshots, CONFIG).numpy()
    x, t = snapshots.x.numpy()[held], snapshots.times.numpy()[snapshots.index.numpy()[held]]
    back = stream.decode(stream.encode(x, t))
    expected = 1 - ((x - back) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert evaluation.evaluate(stream, snapshots)["r2"] == pytest.approx(expected, rel=1e-5)
    assert evaluation.glance(stream, snapshots)["r2"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("scaling", ["standardise", "common"])
def test_the_model_knows_its_cells_again(snapshots, scaling):
    """Not after some were taken away or all put in another order: then none counts as unseen, and R² is of all."""
    config = CONFIG.with_settings(input_scaling=scaling)
    stream = State.initial(snapshots, config).result()
    # also where the features were worked out anew, with other rounding
    again = replace(snapshots, x=snapshots.x * (1 + 1e-6))
    assert torch.equal(unseen(stream.autoencoder, again, config), held_out(snapshots, config))
    rng = np.random.default_rng(0)
    for rows in (np.arange(1, 199), rng.permutation(199), np.sort(rng.choice(199, 150, replace=False))):
        assert not unseen(stream.autoencoder, subset(snapshots, rows), config).any()
    part = subset(snapshots, rows)
    x, t = part.x.numpy(), part.times.numpy()[part.index.numpy()]
    back = stream.decode(stream.encode(x, t))
    expected = 1 - ((x - back) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert evaluation.evaluate(stream, part)["r2"] == pytest.approx(expected, rel=1e-5)


def test_a_model_without_units_from_the_cells_knows_none(snapshots):
    """Not even where its origin happens to be the mean of the cells seen."""
    config = CONFIG.with_settings(input_scaling="none")
    centred = replace(snapshots, x=snapshots.x - snapshots.x[~held_out(snapshots, config)].mean(0))
    assert not unseen(State.initial(centred, config).autoencoder, centred, config).any()

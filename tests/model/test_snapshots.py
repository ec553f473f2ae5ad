"""Snapshots: the door from AnnData, and the file between processes."""

from __future__ import annotations

import json
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

from cellstream.errors import UserError
from cellstream.snapshots import Snapshots, cautions, fingerprint, from_anndata


@pytest.fixture
def adata() -> ad.AnnData:
    rng = np.random.default_rng(0)
    # logarithms of something: neither counts nor negative
    x = rng.random((60, 8)).astype(np.float32) * 5 + 0.01
    obs = pd.DataFrame({"day": ["day 7"] * 20 + ["day 0"] * 10 + ["day 2"] * 30}, index=[f"c{i}" for i in range(60)])
    return ad.AnnData(x, obs, pd.DataFrame(index=[f"g{i}" for i in range(8)]), obsm={"X_low": x[:, :3] * 2})


def test_from_anndata_orders_time_and_keeps_the_cells_in_place(adata):
    s = from_anndata(adata, "day")
    np.testing.assert_allclose(s.times.numpy(), [0, 2, 7])
    assert s.unit == "d"
    assert s.counts.tolist() == [10, 30, 20]
    np.testing.assert_allclose(s.mass.numpy(), [1, 3, 2])
    np.testing.assert_allclose(s.x.numpy(), adata.X)
    assert s.index[:20].tolist() == [2] * 20
    assert s.rows is None


def test_even_and_real_times(adata):
    assert from_anndata(adata, "day").tau.tolist() == [0, 1, 2]
    np.testing.assert_allclose(from_anndata(adata, "day", real_times=True).tau.numpy(), [0, 4 / 7, 2], rtol=1e-6)


def test_masses_can_be_given(adata):
    np.testing.assert_allclose(from_anndata(adata, "day", masses=[200, 100, 300]).mass.numpy(), [1, 0.5, 1.5])


@pytest.mark.parametrize(("masses", "says"), [([1, 2], "3 relative masses"), ([1, 0, 1], "above zero")])
def test_bad_masses_get_a_sentence(adata, masses, says):
    with pytest.raises(UserError, match=says):
        from_anndata(adata, "day", masses=masses)


def test_what_is_to_be_known_before_training_is_said(adata):
    """Cells at days 0, 2, 7: 10, 30, 20."""

    def said(**arguments):
        masses = arguments.get("masses")
        return cautions(from_anndata(adata, "day", **arguments), sizes="give them", gaps="say so", masses=masses)

    counted, gaps, few = said()
    assert counted.endswith("how many cells were sequenced, give them.")
    assert gaps == (
        "The gaps between time points are from 2 to 5 d, but count as even steps: "
        "speed and growth are per step; say so."
    )
    assert few == "Few cells at day 0, day 2, day 7: what is learned there is uncertain."
    assert said(real_times=True, masses=[1, 1, 1]) == [few]
    assert said(time_map={"day 0": 0, "day 2": 1, "day 7": 2.001}, masses=[1, 1, 1]) == [few]
    adata = ad.concat([adata, adata, adata], index_unique="-")
    assert said(real_times=True, masses=[1, 1, 1]) == [few.replace(", day 2, day 7", "")]


def test_an_obsm_is_read_as_it_is(adata):
    np.testing.assert_allclose(from_anndata(adata, "day", input="obsm:X_low").x.numpy(), adata.obsm["X_low"])


def test_cells_without_a_time_are_left_out_and_said(adata):
    adata.obs["day"] = adata.obs["day"].where(np.arange(60) % 10 != 0, None)
    s = from_anndata(adata, "day")
    assert len(s.x) == 54
    assert set(range(60)) - set(s.rows) == {0, 10, 20, 30, 40, 50}
    np.testing.assert_allclose(s.x.numpy(), adata.X[list(s.rows)])
    assert any("6 cells have no time" in line for line in s.report)
    assert "1 cell has no time and is left out." in from_anndata(adata[[0, *s.rows]], "day").report


def test_the_adata_is_left_as_it_was(adata):
    before = adata.copy()
    from_anndata(adata, "day")
    np.testing.assert_array_equal(adata.X, before.X)
    pd.testing.assert_frame_equal(adata.obs, before.obs)


def test_round_trip(moving_cloud, tmp_path):
    s = replace(moving_cloud, rows=tuple(range(5, 195)), features=("å", "b"), report=("One.",), even=False)
    s.save(tmp_path / "data.npz")
    again = Snapshots.load(tmp_path / "data.npz")
    for name in ("x", "index", "times", "mass"):
        assert torch.equal(getattr(s, name), getattr(again, name))
    for name in ("labels", "unit", "rows", "features", "report", "even"):
        assert getattr(s, name) == getattr(again, name)


DAYS = [20231101.5, 20231102.0, 20231103.25]  # float32 knows every second day only
HOURS = [473_000.0, 473_000.125, 473_001.0]  # since 1970


@pytest.mark.parametrize("real", [DAYS, HOURS])
def test_large_times_keep_their_digits(adata, tmp_path, real):
    adata.obs["when"] = np.repeat(real, [20, 10, 30])
    s = from_anndata(adata, "when", real_times=True)
    s.save(tmp_path / "data.npz")
    for one in (s, Snapshots.load(tmp_path / "data.npz"), s.to("cpu", torch.float32)):
        assert one.times.tolist() == real
        assert [float(label) for label in one.labels] == real
        assert one.tau.dtype == one.x.dtype == torch.float32
        gaps = np.subtract(real, real[0])
        np.testing.assert_allclose(one.tau.numpy(), gaps / gaps[-1] * 2, rtol=1e-7)


def test_times_of_an_earlier_version_are_read(moving_cloud, tmp_path):
    moving_cloud.save(tmp_path / "data.npz")
    data = dict(np.load(tmp_path / "data.npz"))
    words = json.loads(data["words"].tobytes())
    del words["fingerprint"]
    data["words"] = np.frombuffer(json.dumps(words).encode(), dtype=np.uint8)
    np.savez(tmp_path / "old.npz", **{**data, "times": data["times"].astype(np.float32)})
    again = Snapshots.load(tmp_path / "old.npz")
    assert again.times.tolist() == [0, 1, 3]
    assert again.fingerprint == ""


def test_a_fingerprint_is_of_names_and_their_order(adata):
    mark = from_anndata(adata, "day").fingerprint
    assert mark == from_anndata(adata.copy(), "day", input="obsm:X_low").fingerprint
    other = adata.copy()
    other.obs_names = ["a", "b", *adata.obs_names[2:]]
    for changed in (adata[::-1], adata[:-1], other):
        assert from_anndata(changed.copy(), "day").fingerprint != mark
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a zip"])
def test_a_broken_file_gets_a_sentence(tmp_path, content):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(UserError, match="Expected snapshots in"):
        Snapshots.load(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(times=torch.tensor([0.0, 2.0, 1.0])), "increasing order"),
        (dict(mass=torch.tensor([1.0, 0.0, 1.0])), "above zero"),
        (dict(index=torch.tensor([0] * 100 + [1] * 89 + [2])), "at least two cells"),
    ],
)
def test_impossible_snapshots_get_a_sentence(moving_cloud, change, says):
    with pytest.raises(UserError, match=says):
        replace(moving_cloud, **change)

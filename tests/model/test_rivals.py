"""Another method in a run folder, by the process of every run: what comes out is what fitting it at once gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellstream import rivals
from cellstream.baselines import METHODS, tigon
from cellstream.errors import UserError
from cellstream.snapshots import Snapshots
from cellstream.worker import work


@pytest.mark.parametrize("given", [False, True], ids=["own embedding", "an embedding given"])
def test_a_run_of_another_method_is_that_method(moving_cloud: Snapshots, tmp_path: Path, given: bool):
    z = moving_cloud.x.numpy()[:, 2:4] if given else None
    run = rivals.create(tmp_path / "run", moving_cloud, "TIGON + PCA", {"name": "other"}, z, quick=True)
    work(run.folder)
    assert run.status().state == "finished"
    found = run.result()
    if given:
        expected = tigon(moving_cloud, z, "TIGON + PCA", quick=True)
    else:
        expected = METHODS["TIGON + PCA"].fit(moving_cloud, quick=True)
    assert found.method == "TIGON + PCA"
    x, t = moving_cloud.x.numpy(), moving_cloud.times.numpy()[moving_cloud.index.numpy()]
    places = found.encode(x, t)
    np.testing.assert_allclose(places, expected.encode(x, t), atol=1e-5)
    np.testing.assert_allclose(found.velocity(places, t), expected.velocity(places, t), rtol=1e-3, atol=1e-4)
    if given:
        np.testing.assert_allclose(places, z, atol=1e-5)
    assert {"vc", "tc", "trust", "match"} <= set(run.metrics())
    assert run.history.previews


def test_one_that_is_stopped_keeps_nothing_and_can_begin_again(moving_cloud: Snapshots, tmp_path: Path):
    run = rivals.create(tmp_path / "run", moving_cloud, "TIGON + PCA", {"name": "other"}, quick=True)
    (run.folder / "cancel").touch()
    work(run.folder)
    assert run.status().state == "cancelled"
    assert run.result() is None
    work(run.folder)
    assert run.status().state == "finished"
    assert run.result() is not None


def test_what_cannot_be_fitted_is_refused_before_there_is_a_run(moving_cloud: Snapshots, tmp_path: Path):
    with pytest.raises(UserError, match="no method 'Magic'"):
        rivals.create(tmp_path / "run", moving_cloud, "Magic", {"name": "other"})
    with pytest.raises(UserError, match="at one"):
        rivals.create(tmp_path / "run", moving_cloud, "TIGON + X", {"name": "other"}, np.zeros((190, 2)))
    assert not (tmp_path / "run").exists()

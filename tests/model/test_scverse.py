"""The result inside an AnnData: nothing of the user's is touched, and one file is enough to come back."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

from cellstream import metrics
from cellstream.config import Config, Preprocess
from cellstream.errors import UserError
from cellstream.evaluation import alignment, true_velocity
from cellstream.events import Step
from cellstream.history import History
from cellstream.scverse import annotate, read_result, require_same_cells, simulated_velocity
from cellstream.simulate import simulate
from cellstream.snapshots import from_anndata
from cellstream.state import State
from cellstream.stream import CellStream
from cellstream.training import train
from tests.conftest import TINY

mpl.use("Agg")

OURS = [
    ("obsm", "X_cellstream"),
    ("obsm", "velocity_cellstream"),
    ("obs", "cellstream_growth_rate"),
    ("uns", "cellstream"),
]


@pytest.fixture
def cells() -> AnnData:
    """Simulated cells with one of everything that a user may have in a file."""
    adata = simulate("populations", n_cells=40)
    adata.obsm["X_umap"] = np.ones((adata.n_obs, 2))
    adata.layers["velocity"] = np.ones(adata.shape)
    adata.uns["velocity_params"] = {"mode": "dynamical", "embeddings": ["umap"]}
    adata.uns["population_colors"] = ["#112233", "#445566"]
    return adata


@pytest.fixture
def written(cells):
    """The cells with a result, and what it was made of."""
    return result_in(cells, dict(time_key="time"))


def result_in(adata: AnnData, recipe: dict, **more: object):
    arguments = {**recipe, "preprocess": Preprocess(**recipe["preprocess"])} if "preprocess" in recipe else recipe
    snapshots = from_anndata(adata, **arguments)
    state = State.initial(snapshots, Config().with_settings(**TINY))
    for _ in train(state):
        pass
    stream = state.result()
    annotate(stream, adata, snapshots, recipe, **more)
    return adata, stream, snapshots


def through_a_file(adata: AnnData, tmp_path) -> AnnData:
    adata.write_h5ad(tmp_path / "result.h5ad")
    return anndata.read_h5ad(tmp_path / "result.h5ad")


def test_what_is_written_is_what_the_model_says(written):
    adata, stream, snapshots = written
    t = adata.obs["time"].to_numpy()
    z = stream.encode(adata.X, t)
    np.testing.assert_array_equal(adata.obsm["X_cellstream"], z)
    np.testing.assert_array_equal(adata.obsm["velocity_cellstream"], stream.velocity(z, t))
    np.testing.assert_array_equal(adata.obs["cellstream_growth_rate"], stream.growth(z, t))
    assert z.shape == (len(snapshots.index), 2)
    assert json.loads(adata.uns["cellstream"]["clock"])["rate_unit"] == "time step"


def test_everything_else_stays_as_it_was(cells):
    before = cells.copy()
    result_in(cells, dict(time_key="time"))
    np.testing.assert_array_equal(cells.X, before.X)
    pd.testing.assert_frame_equal(cells.obs.drop(columns="cellstream_growth_rate"), before.obs)
    pd.testing.assert_frame_equal(cells.var, before.var)
    for slot in ("obsm", "layers"):
        for key, value in getattr(before, slot).items():
            np.testing.assert_array_equal(getattr(cells, slot)[key], value)
    assert cells.uns["population_colors"] == before.uns["population_colors"]
    assert cells.uns["velocity_params"]["mode"] == "dynamical"
    assert list(cells.uns["velocity_params"]["embeddings"]) == ["umap", "cellstream"]


@pytest.mark.parametrize(
    ("params", "after"),
    [
        (None, {"embeddings": ["cellstream"]}),
        ({"embeddings": "umap"}, {"embeddings": ["umap", "cellstream"]}),
        ({"embeddings": np.array(["umap", "cellstream"])}, {"embeddings": ["umap", "cellstream"]}),
        ("something of the user's", "something of the user's"),
    ],
)
def test_velocity_params_are_added_to(written, params, after):
    adata, stream, snapshots = written
    adata.uns.pop("velocity_params")
    if params is not None:
        adata.uns["velocity_params"] = params
    annotate(stream, adata, snapshots, dict(time_key="time"))
    found = adata.uns["velocity_params"]
    assert (found if isinstance(found, str) else {"embeddings": list(found["embeddings"])}) == after


def test_one_file_is_enough_to_come_back(written, tmp_path):
    adata, stream, snapshots = written
    again, cells, recipe = read_result(through_a_file(adata, tmp_path))
    assert recipe == {"time_key": "time"}
    assert asdict(again.clock) == asdict(stream.clock)
    assert (again.config, again.features) == (stream.config, stream.features)
    weights = stream.weights()
    assert all(value.equal(weights[name]) for name, value in again.weights().items())
    assert again.weights().keys() == weights.keys()
    for name in ("x", "index", "times", "mass"):
        assert getattr(cells, name).equal(getattr(snapshots, name))


@pytest.mark.parametrize(("column", "real", "per"), [("time", False, "time step"), ("time_h", True, "h")])
def test_the_units_come_through_a_file(cells, tmp_path, column, real, per):
    cells.obs[column] = 12 * cells.obs["time"]
    adata, stream, _ = result_in(cells, dict(time_key=column, real_times=real))
    again = through_a_file(adata, tmp_path)
    assert again.uns["cellstream"]["units"] == {
        "cellstream_growth_rate": f"natural logarithm per {per}",
        "velocity_cellstream": f"embedding per {per}",
    }
    assert read_result(again)[0].clock == stream.clock


UNCERTAIN = ("cellstream_velocity_uncertainty", "cellstream_growth_uncertainty")


def test_an_ensemble_comes_through_a_file_and_goes_with_the_next_result(cells, tmp_path):
    snapshots = from_anndata(cells, "time")
    streams = []
    for size in (3, 1):
        state = State.initial(snapshots, Config().with_settings(**TINY, ensemble=size))
        for _ in train(state):
            pass
        streams.append(state.result())
    annotate(streams[0], cells, snapshots, dict(time_key="time"))
    back = through_a_file(cells, tmp_path)
    again, *_ = read_result(back)
    t = back.obs["time"].to_numpy()
    for stream in (streams[0], again):
        found = stream.uncertainty(stream.encode(back.X, t), t)
        np.testing.assert_array_equal(back.obs[UNCERTAIN[0]], found.direction)
        np.testing.assert_array_equal(back.obs[UNCERTAIN[1]], found.growth)
    assert back.uns["cellstream"]["units"].keys() >= set(UNCERTAIN)
    annotate(streams[1], back, snapshots, dict(time_key="time"))
    back = through_a_file(back, tmp_path)
    assert not set(UNCERTAIN) & set(back.obs)
    assert read_result(back)[0].members == ()


@pytest.mark.parametrize("name", UNCERTAIN)
def test_a_name_of_the_ensemble_s_that_is_taken_is_refused(cells, name):
    cells.obs[name] = 1.0
    with pytest.raises(UserError, match=rf"already has obs\['{name}'\]"):
        result_in(cells, dict(time_key="time"))
    assert (cells.obs[name] == 1).all()


def test_scanpy_draws_it(written, tmp_path):
    import matplotlib.pyplot as plt
    import scanpy as sc

    adata = through_a_file(written[0], tmp_path)
    axes = sc.pl.embedding(adata, basis="cellstream", color="cellstream_growth_rate", show=False)
    drawn = axes.collections[0].get_offsets()
    plt.close("all")
    expected = adata.obsm["X_cellstream"][:, :2]
    # scanpy draws the highest values last
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(expected, axis=0), rtol=1e-6)


def test_metrics_and_losses_come_through_a_file(cells, tmp_path):
    history = History()
    history.add(Step(1, 2, "start", {"total": 3.0, "decoder": 2.0}))
    history.add(Step(2, 2, "rounds", {"total": 1.0, "ot": 0.5}))
    adata, *_ = result_in(
        cells, dict(time_key="time"), metrics={"vc": 0.9, "match": {"1": {"w2": 0.1}}}, history=history
    )
    kept = through_a_file(adata, tmp_path).uns["cellstream"]
    assert json.loads(kept["metrics"]) == {"vc": 0.9, "match": {"1": {"w2": 0.1}}}
    losses = kept["losses"]
    assert list(losses["step"]) == [1, 2]
    assert list(losses["stage"]) == ["start", "rounds"]
    np.testing.assert_array_equal(losses["total"], [3, 1])
    np.testing.assert_array_equal(losses["ot"], [np.nan, 0.5])
    assert json.loads(kept["config"])["schedule"]["rounds"] == TINY["rounds"]


def test_cells_without_a_time_get_nan(tmp_path):
    adata = simulate("populations", n_cells=40)
    adata.obs["when"] = adata.obs["time"].map({0: "day 0", 1: "day 1", 2: "day 3"}).astype(object)
    without = [3, 50, len(adata) - 1]
    adata.obs.iloc[without, adata.obs.columns.get_loc("when")] = None
    adata, stream, snapshots = result_in(adata, dict(time_key="when", real_times=True))
    for values in (adata.obsm["X_cellstream"], adata.obsm["velocity_cellstream"], adata.obs["cellstream_growth_rate"]):
        lost = np.isnan(np.asarray(values)).reshape(len(adata), -1).any(1)
        assert list(np.flatnonzero(lost)) == without
    kept = np.setdiff1d(np.arange(len(adata)), without)
    t = snapshots.times.numpy()[snapshots.index.numpy()]
    np.testing.assert_array_equal(adata.obsm["X_cellstream"][kept], stream.encode(adata.X[kept], t))
    assert json.loads(adata.uns["cellstream"]["clock"])["rate_unit"] == "d"
    _, again, _ = read_result(through_a_file(adata, tmp_path))
    assert again.rows == snapshots.rows
    assert again.x.equal(snapshots.x)


def test_a_recipe_with_everything_in_it_leads_back(tmp_path):
    adata = simulate("branching", n_cells=60, n_genes=220)
    adata.layers["counts"] = adata.X.copy()
    labels = list(pd.unique(adata.obs["day"]))
    recipe = dict(
        time_key="day",
        input="layer:counts",
        time_map={label: (np.nan if i == 1 else 2.0**i) for i, label in enumerate(labels)},
        real_times=True,
        masses=[1 + i for i in range(len(labels) - 1)],
        preprocess=asdict(Preprocess(n_top_genes=210, n_pcs=7)),
    )
    adata, stream, snapshots = result_in(adata, recipe)
    assert sparse.issparse(adata.X)
    assert snapshots.x.shape[1] == 7
    again, cells, _ = read_result(through_a_file(adata, tmp_path))
    assert cells.x.equal(snapshots.x)
    assert cells.mass.equal(snapshots.mass)
    assert (cells.labels, cells.rows, cells.even) == (snapshots.labels, snapshots.rows, False)
    assert again.clock == stream.clock


def test_an_earlier_result_is_replaced(written, tmp_path):
    adata, _, snapshots = written
    other = State.initial(snapshots, Config().with_settings(seed=7, latent_dim=3, **TINY)).result()
    back = through_a_file(adata, tmp_path)
    annotate(other, back, snapshots, dict(time_key="time"))
    assert back.obsm["X_cellstream"].shape[1] == 3
    stream, *_ = read_result(through_a_file(back, tmp_path))
    assert stream.config.compute.seed == 7


@pytest.mark.parametrize(("slot", "name"), OURS)
def test_names_of_the_users_are_never_overwritten(written, slot, name):
    _, stream, snapshots = written
    adata = simulate("populations", n_cells=40)
    mine = {"obs": "mine", "obsm": np.ones((adata.n_obs, 2)), "uns": {"note": "mine"}}[slot]
    getattr(adata, slot)[name] = mine
    before = adata.copy()
    with pytest.raises(UserError, match=name):
        annotate(stream, adata, snapshots, dict(time_key="time"))
    assert [list(getattr(adata, s)) for s in ("obs", "obsm", "uns")] == [
        list(getattr(before, s)) for s in ("obs", "obsm", "uns")
    ]


def test_other_cells_are_refused(written):
    _, stream, snapshots = written
    with pytest.raises(UserError, match="not those of the data"):
        annotate(stream, simulate("populations", n_cells=50), snapshots)


def permuted(adata: AnnData) -> AnnData:
    return adata[::-1].copy()


def at_other_times(adata: AnnData) -> AnnData:
    adata.obs["time"] = adata.obs["time"].to_numpy()[::-1]
    return adata


def with_a_time_less(adata: AnnData) -> AnnData:
    adata.obs["time"] = adata.obs["time"].where(np.arange(adata.n_obs) != 7)
    return adata


def with_other_names(adata: AnnData) -> AnnData:
    adata.obs_names = [f"other {i}" for i in range(adata.n_obs)]
    return adata


@pytest.mark.parametrize("change", [permuted, at_other_times, with_a_time_less, with_other_names])
def test_the_same_number_of_other_cells_is_refused(written, change):
    _, stream, snapshots = written
    other = change(simulate("populations", n_cells=40))
    with pytest.raises(UserError, match="not those that the result was made from"):
        annotate(stream, other, snapshots, dict(time_key="time"))
    assert "X_cellstream" not in other.obsm


def test_without_a_recipe_the_names_still_tell_other_cells(written):
    _, stream, snapshots = written
    with pytest.raises(UserError, match="or their order"):
        annotate(stream, permuted(simulate("populations", n_cells=40)), snapshots)


def test_snapshots_of_an_earlier_version_tell_by_the_times(written):
    adata, _, snapshots = written
    old = replace(snapshots, fingerprint="")
    require_same_cells(adata, old, dict(time_key="time"))
    require_same_cells(with_other_names(adata.copy()), old, dict(time_key="time"))
    with pytest.raises(UserError, match="The times of the cells in 'time'"):
        require_same_cells(permuted(adata), old, dict(time_key="time"))


def changed_values(adata: AnnData) -> AnnData:
    adata.X = adata.X * 2
    return adata


def without_a_time(adata: AnnData) -> AnnData:
    return adata[adata.obs["time"] != 2].copy()


def without_a_gene(adata: AnnData) -> AnnData:
    return adata[:, 1:].copy()


def without_a_recipe(adata: AnnData) -> AnnData:
    adata.uns["cellstream"]["recipe"] = "{}"
    return adata


def with_a_damaged_recipe(adata: AnnData) -> AnnData:
    adata.uns["cellstream"]["recipe"] = '{"time_key": "time", "preprocess": {"oops": 1}}'
    return adata


def with_a_list_for_a_recipe(adata: AnnData) -> AnnData:
    adata.uns["cellstream"]["recipe"] = "[]"
    return adata


def without_a_weight(adata: AnnData) -> AnnData:
    adata.uns["cellstream"]["model"]["weights"].popitem()
    return adata


def without_a_result(adata: AnnData) -> AnnData:
    adata.uns["cellstream"] = {"note": "mine"}
    return adata


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed_values, "values of the cells"),
        (without_a_time, "time points"),
        (without_a_gene, "features"),
        (without_a_recipe, "recipe"),
        (without_a_weight, "damaged"),
        (with_a_damaged_recipe, "damaged"),
        (with_a_list_for_a_recipe, "damaged"),
        (without_a_result, "uns\\['cellstream'\\]"),
    ],
)
def test_a_file_that_was_changed_is_refused_in_a_sentence(written, change, says):
    with pytest.raises(UserError, match=says):
        read_result(change(written[0]))


def test_some_of_the_cells_still_lead_back(written):
    adata, stream, _ = written
    some = adata[np.random.default_rng(0).random(adata.n_obs) < 0.5].copy()
    again, cells, _ = read_result(some)
    t = cells.times.numpy()[cells.index.numpy()]
    np.testing.assert_allclose(again.encode(cells.x.numpy(), t), some.obsm["X_cellstream"], atol=1e-6)
    assert isinstance(again, CellStream)
    assert again.clock == stream.clock


@pytest.mark.parametrize("recipe", [dict(time_key="time"), dict(time_key="time", masses=[2.0, 3.0, 5.0])])
def test_some_of_the_cells_keep_the_masses_of_all(cells, tmp_path, recipe):
    adata, _, snapshots = result_in(cells, recipe)
    first = adata.obs["time"] == 0
    some = through_a_file(adata, tmp_path)[first | (np.arange(adata.n_obs) % 4 == 0)].copy()
    _, less, _ = read_result(some)
    assert less.counts.tolist() != snapshots.counts.tolist()
    assert less.mass.equal(snapshots.mass)
    assert f"The file holds {some.n_obs} of the {adata.n_obs} cells" in less.report[-1]
    _, whole, _ = read_result(adata)
    assert whole.report == snapshots.report


def test_a_result_of_an_earlier_version_is_read(written):
    adata, _, snapshots = written
    del adata.uns["cellstream"]["snapshots"]
    assert read_result(adata)[1].mass.equal(snapshots.mass)


def test_long_labels_of_an_earlier_version_are_those_of_the_result(cells):
    cells.obs["time"] = cells.obs["time"] / 3
    snapshots = from_anndata(cells, "time")
    assert snapshots.labels == ("0", "0.333333", "0.666667")
    long = replace(snapshots, labels=("0", "0.3333333333333333", "0.6666666666666666"))
    stream = State.initial(long, Config().with_settings(**TINY)).result()
    annotate(stream, cells, long, dict(time_key="time"))
    assert read_result(cells)[1].labels == stream.clock.labels == long.labels


def test_time_points_that_were_renamed_are_refused(written):
    adata, _, snapshots = written
    adata.obs["time"] = adata.obs["time"].map("day {}".format).to_numpy()
    with pytest.raises(UserError, match="The times of the cells in 'time'"):
        require_same_cells(adata, snapshots, dict(time_key="time"))
    with pytest.raises(UserError, match="The result is of the time points 0, 1, 2, but the file now has day"):
        read_result(adata)


def test_the_unit_is_that_of_the_training(cells):
    snapshots = replace(from_anndata(cells, "time"), unit="h")
    stream = State.initial(snapshots, Config().with_settings(**TINY)).result()
    annotate(stream, cells, snapshots, dict(time_key="time"))
    assert read_result(cells)[1].unit == "h"


def test_true_velocity_is_the_derivative_along_the_true_velocity(written):
    """Against central differences of the encoder at the cells' own times."""
    adata, stream, snapshots = written
    truth = simulated_velocity(adata, snapshots, dict(time_key="time"))
    np.testing.assert_array_equal(truth, adata.layers["velocity_true"])
    pushed = true_velocity(stream, snapshots, truth)
    t, h = adata.obs["time"].to_numpy(), 1e-2
    ahead, behind = (stream.encode(adata.X + sign * h * truth, t) for sign in (1, -1))
    # the encoder's ReLUs have kinks, at which the differences take the mean of both sides
    close = np.isclose(pushed, (ahead - behind) / (2 * h), atol=2e-3).all(1)
    assert close.mean() > 0.9
    v = stream.velocity(adata.obsm["X_cellstream"], t)
    assert alignment(stream, snapshots, truth) == pytest.approx(metrics.velocity_alignment(v, pushed))


def test_no_true_velocity_where_the_features_are_not_the_genes():
    adata = simulate("branching", n_cells=40, n_genes=220)
    snapshots = from_anndata(adata, "day", preprocess=Preprocess(n_pcs=5))
    assert simulated_velocity(adata, snapshots, dict(time_key="day")) is None
    plain = simulate("populations", n_cells=40)
    snapshots = from_anndata(plain, "time")
    assert simulated_velocity(plain, snapshots, dict(time_key="time", input="layer:X")) is None
    del plain.layers["velocity_true"]
    assert simulated_velocity(plain, snapshots, dict(time_key="time")) is None

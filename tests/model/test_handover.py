"""What other tools are handed: growth against quadrature, transitions and couplings against their equations, velocities
of genes against finite differences; and nothing of the user's is touched."""

from __future__ import annotations

import json
from dataclasses import replace

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy.integrate import quad
from scipy.spatial.distance import cdist

from cellstream import handover, readers
from cellstream.config import Config, Preprocess
from cellstream.errors import UserError
from cellstream.gene_space import GeneSpace
from cellstream.handover import coupling, hand_over, landings, transition_matrix, write_transport_maps
from cellstream.scverse import annotate, handed_over, read_result
from cellstream.simulate import simulate
from cellstream.snapshots import Snapshots, from_anndata
from cellstream.state import State
from cellstream.stream import CellStream
from tests.conftest import TINY
from tests.model.test_cli import command, one_sentence

__all__ = ["command"]  # a fixture

SPEED = np.array([0.7, -0.4])
"""Of every cell, per day."""
DAYS = np.array([0.0, 1.0, 3.0])
OTHERS = {"obs": ("posterior_growth_rates", "cell_growth_rate"), "layers": ("velocity",), "obsp": ("T_fwd",)}
OURS = {"obs": ("cellstream_time", "cellstream_descendants"), "layers": ("cellstream_expression",)}
ALL = dict(velocity_layer=True, transitions=True)


def growth(t: float, z: np.ndarray) -> float:
    """d log(mass)/dt, per day."""
    return 0.2 - 0.1 * t + 0.3 * z[0] + 0.05 * z[1]


def moving(seed: int = 0, n: int = 40, sway: float = 0.0) -> AnnData:
    """The same cells three times, moved on by ``SPEED``; one of them has no time."""
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(n, 2))
    x = np.concatenate([start + SPEED * t + sway * rng.normal(size=(n, 2)) for t in DAYS])
    adata = AnnData(np.concatenate([x, [[0.0, 0.0]]]).astype(np.float32))
    adata.obs_names = [f"cell {i}" for i in range(adata.n_obs)]
    adata.var_names = ["A", "B"]
    adata.obs["day"] = [*np.repeat([f"day {t:g}" for t in DAYS], n), None]
    return adata


def linear(snapshots: Snapshots, space: GeneSpace | None = None) -> CellStream:
    """The embedding is the features themselves; all cells move with ``SPEED`` and grow by :func:`growth`."""
    layers = {f"{name}_layers": 0 for name in ("encoder", "decoder", "velocity", "growth")}
    config = Config().with_settings(**layers, input_scaling="none", time_input="joined", frame="still", latent_dim=2)
    stream = State.initial(snapshots, config).result()
    weights = {name: value * 0 for name, value in stream.weights().items()}
    per = 1 / stream.clock.rate  # the networks count in time of their own
    weights["autoencoder.scale"] += 1
    for k in range(2):
        weights["autoencoder.encoder.0.weight"][k, k + 1] = 1
        weights["autoencoder.decoder.0.weight"][k + 1, k] = 1
        weights["velocity.net.0.bias"][k] = SPEED[k] * per
    weights["velocity.length"] += 1
    weights["growth.length"] += 1
    weights["growth.net.0.weight"] += torch.tensor([-0.1 * per, 0.3, 0.05]) * per
    weights["growth.net.0.bias"] += 0.2 * per
    return CellStream.from_weights(weights, replace(snapshots, genes=space or snapshots.genes), config)


def result(adata: AnnData, **more: object) -> tuple[AnnData, CellStream, Snapshots]:
    recipe = dict(time_key="day", real_times=True, **more)
    snapshots = from_anndata(adata, **recipe)
    stream = linear(snapshots)
    annotate(stream, adata, snapshots, recipe)
    return adata, stream, snapshots


@pytest.fixture
def moved() -> tuple[AnnData, CellStream, Snapshots]:
    return result(moving(sway=0.1))


def by_quadrature(z: np.ndarray, start: float, end: float) -> np.ndarray:
    """∫ g dt of cells at ``z`` that move with ``SPEED``."""

    def integral(at: np.ndarray) -> float:
        return quad(lambda t: growth(t, at + SPEED * (t - start)), start, end)[0]

    return np.array([integral(at) for at in z.astype(float)])


def test_the_linear_stream_is_what_it_should_be(moved):
    adata, stream, snapshots = moved
    z = stream.encode(snapshots.x.numpy(), snapshots.times.numpy()[snapshots.index.numpy()])
    np.testing.assert_allclose(z, adata.X[:-1], atol=1e-6)
    np.testing.assert_allclose(stream.velocity(z, 2.0), np.tile(SPEED, (len(z), 1)), rtol=1e-6)
    np.testing.assert_allclose(stream.growth(z, 2.0), [growth(2.0, at) for at in z], rtol=1e-5, atol=1e-6)


def test_growth_is_its_integral_along_the_flow_in_the_units_of_each_reader(moved):
    adata, stream, snapshots = moved
    hand_over(adata, stream, snapshots)
    of = {name: adata.obs[name].to_numpy() for name in ("cellstream_descendants", *OTHERS["obs"])}
    time = adata.obs["cellstream_time"].astype(float).to_numpy()
    for start, end in ((0.0, 1.0), (1.0, 3.0)):
        here = time == start
        expected = np.exp(by_quadrature(adata.X[here], start, end))
        np.testing.assert_allclose(of["cellstream_descendants"][here], expected, rtol=1e-5)
        # WOT raises its rate to the days between; moscot takes that root of what it learned
        np.testing.assert_allclose(of["cell_growth_rate"][here] ** (end - start), expected, rtol=1e-5)
        np.testing.assert_allclose(of["posterior_growth_rates"][here], expected ** (1 / (end - start)), rtol=1e-5)
    for values in of.values():
        assert np.isnan(values[(time == 3) | np.isnan(time)]).all()
    units = adata.uns["cellstream"]["units"]
    assert units["cell_growth_rate"] == units["posterior_growth_rates"] == "factor per d"
    assert units["cellstream_descendants"] == "factor until the next time point"
    assert units["cellstream_growth_rate"] == "natural logarithm per d"
    assert units["cellstream_time"] == "d"


def test_time_is_ordered_categories_that_are_numbers(moved):
    adata, stream, snapshots = moved
    hand_over(adata, stream, snapshots)
    time = adata.obs["cellstream_time"]
    assert time.cat.ordered
    assert time.cat.categories.dtype == np.float64
    assert time.cat.categories.tolist() == DAYS.tolist()
    expected = adata.obs["day"].map({f"day {t:g}": t for t in DAYS}).astype(float)
    np.testing.assert_array_equal(time.astype(float), expected)
    assert np.isnan(time.astype(float).iloc[-1])


def test_transitions_go_where_the_cells_go():
    """The later cells are the earlier ones moved on: each row is largest at the cell itself."""
    adata, stream, snapshots = result(moving())
    hand_over(adata, stream, snapshots, transitions=True)
    found = adata.obsp["T_fwd"]
    np.testing.assert_allclose(np.asarray(found.sum(1)).ravel(), 1, atol=1e-12)
    n = 40
    assert found[: 2 * n].toarray().argmax(1).tolist() == list(range(n, 3 * n))
    for i in range(2):  # and nowhere but to the next time point
        block = found[i * n : (i + 1) * n]
        assert set(block.indices) <= set(range((i + 1) * n, (i + 2) * n))
    # the last time point, and the cell without a time
    np.testing.assert_array_equal(found[2 * n :].toarray(), np.eye(3 * n + 1)[2 * n :])


def test_transitions_are_their_formula(moved):
    adata, stream, snapshots = moved
    landed = landings(stream, snapshots)
    found = transition_matrix(landed, np.asarray(snapshots.rows), adata.n_obs).toarray()
    x, k = adata.X.astype(float), handover.NEAREST
    later = x[40:80]
    radius = np.sort(cdist(later, later), 1)[:, k]  # the first is the cell itself
    for i in (0, 17, 39):
        away = cdist([x[i] + SPEED], later)[0]
        near = np.argsort(away)[:k]
        expected = np.exp(-(away[near] ** 2) / (2 * (radius[near].mean() / 2) ** 2))
        row = np.zeros(adata.n_obs)
        row[40 + near] = expected / expected.sum()
        np.testing.assert_allclose(found[i], row, atol=1e-5)


def test_few_cells_and_cells_that_lie_on_each_other_have_transitions():
    adata = moving(n=3)
    adata.X[3:6] = adata.X[3]
    adata, stream, snapshots = result(adata)
    hand_over(adata, stream, snapshots, **ALL)
    found = adata.obsp["T_fwd"].toarray()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(found[0, 3:6], 1 / 3, atol=1e-6)
    for part in landings(stream, snapshots):
        np.testing.assert_allclose(coupling(part).sum(1), part.mass, rtol=1e-9)


def test_transport_maps_are_optimal_and_their_rows_sum_to_the_growth(moved):
    """The first-order condition of the problem: ε log(π / ab) + C + τ log(Σ_i π_ij / b_j) is one number in each row."""
    adata, stream, snapshots = moved
    for part, (start, end) in zip(landings(stream, snapshots), ((0.0, 1.0), (1.0, 3.0)), strict=True):
        plan = coupling(part)
        time = adata.obs["day"].to_numpy()
        z, there = (adata.X[time == f"day {t:g}"].astype(float) for t in (start, end))
        mass = np.exp(by_quadrature(z, start, end))
        np.testing.assert_allclose(plan.sum(1), mass, rtol=1e-5)
        epsilon = 2 * np.median(np.sort(cdist(there, there), 1)[:, handover.NEAREST]) ** 2
        share = plan / mass.sum()
        a, b = mass / mass.sum(), 1 / len(there)
        slope = np.log(share / (a[:, None] * b)) + handover.PRICE * np.log(share.sum(0) / b)
        total = epsilon * slope + cdist(z + SPEED * (end - start), there) ** 2
        np.testing.assert_allclose(total - total.mean(1, keepdims=True), 0, atol=2e-3 * epsilon)
        # and less even columns would be cheaper: the price is felt
        assert 0.01 < (share.sum(0) / b).std() < 0.3


def test_transport_maps_are_files_as_wot_writes_them(moved, tmp_path):
    adata, stream, snapshots = moved
    names = adata.obs_names[list(snapshots.rows)]
    landed = landings(stream, snapshots)
    written = write_transport_maps(landed, names, tmp_path / "tmaps")
    assert written == ["tmap_0_1.h5ad", "tmap_1_3.h5ad"] == sorted(path.name for path in (tmp_path / "tmaps").iterdir())
    for name, part in zip(written, landed, strict=True):
        found = anndata.read_h5ad(tmp_path / "tmaps" / name)
        assert found.X.dtype == np.float32
        assert (found.obs_names.tolist(), found.var_names.tolist()) == tuple(
            names[part_of].tolist() for part_of in (part.before, part.after)
        )
        mass = np.exp(by_quadrature(part.z - SPEED * np.diff(part.times), *part.times))
        np.testing.assert_allclose(found.X.sum(1), mass, rtol=1e-5)
        np.testing.assert_allclose(found.obs["cell_growth_rate"] ** np.diff(part.times)[0], mass, rtol=1e-5)
        with h5py.File(tmp_path / "tmaps" / name) as file:  # where WOT looks for the names of the cells
            assert file["obs"]["index"][()].astype(str).tolist() == found.obs_names.tolist()
            assert file["var"]["index"][()].astype(str).tolist() == found.var_names.tolist()


@pytest.mark.parametrize("times", [(0.5, 20231101.25), (1e-5, 3.0)])
def test_times_in_the_names_of_transport_maps_are_read_back(moved, tmp_path, times):
    adata, stream, snapshots = moved
    part = replace(landings(stream, snapshots)[0], times=times)
    (name,) = write_transport_maps([part], adata.obs_names, tmp_path / "tmaps")
    *_, start, end = name.removesuffix(".h5ad").split("_")
    assert (float(start), float(end)) == times
    assert "e" not in start + end


def test_a_transport_map_that_does_not_fit_is_refused_and_leaves_nothing(moved, tmp_path, monkeypatch):
    adata, stream, snapshots = moved
    monkeypatch.setattr("cellstream.memory.free", lambda: 10_000)
    with pytest.raises(UserError, match="A transport map of 40 by 40 cells needs"):
        write_transport_maps(landings(stream, snapshots), adata.obs_names, tmp_path / "tmaps")
    assert list(tmp_path.iterdir()) == []


# --- velocities of genes ----------------------------------------------------------------------------------------------


def test_velocities_of_genes_are_the_slope_of_the_decoded_expression_along_the_flow():
    """Through the loadings of principal components, against central differences along the flow."""
    adata = simulate("branching", n_cells=60, n_genes=220)
    recipe = dict(time_key="day", real_times=True, preprocess=dict(normalise="auto", n_top_genes=200, n_pcs=10))
    snapshots = from_anndata(adata, "day", real_times=True, preprocess=Preprocess(**recipe["preprocess"]))
    stream = State.initial(snapshots, Config().with_settings(**TINY)).result()
    annotate(stream, adata, snapshots, recipe)
    hand_over(adata, stream, snapshots, velocity_layer=True)
    reached = adata.var["velocity_genes"].to_numpy()
    assert reached.tolist() == adata.var_names.isin(stream.genes.names).tolist()
    assert 0 < (~reached).sum() == 20
    velocity, expression = adata.layers["velocity"], adata.layers["cellstream_expression"]
    assert np.isnan(velocity[:, ~reached]).all()
    assert np.isnan(expression[:, ~reached]).all()
    at = adata.var_names[reached].get_indexer(list(stream.genes.names))
    z, h = adata.obsm["X_cellstream"], 1e-2
    for i in (1, 3):
        cells, t = np.flatnonzero(snapshots.index.numpy() == i), float(snapshots.times[i])
        np.testing.assert_allclose(
            expression[cells][:, reached][:, at], stream.decode_genes(z[cells]), rtol=1e-5, atol=1e-6
        )
        ahead, behind = stream.push(z[cells], t, [t + h]).z[-1], stream.pull(z[cells], t, [t - h]).z[-1]
        slope = (stream.decode_genes(ahead) - stream.decode_genes(behind)) / (2 * h)
        found = velocity[cells][:, reached][:, at]
        # the decoder's ReLUs have kinks, at which the differences take the mean of both sides
        scale = np.abs(slope).mean()
        assert np.isclose(found, slope, rtol=0.02, atol=0.05 * scale).mean() > 0.95
        assert np.corrcoef(found.ravel(), slope.ravel())[0, 1] > 0.999


def test_velocities_of_features_that_are_genes_and_of_cells_without_a_place(moved):
    adata, stream, snapshots = moved
    hand_over(adata, stream, snapshots, velocity_layer=True)
    np.testing.assert_allclose(adata.layers["velocity"][:-1], np.tile(SPEED, (120, 1)), rtol=1e-5)
    # scVelo drops a gene that is NaN in any cell
    np.testing.assert_array_equal(adata.layers["velocity"][-1], [0, 0])
    assert np.isnan(adata.layers["cellstream_expression"][-1]).all()
    assert adata.uns["cellstream"]["units"]["velocity"] == "values as in the file per d"


def test_an_embedding_has_no_velocities_of_genes():
    adata = moving()
    adata.obsm["X_mine"] = adata.X.copy()
    adata, stream, snapshots = result(adata, input="obsm:X_mine")
    before = adata.copy()
    with pytest.raises(UserError, match="no way leads back to genes"):
        hand_over(adata, stream, snapshots, velocity_layer=True)
    same(adata, before)
    hand_over(adata, stream, snapshots, transitions=True)


# --- names ------------------------------------------------------------------------------------------------------------


def same(adata: AnnData, before: AnnData, beyond: set[tuple[str, str]] = frozenset()) -> None:
    """All of ``before`` is in ``adata`` as it was, and nothing more but what is named."""
    for slot in ("obs", "var", "obsm", "layers", "obsp"):
        here, then = getattr(adata, slot), getattr(before, slot)
        assert set(here.keys()) == set(then.keys()) | {name for at, name in beyond if at == slot}
        for name in then:
            if slot in ("obs", "var"):
                pd.testing.assert_series_equal(here[name], then[name])
            else:
                np.testing.assert_array_equal(np.asarray(here[name]), np.asarray(then[name]))
    np.testing.assert_array_equal(adata.X, before.X)
    assert set(adata.uns) == set(before.uns)


def with_something_of_the_users(adata: AnnData, slot: str, name: str) -> None:
    mine = dict(obs="mine", var="mine", layers=np.ones(adata.shape), obsp=np.ones((adata.n_obs, adata.n_obs)))
    getattr(adata, slot)[name] = mine[slot]


@pytest.mark.parametrize(("slot", "name"), [(slot, name) for slot, of in OTHERS.items() for name in of])
def test_where_a_name_of_another_tool_s_is_taken_ours_stands_beside(slot, name):
    adata = moving()
    with_something_of_the_users(adata, slot, name)
    adata, stream, snapshots = result(adata)
    before = adata.copy()
    written = hand_over(adata, stream, snapshots, **ALL)
    assert f"{slot}['cellstream_{name}']" in written
    assert f"{slot}['{name}']" not in written
    same(adata, before, set(handed_over(adata)))
    plain, *rest = result(moving())
    hand_over(plain, *rest, **ALL)
    ours, theirs = getattr(adata, slot)[f"cellstream_{name}"], getattr(plain, slot)[name]
    dense = [part.toarray() if hasattr(part, "toarray") else np.asarray(part) for part in (ours, theirs)]
    np.testing.assert_array_equal(*dense)


def test_a_velocity_goes_by_the_other_name_where_scvelo_s_genes_are_the_user_s():
    adata = moving()
    adata.var["velocity_genes"] = [True, False]
    adata, stream, snapshots = result(adata)
    hand_over(adata, stream, snapshots, velocity_layer=True)
    assert adata.var["velocity_genes"].tolist() == [True, False]
    assert adata.var["cellstream_velocity_genes"].all()
    assert set(adata.layers) == {"cellstream_velocity", "cellstream_expression"}


TAKEN = [(slot, name) for slot, of in OURS.items() for name in of]
TAKEN += [(slot, f"cellstream_{name}") for slot, of in OTHERS.items() for name in of]


@pytest.mark.parametrize(("slot", "name"), TAKEN)
def test_names_of_ours_that_are_taken_are_refused_and_nothing_is_written(slot, name):
    adata = moving()
    with_something_of_the_users(adata, slot, name)
    if name.removeprefix("cellstream_") in OTHERS[slot]:
        with_something_of_the_users(adata, slot, name.removeprefix("cellstream_"))
    adata, stream, snapshots = result(adata)
    before = adata.copy()
    with pytest.raises(UserError, match=rf"{slot}\['{name}'\], which CellStream did not write"):
        hand_over(adata, stream, snapshots, **ALL)
    same(adata, before)
    assert "handover" not in adata.uns["cellstream"]


def test_without_a_result_there_is_nothing_to_hand_over(moved):
    adata, stream, snapshots = moved
    del adata.uns["cellstream"]
    with pytest.raises(UserError, match="annotate first"):
        hand_over(adata, stream, snapshots)


def test_an_earlier_handing_over_is_replaced_and_goes_with_its_result(moved, tmp_path):
    adata, stream, snapshots = moved
    adata.write_h5ad(tmp_path / "before.h5ad")
    before = anndata.read_h5ad(tmp_path / "before.h5ad")
    hand_over(adata, stream, snapshots, **ALL)
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata = anndata.read_h5ad(tmp_path / "a.h5ad")
    layer = adata.layers["velocity"].copy()
    adata.obs["cell_growth_rate"] = 0.0
    hand_over(adata, stream, snapshots)
    assert "cellstream_cell_growth_rate" not in adata.obs
    assert adata.obs["cell_growth_rate"].iloc[0] > 0
    np.testing.assert_array_equal(adata.layers["velocity"], layer)  # of the same result, and so still true
    annotate(stream, adata, snapshots, dict(time_key="day", real_times=True))
    same(adata, before)


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def file(moved, tmp_path):
    moved[0].write_h5ad(tmp_path / "result.h5ad")
    return tmp_path / "result.h5ad"


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_export_writes_a_file_from_which_the_result_comes_back(moved, file, tmp_path, command, suffix):
    out = tmp_path / f"out.{suffix}"
    code, said, err = command("export", file, "--out", out, "--velocity-layer", "--transitions")
    assert code == 0, err
    adata = readers.open_file(out).adata
    _, stream, snapshots = moved
    hand_over(moved[0], stream, snapshots, **ALL)
    beyond = set(handed_over(moved[0]))
    assert {f"{slot}['{name}']" for slot, name in beyond} == {line.split("  ")[0] for line in said.splitlines()[1:-1]}
    assert said.splitlines()[-1] == str(out)
    for slot, name in beyond:
        here, expected = getattr(adata, slot)[name], getattr(moved[0], slot)[name]
        if slot == "obsp":
            here, expected = here.toarray(), expected.toarray()
        np.testing.assert_array_equal(np.asarray(here), np.asarray(expected))
    assert adata.obs["cellstream_time"].cat.categories.dtype == np.float64
    same(adata, readers.open_file(file).adata, beyond)
    again, cells, recipe = read_result(adata)
    assert recipe == dict(time_key="day", real_times=True)
    assert cells.x.equal(snapshots.x)
    assert all(value.equal(stream.weights()[name]) for name, value in again.weights().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"result.h5ad", f"out.{suffix}"})


def test_export_writes_transport_maps(moved, file, tmp_path, command):
    code, said, err = command("export", file, "--tmaps", tmp_path / "tmaps")
    assert code == 0, err
    paths = [tmp_path / "tmaps" / name for name in ("tmap_0_1.h5ad", "tmap_1_3.h5ad")]
    assert said.split() == list(map(str, paths))
    for path, part in zip(paths, landings(*moved[1:]), strict=True):
        np.testing.assert_allclose(anndata.read_h5ad(path).X, coupling(part), rtol=1e-5, atol=1e-9)


def test_what_is_there_is_replaced_only_on_request_and_only_where_it_is_such_a_thing(file, tmp_path, command):
    for words in (("--out", tmp_path / "a.zarr"), ("--out", tmp_path / "a.h5ad"), ("--tmaps", tmp_path / "maps")):
        assert command("export", file, *words)[0] == 0
        code, _, err = command("export", file, *words)
        assert code == 2
        assert "--overwrite" in one_sentence(err)
    stale = tmp_path / "maps" / "tmap_7_8.h5ad"
    stale.touch()
    old = (tmp_path / "a.zarr" / "old").resolve()
    old.touch()
    code, _, err = command(
        "export", file, "--out", tmp_path / "a.zarr", "--tmaps", tmp_path / "maps", "--transitions", "--overwrite"
    )
    assert code == 0, err
    assert not stale.exists()
    assert not old.exists()
    assert "T_fwd" in readers.open_file(tmp_path / "a.zarr").adata.obsp
    for name in ("thesis", "thesis.zarr"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "chapter.txt").write_text("mine")
        words = ("--out", tmp_path / name) if name.endswith("zarr") else ("--tmaps", tmp_path / name)
        code, _, err = command("export", file, *words, "--overwrite")
        assert code == 2
        assert "nothing of them is removed" in one_sentence(err)
        assert (tmp_path / name / "chapter.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--out FILE.h5ad or FILE.zarr, or --tmaps DIR"),
        (["--tmaps", "maps", "--transitions"], "name it with --out"),
        (["--out", "a.loom"], "ends in .h5ad or .zarr"),
        (["--out", "nowhere/a.zarr"], "in one that exists"),
        (["--tmaps", "result.h5ad"], "name of a folder"),
    ],
)
def test_export_says_what_is_wrong_before_the_work(file, tmp_path, command, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cellstream.readers.open_file", None)
    code, _, err = command("export", "result.h5ad", *words)
    assert code == 2
    assert says in one_sentence(err)


def test_a_folder_that_cannot_be_written_leaves_the_one_that_was_there(moved, file, tmp_path, command, monkeypatch):
    out = tmp_path / "a.zarr"
    assert command("export", file, "--out", out)[0] == 0

    def broken(self, path, **_):
        path.mkdir()
        (path / "half").touch()
        raise ValueError("the disk is full")

    monkeypatch.setattr(AnnData, "write_zarr", broken)
    code, _, err = command("export", file, "--out", out, "--overwrite")
    assert code == 2
    assert "could not be written (the disk is full)" in one_sentence(err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "result.h5ad"]
    assert json.loads(readers.open_file(out).adata.uns["cellstream"]["handover"])

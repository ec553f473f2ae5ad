"""Every entry of an evaluation against POT, scikit-learn and the definition."""

from __future__ import annotations

import json
from dataclasses import replace

import anndata
import numpy as np
import ot
import pandas as pd
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsClassifier

from cellstream import evaluation, metrics, scverse
from cellstream.config import Preprocess
from cellstream.errors import UserError
from cellstream.gene_space import GeneSpace
from cellstream.held_out import held_out
from cellstream.presets import preset
from cellstream.simulate import simulate
from cellstream.snapshots import Snapshots, from_anndata
from cellstream.state import State
from cellstream.stream import CellStream
from tests.conftest import TINY


@pytest.fixture
def stream(moving_cloud) -> CellStream:
    """Untrained, with a growth that differs much from cell to cell, and an autoencoder that tells cells apart."""
    state = State.initial(moving_cloud, preset("paper", **TINY))
    with torch.no_grad():
        state.growth.net[0].weight.mul_(4)
        state.growth.net[-1].weight.mul_(8)
        for layer in (*state.autoencoder.encoder[::2], *state.autoencoder.decoder[::2]):
            layer.weight.mul_(3)
    return state.result()


def w2(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    a = ot.unif(len(x)) if weights is None else weights / weights.sum()
    return float(np.sqrt(ot.emd2(a, ot.unif(len(y)), ot.dist(x.astype(float), y.astype(float)))))


def test_every_entry_is_by_the_book(stream, moving_cloud):
    found = evaluation.evaluate(stream, moving_cloud)
    x, index = moving_cloud.x.numpy(), moving_cloud.index.numpy()
    t = np.array([0.0, 1.0, 3.0])[index]
    z = stream.encode(x, t)
    v = stream.velocity(z, t)
    at = [index == i for i in range(3)]

    assert found["trust"] == pytest.approx(np.mean([trustworthiness(x[c], z[c], n_neighbors=15) for c in at]))
    flat = PCA(2).fit_transform(x)
    assert found["trust_pca"] == pytest.approx(np.mean([trustworthiness(x[c], flat[c], n_neighbors=15) for c in at]))
    balls = metrics.consistency(z, v, index)
    for name in ("vc_paper", "tc_paper", "vc", "tc", "lonely"):
        assert found[name] == getattr(balls, name)
    near = squareform(pdist(flat)) <= 0.05 * np.ptp(flat, axis=0).max()
    np.fill_diagonal(near, False)
    same = index[:, None] == index
    shares = [same[i][near[i]].mean() for i in np.flatnonzero(near.any(1))]
    assert found["tc_pca"] == pytest.approx(np.mean(shares))

    cosines, ways = [], []
    for i in (0, 1):
        a, b = z[at[i]].astype(float), z[at[i + 1]].astype(float)
        plan = ot.emd(ot.unif(len(a)), ot.unif(len(b)), ot.dist(a, b))
        for j in range(len(a)):
            step, vj = plan[j] @ b / plan[j].sum() - a[j], v[at[i]][j]
            ways.append(step / np.linalg.norm(step))
            cosines.append(ways[-1] @ vj / np.linalg.norm(vj))
    assert found["direction"] == pytest.approx(np.mean(cosines), abs=1e-5)
    angles = np.linspace(0, 2 * np.pi, 100_000)
    constant = np.stack([np.cos(angles), np.sin(angles)]).T @ np.mean(ways, 0)
    assert found["direction_constant"] == pytest.approx(constant.max(), abs=1e-5)

    flow = stream.push(z[at[0]], 0, [0, 1, 3])
    corner, side = z.min(0), np.ptp(z, axis=0).max()
    box = lambda points: (points - corner) / side  # noqa: E731
    assert found["match"].keys() == found["mass"].keys() == {"1", "3"}
    for i, label in ((1, "1"), (2, "3")):
        weights = np.exp(flow.log_w[i].astype(float))
        assert weights.std() > 0.02 * weights.mean()
        assert found["mass"][label] == pytest.approx(
            dict(predicted=weights.mean(), observed=float(moving_cloud.mass[i])), rel=1e-6
        )
        for entry, put, seen in ((found["match"][label], box, z), (found["match"][label]["input"], stream.decode, x)):
            first, observed = (box(seen[at[k]]) if seen is z else seen[at[k]] for k in (0, i))
            clouds = dict(
                w2=(put(flow.z[i]), weights),
                stays=metrics.even(first),
                shift=metrics.even(first - first.mean(0) + observed.mean(0)),
            )
            if seen is x:
                clouds["autoencoder"] = metrics.even(stream.decode(z[at[i]]))
            expected = metrics.compared(observed, clouds, min(len(observed) // 2, len(first)))
            expected["w2_all"] = w2(put(flow.z[i]), observed, weights)
            assert abs(w2(put(flow.z[i]), observed) / expected["w2_all"] - 1) > 1e-2  # the weights make a difference
            assert {k: entry[k] for k in expected} == pytest.approx(expected, rel=1e-4)
            assert entry.keys() - {"input"} == expected.keys()


def test_r2_is_what_the_decoder_explains(stream, moving_cloud):
    x, t = moving_cloud.x.numpy(), moving_cloud.times.numpy()[moving_cloud.index.numpy()]
    back = stream.decode(stream.encode(x, t))
    expected = 1 - ((x - back) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert evaluation.evaluate(stream, moving_cloud)["r2"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("apart", "expected", "within"), [(0, 1 / 3, 0.05), (100, 1, 0)])
@pytest.mark.parametrize("look", [evaluation.evaluate, evaluation.glance])
def test_tc_pca_tells_noise_from_a_course_of_time(moving_cloud, look, apart, expected, within):
    index = torch.arange(3).repeat_interleave(300)
    x = torch.randn(900, 5, generator=torch.Generator().manual_seed(0))
    x[:, 0] += apart * index
    cells = replace(moving_cloud, x=x, index=index, mass=torch.ones(3))
    stream = State.initial(cells, preset("paper", **TINY)).result()
    assert look(stream, cells)["tc_pca"] == pytest.approx(expected, abs=within)


def test_a_glance_at_few_cells_is_the_evaluation(stream, moving_cloud):
    whole, part = evaluation.evaluate(stream, moving_cloud), evaluation.glance(stream, moving_cloud)
    for name in ("vc", "tc", "tc_pca", "trust", "trust_pca", "r2"):
        assert part[name] == pytest.approx(whole[name], rel=1e-6)
    assert part["mass"] == whole["mass"]
    for label, entry in part["match"].items():
        assert entry == pytest.approx({k: whole["match"][label][k] for k in entry}, rel=1e-6)


def test_a_glance_takes_so_many_cells_of_each_time_point(stream, moving_cloud, monkeypatch):
    taken = []
    r2 = metrics.r2
    monkeypatch.setattr(metrics, "r2", lambda x, back: taken.append(x) or r2(x, back))
    evaluation.glance(stream, moving_cloud, 50)
    assert len(taken[0]) == 40 + 50 + 50
    assert len(np.unique(taken[0], axis=0)) == 140


def test_true_velocity_is_in_the_cells_own_order_of_chunks(stream, moving_cloud, monkeypatch):
    v = np.random.default_rng(0).normal(size=moving_cloud.x.shape)
    whole = evaluation.true_velocity(stream, moving_cloud, v)
    monkeypatch.setattr(evaluation, "CHUNK", 64)
    np.testing.assert_allclose(evaluation.true_velocity(stream, moving_cloud, v), whole, atol=1e-6)
    h = 1e-3
    x, t = moving_cloud.x.numpy(), moving_cloud.times.numpy()[moving_cloud.index.numpy()]
    slope = (stream.encode(x + h * v, t) - stream.encode(x - h * v, t)) / (2 * h)
    # cells at a kink of the encoder's ReLU have no derivative
    assert np.median(np.abs(slope - whole)) < 1e-3


# what the decoder gives back


def held_out_cells(snapshots, stream):
    x, t = snapshots.x.numpy(), snapshots.times.numpy()[snapshots.index.numpy()]
    held = held_out(snapshots, stream.config).numpy()
    return x, held, stream.decode(stream.encode(x, t))


@pytest.mark.parametrize(("d", "share"), [(2, 0), (2, 0.2), (3, 0.2), (7, 0)])
def test_r2_and_its_yardstick_are_scikit_learns(moving_cloud, d, share):
    """Of each feature and of all, on the cells held out; the PCA is fitted to the others, in as many dimensions."""
    cells = replace(moving_cloud, features=tuple("abcde"))
    stream = State.initial(cells, preset("best", **{**TINY, "held_out": share, "latent_dim": d})).result()
    x, held, back = held_out_cells(cells, stream)
    judged = held if held.any() else ~held
    pca = PCA(min(d, 5)).fit(x[~held])
    flat = pca.inverse_transform(pca.transform(x[judged]))
    found, table = evaluation.evaluate(stream, cells), evaluation.per_feature(stream, cells)
    assert held.sum() == round(share * 40) + round(share * 60) + round(share * 90)
    for values, name in ((back[judged], "r2"), (flat, "r2_pca")):
        each = r2_score(x[judged], values, multioutput="raw_values")
        np.testing.assert_allclose(table[name].loc[list("abcde")], each, rtol=1e-4, atol=1e-5)
        together = r2_score(x[judged], values, multioutput="variance_weighted")
        assert found[name] == pytest.approx(together, rel=1e-4, abs=1e-5)
    assert found["r2_per_feature"] == pytest.approx(table["r2"].to_dict())
    assert table["r2"].is_monotonic_decreasing
    assert evaluation.glance(stream, cells)["r2_pca"] == pytest.approx(found["r2_pca"], rel=1e-5)


def test_a_feature_that_does_not_vary_has_no_r2(moving_cloud):
    x = moving_cloud.x.clone()
    x[:, 2] = 7.0
    cells = replace(moving_cloud, x=x, features=tuple("abcde"))
    stream = State.initial(cells, preset("paper", **TINY)).result()
    table = evaluation.per_feature(stream, cells)
    assert table.index[-1] == "c"
    assert np.isnan(table["r2"].iloc[-1])
    assert set(evaluation.evaluate(stream, cells)["r2_per_feature"]) == set("abde")


def test_of_many_features_the_best_and_the_worst_are_kept():
    values = pd.Series(np.linspace(1, -1, 201), [f"g{i}" for i in range(201)])
    found = evaluation.ends(values)
    assert list(found) == [f"g{i}" for i in (*range(25), *range(176, 201))]
    assert evaluation.ends(values[:50]) == values[:50].to_dict()


@pytest.fixture(scope="module")
def counts():
    """Raw counts of 260 genes in 300 cells, sparse, of which 40 components are made; one cell has no time."""
    adata = simulate("branching", n_cells=60, n_genes=260, seed=1)
    adata.obs["when"] = adata.obs["day"].astype(object)
    adata.obs.iloc[5, adata.obs.columns.get_loc("when")] = None
    return adata


RECIPE = dict(time_key="when", preprocess=dict(normalise="auto", n_top_genes=230, n_pcs=40))


def test_genes_come_back_through_the_loadings(counts, tmp_path, monkeypatch):
    """Against scikit-learn: the inverse of its PCA, and R² of each gene with what scanpy made of the counts."""
    import scanpy as sc

    settings = Preprocess(**RECIPE["preprocess"])
    snapshots = from_anndata(counts, "when", preprocess=settings)
    stream = State.initial(snapshots, preset("quick", **{**TINY, "held_out": 0.2, "start_steps": 200})).result()
    work = counts[counts.obs["when"].notna().to_numpy()].copy()
    sc.pp.normalize_total(work, target_sum=1e4)
    sc.pp.log1p(work)
    genes = work[:, list(stream.genes.names)].X.toarray()
    assert genes.shape[1] == 230
    pca = PCA(40, svd_solver="full").fit(genes)
    x, held, back = held_out_cells(snapshots, stream)
    t = snapshots.times.numpy()[snapshots.index.numpy()]
    z = stream.encode(x, t)
    # scikit-learn's components, with the signs of ours
    signs = np.sign((pca.components_ * stream.genes.loadings).sum(1))
    np.testing.assert_allclose(stream.decode_genes(z), pca.inverse_transform(back * signs), atol=2e-2)
    np.testing.assert_allclose(stream.genes.expression(x), pca.inverse_transform(pca.transform(genes)), atol=2e-2)

    monkeypatch.setattr(evaluation, "ROWS", 7)
    expression = scverse.expression(counts, stream, snapshots, RECIPE)
    table, totals = evaluation.per_gene(stream, snapshots, expression)
    flat = PCA(2).fit(x[~held])
    flat = flat.inverse_transform(flat.transform(x[held]))
    for name, values in (("r2", back[held]), ("r2_pca", flat), ("r2_features", x[held])):
        decoded = stream.genes.expression(values)
        each = r2_score(genes[held], decoded, multioutput="raw_values")
        varies = genes[held].std(0) > 0
        np.testing.assert_allclose(
            table[name].loc[list(np.array(stream.genes.names)[varies])], each[varies], rtol=1e-3, atol=1e-4
        )
        together = r2_score(genes[held], decoded, multioutput="variance_weighted")
        assert totals[name.replace("r2", "r2_genes")] == pytest.approx(together, abs=1e-4)
    assert totals["r2_genes"] < totals["r2_genes_features"]


def test_genes_are_the_features_where_nothing_was_reduced(moving_cloud):
    cells = replace(moving_cloud, genes=GeneSpace(tuple("abcde")))
    stream = State.initial(cells, preset("paper", **TINY)).result()
    z = stream.encode(cells.x.numpy(), 0)
    np.testing.assert_array_equal(stream.decode_genes(z), stream.decode(z))
    without = State.initial(moving_cloud, preset("paper", **TINY)).result()
    for question in (lambda: without.decode_genes(z), lambda: evaluation.per_gene(without, moving_cloud, z)):
        with pytest.raises(UserError, match="do not lead back to genes"):
            question()


@pytest.mark.parametrize("pcs", [0, 40])
def test_the_way_back_to_genes_is_kept(counts, tmp_path, pcs):
    """With the snapshots, with the model, and with a result in a file; an earlier result's is worked out anew."""
    recipe = dict(time_key="when", preprocess={**RECIPE["preprocess"], "n_pcs": pcs})
    snapshots = from_anndata(counts, "when", preprocess=Preprocess(**recipe["preprocess"]))
    stream = State.initial(snapshots, preset("quick", **TINY)).result()
    z = stream.encode(snapshots.x.numpy(), 0)[:9]
    snapshots.save(tmp_path / "data.npz")
    stream.save(tmp_path / "model.safetensors")
    adata = counts.copy()
    scverse.annotate(stream, adata, snapshots, recipe)
    adata.write_h5ad(tmp_path / "result.h5ad")
    written = anndata.read_h5ad(tmp_path / "result.h5ad")
    earlier = written.copy()
    header = json.loads(earlier.uns["cellstream"]["model"]["header"])
    header.pop("genes")
    earlier.uns["cellstream"]["model"]["header"] = json.dumps(header)
    for name in [name for name in earlier.uns["cellstream"]["model"]["weights"] if name.startswith("genes.")]:
        earlier.uns["cellstream"]["model"]["weights"].pop(name)
    known = Snapshots.load(tmp_path / "data.npz")
    for again in (
        CellStream.load(tmp_path / "model.safetensors"),
        CellStream.from_weights(stream.weights(), known, stream.config),
        scverse.read_result(written)[0],
        scverse.read_result(earlier)[0],
    ):
        assert again.genes.names == stream.genes.names
        assert (again.genes.loadings is None) == (pcs == 0)
        np.testing.assert_array_equal(again.decode_genes(z), stream.decode_genes(z))


def test_lineages_are_followed_by_the_model(stream, moving_cloud):
    index, last = moving_cloud.index.numpy(), moving_cloud.index.numpy() == 2
    x, t = moving_cloud.x.numpy(), moving_cloud.times.numpy()[index]
    labels = np.where(last, np.where(x[:, 1] > 2, "up", "down"), "not assigned")
    z = stream.encode(x, t)
    for since, start in ((None, 1), ("0", 0)):
        flow = stream.push(z[index == start], [0.0, 1.0][start], [3.0])
        told = KNeighborsClassifier(15).fit(z[last], labels[last]).predict(flow.z[0])
        w = np.exp(flow.log_w[0].astype(float))
        found = evaluation.evaluate(stream, moving_cloud, labels, since)
        share = w[told == "up"].sum() / w.sum()
        assert found["arrivals"]["from"] == ["0", "1"][start]
        assert found["arrivals"]["to"] == "3"
        assert found["arrivals"]["lineages"]["up"]["predicted"] == pytest.approx(share, abs=1e-6)
        observed = (labels[last] == "up").mean()
        assert found["arrivals"]["lineages"]["up"]["observed"] == pytest.approx(observed)
        assert found["arrivals"]["difference"] == pytest.approx(abs(share - observed), abs=1e-6)
        assert found["branch_accuracy"] == metrics.label_accuracy(z, labels)
    assert "arrivals" not in evaluation.evaluate(stream, moving_cloud)
    assert evaluation.arrivals(stream, moving_cloud, ["unknown"] * 190) == {}
    for wrong in ("3", "noon"):
        with pytest.raises(UserError, match=r"Expected a time point before the last.*there are 0, 1\."):
            evaluation.arrivals(stream, moving_cloud, labels, wrong)
    with pytest.raises(UserError, match="one lineage label per cell, 190 in all, but got 3"):
        evaluation.arrivals(stream, moving_cloud, ["a", "b", "c"])


def test_fidelity_is_the_share_of_labelled_cells_that_stay_in_their_lineage(stream, moving_cloud):
    """By scikit-learn's votes where the model carries them; kinds that the last time point lacks do not count."""
    index = moving_cloud.index.numpy()
    x, t = moving_cloud.x.numpy(), moving_cloud.times.numpy()[index]
    labels = np.where(x[:, 1] > index, "up", "down").astype(object)
    labels[index == 0] = "progenitor"
    labels[(index == 1) & (x[:, 2] > 0)] = np.nan
    z, last = stream.encode(x, t), index == 2
    votes = KNeighborsClassifier(15).fit(z[last], labels[last].astype(str))
    told = np.isin(labels.astype(str), ["up", "down"]) & (index == 1)
    there = stream.push(z[told], 1.0, [3.0]).z[0]
    found = evaluation.fidelity(stream, moving_cloud, labels)
    kept = votes.predict(there) == labels[told]
    observed = {name: (labels[last] == name).mean() for name in ("up", "down")}
    chance = np.mean([observed[name] for name in labels[told]])
    own = {name: pytest.approx(kept[labels[told] == name].mean()) for name in ("up", "down")}
    assert found == {
        "1": dict(of=told.sum(), kept=pytest.approx(kept.mean()), chance=pytest.approx(chance), lineages=own)
    }
    assert 0.3 < found["1"]["kept"] < 1
    everything = evaluation.evaluate(stream, moving_cloud, labels)
    assert everything["fidelity"] == found
    pca = PCA(2).fit_transform(x)
    assert everything["branch_accuracy_pca"] == pytest.approx(metrics.label_accuracy(pca, labels), abs=0.01)
    assert evaluation.fidelity(stream, moving_cloud, ["nan"] * 190) == {}


def test_more_dimensions_are_judged_in_their_principal_plane(moving_cloud):
    deep = State.initial(moving_cloud, preset("paper", latent_dim=4, **TINY)).result()
    x, t = moving_cloud.x.numpy(), moving_cloud.times.numpy()[moving_cloud.index.numpy()]
    z = deep.encode(x, t)
    pca = PCA(2).fit(z)
    balls = metrics.consistency(pca.transform(z), deep.velocity(z, t) @ pca.components_.T, moving_cloud.index.numpy())
    found = evaluation.evaluate(deep, moving_cloud, plane=True)
    assert (found["vc"], found["tc"]) == pytest.approx((balls.vc, balls.tc), abs=1e-4)
    assert found["r2"] == pytest.approx(evaluation.evaluate(deep, moving_cloud)["r2"])

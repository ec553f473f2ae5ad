"""Other methods as our result type: against their definitions, scikit-learn and simulated truth."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import anndata
import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy.spatial.distance import cdist, pdist
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from torch import nn

from cellstream import evaluation, metrics, training
from cellstream.baselines import METHODS, fitting, mioflow, tigon, tigon_dynamics, veloviz
from cellstream.baselines.embeddings import EMBEDDINGS, principal
from cellstream.baselines.mioflow import FIELD_WIDTH, HIDDEN
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.held_out import unseen
from cellstream.lookup import NEAR, Lookup
from cellstream.networks import Autoencoder, Growth, Velocity
from cellstream.scverse import annotate, read_result
from cellstream.simulate import populations
from cellstream.snapshots import Snapshots, from_anndata
from cellstream.state import State
from cellstream.stream import CellStream


@pytest.fixture(scope="module")
def ipsc(data_dir) -> AnnData:
    """Every fourth cell."""
    return anndata.read_h5ad(data_dir / "ipsc_bargaje2017.h5ad")[::4].copy()


@pytest.fixture(scope="module")
def simulated() -> tuple[AnnData, Snapshots]:
    adata = populations(n_cells=100)
    return adata, from_anndata(adata, "time")


@pytest.fixture(scope="module")
def pca(simulated) -> CellStream:
    """A fit of some length, with which simulated truth can be found again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tigon_dynamics, "STEPS", 250)
        return METHODS["TIGON + PCA"].fit(simulated[1])


@pytest.fixture(scope="module")
def looked_up(pca, simulated) -> CellStream:
    """A quick fit that is told where ``pca`` puts the cells, but not how."""
    snapshots = simulated[1]
    return tigon(snapshots, pca.encode(snapshots.x.numpy(), times_of(snapshots)), quick=True)


def times_of(snapshots: Snapshots) -> np.ndarray:
    return snapshots.times.numpy()[snapshots.index.numpy()]


# one kind of result


SLOW = ("TIGON + UMAP",)  # it is compiled at its first use


@pytest.mark.parametrize("name", [pytest.param(m, marks=pytest.mark.slow if m in SLOW else ()) for m in METHODS])
def test_a_result_like_any_other(name, ipsc, tmp_path):
    if name == "MIOFlow":
        pytest.importorskip("mioflow", reason="needs the extra mioflow")
    snapshots = from_anndata(ipsc, "time")
    said: list[tuple[int, int]] = []
    stream = METHODS[name].fit(snapshots, quick=True, on_progress=lambda done, total: said.append((done, total)))
    assert stream.method == name
    done, total = zip(*said, strict=True)
    assert len(set(total)) == 1
    assert done[-1] == total[0]
    assert list(done) == sorted(set(done))

    x, t = snapshots.x.numpy(), times_of(snapshots)
    z = stream.encode(x, t)
    found = evaluation.glance(stream, snapshots, cells=60)
    if stream.latent_dim == 2:
        assert all(np.isfinite(found[key]) for key in ("vc", "tc", "trust", "r2"))
    flat, v = evaluation.in_plane(stream, snapshots)
    assert np.isfinite(metrics.consistency(flat, v, snapshots.index.numpy()).vc)
    assert all(np.isfinite(list(part.values())).all() for part in (*found["match"].values(), *found["mass"].values()))
    # a decoder that knew nothing would have 0
    assert found["r2"] > 0.1

    stream.save(tmp_path / "model.safetensors")
    annotate(stream, ipsc_copy := ipsc.copy(), snapshots, dict(time_key="time"))
    ipsc_copy.write_h5ad(tmp_path / "result.h5ad")
    from_file, again, _ = read_result(anndata.read_h5ad(tmp_path / "result.h5ad"))
    for other in (CellStream.load(tmp_path / "model.safetensors"), from_file):
        assert other.method == name
        np.testing.assert_array_equal(other.encode(again.x.numpy(), t), z)
        np.testing.assert_array_equal(other.velocity(z, 1.0), stream.velocity(z, 1.0))
        np.testing.assert_array_equal(other.growth(z, 1.0), stream.growth(z, 1.0))
        np.testing.assert_array_equal(other.decode(z), stream.decode(z))
    np.testing.assert_array_equal(ipsc_copy.obsm["X_cellstream"], z)


def test_an_embedding_of_the_file_is_taken_as_it_is(simulated):
    """Of any number of columns; and the same seed gives the same result."""
    snapshots = simulated[1]
    z = np.random.default_rng(0).normal(size=(len(snapshots.x), 4)) * 30
    stream, again = (tigon(snapshots, z, "TIGON + scVI", quick=True) for _ in range(2))
    assert (stream.method, stream.latent_dim) == ("TIGON + scVI", 4)
    np.testing.assert_array_equal(stream.encode(snapshots.x.numpy(), times_of(snapshots)), z.astype(np.float32))
    assert all(torch.equal(value, again.weights()[key]) for key, value in stream.weights().items())
    given = METHODS["TIGON + UMAP"].fit(snapshots, quick=True, embedding=z)
    assert given.method == "TIGON + UMAP"
    assert given.latent_dim == 4


def test_results_of_earlier_versions_still_open(moving_cloud, tiny_config):
    stream = State.initial(moving_cloud, tiny_config).result()
    header = json.loads(json.dumps(stream.header()))
    assert header["format"] == 1  # earlier versions open what they can
    assert header["encoder"] == "network"
    del header["method"], header["encoder"]
    again = CellStream.from_header(header, stream.weights())
    assert again.method == "CellStream"
    x = moving_cloud.x.numpy()
    np.testing.assert_array_equal(again.encode(x, 0), stream.encode(x, 0))


def test_earlier_versions_say_that_they_are_too_old_for_a_lookup(looked_up):
    header = looked_up.header()
    assert (header["format"], header["encoder"]) == (2, "lookup")
    with pytest.raises(UserError, match="Update cellstream"):
        CellStream.from_header({**header, "format": 3}, {})


# embeddings


def test_lookup_by_the_book():
    """Known cells are where they were put; new ones at the mean of the nearest, weighted by 1 / distance²."""
    rng = np.random.default_rng(0)
    time = np.repeat([0.0, 1.0], 30)
    cells = np.c_[time, rng.normal(size=(60, 4))]
    z = rng.normal(size=(60, 2))
    lookup = Lookup.of(torch.tensor(cells).float(), torch.tensor(z).float())
    np.testing.assert_array_equal(lookup(torch.tensor(cells).float()).numpy(), z.astype(np.float32))
    new = np.c_[np.repeat([0.2, 0.9], 5), rng.normal(size=(10, 4))].astype(np.float32)
    for found, point in zip(lookup(torch.tensor(new)).numpy(), new, strict=True):
        there = time == round(float(point[0]))
        distance = cdist(point[None, 1:], cells[there, 1:].astype(np.float32))[0]
        near = np.argsort(distance)[:NEAR]
        np.testing.assert_allclose(found, np.average(z[there][near], axis=0, weights=distance[near] ** -2.0), rtol=1e-4)


def test_like_cells_share_a_place_only_within_a_time_point():
    joined = torch.tensor([[0.0, 5, 5], [0, 5, 5], [1, 5, 5], [1, 6, 6]])
    z = torch.tensor([[0.0, 0], [2, 4], [10, 10], [20, 20]])
    expected = torch.tensor([[1.0, 2], [1, 2], [10, 10], [20, 20]])
    assert torch.equal(Lookup.of(joined, z)(joined), expected)


def test_lookup_pushes_velocities_by_the_slope_of_the_embedding():
    """Of a linear embedding the local fit is the map itself."""
    rng = np.random.default_rng(0)
    cells = np.c_[np.zeros(200), rng.normal(size=(200, 4))]
    axes, v = rng.normal(size=(4, 2)), rng.normal(size=(200, 4))
    lookup = Lookup.of(*(torch.tensor(part).float() for part in (cells, cells[:, 1:] @ axes)))
    pushed = lookup.push(torch.tensor(cells).float(), torch.tensor(v).float()).numpy()
    np.testing.assert_allclose(pushed, v @ axes, atol=1e-4)


def test_velocities_are_pushed_in_the_units_of_the_features(simulated, pca, looked_up):
    """The same linear embedding by its network and by looking cells up."""
    adata, snapshots = simulated
    truth = adata.layers["velocity_true"]
    expected = evaluation.true_velocity(pca, snapshots, truth)
    axes = PCA(2, random_state=0).fit(snapshots.x.numpy()).components_
    np.testing.assert_allclose(expected, truth @ axes.T, atol=1e-5)
    found = evaluation.true_velocity(looked_up, snapshots, truth)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_pca_is_scikit_learns_there_and_back(ipsc):
    snapshots = from_anndata(ipsc, "time")
    stream = METHODS["TIGON + PCA"].fit(snapshots, quick=True)
    x = snapshots.x.numpy()
    model = PCA(2, random_state=0).fit(x)
    z = stream.encode(x, times_of(snapshots))
    np.testing.assert_allclose(z, model.transform(x), atol=1e-4)
    np.testing.assert_allclose(stream.decode(z), model.inverse_transform(z), atol=1e-4)
    assert metrics.r2(x, stream.decode(z)) == pytest.approx(model.explained_variance_ratio_.sum(), abs=1e-4)


def test_a_decoder_is_judged_on_cells_that_it_has_not_seen(simulated, looked_up):
    snapshots = simulated[1]
    found = evaluation.glance(looked_up, snapshots, cells=10_000)
    seen = unseen(looked_up.autoencoder, snapshots, looked_up.config).numpy()
    x, t = snapshots.x.numpy()[seen], times_of(snapshots)[seen]
    assert found["r2"] == pytest.approx(metrics.r2(x, looked_up.decode(looked_up.encode(x, t))), rel=1e-4)
    assert seen.sum() == sum(round(0.05 * n) for n in snapshots.counts.tolist())


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_few_cells_have_embeddings_too(name):
    x = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    x[:, 3] = 7  # a feature that is the same in all cells does no harm
    few = from_anndata(AnnData(x, obs={"time": [0, 0, 0, 0, 1, 1, 1, 1]}), "time")
    z = EMBEDDINGS[name](few, 0)
    assert z.shape == (8, 2)
    assert np.isfinite(z).all()
    np.testing.assert_array_equal(z, EMBEDDINGS[name](few, 0))
    assert torch.get_num_threads() == 1  # as before; numba would take all


def test_the_constant_diffusion_component_is_left_out(simulated):
    z = EMBEDDINGS["diffusion map"](simulated[1], 0)
    assert (z.std(0) > 0.2 * np.abs(z).max(0)).all()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda z: z[:-1], "one row per cell"),
        (lambda z: z[:, 0], "one row per cell"),
        (lambda z: np.zeros((len(z), 101)), "1 to 100 columns"),
        (lambda z: np.where(np.arange(len(z))[:, None] == 3, np.nan, z), "1 of .* cells have"),
        (lambda z: z * 0 + 1, "all are at one"),
    ],
)
def test_a_bad_embedding_gets_a_sentence(simulated, spoil, said):
    snapshots = simulated[1]
    with pytest.raises(UserError, match=said):
        tigon(snapshots, spoil(snapshots.x.numpy()[:, :2]), quick=True)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "MIOFlow"])
def test_features_that_do_not_tell_cells_apart_get_a_sentence(name):
    apart = AnnData(np.arange(24.0).reshape(8, 3), obs={"time": [0, 0, 0, 0, 1, 1, 1, 1]})
    same = replace(from_anndata(apart, "time"), x=torch.ones(8, 3))  # a file like that is refused when it is read
    with pytest.raises(UserError, match="the same in all cells"):
        METHODS[name].fit(same, quick=True)


@pytest.mark.parametrize("name", ["MIOFlow", "CytoBridge"])
def test_methods_with_an_embedding_of_their_own_take_no_other(simulated, name):
    with pytest.raises(UserError, match="makes its own"):
        METHODS[name].fit(simulated[1], embedding=np.zeros((3, 2)))


# TIGON


def test_tigon_finds_simulated_masses_growth_and_directions(simulated, pca):
    adata, snapshots = simulated
    t = times_of(snapshots)
    z = pca.encode(snapshots.x.numpy(), t)
    flow = pca.push(z[t == 0], 0, [0, 1, 2])
    truth = (np.exp(0.5 * np.arange(3)) + 1) / 2
    np.testing.assert_allclose(np.exp(flow.log_w).mean(1), truth, rtol=0.05)
    growing = adata.obs["growth_true"].to_numpy() > 0
    rate = pca.growth(z, t)
    assert rate[growing].mean() > rate[~growing].mean() + 0.2
    # the axes of the two populations, as PCA shows them
    v, true = pca.velocity(z, t), evaluation.true_velocity(pca, snapshots, adata.layers["velocity_true"])
    cosine = (v * true).sum(1) / np.linalg.norm(v, axis=1) / np.linalg.norm(true, axis=1)
    assert np.median(cosine) > 0.85


def test_tigons_networks_and_rates(pca):
    """As in the authors' code: four and three layers of 16, rate halved at steps 4600 and 4800 of 5000."""
    shapes = [[part.out_features for part in net.net if isinstance(part, nn.Linear)]
              for net in (pca.velocity_net, pca.growth_net)]  # fmt: skip
    assert shapes == [[16, 16, 16, 16, 2], [16, 16, 16, 1]]
    rates = [tigon_dynamics._rate(step / 5000) for step in (1, 4599, 4600, 4799, 4800, 5000)]
    assert rates == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_rates_and_weight_decay_reach_the_optimiser(simulated, monkeypatch):
    seen = []
    before = torch.optim.Adam.step

    def step(self, *args, **kwargs):
        seen.extend((group["lr"], group["weight_decay"]) for group in self.param_groups)
        return before(self, *args, **kwargs)

    # of the dynamics alone: there is no decoder to fit
    monkeypatch.setattr(torch.optim.Adam, "step", step)
    METHODS["TIGON + PCA"].fit(simulated[1], quick=True)
    assert {decay for _, decay in seen} == {0.01}
    assert [rate for rate, _ in seen][:1] == [3e-3]
    assert sorted({rate for rate, _ in seen}) == pytest.approx([0.75e-3, 1.5e-3, 3e-3])


# VeloViz


def test_links_by_the_book():
    """d_ij = − cos(v_i, x_j − x_i) / (1 + |x_i + v_i − x_j|): the k lowest; kept are those that point ahead."""
    rng = np.random.default_rng(0)
    x, v, k = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)), 6
    to = np.arange(0, 40, 2)
    near, distance, kept = veloviz.links(x, v, to, k)
    for i in range(40):
        composite, cosine = {}, {}
        for place, j in enumerate(to):
            if i != j:
                step = x[j] - x[i]
                cosine[place] = step @ v[i] / np.linalg.norm(step) / np.linalg.norm(v[i])
                composite[place] = -cosine[place] / (1 + np.linalg.norm(x[i] + v[i] - x[j]))
        expected = sorted(composite, key=composite.__getitem__)[:k]
        assert near[i].tolist() == expected
        np.testing.assert_allclose(distance[i], [composite[place] for place in expected])
        assert kept[i].tolist() == [cosine[place] >= 0 for place in expected]


def test_the_layout_keeps_the_order_of_cells_that_follow_each_other():
    """On an arc in five dimensions along which cells move."""
    angle = np.sort(np.random.default_rng(0).uniform(0, np.pi, 120))
    x = np.c_[np.cos(angle), np.sin(angle), np.zeros((120, 3))]
    v = 0.3 * np.c_[-np.sin(angle), np.cos(angle), np.zeros((120, 3))]
    z = veloviz.layout(x, v, k=5)
    order = PCA(1).fit_transform(z)[:, 0]
    assert abs(spearmanr(order, angle).statistic) > 0.95


def test_cells_without_a_link_lie_between_others(monkeypatch):
    """One that rests at the end, at which nobody aims, has no link; nor have cells beyond those that are laid out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    x[0] = -50
    v = np.tile([1.0, 0], (60, 1))
    v[0] = -1  # away from all
    z = veloviz.layout(x, v, k=5)
    assert np.isfinite(z).all()
    low, high = z[1:].min(0), z[1:].max(0)
    assert (low <= z[0]).all()
    assert (z[0] <= high).all()
    assert len(np.unique(veloviz.layout(x, v, k=5, most=30), axis=0)) > 30


# MIOFlow


def theirs(*sizes: int, activation: type[nn.Module]) -> nn.Sequential:
    """A network like those of the package."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for a, b in pairwise(sizes):
        parts += [nn.Linear(a, b), activation()]
    return nn.Sequential(*parts[:-1])


def test_mioflows_networks_become_ours_exactly():
    """Without the package: networks of its shapes, with its scalings."""
    rng = np.random.default_rng(0)
    scaler = SimpleNamespace(mean_=rng.normal(size=7), scale_=rng.uniform(1, 2, 7))
    gaga = SimpleNamespace(
        encoder=theirs(7, *HIDDEN, 2, activation=nn.ReLU),
        decoder=theirs(2, *HIDDEN[::-1], 7, activation=nn.ReLU),
        input_scaler=scaler,
    )
    config = Config().with_settings(**mioflow._NETWORKS)
    ours = mioflow._autoencoder(gaga, config)
    x, tau = rng.normal(size=(20, 7)), torch.rand(20) * 3
    z = gaga.encoder(torch.tensor((x - scaler.mean_) / scaler.scale_).float())
    torch.testing.assert_close(ours.encode(tau, torch.tensor(x).float()), z)
    decoded = gaga.decoder(z).detach().numpy() * scaler.scale_ + scaler.mean_
    np.testing.assert_allclose(ours.decode(z)[1].detach().numpy(), decoded, rtol=1e-4, atol=1e-5)

    field = theirs(3, FIELD_WIDTH, FIELD_WIDTH, 2, activation=nn.SiLU)
    mean, sd = torch.tensor([3.0, -1]), torch.tensor([0.5, 4])
    fields = mioflow._fields(field, mean, sd, config, 4)
    velocity, growth = Velocity(config.networks, 4), Growth(config.networks, 4)
    for name, net in (("velocity.", velocity), ("growth.", growth)):
        net.load_state_dict({k.removeprefix(name): v for k, v in fields.items() if k.startswith(name)})
    expected = field(torch.cat([tau[:, None], (z - mean) / sd], 1)) * sd
    torch.testing.assert_close(velocity(tau, z), expected)
    assert not growth(tau, z).any()


def test_mioflow_is_balanced_and_opens_without_its_package(simulated, tmp_path, monkeypatch):
    pytest.importorskip("mioflow", reason="needs the extra mioflow")
    snapshots = simulated[1]
    METHODS["MIOFlow"].fit(snapshots, quick=True).save(tmp_path / "model.safetensors")
    monkeypatch.setitem(sys.modules, "mioflow", None)
    stream = CellStream.load(tmp_path / "model.safetensors")
    z = stream.encode(snapshots.x.numpy(), times_of(snapshots))
    assert not stream.growth(z, 1.0).any()
    assert not stream.push(z, 0, [0, 1, 2]).log_w.any()


def test_without_the_package_mioflow_says_what_to_install(simulated, monkeypatch):
    monkeypatch.setitem(sys.modules, "phate", None)
    with pytest.raises(UserError, match=r"pip install 'cellstream\[mioflow\]'"):
        METHODS["MIOFlow"].fit(simulated[1], quick=True)


# CytoBridge


def test_cytobridge_is_in_the_input_space(simulated):
    """Its coordinates are the input space turned, and the plane is that of PCA, velocities too."""
    snapshots = simulated[1]
    stream = METHODS["CytoBridge"].fit(snapshots, quick=True)
    x, t = snapshots.x.numpy(), times_of(snapshots)
    z = stream.encode(x, t)
    np.testing.assert_allclose(pdist(z), pdist(x), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(stream.decode(z), x, atol=1e-5)
    flat, v = evaluation.in_plane(stream, snapshots)
    axes = PCA(2, random_state=0).fit(x)
    sign = np.sign((flat * axes.transform(x)).sum(0))
    np.testing.assert_allclose(flat * sign, axes.transform(x), atol=1e-3)
    # decoding is linear: what the velocity is in the features is read off by decoding its tip
    in_features = stream.decode(z + stream.velocity(z, t)) - x
    np.testing.assert_allclose(v * sign, in_features @ axes.components_.T, atol=1e-3)


def test_an_autoencoder_of_all_components_keeps_everything():
    x = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32) + 100
    snapshots = from_anndata(AnnData(x, obs={"time": [0] * 10 + [1] * 10}), "time")
    autoencoder, config = principal(snapshots, 5, Config())
    assert isinstance(autoencoder, Autoencoder)
    assert config.networks.latent_dim == 5
    z = fitting.coordinates(autoencoder, snapshots)
    np.testing.assert_allclose(autoencoder.decode(torch.tensor(z))[1].detach().numpy(), x, atol=1e-4)


@pytest.mark.parametrize("name", ["TIGON + PCA", "CytoBridge"])
def test_baselines_do_not_depend_on_how_our_embeddings_are_shaped(monkeypatch, moving_cloud, name):
    """To the last bit: only the rounds' code decides them."""
    before = METHODS[name].fit(moving_cloud, seed=0, quick=True)
    for part in ("start_step", "embedding_step", "warm_step"):
        monkeypatch.setattr(training, part, None)
    monkeypatch.setattr(training, "embedding_losses", lambda *args: dict(ae=torch.zeros(())))
    after = METHODS[name].fit(moving_cloud, seed=0, quick=True)
    z = np.random.default_rng(0).normal(size=(20, before.latent_dim)).astype(np.float32)
    assert np.array_equal(before.velocity(z, 1.2), after.velocity(z, 1.2))
    assert np.array_equal(before.growth(z, 1.2), after.growth(z, 1.2))

"""Results as arrays: plane, particles, fields and colours, compared with the model and with each other."""

from __future__ import annotations

import asyncio
import base64
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import circstd

from cellstream import by_parts, datasets, readers
from cellstream.colours import CATEGORY_PALETTE, MISSING
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.events import Finished, Preview, Resumed, Round, Stage, Step
from cellstream.fields import Grid, leading_axes
from cellstream.fixes import FILL, NONFINITE
from cellstream.history import History
from cellstream.presets import preset
from cellstream.runs import Run
from cellstream.signatures import PROLIFERATION
from cellstream.snapshots import Snapshots
from cellstream.state import State
from cellstream.training import train
from cellstream_app.colouring import (
    DIRECTION_SPREAD,
    GENE,
    GROWTH,
    GROWTH_SPREAD,
    SPEED,
    TIME,
    choices,
    colouring,
    expression,
    genes,
)
from cellstream_app.decoded import Decoded
from cellstream_app.equation import equation
from cellstream_app.live import Camera, curves, match_of
from cellstream_app.parts import saving
from cellstream_app.parts.saving import Saving, size_of, target, write_result
from cellstream_app.parts.stage import spread_out
from cellstream_app.results import Result
from cellstream_app.session import Session
from cellstream_app.sources import Source
from tests.conftest import TINY


def result_of(snapshots: Snapshots, folder: Path, **settings) -> Result:
    """An untrained model of these cells: random networks are as good as any for what is tested here."""
    config = Config().with_settings(**settings)
    run = Run.create(folder, snapshots, config, {"name": "test"})
    return Result(run, State.initial(snapshots, config).result(), snapshots, True)


@pytest.fixture(params=[1, 2, 3], ids=lambda d: f"d={d}")
def result(request: pytest.FixtureRequest, moving_cloud: Snapshots, tmp_path: Path) -> Result:
    return result_of(moving_cloud, tmp_path / "run", latent_dim=request.param)


# the plane and the particles


def test_vectors_in_the_plane_are_the_derivative_of_the_points(result: Result):
    t, h = 1.6, 1e-3
    z = result.population(t)[0][:50]
    around = result.stream.push(z, t - h, [t - h, t + h])
    here, there = (
        result.plane.points(z, result.tau(np.full(len(z), at))) for z, at in zip(around.z, around.times, strict=True)
    )
    slope = (there.astype(np.float64) - here) / (2 * h)
    # d tau / dt between the second and the third time point, which are two units apart and one step of tau
    rate = 0.5
    v = result.plane.vectors(result.stream.velocity(z, t), 1.0) * rate
    np.testing.assert_allclose(slope, v, atol=5e-3 * np.abs(v).max() + 1e-3)


def test_two_dimensions_are_shown_as_they_are(moving_cloud: Snapshots, tmp_path: Path):
    result = result_of(moving_cloud, tmp_path / "run")
    np.testing.assert_allclose(result.points, result.z, atol=1e-6)
    np.testing.assert_allclose(result.vectors, result.v, atol=1e-6)


def test_more_dimensions_are_shown_in_their_principal_plane(moving_cloud: Snapshots, tmp_path: Path):
    result = result_of(moving_cloud, tmp_path / "run", latent_dim=5)
    from sklearn.decomposition import PCA

    expected = PCA(2).fit(result.z).explained_variance_
    np.testing.assert_allclose(result.points.var(0, ddof=1), expected, rtol=1e-3)


def test_the_population_is_that_of_the_flow_at_its_frames_and_between_them(result: Result):
    flow = result.flow
    for k in (0, 7, len(flow.times) - 1):
        z, mass = result.population(flow.times[k])
        np.testing.assert_allclose(z, flow.z[k], atol=1e-5)
        np.testing.assert_allclose(mass, np.exp(flow.log_w[k]), rtol=1e-5)
    middle = (flow.times[3] + flow.times[4]) / 2
    np.testing.assert_allclose(result.population(middle)[0], (flow.z[3] + flow.z[4]) / 2, atol=1e-5)
    assert result.mass(flow.times[0]) == pytest.approx(np.exp(flow.log_w[0]).mean())
    assert set(result.times) <= set(flow.times)  # what was measured is a frame


# fields


def test_the_field_is_what_the_networks_say_on_the_grid(moving_cloud: Snapshots, tmp_path: Path):
    result = result_of(moving_cloud, tmp_path / "run")
    field = result.field(0.4)
    x, y = np.meshgrid(field.x, field.y)
    at = np.stack([x.ravel(), y.ravel()], 1)
    v = result.stream.velocity(at, 0.4)
    np.testing.assert_allclose(np.stack([field.vx.ravel(), field.vy.ravel()], 1), v, atol=1e-6)
    np.testing.assert_allclose(field.growth.ravel(), result.stream.growth(at, 0.4) / np.log(2), atol=1e-6)


def test_cover_is_where_the_particles_are(result: Result):
    t = float(result.times[1])
    field = result.field(t)
    z, _ = result.population(t)
    points = result.plane.points(z, result.tau(np.full(len(z), t)))
    column = np.argmin(np.abs(field.x[:, None] - points[:, 0]), axis=0)
    row = np.argmin(np.abs(field.y[:, None] - points[:, 1]), axis=0)
    assert np.median(field.weight[row, column]) > 0.5
    assert field.weight.min() == 0
    assert field.weight.max() <= 1


def test_an_average_of_a_smooth_function_is_its_value():
    points = np.random.default_rng(0).uniform(-1, 1, (40_000, 2))
    grid = Grid.around(points)
    inside = grid.cover(points) == 1
    linear = 3 * points[:, 0] - points[:, 1]
    x, y = np.meshgrid(grid.x, grid.y)
    core = inside & (np.abs(x) < 0.8) & (np.abs(y) < 0.8)
    np.testing.assert_allclose(grid.average(points, linear)[core], (3 * x - y)[core], atol=0.06)
    np.testing.assert_allclose(grid.average(points, np.full(len(points), 7.0))[inside], 7.0)
    assert grid.cover(points)[[0, -1]].max() == grid.cover(points)[:, [0, -1]].max() == 0
    assert np.isnan(Grid.around(np.array([[0.0, 0], [10, 10]])).average(np.zeros((1, 2)), np.ones(1))[-1, -1])


def test_density_adds_up_to_the_weights_and_lies_where_they_are():
    grid = Grid(np.arange(-20.0, 21), np.arange(-10.0, 11))
    density = grid.density(np.array([[3.0, 2.0]]), np.array([5.0]))
    assert density.sum() == pytest.approx(5.0, rel=1e-3)
    assert np.unravel_index(density.argmax(), density.shape) == (12, 23)


# colours


@pytest.fixture
def coloured(moving_cloud: Snapshots, tmp_path: Path) -> tuple[Result, Source]:
    """A result of all but the first ten rows of a file of counts."""
    rng = np.random.default_rng(1)
    n = len(moving_cloud.index) + 10
    counts = rng.poisson(3, (n, 4)).astype(np.float32)
    kinds = pd.Categorical(np.where(np.arange(n) % 3 == 0, "<b>x</b>", "y"), categories=["y", "<b>x</b>"])
    adata = anndata.AnnData(counts, obs=pd.DataFrame({"kind": kinds, "score": rng.normal(size=n)}))
    adata.var_names = ["A", "B", "C", "D"]
    adata.uns["kind_colors"] = ["#123456", "#abcdef"]
    rows = tuple(range(10, n))
    snapshots = Snapshots(**{**vars(moving_cloud), "rows": rows})
    source = Source("file.h5ad", "file.h5ad", adata, ())
    return result_of(snapshots, tmp_path / "run"), source


def test_everything_that_is_offered_can_be_shown(coloured: tuple[Result, Source]):
    result, source = coloured
    for key in choices(result, source).values():
        found = colouring(result, source, key, "A")
        values = getattr(found.colour, "codes", getattr(found.colour, "values", None))
        assert len(values) == len(result.index)
        assert "<b>x" not in found.legend
    assert set(choices(result, None).values()) == {TIME, GROWTH, SPEED, GENE}


def test_labels_keep_the_file_s_rows_and_colours(coloured: tuple[Result, Source]):
    result, source = coloured
    found = colouring(result, source, "obs:kind").colour
    names = [found.names[code] for code in found.codes]
    assert names == source.adata.obs["kind"].iloc[10:].tolist()
    assert dict(zip(found.names, found.colours, strict=True)) == {"y": "#123456", "<b>x</b>": "#abcdef"}


@pytest.mark.parametrize("given", [None, ["#ff0000", "#00ff00", "#ff00ff"]])
def test_labels_that_say_nothing_are_grey_and_below(coloured: tuple[Result, Source], given: list | None):
    result, source = coloured
    n = source.adata.n_obs
    source.adata.obs["fate"] = pd.Categorical(
        np.array(["Not assigned", "b", "a"])[np.arange(n) % 3], categories=["Not assigned", "b", "a"]
    )
    if given:
        source.adata.uns["fate_colors"] = given
    found = colouring(result, source, "obs:fate")
    assert found.colour.below == (0,)
    assert list(found.colour.colours) == [MISSING, *(given[1:] if given else CATEGORY_PALETTE[:2])]
    assert "Not assigned" in found.legend


def test_a_column_that_is_called_like_a_choice_is_offered_beside_it(coloured: tuple[Result, Source]):
    result, source = coloured
    own = choices(result, None)
    source.adata.obs["Speed"] = source.adata.obs["Time"] = source.adata.obs["score"]
    found = choices(result, source)
    assert own.items() <= found.items()
    assert {"obs:Speed", "obs:Time", "obs:score"} <= set(found.values())
    assert found["score"] == "obs:score"


def test_a_gene_is_logged_as_scanpy_does_it(coloured: tuple[Result, Source]):
    import scanpy as sc

    result, source = coloured
    work = source.adata.copy()
    sc.pp.normalize_total(work, target_sum=1e4)
    sc.pp.log1p(work)
    np.testing.assert_allclose(expression(result, source, "C"), np.asarray(work[10:, "C"].X).ravel(), rtol=1e-5)
    assert genes(result, source) == ["A", "B", "C", "D"]
    with pytest.raises(UserError, match="no gene 'E'"):
        expression(result, source, "E")


def asked(result: Result, folder: Path, **recipe: Any) -> Result:
    """The same, of a run that was asked for in this way."""
    run = Run.create(folder, result.snapshots, result.run.config, {"name": "test", **recipe})
    return Result(run, result.stream, result.snapshots, True)


@pytest.mark.parametrize(
    ("recipe", "unit"),
    [
        (dict(input="layer:counts"), "log(1 + counts per 10,000)"),
        (dict(input="layer:counts", preprocess=dict(normalise="no")), "as in the file"),
        (dict(input="layer:logged"), "as in the file"),
        (dict(input="X"), "as in the file"),
        (dict(input="X", preprocess=dict(normalise="yes")), "log(1 + counts per 10,000)"),
        (dict(input="obsm:X_low"), "as in the file"),
    ],
)
def test_the_unit_of_genes_is_that_of_the_matrix_that_was_trained_on(
    coloured: tuple[Result, Source], tmp_path: Path, recipe: dict, unit: str
):
    result, source = coloured
    adata = source.adata
    adata.layers["counts"], adata.layers["logged"] = adata.X, np.log1p(adata.X)
    adata.X, adata.obsm["X_low"] = np.log1p(adata.X), adata.X[:, :2]
    assert Decoded(asked(result, tmp_path / "asked", **recipe), source).unit == unit


def test_a_file_that_has_lost_the_layer_has_no_unit_of_genes(coloured: tuple[Result, Source], tmp_path: Path):
    """Its cells are the same, so it stands behind the result; the page asks for the unit where nothing may raise."""
    result, source = coloured
    assert Decoded(asked(result, tmp_path / "asked", input="layer:gone"), source).unit == "as in the file"


@pytest.mark.parametrize("fix", [FILL, NONFINITE])
@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_scores_of_a_file_that_lacks_values_are_those_of_the_file_mended(
    coloured: tuple[Result, Source], tmp_path: Path, fix: str, form: Any
):
    """By hand: with 0 in their place, or without the gene that lacks them."""
    result, source = coloured
    names = [*PROLIFERATION.genes[:20], *(f"g{i}" for i in range(60))]
    x = np.random.default_rng(2).poisson(3, (source.adata.n_obs, len(names))).astype(np.float32)
    holed, whole = x.copy(), x.copy()
    holed[::2, 3], whole[::2, 3] = np.nan, 0

    def scores(x: np.ndarray, names: list[str], **recipe: Any) -> np.ndarray:
        adata = anndata.AnnData(form(x), source.adata.obs, pd.DataFrame(index=names))
        where = tmp_path / str(len(list(tmp_path.iterdir())))
        return Decoded(asked(result, where, **recipe), replace(source, adata=adata)).scores[0].values

    assert scores(holed, names) is None
    keep = np.setdiff1d(np.arange(len(names)), [3])
    want = scores(whole, names) if fix == FILL else scores(x[:, keep], [names[i] for i in keep])
    np.testing.assert_allclose(scores(holed, names, fixes=[fix]), want, atol=1e-5)
    assert np.ptp(want) > 0.5


@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_a_gene_of_a_matrix_that_stays_in_its_file_is_the_same(
    coloured: tuple[Result, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any
):
    result, source = coloured
    whole = source.adata.copy()
    whole.X = form(np.asarray(whole.X))
    whole.write_h5ad(tmp_path / "x.h5ad")
    monkeypatch.setattr(by_parts, "ROOM", 1e9)
    monkeypatch.setattr(by_parts, "ENTRIES", 40)
    monkeypatch.setattr(by_parts, "WORTH", 40)
    left = replace(source, adata=readers.read(tmp_path / "x.h5ad"))
    assert left.adata.X.numblocks[0] > 2
    np.testing.assert_allclose(expression(result, left, "C"), expression(result, source, "C"), rtol=1e-6)
    assert by_parts.is_lazy(left.adata.X)


def test_growth_is_in_doublings_and_centred_on_zero(coloured: tuple[Result, Source]):
    result, source = coloured
    found = colouring(result, source, GROWTH).colour
    g = result.stream.growth(result.z, result.t)
    np.testing.assert_allclose(2.0**found.values, np.exp(g), rtol=1e-5)
    assert found.limits[0] == -found.limits[1]


@pytest.fixture
def unsure(moving_cloud: Snapshots, tmp_path: Path) -> Result:
    """A result with an ensemble of three, barely trained."""
    config = Config().with_settings(**TINY, ensemble=3)
    state = State.initial(moving_cloud, config)
    for _ in train(state):
        pass
    return Result(Run.create(tmp_path / "unsure", moving_cloud, config, {}), state.result(), moving_cloud, True)


def test_uncertainty_is_offered_where_it_is_known_and_explained(unsure: Result, coloured: tuple[Result, Source]):
    assert choices(unsure, None)["Uncertainty of direction"] == DIRECTION_SPREAD
    assert choices(unsure, None)["Uncertainty of growth"] == GROWTH_SPREAD
    assert "Uncertainty of growth" not in choices(*coloured)
    known = unsure.stream.uncertainty(unsure.z, unsure.t)
    direction, growth = (colouring(unsure, None, key) for key in (DIRECTION_SPREAD, GROWTH_SPREAD))
    v = [
        unsure.v,
        *(
            replace(unsure.stream, velocity_net=m.velocity_net).velocity(unsure.z, unsure.t)
            for m in unsure.stream.members
        ),
    ]
    angles = [np.arctan2(*part.T[::-1]) for part in v]
    np.testing.assert_allclose(direction.colour.values, np.degrees(circstd(angles, axis=0)), atol=0.05)
    np.testing.assert_allclose(growth.colour.values * np.log(2), known.growth, rtol=1e-5)  # in doublings, as growth is
    assert direction.colour.limits[1] <= 70
    assert growth.colour.limits[1] <= colouring(unsure, None, GROWTH).colour.limits[1]
    assert "arrows of 3 models" in direction.legend
    assert "it does not say that a fate is right" in direction.legend
    with pytest.raises(UserError, match="ensemble"):
        colouring(coloured[0], None, DIRECTION_SPREAD)


def test_uncertainties_in_the_file_are_not_offered_twice(unsure: Result, coloured: tuple[Result, Source]):
    source = coloured[1]
    source.adata.obs["cellstream_velocity_uncertainty"] = source.adata.obs["score"]
    source.adata.obs["cellstream_growth_uncertainty"] = source.adata.obs["score"]
    assert not [key for key in choices(unsure, source).values() if "uncertainty" in key]
    assert "obs:score" in choices(unsure, source).values()


# saving


def test_what_is_saved_reads_back_and_nothing_is_overwritten(coloured: tuple[Result, Source], tmp_path: Path):
    result, source = coloured
    out = target(str(tmp_path / "saved"))
    assert out == tmp_path / "saved.h5ad"
    write_result(result, source, out)
    saved = anndata.read_h5ad(out)
    np.testing.assert_allclose(saved.obsm["X_cellstream"][10:], result.z, atol=1e-6)
    assert np.isnan(saved.obsm["X_cellstream"][:10]).all()
    assert "X_cellstream" not in source.adata.obsm  # the data set in memory is shared, and stays as it was
    with pytest.raises(UserError, match="already"):
        target(str(out))
    with pytest.raises(UserError, match="folder"):
        target(str(tmp_path / "nowhere" / "x.h5ad"))


def test_an_example_that_stays_in_its_file_is_saved(coloured: tuple[Result, Source], tmp_path: Path, monkeypatch):
    """Its key is a name and no path: how much room it takes is asked of the file behind the name."""
    result, source = coloured
    asked = []

    def size_of(path: Path, adata: anndata.AnnData) -> int:
        asked.append(path)
        return path.stat().st_size

    monkeypatch.setattr(readers, "size_of", size_of)
    write_result(result, replace(source, key="branching"), tmp_path / "out.h5ad")
    assert asked == [datasets.fetch("branching")]


def test_a_file_is_as_large_as_all_that_is_in_it(coloured: tuple[Result, Source]):
    _, source = coloured
    adata = source.adata
    adata.raw = adata.copy()
    adata.layers["counts"] = csr_matrix(adata.X)
    adata.obsm["X_pca"] = np.zeros((adata.n_obs, 2), np.float32)
    sparse = adata.layers["counts"]
    parts = [adata.X, adata.raw.X, adata.obsm["X_pca"], sparse.data, sparse.indices, sparse.indptr]
    assert size_of(source) == sum(part.nbytes for part in parts)
    adata.X = None
    assert size_of(source) == sum(part.nbytes for part in parts[1:])
    assert size_of(None) == 0


def test_a_path_that_was_typed_stays_until_the_result_is_of_another_file(coloured: tuple[Result, Source]):
    result, source = coloured
    session = Session(result=result, result_source=source)
    card = Saving(session)
    assert card.path.value == "~/file-cellstream.h5ad"
    card.path.value = "/data/figure-3.h5ad"
    session.param.trigger("result")  # loaded again
    session.result = Result(result.run, result.stream, result.snapshots, True)  # a newer one of the same run
    assert card.path.value == "/data/figure-3.h5ad"
    session.result_source = replace(source, key="other.h5ad")
    assert card.path.value == "~/other-cellstream.h5ad"


@pytest.mark.parametrize(
    ("error", "told"), [(OSError("the drive is gone"), "drive is gone"), (MemoryError(), "not enough memory")]
)
def test_what_cannot_be_saved_or_downloaded_is_a_sentence(
    coloured: tuple[Result, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
):
    card = Saving(Session(result=coloured[0], result_source=coloured[1]))
    card.path.value = str(tmp_path / "out.h5ad")

    def fail(*given: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(saving, "write_result", fail)
    for ask in (card._on_save(None), card.download._async_sync_data()):
        card.message.clear()
        asyncio.run(ask)
        assert told in card.message.alert.object
        assert card.message.alert.severity == "error"
        assert not card.save.loading
        assert not card.download.loading
    assert card.download.data is None


def test_a_download_is_written_while_the_app_goes_on(
    coloured: tuple[Result, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    session = Session(result=coloured[0], result_source=coloured[1])
    card, write = Saving(session), saving.write_result
    monkeypatch.setattr(saving, "write_result", lambda *given, **more: time.sleep(2) or write(*given, **more))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))

    async def press() -> float:
        """The longest that anything else had to wait."""
        begun = time.monotonic()
        card.download._handle_click()
        longest = time.monotonic() - begun
        while not card.download.data:
            begun = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - begun)
        return longest

    assert asyncio.run(asyncio.wait_for(press(), 60)) < 1
    out = tmp_path / "out.h5ad"
    out.write_bytes(base64.b64decode(card.download.data.partition(",")[2]))
    assert "X_cellstream" in anndata.read_h5ad(out).obsm
    assert list((tmp_path / "temporary").iterdir()) == []

    async def change_meanwhile() -> None:
        transfer = asyncio.ensure_future(card.download._async_sync_data())
        await asyncio.sleep(0.5)
        session.result_source = replace(coloured[1], key="other.h5ad")
        await transfer

    asyncio.run(change_meanwhile())
    assert card.download.data  # of what was asked for, and named so
    assert card.download.filename == "file-cellstream.h5ad"


# live


def test_the_live_picture_stands_still_whatever_the_scale():
    rng = np.random.default_rng(0)
    z, v, index = rng.normal(size=(300, 2)), rng.normal(size=(300, 2)), np.repeat([0, 1, 2], 100)
    one = Camera().picture(dict(z=z, v=v, index=index, step=1))
    two = Camera().picture(dict(z=1000 * z + 5, v=1000 * v, index=index, step=2))
    np.testing.assert_allclose(one.points, two.points, atol=1e-4)
    np.testing.assert_allclose(one.field.vx, two.field.vx, atol=1e-3)
    assert 0.9 < np.abs(one.points).max() < 1.6


def test_the_live_picture_of_many_dimensions_does_not_flip():
    rng = np.random.default_rng(0)
    z, index = rng.normal(size=(300, 5)) * [5, 3, 1, 1, 1], np.zeros(300, int)
    camera = Camera()
    first = camera.picture(dict(z=z, v=z, index=index, step=1)).points
    for k in range(6):
        noisy = z + rng.normal(size=z.shape) * 0.05
        again = camera.picture(dict(z=noisy, v=noisy, index=index, step=k)).points
        assert (np.corrcoef(first.T, again.T)[[0, 1], [2, 3]] > 0.9).all()


def history() -> History:
    said = History()
    said.add(Stage("embedding", "Shaping.", 0, 2000))
    for step in range(1, 1001):
        said.add(Step(step, 2000, "embedding", {"total": float(step), "ae": 2.0 if step % 2 else float("nan")}))
    said.add(Stage("rounds", "Learning.", 1000, 2000))
    for k, loss in enumerate((3.0, 2.0, 1.0)):
        said.add(Round(k + 1, 1100 + 100 * k, loss, True, {"wfr": loss / 2}))
    return said


def test_curves_are_short_and_keep_the_mean():
    found = curves(history(), "embedding")
    steps, values = found["weighted sum"]
    assert len(steps) <= 250
    np.testing.assert_allclose(steps, values)  # the loss was the step
    assert np.mean(values) == pytest.approx(500.5)
    np.testing.assert_allclose(found["reconstruction, L_AE"][1], 2.0)
    assert curves(history(), "warm") == {}


def test_rounds_are_shown_as_they_were_judged():
    found = curves(history(), "rounds")
    np.testing.assert_allclose(found["weighted sum"], [[1100, 1200, 1300], [3, 2, 1]])
    np.testing.assert_allclose(found["action, L_WFR"][1], [1.5, 1.0, 0.5])


def test_what_a_run_took_back_is_not_drawn():
    said = history()
    said.add(Resumed(500))
    assert max(curves(said, "embedding")["weighted sum"][0]) <= 500
    assert curves(said, "rounds") == {}
    said.add(Finished(500, "", 0.0, 0.0))
    assert max(curves(said, "embedding")["weighted sum"][0]) <= 500


def test_a_picture_is_of_the_stage_that_was_worked_on_before_it():
    said = history()
    assert said.pictured == ""
    for step, stage in ((0, ""), (7, "embedding"), (1000, "embedding"), (1001, "rounds")):
        said.add(Preview(step, "preview.npz"))
        assert said.pictured == stage
    said.add(Resumed(1000))
    assert said.pictured == "embedding"


def test_match_follows_the_order_of_time():
    metrics = dict(
        match={"b": dict(w2=2.0, floor=0.5, stays=4.0), "a": dict(w2=1.0, floor=0.25, stays=3.0)},
        mass={"a": dict(predicted=1.5, observed=1.4), "b": dict(predicted=2.5, observed=2.4)},
    )
    found = match_of(metrics, ("start", "a", "b"))
    assert found.labels == ["a", "b"]
    assert found.w2.tolist() == [1.0, 2.0]
    assert found.observed.tolist() == [1.4, 2.4]
    assert match_of({}, ("a",)) is None


# small things


def test_time_runs_to_the_right_and_up_whatever_the_signs_of_the_axes():
    rng = np.random.default_rng(0)
    index = np.repeat(np.arange(4), 100)
    z = rng.normal(size=(400, 5)) * [0.3, 2, 0.3, 0.3, 0.3] + index[:, None] * np.array([-3.0, 0, 0, 0.4, 0])
    for signs in ([1, 1, 1, 1, 1], [-1, -1, 1, -1, 1]):
        turned = (z - z.mean(0)) * signs
        axes = leading_axes(turned, index)
        assert (np.corrcoef((turned @ axes).T, index)[-1, :2] >= 0).all()
        np.testing.assert_allclose(axes.T @ axes, np.eye(2), atol=1e-9)


def test_arrows_are_spread():
    points = np.random.default_rng(0).normal(size=(5000, 2))
    chosen = spread_out(points, 200)
    assert 60 < len(chosen) <= 200
    assert len(set(chosen)) == len(chosen)


def test_the_equation_greys_what_has_no_weight():
    faint = "opacity:.35"
    assert equation(preset("best")).count(faint) == 0
    assert equation(preset("paper")).count(faint) == 3  # L_Nbr, L_Btw and L_Lin are ours
    assert equation(preset("best", lambda_ot=0, lambda_mass=0)).count(faint) == 2

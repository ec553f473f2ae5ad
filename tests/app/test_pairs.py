"""Two pictures of the same cells: who is who, who is picked, what is better. Against brute force and known geometry."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from cellstream import readers, rivals, scverse
from cellstream.colours import Categories
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.runs import Run, Status
from cellstream.snapshots import Snapshots, from_anndata
from cellstream.state import State
from cellstream.worker import work
from cellstream_app import embeddings, pairing, scores, style
from cellstream_app.colouring import TIME
from cellstream_app.embeddings import Plain
from cellstream_app.pages.compare import ComparePage, found_for
from cellstream_app.parts import scorecard
from cellstream_app.parts.colourby import toggled
from cellstream_app.parts.dynamics import LOOK_BEATS, Dynamics
from cellstream_app.parts.pair import Pair
from cellstream_app.parts.picked import NO_LABEL, brief_html
from cellstream_app.parts.saving import write_result
from cellstream_app.parts.scorecard import Scorecard, measure, table_html
from cellstream_app.parts.side import Side
from cellstream_app.results import Result, load_result
from cellstream_app.scores import ALIKE, LEFT, OPEN, RIGHT, ROWS, verdict
from cellstream_app.session import Session
from cellstream_app.sources import Source

ROW = {row.key: row for row in ROWS}
rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def defaults() -> None:
    style.use_defaults()


def result_of(snapshots: Snapshots, folder: Path, **recipe) -> Result:
    """An untrained model of these cells."""
    run = Run.create(folder, snapshots, Config(), {"name": "test", **recipe})
    return Result(run, State.initial(snapshots, Config()).result(), snapshots, True)


# who is who


def test_cells_are_matched_by_their_row_in_the_file():
    left, right = rng.permutation(500)[:300], rng.permutation(500)[:200]
    where = {row: i for i, row in enumerate(right.tolist())}
    there = pairing.matched(left, right)
    assert there.tolist() == [where.get(row, -1) for row in left.tolist()]
    picked = np.arange(0, 300, 7)
    assert set(right[pairing.carried(picked, there)]) == set(left[picked]) & set(right)


def test_only_cells_of_the_same_file_are_matched(moving_cloud: Snapshots):
    named = replace(moving_cloud, fingerprint="one")
    assert embeddings.same_cells(named, embeddings.some_of(named, np.arange(0, 190, 2)))
    assert not embeddings.same_cells(named, replace(moving_cloud, fingerprint="other"))
    assert not embeddings.same_cells(moving_cloud, replace(moving_cloud, rows=tuple(range(1, 191))))


# picking


def test_picked_cells_are_counted_by_kind_and_time():
    codes, index = rng.integers(-1, 4, 300), rng.integers(0, 3, 300)
    expected = [[int(((codes == k) & (index == i)).sum()) for i in range(3)] for k in range(4)]
    assert pairing.spread(codes, index, 4, 3).tolist() == expected


@pytest.mark.parametrize(
    ("before", "wanted", "add", "after"),
    [
        (None, True, False, [3, 4]),
        ([1, 3], True, False, [3, 4]),
        ([1, 3], True, True, [1, 3, 4]),
        ([1, 3], False, True, [1]),
        ([1, 3], False, False, None),
        ([3, 4], False, True, None),
    ],
)
def test_a_name_picks_its_cells_adds_them_and_takes_them_away(before, wanted: bool, add: bool, after):
    found = toggled(None if before is None else np.array(before), np.array([3, 4]), wanted, add)
    assert (None if found is None else found.tolist()) == after


def test_in_brief_the_commonest_kinds_are_named_and_their_names_are_text():
    kinds = Categories(np.repeat([0, 1, 2, 3, 4, -1], [1, 2, 3, 4, 50, 40]), ["<b>", *"cdef"], ["#111111"] * 5)
    told = brief_html(np.arange(100), kinds)
    shown = re.findall(r"nowrap'>([^<]+)</span><span[^>]*>([^<]+)<", told)
    assert shown == [("f", "50 · 50%"), (NO_LABEL, "40 · 40%"), ("e", "4 · 4%"), ("3 others", "6 · 6%")]
    assert "&lt;b&gt;" in brief_html(np.arange(1), kinds)
    assert brief_html(np.arange(100), None) == ""


# what is better


def test_a_collapsed_embedding_is_not_called_better(moving_cloud: Snapshots):
    """One that keeps the time and nothing else has a TC of 1; beside PCA, that was bought."""
    index = moving_cloud.index.numpy()
    strips = np.column_stack([index, np.zeros(190)]) + rng.normal(size=(190, 2)) * 0.01
    cloud = replace(moving_cloud, x=moving_cloud.x + torch.randn(190, 5, generator=torch.manual_seed(0)) * 0.1)
    collapsed = scores.of_embedding(strips, cloud)
    plain = measure(Plain(embeddings.PCA, cloud, embeddings._pca(cloud)), None, "")
    assert collapsed["tc"] > 0.99 > plain["tc"]
    assert plain["trust"] == pytest.approx(plain["trust_pca"])
    found = verdict(ROW["tc"], collapsed, plain)
    assert found.side == OPEN
    assert "bought" in found.why
    assert verdict(ROW["trust"], collapsed, plain).side == RIGHT
    assert verdict(ROW["tc"], {**collapsed, "trust": plain["trust"]}, plain).side == LEFT


def test_other_labels_in_the_column_of_the_same_name_are_measured_anew(moving_cloud: Snapshots):
    index = moving_cloud.index.numpy()
    z = moving_cloud.x.numpy()[:, :2] - [0.123, 0]
    plain = Plain(embeddings.PCA, moving_cloud, z)
    one, other = np.where(index > 0, "late", "early"), np.where(z[:, 1] > 1, "up", "down")
    for labels in (one, other, one):
        near = cross_val_predict(KNeighborsClassifier(15), z, labels, cv=LeaveOneOut())
        assert measure(plain, labels.astype(object), "kind")["label"] == pytest.approx((near == labels).mean())


@pytest.mark.parametrize(
    ("key", "left", "right", "side"),
    [
        ("trust", dict(trust=0.805), dict(trust=0.80), ALIKE),
        ("mass", dict(mass=0.02), dict(mass=0.3), LEFT),
        ("match", dict(match=0.7), dict(match=1.05), ALIKE),  # both cannot be told from the data
        ("match", dict(match=2.5), dict(match=1.2, match_shift=3.0), RIGHT),
        ("match", dict(match=2.5), dict(match=1.2, match_shift=1.1), OPEN),  # a shift does as well
        ("vc", dict(vc=1.0, direction=0.5, direction_constant=0.6), dict(vc=0.8), OPEN),
        ("r2", dict(r2=0.9, r2_unseen=0.0), dict(r2=0.4, r2_unseen=1.0), OPEN),
        ("direction", dict(direction=0.9), dict(), OPEN),
    ],
)
def test_what_is_better_is_said_where_it_can_be(key: str, left: dict, right: dict, side: str):
    found = verdict(ROW[key], left, right)
    assert found.side == side
    mirrored = {LEFT: RIGHT, RIGHT: LEFT}.get(side, side)
    assert verdict(ROW[key], right, left).side == mirrored


@pytest.mark.parametrize(
    ("trust", "pca", "who"), [(0.8, 0.95, "plain PCA 0.95"), (0.9, 0.85, "the other side 0.90"), (0.75, 0.71, "")]
)
def test_who_keeps_more_neighbours_is_named_with_its_number(trust: float, pca: float, who: str):
    found = verdict(ROW["tc"], dict(tc=1.0, trust=0.74, trust_pca=pca), dict(tc=0.5, trust=trust, trust_pca=0.99))
    assert found.side == ("" if who else LEFT)
    assert f"(Trust 0.74; {who})" in found.why if who else not found.why


def test_the_numbers_of_an_evaluation_are_those_of_the_worst_time_point():
    point = dict(w2=2.0, floor=1.0, stays=8.0, shift=3.0)
    worse = dict(w2=3.0, floor=0.5, stays=4.0, shift=2.0)
    inputs = dict(w2=5.0, floor=4.0, stays=9.0, shift=7.0, autoencoder=6.0)
    found = scores.flat(
        dict(
            vc=0.9,
            match=dict(a={**point, "input": inputs}, b={**worse, "input": dict(inputs, w2=4.0)}),
            mass=dict(a=dict(predicted=1.1, observed=1.0), b=dict(predicted=1.5, observed=2.0)),
        )
    )
    expected = dict(vc=0.9, match=6.0, match_stays=8.0, match_shift=4.0, match_input=1.25, match_decoded=1.5, mass=0.25)
    assert found == pytest.approx(expected)


def test_names_are_text_in_the_table_and_different_data_have_no_winner():
    left, right, evil = dict(trust=0.9), dict(trust=0.5), "<img src=x>"
    assert evil not in table_html(left, right, (evil, "b"))
    assert "◀ left" in table_html(left, right, ("a", "b"))
    assert "◀ left" not in table_html(left, right, ("a", "b"), same=False)
    lines = list(csv.DictReader(io.StringIO(scores.as_csv(left, right, ("a", "b")))))
    trust = next(line for line in lines if line["metric"] == "Trust")
    assert (trust["a"], trust["b"], trust["better"]) == ("0.9", "0.5", "a")
    assert len(lines) == len(ROWS)


# embeddings


def test_of_many_cells_each_time_point_gives_its_share(monkeypatch: pytest.MonkeyPatch):
    index = np.repeat([0, 1, 2], [60_000, 30_000, 300])
    chosen = embeddings.drawn(index, 9_030)
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(index[chosen]).tolist() == [6_000, 3_000, embeddings.LEAST]
    assert embeddings.drawn(index, len(index)) is None


def test_dynamics_on_some_of_the_cells_are_found_again_and_lie_on_the_picture(
    moving_cloud: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path))
    monkeypatch.setattr(embeddings, "MOST", 100)
    monkeypatch.setattr(embeddings, "LEAST", 5)
    monkeypatch.setattr(embeddings, "drawn", lambda index, most=100: np.arange(0, 190, 2))
    monkeypatch.setattr(Run, "start", lambda run: None)
    monkeypatch.setitem(embeddings.MAKERS, "UMAP", lambda snapshots: snapshots.x.numpy()[:, 3:5])
    of = result_of(replace(moving_cloud, fingerprint="one"), tmp_path / "of")
    plain = embeddings.embedded(of, None, "UMAP")
    assert len(plain.index) == 95
    assert "95 of the 190 cells" in plain.share
    np.testing.assert_array_equal(plain.points, moving_cloud.x.numpy()[::2, 3:5])
    run = embeddings.start_dynamics(plain, of)
    assert embeddings.dynamics_of(plain, [run]).folder == run.folder
    assert embeddings.start_dynamics(plain, of).folder == run.folder  # it begins again, and is not made twice
    quick = rivals.create(
        tmp_path / "q", plain.snapshots, plain.method, run.recipe | {"name": "q"}, plain.z, quick=True
    )
    work(quick.folder)
    found = load_result(quick)
    np.testing.assert_allclose(found.points, plain.points, atol=1e-4)
    assert found.stream.method == "TIGON + UMAP"
    np.testing.assert_array_equal(found.rows, np.arange(0, 190, 2))


def test_dynamics_on_some_of_the_cells_are_saved_and_read_again(
    moving_cloud: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The recipe says that they are not all, and the file which."""
    rows = np.arange(1, 190, 2)
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path))
    monkeypatch.setattr(embeddings, "drawn", lambda index: rows)
    monkeypatch.setattr(Run, "start", lambda run: None)
    monkeypatch.setitem(embeddings.MAKERS, "UMAP", lambda snapshots: snapshots.x.numpy()[:, 3:5])
    days = moving_cloud.times.numpy()[moving_cloud.index.numpy()]
    adata = AnnData(moving_cloud.x.numpy(), pd.DataFrame({"day": days}, index=[f"c{i}" for i in range(190)]))
    of = result_of(from_anndata(adata, "day"), tmp_path / "of", time_key="day")
    some, every = (embeddings.embedded(of, None, key) for key in ("UMAP", embeddings.PCA))
    run, whole = embeddings.start_dynamics(some, of), embeddings.start_dynamics(every, of)
    assert (run.recipe["some_cells"], whole.recipe["some_cells"]) == (True, False)
    quick = rivals.create(tmp_path / "quick", some.snapshots, some.method, run.recipe, some.z, quick=True)
    work(quick.folder)
    result = load_result(quick)
    scverse.require_same_cells(adata, result.snapshots, quick.recipe)
    with pytest.raises(UserError, match="times of the cells"):  # of a run on all cells, none may be missing
        scverse.require_same_cells(adata, result.snapshots, whole.recipe)
    write_result(result, Source("x.h5ad", "x.h5ad", adata, ()), tmp_path / "out.h5ad")
    stream, snapshots, _ = scverse.read_result(readers.read(tmp_path / "out.h5ad"))
    np.testing.assert_array_equal(snapshots.rows, rows)
    np.testing.assert_array_equal(snapshots.x, moving_cloud.x[rows])
    z = stream.encode(snapshots.x.numpy(), snapshots.times.numpy()[snapshots.index.numpy()])
    np.testing.assert_allclose(z, result.z, atol=1e-5)


def test_dynamics_on_all_cells_of_a_result_that_has_only_some_are_on_some(
    moving_cloud: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """TIGON on PCA, asked for beside TIGON on a part: the file holds more cells than either."""
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path))
    monkeypatch.setattr(Run, "start", lambda run: None)
    some = embeddings.some_of(moving_cloud, np.arange(1, 190, 2))
    of = result_of(some, tmp_path / "of", time_key="day", some_cells=True)
    run = embeddings.start_dynamics(embeddings.embedded(of, None, embeddings.PCA), of)
    days = moving_cloud.times.numpy()[moving_cloud.index.numpy()]
    adata = AnnData(moving_cloud.x.numpy(), pd.DataFrame({"day": days}, index=[f"c{i}" for i in range(190)]))
    scverse.require_same_cells(adata, run.snapshots(), run.recipe)


def test_a_drawn_part_of_a_result_that_does_not_know_its_file_is_of_its_cells(
    moving_cloud: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of results that were made before a fingerprint was kept of the file."""
    chosen = np.arange(1, 190, 2)
    monkeypatch.setattr(embeddings, "drawn", lambda index: chosen)
    monkeypatch.setitem(embeddings.MAKERS, "UMAP", lambda snapshots: snapshots.x.numpy()[:, 3:5])
    of = result_of(moving_cloud, tmp_path / "of")
    assert not moving_cloud.fingerprint
    plain = embeddings.embedded(of, None, "UMAP")
    pair = Pair(Session(), lambda: None)
    pair.match(of, plain)
    pair.put(of, None, plain, None)
    assert pair.same
    one, two, problem = pair.colours(TIME, "")
    assert not problem
    np.testing.assert_array_equal(two.colour.codes, np.asarray(one.colour.codes)[chosen])
    pair.draw(one, two, dict.fromkeys(("streams", "growth", "particles", "moment"), False), 0.0, learned=True)
    pair.pick("left", np.array([0, 1, 5]))
    assert pair.right.picked.tolist() == [0, 2]


def test_no_flow_is_drawn_on_the_right_of_what_has_not_learned_any(moving_cloud: Snapshots, tmp_path: Path):
    left, right = (result_of(moving_cloud, tmp_path / name) for name in ("left", "right"))
    right.final = right.learned = False
    pair = Pair(Session(), lambda: None)
    pair.match(left, right)
    pair.put(left, None, right, None)
    pair.draw(*pair.colours(TIME, "")[:2], dict(streams=True, growth=True, particles=True, moment=False), 0.0, True)
    assert pair.left.stage.layers["streams"]
    assert not any(pair.right.stage.layers[name] for name in ("streams", "growth", "particles"))


def test_growth_has_one_scale_on_both_sides_or_two_bars_that_are_named(moving_cloud: Snapshots, tmp_path: Path):
    slow, quick = (result_of(moving_cloud, tmp_path / name) for name in ("slow", "quick"))
    slow.growth_limit, quick.growth_limit = 0.1, 0.7
    other = result_of(replace(moving_cloud, even=False), tmp_path / "per day")
    pair = Pair(Session(), lambda: None)
    layers = dict(streams=False, growth=True, particles=False, moment=False)
    for right, limits, named in ((quick, (0.7, 0.7), False), (other, (0.1, other.growth_limit), True)):
        pair.match(slow, right)
        pair.put(slow, None, right, None)
        pair.draw(*pair.colours(TIME, "")[:2], layers, 0.0, learned=True)
        assert (pair.left.stage.shown_limit, pair.right.stage.shown_limit) == limits
        told = pair.growth_legend()
        assert told.count("growth, doublings") == (2 if named else 1)
        assert ("left: growth" in told) == ("right: growth" in told) == named


def test_cells_picked_on_a_picture_that_is_no_longer_the_sessions_are_not_kept(moving_cloud: Snapshots, tmp_path: Path):
    """The left still shows it while what is to stand beside the new one is being made."""
    old, new = (result_of(moving_cloud, tmp_path / name) for name in ("old", "new"))
    session = Session(result=old)
    pair = Pair(session, lambda: None)
    pair.match(old, None)
    pair.put(old, None, None, None)
    pair.draw(
        *pair.colours(TIME, "")[:2], dict.fromkeys(("streams", "growth", "particles", "moment"), False), 0.0, True
    )
    pair.pick("left", np.arange(3))
    assert session.selection.tolist() == [0, 1, 2]
    session.param.update(result=new, selection=None)
    pair.pick("left", np.arange(4))
    assert session.selection is None


def test_numbers_are_kept_of_the_picture_that_was_measured(moving_cloud: Snapshots, tmp_path: Path):
    """Not of the one that the run has written since."""
    first = result_of(moving_cloud, tmp_path / "run")
    path = first.run.folder / "preview.safetensors"
    first.stream.save(path)
    earlier = load_result(first.run)
    z = np.random.default_rng(1).normal(size=earlier.z.shape).astype(np.float32)
    os.utime(path, (0, 0))
    later = load_result(first.run)
    assert later is not earlier
    later.z = z  # another picture
    old = measure(earlier, None, "")
    new = measure(later, None, "")
    assert new["trust"] == scores.of_embedding(z, moving_cloud)["trust"] != old["trust"]
    assert measure(earlier, None, "") == old


def test_numbers_of_another_pair_do_not_stand_under_one_that_cannot_be_measured(
    moving_cloud: Snapshots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    one, other = (result_of(moving_cloud, tmp_path / name) for name in ("one", "other"))
    left, right = Side(Session(), []), Side(Session(), [])
    card = Scorecard()

    def fail(*given: object) -> dict[str, float]:
        raise MemoryError

    left.shown = one
    asyncio.run(card.show(left, right, "", True))
    assert "<table" in card.table.object
    left.shown = other
    monkeypatch.setattr(scorecard, "measure", fail)
    asyncio.run(card.show(left, right, "", True))
    assert card.table.object == ""
    assert "not enough memory" in card.message.alert.object
    assert card.download.disabled


def test_two_runs_of_one_name_are_told_apart_in_the_file():
    card = Scorecard()
    card.left, card.right, card.names = {"tc": 0.9, "trust": 0.9}, {"tc": 0.5, "trust": 0.9}, ("a.h5ad", "a.h5ad")
    (line,) = [row for row in csv.DictReader(card._file()) if row["metric"] == ROW["tc"].name]
    assert (float(line["left: a.h5ad"]), float(line["right: a.h5ad"])) == (0.9, 0.5)
    assert line["better"] == "left: a.h5ad"


def test_what_cannot_stand_on_the_right_is_a_sentence(moving_cloud: Snapshots, tmp_path: Path):
    of = result_of(moving_cloud, tmp_path / "of")
    assert "no embedding 'X_umap'" in found_for("obsm:X_umap", of, None, [])[2]
    assert "no longer there" in found_for("run:gone", of, None, [])[2]
    with pytest.raises(UserError, match="choose another one"):
        embeddings.embedded(of, None, "obsm:X_umap")


@pytest.mark.parametrize("stays", [True, False])
def test_a_fit_that_ends_is_shown_beside_its_own_result_only(moving_cloud: Snapshots, tmp_path: Path, stays: bool):
    of, other = (result_of(moving_cloud, tmp_path / name) for name in ("of", "other"))
    fit = Run.create(tmp_path / "fit", moving_cloud, Config(), {"method": "TIGON + PCA"})
    (fit.folder / "model.safetensors").touch()
    shown = []

    async def finished(run: Run) -> None:
        shown.append(run)

    async def story() -> None:
        session = Session(page="compare")
        session.result = of
        dynamics = Dynamics(session, finished)
        await dynamics.show(embeddings.embedded(of, None, embeddings.PCA), of)
        fit.status = lambda: Status("running", step=1, total=10)
        dynamics.run = fit
        session.result = of if stays else other
        fit.status = lambda: Status("finished", step=10, total=10)
        session.beat = LOOK_BEATS
        while dynamics.run is not None:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    asyncio.run(story())
    assert shown == ([fit] if stays else [])


# the page


def test_picks_on_either_side_are_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Of the sample beside half of its cells: what is picked on one side is lit on the other, by row of the file."""
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path))
    monkeypatch.setattr(embeddings, "drawn", lambda index, most=0: np.arange(1, len(index), 2))
    monkeypatch.setitem(embeddings.MAKERS, "UMAP", lambda snapshots: snapshots.x.numpy()[:, :2])

    style.use_defaults()

    async def story() -> None:
        session = Session(page="compare")
        page = ComparePage(session)
        await session.restore()
        page.choosing.other.value = "UMAP"
        while getattr(page.pair.right.shown, "key", "") != "UMAP" or not page.scores.right:
            await asyncio.sleep(0.05)
        left, right = page.pair.left, page.pair.right
        x, y = left.shown.points.T
        page.pair._on_drawn("left", dict(type="rect", x0=np.median(x), x1=x.max(), y0=y.min(), y1=y.max()))
        assert session.selection.tolist() == np.flatnonzero(x >= np.median(x)).tolist()
        rows = left.shown.rows[session.selection]
        assert right.shown.rows[right.picked].tolist() == [row for row in rows if row % 2]
        assert f"{len(rows):,} of 2,736 cells picked" in page.picked.said.object
        assert f"{int((rows % 2 == 0).sum()):,} of them are not among the cells" in page.picked.said.object
        x, y = right.shown.points.T
        page.pair._on_drawn("right", dict(type="rect", x0=0, x1=x.max(), y0=y.min(), y1=y.max()))
        expected = right.shown.rows[x >= 0]
        assert left.shown.rows[session.selection].tolist() == expected.tolist()
        session.selection = np.array([0, 1, 2])
        assert right.shown.rows[right.picked].tolist() == [1]
        page.pair.clear()
        assert session.selection is None
        assert not page.picked.view.visible
        assert {"trust", "tc", "label"} <= set(page.scores.right)
        assert "vc" not in page.scores.right
        # by the legend, which both share
        page.choosing.colour.by.value = "obs:lineage"
        names, lineage = page.choosing.names["left"], session.result_source.adata.obs["lineage"].to_numpy()
        assert not page.choosing.names["right"].view.visible
        names._on_pick("monocyte", False)
        names._on_pick("neutrophil", True)
        rows = np.flatnonzero(np.isin(lineage, ["monocyte", "neutrophil"]))
        assert left.shown.rows[session.selection].tolist() == rows.tolist()
        assert right.shown.rows[right.picked].tolist() == [row for row in rows if row % 2]
        assert names.names.picked == ["monocyte", "neutrophil"]
        assert page.picked.brief.visible
        names._on_pick("monocyte", True)
        assert (lineage[left.shown.rows[session.selection]] == "neutrophil").all()
        page.pair._on_drawn("right", dict(type="rect", x0=0, x1=x.max(), y0=y.min(), y1=y.max()))
        assert names.names.picked == []
        # what stands on the right is in the address, and found there
        assert session.beside == "UMAP"
        again = Session(page="compare", beside="UMAP")
        there = ComparePage(again)
        await again.restore()
        while there.pair.right.shown is None:
            await asyncio.sleep(0.05)
        assert there.pair.right.shown.key == "UMAP"

    asyncio.run(story())

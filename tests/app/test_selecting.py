"""Selected cells: what lies in an outline, how they are lit, what is told of their kin, and what is drawn of it."""

from __future__ import annotations

import asyncio
import io
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier

from cellstream.ancestry import NONE, ancestry
from cellstream.colours import VALUE_PALETTE, Categories, Values, colour_array
from cellstream.errors import UserError
from cellstream.traces import TRACE, ribbon_columns
from cellstream_app import palette, picking, plots, style
from cellstream_app.colouring import colouring, label_colours, write_colours
from cellstream_app.components.legend import Swatches
from cellstream_app.particles import ONE, particle_choices, particle_colours
from cellstream_app.parts import selecting
from cellstream_app.parts.selecting import Selecting, shares_html
from cellstream_app.picking import inside
from cellstream_app.plots import Cells
from cellstream_app.results import Result, load_result, sample_run
from cellstream_app.session import Session
from cellstream_app.sources import Source, open_source


@pytest.fixture(autouse=True, scope="module")
def bokeh() -> None:
    style.use_defaults()


@pytest.fixture(scope="module")
def sample() -> tuple[Result, Source]:
    run = sample_run()
    return load_result(run), open_source(run.recipe["source"])


# --- outlines


@pytest.mark.parametrize("exact", [20_000, 100], ids=["few", "many"])
def test_a_lasso_holds_what_the_even_odd_rule_says(monkeypatch, exact: int):
    """A ring of two circles, drawn in one go: inside the outer and outside of the inner one."""
    monkeypatch.setattr(picking, "EXACT", exact)
    angle = np.linspace(0, 2 * np.pi, 400)
    outer, inner = (r * np.column_stack([np.cos(angle), np.sin(angle)]) for r in (2, 1))
    outline = np.concatenate([outer, inner[::-1]])
    points = np.random.default_rng(0).uniform(-3, 3, (4000, 2))
    radius = np.hypot(*points.T)
    sure = np.minimum(abs(radius - 2), abs(radius - 1)) > 0.02
    found = np.isin(np.arange(4000), inside(points, dict(type="poly", x=outline[:, 0], y=outline[:, 1])))
    np.testing.assert_array_equal(found[sure], ((radius < 2) & (radius > 1))[sure])


@pytest.mark.parametrize("exact", [20_000, 100], ids=["few", "many"])
def test_a_lasso_keeps_right_and_up_apart(monkeypatch, exact: int):
    """An L, which is another one when its axes are swapped or one of them is turned round."""
    monkeypatch.setattr(picking, "EXACT", exact)
    outline = dict(type="poly", x=[0, 4, 4, 1, 1, 0], y=[0, 0, 1, 1, 9, 9])
    points = np.random.default_rng(0).uniform([-1, -1], [5, 10], (4000, 2))
    x, y = points.T
    sure = (abs(points[:, :, None] - [0, 1, 4, 9]) > 0.02).all((1, 2))
    expected = (x > 0) & (y > 0) & (((x < 4) & (y < 1)) | ((x < 1) & (y < 9)))
    np.testing.assert_array_equal(np.isin(np.arange(4000), inside(points, outline))[sure], expected[sure])


def test_a_box_may_be_drawn_from_any_corner_and_nothing_is_in_nothing():
    points = np.array([[0, 0], [1, 1], [2, 2], [1, 5]], float)
    np.testing.assert_array_equal(inside(points, dict(type="rect", x0=2, x1=0.5, y0=0.5, y1=2)), [1, 2])
    for nothing in (dict(type="poly", x=[0, 1], y=[0, 1]), dict(type="point", x=0, y=0), {}):
        assert len(inside(points, nothing)) == 0


# --- light


@pytest.mark.parametrize("colour", ["names", "values"])
def test_lit_cells_keep_their_picture_and_the_others_are_faint(colour: str):
    points = np.array([[-1, 0], [1, 0]], np.float32)
    names = Categories(np.array([0, 1]), ["a", "b"], ["#ff0000", "#0000ff"])
    by = names if colour == "names" else Values(np.array([0.0, 1.0]))
    view, size = (-2.0, 2.0, -1.0, 1.0), (80, 40)
    whole = plots.shaded(Cells(points, by), view, size, 1)
    lit = plots.shaded(Cells(points, by, lit=np.array([True, False])), view, size, 1)
    left, right = np.s_[:, :40], np.s_[:, 40:]
    drawn = whole[left][..., 3] > 0
    np.testing.assert_allclose(lit[left][drawn][:, :3], whole[left][drawn][:, :3], atol=1)
    assert lit[left][..., 3].max() == whole[left][..., 3].max()
    assert 0 < lit[right][..., 3].max() < 0.25 * whole[right][..., 3].max()


def test_dots_that_are_lit_lie_on_top_and_are_opaque():
    lit = np.zeros(200, bool)
    lit[::7] = True
    cells = Cells(np.random.default_rng(0).normal(size=(200, 2)), Values(np.arange(200.0)), lit=lit, title="Gata1")
    dots = plots.embedding(cells).get(1)
    order = dots.dimension_values("cell").astype(int)
    np.testing.assert_array_equal(lit[order], np.sort(lit))
    np.testing.assert_allclose(dots.dimension_values("alpha"), cells.alpha * np.where(np.sort(lit), 1, plots.UNLIT))
    assert dots.dimension_values("read")[-1] == f"Gata1 {order[-1]}"


# --- kin


def test_what_is_told_of_selected_cells_is_the_truth_of_the_simulation(sample):
    """Neutrophils of the last day descend from progenitors, and only the share of a part that goes there arrives."""
    result, source = sample
    column = source.adata.obs["lineage"].to_numpy()[result.rows]
    labels = colouring(result, source, "obs:lineage").colour
    last = len(result.times) - 1
    chosen = np.flatnonzero((column == "neutrophil") & (result.index == last))
    found = ancestry(result, chosen, labels)
    assert found.selected.tolist() == [0] * last + [len(chosen)]
    first, end = (dict(zip(found.names, found.shares[i], strict=True)) for i in (0, last))
    assert first["progenitor"] > 0.99
    assert end["neutrophil"] == pytest.approx(1)
    np.testing.assert_allclose(found.shares.sum(1), 1)
    assert found.mass[last] == pytest.approx(1)
    table = found.table()
    assert table["share of neutrophil"].iloc[-1] == pytest.approx(1)
    assert pd.read_csv(io.StringIO(table.to_csv(index=False))).shape == table.shape


def test_the_colour_of_a_ribbon_is_that_of_what_the_cells_become(sample):
    """All progenitors have a fate by the last day: the one that most observed cells have where each arrives."""
    result, source = sample
    labels = colouring(result, source, "obs:lineage").colour
    chosen = np.flatnonzero(result.index == 0)
    found = ancestry(result, chosen, labels)
    ends, last = found.kin.z[-1], result.index == len(result.times) - 1
    expected = KNeighborsClassifier(15).fit(result.z[last], np.asarray(labels.codes)[last]).predict(ends)
    assert (found.fates == expected).mean() > 0.98  # votes may be equal
    assert "progenitor" not in {found.names[fate] for fate in found.fates}


def test_without_labels_there_is_one_kind_and_its_size(sample):
    result, _ = sample
    found = ancestry(result, np.flatnonzero(result.index == 0), None)
    assert found.names == (NONE,)
    np.testing.assert_allclose(found.shares, 1)
    counts = result.snapshots.counts.numpy()
    np.testing.assert_allclose(found.mass, counts / counts[0], rtol=0.12)  # the population's own size
    assert list(found.table()) == ["time point", "selected cells", "cells for each"]
    shown = shares_html(found)
    assert "231 selected" in shown
    assert "descendants each" in shown
    assert NONE not in shown
    assert "<table" not in shown


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("a fault of ours")])
def test_kin_that_cannot_be_followed_are_waited_for_no_longer(sample, monkeypatch, error: Exception):
    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr(selecting, "ancestry", fail)
    told = []
    session = Session(page="explore", result=sample[0], result_source=sample[1], selection=np.arange(5))
    panel = Selecting(session, told.append)
    panel.found = object()
    with nullcontext() if isinstance(error, MemoryError) else pytest.raises(RuntimeError):
        asyncio.run(panel._follow())
    assert not panel.busy.visible
    assert panel.found is None
    assert panel.download.disabled  # there are no numbers of these cells
    if isinstance(error, MemoryError):
        assert "not enough memory" in panel.shares.object
        assert told == [None]
    monkeypatch.undo()
    asyncio.run(panel._follow())
    assert not panel.download.disabled


def test_names_from_a_file_are_text_in_the_panel(sample):
    result, _ = sample
    bad = "<img src=x onerror=alert(1)>"
    labels = Categories(np.zeros(len(result.index), int), [bad], ["#ff0000"])
    found = ancestry(result, np.arange(20), labels)
    html = shares_html(replace(found, labels=(bad, *found.labels[1:])))
    assert "<img" not in html
    assert "&lt;img" in html


@pytest.mark.parametrize(
    ("mass", "said"), [(128.4, "128"), (1284.0, "1,284"), (9.97, "10"), (1.26, "1.3"), (0.5, "0.5")]
)
def test_how_many_kin_there_are_is_a_number_as_people_write_it(sample, mass: float, said: str):
    found = ancestry(sample[0], np.flatnonzero(sample[0].index == 0)[:5], None)
    html = shares_html(replace(found, mass=np.full(len(found.mass), mass)))
    assert html.count(f">{said} descendants each<") == len(found.labels) - 1


def test_a_ribbon_is_as_wide_as_its_mass_and_follows_its_middle():
    """Two groups, straight to the right: of constant mass, and of a mass that doubles; a third is a trace."""
    t = np.linspace(0, 1, 30)
    lanes = np.array([0.0, 0.2, 4.0, 4.2, 9.0])
    paths = np.stack([np.broadcast_to(t[:, None], (30, 5)), np.broadcast_to(lanes, (30, 5))], -1)
    mass = np.column_stack([np.ones((30, 2)), np.repeat(1 + t[:, None], 2, axis=1), np.full((30, 1), TRACE / 10)])
    columns = ribbon_columns(paths, mass, np.array([0, 0, 2, 2, 1]), ["#111111", "#222222", "#333333"], widest=3.0)
    ribbons = columns["ribbons"]
    assert ribbons["colour"] == ["#111111", "#333333"]
    most = mass.sum(1).max()
    for ys, middle, total in zip(ribbons["ys"], (0.1, 4.1), (mass[:, :2].sum(1), mass[:, 2:4].sum(1)), strict=True):
        upper, lower = ys[:30], ys[30:][::-1]
        np.testing.assert_allclose(abs(upper - lower), 3.0 * total / most, rtol=1e-4)
        np.testing.assert_allclose((upper + lower) / 2, middle, atol=1e-4)
    np.testing.assert_allclose(np.stack(columns["threads"]["ys"], 1), paths[..., 1], atol=1e-6)


# --- particles and colours


def test_particles_take_the_colours_of_what_they_start_as_or_become(sample):
    result, source = sample
    colours, labels = label_colours(source, "lineage"), source.adata.obs["lineage"].to_numpy()[result.rows]
    one = particle_colours(result, source, ONE, "#123456")
    np.testing.assert_array_equal(np.unique(one, axis=0), [[0x12, 0x34, 0x56, 255]])
    choices = particle_choices(source)
    start = particle_colours(result, source, choices["lineage at the start"], "")
    np.testing.assert_array_equal(start, colour_array([colours[name] for name in labels[result.starts]]))
    end = particle_colours(result, source, choices["lineage at the end"], "")
    kinds = colour_array([colours[name] for name in ("erythroid", "monocyte", "neutrophil")])
    assert {tuple(c) for c in end.tolist()} == {tuple(c) for c in kinds.tolist()}  # all have a fate by the last day
    gene = source.adata.var_names[3]
    by_gene = particle_colours(result, source, particle_choices(source, gene)[f"{gene} at the start"], "")
    values = colouring(result, source, "gene", gene).colour.values[result.starts]
    assert (by_gene[values == values.min()] == colour_array([VALUE_PALETTE[0]])).all()


@pytest.fixture
def painted(tmp_path, monkeypatch, sample) -> Source:
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path))
    return sample[1]


def test_a_colour_of_one_s_own_is_kept_shown_and_written_for_scanpy(painted, sample):
    before = label_colours(painted, "lineage")
    palette.paint(painted.key, "lineage", "monocyte", "#123456")
    palette.paint(painted.key, "lineage", "erythroid", "#abcdef")
    expected = before | {"monocyte": "#123456", "erythroid": "#abcdef"}
    assert label_colours(painted, "lineage") == expected
    shown = colouring(sample[0], painted, "obs:lineage").colour
    assert dict(zip(shown.names, shown.colours, strict=True)) == expected
    adata = painted.adata.copy()
    write_colours(painted, adata)
    names = adata.obs["lineage"].astype("category").cat.categories
    assert dict(zip(names, adata.uns["lineage_colors"], strict=True)) == expected
    assert label_colours(painted, "cell_type") == label_colours(replace(painted, key="other"), "cell_type")


def test_the_file_of_colours_is_read_again_only_when_it_has_changed(painted, monkeypatch):
    palette.paint(painted.key, "lineage", "monocyte", "#123456")
    first, read = palette.own_colours(painted.key), Path.read_text
    seen: list[Path] = []
    monkeypatch.setattr(Path, "read_text", lambda path, *rest: seen.append(path) or read(path, *rest))
    for _ in range(3):
        assert palette.own_colours(painted.key) == first
    assert seen == []
    first["lineage"]["monocyte"] = "#000000"  # what is handed out is the caller's own
    palette.paint(painted.key, "lineage", "erythroid", "#abcdef")
    assert palette.own_colours(painted.key) == {"lineage": {"monocyte": "#123456", "erythroid": "#abcdef"}}
    assert len(seen) == 1


@pytest.mark.parametrize("colour", ["red", "#12345", "url(javascript:1)", "#12345g"])
def test_what_is_no_colour_is_refused(painted, colour):
    with pytest.raises(UserError, match="Expected a colour like"):
        palette.paint(painted.key, "lineage", "monocyte", colour)
    assert palette.own_colours(painted.key) == {}


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"x": 3}', '{"x": {"lineage": 3}}', '{"x": {"lineage": {"a": "url(x)"}}}']
)
def test_a_broken_file_of_colours_is_none(painted, tmp_path, content):
    (tmp_path / "colours.json").write_text(content)
    assert palette.own_colours("x").get("lineage", {}) == {}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"x": {"lineage": {"a": "#12345', b"\xff", None])
def test_colours_that_cannot_be_read_are_not_written_over(painted, tmp_path, content):
    place = tmp_path / "colours.json"
    if content is None:
        place.mkdir()
    else:
        place.write_bytes(content)
    with pytest.raises(UserError, match=r"could not be kept.*move it away"):
        palette.paint(painted.key, "lineage", "monocyte", "#123456")
    assert [path.name for path in tmp_path.iterdir()] == ["colours.json"]
    assert place.is_dir() if content is None else place.read_bytes() == content


def test_the_legend_hears_only_of_names_that_it_shows():
    heard = []
    legend = Swatches(lambda *a: heard.append(("pick", *a)), lambda *a: heard.append(("paint", *a)))
    legend.items = [dict(name="a", colour="#ff0000", count=3)]
    for message in ({"pick": "a", "add": 1}, {"pick": "b"}, {"paint": "a", "colour": "#00ff00"}, "a", None, {}):
        legend._handle_msg(message)
    assert heard == [("pick", "a", True)]  # it is not editable
    legend.editable = True
    legend._handle_msg({"paint": "a", "colour": "#00ff00"})
    assert heard[1:] == [("paint", "a", "#00ff00")]

"""Pages that stand alone: what is in the file is what the scene says, it asks nothing of the outside, it is small."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.spatial import cKDTree

from cellstream import account, cli, scverse, web
from cellstream.colours import category_colours, time_colours
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.figures.of_result import Source
from cellstream.presets import preset
from cellstream.scene import Scene
from cellstream.simulate import simulate
from cellstream.snapshots import from_anndata
from cellstream.state import State
from cellstream.stream import frames
from cellstream.streamlines import streamlines
from cellstream.web.contents import MOST_MOMENTS, MOST_NUMBERS, Contents, Options, moments, nearest, some
from cellstream.web.packing import MISSING, STEPS, Pack, steps, unpacked
from cellstream.web.page import made, write_page
from tests.conftest import TINY
from tests.model.test_cli import one_sentence
from tests.pages import Read, known_data, known_scene

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<!--<script>",
    "]]>&lt;b&gt;&amp;",
    "{{arrays}}{{script}}",
    '" onload="alert(1)" x="',
    "long " * 60,
    "bell\x07\x00",
    "細胞",
    "\u2028\u2029",
    "\ud800",
]


@pytest.fixture
def scene(tiny_config):
    return known_scene(tiny_config)


@pytest.fixture
def data(scene):
    return known_data(scene)


@pytest.fixture(scope="module")
def shown() -> Scene:
    """As ``scene``, which nobody changes."""
    return known_scene(Config().with_settings(**TINY))


@pytest.fixture(scope="module")
def page(shown) -> Read:
    """A page of it with all that one can have."""
    return Read.of(made(shown, Options(title="A title", genes=("gene 2",), names=True), known_data(shown))[0])


def order_of(page: Read) -> np.ndarray:
    """Which cell of the known scene each cell of the page is, by its name."""
    names = page.told["names"]
    words = gzip.decompress(base64.b64decode(page.inside["arrays"]))[names["at"] : names["at"] + names["n"]]
    return np.array([int(name.split()[1]) for name in json.loads(words)])


# what is in it


def test_cells_lie_where_they_are_within_half_a_step(page, shown):
    read = page
    found, true = read.points(read.told["cells"]), shown.points[order_of(read)]
    step = np.array([read.told["cells"][axis]["high"] - read.told["cells"][axis]["low"] for axis in "xy"]) / STEPS
    assert sorted(order_of(read)) == list(range(len(shown.index)))
    assert (np.abs(found - true) <= 0.51 * step + 1e-6).all()
    assert (order_of(read) != np.arange(len(true))).any()  # mixed
    corners = shown.grid.points[[0, -1]]
    np.testing.assert_allclose(read.told["home"], [*corners[:, 0], *corners[:, 1]])


def test_other_components_are_another_plane(moving_cloud, tiny_config):
    config = replace(tiny_config, networks=replace(tiny_config.networks, latent_dim=3))
    scene = Scene(State.initial(moving_cloud, config).present(), moving_cloud)
    read = Read.of(made(Source(scene, None, {}), Options(axes=(0, 2)))[0])
    found = read.points(read.told["cells"])
    true, others = (cKDTree(points).query(found)[0] for points in (scene.along((0, 2)).points, scene.points))
    assert true.max() < 0.001 * np.ptp(found) < others.max()
    assert "component 1 and component 3" in json.dumps(read.told["about"])


def test_labels_and_numbers_stay_with_their_cells(page, shown):
    read = page
    obs = known_data(shown).obs.iloc[order_of(read)]
    time, kind = read.colour("Time"), read.colour("kind")
    np.testing.assert_array_equal(read.array(time["codes"]), shown.index[order_of(read)])
    assert (time["names"], time["counts"]) == (["day 0", "day 1", "day 3"], [40, 60, 90])
    assert time["colours"] == time_colours(3)
    assert [kind["names"][code] for code in read.array(kind["codes"])] == list(obs["kind"])
    assert kind["colours"] == list(category_colours(["alpha", "beta", "gamma"]).values())
    for label, true in (
        ("depth", obs["depth"].to_numpy()),
        ("gaps", obs["gaps"].to_numpy()),
        ("Growth rate", shown.g[order_of(read)]),
        ("Speed", shown.speed[order_of(read)]),
        ("gene 2", shown.snapshots.x.numpy()[order_of(read), 2]),
    ):
        found = read.array(read.colour(label)["values"])
        np.testing.assert_allclose(found, true, atol=float(np.nanmax(true) - np.nanmin(true)) / STEPS, rtol=1e-6)
    assert read.array(read.colour("gaps")["values"]).size == len(obs)
    assert read.colour("Growth rate")["limits"] == [-shown.growth_limit, shown.growth_limit]
    labels = [colour["label"] for colour in read.told["colours"]]
    assert labels == ["Time", "Growth rate", "Speed", "kind", "depth", "gaps", "gene 2"]


def test_the_column_of_time_is_not_offered_twice(scene, data):
    data.obs["since"] = scene.t
    offered = [
        {colour["label"] for colour in Contents(scene, data, Options(), key).told["colours"]} for key in ("since", "")
    ]
    assert offered[1] - offered[0] == {"since"}


def test_particles_are_where_the_flow_says_and_know_their_cells(page, shown):
    read = page
    told = read.told["particles"]
    n = told["n"]
    np.testing.assert_allclose(told["times"], shown.flow.times)
    paths = read.points(told).reshape(len(told["times"]), n, 2)
    np.testing.assert_allclose(paths, shown.paths, atol=1e-3)
    log_w = read.array(told["log_w"]).reshape(-1, n)
    np.testing.assert_allclose(log_w, shown.flow.log_w - shown.flow.log_w[0], atol=1e-3)
    cells, index = shown.z[order_of(read)], shown.index[order_of(read)]
    for name, k, i in (("starts", 0, 0), ("ends", -1, 2)):
        far = np.linalg.norm(shown.flow.z[k][:, None] - cells[None], axis=-1)
        far[:, index != i] = np.inf
        np.testing.assert_array_equal(read.array(told[name]), far.argmin(1))


def test_a_particle_that_escapes_is_held_at_the_rim_and_one_that_is_lost_stays_so(scene):
    scene.flow.z[-1, 0] = 1e9
    scene.flow.z[-1, 1] = np.nan
    scene.grid = known_scene(scene.stream.config).grid
    read = Read.of(made(scene)[0])
    last = read.points(read.told["particles"]).reshape(-1, 6, 2)[-1]
    assert np.isnan(last[1]).all()
    # and the others are as exact as before
    np.testing.assert_allclose(last[2:], scene.paths[-1, 2:], atol=1e-3)
    extent = np.ptp(scene.points, axis=0).max()
    assert (np.abs(last[0]) < 10 * extent).all()


def test_streamlines_and_growth_are_those_of_their_moment(page, shown):
    read = page
    fields = read.told["fields"]
    assert set(shown.times) <= set(fields["times"])
    assert len(fields["at"]) == len(fields["times"]) + 1
    for found, true in ((fields["at"][0], shown.course), (fields["at"][3], shown.field(fields["times"][2]))):
        lines = streamlines(true.x, true.y, true.vx, true.vy, true.weight)
        assert found["lengths"] == [len(line.xy[::2]) for line in lines]
        assert len(lines) > 0
        np.testing.assert_allclose(read.points(found), np.concatenate([line.xy[::2] for line in lines]), atol=1e-3)
        level = read.array(found["growth"]).reshape(true.growth.shape)
        known = np.isfinite(true.growth)
        assert (level[~known] == 255).all()
        growth = (level[known] / 254 * 2 - 1) * shown.growth_limit
        inside = np.clip(true.growth[known], -shown.growth_limit, shown.growth_limit)
        np.testing.assert_allclose(growth, inside, atol=shown.growth_limit / 250)
        cover = read.array(found["cover"]).reshape(true.weight.shape)[known] / 255
        np.testing.assert_allclose(cover**2, true.weight[known], atol=0.01)


def test_of_many_cells_an_even_part_is_shown_with_every_time_point(scene, data):
    read = Read.of(made(scene, Options(cells=60, names=True), data)[0])
    index = scene.index[order_of(read)]
    assert len(index) == 60
    np.testing.assert_allclose(np.bincount(index) / 60, np.array([40, 60, 90]) / 190, atol=0.12)
    assert read.told["total"] == 190
    assert read.colour("Time")["counts"] == [40, 60, 90]  # of all
    assert "60 of them, an even random part, are drawn" in dict(read.told["about"]["facts"])["Cells"]
    assert len(np.unique(scene.index[some(scene.index, 1)])) == 3


def test_the_same_result_is_the_same_file(scene, data, tmp_path):
    for name in ("a.html", "b.html"):
        write_page(scene, tmp_path / name, Options(genes=("gene 1",)), data)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("measured", [2, 3, 5, 8, 13, 25, 70])
def test_moments_are_few_and_hold_the_measured_times(measured):
    times = np.cumsum(np.arange(measured, dtype=float) + 0.5)
    found = moments(frames(times)[0], measured)
    assert np.isin(times, found).all()
    assert len(found) <= max(MOST_MOMENTS, measured)
    assert len(found) >= min(20, measured)


# packing


def test_a_scale_keeps_its_ends_and_what_is_missing():
    values = np.array([-1.0, 3.0, 1.0, np.nan, np.inf, -np.inf, 99.0])
    assert list(steps(values, -1, 3)) == [0, STEPS, STEPS // 2, MISSING, STEPS, 0, STEPS]
    assert list(steps(np.array([2.0, np.nan]), 2, 2)) == [0, MISSING]


def test_arrays_come_back_whatever_lies_before_them():
    pack, rng = Pack(), np.random.default_rng(0)
    wide = rng.integers(0, 65535, 3)
    given = [rng.integers(0, 255, 7).astype(np.uint8), wide.astype(np.uint16), np.arange(2, dtype=np.uint32)]
    where = [pack.add(array) for array in given]
    assert all(place["at"] % 4 == 0 for place in where)  # a page's arrays may not begin anywhere
    for array, place in zip(given, where, strict=True):
        np.testing.assert_array_equal(unpacked(pack.text(), place), array)


# nothing comes in, nothing goes out


def test_words_of_the_data_stay_words(scene, data):
    plain = Read.of(made(scene, Options(title="plain", names=True), data)[0])
    n = len(data)
    data.obs_names = [f"{HOSTILE[i % len(HOSTILE)]}{i}" for i in range(n)]
    data.obs["kind"] = pd.Categorical(np.array(HOSTILE, object)[np.arange(n) % len(HOSTILE)], categories=HOSTILE)
    data.obs = data.obs.rename(columns={"depth": HOSTILE[0], "gaps": HOSTILE[1]})
    data.var_names = HOSTILE[:5]
    object.__setattr__(scene.snapshots, "labels", tuple(HOSTILE[:3]))
    object.__setattr__(scene.stream.clock, "unit", HOSTILE[1])
    title = " ".join(HOSTILE)
    text, _ = made(scene, Options(title=title, names=True, genes=(HOSTILE[0], HOSTILE[3])), data)
    read = Read.of(text)
    assert [tag for tag, _ in read.tags] == [tag for tag, _ in plain.tags]
    assert read.inside["module"] == plain.inside["module"]
    assert not [name for _, given in read.tags for name in given if name.startswith("on")]
    assert "<" not in read.inside["told"]  # whatever a browser takes for the end of a script
    assert HOSTILE[0] in read.told["title"]
    read.told["title"].encode()  # a lone surrogate can be in no file
    text.encode()
    kind = read.colour("kind")
    assert kind["names"] == HOSTILE
    assert [m["label"] for m in read.told["marks"]] == HOSTILE[:3]
    assert {HOSTILE[0], HOSTILE[1], HOSTILE[3]} <= {c["label"] for c in read.told["colours"]}


def test_a_page_may_ask_nothing_of_the_outside_and_runs_no_script_but_its_own(page):
    read = page
    policy = next(given["content"] for tag, given in read.tags if given.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    digest = base64.b64encode(hashlib.sha256(read.inside["module"].encode()).digest()).decode()
    assert rules.pop("script-src") == f"'sha256-{digest}'"
    further = {"style-src": "'unsafe-inline'", "img-src": "data: blob:", "base-uri": "'none'", "form-action": "'none'"}
    assert rules == further
    links = [value for _, given in read.tags for name, value in given.items() if name in ("src", "href")]
    assert links == ["data:,"]
    assert "url(" not in read.inside["style"]
    assert "@import" not in read.inside["style"]
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|import\s*\(|eval)\b", read.inside["module"])


def test_page_and_app_draw_particles_by_the_same_lines(page):
    flow = pytest.importorskip("cellstream_app.components.flow")
    assert web.text("flow.js") in page.inside["module"]
    assert web.text("flow.js") in flow.FlowCanvas._esm


def test_names_of_cells_are_taken_along_only_if_asked_for(scene, data):
    read = Read.of(made(scene, Options(), data)[0])
    assert "names" not in read.told
    words = gzip.decompress(base64.b64decode(read.inside["arrays"]))
    assert b"cell 1" not in words
    assert "cell 17" not in json.dumps(read.told)


# size


def test_fifty_thousand_cells_take_less_than_ten_megabytes(tiny_config, tmp_path):
    scene = known_scene(tiny_config, (10_000, 17_000, 23_000), particles=500)
    data, rng, n = known_data(scene), np.random.default_rng(1), len(scene.index)
    for i in range(6):
        data.obs[f"labels {i}"] = pd.Categorical([f"type {k}" for k in rng.integers(0, 30, n)])
        data.obs[f"number {i}"] = rng.normal(size=n)
    # no two positions are alike, and noise does not deflate: the dearest case
    scene.flow.z[...] += rng.normal(size=scene.flow.z.shape).astype(np.float32)
    data.obs_names = [f"{''.join(rng.choice(list('ACGT'), 16))}-1" for _ in range(n)]
    asked = Options(names=True, genes=tuple(f"gene {i}" for i in range(5)))
    written = write_page(scene, tmp_path / "page.html", asked, data)
    assert written.cells == 50_000
    assert written.size == (tmp_path / "page.html").stat().st_size
    assert 2e6 < written.size < 10e6, f"{written.size / 1e6:.1f} MB"


def test_too_many_columns_of_numbers_are_left_out_and_told(scene, data):
    for i in range(MOST_NUMBERS):
        data.obs[f"number {i}"] = np.random.default_rng(i).normal(size=len(data))
    data.obs["empty"] = np.nan
    _, contents = made(scene, Options(), data)
    numbers = [c for c in contents.told["colours"] if c["group"] == "Numbers"]
    assert len(numbers) == MOST_NUMBERS
    assert contents.left_out[0] == f"number {MOST_NUMBERS - 2} (more than {MOST_NUMBERS} columns of numbers)"
    # what is asked for comes along
    last = f"number {MOST_NUMBERS - 1}"
    _, contents = made(scene, Options(colour=last), data)
    assert contents.told["colours"][contents.told["first"]]["label"] == last


def test_a_column_without_a_value_is_left_out_and_told(scene, data):
    data.obs["empty"] = np.nan
    data.obs["endless"] = np.where(np.arange(len(data)) % 2, np.inf, np.arange(len(data)))
    _, contents = made(scene, Options(), data)
    assert contents.left_out == ["empty (no cell has a value)"]
    endless = next(c for c in contents.told["colours"] if c["label"] == "endless")
    assert np.isfinite(endless["limits"]).all()


# bad input, and files


def test_what_is_not_there_is_told(scene, data):
    for options, said in (
        (Options(genes=("gene 9",)), "There is no gene 'gene 9' in the file: did you mean gene"),
        (Options(colour="gene:nothing like it"), "There is no gene 'nothing like it'"),
        (Options(colour="kinds"), "The page has no colour 'kinds': choose one of time, growth, speed, kind"),
    ):
        with pytest.raises(UserError, match=re.escape(said)):
            made(scene, options, data)
    with pytest.raises(UserError, match="Expected a number of cells from 1 on, but got 0"):
        Options(cells=0)


def test_a_scene_alone_makes_a_page(scene):
    read = Read.of(made(scene, Options(genes=("gene 0",), names=True))[0])
    assert [c["label"] for c in read.told["colours"]] == ["Time", "Growth rate", "Speed", "gene 0"]
    assert "names" not in read.told
    assert read.told["title"] == "Time-series single-cell data"


def test_a_writing_that_fails_leaves_nothing(scene, tmp_path, monkeypatch):
    (tmp_path / "page.html").write_text("old")

    def full(path: Path, *_: object, **__: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_page(scene, tmp_path / "page.html")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert (tmp_path / "page.html").read_text() == "old"


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A result with labels, whose networks have learned nothing yet."""
    folder = tmp_path_factory.mktemp("secret folder")
    adata = simulate("branching", n_cells=40, seed=1)
    recipe = dict(time_key="day", preset="paper", source=str(folder / "my cells.h5ad"))
    snapshots = from_anndata(adata, "day")
    state = State.initial(snapshots, preset("paper", seed=7, **TINY))
    scverse.annotate(state.present(), adata, snapshots, recipe)
    adata.write_h5ad(folder / "result.h5ad")
    return folder / "result.h5ad"


@pytest.fixture
def command(capsys):
    """``cellstream page …`` in this process; gives exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["page", *map(str, words)])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def test_the_command_writes_a_page_that_says_where_it_came_from(file, command, tmp_path):
    out = tmp_path / "page.html"
    code, said, err = command(file, "--out", out, "--genes", "Stem01", "--title", "Ours", "--colour", "lineage")
    assert (code, err) == (0, "")
    read = Read.of(out.read_text())
    source = Source.in_file(anndata.read_h5ad(file), file)
    n = len(source.snapshots.index)
    assert said == f"{out}  {n:,} cells, {out.stat().st_size / 1e6:,.1f} MB\n"
    facts = dict(read.told["about"]["facts"])
    assert (facts["Result"], facts["Random seed"]) == ("result.h5ad", "7")
    assert facts["SHA-256 of the result"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert facts["Method"] == "CellStream, preset ‘paper’"
    settings = json.loads(read.told["about"]["settings"])
    assert settings["config"]["schedule"]["rounds"] == TINY["rounds"]
    assert f"{n:,} cells" in read.told["about"]["methods"]
    assert "2511.13786" in read.told["about"]["cite"]
    assert read.told["title"] == read.inside["title"] == "Ours"
    labels = [c["label"] for c in read.told["colours"]]
    assert labels[read.told["first"]] == "lineage"
    assert "Stem01" in labels
    assert "day" not in labels  # the time, which is offered as such
    assert "secret folder" not in out.read_text()


def test_a_scene_with_an_account_tells_what_its_file_tells(file):
    """As an app calls it, which has the scene already."""
    adata = anndata.read_h5ad(file)
    source = Source.in_file(adata, file)
    alone = Read.of(made(source.scene, Options(), adata, account.of_result(adata))[0]).told["about"]
    whole = Read.of(made(source)[0]).told["about"]
    facts, all_facts = dict(alone["facts"]), dict(whole["facts"])
    assert set(all_facts) - set(facts) == {"Result", "SHA-256 of the result"}  # what only a file has
    assert facts == {name: all_facts[name] for name in facts}
    assert facts["Data"] == "my cells.h5ad"
    assert alone["methods"] == whole["methods"]
    assert "secret folder" not in json.dumps(alone)


WRONG = [
    (["--genes", "Stem1"], "did you mean Stem"),
    (["--colour", "lineages"], "The page has no colour 'lineages'"),
    (["--out", "page.pdf"], "ends in .html"),
    (["--out", "there.html"], "exists already"),
    (["--out", "nowhere/page.html"], "a folder that exists"),
    (["--cells", "0"], "a number of cells from 1 on"),
    (["--cells", "many"], "expected a whole number"),
    (["--gene", "A"], "did you mean --genes?"),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_a_mistake_is_one_sentence_and_no_file(file, tmp_path, command, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    Path("there.html").write_text("mine")
    words = words if "--out" in words else ["--out", "page.html", *words]
    code, out, err = command(file, *words)
    assert (code, out) == (2, "")
    assert said in one_sentence(err)
    assert [path.name for path in tmp_path.iterdir()] == ["there.html"]
    assert Path("there.html").read_text() == "mine"


def test_nearest_is_among_those_asked_for():
    z = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    assert list(nearest(z, np.array([0, 2]), np.array([[0.9, 0.0], [1.1, 0.0]]))) == [0, 2]

"""Figures for papers: what is in the file is what the arrays say, in the size that was asked for, and where from."""

from __future__ import annotations

import hashlib
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from pypdf import PdfReader
from scipy.ndimage import gaussian_filter

from cellstream import __version__, cli
from cellstream.ancestry import ancestry
from cellstream.colours import Categories, Values, time_colours
from cellstream.errors import UserError
from cellstream.figures import KINDS, LEGENDS, charts
from cellstream.figures.drawings import Drawn, embedding, home, lineage, time_names, time_panels
from cellstream.figures.of_result import Source, Wish
from cellstream.figures.paper import Sheet, write
from cellstream.painting import Painted, painted
from cellstream.presets import preset
from cellstream.scene import Scene
from cellstream.state import State
from tests.conftest import TINY
from tests.model.test_cli import one_sentence

BASELINES = Path(__file__).parent / "figures"
FONT = "DejaVu Sans"
"""Comes with matplotlib, so that pictures are alike everywhere."""
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "$x_1$",
    "a_b^{c",
    "<b>&amp;</b>",
    "\\frac{",
    "long " * 60,
    "tab\there",
    "bell\x07\x00",
    "細胞",
    "%s {0}",
    "\ud800",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A result with labels, made once by the commands that a user has."""
    folder = tmp_path_factory.mktemp("figures")
    small = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    words = "simulate", "branching", "--cells", "40", "--seed", "1", "--out", folder / "my cells.h5ad"
    fit = "fit", folder / "my cells.h5ad", "--time-key", "day", "--preset", "paper", "--seed", "7"
    for asked in (words, (*fit, "--out", folder / "result.h5ad", *small)):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in asked])
        assert ended.value.code == 0
    return folder / "result.h5ad"


@pytest.fixture(scope="module")
def source(file) -> Source:
    return Source.in_file(anndata.read_h5ad(file), file)


@pytest.fixture
def figure(capsys):
    """``cellstream figure …`` in this process; gives exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(["figure", *map(str, words)])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def scene(moving_cloud, tiny_config) -> Scene:
    """Three time points in a plane whose points are known."""
    made = Scene(State.initial(moving_cloud, tiny_config).present(), moving_cloud)
    rng = np.random.default_rng(3)
    made.points = rng.normal(size=(len(made.index), 2)).astype(np.float32) + 4 * made.index[:, None].astype(np.float32)
    made.vectors = made.points[:, ::-1] * [1, -1]
    return made


def by_time(scene: Scene) -> Painted:
    return painted(scene, None, "time")


def written(drawn: Drawn, sheet: Sheet, suffix: str, **provenance: object) -> bytes:
    """A figure as a file's bytes."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"figure.{suffix}"
        write(drawn.figure, path, sheet, provenance)
        return path.read_bytes()


def pixels(drawn: Drawn, sheet: Sheet) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(written(drawn, sheet, "png"))).convert("RGBA"))


def at(drawn: Drawn, place: np.ndarray, picture: np.ndarray, axes: int | None = None) -> np.ndarray:
    """The pixel at a place of the plane; the plane is the axes that nothing else is drawn on."""
    ax = next(ax for ax in drawn.figure.axes if len(ax.lines)) if axes is None else drawn.figure.axes[axes]
    x, y = ax.transData.transform(place) * picture.shape[1] / drawn.figure.bbox.width
    return picture[picture.shape[0] - 1 - int(y), int(x)]


def like(pixel: np.ndarray, colour: str, off: float = 40) -> bool:
    return bool(np.abs(pixel[:3].astype(float) - 255 * np.array(to_rgb(colour))).max() < off)


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_points_are_where_the_arrays_say(scene):
    sheet = Sheet(dpi=200, point=5, legend="none")
    drawn = embedding(scene, by_time(scene), sheet)
    picture = pixels(drawn, sheet)
    colours = time_colours(3)
    # a cell on its own, far from those that might lie over it
    apart = np.linalg.norm(scene.points[:, None] - scene.points[None], axis=-1) + 1e9 * np.eye(len(scene.points))
    alone = np.argsort(-apart.min(1))[:12]
    for i in alone:
        assert like(at(drawn, scene.points[i], picture), colours[scene.index[i]])
    assert picture[3, 3, :3].tolist() == [255, 255, 255]


def test_high_values_lie_on_top_and_unknown_ones_below(scene):
    scene.points[:] = 0.0
    scene.points[0], scene.points[1] = (-5, -5), (5, 5)
    values = np.linspace(0, 1, len(scene.points))
    values[[3, 4, 5]] = np.nan
    paint = Painted(Values(np.random.default_rng(0).permutation(values), ("#0000ff", "#ff0000")), "value")
    sheet = Sheet(dpi=150, point=8, legend="none")
    drawn = embedding(scene, paint, sheet)
    assert like(at(drawn, np.zeros(2), pixels(drawn, sheet)), "#ff0000", 60)


def test_cells_that_are_not_lit_are_faint_and_below(scene):
    scene.points[:] = (-5, -5)
    scene.points[:2], scene.points[-1] = (0, 0), (5, 5)
    lit = np.zeros(len(scene.points), bool)
    lit[0] = True
    paint = Painted(Categories(np.arange(len(lit)) % 2, ["a", "b"], ["#ff0000", "#0000ff"]), "kind")
    sheet = Sheet(dpi=150, point=8, legend="none")
    drawn = embedding(scene, paint, sheet, lit=lit)
    picture = pixels(drawn, sheet)
    assert like(at(drawn, np.zeros(2), picture), "#ff0000", 60)  # cell 1, which is blue, lies below
    lone = at(drawn, np.array([5.0, 5.0]), picture)
    assert lone[:3].min() > 190  # and one that stands alone is nearly white
    assert lone[:3].min() < 250


def test_a_view_is_what_is_seen(scene):
    sheet = Sheet(dpi=150, legend="none")
    view = (1.0, 3.0, 2.0, 3.0)
    ax = next(ax for ax in embedding(scene, by_time(scene), sheet, view=view).figure.axes if len(ax.lines))
    assert (*ax.get_xlim(), *ax.get_ylim()) == view
    box = ax.get_window_extent()
    assert box.width / box.height == pytest.approx(2)  # equal scale, and nothing of the room wasted
    x0, x1, y0, y1 = home(scene.points)
    assert (np.array([x0, y0]) < scene.points.min(0)).all()
    assert (np.array([x1, y1]) > scene.points.max(0)).all()


def test_streams_growth_and_arrows_are_in_the_picture(source):
    scene, sheet = source.scene, Sheet(dpi=100)
    asked = ("streams", None), ("growth", None), ("growth", 1.0), ("arrows", None)
    seen = [pixels(embedding(scene, by_time(scene), sheet, (layer,), t), sheet) for layer, t in asked]
    empty = pixels(
        embedding(scene, by_time(scene), replace(sheet, legend="none"), ("cells",), view=(1e6, 2e6, 0, 1e6)), sheet
    )
    marked = [int((picture[..., :3].min(-1) < 245).sum()) for picture in (*seen, empty)]
    assert min(marked[:-1]) > 1.3 * marked[-1], marked
    assert not np.array_equal(seen[1], seen[2])  # one moment is not the whole course


def test_each_time_point_has_a_panel_with_its_cells_in_colour(scene):
    sheet = Sheet(dpi=200, point=4)
    drawn = time_panels(scene, by_time(scene), sheet)
    picture = pixels(drawn, sheet)
    assert [ax.get_title() for ax in drawn.figure.axes] == ["0 d", "1 d", "3 d"]
    for i, colour in enumerate(time_colours(3)):
        last = np.flatnonzero(scene.index == i)[-1]
        assert like(at(drawn, scene.points[last], picture, i), colour, 60)


def test_ribbons_and_bars_are_those_of_the_kin(source):
    scene = source.scene
    found = ancestry(scene, np.flatnonzero(scene.index == 2)[:10], source.kinds("lineage"))
    drawn = lineage(scene, found, Sheet())
    bars = drawn.figure.axes[-1]
    heights = {}
    for patch in bars.patches:
        heights[round(patch.get_x(), 3)] = heights.get(round(patch.get_x(), 3), 0) + patch.get_height()
    np.testing.assert_allclose(list(heights.values()), 100, rtol=1e-6)
    assert len(heights) == len(scene.times)
    pd.testing.assert_frame_equal(drawn.numbers, found.table())
    alone = lineage(scene, ancestry(scene, np.array([3]), None), Sheet())
    assert [patch.get_height() for patch in alone.figure.axes[-1].patches] == pytest.approx(
        list(alone.numbers["cells for each"])
    )


def test_time_points_are_named_with_their_unit_and_few_digits():
    assert time_names(["0", "0.333333", "7"], "d") == {"0": "0 d", "0.333333": "0.33 d", "7": "7 d"}
    assert time_names(["0.001", "0.002"], "h") == {"0.001": "0.001 h", "0.002": "0.002 h"}
    assert time_names(["day 0", "day\n3"], "d") == {"day 0": "day 0", "day\n3": "day 3"}
    assert time_names(["2020.5", "2021"], "") == {"2020.5": "2020.5", "2021": "2021"}


@pytest.mark.parametrize("name", ["embedding", "layers", "times", "match"])
def test_pictures_are_as_they_were(scene, name):
    """Against small baselines, leniently: other versions of matplotlib smooth edges otherwise. A changed drawing shows;
    look at it, then take it as the new baseline."""
    sheet = Sheet(width=60, dpi=80, font=FONT, letter="a")
    table = pd.DataFrame(
        dict(w2=[0.1, 0.2], floor=[0.05, 0.1], stays=[0.5, 0.9], predicted=[1.2, 2.0], observed=[1.25, 1.9]), ["1", "3"]
    )
    drawn = {
        "embedding": lambda: embedding(scene, by_time(scene), sheet),
        "layers": lambda: embedding(
            scene,
            Painted(Values(scene.points[:, 0]), "first axis"),
            replace(sheet, legend="below"),
            ("cells", "arrows"),
        ),
        "times": lambda: time_panels(scene, by_time(scene), sheet),
        "match": lambda: charts.match(table, "d", sheet),
    }[name]()
    found = pixels(drawn, sheet)[..., :3].astype(float)
    kept = np.asarray(Image.open(BASELINES / f"{name}.png").convert("RGB")).astype(float)
    assert found.shape == kept.shape
    assert _off(found, kept) < 0.3
    # which another picture, or an empty one, would not pass
    assert _off(found[:, ::-1], kept) > 0.6
    assert _off(np.full_like(found, 255), kept) > 0.6


def _off(found: np.ndarray, kept: np.ndarray) -> float:
    """By how much of its ink a picture differs from the one that is kept, edges softened."""
    soft = [gaussian_filter(255 - picture, (1, 1, 0)) for picture in (found, kept)]
    return float(np.linalg.norm(soft[0] - soft[1]) / np.linalg.norm(soft[1]))


# --- size and type ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height", "dpi"), [(88, 60, 300), (180, 47.5, 150), (120, None, 600)])
def test_sizes_are_right_to_the_pixel_in_every_format(scene, width, height, dpi):
    sheet = Sheet(width=width, height=height, dpi=dpi)
    drawn = embedding(scene, by_time(scene), sheet)
    high = height or drawn.figure.get_figheight() * 25.4
    picture = Image.open(io.BytesIO(written(drawn, sheet, "png")))
    np.testing.assert_allclose(picture.size, np.array([width, high]) * dpi / 25.4, atol=1)
    assert picture.info["dpi"] == pytest.approx((dpi, dpi), abs=0.1)
    box = PdfReader(io.BytesIO(written(drawn, sheet, "pdf"))).pages[0].mediabox
    np.testing.assert_allclose([float(box.width), float(box.height)], np.array([width, high]) * 72 / 25.4, atol=0.02)
    root = ET.fromstring(written(drawn, sheet, "svg"))
    in_mm = [float(root.get(side).removesuffix("pt")) * 25.4 / 72 for side in ("width", "height")]
    np.testing.assert_allclose(in_mm, [width, high], atol=0.01)


@pytest.mark.parametrize("legend", LEGENDS)
@pytest.mark.parametrize("letter", ["", "b"])
def test_nothing_lies_over_the_picture_or_beyond_the_sheet(scene, legend, letter):
    sheet = Sheet(legend=legend, letter=letter, width=100)
    names = [f"cell type {i}" for i in range(12)]
    paint = Painted(Categories(np.arange(len(scene.index)) % 12, names, time_colours(12)), "type")
    for drawn in (embedding(scene, paint, sheet), time_panels(scene, paint, sheet)):
        made = drawn.figure
        made.canvas.draw()
        page = made.bbox
        planes = [ax.get_window_extent() for ax in made.axes]
        others = [text.get_window_extent() for text in made.texts if text.get_text()]
        others += [key.get_window_extent() for key in made.legends]
        assert len(others) == (legend != "none") + bool(letter)
        for box in others:
            assert page.x0 <= box.x0 < box.x1 <= page.x1
            assert page.y0 <= box.y0 < box.y1 <= page.y1
            assert not any(box.overlaps(plane) for plane in planes)


def test_type_point_ground_and_palette_are_as_asked(scene):
    sheet = Sheet(font=FONT, text=9, point=3.5, transparent=True)
    drawn = embedding(scene, by_time(scene), sheet)
    assert pixels(drawn, sheet)[3, 3].tolist()[3] == 0
    assert pixels(drawn, replace(sheet, transparent=False))[3, 3].tolist() == [255, 255, 255, 255]
    words = written(drawn, sheet, "svg").decode()
    assert re.search(r"font-size: 9px; font-family: 'DejaVu Sans', 'Arial'.*sans-serif", words)
    assert set(re.findall(r"font-size: ([\d.]+)px", words)) == {"9"}  # none is smaller than what was asked for
    ax = next(ax for ax in drawn.figure.axes if len(ax.lines))
    assert {line.get_markersize() for line in ax.lines} == {3.5}
    assert {line.get_color() for line in ax.lines} == set(time_colours(3))


# --- the files ----------------------------------------------------------------------------------------------------


def test_a_pdf_has_its_text_as_text_with_the_fonts_inside(scene):
    sheet = Sheet(font=FONT, letter="c")
    reader = PdfReader(io.BytesIO(written(embedding(scene, by_time(scene), sheet), sheet, "pdf")))
    page = reader.pages[0]
    words = page.extract_text()
    for word in ("CellStream 1", "CellStream 2", "time", "0 d", "1 d", "3 d", "c"):
        assert word in words
    fonts = [font.get_object() for font in page["/Resources"]["/Font"].values()]
    assert fonts
    for font in fonts:
        inner = font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font
        assert inner["/Subtype"] in ("/TrueType", "/CIDFontType2")
        assert "/FontFile2" in inner["/FontDescriptor"].get_object()
    assert len(list(page.images)) == 1


@pytest.mark.parametrize("layers", [("cells",), ("cells", "streams", "growth", "arrows")])
def test_an_svg_has_its_text_as_text_and_its_points_as_one_image(source, layers):
    sheet = Sheet(dpi=100, font=FONT)
    drawn = embedding(source.scene, by_time(source.scene), sheet, layers)
    root = ET.fromstring(written(drawn, sheet, "svg"))
    texts = {"".join(text.itertext()) for text in root.iter(f"{SVG}text")}
    assert {"time", "CellStream 1", *map(str, source.snapshots.labels)} <= texts
    # the other one is the scale of growth
    assert len(list(root.iter(f"{SVG}image"))) == 1 + ("growth" in layers)
    if "streams" in layers:
        assert len(list(root.iter(f"{SVG}path"))) > 20


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
@pytest.mark.parametrize("legend", ["right", "below"])
def test_a_strangers_names_break_neither_drawing_nor_file(scene, suffix, legend):
    names = [*HOSTILE, *(f"kind {i}" for i in range(30))]
    colours = time_colours(len(names))
    paint = Painted(
        Categories(np.arange(len(scene.index)) % len(names), names, colours), "a $title_ <of> " + "it " * 40
    )
    sheet = Sheet(legend=legend, font=FONT, dpi=72)
    for drawn in (
        embedding(scene, paint, sheet),
        embedding(scene, Painted(Values(scene.points[:, 0]), "$\\alpha_" + "W" * 300), sheet),
    ):
        figure = drawn.figure
        figure.canvas.draw()
        for box in (*(legend.get_window_extent() for legend in figure.legends),
                    *(text.get_window_extent() for text in figure.texts)):  # fmt: skip
            assert figure.bbox.x0 <= box.x0
            assert box.x1 <= figure.bbox.x1
        made = written(drawn, sheet, suffix, data="\ud800 <&\x00>", names=names)
        if suffix == "svg":
            ET.fromstring(made)
    words = [text.get_text() for text in embedding(scene, paint, sheet).figure.legends[0].get_texts()]
    assert {"$x_1$", "<b>&amp;</b>", "tab here", "kind 29"} <= set(words)
    assert len(words) == 40


def test_more_names_than_a_sheet_has_room_for_are_counted(scene):
    names = [f"kind {i}" for i in range(60)]
    codes = np.concatenate([np.arange(60), np.zeros(len(scene.index) - 60, int)])
    paint = Painted(Categories(codes, names, time_colours(60)), "kind")
    sheet = Sheet(height=40)
    legend = embedding(scene, paint, sheet).figure.legends[0]
    words = [text.get_text() for text in legend.get_texts()]
    assert words[0] == "kind 0"  # the commonest
    assert words[-1] == f"and {60 - len(words) + 1} more"
    assert legend.get_window_extent().height <= 40 / 25.4 * 300


def provenance_of(path: Path) -> dict:
    match path.suffix:
        case ".png":
            return json.loads(Image.open(path).text["Description"])
        case ".pdf":
            return json.loads(PdfReader(path).metadata.subject)
    root = ET.fromstring(path.read_bytes())
    return json.loads(root.findtext(".//{http://purl.org/dc/elements/1.1/}description"))


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_every_file_says_where_it_came_from(file, tmp_path, figure, suffix):
    out = tmp_path / f"a.{suffix}"
    code, said, err = figure(file, "--out", out, "--colour", "lineage", "--letter", "a", "--dpi", "100")
    assert (code, said) == (0, f"{out}\n"), err
    found = provenance_of(out)
    assert found["data"] == "my cells.h5ad"
    assert found["result"] == "result.h5ad"
    assert found["result_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found["seed"] == 7
    assert found["config"] == preset("paper", seed=7, **TINY).to_dict()
    assert found["drawn_by"] == f"CellStream {__version__}"
    assert (found["shows"]["kind"], found["shows"]["colour"], found["sheet"]["letter"]) == ("embedding", "lineage", "a")
    assert str(file.parent) not in out.read_bytes().decode("latin-1")
    # the same figure is the same file
    again = tmp_path / f"b.{suffix}"
    assert figure(file, "--out", again, "--colour", "lineage", "--letter", "a", "--dpi", "100")[0] == 0
    assert again.read_bytes() == out.read_bytes()


# --- the numbers, and the command -------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_arrays(file, source, tmp_path, figure):
    words = file, "--out", tmp_path / "f.png", "--numbers", tmp_path / "f.csv", "--dpi", "72", "--overwrite"
    scene = source.scene
    assert figure(*words, "--colour", "growth")[0] == 0
    table = pd.read_csv(tmp_path / "f.csv")
    np.testing.assert_allclose(table[["x", "y"]], scene.points, rtol=1e-6)
    np.testing.assert_allclose(table[f"doublings per {source.stream.clock.rate_unit}"], scene.g, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(table["row"], scene.rows)
    assert table["cell"].tolist() == source.adata.obs_names[scene.rows].tolist()
    assert table["time point"].tolist() == [source.snapshots.labels[i] for i in scene.index]
    assert figure(*words, "--colour", "lineage")[0] == 0
    assert pd.read_csv(tmp_path / "f.csv")["lineage"].tolist() == source.adata.obs["lineage"].iloc[scene.rows].tolist()
    gene = source.stream.genes.names[3]
    assert figure(*words, "--kind", "genes", "--genes", gene)[0] == 0
    table = pd.read_csv(tmp_path / "f.csv")
    (course,) = source.courses([gene])
    drawn = source.drawn(Wish("genes", genes=(gene,)), Sheet(dpi=72))
    assert f"map returns {course.r2:.0%}" in {text.get_text() for ax in drawn.figure.axes for text in ax.texts}
    seen = table[table["what"] == "observed"]
    np.testing.assert_allclose(seen["mean"], course.observed.mean[:, 0])
    np.testing.assert_allclose(table.loc[table["what"] == "along the flow", "mean"], course.flow.mean[:, 0])
    assert figure(*words, "--kind", "match")[0] == 0
    kept = source.metrics
    table = pd.read_csv(tmp_path / "f.csv", index_col=0)
    assert table["w2"].tolist() == pytest.approx([kept["match"][label]["w2"] for label in kept["match"]])
    assert figure(*words, "--kind", "losses")[0] == 0
    table = pd.read_csv(tmp_path / "f.csv")
    total = table[(table["loss"] == "total") & (table["stage"] == "Autoencoder start")]
    here = np.asarray(source.steps["stage"]).astype(str) == "start"
    np.testing.assert_allclose(total["value"], np.asarray(source.steps["total"])[here])


def test_a_column_called_x_is_not_the_place(scene):
    table = embedding(scene, Painted(Values(np.zeros(len(scene.index))), "x"), Sheet()).numbers
    np.testing.assert_array_equal(table["x"], scene.points[:, 0])
    assert (table["colour: x"] == 0).all()


ASKED = {
    "metrics": [],
    "embedding": ["--colour", "gene:GENE", "--layers", "cells,streams,growth,arrows", "--time", "1.5"],
    "times": ["--colour", "speed"],
    "lineage": ["--select", "lineage=progenitor", "--labels", "lineage"],
    "genes": ["--genes", "GENE"],
    "losses": [],
    "match": [],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("look", [["--legend", "right"], ["--legend", "below", "--letter", "a", "--width", "double"],
                                  ["--legend", "none", "--height", "70", "--width", "60"]])  # fmt: skip
def test_every_kind_is_drawn_by_the_command(file, source, tmp_path, figure, kind, look):
    words = [word.replace("GENE", source.stream.genes.names[0]) for word in ASKED[kind]]
    out = tmp_path / "figure.png"
    code, _, err = figure(file, "--out", out, "--kind", kind, "--dpi", "100", *words, *look)
    assert (code, err) == (0, "")
    picture = np.asarray(Image.open(out).convert("RGB"))
    dark = picture.min(-1) < 128
    assert 0.002 < dark.mean() < 0.5
    # nothing is cut off: the rim is empty
    rim = np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]])
    assert not rim.any()


def test_the_layers_numbers_lie_beside(file, source, tmp_path, figure):
    words = file, "--out", tmp_path / "f.png", "--numbers", tmp_path / "f.csv", "--dpi", "72", "--time", "1.5"
    code, out, _ = figure(*words, "--layers", "cells,streams,growth,arrows")
    assert code == 0
    assert out.split() == [
        str(tmp_path / f"f{end}") for end in (".png", ".csv", "-growth.csv", "-streams.csv", "-arrows.csv")
    ]
    there = source.scene.field(1.5)
    table = pd.read_csv(tmp_path / "f-growth.csv")
    rows, columns = np.searchsorted(there.y, table["y"] - 1e-6), np.searchsorted(there.x, table["x"] - 1e-6)
    np.testing.assert_allclose(table.iloc[:, 2], there.growth[rows, columns], rtol=1e-4, atol=1e-6)
    assert (table["cover"] > 0.01).all()
    assert len(table) == (there.weight > 0.01).sum()
    # a streamline goes where the velocity goes
    lines = pd.read_csv(tmp_path / "f-streams.csv")
    for _, line in lines.groupby("line"):
        way = np.diff(line[["x", "y"]].to_numpy(), axis=0)
        middle = line[["x", "y"]].to_numpy()[:-1] + way / 2
        i, j = (
            np.abs(axis[:, None] - at).argmin(0) for axis, at in zip((there.y, there.x), middle.T[::-1], strict=True)
        )
        flow = np.stack([there.vx[i, j], there.vy[i, j]], 1)
        cosine = (way * flow).sum(1) / (np.linalg.norm(way, axis=1) * np.linalg.norm(flow, axis=1))
        assert np.nanmean(cosine) > 0.9
    # nothing is written where one of them is there already
    (tmp_path / "f.png").unlink()
    (tmp_path / "f.csv").unlink()
    code, _, err = figure(*words, "--layers", "streams")
    assert code == 2
    assert "f-streams.csv" in one_sentence(err)
    assert not (tmp_path / "f.csv").exists()


def test_the_view_and_the_cells_are_those_that_are_asked_for(source):
    points = source.scene.points
    x, y = points.mean(0).astype(float)
    view = (x - 1, x + 1, y - 0.5, y + 0.5)
    ax = next(ax for ax in source.drawn(Wish(view=view), Sheet(dpi=72)).figure.axes if len(ax.lines))
    assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx(view)
    chosen = np.flatnonzero(source.scene.index == 1)
    lit = source.drawn(Wish(cells=chosen), Sheet(dpi=72)).figure.axes
    ax = next(ax for ax in lit if len(ax.lines))
    strong = [line.get_xydata() for line in ax.lines if line.get_alpha() > 0.5 and len(line.get_xydata())]
    assert {tuple(place) for place in np.concatenate(strong)} == {
        tuple(place) for place in points[chosen].astype(float)
    }
    kin = source.drawn(Wish(kind="lineage", cells=chosen, labels="lineage"), Sheet(dpi=72))
    assert kin.numbers["selected cells"].sum() == len(chosen)
    told = source.provenance(Wish(cells=chosen), Sheet())
    assert told["shows"]["cells"] == len(chosen)
    json.dumps(told)


def test_other_components_are_another_plane(tmp_path, moving_cloud, tiny_config):
    config = replace(tiny_config, networks=replace(tiny_config.networks, latent_dim=3))
    of_three = Source(Scene(State.initial(moving_cloud, config).present(), moving_cloud), None, {})
    one, other = (of_three.drawn(Wish(axes=axes), Sheet(dpi=72)).numbers for axes in ((0, 1), (0, 2)))
    np.testing.assert_allclose(one["x"], other["x"], atol=1e-5)
    assert np.abs(one["y"] - other["y"]).max() > 1e-3
    drawn = of_three.drawn(Wish(axes=(0, 2)), Sheet(dpi=72))
    words = PdfReader(io.BytesIO(written(drawn, Sheet(dpi=72), "pdf"))).pages[0].extract_text()
    assert "component 1" in words
    assert "component 3" in words
    assert "component 2" not in words
    z = of_three.scene.z - of_three.scene.z.mean(0)
    third = np.linalg.svd(z, full_matrices=False)[2][2]
    assert abs(np.corrcoef(z @ third, other["y"])[0, 1]) > 0.9
    with pytest.raises(UserError, match="two of the embedding's 3 components"):
        of_three.drawn(Wish(axes=(0, 3)), Sheet())
    with pytest.raises(UserError, match="file behind this result is not there"):
        of_three.drawn(Wish(colour="lineage"), Sheet())


WRONG = [
    (["--view", "1,0,0,1"], "as X0,X1,Y0,Y1"),
    (["--view", "1,2,3"], "as X0,X1,Y0,Y1"),
    (["--axes", "0,1"], "two components, as in 1,3"),
    (["--axes", "1,3"], "components, of more than two"),
    (["--colour", "direction-uncertainty"], "ensemble"),
    (["--out", "f.jpg"], "ends in .png, .pdf, .svg"),
    (["--out", "nowhere/f.png"], "in a folder that exists"),
    (["--out", "there.png"], "exists already"),
    (["--numbers", "f.txt"], "ends in .csv"),
    (["--colour", "nothing"], "no column 'nothing' in obs; there are: "),
    (["--colour", "gene:nothing"], "no gene 'nothing'"),
    (["--kind", "nothing"], "invalid choice: 'nothing'"),
    (["--layers", "cells,clouds"], "layers out of cells, streams, growth, arrows, but got 'clouds'"),
    (["--layers", ","], "but got none"),
    (["--layers", "streams", "--time", "99"], "Expected times from 0 to 7, but got 99"),
    (["--time", "1"], "--time is the moment of streams and growth"),
    (["--kind", "genes"], "at least one gene"),
    (["--kind", "genes", "--genes", "nothing,more"], "does not decode nothing, more"),
    (["--kind", "genes", "--layers", "cells"], "--layers says nothing to a figure of kind genes"),
    (["--genes", "A"], "take --kind genes"),
    (["--kind", "lineage"], "KEY=VALUE"),
    (["--kind", "lineage", "--select", "lineage"], "KEY=VALUE"),
    (["--kind", "lineage", "--select", "lineage=nothing"], "No cell has 'nothing' in 'lineage'; there are: "),
    (["--kind", "lineage", "--select", "kin=a"], "no column 'kin'"),
    (["--kind", "lineage", "--select", "lineage=progenitor", "--labels", "true_time"], "holds numbers"),
    (["--width", "wide"], "width in mm or one of single, one-and-a-half, double"),
    (["--width", "5"], "width of 20 to 1000 mm"),
    (["--width", "nan"], "width of 20 to 1000 mm"),
    (["--height", "5000"], "height of 20 to 1000 mm"),
    (["--text", "100"], "text from 3 to 40"),
    (["--point", "0"], "point from 0.05 to 40"),
    (["--dpi", "10000"], "dpi from 50 to 1200"),
    (["--width", "1000", "--height", "1000", "--dpi", "1200"], "fewer dpi"),
    (["--font", "No Such Font"], "no typeface 'No Such Font'"),
    (["--letter", "not a letter"], "Expected a panel's letter"),
    (["--legend", "left"], "invalid choice: 'left'"),
    (["--width", "20", "--text", "40"], "leave no room for the picture"),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_a_mistake_is_one_sentence_and_no_file(file, tmp_path, figure, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    Path("there.png").write_text("mine")
    words = words if "--out" in words else ["--out", "f.png", *words]
    code, out, err = figure(file, *words)
    assert (code, out) == (2, "")
    assert said in one_sentence(err)
    assert [path.name for path in tmp_path.iterdir()] == ["there.png"]
    assert Path("there.png").read_text() == "mine"


def test_what_a_file_does_not_hold_is_told(file, tmp_path, figure, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adata = anndata.read_h5ad(file)
    adata.uns["cellstream"]["losses"] = {}
    adata.uns["cellstream"]["metrics"] = "{}"
    adata.write_h5ad("less.h5ad")
    assert "does not hold the losses" in one_sentence(figure("less.h5ad", "--out", "f.png", "--kind", "losses")[2])
    assert "does not hold how well" in one_sentence(figure("less.h5ad", "--out", "f.png", "--kind", "match")[2])
    del adata.uns["cellstream"]
    adata.write_h5ad("none.h5ad")
    code, _, err = figure("none.h5ad", "--out", "f.png")
    assert code == 2
    assert "Expected a result of CellStream" in one_sentence(err)
    assert "no file" in (said := one_sentence(figure("gone.h5ad", "--out", "f.png")[2])).lower() or "gone" in said
    assert {path.name for path in tmp_path.iterdir()} == {"less.h5ad", "none.h5ad"}


def test_a_writing_that_fails_leaves_nothing(scene, tmp_path, monkeypatch):
    sheet = Sheet(dpi=72)
    drawn = embedding(scene, by_time(scene), sheet)
    (tmp_path / "f.png").write_text("old")

    def full(path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(drawn.figure, "savefig", full)
    with pytest.raises(OSError, match="No space"):
        write(drawn.figure, tmp_path / "f.png", sheet, {})
    assert [path.name for path in tmp_path.iterdir()] == ["f.png"]
    assert (tmp_path / "f.png").read_text() == "old"


def test_unknown_words_are_refused_in_the_library_too(scene, source):
    with pytest.raises(UserError, match="layers out of"):
        embedding(scene, by_time(scene), Sheet(), ("cell",))
    with pytest.raises(UserError, match="a kind of figure out of"):
        source.drawn(Wish(kind="pie"), Sheet())
    with pytest.raises(UserError, match="ends in"):
        write(embedding(scene, by_time(scene), Sheet()).figure, Path("f.tiff"), Sheet(), {})

"""The Export page: what the screen shows is what comes out, and every number of it comes from the result."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import re
import shutil
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from playwright.sync_api import Browser, expect
from pypdf import PdfReader

from cellstream import account, bundle, script, words
from cellstream.animations.film import Shot
from cellstream.animations.flow import Wish
from cellstream.animations.writing import Stopped
from cellstream.errors import UserError
from cellstream.figures.paper import Sheet
from cellstream.runs import Run
from cellstream.web.page import Written
from cellstream_app import figuring, making, ui
from cellstream_app.bundling import View
from cellstream_app.figuring import colour_word, figure_bytes, numbers_bytes, preview, source_of
from cellstream_app.making import FLOW, TRAINING, FilmWish, film_bytes
from cellstream_app.pages.export import ExportPage
from cellstream_app.palette import own_colours, paint
from cellstream_app.parts import figurebuilder, wording
from cellstream_app.parts.figurebuilder import FigureBuilder
from cellstream_app.parts.filming import Filming, frame_png
from cellstream_app.parts.handing_on import Paging
from cellstream_app.parts.saving import stem_of, write_result
from cellstream_app.parts.sheets import Sheets
from cellstream_app.results import Result, load_result, sample_run
from cellstream_app.session import Session, with_source
from cellstream_app.shown import Shown
from cellstream_app.sources import Source
from tests.app.browser import button, choose, turn_to, visit

LINEAGES = {"progenitor", "erythroid", "monocyte", "neutrophil"}


@pytest.fixture(scope="module")
def found() -> tuple[Result, Source]:
    result, source, problem = with_source(load_result(sample_run()))
    assert not problem
    return result, source


@pytest.fixture
def session(found: tuple[Result, Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path))
    result, source = found
    run = sample_run()
    run.poll()
    return Session(page="export", run=run, result=result, result_source=source, time=2.0)


async def drawn(page: ExportPage) -> None:
    """Until the picture is the last one that was asked for."""
    while not page.figure.drawing.done:
        await asyncio.sleep(0.05)


def said(figure: FigureBuilder) -> str:
    return figure.message.alert.object.replace("\\", "")


# figures


def test_a_figure_begins_with_what_explore_shows(session: Session):
    view = (-2.0, 2.0, -1.0, 1.0)
    session.shown = Shown("obs:lineage", layers=("particles", "growth"), moment=True, view=view)

    async def story() -> None:
        page = ExportPage(session)
        wish = page.figure.wish()
        assert wish.kind == "embedding"
        assert wish.colour == "obs:lineage"
        assert wish.layers == ("cells", "growth")
        assert wish.time == 2.0
        assert wish.view == view
        assert wish.cells is None
        page.figure.zoomed.value = False
        assert page.figure.wish().view is None
        session.selection = np.arange(30)
        assert page.figure.wish().cells is session.selection
        # the whole course has no moment
        session.shown = Shown("gene", "Stem05", layers=("streams",))
        wish = page.figure.wish()
        assert (wish.colour, wish.layers, wish.time, wish.view) == ("gene:Stem05", ("cells", "streams"), None, None)
        await drawn(page)

    asyncio.run(story())


def test_the_picture_follows_what_is_chosen_and_a_mistake_is_a_sentence(session: Session):
    async def story() -> None:
        page = ExportPage(session)
        figure = page.figure
        await drawn(page)
        assert "data:image/png;base64," in figure.picture.object
        before = figure.picture.object
        figure.colour.choose("growth")
        figure.sheets.column.value = "double"
        await drawn(page)
        assert figure.picture.object != before
        assert "180 ×" in figure.size.object
        figure.sheets.text.value = "large"
        await drawn(page)
        assert "Expected a number for “Text in points”, but got 'large'" in figure.message.alert.object.replace(
            "\\", ""
        )
        assert not figure.picture.visible
        assert all(download.disabled for download in figure.downloads.values())
        figure.sheets.text.value = "8,5"
        await drawn(page)
        assert figure.sheets.sheet().text == 8.5
        assert figure.picture.visible
        assert not figure.message.alert.visible
        figure.kind.value = "lineage"
        await drawn(page)
        assert "No cells are selected" in said(figure)
        session.selection = np.flatnonzero(session.result.index == 2)
        await drawn(page)
        assert figure.picture.visible
        assert "372 selected cells" in figure.size.object
        figure.kind.value = "genes"
        await drawn(page)
        names = figure.genes.value.split(", ")
        assert len(names) == 4
        assert set(names) <= set(session.result.stream.genes.names)
        figure.genes.value = "Nanog"
        await drawn(page)
        assert "does not decode Nanog" in said(figure)
        for kind in ("times", "match", "losses", "metrics"):
            figure.kind.value = kind
            await drawn(page)
            assert figure.picture.visible, (kind, figure.message.alert.object)

    asyncio.run(story())


def test_before_there_is_a_flow_cells_alone_are_drawn(session: Session):
    final = session.result
    session.result = Result(final.run, final.stream, final.snapshots, final=False, learned=False)
    session.shown = Shown(layers=("streams", "growth"), moment=True)
    session.selection = np.arange(9)

    async def story() -> None:
        page = ExportPage(session)
        await drawn(page)
        assert (page.figure.wish().layers, page.figure.wish().time) == (("cells",), None)
        assert page.figure.picture.visible
        assert "not been learned yet" in page.note.alert.object
        for kind in ("lineage", "genes", "match", "metrics"):
            page.figure.kind.value = kind
            with pytest.raises(UserError, match="not been learned yet"):
                page.figure.wish()
        for asked in (page.film.asked, page.paging.prepared):
            with pytest.raises(UserError, match="not been learned yet"):
                asked()

    asyncio.run(story())


def test_a_file_bears_the_name_of_what_was_asked_for(session: Session, monkeypatch: pytest.MonkeyPatch):
    """Whatever is chosen while it is made; and a second click meanwhile is none."""
    go, asked = threading.Event(), []

    def slowly(source: object, wish: object, *more: object, **named: object) -> bytes:
        asked.append(wish)
        assert go.wait(30)
        return b"made"

    monkeypatch.setattr(figuring, "figure_bytes", slowly)
    monkeypatch.setattr(making, "film_bytes", slowly)
    monkeypatch.setattr(making, "page_bytes", lambda *a: (slowly(*a), Written(Path("x"), 4, 2736, ())))

    async def story() -> None:
        page = ExportPage(session)
        await drawn(page)
        result, source = session.result, session.result_source
        for download, change, name in (
            (page.figure.downloads["PDF"], lambda: page.figure.kind.param.update(value="times"),
             "branching-embedding.pdf"),
            (page.film.downloads["MP4"], lambda: page.film.kind.param.update(value=TRAINING), "branching-flow.mp4"),
            (page.paging.download, lambda: session.param.update(result=None, result_source=None), "branching.html"),
        ):  # fmt: skip
            go.clear()
            asked.clear()
            transfer = asyncio.ensure_future(download._async_sync_data())
            while not asked:
                await asyncio.sleep(0.01)
            assert download.loading
            clicks = download._clicks
            download._handle_click()
            assert download._clicks == clicks
            change()
            go.set()
            await transfer
            assert not download.loading
            assert download.filename == name
            assert download.data.endswith(base64.b64encode(b"made").decode())
        session.param.update(result=result, result_source=source)
        await drawn(page)

    asyncio.run(story())


def test_a_file_that_cannot_be_made_is_a_sentence_and_no_file():
    message, broken = ui.Message(), ["once"]

    def prepare() -> Callable[[], bytes]:
        def make() -> bytes:
            if broken:
                raise KeyError(broken.pop())
            return b"made"

        return make

    async def story() -> None:
        assert await ui.made(prepare, message) is None
        assert "fault of this app" in message.alert.object
        assert await ui.made(prepare, message) == b"made"
        assert not message.alert.visible

    asyncio.run(story())
    assert stem_of(Session()) == ""


def test_a_moment_without_a_time_is_not_the_whole_course(session: Session):
    session.shown = Shown(layers=("streams",), moment=True)

    async def story() -> None:
        page = ExportPage(session)
        page.figure.time.value = None
        await drawn(page)
        assert "Type the time" in said(page.figure)
        assert not page.figure.picture.visible
        page.figure.when.value = "the whole course"
        await drawn(page)
        assert page.figure.wish().time is None
        assert page.figure.picture.visible

    asyncio.run(story())


def test_genes_that_are_typed_meanwhile_stay(session: Session, monkeypatch: pytest.MonkeyPatch):
    looked, go = threading.Event(), threading.Event()

    def slowly(found: object) -> list[str]:
        looked.set()
        assert go.wait(30)
        return ["Ery03"]

    monkeypatch.setattr(figurebuilder, "_drivers", slowly)

    async def story() -> None:
        page = ExportPage(session)
        await drawn(page)
        page.figure.kind.value = "genes"
        while not looked.is_set():
            await asyncio.sleep(0.01)
        page.figure.genes.value = "Stem05"
        go.set()
        await drawn(page)
        assert page.figure.genes.value == "Stem05"
        assert page.figure.wish().genes == ("Stem05",)

    asyncio.run(story())


def test_losses_and_provenance_are_those_of_the_result(session: Session, tmp_path: Path):
    """Also while another run is selected already, or the file of the model is another one by now."""
    folder = Path(shutil.copytree(sample_run().folder, tmp_path / "runs" / "one"))
    result = load_result(Run(folder))
    losses = source_of(result, None, losses=True).losses()
    assert len(losses) >= 2
    sha = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert source_of(result, None).origin()["result_sha256"] == sha
    (folder / "model.safetensors").write_bytes(b"another one")
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert source_of(result, None).origin()["result_sha256"] == ""

    # the selected run has said nothing, and its result is still being loaded
    other = Path(shutil.copytree(sample_run().folder, tmp_path / "runs" / "other"))
    (other / "events.jsonl").write_text("")

    async def story() -> None:
        page = ExportPage(session)
        page.figure.kind.value = "losses"
        session.run = Run(other)
        seen = page.figure._asked(lambda source, *more: source.losses())()
        assert list(seen) == list(losses)
        await drawn(page)

    asyncio.run(story())


def test_words_are_tried_again_after_a_fault(session: Session, monkeypatch: pytest.MonkeyPatch):
    real, broken = wording.texts_of, [KeyError("x")]

    def texts_of(run: Run) -> dict:
        if broken:
            raise broken.pop()
        return real(run)

    monkeypatch.setattr(wording, "texts_of", texts_of)

    async def story() -> None:
        words_of = wording.Wording(session)
        await words_of.show()
        await asyncio.sleep(0)
        assert "fault of this app" in words_of.message.alert.object
        assert not words_of.texts
        await words_of.show()
        await asyncio.sleep(0)
        assert not words_of.message.alert.visible
        assert "2,736 cells" in words_of.texts["Methods paragraph"]
        assert all(card.visible for card, *_ in words_of._made)

    asyncio.run(story())


def test_a_page_falls_back_to_time_as_a_figure_does(session: Session):
    session.result_source, session.shown = None, Shown("obs:lineage")
    page = ExportPage(session)
    assert page.figure.wish().colour == "time"
    _, told = page.paging.prepared()()
    assert told.startswith("A page of 2,736 cells")
    session.shown = Shown("gene", "")
    assert page.paging.prepared()()[0]


def test_a_typeface_that_is_offered_is_there():
    fonts = Sheets(lambda: None).font.options
    assert "DejaVu Sans" in fonts.values()
    for name in fonts.values():
        assert Sheet(font=name).font == name


def test_what_was_chosen_stays_while_only_the_time_moves(session: Session):
    async def story() -> None:
        page = ExportPage(session)
        page.figure.colour.choose("growth")
        page.figure.layers.value, page.figure.when.value = ["Cells", "Growth map"], "this moment"
        assert page.figure.wish().time == 2.0
        session.page = "explore"
        session.time = 3.5
        session.page = "export"
        wish = page.figure.wish()
        assert (wish.colour, wish.layers, wish.time) == ("growth", ("cells", "growth"), 3.5)
        session.shown = Shown("speed")
        assert page.figure.wish().colour == "speed"
        await drawn(page)

    asyncio.run(story())


def test_what_comes_out_is_what_was_chosen(found: tuple[Result, Source], session: Session):
    result, source = found
    session.shown = Shown("obs:lineage", layers=("streams", "growth"), moment=True)

    async def story() -> ExportPage:
        page = ExportPage(session)
        await drawn(page)
        return page

    page = asyncio.run(story())
    wish, sheet = page.figure.wish(), Sheet(width=120, letter="b")
    of = source_of(result, source)
    told = PdfReader(io.BytesIO(figure_bytes(of, wish, sheet, ".pdf")))
    text = told.pages[0].extract_text()
    assert set(text.split()) >= LINEAGES
    assert float(told.pages[0].mediabox.width) * 25.4 / 72 == pytest.approx(120, abs=0.1)
    kept = json.loads(told.metadata.subject)
    assert kept["shows"]["colour"] == "obs:lineage"
    assert kept["shows"]["time"] == 2.0
    assert kept["seed"] == result.stream.config.compute.seed
    assert kept["cells_fingerprint"] == result.snapshots.fingerprint
    assert "/" not in kept["data"]
    name, packed = numbers_bytes(of, wish, sheet, "blood")
    assert name == "blood-numbers.zip"
    with zipfile.ZipFile(io.BytesIO(packed)) as zipped:
        assert set(zipped.namelist()) == {"blood.csv", "blood-streams.csv", "blood-growth.csv"}
        table = pd.read_csv(zipped.open("blood.csv"))
    np.testing.assert_allclose(table[["x", "y"]], result.points, rtol=1e-5)
    assert table["lineage"].tolist() == source.adata.obs["lineage"].iloc[result.rows].astype(str).tolist()
    shown = preview(of, wish, sheet)
    assert shown.width == pytest.approx(120)
    assert shown.png.startswith(b"\x89PNG")


def test_own_colours_are_those_of_the_figure(found: tuple[Result, Source], session: Session):
    result, source = found
    paint(source.key, "lineage", "erythroid", "#123456")
    assert own_colours(source.key)["lineage"] == {"erythroid": "#123456"}
    colour = source_of(result, source).painted("obs:lineage").colour
    assert dict(zip(colour.names, colour.colours, strict=True))["erythroid"] == "#123456"


def test_a_colour_of_the_screen_is_asked_for_in_words():
    assert colour_word("time", "") == "time"
    assert colour_word("direction spread", "") == "direction-uncertainty"
    assert colour_word("gene", "SOX2") == "gene:SOX2"
    assert colour_word("obs:time", "") == "obs:time"


@pytest.mark.parametrize(
    ("field", "typed", "told"),
    [
        ("height", "nan", "Expected a number"),
        ("height", "5", "height of 20 to 1000 mm"),
        ("point", "0", "point from 0.05"),
        ("text", "x", "Expected a number"),
    ],
)
def test_a_sheet_that_cannot_be_is_a_sentence(field: str, typed: str, told: str):
    sheets = Sheets(lambda: None)
    getattr(sheets, field).value = typed
    with pytest.raises(UserError, match=told):
        sheets.sheet()


def test_without_its_file_a_result_is_still_drawn(found: tuple[Result, Source], session: Session):
    session.result_source = None

    async def story() -> None:
        page = ExportPage(session)
        await drawn(page)
        assert page.figure.picture.visible
        assert not any(key.startswith("obs:") for key in page.figure.colour.by.options.values())
        assert page.figure.wish().colour == "time"

    asyncio.run(story())


# the result, and words


def test_what_other_tools_read_is_in_the_file_on_demand(found: tuple[Result, Source], tmp_path: Path):
    result, source = found
    write_result(result, source, tmp_path / "plain.h5ad")
    plain = anndata.read_h5ad(tmp_path / "plain.h5ad")
    assert "velocity" not in plain.layers
    assert "T_fwd" not in plain.obsp
    np.testing.assert_allclose(plain.obsm["X_cellstream"], result.z, atol=1e-5)
    out, maps = tmp_path / "all.zarr", tmp_path / "maps"
    write_result(result, source, out, maps, velocity_layer=True, transitions=True)
    full = anndata.read_zarr(out)
    assert full.layers["velocity"].shape == full.shape
    np.testing.assert_allclose(np.asarray(full.obsp["T_fwd"].sum(1)).ravel(), 1, atol=1e-6)
    assert sorted(file.name for file in maps.iterdir()) == [
        "tmap_0_1.h5ad", "tmap_1_2.h5ad", "tmap_2_3.h5ad", "tmap_3_5.h5ad", "tmap_5_7.h5ad",
    ]  # fmt: skip
    first = anndata.read_h5ad(maps / "tmap_0_1.h5ad")
    assert first.shape == (231, 295)
    assert set(first.obs_names) == set(source.adata.obs_names[result.rows[result.index == 0]])


def test_the_words_are_those_of_the_library(found: tuple[Result, Source]):
    run = found[0].run
    told = account.of_run(run)
    texts = wording.texts_of(run)
    assert texts["Methods paragraph"] == words.methods_paragraph(told)
    assert texts["References (BibTeX)"] == words.bibtex(told).rstrip("\n")
    assert texts["Python script"] == script.python_script(told).rstrip("\n")
    assert "2,736 cells" in texts["Methods paragraph"]
    assert "<b>" not in wording.as_html("<b>x</b>", code=True)


def test_a_text_that_cannot_be_made_says_why_and_the_others_stay(
    found: tuple[Result, Source], monkeypatch: pytest.MonkeyPatch
):
    def refuse(told: object) -> str:
        raise UserError("There is nothing to say.")

    pieces = [wording.Piece("One", "", refuse, "one.txt"), wording.Piece("Other", "", lambda told: "said\n", "b.txt")]
    monkeypatch.setattr(wording, "PIECES", pieces)
    texts = wording.texts_of(found[0].run)
    assert str(texts["One"]) == "There is nothing to say."
    assert texts["Other"] == "said"


# films, pages, bundles


def test_a_film_is_asked_for_as_explore_shows_it_and_can_be_given_up(session: Session, found: tuple[Result, Source]):
    session.shown = Shown("obs:lineage")
    filming = Filming(session)
    filming.show(same=False)
    filming.labels.value, filming.size.value, filming.seconds.value = "lineage", "720p", "1,5"
    asked = filming.asked()
    assert (asked.kind, asked.wish.colour, asked.wish.labels, asked.wish.streams) == (
        FLOW, "obs:lineage", "lineage", True
    )  # fmt: skip
    assert (asked.shot.size, asked.shot.seconds, asked.shot.fps) == ((1280, 720), 1.5, 30)
    small = replace(asked, shot=Shot(size=(160, 120), fps=5, seconds=1.0))
    source, told = source_of(*found), []
    made = film_bytes(source, session.run, small, ".mp4", lambda done, total: told.append((done, total)))
    assert made[4:8] == b"ftyp"
    assert told == [(k, 5) for k in range(1, 6)]
    with pytest.raises(Stopped):
        film_bytes(source, session.run, small, ".mp4", None, lambda: len(told) == 5)
    filming.seconds.value = "0,1"
    filming.fps.value = "1"
    with pytest.raises(UserError, match="frames"):
        filming.asked()


def test_of_a_run_without_pictures_there_is_no_film_of_its_training(session: Session, found: tuple[Result, Source]):
    asked = FilmWish(TRAINING, Wish(), Shot(size=(160, 120), fps=5, seconds=1.0))
    with pytest.raises(UserError, match="no pictures of its training"):
        frame_png(source_of(*found), session.run, asked)


def test_a_page_and_a_bundle_are_of_what_is_shown(session: Session, tmp_path: Path):
    session.shown, session.selection = Shown("obs:lineage", layers=("growth",)), np.arange(5)
    session.genes = ["Stem05", "Ery03"]
    paging = Paging(session)
    paging.show(same=False)
    paging.title.value = "Blood <b>"
    made, said = paging.prepared()()
    text = made.decode()
    assert "Blood &lt;b&gt;" in text
    assert "Blood <b>" not in text
    assert "Stem05" in text
    assert said.startswith("A page of 2,736 cells")
    page = ExportPage(session)
    bundling = page.bundling
    bundling.show(same=False)
    assert bundling.path.value == "~/branching.cellstream.zip"
    bundling.data.value = True
    made, said = bundling.prepared()()
    (tmp_path / "b.cellstream.zip").write_bytes(made)
    opened = bundle.unpack(tmp_path / "b.cellstream.zip", tmp_path / "runs")
    kept = opened.run.result().weights()
    for name, value in session.result.stream.weights().items():
        assert torch.equal(kept[name], value)
    view = View.from_dict(opened.manifest.view)
    assert view.shown == session.shown
    assert view.selection == tuple(range(5))
    assert view.time == 2.0
    with zipfile.ZipFile(tmp_path / "b.cellstream.zip") as zipped:
        (figure,) = (name for name in zipped.namelist() if name.endswith(".pdf"))
        assert set(PdfReader(io.BytesIO(zipped.read(figure))).pages[0].extract_text().split()) >= LINEAGES
    # the page speaks of colours as figures do, and has those that the user gave
    paint(session.result_source.key, "lineage", "erythroid", "#123456")
    paging.genes.value = ""
    session.shown = Shown("direction spread")
    assert "#123456" in paging.prepared()()[0].decode()
    # a figure that cannot be drawn keeps nobody from the bundle
    session.selection, page.figure.kind.value, bundling.data.value = None, "lineage", False
    made, said = bundling.prepared()()
    assert "Without the figure: no cells are selected" in said
    assert zipfile.is_zipfile(io.BytesIO(made))
    paging.genes.value = ", ".join(f"g{i}" for i in range(60))
    with pytest.raises(UserError, match="at most 40 genes"):
        paging.prepared()


# in a browser


@pytest.mark.browser
@pytest.mark.slow
def test_from_the_screen_to_files_and_words(browser: Browser, address: str, place: Path):
    with visit(browser, address, permissions=["clipboard-read", "clipboard-write"]) as page:
        expect(button(page, "Pause")).to_be_visible()
        choose(page, "Colour cells by", "lineage")
        expect(page.get_by_text("erythroid", exact=True)).to_be_visible()
        button(page, "Pause").click()
        stage = page.locator(".bk-Figure:visible").first.bounding_box()
        page.mouse.move(stage["x"] + stage["width"] * 0.7, stage["y"] + stage["height"] * 0.5)
        for _ in range(4):
            page.mouse.wheel(0, -240)
        page.wait_for_timeout(1500)
        turn_to(page, "Export")
        expect(page.get_by_alt_text("the figure")).to_be_visible()
        expect(page.get_by_role("switch", name="Zoomed as on Explore")).to_be_checked()
        with page.expect_download() as download:
            button(page, "PDF").click()
        assert download.value.suggested_filename.endswith("-embedding.pdf")
        told = PdfReader(download.value.path())
        assert set(told.pages[0].extract_text().split()) >= LINEAGES
        view = json.loads(told.metadata.subject)["shows"]["view"]
        result = load_result(sample_run())
        (x0, y0), (x1, y1) = result.points.min(0), result.points.max(0)
        assert view[1] - view[0] < x1 - x0  # what is seen is less than all
        assert x0 < (view[0] + view[1]) / 2 < x1
        assert y0 < (view[2] + view[3]) / 2 < y1
        with page.expect_download() as download:
            button(page, "Numbers behind it").click()
        assert set(zipfile.ZipFile(download.value.path()).namelist()) == {
            "branching-embedding.csv", "branching-embedding-streams.csv"
        }  # fmt: skip
        button(page, "Animation").click()
        expect(page.get_by_alt_text("a frame of the film")).to_be_visible()
        choose(page, "Size", "720p")
        page.get_by_label("Seconds").fill("1")
        page.get_by_label("Seconds").press("Enter")
        page.wait_for_timeout(1000)
        with page.expect_download() as download:
            button(page, "MP4").click()
        assert download.value.suggested_filename == "branching-flow.mp4"
        assert Path(download.value.path()).read_bytes()[4:8] == b"ftyp"
        expect(page.get_by_text(re.compile(r"^branching-flow\.mp4, .* downloads"))).to_be_visible()
        button(page, "Page and bundle").click()
        with page.expect_download() as download:
            button(page, "Download page").click()
        assert download.value.suggested_filename == "branching.html"
        assert b"<html" in Path(download.value.path()).read_bytes()[:200]
        with page.expect_download() as download:
            button(page, "Download bundle").click()
        assert download.value.suggested_filename == "branching.cellstream.zip"
        assert zipfile.is_zipfile(download.value.path())
        kept = place / "kept.cellstream.zip"
        page.get_by_label("Path of the bundle").fill(str(kept))
        page.get_by_label("Path of the bundle").press("Enter")
        button(page, "Save").click()
        expect(page.get_by_text(f"Saved to {kept}")).to_be_visible()
        assert bundle.look(kept).view["explore"]["colour"] == "obs:lineage"
        button(page, "Methods and code").click()
        expect(page.get_by_text("Time-series single-cell data")).to_be_visible()
        button(page, "Copy").first.click()
        page.wait_for_timeout(500)
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == words.methods_paragraph(account.of_run(sample_run()))
        with page.expect_download() as download:
            button(page, "references.bib").click()
        assert Path(download.value.path()).read_text() == words.bibtex(account.of_run(sample_run())).rstrip("\n")
        with page.expect_download() as download:
            button(page, "run.py").click()
        compile(Path(download.value.path()).read_text(), "run.py", "exec")
        button(page, "Data").click()
        out = place / "saved.h5ad"
        page.get_by_role("switch", name=re.compile("^Transition matrix")).click()
        where = page.get_by_label("Path on this computer", exact=True)
        where.fill(str(out))
        where.press("Enter")
        button(page, "Save").click()
        expect(page.get_by_text(f"Saved to {out}")).to_be_visible()
    assert "T_fwd" in anndata.read_h5ad(out).obsp

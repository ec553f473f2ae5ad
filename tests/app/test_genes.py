"""The Genes page as a visitor meets it, on the bundled result; and with cells that were selected on Explore."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import panel as pn
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from cellstream_app import style
from cellstream_app.decoded import decoded
from cellstream_app.pages.genes import GenesPage
from cellstream_app.parts.courses import Courses
from cellstream_app.parts.drivers import at_an_end
from cellstream_app.parts.genepicker import GenePicker
from cellstream_app.results import Result, load_result, sample_run
from cellstream_app.session import Session
from cellstream_app.sources import open_source
from tests.app.browser import (
    PATIENCE,
    ROOT,
    complaints,
    picture,
    served,
    wait_for,
    watched,
    whole_app,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app, as a user would serve it, with the bundled result."""
    place = tmp_path_factory.mktemp("genes")
    homes = dict(CELLSTREAM_HOME=str(place / "home"), CELLSTREAM_DATA_DIR=str(ROOT / "sample_data"))
    with whole_app(place / "server.txt", **homes) as address:
        yield address
    log = (place / "server.txt").read_bytes()
    assert not (said := complaints(log)), said


@pytest.fixture
def sample(monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setenv("CELLSTREAM_DATA_DIR", str(ROOT / "sample_data"))
    return load_result(sample_run())


def cell(page: Page, row: int, column: str) -> Locator:
    return page.locator(f".tabulator-row >> nth={row} >> [tabulator-field='{column}']")


def card(page: Page, title: str) -> Locator:
    return page.locator(".MuiPaper-root", has=page.get_by_text(title, exact=True))


def alone(session: Session) -> pn.viewable.Viewable:
    """The page without the rest of the app; shown, as there, once the browser is there: Panel drops what changes while
    a page is being drawn."""
    pn.extension("tabulator")
    style.use_defaults()
    session.page = "explore"
    page = GenesPage(session)
    pn.state.onload(lambda: session.param.update(page="genes"))
    return page.__panel__()


def add(page: Page, typed: str) -> None:
    search = page.get_by_role("combobox", name="Add a gene")
    expect(search).to_have_value("")  # the last one was taken
    search.fill(typed)
    search.press("Enter")


@pytest.mark.slow
def test_a_gene_is_searched_followed_ranked_filtered_and_taken_away(browser: Browser, address: str, tmp_path: Path):
    with watched(browser, (1280, 800)) as (page, wrong):
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}?page=genes")
        # before anything is asked, the strongest drivers are shown and listed
        expect(page.get_by_text(re.compile(r"map returns \d+%$")).first).to_be_visible()
        expect(page.get_by_text("carried along the learned flow")).to_be_visible()
        strongest = cell(page, 0, "gene").inner_text()
        expect(page.get_by_role("button", name=strongest, exact=True)).to_be_visible()
        page.get_by_role("combobox", name="Add a gene").click()
        expect(page.get_by_role("option", name=strongest, exact=True)).to_be_visible()
        # by part of a name in letters of the other case, from the list
        page.get_by_role("combobox", name="Add a gene").press_sequentially("RY0")
        page.get_by_role("option", name="Ery03", exact=True).click()
        expect(page.get_by_text("Ery03 on the map")).to_be_visible()
        expect(page.get_by_role("button", name="Ery03", exact=True)).to_be_visible()
        expect(page.get_by_text(re.compile(r"Ery03 map returns \d+%"))).to_be_visible()
        add(page, "stem05")
        expect(page.get_by_text("Stem05 on the map")).to_be_visible()
        add(page, "nothing of the kind")
        expect(page.get_by_role("alert").filter(has_text="There is no gene 'nothing of the kind'")).to_be_visible()
        # up to eight, and however many there are, no card lies on another
        add(page, "Stem06")
        add(page, "Ery05")
        expect(page.get_by_text(re.compile("Ery05 map returns"))).to_be_visible()
        courses, drivers = card(page, "Course along the flow"), card(page, "Genes that the flow changes most")
        assert drivers.bounding_box()["y"] >= courses.bounding_box()["y"] + courses.bounding_box()["height"]
        add(page, "Ery06")
        expect(page.get_by_role("alert").filter(has_text="take one away first")).to_be_visible()
        # the ranking begins between the time points, at a time that can be read
        expect(page.get_by_text("Time [d]: 3.5", exact=True)).to_be_visible()
        expect(page.get_by_role("alert").filter(has_text="This is the")).to_be_hidden()
        # ranked at another time: other changes
        change = cell(page, 0, "score").inner_text()
        page.get_by_role("slider").first.focus()
        page.keyboard.press("End")
        expect(page.get_by_text("as they are at 7 d")).to_be_visible()
        expect(page.get_by_role("alert").filter(has_text="This is the last time point")).to_be_visible()
        wait_for(lambda: cell(page, 0, "score").inner_text() != change, PATIENCE / 1000)
        page.get_by_role("button", name="Up", exact=True).click()
        wait_for(lambda: cell(page, 0, "score").inner_text().startswith("+"), PATIENCE / 1000)
        page.get_by_label("Filter by name").press_sequentially("wav")
        wait_for(lambda: cell(page, 0, "gene").inner_text().startswith("Wave"), PATIENCE / 1000)
        expect(page.get_by_text(re.compile(r"^\d+ of 300 genes that can be decoded"))).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download csv").click()
        download.value.save_as(tmp_path / "genes.csv")
        # what a score would need, where the genes have no symbols
        expect(page.get_by_text("No score: 0 of its 97 genes are in the file.")).to_be_visible()
        # a gene of the table, in the place of one that is taken away
        page.get_by_role("button", name="Remove Stem05").click()
        clicked = cell(page, 1, "gene").inner_text()
        cell(page, 1, "gene").click()
        expect(page.get_by_text(f"{clicked} on the map")).to_be_visible()
        # the other theme
        page.locator("header").get_by_role("button", name="Toggle theme").click()
        wait_for(lambda: picture(page).mean() < 90, PATIENCE / 1000)
        expect(page.get_by_text(re.compile(rf"{clicked} map returns"))).to_be_visible()
        page.wait_for_timeout(1500)
        assert wrong == []
    assert download.value.suggested_filename == "branching-genes-at-7.csv"
    table = pd.read_csv(tmp_path / "genes.csv", index_col=0)
    assert len(table) == 300
    assert set(table["time"]) == {7.0}
    assert clicked in table.index


def test_selected_cells_are_followed_until_the_selection_is_cleared(browser: Browser, sample: Result):
    source = open_source("branching")
    chosen = np.flatnonzero(sample.index == 3)[:50]
    session = Session(page="genes", result=sample, result_source=source, selection=chosen)

    with served(lambda: alone(session)) as address, watched(browser, (1280, 900)) as (page, wrong):
        page.goto(address)
        expect(page.get_by_text("50 cells selected on Explore.")).to_be_visible()
        expect(page.get_by_text("Line: the 50 selected cells, carried along")).to_be_visible()
        expect(page.get_by_text("that lie nearest to where the flow has carried them")).to_be_visible()
        expect(cell(page, 0, "gene")).to_be_visible()
        page.get_by_role("button", name="Clear the selection").click()
        expect(page.get_by_text("All 231 cells of the first time point (day 0)")).to_be_visible()
        expect(page.get_by_text("of all cells observed at each time point")).to_be_visible()
        assert session.selection is None
        assert wrong == []


def test_a_result_of_an_embedding_shows_what_was_measured_and_says_what_to_do(browser: Browser, sample: Result):
    stream = replace(sample.stream, genes=None)
    bare = Result(sample.run, stream, sample.snapshots, final=True)
    session = Session(page="genes", result=bare, result_source=open_source("branching"))

    with served(lambda: alone(session)) as address, watched(browser, (1280, 900)) as (page, wrong):
        page.goto(address)
        expect(page.get_by_text("from which no way leads back to genes")).to_be_visible()
        expect(page.get_by_text("Stem01 on the map")).to_be_visible()
        expect(page.get_by_text("Dots: mean and standard deviation of all cells observed")).to_be_visible()
        expect(page.get_by_text("Genes that the flow changes most")).to_be_hidden()
        assert wrong == []


def test_the_ends_of_time_are_marked_in_words():
    assert "first time point" in at_an_end(0.01, 0.0, 7.0)
    assert "last time point" in at_an_end(7.0, 0.0, 7.0)
    assert at_an_end(3.5, 0.0, 7.0) == ""


def test_a_course_that_has_not_changed_is_not_drawn_again(sample: Result):
    genes = decoded(sample, open_source("branching"))
    shown = Courses()

    def show(*names: str) -> list[pn.viewable.Viewable]:
        shown.show(genes.courses(names, None), genes, "cells", False, True, style.LIGHT)
        return list(shown.grid)

    three = show("Ery03", "Wave01", "Stem05")
    four = show("Ery03", "Stem05", "Wave02", "Wave01")
    assert [chart in three for chart in four] == [True, True, False, True]
    assert not set(show("Ery03")) & set(three)  # alone it is higher


def test_courses_beside_a_selection_start_from_the_selected_cells_themselves(sample: Result):
    """At their own time, what was observed is the mean of the selected cells, and the line is what they decode to."""
    genes = decoded(sample, open_source("branching"))
    chosen = np.flatnonzero(sample.index == 3)[5:60]
    (course,) = genes.courses(["Ery03"], chosen)
    own = genes.values("Ery03")[chosen]
    assert course.observed.mean[3, 0] == pytest.approx(own.mean(), rel=1e-4)
    assert course.observed.spread[3, 0] == pytest.approx(own.std(), rel=1e-3)
    at = int(np.argmin(np.abs(course.flow.times - sample.times[3])))
    told = sample.stream.decode_genes(sample.z[chosen])[:, sample.stream.genes.names.index("Ery03")]
    assert course.flow.mean[at, 0] == pytest.approx(told.mean(), rel=1e-4)
    everyone = genes.courses(["Ery03"], None)[0].observed
    values = genes.values("Ery03")
    np.testing.assert_allclose(everyone.mean[:, 0], [values[sample.index == i].mean() for i in range(6)], rtol=1e-4)


def test_genes_are_found_whatever_the_case_and_the_list_is_never_long(sample: Result):
    genes = decoded(sample, open_source("branching"))
    assert genes.called(" wave01 ") == "Wave01"
    assert genes.matches("ERY1")[0] == "Ery10"
    assert "Ery10" in genes.matches("y10")
    assert len(genes.matches("")) == 40
    assert genes.matches("zzz") == []


def test_without_the_file_the_map_tells(sample: Result):
    bare = decoded(sample, None)
    (course,) = bare.courses(["Wave01"], None)
    assert course.observed is None
    assert np.isfinite(course.flow.mean).all()
    assert bare.r2 is None
    assert "r2" not in bare.ranking(2.0, None)
    told = sample.stream.decode_genes(sample.z)[:, sample.stream.genes.names.index("Wave01")]
    np.testing.assert_allclose(bare.values("Wave01"), told, rtol=1e-5)


def test_rows_of_chosen_genes_are_kept_and_say_which_one_is_shown(sample: Result):
    picker = GenePicker(lambda: None, lambda: None)
    picker.show(decoded(sample, open_source("branching")), ["Ery03", "Wave01"])
    before = list(picker.rows)
    picker.add("Stem05")
    assert list(picker.rows)[:2] == before
    filled = [name for name, (_, button, _) in picker._made.items() if button.variant == "contained"]
    assert filled == ["Stem05"]
    picker.remove("Stem05")
    assert list(picker.rows) == before
    assert picker._made["Ery03"][1].variant == "contained"

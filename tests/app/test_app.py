"""The whole app as a visitor meets it: served by ``panel serve``, in a real browser, with runs in its own folder."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import anndata
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from cellstream import datasets
from cellstream.presets import PRESETS, preset
from cellstream.runs import Run, all_runs
from cellstream.snapshots import from_anndata
from cellstream.worker import work
from cellstream_app.colouring import GENE, NAMES
from tests.app.browser import (
    PATIENCE,
    button,
    choose,
    complaints,
    drag_around,
    open_path,
    picture,
    shown_time,
    slider,
    start_training,
    turn_to,
    visit,
    wait_for,
    watched,
    whole_app,
)
from tests.conftest import TINY

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home for runs, and the greeting result of the sample data, trained for seconds."""
    place = tmp_path_factory.mktemp("app")
    snapshots = from_anndata(datasets.load("branching"), "day")
    recipe = dict(name="Simulated blood", source="branching", title="Simulated blood", time_key="day", preset="quick")
    config = preset("quick", **TINY, embedding_steps=20, warm_steps=20)
    run = Run.create(place / "data" / "branching-result", snapshots, config, recipe)
    work(run.folder)
    return place


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    """The app, served as a user would."""
    log, homes = place / "server.txt", dict(CELLSTREAM_HOME=place / "home", CELLSTREAM_DATA_DIR=place / "data")
    with whole_app(log, **{name: str(folder) for name, folder in homes.items()}) as address:
        yield address
    assert not (said := complaints(log.read_bytes())), said


def open_sample(page: Page) -> None:
    page.get_by_text("Simulated blood: progenitors").click()
    expect(page.get_by_text("scaled each cell to 10,000 counts")).to_be_visible()


def click_presets(page: Page) -> None:
    """Each preset in turn; its sentence answers."""
    for name in ("paper", "best", "quick"):
        button(page, name.capitalize()).click()
        expect(page.get_by_text(PRESETS[name].text)).to_be_visible()


def run_called(place: Path, name: str) -> Run:
    return next(run for run in all_runs(place / "home" / "runs") if run.name == name)


def test_pictures_travel_deflated(browser: Browser, address: str) -> None:
    """The websocket compresses for a browser that offers it, as all do."""
    with watched(browser) as (page, _):
        answers: list[dict] = []
        wire = page.context.new_cdp_session(page)
        wire.send("Network.enable")
        wire.on("Network.webSocketHandshakeResponseReceived", lambda event: answers.append(event["response"]))
        page.goto(address)
        expect(page.get_by_text("CellStream").first).to_be_visible()
        headers = {name.lower(): value for name, value in answers[0]["headers"].items()}
    assert "permessage-deflate" in headers.get("sec-websocket-extensions", "")


def test_the_first_page_flows_and_asks_nothing_of_the_outside(browser: Browser, address: str):
    with visit(browser, address) as page:
        expect(page.get_by_text("Each dot is a cell")).to_be_visible()
        expect(button(page, "Pause")).to_be_visible()
        wait_for(lambda: shown_time(page) > 0.1, PATIENCE / 1000)
        before, at = picture(page), shown_time(page)
        # or back at the beginning: the flow is a loop
        wait_for(lambda: abs(shown_time(page) - at) > 0.3, PATIENCE / 1000)
        box = page.locator(".bk-Figure").bounding_box()
        x0, y0, x1, y1 = (int(box[k]) for k in ("x", "y", "width", "height"))
        stage = np.s_[y0 : y0 + y1, x0 : x0 + x1]
        assert (np.abs(picture(page)[stage] - before[stage]).sum(-1) > 60).mean() > 0.002


def test_open_my_data_leads_to_the_data_page(browser: Browser, address: str):
    with visit(browser, address) as page:
        button(page, "Open my data").first.click()
        expect(page.get_by_text("No data set is open")).to_be_visible()
        expect(page.get_by_label("Path of a file or folder")).to_be_visible()
        assert "page=data" in page.url


@pytest.mark.slow
def test_time_is_scrubbed_by_slider_and_keys(browser: Browser, address: str):
    with visit(browser, address) as page:
        button(page, "Pause").click()
        expect(button(page, "Play")).to_be_visible()
        slider(page).focus()
        page.keyboard.press("End")
        wait_for(lambda: shown_time(page) == 7, 20)
        expect(page.get_by_text("measured · day 7")).to_be_visible()  # the canvas' own clock
        page.keyboard.press("Home")
        expect(page.get_by_text("measured · day 0")).to_be_visible()
        page.mouse.click(800, 400)
        page.keyboard.press("ArrowRight")
        wait_for(lambda: 0 < shown_time(page) < 0.5, 20)
        page.keyboard.press(" ")
        expect(button(page, "Pause")).to_be_visible()


def test_layers_and_colours(browser: Browser, address: str):
    with visit(browser, address) as page:
        button(page, "Pause").click()
        page.get_by_role("switch", name="Map of the growth rate g").click()
        expect(page.get_by_text("growth, doublings per time step")).to_be_visible()
        page.get_by_role("switch", name="Arrows at cells").click()
        button(page, "this moment").click()
        choose(page, "Colour cells by", "lineage")
        expect(page.get_by_text("erythroid", exact=True)).to_be_visible()


@pytest.mark.slow
def test_cells_in_a_lasso_tell_where_they_came_from_and_where_they_go(browser: Browser, address: str):
    with visit(browser, address) as page:
        button(page, "Pause").click()
        button(page, "Lasso").click()
        before = picture(page)
        said = page.get_by_text(re.compile(r"[\d,]+ cells? selected"))
        drag_around(page, (0.05, 0.05), (0.95, 0.05), (0.95, 0.7), (0.05, 0.7), (0.05, 0.05))
        expect(said).to_be_visible()
        expect(page.get_by_text("progenitor").first).to_be_visible()
        expect(page.get_by_text("100%").first).to_be_visible()
        some = int(re.sub(r"\D", "", said.inner_text().split("cell")[0]))
        assert 20 < some < 2736
        assert (np.abs(picture(page) - before).sum(-1) > 60).mean() > 0.01
        with page.expect_download() as download:
            button(page, "Numbers (.csv)").click()
        table = pd.read_csv(download.value.path())
        assert table["selected cells"].sum() == some
        np.testing.assert_allclose(table.filter(like="share of").sum(axis=1), 1)
        page.keyboard.press("Escape")
        expect(said).to_be_hidden()
        button(page, "Box").click()
        # it may end beyond the figure
        drag_around(page, (0.04, 0.04), (1.1, 1.05))
        expect(page.get_by_text("2,736 cells selected")).to_be_visible()


@pytest.mark.slow
def test_a_name_in_the_legend_picks_its_cells_and_takes_another_colour(browser: Browser, address: str):
    with visit(browser, address) as page:
        button(page, "Pause").click()
        expect(page.get_by_role("button", name="day 2 372")).to_be_visible()
        choose(page, "Colour cells by", "lineage")
        name = page.get_by_role("button", name=re.compile("^neutrophil"))
        name.click()
        expect(page.get_by_text("293 cells selected")).to_be_visible()
        page.get_by_role("button", name=re.compile("^monocyte")).click(modifiers=["Shift"])
        expect(page.get_by_text("834 cells selected")).to_be_visible()
        expect(name).to_have_attribute("aria-pressed", "true")
        name.click(modifiers=["Shift"])
        expect(page.get_by_text("541 cells selected")).to_be_visible()
        swatch = page.get_by_label("Colour of monocyte")  # the others are faint
        swatch.evaluate("e => { e.value = '#00ff00'; e.dispatchEvent(new Event('change')) }")
        green = lambda: ((picture(page) - [0, 255, 0]) ** 2).sum(-1).min() < 50  # noqa: E731
        wait_for(green, 30)
        page.reload()
        expect(button(page, "Pause")).to_be_visible()
        choose(page, "Colour cells by", "lineage")
        wait_for(green, 60)


@pytest.mark.slow
def test_a_first_visit_is_shown_around_once(browser: Browser, address: str):
    with visit(browser, address, tour=True) as page:
        for number in range(1, 6):
            expect(page.get_by_text(f"{number} of 5")).to_be_visible()
            expect(page.locator(".cs-ring"), "Every hint points at something.").to_be_visible()
            button(page, "Next" if number < 5 else "Done").click()
        expect(page.locator(".cs-hint")).to_have_count(0)
        page.reload()
        expect(button(page, "Pause")).to_be_visible()
        page.wait_for_timeout(2000)
        expect(page.locator(".cs-hint")).to_have_count(0)
        page.get_by_role("button", name="Show the hints again").click()
        expect(page.get_by_text("1 of 5")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator(".cs-hint")).to_have_count(0)


DROP = """([name, words]) => {
  const carried = new DataTransfer()
  carried.items.add(new File([words], name))
  for (const kind of ["dragenter", "dragover", "drop"])
    window.dispatchEvent(new DragEvent(kind, {dataTransfer: carried, bubbles: true, cancelable: true}))
}"""


@pytest.mark.slow
def test_a_file_dropped_on_the_window_opens(browser: Browser, address: str, place: Path):
    """Of more than one part, so that none is lost and none comes twice."""
    rng = np.random.default_rng(0)
    cells = pd.DataFrame(rng.gamma(2, size=(9000, 60)).round(5), columns=[f"g{k}" for k in range(60)])
    cells.insert(0, "day", np.repeat([0, 1, 3], 3000))
    words = cells.to_csv()
    assert len(words) > 4.3e6
    with visit(browser, address) as page:
        expect(button(page, "Pause")).to_be_visible()
        page.evaluate(DROP, ["my cells <b>.csv", words])
        expect(page.get_by_text("9,000").first).to_be_visible()
        expect(page).to_have_title("my-cells-b-.csv – CellStream")
        expect(page.get_by_text(re.compile("problems found in 9,000 cells"))).to_be_visible()
        expect(page.locator(".bk-Figure:visible")).to_have_count(2)
        page.evaluate(DROP, ["nothing.h5ad", "no cells"])
        expect(page.get_by_role("alert").filter(has_text="nothing.h5ad")).to_be_visible()
    (kept,) = (place / "home" / "uploads").glob("my-cells*")
    assert kept.read_text() == words


@pytest.mark.slow
def test_the_colouring_stays_when_the_theme_changes(browser: Browser, address: str):
    with visit(browser, address) as page:
        button(page, "Pause").click()
        choose(page, "Colour cells by", NAMES[GENE])
        gene, chosen = page.get_by_role("combobox", name="Gene"), datasets.load("branching").var_names[3]
        gene.fill(chosen)
        gene.press("Enter")
        expect(page.get_by_text(chosen, exact=True).first).to_be_visible()
        page.locator("header").get_by_role("button", name="Toggle theme").click()
        wait_for(lambda: picture(page).mean() < 90, PATIENCE / 1000)
        page.wait_for_timeout(1500)
        assert gene.input_value() == chosen
        expect(gene).to_be_visible()


@pytest.mark.slow
def test_a_run_that_was_stopped_before_it_had_a_flow_shows_none(browser: Browser, address: str, place: Path):
    with visit(browser, address, "?page=data") as page:
        open_sample(page)
        button(page, "Continue to training").click()
        start_training(page, "no flow", rounds=5000, embedding=4000)
        run = run_called(place, "no flow")
        wait_for(lambda: run.status().step > 25 and (run.folder / "preview.npz").exists(), 60)
        button(page, "Stop").click()
        expect(page.get_by_text("velocity and growth had not been learned yet")).to_be_visible()
        page.get_by_role("tab", name="Explore").click()
        expect(page.get_by_text("so there is no flow to show")).to_be_visible()
        expect(page.get_by_role("switch", name="Particles")).to_be_disabled()
        expect(button(page, "Play")).to_be_hidden()
        expect(button(page, "Export")).to_be_hidden()
    run.delete()


def test_a_finished_run_has_its_picture_on_a_page_made_when_it_is_asked_for(browser: Browser, address: str):
    with visit(browser, address) as page:
        page.get_by_role("tab", name="Train").click()
        expect(page.get_by_text("finished", exact=True)).to_be_visible()
        # in the legend: the charts' labels are no text, and what Explore had is out of sight
        expect(page.get_by_text("day 5", exact=True).locator("visible=true")).to_have_count(1)
        wait_for(lambda: (np.ptp(picture(page)[250:600, 350:850], axis=2) > 60).sum() > 1000, 30)


@pytest.mark.slow
def test_train_to_the_end_and_save(browser: Browser, address: str, place: Path):
    with visit(browser, address, "?page=data") as page:
        open_sample(page)
        button(page, "Continue to training").click()
        start_training(page, "to the end", rounds=2)
        expect(page.get_by_text("finished").first).to_be_visible(timeout=120_000)
        expect(page.get_by_text("neighbours kept; PCA")).to_be_visible()
        page.get_by_role("tab", name="Explore").click()
        expect(
            page.get_by_text("2,736 cells at 6 time points. Growth is learned from the numbers of cells")
        ).to_be_visible()
        button(page, "Export").click()
        button(page, "Data").click()
        out = place / "saved.h5ad"
        page.get_by_label("Path on this computer").fill(str(out))
        page.get_by_label("Path on this computer").press("Enter")
        button(page, "Save").click()
        expect(page.get_by_text("Saved to")).to_be_visible()
        page.get_by_role("tab", name="Train").click()
        page.get_by_role("button", name="Rename").first.click()
        page.get_by_label("Name", exact=True).fill("another name")
        page.get_by_role("dialog").get_by_role("button", name="Rename", exact=True).click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        wait_for(lambda: [r.name for r in all_runs(place / "home" / "runs")] == ["another name"], PATIENCE / 1000)
    saved = anndata.read_h5ad(out)
    stream, run = run_called(place, "another name").result(), run_called(place, "another name")
    s = run.snapshots()
    z = stream.encode(s.x.numpy(), s.times.numpy()[s.index.numpy()])
    np.testing.assert_allclose(saved.obsm["X_cellstream"], z, atol=1e-4)
    assert run.recipe["takes_turns"] is True
    assert run.config.schedule.rounds == 2


@pytest.mark.slow
def test_stop_keeps_a_result_and_resume_goes_on(browser: Browser, address: str, place: Path):
    with visit(browser, address, "?page=data") as page:
        open_sample(page)
        button(page, "Continue to training").click()
        start_training(page, "stopped", rounds=5000)
        expect(page.get_by_text("Joint rounds · step")).to_be_visible(timeout=90_000)
        button(page, "Stop").click()
        expect(page.get_by_text("the best model so far is kept")).to_be_visible()
        run = run_called(place, "stopped")
        assert run.status().state == "cancelled"
        assert run.result() is not None
        step = run.status().step
        button(page, "Resume").click()
        wait_for(lambda: run.status().state == "running" and run.status().step > step, 60)
        button(page, "Pause").click()
        wait_for(lambda: run.status().state == "paused", 30)
        button(page, "Stop").click()
        wait_for(lambda: run.status().state == "cancelled", 30)


@pytest.mark.slow
@pytest.mark.parametrize("shown", ["Train", "Explore", "Compare"])
def test_a_reload_comes_back_to_the_run_under_way(browser: Browser, address: str, place: Path, shown: str):
    with visit(browser, address, "?page=data") as page:
        open_sample(page)
        button(page, "Continue to training").click()
        start_training(page, "goes on", rounds=5000)
        run = run_called(place, "goes on")
        try:
            wait_for(lambda: run.status().step > 5, 60)
            asked = {"page": ["train"], "run": [run.folder.name]}
            found = parse_qs(urlparse(page.url).query)
            assert found.pop("data")
            assert found == asked
            if shown != "Train":
                turn_to(page, shown)
                expect(page).to_have_url(re.compile(f"page={shown.lower()}"))
            page.reload()
            expect(button(page, "Stop").or_(page.get_by_text("goes on: ")).first).to_be_visible()
            page.wait_for_timeout(3000)  # whatever else would be selected by now
            assert parse_qs(urlparse(page.url).query)["run"] == asked["run"]
            turn_to(page, "Train")
            expect(page.get_by_text("goes on").first).to_be_visible()
            expect(page.get_by_text(re.compile(r"· step \d"))).to_be_visible()
            before = run.status().step
            wait_for(lambda: run.status().step > before, 30)
            click_presets(page)  # the page answers while it trains
            assert run.status().state == "running"
        finally:
            run.cancel()
            wait_for(lambda: not run.status().live, 30)


KEEP_SOCKETS = """
window.sockets = []
const Socket = window.WebSocket
window.WebSocket = class extends Socket { constructor(...of) { super(...of); window.sockets.push(this) } }
"""


@pytest.mark.slow
def test_a_page_whose_connection_is_lost_comes_back_by_itself(browser: Browser, address: str):
    with visit(browser, address, "?page=genes") as page:
        page.add_init_script(KEEP_SOCKETS)
        page.reload()
        expect(page.get_by_text("Course along the flow")).to_be_visible()
        page.evaluate("window.before = true; for (const socket of window.sockets) socket.close()")
        page.wait_for_function("!window.before")
        turn_to(page, "Explore")
        button(page, "Pause").click()  # the server hears
        expect(button(page, "Play")).to_be_visible()


def test_a_bad_path_is_a_sentence_and_what_was_open_stays(browser: Browser, address: str, tmp_path: Path):
    with visit(browser, address, "?page=data") as page:
        open_sample(page)
        button(page, "Open something else").click()
        button(page, "This computer").click()
        path = page.get_by_label("Path of a file or folder")
        path.click()  # waits for it, as typing does not
        path.press_sequentially(str(tmp_path / "missing.h5ad"))
        button(page, "Open").click()
        expect(page.get_by_role("alert").filter(has_text="There is no file or folder")).to_be_visible()
        expect(path).to_have_value(str(tmp_path / "missing.h5ad"))  # to be corrected
        expect(page.get_by_text("scaled each cell to 10,000 counts")).to_be_visible()


def test_names_from_a_file_are_text_and_never_code(browser: Browser, address: str, tmp_path: Path):
    evil = "<img src=x onerror=\"document.title='broken into'\">"
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"day": ["day 0"] * 30 + ["day 1"] * 30, "cell_type": [evil, "b"] * 30})
    adata = anndata.AnnData(rng.normal(size=(60, 5)).astype(np.float32), obs=obs)
    adata.obsm[f"X_{evil[:12]}"] = rng.normal(size=(60, 2))
    path = tmp_path / "b<b>old.h5ad"
    adata.write_h5ad(path)
    with visit(browser, address, "?page=data") as page:
        open_path(page, path)
        expect(page.get_by_text("b<b>old.h5ad", exact=True)).to_be_visible()
        expect(page.get_by_text("Cells per time point")).to_be_visible()
        page.wait_for_timeout(1500)
        assert "broken" not in page.title()


@pytest.mark.slow
def test_a_broken_file_is_mended_button_by_button(browser: Browser, address: str, tmp_path: Path):
    """Missing values, a cell alone at its time, empty cells and copies; undone, and done again."""
    rng = np.random.default_rng(0)
    which = np.repeat(np.arange(4), [60, 70, 1, 80])
    x = rng.poisson(4 + which[:, None], size=(211, 20)).astype(np.float32) + 1
    x[[3, 4]] = np.nan
    x[:, 7] = np.nan
    x[[80, 81, 82]] = 0
    x[140] = x[141]
    evil = "<img src=x onerror=\"document.title='broken into'\">"
    obs = pd.DataFrame({"day": np.array(["day 0", "day 2", "day 3", "day 5"])[which], "kind": ["a"] * 205 + [evil] * 6})
    path = tmp_path / "broken.h5ad"
    anndata.AnnData(x, obs=obs).write_h5ad(path)
    before = path.read_bytes()
    with visit(browser, address, "?page=data") as page:
        open_path(page, path)
        expect(page.get_by_text("the file check, at the right")).to_be_visible()
        expect(button(page, "Continue to training")).to_be_disabled()
        button(page, "Leave out 2 cells and 1 feature").click()
        expect(page.get_by_text("Left out for missing or infinite values: 2 cells, 1 feature.")).to_be_visible()
        expect(button(page, "Continue to training")).to_be_disabled()
        button(page, "Leave out 1 time point").click()
        expect(button(page, "Continue to training")).to_be_enabled()
        button(page, "Leave out 3 cells").click()
        expect(page.get_by_text("zero in every feature: 3 cells")).to_be_visible()
        button(page, "Leave out 1 copy").click()
        expect(page.get_by_text("No more problems found")).to_be_visible()
        expect(page.get_by_role("gridcell", name="79", exact=True)).to_be_visible()  # of day 5
        page.get_by_text("remarks: dealt with").click()
        expect(page.get_by_text("Kinds with fewer than 10 cells")).to_be_visible()
        button(page, "Undo").nth(2).click()
        expect(page.get_by_text("1 cell is an exact copy")).to_be_visible()
        expect(page.get_by_role("gridcell", name="80", exact=True)).to_be_visible()
        assert "broken into" not in page.title()
        button(page, "Continue to training").click()
        expect(page.get_by_text("broken.h5ad: 205 cells, 3 time points.")).to_be_visible()
    assert path.read_bytes() == before


@pytest.mark.slow
def test_a_given_file_is_opened_on_the_page_asked_for(browser: Browser, place: Path, tmp_path: Path):
    """As by ``cellstream app FILE``, which says the path in the environment."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"hour": ["0h"] * 20 + ["6h"] * 25})
    path = tmp_path / "given.h5ad"
    anndata.AnnData(rng.normal(size=(45, 4)).astype(np.float32), obs=obs).write_h5ad(path)
    with whole_app(place / "given.txt", CELLSTREAM_FILE=str(path), CELLSTREAM_HOME=str(tmp_path / "home")) as address:
        with visit(browser, address) as page:
            expect(page.get_by_text("2 time points from 0h to 6h")).to_be_visible()
            expect(page.get_by_role("gridcell", name="6h")).to_be_visible()
            expect(page.get_by_text("No data set is open")).to_be_hidden()
            expect(page.get_by_text("Reading the data set")).to_be_hidden()
        with visit(browser, address, "?page=train") as page:
            expect(page.get_by_text("given.h5ad: 45 cells, 2 time points.")).to_be_visible()


@pytest.mark.slow
def test_an_upload_is_opened_from_disk(browser: Browser, address: str, place: Path, tmp_path: Path):
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"hour": ["0h"] * 20 + ["6h"] * 25})
    path = tmp_path / "my cells.h5ad"
    anndata.AnnData(rng.normal(size=(45, 4)).astype(np.float32), obs=obs).write_h5ad(path)
    with visit(browser, address, "?page=data") as page:
        button(page, "Upload").click()
        page.locator("input[type=file]").set_input_files(path)
        expect(page.get_by_text("2 time points from 0h to 6h")).to_be_visible()
    (spooled,) = (place / "home" / "uploads").glob("my-cells.h5ad")
    assert spooled.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_the_system_theme_is_taken_over(browser: Browser, address: str):
    brightness = {}
    for scheme in ("light", "dark"):
        with visit(browser, address, "?page=data", color_scheme=scheme) as page:
            expect(page.get_by_text("No data set is open")).to_be_visible()
            wait_for(
                lambda page=page, scheme=scheme: (picture(page).mean() < 90) == (scheme == "dark"), PATIENCE / 1000
            )
            brightness[scheme] = picture(page).mean()
    assert brightness["light"] > 200 > 60 > brightness["dark"]


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
def test_a_page_of_another_name_is_refused(address: str, headers: dict[str, str]):
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20)
    assert refusal.value.code == 403
    refusal.value.close()

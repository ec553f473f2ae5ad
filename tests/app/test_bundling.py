"""Bundles and the screen: what is shown goes into one, and whoever opens it sees the same."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import panel as pn
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from cellstream import bundle
from cellstream.errors import UserError
from cellstream.runs import Run
from cellstream_app import session as app
from cellstream_app import style
from cellstream_app.bundling import View, names_bundle, opened_bundle, packer, view_state
from cellstream_app.palette import own_colours, paint
from cellstream_app.parts.choosing import COURSE, MOMENT
from cellstream_app.parts.opening import Opening
from cellstream_app.parts.saving import target
from cellstream_app.results import sample_run
from cellstream_app.session import SAMPLE_NAME, Session
from cellstream_app.shell import Shell
from cellstream_app.shown import Shown
from cellstream_app.sources import completions
from tests.app.browser import (
    PATIENCE,
    button,
    choose,
    complaints,
    drag_around,
    open_path,
    picture,
    shown_time,
    turn_to,
    visit,
    wait_for,
    whole_app,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]  # one of them drives one


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path / "home"))
    for name in ("CELLSTREAM_ROOT", "CELLSTREAM_FILE", "CELLSTREAM_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


SHOWN = Shown("obs:lineage", "", ("particles", "growth"), True, (0, 1), (-1.0, 2.0, -0.5, 0.75), "end:obs:lineage")


def left(page: str = "train") -> Session:
    """A session with the sample, on another page than Explore, which was left with choices."""
    session = Session()
    asyncio.run(session.choose("sample"))
    session.param.update(page=page, shown=SHOWN, time=3.25, playing=False, selection=np.arange(10, 70))
    return session


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return packer(left(), with_data=True)(tmp_path / "mine.cellstream.zip")


# without a browser


def test_a_session_comes_back_from_a_bundle(packed: Path):
    session = Session(page="data", dark=True)
    asyncio.run(session.open_bundle(str(packed)))
    assert session.run.name == "Simulated blood"
    assert session.run_id == session.run.folder.name != "sample"
    assert (session.page, session.time, session.playing) == ("explore", 3.25, False)
    assert session.asked == SHOWN
    assert session.selection.tolist() == list(range(10, 70))
    assert session.result.final
    assert session.result_source is not None, session.result_problem
    assert session.dark
    assert session.opening == ""
    assert session.run in session.runs()


def test_explore_shows_it_also_where_it_shows_it_already(packed: Path, monkeypatch: pytest.MonkeyPatch):
    """The second time the run is the one that is shown, with other choices."""
    monkeypatch.setattr(pn.state, "add_periodic_callback", lambda callback, period: None)
    style.use_defaults()
    shell = Shell()
    session = shell.session

    async def visit_twice() -> None:
        await session.restore()
        for name in ("data", "explore"):
            shell._build(name)
        session.page = "explore"
        explore = shell.views["explore"]
        for _ in range(2):
            await session.open_bundle(str(packed))
            await asyncio.sleep(0.2)
            assert explore.colours.choice.key == ("obs:lineage", "")
            assert explore.colours.particles.value == "end:obs:lineage"
            assert [name for name, on in explore._layers().items() if on] == ["growth", "moment", "particles"]
            assert explore.stage.next_view == SHOWN.view
            assert (explore.time_bar.time, explore.stage.canvas.time) == (3.25, 3.25)
            assert not explore.stage.canvas.playing
            assert session.asked is None
            explore.colours.choose("time", "", "one")
            explore.stage.next_view = None
            explore.streams.value, explore.growth.value = True, False
            explore.time_bar.go_to(1.0)

    asyncio.run(visit_twice())


def test_explore_shows_it_also_where_it_is_made_for_it(packed: Path, monkeypatch: pytest.MonkeyPatch):
    """As by ``cellstream app FILE``: the page is made when it is first shown."""
    monkeypatch.setattr(pn.state, "add_periodic_callback", lambda callback, period: None)
    monkeypatch.setenv("CELLSTREAM_FILE", str(packed))
    style.use_defaults()
    shell = Shell()
    assert shell.session.page == "data"
    asyncio.run(shell._begin(None))
    explore = shell.views["explore"]
    assert shell.session.run.name == "Simulated blood"
    assert (shell.session.page, shell.session.time, shell.session.playing) == ("explore", 3.25, False)
    assert (explore.time_bar.time, explore.stage.canvas.time, explore.stage.canvas.playing) == (3.25, 3.25, False)
    assert explore.colours.choice.key == ("obs:lineage", "")
    assert explore.stage.next_view == SHOWN.view
    assert len(shell.session.selection) == 60


def test_a_path_and_an_upload_lead_to_the_run(packed: Path, tmp_path: Path):
    """And what is none is told beside the field, with a stranger's markup as text."""
    session = Session(page="data")
    opening = Opening(session)
    asyncio.run(opening.open(str(packed)))
    assert (session.page, session.source, opening.message.alert.visible) == ("explore", None, False)
    session.page = "data"
    bad = tmp_path / "<img src=x>.cellstream.zip"
    bad.write_bytes(b"PK")
    asyncio.run(opening.open(str(bad)))
    assert session.page == "data"
    assert opening.message.alert.visible
    assert r"\<img src=x\>" in opening.message.alert.object
    assert str(packed) in completions(str(packed)[:-8])


def test_what_was_asked_for_of_one_run_is_not_shown_of_another(packed: Path):
    session = Session(page="data")
    asyncio.run(session.open_bundle(str(packed)))
    asyncio.run(session.choose("sample"))
    assert session.asked is None


def test_of_several_openings_the_last_one_counts(packed: Path, monkeypatch: pytest.MonkeyPatch):
    session, opened = Session(page="data"), app.opened_bundle
    monkeypatch.setattr(app, "opened_bundle", lambda path: time.sleep(0.5) or opened(path))

    async def hurry() -> None:
        slow = asyncio.ensure_future(session.open_bundle(str(packed)))
        await asyncio.sleep(0.05)
        await session.open("branching")
        await slow

    asyncio.run(hurry())
    assert session.run is None
    assert session.page == "data"
    assert session.source.key == "branching"


def test_what_fails_after_something_else_was_opened_is_nobodys_business(packed: Path, monkeypatch: pytest.MonkeyPatch):
    session = Session(page="data")

    def fail(path: str) -> None:
        time.sleep(0.5)
        raise UserError("It is none.")

    monkeypatch.setattr(app, "opened_bundle", fail)

    async def hurry() -> None:
        slow = asyncio.ensure_future(session.open_bundle(str(packed)))
        await asyncio.sleep(0.05)
        await session.open("branching")
        await slow

    asyncio.run(hurry())
    assert session.run is None
    assert session.source.key == "branching"
    assert session.opening == ""


def test_of_another_result_nothing_is_shown_as_of_the_one_before():
    async def story() -> Session:
        session = Session(page="data", shown=Shown("growth", axes=(0, 2)), genes=["Stem05"])
        await session.select(sample_run())
        return session

    session = asyncio.run(story())
    assert session.shown == Shown()
    assert session.genes == []


def test_what_cannot_be_opened_leaves_the_session_as_it_was(packed: Path, tmp_path: Path):
    bad = tmp_path / "bad.cellstream.zip"
    bad.write_bytes(packed.read_bytes()[:5000])
    session = left()
    before = session.run, session.page, session.selection, session.shown, session.time
    with pytest.raises(UserError, match="cut short or damaged"):
        asyncio.run(session.open_bundle(str(bad)))
    assert (session.run, session.page, session.selection, session.shown, session.time) == before
    assert session.opening == ""


def test_the_cells_labels_keep_their_colours_and_ones_own_come_first(tmp_path: Path, home: Path):
    session = left()
    paint(session.result_source.key, "lineage", "monocyte", "#123456")
    paint(session.result_source.key, "lineage", "erythroid", "#654321")
    out = packer(session)(tmp_path / "x.cellstream.zip")
    shutil.rmtree(home)
    paint("branching", "lineage", "erythroid", "#ffffff")
    opened_bundle(str(out))
    assert own_colours("branching") == {"lineage": {"monocyte": "#123456", "erythroid": "#ffffff"}}


def test_without_its_data_it_says_so(tmp_path: Path):
    session, file = Session(), tmp_path / "cells.h5ad"
    shutil.copy(sample_file(), file)
    run = Run(shutil.copytree(sample_run().folder, tmp_path / "run"))
    recipe = json.loads((run.folder / "recipe.json").read_text())
    (run.folder / "recipe.json").write_text(json.dumps(recipe | {"source": str(file)}))
    asyncio.run(session.select(run))
    assert session.result_source is not None
    out = packer(session)(tmp_path / "away" / ".." / "x.cellstream.zip")
    file.unlink()
    session = Session(page="data")
    asyncio.run(session.open_bundle(str(out)))
    assert session.result is not None
    assert session.result_problem == (
        "The file cells.h5ad is not in the bundle, and neither beside it nor behind another of your runs, so labels "
        "and genes cannot be shown: put it beside the bundle, and open that again."
    )


def test_an_upload_is_taken_away_once_it_is_unpacked(packed: Path, home: Path):
    (home / "uploads").mkdir(parents=True)
    upload = shutil.copy(packed, home / "uploads" / "mine.cellstream.zip")
    assert names_bundle(str(upload))
    opened_bundle(str(upload))
    assert not Path(upload).exists()
    assert packed.exists()


def test_only_what_may_be_opened_is(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "root").mkdir()
    monkeypatch.setenv("CELLSTREAM_ROOT", str(tmp_path / "root"))
    with pytest.raises(UserError, match="opens files in"):
        asyncio.run(Session().open_bundle(str(packed)))
    with pytest.raises(UserError, match="opens files in"):
        target(str(tmp_path / "y.cellstream.zip"), bundle.SUFFIX)
    assert not names_bundle(str(packed))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"page": "/etc"}, View()), ({"page": "genes"}, View(page="genes")), ({"time": "x"}, View()),
        ({"time": True}, View()), ({"time": 2}, View(time=2.0)), ({"selection": [1, "2"]}, View()),
        ({"selection": [True]}, View()), ({"selection": [3, -1]}, View(selection=(3, -1))), ({"explore": 3}, View()),
        ({"explore": {"colour": 3, "view": [1, 0, 0, 1]}}, View()), ({"playing": False}, View(playing=False)),
    ],
)  # fmt: skip
def test_a_strangers_view_is_taken_as_far_as_it_is_understood(said: dict, expected: View):
    view = View.from_dict(said)
    assert view == expected
    session = left()
    shown = view.of(session.result)
    assert shown["time"] == (2.0 if said.get("time") == 2 else 0.0)
    if said.get("selection") == [3, -1]:
        assert shown["selection"].tolist() == [3]


def test_the_state_is_plain_and_comes_back(packed: Path):
    state = view_state(left("compare"))
    assert json.loads(json.dumps(state)) == state
    view = View.from_dict(state)
    assert (view.shown, view.page, view.time, view.playing) == (SHOWN, "compare", 3.25, False)
    assert view_state(left("data"))["page"] == "explore"
    assert bundle.look(packed).view["page"] == "explore"


def sample_file() -> Path:
    return sample_run().folder.parent / "branching.h5ad"


# in a browser: what is seen of the plane of the figure under the particles that are shown
SEEN = """() => {
  const views = Object.values(window.cellstream_frames ?? {}).map((id) => Bokeh.index.find_one_by_id(id))
  const {model} = views.find((view) => view?.el.getBoundingClientRect().width > 0)
  return [model.x_range.start, model.x_range.end, model.y_range.start, model.y_range.end]
}"""


def seen(page: Page) -> np.ndarray:
    """x0, x1, y0, y1."""
    return np.array(page.evaluate(SEEN), float)


def at_rest(page: Page) -> float:
    """The time that is shown, once what was on its way of a playing flow has come."""
    before = shown_time(page)
    while True:
        page.wait_for_timeout(1500)
        if (now := shown_time(page)) == before:
            return now
        before = now


def switch(page: Page, name: str) -> Locator:
    return page.get_by_role("switch", name=name)


def screen(page: Page) -> dict:
    """What a visitor reads off Explore."""
    query = parse_qs(urlparse(page.url).query)
    return dict(
        page=query["page"],
        colour=page.get_by_label("Colour cells by").first.inner_text(),
        particles=page.get_by_label("Colour particles by").first.inner_text(),
        layers=[switch(page, name).is_checked() for name in LAYERS],
        moment=[button(page, name).get_attribute("aria-pressed") for name in (COURSE, MOMENT)],
        time=round(shown_time(page), 5),
        clock=page.locator(".clock .time:visible").first.inner_text(),
        plays=button(page, "Pause").count(),
        selected=page.get_by_text(re.compile(r"\d+ cells selected")).inner_text(),
        shares=page.get_by_text(re.compile("ancestors each|descendants each")).all_inner_texts(),
    )


LAYERS = ("Particles", "Streamlines of the velocity v", "Map of the growth rate g", "Arrows at cells")


@pytest.mark.slow
def test_whoever_opens_a_bundle_sees_the_same_screen(browser: Browser, tmp_path: Path):
    made = tmp_path / "mine.cellstream.zip"
    here = dict(CELLSTREAM_HOME=str(tmp_path / "home"), BUNDLE_OUT=str(made), CELLSTREAM_DATA_DIR="")
    shutil.copytree(sample_run().folder, tmp_path / "home" / "runs" / "mine")
    log, plugin = tmp_path / "here.txt", ("--plugins", "tests.app.bundler")
    with whole_app(log, *plugin, **here) as address, visit(browser, address, "?page=explore&run=mine") as page:
        expect(button(page, "Pause")).to_be_visible()
        wait_for(lambda: shown_time(page) > 2, PATIENCE / 1000)
        button(page, "Pause").click()
        expect(button(page, "Play")).to_be_visible()
        choose(page, "Colour cells by", "lineage")
        switch(page, "Map of the growth rate g").click()
        switch(page, "Arrows at cells").click()
        button(page, MOMENT).click()
        choose(page, "Colour particles by", "lineage at the end")
        page.get_by_text("2,736 cells at 6 time points").click()
        at = at_rest(page)
        page.keyboard.press("ArrowRight")
        wait_for(lambda: shown_time(page) > at + 0.1, PATIENCE / 1000)
        expect(page.locator(".clock .time:visible").first).to_have_text(f"{at_rest(page):.1f} d")
        whole = seen(page)
        box = page.locator(".bk-Figure:visible").bounding_box()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"])
        page.mouse.wheel(0, -400)
        wait_for(lambda: np.ptp(seen(page)[:2]) < 0.9 * np.ptp(whole[:2]), 30)
        button(page, "Lasso").click()
        drag_around(page, (0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7))
        expect(page.get_by_text(re.compile(r"\d+ cells selected"))).to_be_visible()
        expect(page.get_by_text(re.compile("ancestors each")).first).to_be_visible()
        page.wait_for_timeout(1500)
        before, view = screen(page), seen(page)
        photograph = picture(page)
        turn_to(page, "Train")
        expect(page).to_have_url(re.compile("page=train"))
        urllib.request.urlopen(address.replace("cellstream_app", "bundle"), timeout=300).read()
        assert bundle.look(made).view["playing"] is False
    assert not (said := complaints((tmp_path / "here.txt").read_bytes())), said
    there = dict(CELLSTREAM_HOME=str(tmp_path / "elsewhere"), CELLSTREAM_FILE=str(made), CELLSTREAM_DATA_DIR="")
    with whole_app(tmp_path / "there.txt", **there) as address, visit(browser, address) as page:
        expect(page.get_by_text(re.compile(r"\d+ cells selected"))).to_be_visible()
        expect(page.get_by_text(re.compile("ancestors each")).first).to_be_visible()
        page.wait_for_timeout(1500)
        assert screen(page) == before
        np.testing.assert_allclose(seen(page), view, rtol=1e-6)
        # all but what dragging the mouse does, which is no part of what is seen
        assert (np.abs(picture(page) - photograph).sum(-1) > 30).mean() < 0.01
        # and again, from another result, paused at another time
        choose(page, "Result", SAMPLE_NAME)
        expect(page).to_have_url(re.compile("run=sample"))
        wait_for(lambda: shown_time(page) > 0.2, PATIENCE / 1000)
        button(page, "Pause").click()
        assert round(at_rest(page), 5) != before["time"]
        turn_to(page, "Data")
        open_path(page, made)
        expect(page).to_have_url(re.compile("page=explore"))
        expect(page.get_by_text(re.compile("ancestors each")).first).to_be_visible()
        page.wait_for_timeout(1500)
        assert screen(page) == before
    assert not (said := complaints((tmp_path / "there.txt").read_bytes())), said

"""Bundles and the screen: what is shown goes into one, and whoever opens it sees the same."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from cellstream_app.parts.choosing import COURSE, MOMENT
from tests.app.browser import (
    button,
    choose,
    chromium,
    complaints,
    drag_around,
    shown_time,
    slider,
    turn_to,
    visit,
    wait_for,
    whole_app,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


# what is seen of the plane of the figure under the particles that are shown
SEEN = """() => {
  const views = Object.values(window.cellstream_frames ?? {}).map((id) => Bokeh.index.find_one_by_id(id))
  const {model} = views.find((view) => view?.el.getBoundingClientRect().width > 0)
  return [model.x_range.start, model.x_range.end, model.y_range.start, model.y_range.end]
}"""


def seen(page: Page) -> np.ndarray:
    """x0, x1, y0, y1."""
    return np.array(page.evaluate(SEEN), float)


def switch(page: Page, name: str):
    return page.get_by_role("switch", name=name)


def screen(page: Page) -> dict:
    """What a visitor reads off Explore."""
    query = parse_qs(urlparse(page.url).query)
    return dict(
        page=query.get("page", ["explore"]),
        colour=page.get_by_label("Colour cells by").first.inner_text(),
        particles=page.get_by_label("Colour particles by").first.inner_text(),
        layers=[switch(page, name).is_checked() for name in LAYERS],
        moment=[button(page, name).get_attribute("aria-pressed") for name in (COURSE, MOMENT)],
        time=shown_time(page),
        selected=page.get_by_text(re.compile(r"\d+ cells selected")).inner_text(),
        shares=page.get_by_text(re.compile("ancestors each|descendants each")).all_inner_texts(),
        title=page.get_by_text("2,736 cells").count(),
    )


LAYERS = ("Particles", "Streamlines of the velocity v", "Map of the growth rate g", "Arrows at cells")


@pytest.mark.slow
def test_whoever_opens_a_bundle_sees_the_same_screen(browser: Browser, tmp_path: Path):
    made, pictures = tmp_path / "mine.cellstream.zip", tmp_path / "pictures"
    here = dict(CELLSTREAM_HOME=str(tmp_path / "home"), BUNDLE_OUT=str(made), CELLSTREAM_DATA_DIR="")
    with whole_app(tmp_path / "here.txt", "--plugins", "tests.app.bundler", **here) as address:
        with visit(browser, address) as page:
            expect(button(page, "Pause")).to_be_visible()
            button(page, "Pause").click()
            choose(page, "Colour cells by", "lineage")
            switch(page, "Map of the growth rate g").click()
            switch(page, "Arrows at cells").click()
            button(page, MOMENT).click()
            choose(page, "Colour particles by", "lineage at the end")
            slider(page).focus()
            page.keyboard.press("Home")
            for _ in range(4):
                page.keyboard.press("PageUp")
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
            page.screenshot(path=SHOTS / "before.png")
            turn_to(page, "Train")
            expect(page).to_have_url(re.compile("page=train"))
            urllib.request.urlopen(address.replace("cellstream_app", "bundle"), timeout=60).read()
    assert not (said := complaints((tmp_path / "here.txt").read_bytes())), said
    there = dict(CELLSTREAM_HOME=str(tmp_path / "elsewhere"), CELLSTREAM_FILE=str(made), CELLSTREAM_DATA_DIR="")
    with whole_app(tmp_path / "there.txt", **there) as address, visit(browser, address) as page:
        expect(page.get_by_text(re.compile(r"\d+ cells selected"))).to_be_visible()
        expect(page.get_by_text(re.compile("ancestors each")).first).to_be_visible()
        page.wait_for_timeout(1500)
        page.screenshot(path=SHOTS / "after.png")
        assert screen(page) == before
        np.testing.assert_allclose(seen(page), view, rtol=1e-6)
    assert not (said := complaints((tmp_path / "there.txt").read_bytes())), said


SHOTS = Path("/tmp/w/h/bundle-out")

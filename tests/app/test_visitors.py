"""What only shows with more than one visitor."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.app.browser import PATIENCE, button, choose, turn_to, watched, whole_app

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("long")


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    """The app with its bundled result."""
    with whole_app(place / "server.txt", CELLSTREAM_HOME=str(place / "home")) as address:
        yield address


def test_two_visitors_do_not_disturb_each_other(browser: Browser, address: str):
    """Page, colours, selection, time and data set of the one are nothing to the other."""
    with watched(browser, (1280, 800)) as (one, wrong), watched(browser, (1280, 800)) as (two, wrong_too):
        for page in (one, two):
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            expect(button(page, re.compile("^day 2"))).to_be_visible()
            page.wait_for_timeout(3000)
            button(page, "Pause").click()
            expect(button(page, "Play")).to_be_visible()
        two.wait_for_timeout(2000)  # what the canvas had still to report
        before = two.get_by_role("slider").first.get_attribute("aria-valuenow")
        choose(one, "Colour cells by", "lineage")
        button(one, re.compile("^neutrophil")).click()
        expect(one.get_by_text("293 cells selected")).to_be_visible()
        one.get_by_role("slider").first.focus()
        one.keyboard.press("End")
        one.locator("header").get_by_role("button", name="Toggle theme").click()
        turn_to(one, "Data")
        one.get_by_text("Human iPSC").click()
        expect(one.get_by_text("1,081", exact=True)).to_be_visible()
        expect(button(two, re.compile("^day 2"))).to_be_visible()
        expect(two.get_by_text("cells selected")).to_be_hidden()
        assert two.get_by_role("slider").first.get_attribute("aria-valuenow") == before
        assert "page=data" not in two.url
        turn_to(two, "Data")
        expect(two.get_by_text("No data set is open")).to_be_visible()
        assert wrong == wrong_too == []

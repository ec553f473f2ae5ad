"""Building blocks in a real browser."""

from __future__ import annotations

import panel as pn
import pytest
from playwright.sync_api import expect

from cellstream_app import ui
from tests.app.browser import chromium, served, watched

pytestmark = pytest.mark.browser


def test_a_text_comes_and_goes_by_its_style():
    def page() -> pn.Column:
        pn.extension()
        hidden, shown = ui.text("at first hidden", visible=False), ui.text("at first shown")
        column = ui.column(hidden, shown)

        def turn() -> None:
            late = ui.text("late", visible=False)
            column.append(late)
            late.visible = True
            hidden.visible, shown.visible = shown.visible, hidden.visible

        for seconds in (1, 4):
            pn.state.onload(lambda wait=seconds: pn.state.curdoc.add_timeout_callback(turn, 1000 * wait))
        return column

    with served(page) as address, chromium() as browser, watched(browser) as (seen, wrong):
        seen.goto(address)
        expect(seen.get_by_text("at first shown")).to_be_visible()
        expect(seen.get_by_text("at first hidden")).to_be_visible()
        expect(seen.get_by_text("at first shown")).to_be_hidden()
        expect(seen.get_by_text("late")).to_be_visible()
        expect(seen.get_by_text("at first hidden")).to_be_hidden()
        expect(seen.get_by_text("at first shown")).to_be_visible()
        assert not wrong

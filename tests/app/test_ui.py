"""Building blocks in a real browser."""

from __future__ import annotations

import panel as pn
import panel_material_ui as pmui
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


def test_a_bar_at_the_top_is_as_wide_as_the_cards_below_it():
    def page() -> pn.Row:
        pn.extension()
        bar = pmui.LinearProgress(active=True, margin=0, **ui.WIDE)
        return pn.Row(ui.main_panel(ui.at_top(bar), ui.card(title="card 0")), margin=0, height=600, **ui.WIDE)

    with served(page) as address, chromium() as browser, watched(browser, (1280, 800)) as (seen, wrong):
        seen.goto(address)
        bar = seen.locator(".MuiLinearProgress-root")
        card = seen.locator(".MuiPaper-root", has=seen.get_by_text("card 0"))
        expect(card).to_be_visible()
        over, under = bar.bounding_box(), card.bounding_box()
        assert (over["x"], over["width"]) == (under["x"], under["width"])
        assert over["y"] + over["height"] <= under["y"]
        assert not wrong

"""Everything once, many cells, and a long time: the app clicked through on its bundled result, 300,000 cells from a
file to their descendants, and a soak."""

from __future__ import annotations

import json
import os
import random
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import anndata
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect

from cellstream.runs import all_runs
from tests.app.actions import ACTIONS
from tests.app.browser import (
    PATIENCE,
    button,
    choose,
    complaints,
    drag_around,
    open_path,
    start_training,
    turn_to,
    visit,
    whole_app,
)

pytestmark = [pytest.mark.browser, pytest.mark.long]

MINUTES = float(os.environ.get("CELLSTREAM_SOAK_MINUTES", "30"))
"""How long the app is clicked through in the soak."""
ROUND = 6
"""Actions of one browser session in the soak."""
GROWTH = 0.10
"""Share by which the server's memory may be larger in the last third of the soak than in the second."""
FORGETTING = 90
"""Seconds within which the server forgets a page that was closed: Bokeh's 15 s, and 17 s between two looks."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("long")


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    """The app with its bundled result, and an address that tells what lives in the server."""
    log = place / "server.txt"
    with whole_app(log, "--plugins", "tests.app.census", CELLSTREAM_HOME=str(place / "home")) as address:
        yield address
    for run in all_runs(place / "home" / "runs"):  # of a test that failed
        if run.status().live:
            run.kill()
    assert not (said := complaints(log.read_bytes())), said


def act(page: Page, name: str) -> None:
    """Do it; what goes wrong says which one it was."""
    try:
        ACTIONS[name](page)
    except Exception as error:
        error.add_note(f"in the action '{name}'")
        raise


@pytest.mark.timeout(900)
def test_everything_that_can_be_clicked_is_clicked_once(browser: Browser, address: str):
    with visit(browser, address) as page:
        for name in ACTIONS:
            act(page, name)


# many cells


@pytest.fixture(scope="module")
def many(place: Path) -> Path:
    """300,000 cells of three kinds at four times, which move apart, as a file."""
    rng, n, features = np.random.default_rng(0), 300_000, 50
    day, kind = np.arange(n) % 4, rng.integers(0, 3, n)
    x = rng.normal(size=(n, features)).astype(np.float32)
    x[:, 0] += 4 * day
    x[:, 1] += 3 * day * (kind - 1)
    obs = pd.DataFrame({"day": day, "kind": pd.Categorical(np.array(["low", "middle", "high"])[kind])})
    obs.index = obs.index.astype(str)
    path = place / "many.h5ad"
    anndata.AnnData(x, obs, pd.DataFrame(index=[f"gene {k}" for k in range(features)])).write_h5ad(path)
    return path


@pytest.mark.timeout(1800)
def test_three_hundred_thousand_cells_from_a_file_to_their_descendants(
    browser: Browser, address: str, place: Path, many: Path
):
    with visit(browser, address, "?page=data") as page:
        page.set_default_timeout(2 * PATIENCE)
        open_path(page, many)
        expect(page.get_by_text("300,000", exact=True).first).to_be_visible(timeout=2 * PATIENCE)
        expect(page.get_by_text(re.compile("problems found in 300,000 cells"))).to_be_visible(timeout=3 * PATIENCE)
        page.get_by_text("Cells per time point").scroll_into_view_if_needed()
        expect(page.locator(".bk-Figure:visible")).to_have_count(2, timeout=2 * PATIENCE)
        expect(button(page, "Continue to training")).to_be_enabled(timeout=2 * PATIENCE)
        button(page, "Continue to training").click()
        start_training(page, "many", rounds=1)
        expect(page.get_by_text("finished").first).to_be_visible(timeout=8 * PATIENCE)
        turn_to(page, "Explore")
        expect(page.get_by_text("300,000 cells at 4 time points")).to_be_visible(timeout=4 * PATIENCE)
        expect(button(page, re.compile("^0 75,000"))).to_be_visible()
        button(page, "Pause").click()
        choose(page, "Colour cells by", "kind")
        button(page, re.compile("^high")).click()
        expect(page.get_by_text(re.compile(r"(99|100),\d\d\d cells selected"))).to_be_visible()
        expect(page.get_by_text(re.compile(r"[\d,]+ selected$")).first).to_be_visible()
        button(page, re.compile("^Clear")).first.click()
        button(page, "Box").click()
        drag_around(page, (0.02, 0.02), (0.4, 0.98))
        expect(page.get_by_text(re.compile("[0-9,]+ cells selected, of"))).to_be_visible()
        expect(page.get_by_role("cell", name=re.compile("high|low")).first).to_be_visible()
        turn_to(page, "Genes")
        expect(page.get_by_text(re.compile(r"^\d+ of 50 genes"))).to_be_visible(timeout=4 * PATIENCE)
    (run,) = [run for run in all_runs(place / "home" / "runs") if run.name == "many"]
    run.delete()


# a long time


def census(address: str) -> dict[str, int]:
    """What lives in the server."""
    with urllib.request.urlopen(urljoin(address, "/census"), timeout=60) as answer:
        return json.load(answer)


@pytest.mark.timeout(60 * MINUTES + 900)
def test_memory_stays_where_it_is_while_visitors_come_and_go(browser: Browser, address: str):
    """Every action, in an order that is drawn anew each time, by visitors who do a few of them, load the page again, do
    some more and leave. Of what they had nothing is left in the end."""
    rng, began, seen = random.Random(0), time.monotonic(), []

    def passed() -> float:
        return time.monotonic() - began

    while passed() < 60 * MINUTES:
        order = rng.sample(list(ACTIONS), len(ACTIONS))
        for names in (order[k : k + ROUND] for k in range(0, len(order), ROUND)):
            with visit(browser, address) as page:
                for k, name in enumerate(names):
                    if k == ROUND // 2:
                        page.reload()
                    act(page, name)
            seen.append((passed(), census(address)))
            if passed() > 60 * MINUTES:
                break
    forgotten = time.monotonic() + FORGETTING
    while any((left := census(address))[kind] for kind in ("sessions", "states", "documents")):
        assert time.monotonic() < forgotten, f"after {len(seen)} visits: {left}"
        time.sleep(2)
    third = seen[-1][0] / 3
    second, last = ([s["megabytes"] for t, s in seen if k * third < t <= (k + 1) * third] for k in (1, 2))
    told = "; ".join(f"{t / 60:.1f} min: {s}" for t, s in seen[:: max(len(seen) // 30, 1)])
    assert np.median(last) < (1 + GROWTH) * np.median(second), told

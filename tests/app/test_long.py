"""What only shows with more than one visitor, with many cells, and after a long time."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlparse

import anndata
import numpy as np
import pandas as pd
import psutil
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.app.browser import chromium, wait_for, watched, whole_app

pytestmark = [pytest.mark.browser, pytest.mark.timeout(3600)]
PATIENCE = 120_000
MINUTES = float(os.environ.get("CELLSTREAM_SOAK_MINUTES", "30"))
"""How long the app is clicked through."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("long")


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    """The app with its bundled result."""
    with whole_app(place / "server.txt", CELLSTREAM_HOME=str(place / "home")) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def button(page: Page, name: str | re.Pattern) -> object:
    return page.get_by_role("button", name=name, exact=isinstance(name, str))


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_label(label).first.click()
    page.get_by_role("menuitem", name=option, exact=True).click()


def test_two_visitors_do_not_disturb_each_other(browser: Browser, address: str):
    """Page, colours, selection, time and data set of the one are nothing to the other."""
    with watched(browser, (1280, 800)) as (one, wrong), watched(browser, (1280, 800)) as (two, wrong_too):
        for page in (one, two):
            page.set_default_timeout(PATIENCE)
            page.goto(address)
            expect(button(page, re.compile("^day 2"))).to_be_visible(timeout=PATIENCE)
            page.wait_for_timeout(3000)
            button(page, "Pause").click()
            expect(button(page, "Play")).to_be_visible(timeout=PATIENCE)
        two.wait_for_timeout(2000)  # what the canvas had still to report
        before = two.get_by_role("slider").first.get_attribute("aria-valuenow")
        choose(one, "Colour cells by", "lineage")
        button(one, re.compile("^neutrophil")).click()
        expect(one.get_by_text("293 cells selected")).to_be_visible(timeout=PATIENCE)
        one.get_by_role("slider").first.focus()
        one.keyboard.press("End")
        one.locator("header").get_by_role("button", name="Toggle theme").click()
        one.get_by_role("tab", name="Data").click()
        one.get_by_text("Human iPSC").click()
        expect(one.get_by_text("1,081").first).to_be_visible(timeout=PATIENCE)
        expect(button(two, re.compile("^day 2"))).to_be_visible()
        expect(two.get_by_text("cells selected")).to_be_hidden()
        assert two.get_by_role("slider").first.get_attribute("aria-valuenow") == before
        assert "page=data" not in two.url
        two.get_by_role("tab", name="Data").click()
        expect(two.get_by_text("No data set is open")).to_be_visible(timeout=PATIENCE)
        assert wrong == wrong_too == []


@pytest.fixture(scope="module")
def many(place: Path) -> Path:
    """300,000 cells of three kinds at four times, which move apart, as a file."""
    rng, n = np.random.default_rng(0), 75_000
    parts, days, kinds = [], [], []
    for day in range(4):
        kind = rng.integers(0, 3, n)
        x = rng.normal(size=(n, 30)).astype(np.float32)
        x[:, 0] += 4 * day
        x[:, 1] += (kind - 1) * 3 * day
        parts.append(x)
        days.append(np.full(n, day))
        kinds.append(np.array(["low", "middle", "high"])[kind])
    obs = pd.DataFrame({"day": np.concatenate(days), "kind": pd.Categorical(np.concatenate(kinds))})
    obs.index = obs.index.astype(str)
    var = pd.DataFrame(index=[f"gene {k}" for k in range(30)])
    path = place / "many.h5ad"
    anndata.AnnData(np.concatenate(parts), obs, var).write_h5ad(path)
    return path


@pytest.mark.slow
def test_three_hundred_thousand_cells_from_a_file_to_their_descendants(browser: Browser, address: str, many: Path):
    with watched(browser, (1280, 800)) as (page, wrong):
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}?page=data")
        button(page, "This computer").click()
        page.get_by_label("Path of a file or folder").fill(str(many))
        button(page, "Open").click()
        expect(page.get_by_text("300,000").first).to_be_visible(timeout=PATIENCE)
        expect(button(page, "Continue to training")).to_be_enabled(timeout=PATIENCE)
        button(page, "Continue to training").click()
        page.get_by_text("Schedule", exact=True).click()
        for label, value in (("Start steps", 10), ("Embedding steps", 10), ("Warm steps", 20), ("Rounds", 1)):
            page.get_by_label(label, exact=True).fill(str(value))
            page.get_by_label(label, exact=True).press("Enter")
        button(page, "Start training").click()
        expect(page.get_by_text("finished").first).to_be_visible(timeout=5 * PATIENCE)
        page.get_by_role("tab", name="Explore").click()
        expect(page.get_by_text("300,000 cells at 4 time points")).to_be_visible(timeout=PATIENCE)
        choose(page, "Colour cells by", "kind")
        began = time.monotonic()
        button(page, re.compile("^high")).click()
        expect(page.get_by_text(re.compile("[0-9,]+ cells selected"))).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_text("descendants each").or_(page.get_by_text("selected").first).first).to_be_visible()
        assert time.monotonic() - began < 20  # a second on a machine that does nothing else
        page.get_by_role("tab", name="Genes").click()
        expect(page.get_by_text("Genes that the flow changes most")).to_be_visible(timeout=PATIENCE)
        page.get_by_role("tab", name="Compare").click()
        expect(page.get_by_text("PCA").first).to_be_visible(timeout=PATIENCE)
        assert wrong == []


@pytest.mark.slow
def test_memory_does_not_grow_while_the_app_is_clicked_through(browser: Browser, address: str):
    """Half an hour of a visitor who tries everything: after the first third the server's memory stays where it is."""
    (server,) = {
        c.pid for c in psutil.net_connections() if c.status == "LISTEN" and c.laddr.port == urlparse(address).port
    }
    memory, rng = psutil.Process(server), random.Random(0)
    sizes: list[tuple[float, float]] = []
    began = time.monotonic()
    with watched(browser, (1280, 800)) as (page, wrong):
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        while (passed := time.monotonic() - began) < 60 * MINUTES:
            rng.choice(ACTIONS)(page, rng)
            page.wait_for_timeout(rng.randrange(100, 900))
            sizes.append((passed, memory.memory_info().rss / 1e6))
        assert wrong == []
    late = np.array([size for passed, size in sizes if passed > 20 * MINUTES])
    thirds = [part.mean() for part in np.array_split(late, 3)]
    assert thirds[-1] - thirds[0] < 0.05 * thirds[0] + 20, f"Megabytes over time: {sizes[:: max(len(sizes) // 20, 1)]}"


def turn_to(name: str) -> Callable[[Page, random.Random], None]:
    return lambda page, rng: page.get_by_role("tab", name=name).click()


def on_explore(act: Callable[[Page, random.Random], None]) -> Callable[[Page, random.Random], None]:
    def there(page: Page, rng: random.Random) -> None:
        page.get_by_role("tab", name="Explore").click()
        expect(page.get_by_label("Colour cells by")).to_be_visible(timeout=PATIENCE)
        act(page, rng)

    return there


def drag(page: Page, rng: random.Random) -> None:
    button(page, rng.choice(["Move", "Box", "Lasso"])).click()
    box = page.locator(".bk-Figure:visible").first.bounding_box()
    corners = [(box["x"] + rng.random() * box["width"], box["y"] + rng.random() * box["height"]) for _ in range(5)]
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=4)
    page.mouse.up()


def zoom(page: Page, rng: random.Random) -> None:
    box = page.locator(".bk-Figure:visible").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.wheel(0, rng.choice([-240, 240]))


COLOURS = ("Time", "Growth rate", "Speed", "lineage", "cell_type")
LAYERS = ("Particles", "Streamlines of the velocity v", "Map of the growth rate g", "Arrows at cells")
ACTIONS: tuple[Callable[[Page, random.Random], object], ...] = (
    *(turn_to(name) for name in ("Data", "Train", "Explore", "Genes", "Compare")),
    on_explore(lambda page, rng: choose(page, "Colour cells by", rng.choice(COLOURS))),
    on_explore(lambda page, rng: page.get_by_role("switch", name=rng.choice(LAYERS)).click()),
    on_explore(lambda page, rng: button(page, rng.choice(["whole course", "this moment"])).click()),
    on_explore(drag),
    on_explore(drag),
    on_explore(zoom),
    on_explore(lambda page, rng: page.keyboard.press(rng.choice([" ", "ArrowRight", "ArrowLeft", "f", "Escape"]))),
    lambda page, rng: page.locator("header").get_by_role("button", name="Toggle theme").click(),
    lambda page, rng: page.reload(),
)


def test_the_actions_are_all_there(browser: Browser, address: str):
    """Each once, so that the long one does not find after minutes that a name has changed."""
    with watched(browser, (1280, 800)) as (page, wrong):
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        expect(page.get_by_role("tab", name="Explore")).to_be_visible(timeout=PATIENCE)
        for action in ACTIONS:
            action(page, random.Random(1))
        wait_for(lambda: page.get_by_role("tab", name="Compare").is_visible(), 60)
        assert wrong == []

"""How soon the app answers a click, at rest and while it trains and draws: measured in a real browser."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page
from pytest_benchmark.fixture import BenchmarkFixture

from cellstream.presets import PRESETS
from tests.app.browser import chromium, whole_app

CLICKS = 20
# from the click to the sentence that answers it, within the page
ANSWER = """async ([name, text]) => {
  const inside = function*(root) { for (const e of root.querySelectorAll('*')) {
    yield e; if (e.shadowRoot) yield* inside(e.shadowRoot) } }
  const find = test => { for (const e of inside(document)) if (test(e)) return e }
  const button = find(e => e.tagName === 'BUTTON' && e.textContent.trim() === name && e.offsetParent)
  const began = performance.now()
  button.click()
  while (performance.now() - began < 15000) {
    await new Promise(go => setTimeout(go, 5))
    if (find(e => !e.children.length && e.textContent.includes(text))) break
  }
}"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The Train page with the sample opened."""
    place = tmp_path_factory.mktemp("clicks")
    with whole_app(place / "log.txt", CELLSTREAM_HOME=str(place / "home")) as address, chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(90_000)
        page.goto(f"{address}?page=data")
        page.get_by_text("Simulated blood: progenitors").click()
        page.get_by_role("button", name="Continue to training").click()
        page.get_by_role("button", name="Start training").wait_for()
        page.wait_for_timeout(3000)
        yield page


@pytest.mark.parametrize("training", [False, True], ids=["at rest", "while it trains"])
def test_click(benchmark: BenchmarkFixture, page: Page, training: bool) -> None:
    """Choosing another preset: forty settings change, a sentence answers."""
    benchmark.group = "click"
    if training:
        page.get_by_role("button", name="Best", exact=True).click()
        page.get_by_role("button", name="Start training").click()
        page.get_by_text("Embedding · step").first.wait_for()
        page.wait_for_timeout(3000)
    names = itertools.cycle(["paper", "quick"])

    def click() -> None:
        name = next(names)
        page.evaluate(ANSWER, [name.capitalize(), PRESETS[name].text])

    benchmark.pedantic(click, setup=lambda: page.wait_for_timeout(700), rounds=CLICKS)
    if training:
        page.get_by_role("button", name="Stop", exact=True).click()

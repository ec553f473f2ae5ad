"""The Compare page as a visitor meets it, in a real browser: the bundled result beside PCA and beside other data."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from cellstream.presets import preset
from cellstream.runs import Run, all_runs
from cellstream.snapshots import Snapshots
from cellstream.worker import work
from cellstream_app.parts.linked import SAME_SHARE
from cellstream_app.results import sample_run
from tests.app.browser import PATIENCE, button, complaints, wait_for, watched, whole_app
from tests.conftest import TINY

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

FIGURES = """
const figures = Object.assign({}, ...Object.values(window.cellstream_linked ?? {}))
"""
VIEWS = f"""() => {{ {FIGURES}
  const of = (f) => [f.x_range.start, f.x_range.end, f.y_range.start, f.y_range.end]
  const home = (f) => [f.x_range.reset_start, f.x_range.reset_end, f.y_range.reset_start, f.y_range.reset_end]
  return Object.fromEntries(Object.entries(figures).map(([place, f]) => [place, [of(f), home(f)]]))
}}"""
# data units at pixels of the frame of the figure at a place, and where the frame lies on the page
AT = f"""([place, x, y]) => {{ {FIGURES}
  const {{frame, el}} = window.Bokeh.index.find_one_by_id(figures[place].id)
  return [frame.x_scale.invert(x), frame.y_scale.invert(y)]
}}"""
# which tool takes a drag there: one that is still the old one would move the picture away
TOOL = f"""(place) => {{ {FIGURES}
  const {{active}} = figures[place].toolbar.gestures.pan
  return active?.type ?? ""
}}"""
LIT = f"""(place) => {{ {FIGURES}
  for (const {{data_source}} of figures[place].renderers) {{
    const {{cell, alpha}} = data_source.data
    if (cell?.length) return [...cell].filter((_, i) => alpha[i] > 0.3).sort((a, b) => a - b)
  }}
}}"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compare")


@pytest.fixture(scope="module")
def page(browser: Browser, home: Path) -> Iterator[Page]:
    """The page with the bundled result beside PCA, at rest; in the end nothing has gone wrong."""
    with (
        whole_app(home / "server.txt", CELLSTREAM_HOME=str(home)) as address,
        watched(browser, (1280, 1400), accept_downloads=True) as (page, wrong),
    ):
        page.set_default_timeout(PATIENCE)
        page.goto(address + "?page=compare")
        expect(page.get_by_text("Labels apart")).to_be_visible()
        button(page, "Pause").click()
        yield page
        assert wrong == []
    log = (home / "server.txt").read_bytes()
    assert not (said := complaints(log)), said


def frames(page: Page) -> dict[str, dict[str, float]]:
    """Where both pictures are."""
    boxes = [box for figure in page.locator(".bk-Figure").all() if (box := figure.bounding_box())]
    return dict(zip(("left", "right"), sorted(boxes, key=lambda box: box["x"]), strict=True))


def shares(page: Page) -> dict[str, np.ndarray]:
    """What both pictures show, as a share of their home views."""
    found = {}
    for place, (view, home) in page.evaluate(VIEWS).items():
        corner, size = np.array(home)[[0, 0, 2, 2]], np.diff(home)[[0, 0, 2, 2]]
        found[place] = (np.array(view) - corner) / size
    return found


def test_a_share_of_one_view_is_the_same_share_of_another(page: Page):
    view, home, other = [2.0, 3.0, 10.0, 30.0], [0.0, 4.0, 0.0, 40.0], [-1.0, 1.0, 100.0, 500.0]
    found = page.evaluate(f"([a, b, c]) => {{ {SAME_SHARE}; return same_share(a, b, c) }}", [view, home, other])
    assert found == pytest.approx([0.0, 0.5, 200.0, 400.0])


def test_one_picture_follows_the_other_and_both_come_back(page: Page):
    before = shares(page)
    box = frames(page)["left"]
    page.mouse.move(box["x"] + 120, box["y"] + 250)
    page.mouse.wheel(0, -120)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 200, steps=4)
    page.mouse.up()
    wait_for(lambda: not np.allclose(shares(page)["right"], before["right"], atol=1e-3), 30)
    wait_for(lambda: np.allclose(*shares(page).values(), atol=1e-5), 30)
    page.evaluate("window.scrollTo(0, 0)")
    button(page, "Fit view").click()
    wait_for(lambda: all(np.allclose(share, before["left"], atol=1e-3) for share in shares(page).values()), 30)


def test_cells_picked_on_one_side_are_lit_on_the_other(page: Page):
    """The cells are those that lie in the box in scikit-learn's PCA."""
    button(page, "Box").click()
    box = frames(page)["right"]
    wait_for(lambda: "BoxSelect" in page.evaluate(TOOL, "right"), 60)
    told = page.get_by_text(re.compile(r"[\d,]+ of 2,736 cells picked"))
    # to a browser that is busy for long, a button held down is a press and no drag
    for _ in range(8):
        (x0, y0), (x1, y1) = page.evaluate(AT, ["right", 250, 200]), page.evaluate(AT, ["right", 440, 380])
        page.mouse.move(box["x"] + 250, box["y"] + 200)
        page.mouse.down()
        page.mouse.move(box["x"] + 440, box["y"] + 380, steps=6)
        page.mouse.up()
        with suppress(AssertionError):
            expect(told).to_be_visible(timeout=10_000)
            break
    z = PCA(2, random_state=0).fit_transform(sample_run().snapshots().x.numpy())
    expected = np.flatnonzero((z[:, 0] > x0) & (z[:, 0] < x1) & (z[:, 1] < y0) & (z[:, 1] > y1))
    assert 50 < len(expected) < 2000
    expect(told).to_be_visible()
    wait_for(lambda: 0 < len(page.evaluate(LIT, "left")) < 2736, 30)
    lit = page.evaluate(LIT, "left")
    # cells on the very edge may fall to either side of a pixel
    assert len(set(lit) ^ set(expected.tolist())) <= 3
    assert lit == page.evaluate(LIT, "right")
    button(page, "Clear").click()
    wait_for(lambda: len(page.evaluate(LIT, "left")) == 2736, 30)
    button(page, "Move").click()


def test_the_table_is_a_file(page: Page, tmp_path: Path):
    with page.expect_download() as download:
        page.get_by_role("button", name="Download .csv").click()
    download.value.save_as(tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as file:
        lines = {line["metric"]: line for line in csv.DictReader(file)}
    s = sample_run().snapshots()
    x, index = s.x.numpy(), s.index.numpy()
    z = PCA(2, random_state=0).fit_transform(x)
    each = [trustworthiness(x[index == i], z[index == i], n_neighbors=15) for i in range(6)]
    assert float(lines["Trust"]["right: PCA"]) == pytest.approx(np.mean(each), abs=2e-3)
    assert float(lines["TC"]["left: Simulated blood"]) == pytest.approx(sample_run().metrics()["tc"], rel=1e-4)
    assert lines["Trust"]["better"] == "left: Simulated blood"
    assert (lines["VC"]["right: PCA"], lines["VC"]["better"]) == ("", "")


def test_dynamics_can_be_fitted_and_stopped(page: Page, home: Path):
    expect(page.get_by_text("There is one result so far")).to_be_visible()
    button(page, "Fit TIGON dynamics").click()
    expect(page.get_by_text(re.compile(r"step [\d,]+ of 5,000"))).to_be_visible()
    button(page, "Stop").click()
    expect(button(page, "Fit TIGON dynamics")).to_be_visible()
    (run,) = all_runs(home / "runs")
    assert run.recipe["method"] == "TIGON + PCA"
    assert run.status().state == "cancelled"


@pytest.mark.slow
def test_results_of_different_data_stand_side_by_side_without_a_winner(page: Page, home: Path, moving_cloud: Snapshots):
    config = preset("quick", **TINY, embedding_steps=10, warm_steps=10)
    run = Run.create(home / "runs" / "cloud", moving_cloud, config, {"name": "a cloud"})
    work(run.folder)
    page.reload()
    expect(page.get_by_text("Labels apart")).to_be_visible()
    page.get_by_role("combobox", name="Right", exact=True).click()
    page.get_by_text("a cloud", exact=True).last.click()
    expect(page.get_by_text("These are results of different data")).to_be_visible()
    expect(page.get_by_text("so neither side is called better")).to_be_visible()
    expect(page.get_by_text("◀ left")).to_have_count(0)

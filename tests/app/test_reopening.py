"""A reload finds the data set that a tab had open, and how it was read."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from cellstream.config import Preprocess
from cellstream_app import reopening
from cellstream_app.pages.data import REAL
from cellstream_app.reading import Reading
from tests.app.browser import choose, visit

READING = Reading(
    "day", "obsm:X_pca", {"day 0": 0.0, "2": 2.5}, "h", True, (1.0, 2.5), Preprocess("no", 100, 7), ("finite",)
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("reading", [READING, Reading()])
def test_what_was_open_comes_back_as_it_was_read(home: Path, reading: Reading):
    word = reopening.new_word()
    assert reopening.remembered(word) is None
    reopening.remember(word, "/data/cells <b>.h5ad", Reading("other"))
    reopening.remember(word, "/data/cells <b>.h5ad", reading)
    assert reopening.remembered(word) == ("/data/cells <b>.h5ad", reading)
    assert reopening.remembered(reopening.new_word()) is None


def test_only_the_latest_tabs_are_kept(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reopening, "MOST", 3)
    words = [reopening.new_word() for _ in range(4)]
    for word in (*words[:3], words[0], words[3]):
        reopening.remember(word, word, Reading())
    assert [reopening.remembered(word) is not None for word in words] == [True, False, True, True]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"aaaaaaaaaaaaaaaa": 1}', '{"aaaaaaaaaaaaaaaa": {"key": 1}}',
     '{"aaaaaaaaaaaaaaaa": {"key": "x", "reading": {"time_key": "day"}}}',
     '{"aaaaaaaaaaaaaaaa": {"key": "x", "reading": []}}'],
)  # fmt: skip
def test_what_was_kept_otherwise_is_not_known(home: Path, content: str):
    home.mkdir()
    (home / "tabs.json").write_text(content)
    assert reopening.remembered("a" * 16) is None
    reopening.remember("b" * 16, "key", Reading())
    assert reopening.remembered("b" * 16) == ("key", Reading())


def test_words_are_not_guessed_and_no_place(home: Path):
    words = {reopening.new_word() for _ in range(100)}
    assert len(words) == 100
    assert all(re.fullmatch(r"[\w-]{16}", word) for word in words)
    reopening.remember("../../../etc/x", "key", Reading())  # it is a name in a table, never one of a file
    assert [path.name for path in home.iterdir()] == ["tabs.json"]
    assert json.loads((home / "tabs.json").read_text())
    assert not stat.S_IMODE((home / "tabs.json").stat().st_mode) & stat.S_IWOTH


@pytest.mark.browser
@pytest.mark.slow
def test_a_reload_finds_what_was_open(browser: Browser, address: str):
    with visit(browser, address, "?page=data") as page:
        page.get_by_text("Simulated blood: progenitors").click()
        expect(page.get_by_text("scaled each cell to 10,000 counts")).to_be_visible()
        choose(page, "Time steps", REAL)
        expect(page).to_have_url(re.compile("data="))
        page.wait_for_timeout(1500)
        page.reload()
        expect(page.get_by_role("button", name="Continue to training")).to_be_enabled()
        expect(page.get_by_role("combobox", name="Time steps")).to_have_text(REAL)
        page.get_by_role("button", name="Continue to training").click()
        expect(page).to_have_url(re.compile("page=train"))
        page.reload()  # on another page, the data set is there for a training
        expect(page.get_by_role("button", name="Start training")).to_be_enabled()
    with visit(browser, address, "?page=data&data=" + "x" * 16) as page:
        expect(page.get_by_text("No data set is open")).to_be_visible()

"""What tests in a real browser share. A module may have another ``place`` or ``address`` of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.app.browser import chromium, complaints, whole_app


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the module's."""
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    """The app with its bundled result, as a user would serve it; in its log nothing may have gone wrong."""
    log = place / "server.txt"
    with whole_app(log, CELLSTREAM_HOME=str(place / "home")) as address:
        yield address
    assert not (said := complaints(log.read_bytes())), said

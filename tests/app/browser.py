"""A Panel app in this process or in one of its own, a real Chromium that looks at it, and what a visitor does there."""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import numpy as np
import panel as pn
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from playwright.sync_api import TimeoutError as TooLong
from scipy.ndimage import label

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 90_000
"""Milliseconds for anything to appear; far more than it takes, for a machine that does other things as well."""
expect.set_options(timeout=PATIENCE)
# WebGL in software, and nothing that Chromium would ask the outside for by itself
FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip


def chromium_path() -> str:
    """The system's Chromium; without one the test fails. ``CELLSTREAM_CHROMIUM`` names another."""
    names = (os.environ.get("CELLSTREAM_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(
            "There is no Chromium on this machine: install Debian's chromium, or name one in CELLSTREAM_CHROMIUM."
        )
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    path = chromium_path()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(app: Callable[[], pn.viewable.Viewable]) -> Iterator[str]:
    """Serve what ``app()`` returns for each session, in a thread; yields the address."""
    port = free_port()
    host = f"127.0.0.1:{port}"
    session = lambda: app()  # noqa: E731  Panel calls functions only, and not every callable object
    settings = dict(address="127.0.0.1", websocket_origin=[host], threaded=True, show=False, verbose=False)
    server = pn.serve({"/app": session}, port=port, **settings)
    try:
        yield f"http://{host}/app"
    finally:
        server.stop()


@contextmanager
def whole_app(log: Path, *options: str, **environment: str) -> Iterator[str]:
    """The app as a user would serve it, in a process of its own; what it says goes to ``log``. Yields the address."""
    port = free_port()
    env = {name: value for name, value in os.environ.items() if name != "CELLSTREAM_FILE"}
    env |= {"OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "panel", "serve", str(ROOT / "cellstream_app"), "--port", str(port), *options]
    command += ["--address", "127.0.0.1", "--allow-websocket-origin", f"127.0.0.1:{port}"]
    with open(log, "wb") as out:
        server = subprocess.Popen(command, env=env, stdout=out, stderr=out)
    try:
        wait_for(lambda: b"app running at" in log.read_bytes(), 60)
        yield f"http://127.0.0.1:{port}/cellstream_app"
    finally:
        server.terminate()
        server.wait(60)


def complaints(log: bytes) -> str:
    """What a server's log says went wrong: tracebacks, and hooks of a figure that could not be applied. Not what
    Tornado and Bokeh say of a page that was closed while something was being sent to it, or while something that it
    had sent was still waiting."""
    records = re.split(r"(?m)^(?=\d{4}-\d\d-\d\d )", log.decode(errors="replace"))
    wrong = "Traceback", "could not be applied"
    closed = "tornado.websocket.WebSocketClosedError", "assert self._session is not None"
    found = [r for r in records if any(words in r for words in wrong) and not any(words in r for words in closed)]
    return "".join(found)


@contextmanager
def watched(
    browser: Browser, size: tuple[int, int] = (800, 600), tour: bool = False, **context: object
) -> Iterator[tuple[Page, list[str]]]:
    """A page and the list of what went wrong on it: errors on the console, and requests to anywhere but here.

    A visitor who has seen the hints of a first visit, unless ``tour``.
    """
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, **context)
    if not tour:
        page.add_init_script("try { localStorage.setItem('cellstream-tour', 'done') } catch {}")
    wrong: list[str] = []
    page.on("console", lambda m: wrong.append(f"console: {m.text}") if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("request", lambda r: None if _is_local(r.url) else wrong.append(f"request: {r.url}"))
    try:
        yield page, wrong
    finally:
        page.close()  # also after a failure: a flow that plays on takes the time of the tests to come


def _is_local(url: str) -> bool:
    parts = urlparse(url)
    return parts.hostname == "127.0.0.1" or parts.scheme in ("data", "blob", "about")


def picture(page: Page) -> np.ndarray:
    """What the page shows now, as ``(height, width, 3)`` integers."""
    return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB")).astype(int)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Until the condition holds; fails after the seconds given."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


def spots(mask: np.ndarray, smallest: int = 3) -> np.ndarray:
    """Centres (x, y) of the connected regions of a mask, top to bottom."""
    regions, n = label(mask)
    found = [np.argwhere(regions == i + 1) for i in range(n)]
    return np.array([f.mean(axis=0)[::-1] for f in found if len(f) >= smallest]).reshape(-1, 2)


# what a visitor does


@contextmanager
def visit(browser: Browser, address: str, query: str = "", **context: object) -> Iterator[Page]:
    """A page of the app; in the end there were no errors on its console and no requests to elsewhere."""
    with watched(browser, (1280, 800), **context) as (page, wrong):
        page.set_default_timeout(PATIENCE)
        page.goto(address + query)
        try:
            yield page
        finally:
            told = "\n".join(wrong)
            logging.getLogger(__name__).warning(told)  # also where a test has failed of it already
        assert not wrong, told


def button(page: Page, name: str | re.Pattern) -> Locator:
    return page.get_by_role("button", name=name, exact=isinstance(name, str))


def turn_to(page: Page, name: str) -> None:
    """Another of the five pages."""
    page.get_by_role("tab", name=name).click()


def choose(page: Page, label: str, option: str) -> None:
    """Open a list and choose from it; once more where it was opened before the option had come."""
    item = page.get_by_role("menuitem", name=option, exact=True)
    for _ in range(3):
        page.get_by_label(label).locator("visible=true").first.click()
        try:
            item.wait_for(timeout=PATIENCE / 3)
            break
        except TooLong:
            page.keyboard.press("Escape")
    item.click()


def slider(page: Page) -> Locator:
    return page.get_by_role("slider").first


def shown_time(page: Page) -> float:
    return float(slider(page).get_attribute("aria-valuenow"))


def open_path(page: Page, path: Path) -> None:
    button(page, "This computer").click()
    page.get_by_label("Path of a file or folder").fill(str(path))
    page.get_by_label("Path of a file or folder").press("Enter")


def start_training(page: Page, name: str, rounds: int, embedding: int = 20) -> None:
    """On the Train page, with data open: a run of a few steps and so many rounds."""
    page.get_by_label("Name of the run").fill(name)
    if not page.get_by_label("Rounds", exact=True).is_visible():
        page.get_by_text("Schedule", exact=True).click()
    for text, value in (
        ("Start steps", 20), ("Embedding steps", embedding), ("Warm steps", 20), ("Rounds", rounds),
        ("Patience, rounds", 9999),
    ):  # fmt: skip
        page.get_by_label(text, exact=True).fill(str(value))
        page.get_by_label(text, exact=True).press("Enter")
    expect(page.get_by_text(re.compile(r"Changed from the preset: .*patience"))).to_be_visible()
    selected = parse_qs(urlparse(page.url).query).get("run", ["sample"])[0]
    button(page, "Start training").click()
    # until the page has turned to the new run, what it shows is still of the one before
    expect(page).to_have_url(re.compile(rf"[?&]run=(?!{re.escape(selected)}(&|$))"))
    expect(page.get_by_text(name).first).to_be_visible()


def drag_around(page: Page, *corners: tuple[float, float], figure: int = 0) -> None:
    """Draw with the mouse through corners of a figure, as shares of its width and height; the hand rests a while after
    the button has gone down."""
    stage = page.locator(".bk-Figure:visible").nth(figure)
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.wait_for_timeout(500)
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()

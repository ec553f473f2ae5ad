"""How long the app's event loop is held while a million cells train and the page shows it.

Measured within the server, callback by callback: the processor's time that each takes, and the time that passes
meanwhile, which is longer where training and browser want the same cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page
from pytest_benchmark.fixture import BenchmarkFixture

from cellstream.simulate import simulate
from tests.app.browser import chromium, whole_app

CELLS, TIMES = 1_000_000, 6
SECONDS = 40
# found by Python before anything else runs
RECORDER = """
import asyncio.events, os, time
run, out = asyncio.events.Handle._run, open(os.environ["CALLBACKS"], "a", buffering=1)
def timed(self):
    passed, own = time.perf_counter(), time.thread_time()
    try:
        return run(self)
    finally:
        out.write(f"{time.thread_time() - own:.6f} {time.perf_counter() - passed:.6f}\\n")
asyncio.events.Handle._run = timed
"""


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Path]]:
    """The Train page with a million cells that train, and the file to which callbacks are written."""
    place = tmp_path_factory.mktemp("lag")
    adata = simulate("populations", n_cells=CELLS // TIMES, n_genes=50, times=range(TIMES), growth=(0.0, 0.0))
    adata.write_h5ad(place / "million.h5ad")
    (place / "first").mkdir()
    (place / "first" / "sitecustomize.py").write_text(RECORDER)
    how = dict(PYTHONPATH=str(place / "first"), CALLBACKS=str(place / "callbacks"), CELLSTREAM_HOME=str(place / "home"))
    with whole_app(place / "log.txt", **how) as address, chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(180_000)
        page.goto(f"{address}?page=data")
        page.get_by_role("button", name="This computer").click()
        page.get_by_label("Path of a file or folder").fill(str(place / "million.h5ad"))
        page.get_by_label("Path of a file or folder").press("Enter")
        page.get_by_role("button", name="Continue to training").click()
        page.get_by_role("button", name="Start training").click()
        page.get_by_text("Embedding · step").first.wait_for()
        page.wait_for_timeout(5_000)
        yield page, place / "callbacks"
        page.get_by_role("button", name="Stop", exact=True).click()


def test_lag(benchmark: BenchmarkFixture, training: tuple[Page, Path]) -> None:
    page, callbacks = training
    benchmark.group = "event loop"
    before = callbacks.stat().st_size
    benchmark.pedantic(page.wait_for_timeout, (SECONDS * 1000,), rounds=1)
    rows = callbacks.read_bytes()[before:].decode().splitlines()[1:-1]  # the first and the last may be half lines
    own, passed = 1000 * np.array([line.split() for line in rows], float).T
    for name, took in (("of the processor", own), ("passed", passed)):
        most = np.quantile(took, (0.99, 0.999, 1)).round(1).tolist()
        found = dict(zip(("99 %", "99.9 %", "most"), most, strict=True))
        benchmark.extra_info[f"milliseconds {name}, of {len(rows):,} callbacks"] = found

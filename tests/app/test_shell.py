"""The frame around the pages: how it begins, and that it answers while results are loaded. Without a browser."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import panel as pn
import pytest

from cellstream import runs
from cellstream.config import Config
from cellstream.runs import Run
from cellstream_app import session as app
from cellstream_app import style
from cellstream_app.results import load_result, sample_run
from cellstream_app.session import SAMPLE
from cellstream_app.shell import ELSEWHERE_BEATS, Shell
from tests.app.test_session import of_the_future


@pytest.fixture(autouse=True)
def beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The clocks that have been started."""
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CELLSTREAM_DATA_DIR", raising=False)
    style.use_defaults()
    started: list[int] = []
    monkeypatch.setattr(pn.state, "add_periodic_callback", lambda callback, period: started.append(period))
    return started


def test_a_run_that_cannot_be_read_does_not_keep_the_page_from_beginning(beats: list[int]):
    run = Run.create(runs.new_folder("later"), sample_run().snapshots(), Config(), {"name": "later"})
    shell = Shell()
    shell.session.run_id = of_the_future(run).folder.name
    asyncio.run(shell._begin(None))
    assert len(beats) == 1
    assert shell.session.run_id == SAMPLE
    assert "of_the_future" in shell.session.result_problem


def test_a_page_begins_once(beats: list[int]):
    shell = Shell()
    asyncio.run(shell._begin(None))
    asyncio.run(shell._begin(None))
    assert len(beats) == 1


def test_the_clock_beats_on_while_a_result_is_loaded(monkeypatch: pytest.MonkeyPatch):
    """A beat holds the document, and until it is over no click is heard."""
    shell, free, begun = Shell(), threading.Event(), threading.Event()
    session = shell.session
    asyncio.run(session.restore())

    def load(run: Run) -> None:
        begun.set()
        assert free.wait(30)
        return load_result(run)

    monkeypatch.setattr(app, "load_result", load)
    session.status = app.Status("running")  # until it is asked, a moment later
    before = session.result

    async def story() -> None:
        session.beat = 1
        await asyncio.wait_for(shell._beat(), 10)
        while not begun.is_set():
            await asyncio.sleep(0.01)
        assert session.loading
        await asyncio.wait_for(shell._beat(), 10)
        free.set()
        while session.loading:
            await asyncio.sleep(0.01)

    asyncio.run(story())
    assert session.result.of_same_run(before)


def test_a_run_under_way_is_told_wherever_one_is(monkeypatch: pytest.MonkeyPatch):
    shell = Shell()
    session = shell.session
    asyncio.run(session.restore())
    run = Run.create(runs.new_folder("other"), sample_run().snapshots(), Config(), {"name": "the other one"})
    state = [app.Status("running")]
    mine = Run.status
    monkeypatch.setattr(Run, "status", lambda of: state[0] if of.folder == run.folder else mine(of))

    async def look(shown: Callable[[], bool]) -> None:
        session.beat = ELSEWHERE_BEATS - 1
        await shell._beat()
        ends = time.monotonic() + 30
        while not shown():
            assert time.monotonic() < ends, "waited in vain"
            await asyncio.sleep(0.01)

    asyncio.run(look(lambda: shell.chip.visible))
    assert shell.chip.label == "the other one: running"
    state[0] = app.Status("running", step=5, total=10)
    asyncio.run(look(lambda: shell.chip.label == "the other one: running 50 %"))
    asyncio.run(shell._to_training(None))
    assert (session.page, session.run.folder) == ("train", run.folder)
    state[0] = app.Status("finished")
    asyncio.run(session.choose(SAMPLE))
    asyncio.run(look(lambda: not shell.chip.visible))

"""The time of a page: its keys, how often what depends on it is drawn, and which time the Genes page takes over."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from cellstream_app import style
from cellstream_app.components.flow import FlowCanvas
from cellstream_app.pages.genes import GenesPage
from cellstream_app.parts.pacer import Pacer
from cellstream_app.parts.timebar import STRIDES, TimeBar, apart
from cellstream_app.results import load_result, sample_run
from cellstream_app.session import Session


def test_space_plays_and_arrows_step():
    canvas = FlowCanvas()
    bar = TimeBar(canvas, lambda: None)
    result = SimpleNamespace(times=np.array([0.0, 5.0]), snapshots=SimpleNamespace(unit="d", labels=("0", "5")))
    bar.show(result, start=True)
    assert bar.key(" ")
    assert canvas.playing
    assert bar.key("ArrowRight")
    assert not canvas.playing
    assert bar.time == canvas.time == 5.0 / STRIDES
    assert bar.key("ArrowLeft")
    assert bar.time == 0.0
    assert not bar.key("f")


@pytest.mark.parametrize(
    ("times", "labels", "told"),
    [
        ([0, 8, 24, 168], ["0d", "8h", "1d", "7d"], ["0d", "", "1d", "7d"]),
        ([0, 1, 2], ["a", "b", "c"], ["a", "b", "c"]),
        ([0, 1, 1.01], ["0", "1", "1.01"], ["0", "", "1.01"]),
        ([3], ["3"], ["3"]),
        (list(range(100)), [f"day {k}" for k in range(100)], None),
    ],
)
def test_labels_below_the_slider_do_not_run_into_each_other(times: list, labels: list, told: list | None):
    found = apart(np.array(times, float), labels)
    assert told is None or found == told
    assert (found[0], found[-1], len(found)) == (labels[0], labels[-1], len(labels))
    assert sum(map(len, found)) * 7 < 460


def test_what_a_slow_browser_reports_back_does_not_stop_the_time():
    canvas = FlowCanvas()
    bar = TimeBar(canvas, lambda: None)
    result = SimpleNamespace(
        times=np.array([0.0, 2.0, 5.0]), snapshots=SimpleNamespace(unit="d", labels=("0", "2", "5"))
    )
    bar.show(result, start=True)
    canvas.playing = True
    given = []
    for time in (0.0, 1.0, 2.0, 5.0):  # also at measured times, which a visitor can choose, and at the ends
        canvas.time = time
        given.append(bar.slider.value)
        assert bar.time == time
        assert bar.slider.value == pytest.approx(time, abs=1e-6)
    bar.slider.value = given[1]
    assert canvas.playing
    assert bar.time == canvas.time == 5.0
    assert bar.slider.value == given[-1]  # put back
    bar.slider.value = 2.0  # the visitor's own
    assert not canvas.playing
    assert bar.time == canvas.time == 2.0


def test_one_picture_at_a_time_and_while_time_plays_with_rests():
    drawn, going_on = [], asyncio.Event()

    async def draw() -> None:
        drawn.append(1)
        await going_on.wait()

    async def story() -> None:
        pacer = Pacer(draw, lambda: 1000.0)
        await pacer.beat(False)
        assert drawn == []  # nothing has changed
        pacer.stale = True
        first = asyncio.ensure_future(pacer.beat(True))
        await asyncio.sleep(0)
        pacer.stale = True
        await pacer.beat(False)
        assert len(drawn) == 1  # the first one is not done
        going_on.set()
        await first
        await pacer.beat(True)
        assert len(drawn) == 1  # it rests
        await pacer.beat(False)
        assert len(drawn) == 2
        await pacer.beat(False)
        assert len(drawn) == 2

    asyncio.run(story())


def test_the_ranking_begins_in_the_middle_and_follows_a_time_that_was_chosen_not_one_that_plays():
    style.use_defaults()
    session = Session(page="genes", time=7.0)
    page = GenesPage(session)
    page._ask = lambda *stages: None
    session.result = load_result(sample_run())
    assert page.drivers.time == 3.5

    def visit(**seen: float | bool) -> float:
        session.page = "explore"
        session.param.update(**seen)
        session.page = "genes"
        return page.drivers.time

    assert visit(time=1.0, playing=True) == 3.5
    assert visit(time=2.0, playing=False) == 2.0
    assert visit() == 2.0

"""FlowCanvas in a real browser: Bokeh's own glyphs at the same coordinates say where the particles must be."""

from __future__ import annotations

import time

import holoviews as hv
import numpy as np
import panel as pn
import pytest
from panel.io.document import hold
from playwright.sync_api import Browser, Page
from scipy.ndimage import label

from cellstream.colours import Values
from cellstream_app import plots, style
from cellstream_app.components import flow
from tests.app.browser import picture, served, spots, wait_for, watched

pytestmark = pytest.mark.browser

MARKS = np.array([[-0.3, -0.25], [0.35, -0.2], [-0.2, 0.3], [0.3, 0.25]])
MAGENTA = np.array([[255, 0, 255, 255]], np.uint8)
GREEN = "#00c000"


class Stage:
    """An app with a canvas over a figure whose squares lie at MARKS; keeps hold of the server's side."""

    def __init__(self, theme: style.Theme = style.LIGHT, **canvas: object) -> None:
        self.theme, self.settings = theme, {"trail": 0.0, "point_size": 6.0, **canvas}
        self.times_reported: list[tuple[float, float]] = []

    def __call__(self) -> pn.viewable.Viewable:
        style.use_defaults()
        self.canvas = flow.FlowCanvas(theme=self.theme, frame_id=flow.new_frame_id(), clock=False)
        self.canvas.param.watch(lambda e: self.times_reported.append((time.monotonic(), e.new)), "time")
        self.load(self.canvas)
        self.canvas.param.update(**self.settings)
        cells = plots.Cells(np.array([[-1.0, -1.0], [1.0, 1.0]]), Values(np.zeros(2)), alpha=0.0)
        squares = hv.Points(MARKS, ["x", "y"]).opts(marker="square", size=22, color=GREEN)
        picture = plots.embedding(cells) * squares
        picture = picture.opts(hooks=[flow.attach(self.canvas.frame_id)])
        self.document = pn.state.curdoc
        pane = pn.pane.HoloViews(picture, sizing_mode="stretch_width", height=500, linked_axes=False)
        return flow.over(pane, self.canvas)

    def load(self, canvas: flow.FlowCanvas) -> None:
        """Particles that stay on MARKS."""
        paths = np.repeat(MARKS[None], 3, axis=0)
        canvas.show(paths, np.zeros((3, 4)), [0, 1, 2], np.repeat(MAGENTA, 4, axis=0))

    def on_server(self, **changes: object) -> None:
        self.document.add_next_tick_callback(lambda: self.canvas.param.update(**changes))


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    wait_for(lambda: len(spots(is_green(picture(page)), smallest=60)) >= 4, 20)
    wait_for(lambda: is_magenta(picture(page)).sum() > 20, 20)


def is_magenta(image: np.ndarray) -> np.ndarray:
    return (image[..., 0] > 150) & (image[..., 2] > 150) & (image[..., 1] < 130)


def is_green(image: np.ndarray) -> np.ndarray:
    return (image[..., 1] > image[..., 0] + 60) & (image[..., 1] > image[..., 2] + 60)


def offsets(page: Page) -> tuple[np.ndarray, np.ndarray]:
    """Centres of Bokeh's squares, and how far the particle on each is from its centre, in pixels."""
    image = picture(page)
    squares = spots(is_green(image) | is_magenta(image), smallest=100)
    particles = spots(is_magenta(image))
    assert len(squares) == len(particles) == 4
    nearest = np.linalg.norm(squares[:, None] - particles[None], axis=-1)
    return squares, nearest.min(axis=1)


@pytest.mark.parametrize("ratio", [1, 2])
def test_particles_lie_on_their_coordinates_before_and_after_zoom_drag_and_resize(browser: Browser, ratio: int) -> None:
    with served(Stage()) as url, watched(browser, device_scale_factor=ratio) as (page, wrong):
        open_page(page, url)
        start, apart = offsets(page)
        assert apart.max() < 0.5 * ratio
        page.mouse.move(400, 250)
        for _ in range(3):
            page.mouse.wheel(0, -120)
            page.wait_for_timeout(150)
        page.wait_for_timeout(600)
        zoomed, apart = offsets(page)
        assert np.ptp(zoomed, axis=0).min() > 1.1 * np.ptp(start, axis=0).min()  # the view did change
        assert apart.max() < 0.5 * ratio
        page.mouse.down()
        page.mouse.move(440, 280, steps=5)
        page.mouse.up()
        page.wait_for_timeout(600)
        dragged, apart = offsets(page)
        np.testing.assert_allclose(dragged - zoomed, np.tile([40 * ratio, 30 * ratio], (4, 1)), atol=2 * ratio)
        assert apart.max() < 0.5 * ratio
        page.set_viewport_size({"width": 620, "height": 600})
        page.wait_for_timeout(1200)
        resized, apart = offsets(page)
        assert np.abs(resized - dragged).max() > 10
        assert apart.max() < 0.5 * ratio
        assert not wrong


class Moving(Stage):
    """One particle goes from the first mark to the second in two units of time."""

    def load(self, canvas: flow.FlowCanvas) -> None:
        paths = np.linspace(MARKS[0], MARKS[1], 5)[:, None]
        canvas.show(paths, np.zeros((5, 1)), np.linspace(0, 2, 5), MAGENTA)


def place_between_marks(page: Page) -> float:
    """Where the one particle is on the way from the first to the second mark: 0 to 1."""
    image = picture(page)
    squares = spots(is_green(image) | is_magenta(image), smallest=100)
    lower = squares[np.argsort(squares[:, 1])[-2:]]
    (x0, _), (x1, _) = lower[np.argsort(lower[:, 0])]
    (particle,) = spots(is_magenta(image))
    return float((particle[0] - x0) / (x1 - x0))


def test_setting_the_time_on_the_server_moves_the_particles(browser: Browser) -> None:
    stage = Moving()
    with served(stage) as url, watched(browser) as (page, wrong):
        open_page(page, url)
        for moment in (0.5, 1.2, 0.8):  # 0.8 and 1.2 lie between frames
            stage.on_server(time=moment)
            page.wait_for_timeout(700)
            assert place_between_marks(page) == pytest.approx(moment / 2, abs=0.012)
        assert not wrong


def test_playing_advances_the_time_on_the_server_and_pausing_stops_it(browser: Browser) -> None:
    stage = Moving(speed=2.0)
    with served(stage) as url, watched(browser) as (page, wrong):
        open_page(page, url)
        stage.on_server(playing=True)
        wait_for(lambda: stage.canvas.time > 0, 5)
        began, at = time.monotonic(), stage.canvas.time
        page.wait_for_timeout(2500)
        seconds = stage.times_reported[-1][0] - began
        # speed 2 plays the two units of time in seven seconds; slow frames may make it later, never earlier
        assert 0.4 * 2 / 7 < (stage.canvas.time - at) / seconds < 1.15 * 2 / 7
        moments = [moment for when, moment in stage.times_reported if when >= began]
        assert moments == sorted(moments)
        assert len(moments) <= 1 + 4.5 * seconds
        stage.on_server(playing=False)
        # what was on its way when it was paused still comes
        wait_for(lambda: place_between_marks(page) == pytest.approx(stage.canvas.time / 2, abs=0.02), 10)
        page.wait_for_timeout(700)
        stopped = stage.canvas.time
        page.wait_for_timeout(700)
        assert stage.canvas.time == stopped
        assert not wrong


def test_a_pause_at_another_time_is_at_that_time(browser: Browser) -> None:
    """As when a bundle is opened, which was left paused: what the server asks for in one breath is one wish."""
    stage = Moving(speed=1.0, time=1.5)
    with served(stage) as url, watched(browser) as (page, wrong):
        open_page(page, url)

        def ask() -> None:
            with hold():  # as all that an event of the page brings about
                stage.canvas.time = 0.0  # another result begins anew …
                stage.canvas.playing = True
                stage.canvas.rest(1.25)  # … and stands where it was left

        stage.document.add_next_tick_callback(ask)
        page.wait_for_timeout(1500)
        assert stage.canvas.time == 1.25
        assert place_between_marks(page) == pytest.approx(1.25 / 2, abs=0.02)
        assert not wrong


def test_without_a_loop_playing_ends_at_the_last_frame(browser: Browser) -> None:
    stage = Moving(speed=14.0, loop=False)
    with served(stage) as url, watched(browser) as (page, wrong):
        open_page(page, url)
        stage.on_server(playing=True)
        wait_for(lambda: stage.canvas.time > 0, 10)
        wait_for(lambda: not stage.canvas.playing, 10)
        assert stage.canvas.time == pytest.approx(2.0)
        assert not wrong


COUNT_WORK = """
window.work = {frames: 0, draws: 0, uploads: 0, floats: 0}
const gl = WebGL2RenderingContext.prototype
const count = (name, what) => {
  const call = gl[name]
  gl[name] = function (...given) { what(given); return call.apply(this, given) }
}
count("clear", () => work.frames++)
for (const name of ["drawArrays", "drawElements", "drawArraysInstanced", "drawElementsInstanced"])
  count(name, () => work.draws++)
for (const name of ["bufferData", "bufferSubData", "texImage2D", "texSubImage2D"]) count(name, () => work.uploads++)
count("uniform1fv", given => { work.floats = Math.max(work.floats, given[1].length) })
"""


class Crowd(Stage):
    """Fifty thousand particles that drift to the right."""

    def load(self, canvas: flow.FlowCanvas) -> None:
        start = np.random.default_rng(0).uniform(-0.5, 0.4, (50_000, 2))
        paths = start + np.linspace(0, 0.1, 20)[:, None, None] * np.array([1.0, 0.0])
        canvas.show(paths, np.zeros((20, 50_000)), np.linspace(0, 2, 20), np.repeat(MAGENTA, 50_000, axis=0))


def test_a_frame_of_fifty_thousand_particles_is_two_draw_calls_and_writes_no_buffer(browser: Browser) -> None:
    """What a graphics card has to do for a frame, counted, since this one is a processor: the rest is its shaders'."""
    stage = Crowd(trail=0.1, point_size=2.0)
    with served(stage) as url, watched(browser, size=(500, 400)) as (page, wrong):
        page.add_init_script(COUNT_WORK)
        page.goto(url)
        wait_for(lambda: is_magenta(picture(page)).sum() > 20, 60)
        loaded = page.evaluate("({...work})")
        assert loaded["uploads"] == 2  # where the particles are at all times, and their colours
        stage.on_server(playing=True)
        wait_for(lambda: page.evaluate("work.frames") >= loaded["frames"] + 8, 120)
        after = page.evaluate("({...work})")
        frames = after["frames"] - loaded["frames"]
        assert after["draws"] - loaded["draws"] == 2 * frames
        assert after["uploads"] == loaded["uploads"]
        assert 0 < after["floats"] <= 28, "Of a trail only the times of its points are handed over."
        assert not wrong


class Growing(Stage):
    """Of four particles at rest, the two on the right double their mass, the two on the left halve it."""

    def load(self, canvas: flow.FlowCanvas) -> None:
        change = np.where(MARKS[:, 0] > 0, np.log(2), -np.log(2))
        log_w = np.array([0.0, 1.0])[:, None] * change + 3.0  # the level itself must not matter
        canvas.show(np.repeat(MARKS[None], 2, axis=0), log_w, [0, 1], np.repeat(MAGENTA, 4, axis=0))


@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK])
def test_area_follows_mass(browser: Browser, theme: style.Theme) -> None:
    stage = Growing(theme, point_size=14.0)
    with served(stage) as url, watched(browser) as (page, wrong):
        open_page(page, url)

        def areas() -> np.ndarray:
            mask = is_magenta(picture(page))
            regions, n = label(mask)
            sizes = [(np.argwhere(regions == i + 1)[:, 1].mean(), (regions == i + 1).sum()) for i in range(n)]
            return np.array([size for _, size in sorted(sizes) if size > 3])

        start = areas()
        np.testing.assert_allclose(start, start.mean(), rtol=0.15)
        stage.on_server(time=1.0)
        page.wait_for_timeout(700)
        left, right = areas()[:2], areas()[2:]
        np.testing.assert_allclose(right / start.mean(), 2, rtol=0.25)
        assert (left < 0.7 * start.mean()).all()
        assert not wrong


def test_a_trail_lies_behind_the_particle_and_not_before_it(browser: Browser) -> None:
    stage = Moving(time=1.0, trail=0.4)
    with served(stage) as url, watched(browser, size=(800, 600)) as (page, wrong):
        open_page(page, url)
        with_trail = picture(page)
        stage.on_server(trail=0.0)
        page.wait_for_timeout(600)
        without = picture(page)
        changed = np.argwhere(np.abs(with_trail - without).sum(axis=-1) > 25)[:, ::-1]
        (particle,) = spots(is_magenta(without))
        squares = spots(is_green(without) | is_magenta(without), smallest=100)
        length = 0.4 * np.linalg.norm(np.diff(squares[np.argsort(squares[:, 1])[-2:]], axis=0))
        assert changed[:, 0].max() <= particle[0] + 4
        # its faint end is hardly seen
        assert particle[0] - length - 3 <= changed[:, 0].min() <= particle[0] - length / 2
        assert not wrong


def test_the_clock_names_the_time_and_the_measured_points(browser: Browser) -> None:
    stage = Moving()
    with served(stage) as url, watched(browser) as (page, wrong):
        open_page(page, url)
        marks = [{"time": 0.0, "label": "E8"}, {"time": 2.0, "label": "<b>E9"}]
        stage.on_server(clock=True, unit="day", marks=marks, time=1.5)
        page.get_by_text("1.50 day").wait_for(timeout=5000)
        page.get_by_text("E8 → <b>E9").wait_for(timeout=5000)
        assert page.locator(".clock .tick").count() == 2
        assert page.locator(".clock.measured").count() == 0
        stage.on_server(time=2.0)
        page.get_by_text("measured · <b>E9").wait_for(timeout=5000)
        assert page.locator(".clock.measured").count() == 1
        assert not wrong


def test_a_lost_context_is_restored_with_the_same_picture(browser: Browser) -> None:
    find = """() => { const walk = node => { for (const e of node.querySelectorAll('*')) {
        if (e.matches('.flow > canvas')) return e
        const found = e.shadowRoot && walk(e.shadowRoot); if (found) return found } }; return walk(document) }"""
    with served(Stage()) as url, watched(browser) as (page, wrong):
        open_page(page, url)
        before = picture(page)
        canvas = page.evaluate_handle(find)
        extension = canvas.evaluate_handle("c => c.getContext('webgl2').getExtension('WEBGL_lose_context')")
        extension.evaluate("e => e.loseContext()")
        page.wait_for_timeout(500)
        assert not is_magenta(picture(page)).any()
        extension.evaluate("e => e.restoreContext()")
        page.wait_for_timeout(800)
        np.testing.assert_allclose(picture(page), before, atol=3)
        assert not wrong


def test_without_webgl_the_page_says_so(browser: Browser) -> None:
    with served(Stage()) as url, watched(browser) as (page, wrong):
        page.add_init_script(
            "const get = HTMLCanvasElement.prototype.getContext;"
            "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) "
            "{ return kind.startsWith('webgl') ? null : get.call(this, kind, ...rest) }"
        )
        page.goto(url)
        page.get_by_text("This browser offers no WebGL 2").wait_for(timeout=15000)
        assert len(spots(is_green(picture(page)), smallest=60)) == 4  # the figure is there all the same
        assert not wrong


def test_two_canvases_on_a_page_follow_each_their_own_figure(browser: Browser) -> None:
    first, second = Stage(), Stage()
    both = lambda: pn.Row(first(), second(), sizing_mode="stretch_width")  # noqa: E731
    with served(both) as url, watched(browser, size=(1200, 600)) as (page, wrong):
        page.goto(url)
        wait_for(lambda: len(spots(is_magenta(picture(page)))) == 8, 20)

        def particles() -> tuple[np.ndarray, np.ndarray]:
            found = spots(is_magenta(picture(page)))
            return found[found[:, 0] < 600], found[found[:, 0] > 600]

        left, right = particles()
        page.mouse.move(300, 250)
        page.mouse.down()
        page.mouse.move(330, 250, steps=4)
        page.mouse.up()
        page.wait_for_timeout(700)
        left_after, right_after = particles()
        np.testing.assert_allclose(left_after - left, np.tile([30, 0], (4, 1)), atol=1.5)
        np.testing.assert_allclose(right_after, right, atol=0.1)
        assert not wrong


def test_a_canvas_that_follows_another_shows_its_time(browser: Browser) -> None:
    leader, follower = Moving(), Moving()

    def both() -> pn.viewable.Viewable:
        row = pn.Row(leader(), follower(), sizing_mode="stretch_width")
        follower.canvas.follows = leader.canvas.frame_id
        return row

    with served(both) as url, watched(browser, size=(1200, 600)) as (page, wrong):
        page.goto(url)
        wait_for(lambda: len(spots(is_magenta(picture(page)))) == 2, 20)

        def places() -> np.ndarray:
            """Where both particles are across the page, from left to right."""
            return np.sort(spots(is_magenta(picture(page)))[:, 0])

        before = places()
        for moment in (1.5, 0.7):
            leader.on_server(time=moment)
            page.wait_for_timeout(700)
            moved = places() - before
            assert moved[0] > 30
            assert moved[1] == pytest.approx(moved[0], abs=1.0)
        leader.on_server(playing=True)
        at = places()
        wait_for(lambda: (np.abs(places() - at) > 20).all(), 20)
        assert not wrong

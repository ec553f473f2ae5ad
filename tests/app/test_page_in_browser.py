"""A page that stands alone in a real Chromium, from a file and without a network: cells and particles are where the
scene says, and what a reader does has its effect."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from cellstream import web
from cellstream.colours import category_colours, colour_array, time_colours
from cellstream.config import Config
from cellstream.scene import Scene
from cellstream.web.contents import Options
from cellstream.web.page import write_page
from cellstream_app import style
from tests.app.browser import picture, spots, wait_for, watched
from tests.conftest import TINY
from tests.pages import known_data, known_scene

pytestmark = pytest.mark.browser

STRANGE = "<img src=x onerror=alert(1)>"
SIZE = (1280, 800)


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Eighteen cells far enough from each other, in three columns in time; see :func:`known_scene`."""
    made = known_scene(Config().with_settings(**TINY), (5, 6, 7))
    rows = np.concatenate([np.arange(n) for n in (5, 6, 7)])
    made.z = np.stack([4.0 * made.index, 1.1 * rows - 0.3 * made.index], 1).astype(np.float32)
    return made


@pytest.fixture(scope="module")
def file(scene, tmp_path_factory) -> Path:
    data = known_data(scene)
    data.obs_names = [*data.obs_names[:-1], STRANGE]
    data.obs["kind"] = pd.Categorical(data.obs["kind"].astype(str).replace("gamma", STRANGE))
    path = tmp_path_factory.mktemp("a page") / "page #1 & more.html"
    write_page(scene, path, Options(title=f"Known {STRANGE}", genes=("gene 1",), names=True), data)
    return path


class Opened:
    """The page before a reader, and where things must be on it."""

    def __init__(self, page: Page, scene: Scene):
        self.page, self.scene = page, scene
        self.home = scene.grid.points[[0, -1]].astype(float)

    def stage(self) -> dict[str, float]:
        """The inner box of the stage, in pixels of the page."""
        return self.page.evaluate(
            "() => { const s = document.getElementById('stage'), b = s.getBoundingClientRect();"
            " return {x: b.left + s.clientLeft, y: b.top + s.clientTop, width: s.clientWidth, height: s.clientHeight} }"
        )

    def unit(self) -> float:
        """Pixels of a unit of the plane in the view that holds all cells."""
        stage, extent = self.stage(), self.home[1] - self.home[0]
        return float(min(stage["width"] / extent[0], stage["height"] / extent[1]))

    def places(self, points: np.ndarray) -> np.ndarray:
        """Pixels (n, 2) of points of the plane in the view that holds all cells."""
        stage, k = self.stage(), self.unit()
        middle = np.array([stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2])
        return middle + (points - self.home.mean(0)) * [k, -k]

    def looked_at(self) -> np.ndarray:
        """The stage alone, without its buttons and its clock, as ``(height, width, 3)``; the rest is white."""
        self.settle()
        image, stage = picture(self.page), self.stage()
        kept = np.full_like(image, 255)
        x, y = int(stage["x"]) + 1, int(stage["y"]) + 1
        part = slice(y, y + int(stage["height"]) - 2), slice(x, x + int(stage["width"]) - 2)
        kept[part] = image[part]
        for name in (".corner", ".clock"):
            box = self.page.locator(name).bounding_box()
            x0, y0 = int(box["x"]) - 6, int(box["y"]) - 6  # with the outline of what has the focus
            kept[y0 : y0 + int(box["height"]) + 12, x0 : x0 + int(box["width"]) + 12] = 255
        return kept

    def settle(self) -> None:
        """Until what was asked for has been drawn."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def only(self, *layers: str) -> None:
        """Of the layers, these alone."""
        for name in ("particles", "trails", "streams", "growth"):
            self.page.set_checked(f"#show-{name}", name in layers)

    def time(self) -> float:
        self.settle()
        return float(self.page.locator("#time").input_value())

    def go_to(self, time: float) -> None:
        self.page.evaluate(
            "t => { const s = document.getElementById('time'); s.value = t; s.dispatchEvent(new Event('input')) }", time
        )


@contextmanager
def opened(
    browser: Browser, scene: Scene, file: Path, size: tuple[int, int] = SIZE, before: str = "", **context: object
) -> Iterator[Opened]:
    """The file, opened by a double click as it were: no network, and nothing asked for but the file itself."""
    context = {"reduced_motion": "reduce", "offline": True, **context}
    with watched(browser, size, **context) as (page, wrong):
        page.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        if before:
            page.add_init_script(before)
        page.goto(file.as_uri())
        page.locator("html[data-ready]").wait_for(state="attached")
        yield Opened(page, scene)
        assert wrong == [f"request: {file.as_uri()}"]


def coloured(image: np.ndarray, colour: str, near: float = 60.0) -> np.ndarray:
    """Which pixels (height, width) have about this colour."""
    return np.linalg.norm(image - colour_array([colour])[0, :3].astype(int), axis=-1) < near


def over_white(colours: list[str], opacity: float) -> np.ndarray:
    return 255 + opacity * (colour_array(colours)[:, :3].astype(float) - 255)


def matched(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """How far each true place is from the nearest of those found; there are as many of both."""
    assert len(found) == len(true), (len(found), len(true))
    return np.linalg.norm(found[None] - true[:, None], axis=-1).min(1)


def at(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Colours at places (n, 2)."""
    x, y = np.round(places).astype(int).T
    return image[y, x]


def test_cells_lie_where_the_scene_says_in_the_colours_of_their_time(browser, scene, file):
    with opened(browser, scene, file) as on:
        on.only()
        image, places = on.looked_at(), on.places(scene.points)
        found = spots((image < 240).any(-1), smallest=8)
        assert matched(found + 0.5, places).max() < 1
        expected = over_white([time_colours(3)[i] for i in scene.index], 0.85)
        np.testing.assert_allclose(at(image, places - 0.5), expected, atol=6)


def test_what_one_drags_and_zooms_stays_under_the_hand(browser, scene, file):
    with opened(browser, scene, file) as on:
        on.only()
        places = on.places(scene.points)
        hand, others = places[2], places[7:10]  # in a corner, so that each axis tells
        on.page.mouse.move(*hand)
        on.page.mouse.wheel(0, -250)
        factor = np.exp(250 * 0.0016)
        zoomed = hand + factor * (places - hand)
        on.page.mouse.move(5, 5)
        image = on.looked_at()
        stage = on.stage()
        low, size = np.array([stage["x"], stage["y"]]), np.array([stage["width"], stage["height"]])
        seen = ((zoomed > low + 60) & (zoomed < low + size - 75)).all(1)
        assert seen.sum() > 5
        found = spots((image < 240).any(-1), smallest=8) + 0.5
        assert all(np.linalg.norm(found - place, axis=1).min() < 1.2 for place in zoomed[seen])
        assert not any(np.linalg.norm(found - place, axis=1).min() < 1.2 for place in others)
        on.page.mouse.move(*hand)
        on.page.mouse.down()
        on.page.mouse.move(*(hand + [60, -35]), steps=4)
        on.page.mouse.up()
        on.page.mouse.move(5, 5)
        found = spots((on.looked_at() < 240).any(-1), smallest=8) + 0.5
        assert np.linalg.norm(found - (hand + [60, -35]), axis=1).min() < 1.2
        for back in ("button", "double click", "key"):
            on.page.click("#nearer")
            if back == "button":
                on.page.click("#fit")
            elif back == "key":
                on.page.keyboard.press("f")
            else:
                on.page.mouse.dblclick(*(on.places(np.array([[2.0, -2.0]]))[0]))
            on.page.mouse.move(5, 5)
            found = spots((on.looked_at() < 240).any(-1), smallest=8) + 0.5
            assert matched(found, places).max() < 1, back


def test_the_slider_moves_particles_and_clock_and_what_dies_fades(browser, scene, file):
    with opened(browser, scene, file) as on:
        on.only("particles")
        on.page.select_option("#colour", label="gene 1")
        for time, alive, words in ((0.0, 6, ["0.00 d", "measured · day 0"]), (2.0, 5, ["2.00 d", "day 1 → day 3"])):
            on.go_to(time)
            image = on.looked_at()
            found = spots(coloured(image, style.LIGHT.accent), smallest=6) + 0.5
            x = 8 * time / 3
            true = on.places(np.array([[x, y] for y in np.linspace(-3, -2, 6)[6 - alive :]]))
            assert matched(found, true).max() < 1.5
            assert on.page.locator(".clock").inner_text().split("\n") == words
            assert on.page.get_by_role("slider", name="Time").get_attribute("aria-valuetext") == ", ".join(words)
        # four times as much mass has twice the diameter
        areas = []
        for time in (0.0, 2.0):
            on.go_to(time)
            areas.append(coloured(on.looked_at(), style.LIGHT.accent).sum() / (6 if time == 0 else 5))
        assert 2.5 < areas[1] / areas[0] < 6
        on.page.get_by_role("button", name="Go to day 1, 6 cells measured").click()
        assert on.time() == 1
        assert on.page.locator(".clock").inner_text().startswith("1.00 d")


def test_time_plays_by_button_and_space_and_rests_for_those_who_want_no_motion(browser, scene, file):
    with opened(browser, scene, file) as on:
        play = on.page.locator("#play")
        expect(play).to_have_text("Play")
        on.settle()
        assert on.time() == 0
        play.click()
        expect(play).to_have_text("Pause")
        wait_for(lambda: on.time() > 0.05, 20)
        play.click()
        rested = on.time()
        on.page.wait_for_timeout(300)
        assert on.time() == rested
        on.page.locator("body").press(" ")  # the button has the focus, and takes the key for itself once
        on.page.evaluate("() => document.activeElement.blur()")
        now = on.page.locator("#play").inner_text()
        on.page.keyboard.press(" ")
        assert on.page.locator("#play").inner_text() != now
    with opened(browser, scene, file, reduced_motion="no-preference") as on:
        expect(on.page.locator("#play")).to_have_text("Pause")
        wait_for(lambda: on.time() > 0.05, 20)


def test_keys_step_through_time(browser, scene, file):
    with opened(browser, scene, file) as on:
        keys = on.page.keyboard
        for key, time in (("ArrowRight", 0.06), ("ArrowRight", 0.12), ("ArrowLeft", 0.06), ("End", 3), ("Home", 0)):
            keys.press(key)
            on.settle()
            assert on.time() == pytest.approx(time, abs=1e-6), key
        on.page.focus("#time")  # the slider's own keys step as far
        keys.press("ArrowRight")
        on.settle()
        assert on.time() == pytest.approx(0.06, abs=1e-6)
        on.page.focus("#colour")  # a list keeps its own
        keys.press("ArrowRight")
        on.settle()
        assert on.time() == pytest.approx(0.06, abs=1e-6)


def test_another_colour_paints_the_cells_and_its_legend_shows_and_fades_them(browser, scene, file):
    names = ["alpha", "beta", STRANGE]
    colours = category_colours(sorted(names))
    with opened(browser, scene, file) as on:
        on.only()
        on.page.select_option("#colour", label="kind")
        legend = on.page.get_by_role("group", name=re.compile("kind: a name shows"))
        shown = legend.get_by_role("button").all_inner_texts()
        assert [re.split(r"\s*\n\s*", text) for text in shown] == [[name, "6"] for name in sorted(names)]
        places, kinds = on.places(scene.points), [names[i % 3] for i in range(18)]
        full = over_white([colours[kind] for kind in kinds], 0.85)
        np.testing.assert_allclose(at(on.looked_at(), places - 0.5), full, atol=6)
        beta = legend.get_by_role("button", name="beta")
        beta.click()
        expect(beta).to_have_attribute("aria-pressed", "true")
        image = at(on.looked_at(), places - 0.5)
        is_beta = np.array(kinds) == "beta"
        np.testing.assert_allclose(image[is_beta], full[is_beta], atol=6)
        assert (image[~is_beta] > 225).all()
        assert (image[~is_beta] < 245).all()  # faint, and not gone
        legend.get_by_role("button", name="alpha").click(modifiers=["Shift"])
        image = at(on.looked_at(), places - 0.5)
        both = np.isin(kinds, ["alpha", "beta"])
        np.testing.assert_allclose(image[both], full[both], atol=6)
        assert (image[~both] > 225).all()
        on.page.keyboard.press("Escape")
        np.testing.assert_allclose(at(on.looked_at(), places - 0.5), full, atol=6)
        # numbers have a scale with its ends
        on.page.select_option("#colour", label="gaps")
        assert "no value" in on.page.locator("#key").inner_text()
        missing = np.arange(18) % 5 == 0
        grey = over_white(["#9aa0a6"], 0.85)[0]
        np.testing.assert_allclose(at(on.looked_at(), places - 0.5)[missing], np.tile(grey, (4, 1)), atol=6)
        on.page.select_option("#colour", label="Growth rate")
        limit = float(f"{scene.growth_limit:.3g}")
        assert f"−{limit}" in on.page.locator("#key .ends").inner_text()


def test_the_pointer_reads_the_cell_beneath_it(browser, scene, file):
    with opened(browser, scene, file) as on:
        tip = on.page.locator("#tip")
        for cell in (0, 8, 17):
            on.page.mouse.move(*(on.places(scene.points)[cell] + [1.5, -1]))
            expect(tip).to_be_visible()
            rows = [line for line in tip.inner_text().split("\n") if line.strip()]
            assert rows[0] == (STRANGE if cell == 17 else f"cell {cell}")
            told = dict(zip(rows[1::2], rows[2::2], strict=True))
            assert told["Time"] == scene.snapshots.labels[scene.index[cell]]
            assert told["kind"] == ["alpha", "beta", STRANGE][cell % 3]
            depth = float(told["depth"].replace("−", "-"))
            assert depth == pytest.approx(np.linspace(-2.5, 7.5, 18)[cell], rel=0.006)
            assert told["gaps"] == "no value" if cell % 5 == 0 else float(told["gaps"]) == pytest.approx(cell / 10)
        on.page.mouse.move(*on.places(np.array([[2.0, 2.0]]))[0])
        expect(tip).to_be_hidden()


def test_in_a_crowd_the_pointer_reads_the_nearest_cell(browser, tmp_path):
    scene = known_scene(Config().with_settings(**TINY), (200, 300, 400))
    write_page(scene, tmp_path / "page.html", Options(names=True), known_data(scene))
    with opened(browser, scene, tmp_path / "page.html") as on:
        places = on.places(scene.points)
        crowded = [
            int(np.argsort(np.linalg.norm(places - places[scene.index == i].mean(0), axis=1))[3]) for i in range(3)
        ]
        for cell in crowded:
            assert (np.linalg.norm(places - places[cell], axis=1) < 9).sum() > 2
            on.page.mouse.move(*(places[cell] + 0.4))
            expect(on.page.locator("#tip")).to_contain_text(re.compile(rf"cell {cell}\n"), use_inner_text=True)


def test_layers_come_and_go_and_follow_the_moment(browser, scene, file):
    with opened(browser, scene, file) as on:
        on.only()
        empty = on.looked_at()
        on.only("streams")
        lines = on.looked_at()
        assert ((lines < 110).all(-1) & ~(empty < 110).all(-1)).sum() > 150
        on.only("growth")
        assert on.page.locator("#growth-key").is_visible()
        grown = on.looked_at()
        changed = (np.abs(grown - empty).max(-1) > 4).mean()
        assert changed > 0.02
        on.page.locator("#when").get_by_text("this moment").click()
        first = on.looked_at()
        on.go_to(3.0)
        last = on.looked_at()
        # the map covers where the particles are then, and they go to the right
        middle = [np.argwhere(np.abs(image - empty).max(-1) > 4)[:, 1].mean() for image in (first, last)]
        assert middle[1] - middle[0] > 0.6 * 8 * on.unit()


def test_particles_take_the_colour_of_the_cell_they_end_at(browser, scene, file):
    with opened(browser, scene, file) as on:
        on.only("particles")
        on.page.select_option("#particle-colour", "ends")
        on.go_to(1.5)
        place = on.places(np.array([[4.0, -2.4]]))[0]
        seen = at(on.looked_at(), place[None] - 0.5)[0]
        assert np.linalg.norm(seen - colour_array([time_colours(3)[2]])[0, :3]) < 60  # yellow, the last time's


def test_light_and_dark_are_the_apps(browser, scene, file):
    with opened(browser, scene, file) as on:
        for theme, press in ((style.LIGHT, "Dark"), (style.DARK, "Light")):
            for name in ("background", "page", "ink", "muted", "grid", "accent"):
                of = "n => getComputedStyle(document.documentElement).getPropertyValue('--' + n)"
                assert on.page.evaluate(of, name) == getattr(theme, name)
            for above in (theme.background, theme.page):
                for text in (theme.ink, theme.muted, theme.accent):
                    assert contrast(text, above) >= 4.5
            on.settle()
            stage = on.stage()
            corner = picture(on.page)[int(stage["y"]) + 8, int(stage["x"]) + 8]
            np.testing.assert_array_equal(corner, colour_array([theme.background])[0, :3])
            on.page.get_by_role("button", name=press, exact=True).click()
    with opened(browser, scene, file, color_scheme="dark") as on:
        expect(on.page.locator("html")).to_have_attribute("data-theme", "dark")


def contrast(a: str, b: str) -> float:
    """WCAG's contrast of two colours."""
    c = colour_array([a, b])[:, :3] / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    return float((linear.max() + 0.05) / (linear.min() + 0.05))


def test_a_picture_is_saved_with_the_cells_where_they_are(browser, scene, file, tmp_path):
    with opened(browser, scene, file) as on:
        on.only()
        on.settle()
        with on.page.expect_download() as download:
            on.page.get_by_role("button", name="Save picture").click()
        assert download.value.suggested_filename == "Known-img-src-x-onerror-alert-1.png"
        download.value.save_as(tmp_path / "saved.png")
        image = np.asarray(Image.open(io.BytesIO((tmp_path / "saved.png").read_bytes())).convert("RGB")).astype(int)
        stage = on.stage()
        assert image.shape[0] == 2 * stage["height"]
        assert image.shape[1] > 2 * stage["width"] + 200  # the legend beside it
        places = 2 * (on.places(scene.points) - [stage["x"], stage["y"]])
        expected = over_white([time_colours(3)[i] for i in scene.index], 0.85)
        np.testing.assert_allclose(at(image, places - 0.5), expected, atol=6)
        legend = image[:, int(2 * stage["width"]) + 4 :]
        assert all(coloured(legend, colour, 8).sum() > 60 for colour in time_colours(3))
        # the screen is as it was
        found = spots((on.looked_at() < 240).any(-1), smallest=8) + 0.5
        assert matched(found, on.places(scene.points)).max() < 1


def test_without_webgl_cells_are_drawn_plainly_and_a_sentence_says_so(browser, scene, file):
    before = """const get = HTMLCanvasElement.prototype.getContext
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          return kind === "webgl2" ? null : get.call(this, kind, ...more) }"""
    with opened(browser, scene, file, before=before) as on:
        expect(on.page.locator("#sorry")).to_contain_text("no WebGL 2")
        on.only()
        image = on.looked_at()
        expected = over_white([time_colours(3)[i] for i in scene.index], 0.85)
        np.testing.assert_allclose(at(image, on.places(scene.points) - 0.5), expected, atol=6)


def test_a_lost_context_is_drawn_again(browser, scene, file):
    before = """const get = HTMLCanvasElement.prototype.getContext; window.contexts = []
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          const made = get.call(this, kind, ...more)
          if (kind === "webgl2") window.contexts.push(made)
          return made }"""
    with opened(browser, scene, file, before=before) as on:
        on.only("particles")
        was = on.looked_at()
        on.page.evaluate(
            """async () => { for (const gl of window.contexts) { const e = gl.getExtension("WEBGL_lose_context")
            e.loseContext(); await new Promise(r => setTimeout(r, 300)); e.restoreContext()
            await new Promise(r => setTimeout(r, 300)) } }"""
        )
        wait_for(lambda: np.abs(on.looked_at() - was).max() < 8, 20)


def test_on_a_phone_all_is_in_reach_and_two_fingers_zoom(browser, scene, file):
    phone = dict(has_touch=True, is_mobile=True, device_scale_factor=2)
    with opened(browser, scene, file, (390, 844), **phone) as on:
        page = on.page
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        for name in ("#play", "#time", "#colour", "#show-growth", "#particle-colour", "#save", "#open-about"):
            page.locator(name).scroll_into_view_if_needed()
            box = page.locator(name).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390, name
        page.evaluate("scrollTo(0, 0)")
        on.only()
        page.evaluate("scrollTo(0, 0)")
        middle = on.places(on.home.mean(0)[None])[0]
        cdp = page.context.new_cdp_session(page)

        def touch(kind: str, *apart: float) -> None:
            points = [{"x": float(middle[0] + d), "y": float(middle[1])} for d in apart]
            cdp.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        expect(page.locator("#tip")).to_be_hidden()
        touch("touchStart", -40, 40)
        touch("touchMove", -60, 60)
        touch("touchMove", -80, 80)
        touch("touchEnd")
        on.settle()
        # a tap reads the cell that lies where the fingers have put it: twice as far from the middle
        cell = int(np.abs(scene.points - on.home.mean(0)).sum(1).argmin())
        place = middle + 2 * (on.places(scene.points)[cell] - middle)
        page.touchscreen.tap(*place)
        expect(page.locator("#tip")).to_contain_text(f"cell {cell}")


def test_controls_have_names_and_the_focus_is_seen(browser, scene, file):
    with opened(browser, scene, file) as on:
        nameless = on.page.evaluate(
            """() => [...document.querySelectorAll("button, select, input")].filter(e => !(e.innerText || e.ariaLabel
            || e.labels?.length && e.labels[0].innerText)).map(e => e.outerHTML)"""
        )
        assert nameless == []
        reached = set()
        for _ in range(30):
            on.page.keyboard.press("Tab")
            reached.add(on.page.evaluate("() => document.activeElement.id || document.activeElement.innerText"))
            if on.page.evaluate("() => document.activeElement.matches('button, select, [type=range]')"):
                assert on.page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
        assert {"save", "theme", "open-about", "nearer", "fit", "play", "time", "colour", "show-streams"} <= reached


def test_about_tells_what_it_is_and_closes(browser, scene, file):
    with opened(browser, scene, file) as on:
        dialog = on.page.get_by_role("dialog")
        expect(dialog).to_be_hidden()
        on.page.get_by_role("button", name="About").click()
        expect(dialog).to_contain_text("2511.13786")
        expect(dialog).to_contain_text("18 at 3 time points")
        on.page.keyboard.press("f")  # a key that is not for the page behind it
        on.page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(on.page.get_by_role("heading", level=1)).to_have_text(f"Known {STRANGE}")


@pytest.mark.parametrize("width", [390, 1280])
def test_names_of_times_that_are_long_or_many_lie_beside_each_other(browser, tmp_path, width):
    scene = known_scene(Config().with_settings(**TINY), (3,) * 14)
    names = tuple(f"embryonic day {t:g} of the second batch" for t in scene.times)
    object.__setattr__(scene.snapshots, "labels", names)
    write_page(scene, tmp_path / "page.html")
    with opened(browser, scene, tmp_path / "page.html", (width, 844)) as on:
        labels = on.page.locator("#marks button:not(.bare)")
        boxes = [labels.nth(i).bounding_box() for i in range(labels.count())]
        assert 2 <= len(boxes) < 14
        assert all(a["x"] + a["width"] <= b["x"] + 0.5 for a, b in pairwise(boxes))
        track = on.page.locator("#time").bounding_box()
        assert boxes[0]["x"] >= track["x"] - 0.5
        assert boxes[-1]["x"] + boxes[-1]["width"] <= track["x"] + track["width"] + 0.5
        assert on.page.evaluate("document.documentElement.scrollWidth") == width
        on.page.get_by_role("button", name=f"Go to {names[5]}", exact=False).click()  # its label may be left out
        assert on.time() == scene.times[5]


@pytest.mark.slow
def test_fifty_thousand_cells_open_and_are_found(browser, tmp_path):
    scene = known_scene(Config().with_settings(**TINY), (10_000, 17_000, 23_000), particles=500)
    write_page(scene, tmp_path / "page.html", Options(names=True), known_data(scene))
    with opened(browser, scene, tmp_path / "page.html") as on:
        on.only()
        far = int(np.abs(scene.points - scene.points.mean(0)).sum(1).argmax())
        assert (on.looked_at() < 200).any(-1).sum() > 5000
        took = on.page.evaluate(
            """() => { const s = document.getElementById("stage"), b = s.getBoundingClientRect()
            const began = performance.now()
            for (let i = 0; i < 100; i++) s.dispatchEvent(new PointerEvent("pointermove",
              {clientX: b.left + b.width * i / 100, clientY: b.top + b.height / 2}))
            return (performance.now() - began) / 100 }"""
        )
        assert took < 10  # milliseconds for the pointer to find its cell
        on.page.mouse.move(*on.places(scene.points)[far])
        expect(on.page.locator("#tip")).to_contain_text(f"cell {far}")


def test_what_the_page_is_made_of_is_in_the_installed_package():
    for name in (*web.SCRIPTS, "page.html", "page.css"):
        assert web.text(name)
        assert "{{" not in web.text(name) or name == "page.html"

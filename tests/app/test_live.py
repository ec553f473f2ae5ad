"""The live embedding in a real browser: new data change the picture and leave the user's view alone."""

from __future__ import annotations

import holoviews as hv
import numpy as np
import panel as pn
import pytest
from playwright.sync_api import Browser, Page
from scipy.ndimage import binary_closing

from cellstream.colours import Categories
from cellstream_app import plots, style
from tests.app.browser import picture, served, spots, wait_for, watched

pytestmark = pytest.mark.browser

PLACES = np.array([[-0.2, -0.2], [0.2, 0.2]])
RED, BLUE, GREEN = "#ff0000", "#0000ff", "#00a000"


def two_groups(n: int, colours: list[str], shift: float = 0.0) -> plots.Cells:
    """``n`` cells in a square around each of PLACES, in the first and the last of the colours."""
    rng = np.random.default_rng(0)
    code = np.arange(2 * n) % 2
    z = PLACES[code] + [shift, 0.0] + rng.uniform(-0.03, 0.03, (2 * n, 2))
    codes = np.where(code == 0, 0, len(colours) - 1)
    return plots.Cells(z, Categories(codes, [f"type {i}" for i in range(len(colours))], colours), alpha=1.0)


class Live:
    """An app with a live embedding; keeps hold of the pipe."""

    def __init__(self, first: plots.Cells) -> None:
        self.first = first

    def __call__(self) -> pn.viewable.Viewable:
        style.use_defaults()
        self.pipe, self.document = hv.streams.Pipe(data=self.first), pn.state.curdoc
        plot = plots.embedding_map(self.pipe, (-1.0, 1.0, -1.0, 1.0))
        return pn.pane.HoloViews(plot, sizing_mode="stretch_width", height=500, margin=0)

    def send(self, cells: plots.Cells) -> None:
        self.document.add_next_tick_callback(lambda: self.pipe.send(cells))


def groups(page: Page, channel: int) -> np.ndarray:
    """Centres of what is coloured in one channel: 0 red, 1 green, 2 blue."""
    image = picture(page)
    others = [c for c in range(3) if c != channel]
    mask = (image[..., channel] > 120) & (image[..., others].max(axis=-1) < 110)
    joined = binary_closing(np.pad(mask, 12), iterations=8)[12:-12, 12:-12]  # dots of one group may not touch
    return spots(joined, smallest=40)


@pytest.mark.parametrize("n", [300, plots.SHADE_ABOVE])
def test_new_data_change_colours_and_places_but_not_the_view(browser: Browser, n: int) -> None:
    live = Live(two_groups(n, [RED, BLUE]))
    with served(live) as url, watched(browser) as (page, wrong):
        page.goto(url)
        wait_for(lambda: len(groups(page, 0)) == 1 and len(groups(page, 2)) == 1, 40)
        start = np.concatenate([groups(page, 0), groups(page, 2)])
        page.mouse.move(400, 250)
        for _ in range(4):
            page.mouse.wheel(0, -120)
            page.wait_for_timeout(200)
        page.wait_for_timeout(1500)
        zoomed = np.concatenate([groups(page, 0), groups(page, 2)])
        stretch = np.diff(zoomed, axis=0) / np.diff(start, axis=0)
        assert stretch.min() > 1.2
        assert np.ptp(stretch) < 0.05  # equal on both axes
        live.send(two_groups(n, [RED, "#888888", "#999999", GREEN]))
        wait_for(lambda: len(groups(page, 1)) == 1, 10)
        np.testing.assert_allclose(np.concatenate([groups(page, 0), groups(page, 1)]), zoomed, atol=1.5)
        assert len(groups(page, 2)) == 0
        live.send(two_groups(n, [RED, BLUE], shift=0.1))
        wait_for(lambda: len(groups(page, 2)) == 1, 10)
        moved = np.concatenate([groups(page, 0), groups(page, 2)])
        right = 0.1 / 0.4 * (zoomed[1, 0] - zoomed[0, 0])
        np.testing.assert_allclose(moved - zoomed, [[right, 0], [right, 0]], atol=2)
        assert not wrong


def test_more_cells_turn_dots_into_a_shade_and_back(browser: Browser) -> None:
    live = Live(two_groups(300, [RED, BLUE]))
    with served(live) as url, watched(browser) as (page, wrong):
        page.goto(url)
        wait_for(lambda: len(groups(page, 0)) == 1, 40)
        dots = np.concatenate([groups(page, 0), groups(page, 2)])
        live.send(two_groups(plots.SHADE_ABOVE, [GREEN, BLUE]))
        wait_for(lambda: len(groups(page, 1)) == 1, 10)
        assert len(groups(page, 0)) == 0
        np.testing.assert_allclose(np.concatenate([groups(page, 1), groups(page, 2)]), dots, atol=3)
        live.send(two_groups(300, [RED, BLUE]))
        wait_for(lambda: len(groups(page, 0)) == 1, 10)
        assert len(groups(page, 1)) == 0
        assert not wrong

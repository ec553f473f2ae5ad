"""The pictures of a film: what stands still is drawn once, and what moves is drawn over it, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from cellstream.animations import GROUNDS
from cellstream.animations.film import Shot
from cellstream.animations.strip import HIGH, Strip
from cellstream.figures import keys, marks
from cellstream.figures.marks import View
from cellstream.figures.page import Page
from cellstream.figures.paper import POINT, plain

RIM = 4.0
"""Millimetres around everything, of a picture whose shorter side is 90."""
TITLE = 1.5
"""Size of the title, in that of the text."""


class Canvas:
    """A page with a plane of cells, a key beside it and a strip below; matplotlib's own pixels, written over.

    ``keys_for`` is given the page and the height of the plane in millimetres, and makes the key.
    """

    def __init__(
        self,
        shot: Shot,
        view: View,
        axes: tuple[str, str] | None,
        strip: Strip,
        keys_for: Callable[[Page, float], keys.Made] | None,
    ):
        self.shot, self.view = shot, view
        self.sheet = shot.sheet(keys_for is not None)
        with self.sheet.type(shot.ink):
            self.page = page = Page(self.sheet)
            self.figure = page.figure
            self.figure.set_dpi(self.sheet.dpi)
            # a hair more, or rounding could take a row of pixels away
            self.figure.set_size_inches(*(np.nextafter(side / self.sheet.dpi, np.inf) for side in shot.size))
            self.figure.patch.set_facecolor(GROUNDS[shot.ground])
            page.left, page.right, page.top, page.bottom = RIM, RIM, RIM, RIM + HIGH
            if shot.title:
                self._title(page, shot.title)
            made = keys_for(page, 0.8 * page.free[1]) if keys_for else []
            left, bottom, width, height = page.settle(made, page.free[1])
            side = marks.compass_room(page) if axes else 0.0
            self.ax: Axes = marks.plane(page, (left + side, bottom + side, width - side, height - side), view)
            if axes:
                marks.compass(page, self.ax, axes, shot.ink)
            strip.put(page, shot, RIM)
            self.canvas: FigureCanvasAgg = self.figure.canvas  # type: ignore[assignment]
            self.strip = strip

    @property
    def pixel(self) -> float:
        """Points in a pixel."""
        return 72 / self.figure.dpi

    @property
    def unit(self) -> float:
        """Pixels of a hundredth of the longer side of the plane."""
        return max(self.ax.bbox.width, self.ax.bbox.height) / 100

    @property
    def millimetres(self) -> float:
        """Width of the plane."""
        return self.ax.get_position().width * self.sheet.width

    def at(self, points: np.ndarray) -> np.ndarray:
        """Where points (…, 2) of the plane are, in pixels from the lower left corner."""
        return self.ax.transData.transform(points.reshape(-1, 2)).reshape(points.shape)

    def still(self, draw: Callable[[Axes], None] | None = None) -> np.ndarray:
        """All that stands still, (height, width, 4), with what ``draw`` puts on the plane."""
        before = set(self.ax.get_children())
        with self.sheet.type(self.shot.ink):
            if draw:
                draw(self.ax)
            self.canvas.draw()
        for artist in set(self.ax.get_children()) - before:
            artist.remove()
        return np.array(self.canvas.buffer_rgba())

    def frame(self, ground: np.ndarray, artists: Iterable[Artist]) -> np.ndarray:
        """The ground with artists over it, (height, width, 3)."""
        pixels = np.asarray(self.canvas.buffer_rgba())
        pixels[:] = ground
        renderer = self.canvas.get_renderer()
        with self.sheet.type(self.shot.ink):
            for artist in artists:
                artist.draw(renderer)
        return np.ascontiguousarray(pixels[..., :3])

    def _title(self, page: Page, words: str) -> None:
        """In one line above all: smaller if it is long, and cut if it is too long even so."""
        text, room = self.sheet.text, self.sheet.width - 2 * RIM
        title = page.figure.text(
            RIM / self.sheet.width, 1 - RIM / page.height, plain(words), fontsize=TITLE * text, fontweight="bold",
            va="top", in_layout=False,
        )  # fmt: skip
        page.top += 1.7 * TITLE * text * POINT
        wide = page.measured(title)[2]
        title.set_fontsize(float(np.clip(TITLE * text * room / max(wide, 1e-9), text, TITLE * text)))
        letters = len(title.get_text())
        while (wide := page.measured(title)[2]) > room and letters > 2:
            letters = max(min(int(letters * room / wide), letters - 1), 2)
            title.set_text(keys.cut(words, letters))


def between(a: np.ndarray, b: np.ndarray, share: float) -> np.ndarray:
    """A picture that is on its way from ``a`` to ``b``."""
    if share <= 0 or a is b:
        return a
    return b if share >= 1 else np.asarray(Image.blend(Image.fromarray(a), Image.fromarray(b), share))

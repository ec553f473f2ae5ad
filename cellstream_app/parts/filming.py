"""The animation builder of the Export page: a frame of the film as a preview, and the film as a file."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import panel_material_ui as pmui
from PIL import Image

from cellstream.animations import SIZES
from cellstream.animations.film import Shot
from cellstream.animations.flow import Wish
from cellstream.animations.writing import Stopped
from cellstream.errors import UserError
from cellstream.files import size_in_words
from cellstream_app import figuring, making, ui
from cellstream_app.colouring import label_keys
from cellstream_app.figuring import NOT_YET
from cellstream_app.making import FLOW, TRAINING, FilmWish
from cellstream_app.parts.colourby import ColourBy
from cellstream_app.parts.redrawing import Redrawing, picture_html
from cellstream_app.parts.saving import stem_of
from cellstream_app.parts.typed import number_in
from cellstream_app.session import Session
from cellstream_app.ui import WIDE

FORMATS = {"MP4": ".mp4", "GIF": ".gif", "WebM": ".webm"}
SIZE_NAMES = {"1080p": "1080p", "720p": "720p", "square": "square"}
SQUARE = (1080, 1080)
LOOPS = {"again and again": "repeat", "there and back": "back", "once": "once"}
GROUNDS = {"white": "white", "dark": "dark"}
SMALL_GIF = "GIFs are large: of 1080 lines many megabytes. 1280 × 720 at 20 frames per second will do for most."


class Filming:
    """``controls`` for the side of the page, ``place`` for its middle. What is costly runs in a thread."""

    def __init__(self, session: Session):
        self.session = session
        self.drawing = Redrawing(session, lambda: self.place.visible, self._prepare, self._show)
        self._stop = threading.Event()
        self._done = 0.0
        self.message = ui.Message()
        self._make_choices()
        self.picture = ui.text("")
        self.downloads = {name: self._download(name, suffix) for name, suffix in FORMATS.items()}
        self.bar = pmui.LinearProgress(value=0, variant="determinate", margin=0, align="center", **WIDE)
        self.cancel = pmui.Button(
            label="Cancel", icon="close", size="small", variant="outlined", margin=0,
            on_click=lambda event: self._stop.set(),
        )  # fmt: skip
        self.doing = ui.text("", muted=True, width=220, sizing_mode="fixed", align="center")
        self.progress = ui.row(self.cancel, self.doing, self.bar, gap=12, visible=False)
        self.place = ui.column(
            ui.row(*self.downloads.values(), self.message, gap=10),
            self.progress,
            ui.column(self.drawing.busy, height=4),
            self.picture,
        )
        session.param.watch(self._on_beat, "beat")
        session.param.watch(lambda event: self.drawing.ask(), "painted")

    def _make_choices(self) -> None:
        small = dict(size="small", margin=0, **WIDE)
        self.kind = pmui.Select(label="Film", options=[FLOW, TRAINING], value=FLOW, **small)
        self.colour = ColourBy("Colour cells by", self.drawing.ask)
        self.labels = pmui.Select(label="Colour particles by", options={"as the cells": ""}, value="", **small)
        self.streams = pmui.Switch(label="Streamlines of the moment", value=True, size="small", margin=0)
        self.size = pmui.Select(label="Size", options=SIZE_NAMES, value="1080p", **small)
        self.ground = pmui.Select(label="Ground", options=GROUNDS, value="white", **small)
        self.seconds = pmui.TextInput(label="Seconds", value="10", **small)
        self.fps = pmui.TextInput(label="Frames / s", value="30", **small)
        self.loop = pmui.Select(label="How it runs", options=LOOPS, value="repeat", **small)
        self.title = pmui.TextInput(label="Title", placeholder="none", max_length=80, **small)
        for widget in (
            self.kind, self.labels, self.streams, self.size, self.ground, self.seconds, self.fps, self.loop, self.title
        ):  # fmt: skip
            widget.param.watch(self._on_choice, "value")
        self.controls = ui.column(
            ui.card(self.kind, self.colour, self.labels, self.streams, title="What is shown"),
            ui.card(
                ui.row(self.size, self.ground), ui.row(self.seconds, self.fps), self.loop, self.title, title="Film"
            ),
        )

    def _download(self, name: str, suffix: str) -> ui.Download:
        return ui.Download(
            callback=partial(self._file, suffix),
            filename=f"flow{suffix}",
            label=name,
            icon="movie",
            variant="contained" if name == "MP4" else "outlined",
        )

    # what is offered

    def show(self, same: bool) -> None:
        """Offer what the session's result has, and begin with what Explore shows of it."""
        session = self.session
        with self.drawing.quietly():
            if not same:
                self.title.value = ""
            self.colour.offer(session.result, session.result_source, same)
            self.colour.choose(session.shown.colour, session.shown.gene)
            keys = label_keys(session.result_source)
            options = {"as the cells": "", **{f"{key} they end with": key for key in keys}}
            value = self.labels.value if self.labels.value in options.values() else ""
            self.labels.param.update(options=options, value=value)
        self._fit_controls()
        self.drawing.ask()

    def _fit_controls(self) -> None:
        self.labels.visible = self.streams.visible = self.kind.value == FLOW

    def _on_choice(self, event: Any) -> None:
        if not self.drawing.quiet:
            self._fit_controls()
            self.drawing.ask()

    def asked(self) -> FilmWish:
        """What is chosen. Raises :class:`UserError` for what no film can be."""
        size = SIZES.get(self.size.value, SQUARE)
        shot = Shot(
            size=size,
            fps=round(30 if (fps := number_in(self.fps)) is None else fps),
            seconds=10.0 if (seconds := number_in(self.seconds)) is None else seconds,
            loop=self.loop.value,
            ground=self.ground.value,
            title=self.title.value.strip(),
        )
        colour = figuring.colour_word(*self.colour.key)
        if self.kind.value == FLOW and not self.session.result.learned:
            raise UserError(NOT_YET)
        if self.kind.value == TRAINING:
            return FilmWish(TRAINING, Wish(colour), shot)
        return FilmWish(
            FLOW, Wish(colour, self.labels.value, streams=self.streams.value, axes=self.session.shown.axes), shot
        )

    async def _prepare(self) -> Callable[[], bytes]:
        """A frame of it."""
        return self._of_film(frame_png)

    def _of_film(self, make: Callable[..., bytes]) -> Callable[[], bytes]:
        """``make`` of what is chosen now, to be called in a thread. Raises :class:`UserError`."""
        result, data, asked = self.session.result, self.session.result_source, self.asked()
        return lambda: make(figuring.source_of(result, data), result.run, asked)

    def _show(self, found: bytes | None, said: str) -> None:
        self.message.say(said, "info" if said == NOT_YET else "error")
        self.picture.visible = found is not None
        for download in self.downloads.values():
            download.disabled = found is None
        if found is not None:
            size = Image.open(io.BytesIO(found)).size
            self.picture.object = picture_html(found, "a frame of the film", size)

    # the file

    async def _file(self, suffix: str) -> ui.File | None:
        """The film; None where there is none, and why has been told."""
        if self.progress.visible:  # another one is being made
            return None
        self._stop.clear()
        self._done = 0.0
        try:
            self.doing.object = ui.styled("Drawing …", muted=True)
            self.bar.value, self.progress.visible = 0, True
            name = f"{stem_of(self.session)}-{'training' if self.kind.value == TRAINING else 'flow'}{suffix}"
            made = await ui.made(lambda: self._of_film(partial(self._written, suffix)), self.message)
        finally:
            self.progress.visible = False
        if made is None:
            return None
        if not made:
            self.message.say("The film was given up; no file was made.", "info")
            return None
        said = f"{name}, {size_in_words(len(made))}, is among your browser's downloads."
        self.message.say(f"{said} {SMALL_GIF}" if suffix == ".gif" and len(made) > 2e7 else said, "success")
        return ui.File(name, made)

    def _written(self, suffix: str, *film: Any) -> bytes:
        """The film as a file; nothing where it was given up."""
        try:
            return making.film_bytes(*film, suffix, self._tell, self._given_up)
        except Stopped:
            return b""

    def _tell(self, done: int, total: int) -> None:
        self._done = done / total  # from another thread: shown at the next beat

    def _given_up(self) -> bool:
        return self._stop.is_set() or ui.gone()

    def _on_beat(self, event: Any) -> None:
        if self.progress.visible and self.bar.value != (percent := int(100 * self._done)):
            self.bar.value = percent
            self.doing.object = ui.styled(f"Drawing: {percent} % of the frames", muted=True)


def frame_png(source: Any, run: Any, asked: FilmWish) -> bytes:
    """A frame out of the middle of the film, as a png. Takes a while; raises :class:`UserError`."""
    film = making.film(source, run, asked)
    picture = io.BytesIO()
    Image.fromarray(film.draw(int(0.55 * (film.frames - 1)))).save(picture, "png")
    return picture.getvalue()

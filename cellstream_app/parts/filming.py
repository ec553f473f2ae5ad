"""The animation builder of the Export page: a frame of the film as a preview, and the film as a file."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from functools import partial
from typing import Any

import panel as pn
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
from cellstream_app.making import FLOW, TRAINING, FilmWish
from cellstream_app.parts.colourby import ColourBy
from cellstream_app.parts.figurebuilder import NOT_YET
from cellstream_app.parts.saving import stem_of
from cellstream_app.parts.sheets import number_in
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
        self._quiet = False
        self._wanted = self._drawn = 0
        self._working = self._late = False
        self._stop = threading.Event()
        self._done = 0.0
        self.message = ui.Message()
        self._make_choices()
        self.busy = pmui.LinearProgress(active=True, visible=False, margin=0, **WIDE)
        self.picture = ui.text("")
        self.downloads = {name: self._download(name, suffix) for name, suffix in FORMATS.items()}
        self.bar = pmui.LinearProgress(value=0, variant="determinate", margin=0, **WIDE)
        self.cancel = pmui.Button(
            label="Cancel", icon="close", size="small", variant="outlined", margin=0,
            on_click=lambda event: self._stop.set(),
        )  # fmt: skip
        self.doing = ui.text("", muted=True, width=220, sizing_mode="fixed")
        self.progress = ui.row(self.cancel, self.doing, self.bar, gap=12, visible=False)
        self.place = ui.column(
            ui.row(*self.downloads.values(), gap=10),
            self.progress,
            self.message,
            ui.column(self.busy, height=4),
            self.picture,
        )
        session.param.watch(self._on_beat, "beat")
        session.param.watch(lambda event: self._ask(), "painted")

    def _make_choices(self) -> None:
        small = dict(size="small", margin=0, **WIDE)
        self.kind = pmui.Select(label="Film", options=[FLOW, TRAINING], value=FLOW, **small)
        self.colour = ColourBy("Colour cells by", self._ask)
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
            callback=partial(self._file, suffix), filename=f"flow{suffix}", label=name, icon="movie", size="small",
            variant="contained" if name == "MP4" else "outlined", auto=True, embed=False, margin=0,
        )  # fmt: skip

    # what is offered

    def show(self, same: bool) -> None:
        """Offer what the session's result has, and begin with what Explore shows of it."""
        session, result = self.session, self.session.result
        self._quiet = True
        if not same:
            self.title.value = ""
        self.colour.offer(result, session.result_source, same)
        self.colour.choose(session.shown.colour, session.shown.gene)
        keys = label_keys(session.result_source)
        options = {"as the cells": "", **{f"{key} they end with": key for key in keys}}
        value = self.labels.value if self.labels.value in options.values() else ""
        self.labels.param.update(options=options, value=value)
        self._quiet = False
        self._fit_controls()
        self._ask()

    def _fit_controls(self) -> None:
        self.labels.visible = self.streams.visible = self.kind.value == FLOW

    def _on_choice(self, event: Any) -> None:
        if not self._quiet:
            self._fit_controls()
            self._ask()

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
        return FilmWish(FLOW, Wish(colour, self.labels.value, streams=self.streams.value), shot)

    # a frame of it

    def _ask(self) -> None:
        """Draw a frame anew, soon; of several wishes in a row the last one counts."""
        session = self.session
        if self._quiet or session.result is None:
            return
        self._late = session.page != "export" or not self.place.visible
        if self._late:
            return
        self._wanted += 1
        if not self._working:
            self._working = True
            pn.state.execute(self._work)

    def come(self) -> None:
        """It comes into sight: draw what was asked for meanwhile."""
        if not self.picture.object or self._late:
            self._ask()

    async def _work(self) -> None:
        self.busy.visible = True
        try:
            while self._drawn != self._wanted:
                mine = self._drawn = self._wanted
                found, said = b"", ""
                try:
                    if self.session.result is None:
                        return
                    asked = self.asked()
                    source = figuring.source_of(self.session.result, self.session.result_source)
                    found = await asyncio.to_thread(frame_png, source, self.session.result.run, asked)
                except Exception as error:
                    said = ui.reason(error)
                if ui.gone():
                    return
                if mine == self._wanted:
                    ui.in_turn(partial(self._show, found, said))
        finally:
            self._working = self.busy.visible = False

    def _show(self, found: bytes, said: str) -> None:
        if self.session.result is None:  # it has gone before its turn
            return
        self.message.say(said, "info" if said == NOT_YET else "error")
        self.picture.visible = bool(found)
        for download in self.downloads.values():
            download.disabled = not found
        if found:
            self.picture.object = frame_html(found)
            name = stem_of(self.session)
            kind = "training" if self.kind.value == TRAINING else "flow"
            for suffix, download in zip(FORMATS.values(), self.downloads.values(), strict=True):
                download.filename = f"{name}-{kind}{suffix}"

    # the file

    async def _file(self, suffix: str) -> io.BytesIO | None:
        """The film; None where there is none, and why has been told."""
        if self.progress.visible:
            return None
        self._stop.clear()
        self._done = 0.0
        self.message.clear()
        self.doing.object = ui.styled("Drawing …", muted=True)
        self.bar.value, self.progress.visible = 0, True
        name = stem_of(self.session)
        try:
            asked = self.asked()
            source = figuring.source_of(self.session.result, self.session.result_source)
            made = await asyncio.to_thread(
                making.film_bytes, source, self.session.result.run, asked, suffix, self._tell, self._given_up
            )
            if self.session.result is None or stem_of(self.session) != name:
                raise UserError("Another result was chosen while the film was made: choose it again, and its film.")
        except Stopped:
            self.message.say("The film was given up; no file was made.", "info")
        except Exception as error:
            self.message.say(ui.reason(error), "error")
        else:
            said = f"{suffix[1:].upper()} of {size_in_words(len(made))}."
            self.message.say(f"{said} {SMALL_GIF}" if suffix == ".gif" and len(made) > 2e7 else said, "success")
            return io.BytesIO(made)
        finally:
            self.progress.visible = False
        return None

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


def frame_html(png: bytes) -> str:
    """A frame, as large as the page has room for it."""
    data = base64.b64encode(png).decode()
    style = (
        "display:block;max-width:100%;max-height:calc(100vh - 230px);object-fit:contain;border-radius:4px;"
        "box-shadow:0 1px 10px rgba(0,0,0,.18)"
    )
    return f"<img alt='a frame of the film' src='data:image/png;base64,{data}' style='{style}'>"

"""The one time of a page: play, pause, scrub and step, in step with the particles on the canvas."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream_app import ui
from cellstream_app.components.flow import FlowCanvas
from cellstream_app.results import Result
from cellstream_app.ui import WIDE

STEPS = 400
"""Steps of the slider."""
STRIDES = 50
"""Strides of the arrow keys from the first to the last time point."""
NUDGE = 1e-9
"""Share of the whole time by which the slider is moved beside a time, where nobody moved it: no visitor can."""
REMEMBERED = 512
"""Places of the slider that may still come back from a browser: two minutes of playing."""
NARROWEST = 400.0
"""Pixels of the slider in a small window, beside all panels."""
LETTER = 7.0
"""Pixels of a letter below it."""
SPEEDS = {"½ ×": 0.5, "1 ×": 1.0, "2 ×": 2.0, "4 ×": 4.0}


class TimeBar(pn.viewable.Viewer):
    """Drives the canvas and follows it; ``moved`` is called, without arguments, whenever the time has changed.

    What the server sets twice in a row, a slow browser may report back: Panel's ``useState`` writes into the model what
    it has drawn, also where something newer has come meanwhile. Taken for the visitor's, such an echo would stop the
    time. So places that the server gave lie a hair beside any that a visitor can choose, and are known again.
    """

    def __init__(self, canvas: FlowCanvas, moved: Callable[[], None]):
        super().__init__()
        self.canvas, self.moved = canvas, moved
        self.time = 0.0
        """The time shown, in the data's unit."""
        self._given: deque[float] = deque(maxlen=REMEMBERED)
        self._giving = False
        self.play = pmui.Button(
            label="Play",
            icon="play_arrow",
            on_click=lambda event: self.toggle(),
            margin=0,
            width=96,
            variant="outlined",
        )
        self.speed = pmui.Select(label="Speed", options=SPEEDS, value=1.0, size="small", margin=0, width=92)
        self.speed.param.watch(lambda event: setattr(canvas, "speed", event.new), "value")
        canvas.param.watch(self._on_canvas_time, "time")
        canvas.param.watch(self._on_playing, "playing")
        # in a place of its own: what stands beside a part that is exchanged is drawn anew, at times without its style
        self.slot = ui.column()
        self.row = ui.row(self.play, self.slot, self.speed, gap=12)
        self._make_slider(0.0, 1.0, 0.0)
        self.view = ui.card(self.row)

    def __panel__(self) -> pmui.Paper:
        return self.view

    def show(self, result: Result, start: bool) -> None:
        """Take the times of a result; from the start, or from where the time is."""
        first, last = float(result.times[0]), float(result.times[-1])
        unit = result.snapshots.unit
        labels = apart(result.times, [short(str(label)) for label in result.snapshots.labels])
        marks = [{"value": float(t), "label": label} for t, label in zip(result.times, labels, strict=True)]
        time = first if start else float(np.clip(self.time, first, last))
        self._make_slider(first, last, time, marks=marks, label=f"Time [{unit}]" if unit else "Time")

    def _make_slider(self, start: float, end: float, value: float, **more: Any) -> None:
        """A slider for these times. A new one, since a hidden one has been seen to keep the ends of other times."""
        self.time = value
        self.slider = pmui.FloatSlider(
            start=start, end=end, value=value, step=(end - start) / STEPS, margin=(0, 24, 0, 12), show_value=False,
            **{"label": "Time", **more, **WIDE},
        )  # fmt: skip
        self.slider.param.watch(self._on_slider, "value")
        self.slot[:] = [self.slider]

    def key(self, key: str) -> bool:
        """A key of the keyboard: space plays, arrows step through time. Whether it was one of these."""
        match key:
            case " ":
                self.toggle()
            case "ArrowRight" | "ArrowLeft":
                self.stride(1 if key == "ArrowRight" else -1)
            case _:
                return False
        return True

    def toggle(self) -> None:
        """Play, or pause."""
        self.canvas.playing = not self.canvas.playing

    def stride(self, sign: int) -> None:
        """Go a small way forwards (1) or backwards (-1)."""
        self.go_to(self.time + sign * (self.slider.end - self.slider.start) / STRIDES)

    def go_to(self, time: float) -> None:
        """Pause at another time, or at the end that is nearest to it."""
        time = float(np.clip(time, self.slider.start, self.slider.end))
        if time == self.time:
            return
        self.canvas.rest(time)
        if self.time != time:  # the canvas was there already
            self._place(time)
            self.moved()

    def leave(self) -> None:
        """The page is left: nothing plays unseen."""
        self.canvas.playing = False

    def come(self, time: float, playing: bool) -> None:
        """The page is shown again: go on from where other pages have left the time, if there is anything to play."""
        self.go_to(time)
        self.canvas.playing = playing and self.view.visible

    def _place(self, time: float) -> None:
        """Take over a time, and put the slider there."""
        start, end = self.slider.start, self.slider.end
        self.time = float(np.clip(time, start, end))
        beside = self.time + NUDGE * (end - start)
        self._given.append(beside if beside <= end else self.time - NUDGE * (end - start))
        self._giving = True
        self.slider.value = self._given[-1]
        self._giving = False

    def _on_slider(self, event: Any) -> None:
        if self._giving:
            return
        if event.new not in self._given:
            self.time = event.new
            self.canvas.rest(event.new)
            self.moved()
        elif event.new != self._given[-1]:
            ui.in_turn(lambda: self._place(self.time))

    def _on_canvas_time(self, event: Any) -> None:
        if event.new != self.time:
            self._place(event.new)
        self.moved()

    def _on_playing(self, event: Any) -> None:
        self.play.param.update(label="Pause" if event.new else "Play", icon="pause" if event.new else "play_arrow")
        self.moved()


def apart(times: Sequence[float], labels: Sequence[str]) -> list[str]:
    """The labels as far as they do not run into each other under the narrowest slider; the first and the last stay."""
    if len(labels) < 2:
        return list(labels)
    span = max(float(times[-1] - times[0]), 1e-12)
    place = [NARROWEST * float(t - times[0]) / span for t in times]
    half = [LETTER * len(label) / 2 + LETTER / 2 for label in labels]
    last, found = 0, [labels[0], *[""] * (len(labels) - 2), labels[-1]]
    for k in range(1, len(labels) - 1):
        if place[k] - half[k] >= place[last] + half[last] and place[k] + half[k] <= place[-1] - half[-1]:
            found[k], last = labels[k], k
    return found


def short(label: str, most: int = 9) -> str:
    """A label that fits under the slider."""
    return label if len(label) <= most else label[: most - 1] + "…"

"""The one time of a page: play, pause, scrub and step, in step with the particles on the canvas."""

from __future__ import annotations

from collections.abc import Callable
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
SPEEDS = {"½ ×": 0.5, "1 ×": 1.0, "2 ×": 2.0, "4 ×": 4.0}


class TimeBar(pn.viewable.Viewer):
    """Drives the canvas and follows it; ``moved`` is called, without arguments, whenever the time has changed."""

    def __init__(self, canvas: FlowCanvas, moved: Callable[[], None]):
        super().__init__()
        self.canvas, self.moved = canvas, moved
        self._following = False
        self._goes_on = False
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

    @property
    def time(self) -> float:
        """The time shown, in the data's unit."""
        return float(self.slider.value)

    def show(self, result: Result, start: bool) -> None:
        """Take the times of a result; from the start, or from where the time is."""
        first, last = float(result.times[0]), float(result.times[-1])
        unit = result.snapshots.unit
        labels = [short(str(label)) for label in result.snapshots.labels]
        marks = [{"value": float(t), "label": label} for t, label in zip(result.times, labels, strict=True)]
        time = first if start else float(np.clip(self.time, first, last))
        self._make_slider(first, last, time, marks=marks, label=f"Time [{unit}]" if unit else "Time")

    def _make_slider(self, start: float, end: float, value: float, **more: Any) -> None:
        """A slider for these times. A new one, since a hidden one has been seen to keep the ends of other times."""
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
        start, end = self.slider.start, self.slider.end
        self.slider.value = float(np.clip(self.time + sign * (end - start) / STRIDES, start, end))

    def leave(self) -> None:
        """The page is left: nothing plays unseen."""
        self._goes_on = self.canvas.playing
        self.canvas.playing = False

    def come(self) -> None:
        """The page is shown again: what played goes on."""
        self.canvas.playing = self._goes_on

    def _on_slider(self, event: Any) -> None:
        if not self._following:
            self.canvas.param.update(playing=False, time=event.new)
            self.moved()

    def _on_canvas_time(self, event: Any) -> None:
        self._following = True
        self.slider.value = float(np.clip(event.new, self.slider.start, self.slider.end))
        self._following = False
        self.moved()

    def _on_playing(self, event: Any) -> None:
        self.play.param.update(label="Pause" if event.new else "Play", icon="pause" if event.new else "play_arrow")
        self.moved()


def short(label: str, most: int = 9) -> str:
    """A label that fits under the slider."""
    return label if len(label) <= most else label[: most - 1] + "…"

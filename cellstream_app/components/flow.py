"""FlowCanvas: particles that flow over an embedding, drawn by the browser's graphics card.

The server sends paths once; the library's ``web/flow.js`` interpolates between their frames, so playing costs the
server nothing. The canvas lies over a Bokeh figure, lets the mouse through to it, and follows its pan and zoom in the
browser alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import numpy as np
import panel as pn
import param
from bokeh.models import CustomJS

from cellstream import web
from cellstream_app.style import FONT, LIGHT, Theme

# Tells the canvas of this id which figure it lies over, and that something about the figure has changed.
FRAME_CHANGED = """
(window.cellstream_frames ??= {})[id] = figure.id
window.dispatchEvent(new CustomEvent("cellstream-frame", {detail: {id}}))
"""


class FlowCanvas(pn.custom.JSComponent):
    """Particles with mass on given paths, over a figure or alone.

    Give the particles with :meth:`show`. ``time`` is in the data's own unit and goes both ways: set it to scrub; while
    ``playing`` the browser reports it four times a second. Area follows mass relative to the start: what grows
    swells and glows, what dies shrinks and fades.
    """

    paths = param.Array(default=None, allow_None=True, doc="Positions, float32, (frames, particles, 2).")
    log_w = param.Array(default=None, allow_None=True, doc="Log mass, float32, (frames, particles).")
    times = param.Array(default=None, allow_None=True, doc="Time of each frame, float32, ascending, (frames,).")
    colours = param.Array(default=None, allow_None=True, doc="Red, green, blue, opacity, uint8, (particles, 4).")
    marks = param.List(default=[], doc="Measured time points: dicts of `time` and `label`, ascending.")

    time = param.Number(default=0.0, doc="The time shown, in the data's unit.")
    playing = param.Boolean(default=False, doc="Whether the time runs.")
    speed = param.Number(default=1.0, bounds=(0, None), doc="1 plays the whole time in 14 seconds, 2 in half of that.")
    loop = param.Boolean(default=True, doc="Begin again at the end.")
    unit = param.String(default="", doc="Unit of time, shown by the clock.")
    clock = param.Boolean(default=True, doc="Whether the clock is shown.")
    trail = param.Number(default=0.12, bounds=(0, 1), doc="Length of the trails as a share of the whole time; 0: none.")
    point_size = param.Number(default=4.0, bounds=(0, None), doc="Diameter in pixels of a particle of unchanged mass.")

    view = param.NumericTuple(
        default=(0.0, 1.0, 0.0, 1.0), length=4, doc="x0, x1, y0, y1 shown where the canvas lies over no figure."
    )
    frame_id = param.String(default="", constant=True, doc="Name by which a figure calls this canvas; see `attach`.")
    follows = param.String(default="", doc="`frame_id` of another canvas whose time this one shows, frame by frame.")
    theme = param.ClassSelector(default=LIGHT, class_=Theme, doc="Colours of the clock and of the particles' rims.")
    look = param.Dict(default={}, doc="The theme, as the browser reads it.")

    # one source of what draws for the app and for pages that stand alone; what knows Panel comes behind it
    _esm = web.text("flow.js") + "\n" + Path(__file__).with_name("flow.js").read_text(encoding="utf-8")
    _rename: ClassVar[dict] = {"theme": None}

    def __init__(self, **params: object) -> None:
        super().__init__(**params)
        self._dress()

    @param.depends("theme", watch=True)
    def _dress(self) -> None:
        self.look = dataclasses.asdict(self.theme) | {"font": FONT}

    def rest(self, time: float) -> None:
        """Pause at another time."""
        self.param.update(playing=False, time=time)

    def show(
        self,
        paths: np.ndarray,
        log_w: np.ndarray,
        times: np.ndarray,
        colours: np.ndarray,
        marks: Sequence[tuple[float, str]] = (),
    ) -> None:
        """Show other particles.

        ``paths`` (frames, particles, 2); ``log_w`` (frames, particles); ``times`` (frames,) ascending; ``colours``
        (particles, 3 or 4), bytes or floats in 0..1; ``marks``: measured times with their labels. Raises ``ValueError``
        where the shapes do not fit together.
        """
        paths, log_w, times = (np.ascontiguousarray(a, dtype=np.float32) for a in (paths, log_w, times))
        colours = _bytes(colours)
        frames, particles = paths.shape[:2]
        expected = {"paths": (frames, particles, 2), "log_w": (frames, particles), "times": (frames,)}
        expected["colours"] = (particles, 4)
        found = {"paths": paths.shape, "log_w": log_w.shape, "times": times.shape, "colours": colours.shape}
        if found != expected:
            raise ValueError(f"The particles' arrays do not fit together: expected shapes {expected}, found {found}.")
        if not (np.diff(times) > 0).all():
            raise ValueError("Expected the times of the frames in ascending order.")
        named = [{"time": float(t), "label": str(label)} for t, label in sorted(marks, key=lambda mark: mark[0])]
        at = float(np.clip(self.time, times[0], times[-1])) if frames else self.time
        self.param.update(paths=paths, log_w=log_w, times=times, colours=colours, marks=named, time=at)


def _bytes(colours: np.ndarray) -> np.ndarray:
    """Colours (n, 3 or 4), bytes or floats in 0..1, as bytes (n, 4)."""
    colours = np.asarray(colours)
    if colours.dtype != np.uint8:
        colours = np.round(255 * np.clip(colours, 0, 1)).astype(np.uint8)
    if colours.ndim == 2 and colours.shape[1] == 3:
        colours = np.column_stack([colours, np.full(len(colours), 255, np.uint8)])
    return np.ascontiguousarray(colours)


def attach(frame_id: str) -> Callable:
    """A HoloViews hook that makes the canvas with this ``frame_id`` follow the figure's frame and ranges."""

    def hook(plot: object, element: object) -> None:
        figure = plot.handles["plot"]
        if frame_id in figure.tags:
            return
        figure.tags.append(frame_id)
        tell = CustomJS(args=dict(figure=figure, id=frame_id), code=FRAME_CHANGED)
        figure.js_on_event("rangesupdate", tell)
        for size in ("inner_width", "inner_height", "outer_width", "outer_height"):
            figure.js_on_change(size, tell)
        for axis in (figure.x_range, figure.y_range):
            axis.js_on_change("start", tell)
            axis.js_on_change("end", tell)

    return hook


def over(pane: pn.viewable.Viewable, canvas: FlowCanvas) -> pn.Column:
    """The canvas over the pane, in one box of the pane's size. The pane's plot needs the hook of :func:`attach`."""
    pane.margin = 0
    canvas.param.update(
        margin=0,
        sizing_mode="stretch_both",
        styles={
            "position": "absolute",
            "top": "0",
            "left": "0",
            "width": "100%",
            "height": "100%",
            "pointer-events": "none",
        },
    )
    # a drag that begins on a selected text takes that along, and the tool of the plot never hears of it
    styles = {"position": "relative", "user-select": "none", "-webkit-user-select": "none"}
    return pn.Column(pane, canvas, styles=styles, margin=0, sizing_mode=pane.sizing_mode, height=pane.height)


def new_frame_id() -> str:
    """A name that no other canvas on any page has."""
    return f"flow-{uuid4().hex}"

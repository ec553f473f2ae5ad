"""The embedding while it is learned: one Bokeh figure for a whole training, whose data are replaced.

Axes and zoom stay, nothing flickers, and a new picture costs the server a few milliseconds. What takes longer,
:func:`columns`, knows no document and may run in a thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure as Figure
from bokeh.transform import linear_cmap

from cellstream_app import plots
from cellstream_app.live import Picture
from cellstream_app.overlays import stream_rows
from cellstream_app.style import Theme

DOTS = 5000
"""Cells up to which they are dots; more are shaded."""
SEPARATION = 0.045
"""Of the streamlines, in units of the longer side."""
ALPHA = 0.85
SEGMENT = ("x0", "y0", "x1", "y1", "alpha", "width")
HEAD = ("x", "y", "angle", "alpha")
COLUMNS = {"image": ("image",), "dots": ("x", "y", "colour"), "segments": (*SEGMENT, "halo", "faint"), "heads": HEAD}
Columns = dict[str, dict[str, Any]]


def columns(picture: Picture, colours: Sequence[str], view: plots.View, size: tuple[int, int]) -> Columns:
    """What the figure's sources hold for a picture: its cells as dots or shaded, streamlines and their heads."""
    field, n = picture.field, len(picture.points)
    segments, heads = stream_rows(field.x, field.y, field.vx, field.vy, field.weight, SEPARATION)
    # in random order, so that no time point hides the others; the same one each time, so that nothing flickers
    order = np.random.default_rng(0).permutation(n) if n <= DOTS else np.empty(0, int)
    dots = dict(x=picture.points[order, 0], y=picture.points[order, 1], colour=picture.index[order].astype(np.float32))
    heads[:, 2] -= np.pi / 2  # the marker points upwards
    found: Columns = dict(
        dots=dots,
        image=dict(image=[]),
        segments=dict(zip(SEGMENT, segments.T.astype(np.float32), strict=True)),
        heads=dict(zip(HEAD, heads.T.astype(np.float32), strict=True)),
    )
    if n > DOTS:
        names = [str(i) for i in range(len(colours))]
        cells = plots.Cells(picture.points, plots.Categories(picture.index, names, colours), alpha=ALPHA)
        pixels = np.ascontiguousarray(plots.shaded(cells, view, size, spread=1)[::-1])
        found["image"] = dict(image=[pixels.view(np.uint32)[..., 0]])
    found["segments"]["halo"] = found["segments"]["width"] + 2
    found["segments"]["faint"] = 0.4 * found["segments"]["alpha"]
    return found


class LivePlot:
    """The figure of one run in one theme. ``colours`` of its time points; ``home`` the view at the start."""

    def __init__(self, colours: Sequence[str], theme: Theme, home: plots.View, size: tuple[int, int]):
        self.colours, self.home, self.size = colours, home, size
        self.figure = Figure(
            x_range=home[:2], y_range=home[2:], tools="pan,wheel_zoom,reset", active_drag="pan", active_scroll=None,
            x_axis_location=None, y_axis_location=None, sizing_mode="stretch_both", toolbar_location="right",
        )  # fmt: skip
        self.figure.grid.visible = False
        plots.make_plane(self.figure, home)
        self.sources = {name: ColumnDataSource() for name in COLUMNS}
        x0, x1, y0, y1 = home
        place = dict(x=x0, y=y0, dw=x1 - x0, dh=y1 - y0)
        colour = linear_cmap("colour", list(colours), -0.5, len(colours) - 0.5)
        line = dict(x0="x0", y0="y0", x1="x1", y1="y1", source=self.sources["segments"])
        self._fill({name: {column: [] for column in names} for name, names in COLUMNS.items()})
        self.figure.image_rgba("image", **place, source=self.sources["image"])
        self.dots = self.figure.scatter(
            "x", "y", source=self.sources["dots"], fill_color=colour, line_color=None,
            fill_alpha=ALPHA,
        )  # fmt: skip
        self.figure.segment(**line, line_color=theme.background, line_alpha="faint", line_width="halo")
        self.figure.segment(**line, line_color=theme.ink, line_alpha="alpha", line_width="width")
        self.figure.scatter(
            "x", "y", angle="angle", source=self.sources["heads"], marker="triangle", size=8, fill_color=theme.ink,
            fill_alpha="alpha", line_color=None,
        )  # fmt: skip

    def columns(self, picture: Picture) -> Columns:
        """What :meth:`show` takes; to be called in a thread."""
        return columns(picture, self.colours, self.home, self.size)

    def show(self, found: Columns) -> None:
        """Show what :meth:`columns` found."""
        self.dots.glyph.size = plots.dot_size(len(found["dots"]["x"]))
        self._fill(found)

    def _fill(self, found: Columns) -> None:
        for name, data in found.items():
            self.sources[name].data = data

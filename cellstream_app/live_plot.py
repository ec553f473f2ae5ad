"""The embedding while it is learned: one figure for a whole training, whose data are replaced.

Axes and zoom stay, nothing flickers, and a new picture costs the server a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure as Figure
from bokeh.transform import linear_cmap

from cellstream.colours import Categories
from cellstream.traces import Columns, image_columns, stream_columns
from cellstream_app import plots
from cellstream_app.live import Picture
from cellstream_app.overlays import Image, Lines
from cellstream_app.style import Theme

DOTS = 5000
"""Cells up to which they are dots; more are shaded."""
SEPARATION = 0.045
"""Of the streamlines, in units of the longer side."""
ALPHA = 0.85


class LivePlot:
    """The figure of one run in one theme.

    ``colours`` of its time points; ``home`` the view at the start; ``size`` pixels of the image, where cells are many.
    """

    def __init__(self, colours: Sequence[str], theme: Theme, home: plots.View, size: tuple[int, int]):
        self.colours, self.home, self.size = colours, home, size
        self.figure = Figure(
            x_range=home[:2], y_range=home[2:], tools="pan,wheel_zoom,reset", active_drag="pan", active_scroll=None,
            x_axis_location=None, y_axis_location=None, sizing_mode="stretch_both", toolbar_location="right",
        )  # fmt: skip
        self.figure.grid.visible = False
        plots.make_plane(self.figure, home)
        self.shade = Image(self.figure)
        self.source = ColumnDataSource(dict(x=[], y=[], colour=[]))
        self.dots = self.figure.scatter(
            "x", "y", source=self.source, fill_alpha=ALPHA, line_color=None,
            fill_color=linear_cmap("colour", list(colours), -0.5, len(colours) - 0.5),
        )  # fmt: skip
        self.streams = Lines(self.figure, theme, head_size=8)

    def columns(self, picture: Picture) -> dict[str, Columns]:
        """What :meth:`show` takes, cells as dots or shaded and streamlines; may be called in a thread."""
        f, n = picture.field, len(picture.points)
        found = stream_columns(f.x, f.y, f.vx, f.vy, f.weight, SEPARATION)
        # in random order, so that no time point hides the others; the same one each time, so that nothing flickers
        order = np.random.default_rng(0).permutation(n) if n <= DOTS else np.empty(0, int)
        x, y = picture.points[order].T
        found["dots"] = dict(x=x, y=y, colour=picture.index[order].astype(np.float32))
        if n > DOTS:
            colour = Categories(picture.index, [str(i) for i in range(len(self.colours))], self.colours)
            cells = plots.Cells(picture.points, colour, alpha=ALPHA)
            found |= image_columns(plots.shaded(cells, self.home, self.size, spread=1)[::-1], self.home)
        return found

    def show(self, found: dict[str, Columns]) -> None:
        """Show what :meth:`columns` found. To be called by who holds the document."""
        self.dots.glyph.size = plots.dot_size(len(found["dots"]["x"]))
        self.source.data = found["dots"]
        self.streams.show({name: found[name] for name in ("lines", "heads")})
        if "image" in found:
            self.shade.show({"image": found["image"]})
        else:
            self.shade.clear()

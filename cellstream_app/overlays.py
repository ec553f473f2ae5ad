"""What lies over the cells of an embedding: streamlines, arrows, the growth map; as layers of a Bokeh figure.

Their columns are those of :mod:`cellstream.traces`, made where no document is, in a thread if need be. A layer is made
once and shown new columns, which costs milliseconds; drawn anew through HoloViews it cost half a second a frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import ColumnDataSource
from bokeh.plotting import figure as Figure

from cellstream.traces import HEAD, IMAGE, LINE, Columns
from cellstream_app.style import Theme


class Layer:
    """Renderers of a figure by the name of their source. Shows nothing until it is told what."""

    def __init__(self, columns: Mapping[str, Sequence[str]]):
        self.sources = {name: ColumnDataSource({c: [] for c in of}) for name, of in columns.items()}

    def show(self, found: Mapping[str, Columns]) -> None:
        """New data. To be called by who holds the document."""
        for name, data in found.items():
            self.sources[name].data = data

    def clear(self) -> None:
        """Show nothing."""
        self.show({name: {c: [] for c in source.data} for name, source in self.sources.items()})


class Lines(Layer):
    """Lines with arrow heads: streamlines, or arrows at cells. A halo keeps them apart from what is beneath."""

    def __init__(self, figure: Figure, theme: Theme, head_size: float):
        super().__init__({"lines": [*LINE, "halo", "faint"], "heads": HEAD})
        place: dict[str, Any] = dict(x0="x0", y0="y0", x1="x1", y1="y1", source=self.sources["lines"])
        figure.segment(**place, line_color=theme.background, line_alpha="faint", line_width="halo")
        figure.segment(**place, line_color=theme.ink, line_alpha="alpha", line_width="width")
        figure.scatter(
            "x", "y", angle="angle", source=self.sources["heads"], marker="triangle", size=head_size,
            fill_color=theme.ink, fill_alpha="alpha", line_color=None,
        )  # fmt: skip


class Image(Layer):
    """Pixels over a part of the plane; beneath the cells, if so wished."""

    def __init__(self, figure: Figure, level: str = "underlay"):
        super().__init__({"image": IMAGE})
        figure.image_rgba("image", "x", "y", "dw", "dh", source=self.sources["image"], level=level)


class Ribbons(Layer):
    """Bands that are as wide as they carry mass, and fine threads, the ways of single cells; beneath the cells."""

    def __init__(self, figure: Figure):
        super().__init__({"threads": ("xs", "ys", "colour"), "ribbons": ("xs", "ys", "colour")})
        colour = dict(source=self.sources["ribbons"], fill_color="colour", fill_alpha=0.38, line_color="colour")
        figure.patches("xs", "ys", **colour, line_alpha=0.75, line_width=1.2, level="underlay")
        figure.multi_line(
            "xs", "ys", source=self.sources["threads"], line_color="colour", line_alpha=0.3, level="underlay"
        )

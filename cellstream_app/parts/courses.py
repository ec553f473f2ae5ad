"""Genes in time: a chart each, along the flow of the cells that are followed and as observed, and what it shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream.colours import time_colours
from cellstream.genes import Course
from cellstream_app import gene_charts, ui
from cellstream_app.decoded import Decoded
from cellstream_app.style import Theme
from cellstream_app.ui import WIDE

HIGH, LOW = 250, 190
"""Pixels of a chart: of two, and of more."""
BESIDE = {"display": "grid", "grid-template-columns": "repeat(auto-fit, minmax(max(230px, 22%), 1fr))"}
"""As many charts beside each other as can be read, four at most; the browser counts."""
LINE = (
    "Line: {cells}, carried along the learned flow, forwards and backwards, decoded from the map; their mean, each "
    "weighted by the mass it has grown to. Band: the standard deviation between them; between measured cells it is "
    "larger, for the map does not keep their noise."
)
RETURNS = (
    "“Map returns”: the share of a gene's variation between cells that comes back from the map; where it is small, do "
    "not believe the line."
)
BESIDE_ALL = "all cells observed at each time point"
BESIDE_FLOW = "the cells observed at each time point that lie nearest to where the flow has carried them"


class Courses(pn.viewable.Viewer):
    """The card; :meth:`show` fills it."""

    def __init__(self) -> None:
        super().__init__()
        self.grid, self.what = ui.column(gap=8, styles=BESIDE), ui.text("", muted=True)
        self._made: dict[str, tuple[tuple, Course, pn.Column]] = {}
        self.view = ui.card(self.grid, self.what, title="Course along the flow", styles={"flex": "4 1 0"})

    def __panel__(self) -> pmui.Paper:
        return self.view

    def wait(self) -> None:
        """Another result: nothing to show yet."""
        self.grid[:], self._made = [], {}
        self.what.object = ui.styled("Carrying the cells along the flow …", muted=True)

    def show(
        self, courses: Sequence[Course], genes: Decoded, cells: str, selected: bool, decodes: bool, theme: Theme
    ) -> None:
        """The genes along the flow of ``cells``, in words, which are ``selected`` or all of the first time point; where
        nothing ``decodes``, as observed alone. To be called by who holds the document."""
        unit = genes.snapshots.unit
        xlabel, height = f"time [{unit}]" if unit else "time", HIGH if len(courses) < 3 else LOW
        look = decodes, theme, xlabel, height
        known, self._made = self._made, {}
        for course in courses:
            before = known.get(course.name)
            if before and before[0] == look and same(before[1], course):  # it stands where it stood, and does not blink
                self._made[course.name] = before
            else:
                self._made[course.name] = look, course, self._chart(course, genes, *look)
        made = [chart for _, _, chart in self._made.values()]
        self.grid[:] = made
        dots = (
            f"Dots: mean and standard deviation of {BESIDE_FLOW if selected else BESIDE_ALL}." if genes.source else ""
        )
        vertical = f"Vertical: expression, {genes.unit}."
        told = (LINE.format(cells=cells), dots, vertical, RETURNS) if decodes else (dots, vertical)
        said = " ".join(part for part in told if part) if made else "Add a gene at the left."
        self.what.object = ui.styled(ui.escaped(said), muted=True)

    @staticmethod
    def _chart(course: Course, genes: Decoded, decodes: bool, theme: Theme, xlabel: str, height: int) -> pn.Column:
        flow, observed = (
            None if t is None else (t.times, t.mean[:, 0], t.spread[:, 0]) for t in (course.flow, course.observed)
        )
        colours = time_colours(len(genes.result.times))
        chart = gene_charts.course(flow, observed, colours, theme, xlabel, height)
        said = "" if np.isnan(course.r2) else f"map returns {course.r2:.0%}"
        if course.flow is None and decodes:
            said = "not trained on: no line"
        head = f"<b style='font-weight:600'>{ui.escaped(course.name)}</b> <span style='opacity:.68'>{said}</span>"
        inside = ui.text(head), pn.pane.Bokeh(chart, margin=0, height=height, **WIDE)
        return ui.column(*inside, gap=0, styles={"min-width": "0"})


def same(one: Course, other: Course) -> bool:
    """Whether two courses look alike; how a number is rounded depends on the genes that were decoded beside it."""
    if one.name != other.name:
        return False
    pairs = zip(_numbers(one), _numbers(other), strict=True)
    return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True) for a, b in pairs)


def _numbers(course: Course) -> list[np.ndarray]:
    trends = [(np.empty(0),) * 3 if t is None else (t.times, t.mean, t.spread) for t in (course.flow, course.observed)]
    return [np.array(course.r2), *trends[0], *trends[1]]

"""What links two figures that show different planes: the same share of each one's home view, and picking of cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from uuid import uuid4

from bokeh.models import CustomJS, Tool
from bokeh.plotting import figure as Figure

from cellstream_app.leaving import weakly
from cellstream_app.picking import MOVE, add_tools

# A view [x0, x1, y0, y1] of one plane in the other: the same share of its home view.
SAME_SHARE = """
const same_share = (view, home, other) => view.map((value, i) => {
  const k = i < 2 ? 0 : 2
  return other[k] + (value - home[k]) / (home[k + 1] - home[k]) * (other[k + 1] - other[k])
})
"""
COMMON = f"""
{SAME_SHARE}
const home_of = (f) => [f.x_range.reset_start, f.x_range.reset_end, f.y_range.reset_start, f.y_range.reset_end]
const view_of = (f) => [f.x_range.start, f.x_range.end, f.y_range.start, f.y_range.end]
const show = (f, [x0, x1, y0, y1]) => {{
  f.x_range.setv({{start: x0, end: x1}})
  f.y_range.setv({{start: y0, end: y1}})
  window.Bokeh.index.find_one_by_id(f.id)?.trigger_ranges_update_event()
}}
"""
# What is set here is announced like what a user does, since those who shade the other figure's cells anew wait for it.
# The other's answer then finds both at the same share, and nothing more is said.
FOLLOW = f"""
{COMMON}
const figures = (window.cellstream_linked ??= {{}})[group] ??= {{}}
figures[place] = figure
if (["rangesupdate", "reset"].includes(cb_obj?.event_name)) {{
  for (const other of Object.values(figures)) {{
    if (other === figure || other.document == null) continue
    const wanted = same_share(view_of(figure), home_of(figure), home_of(other)), now = view_of(other)
    const width = wanted[1] - wanted[0]
    if (wanted.some((value, i) => Math.abs(value - now[i]) > 1e-6 * width)) show(other, wanted)
  }}
}}
"""
# Bokeh offers no way to show all of a figure from outside but in the browser: another name asks for it.
FIT = f"""
{COMMON}
const [x0, x1, y0, y1] = home_of(figure), w = figure.inner_width, h = figure.inner_height
const scale = Math.max((x1 - x0) / w, (y1 - y0) / h) / 2
const [cx, cy] = [(x0 + x1) / 2, (y0 + y1) / 2]
show(figure, [cx - scale * w, cx + scale * w, cy - scale * h, cy + scale * h])
"""


class Linked:
    """Figures of one page, each at a place of its own, that share view and picking.

    ``picked(place, geometry)`` is called when a user has drawn a box or a lasso on the figure at ``place``.
    """

    def __init__(self, picked: Callable[[str, Mapping[str, Any]], None]):
        self.group, self.picked = f"linked-{uuid4().hex}", picked
        self.drag, self._fits = MOVE, 0
        """What dragging does on figures to come; on those that are shown the browser sees to it."""
        self._figures: dict[str, Figure] = {}
        self._tools: dict[str, dict[str, Tool]] = {}

    def hook(self, place: str) -> Callable:
        """A HoloViews hook for the figures at this place; a new one takes the place of the one before."""

        return partial(weakly(self._on_figure), place=place)

    def _on_figure(self, plot: Any, element: Any, place: str) -> None:
        figure = plot.handles["plot"]
        if self.group not in figure.tags:
            figure.tags.append(self.group)
            self._put_on(figure, place)
        figure.toolbar.active_drag = self._tools[place][self.drag]

    def fit(self) -> None:
        """Back to the views that hold all cells. To be called by who holds the document."""
        self._fits += 1
        for figure in self._figures.values():
            figure.name = f"fit {self._fits}"

    def _put_on(self, figure: Figure, place: str) -> None:
        self._figures[place] = figure
        follow = CustomJS(args=dict(figure=figure, group=self.group, place=place), code=FOLLOW)
        figure.js_on_event("rangesupdate", follow)
        figure.js_on_event("reset", follow)
        figure.js_on_change("inner_width", follow)
        figure.js_on_change("name", CustomJS(args=dict(figure=figure), code=FIT))
        self._tools[place] = add_tools(figure, partial(self.picked, place))

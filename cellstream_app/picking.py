"""Picking cells with the mouse: a box and a lasso on a figure, and which points lie in what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import panel as pn
from bokeh.events import SelectionGeometry
from bokeh.models import BoxSelectTool, LassoSelectTool, PanTool, Tool
from bokeh.plotting import figure as Figure
from matplotlib.path import Path as Outline
from PIL import Image, ImageDraw

MOVE, BOX, LASSO = "Move", "Box", "Lasso"
"""What dragging the mouse over a picture does."""
EXACT = 20_000
"""Points up to which each is held against the outline itself; of more, against its picture, which takes a seventh of
the time and is finer than a screen."""
PIXELS = 2048
"""Pixels of that picture on each side."""

# a figure's tools are known by their names
TURN = """
for (const model of cb_obj.document.all_models) {
  if (!model.toolbar || !model.tags.includes(group)) continue
  for (const tool of model.toolbar.tools) if (tool.name === cb_obj.value) tool.active = true
}
"""


def inside(points: np.ndarray, geometry: Mapping[str, Any]) -> np.ndarray:
    """Positions (k,) of the ``points (n, 2)`` within a geometry of Bokeh's box or lasso; none for any other one."""
    x, y = points.T
    match geometry.get("type"):
        case "rect":
            corners = np.array([[geometry["x0"], geometry["y0"]], [geometry["x1"], geometry["y1"]]], float)
        case "poly" if len(geometry["x"]) > 2:
            corners = np.column_stack([np.asarray(geometry[axis], float) for axis in "xy"])
        case _:
            return np.empty(0, int)
    (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
    near = np.flatnonzero((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))
    if geometry["type"] == "rect":
        return near
    if len(near) <= EXACT:
        return near[Outline(corners).contains_points(points[near])]
    size = np.maximum([x1 - x0, y1 - y0], 1e-30)
    drawn = Image.new("1", (PIXELS, PIXELS))
    ImageDraw.Draw(drawn).polygon([tuple(p) for p in (corners - (x0, y0)) / size * (PIXELS - 1)], fill=1)
    column, row = np.round((points[near] - (x0, y0)) / size * (PIXELS - 1)).astype(int).T
    return near[np.asarray(drawn)[row, column]]


def add_tools(figure: Figure, drawn: Callable[[Mapping[str, Any]], None]) -> dict[str, Tool]:
    """Give a figure a box and a lasso beside its moving.

    They select nothing in the browser: ``drawn`` is told the outline, in data units, when it is whole.
    """
    pan = next(tool for tool in figure.tools if isinstance(tool, PanTool))
    tools = {
        MOVE: pan,
        BOX: BoxSelectTool(renderers=[], visible=False),
        LASSO: LassoSelectTool(renderers=[], visible=False),
    }
    figure.add_tools(tools[BOX], tools[LASSO])
    for mode, tool in tools.items():
        tool.name = mode
    figure.on_event(SelectionGeometry, lambda event: drawn(event.geometry) if event.final else None)
    return tools


def turn_with(choice: pn.widgets.Widget, group: str) -> None:
    """Let dragging on all figures that are tagged with ``group`` do what is chosen.

    In the browser, whoever has chosen: one who draws at once does not wait for the server. New figures are to be made
    with the right tool.
    """
    choice.jscallback(value=TURN, args=dict(group=group))

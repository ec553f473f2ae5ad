"""Which points lie in what a user has drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.path import Path as Outline


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
    return near[Outline(corners).contains_points(points[near])]

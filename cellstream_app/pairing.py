"""Two pictures of the same cells: which cell is which, which are picked, and how picked cells are lit. Pure arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.path import Path as Outline

from cellstream_app.plots import Categories, Values

SHADES = 96
"""Colours that a palette is told apart in where picked cells are lit."""


def matched(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of ``rows (n,)`` of a file, where it stands among ``others (m,)``, -1 where it does not: (n,) int64."""
    where = np.full(int(max(rows.max(initial=-1), others.max(initial=-1))) + 1, -1, np.int64)
    where[others] = np.arange(len(others))
    return where[rows]


def carried(positions: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Positions in one picture as positions in the other, by ``there`` of :func:`matched`; those not there are left
    out."""
    found = there[positions]
    return found[found >= 0]


def inside(points: np.ndarray, geometry: Mapping[str, Any]) -> np.ndarray:
    """Positions of the ``points (n, 2)`` within Bokeh's geometry of a box or of a lasso, in data units."""
    if geometry["type"] == "rect":
        x, y = (np.sort([geometry[f"{axis}0"], geometry[f"{axis}1"]]) for axis in "xy")
    else:
        corners = np.column_stack([geometry["x"], geometry["y"]]).astype(np.float64)
        if len(corners) < 3:
            return np.empty(0, np.int64)
        (x, y) = np.column_stack([corners.min(0), corners.max(0)])
    box = (points[:, 0] >= x[0]) & (points[:, 0] <= x[1]) & (points[:, 1] >= y[0]) & (points[:, 1] <= y[1])
    within = np.flatnonzero(box)
    if geometry["type"] != "rect":
        within = within[Outline(corners).contains_points(points[within])]
    return within


def lit(colour: Categories | Values, picked: np.ndarray | None) -> Categories | Values:
    """The colouring with all cells grey but the ``picked`` ones, (k,) positions; None leaves it as it is.

    Numbers become shades of their palette, since a mean over picked cells and others would be neither.
    """
    if picked is None:
        return colour
    if isinstance(colour, Values):
        colour = _in_shades(colour)
    codes = np.full(len(colour.codes), -1, np.asarray(colour.codes).dtype)
    codes[picked] = np.asarray(colour.codes)[picked]
    return replace(colour, codes=codes)


def spread(codes: np.ndarray, index: np.ndarray, kinds: int, times: int) -> np.ndarray:
    """Cells of each kind at each time point, (kinds, times): of ``codes (k,)``, -1 for none, and ``index (k,)``."""
    known = codes >= 0
    flat = codes[known].astype(np.int64) * times + index[known]
    return np.bincount(flat, minlength=kinds * times).reshape(kinds, times)


def together(limits: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The limits of a scale that holds all of these."""
    return min(low for low, _ in limits), max(high for _, high in limits)


def _in_shades(colour: Values) -> Categories:
    low, high = colour.span()
    share = (np.asarray(colour.values, np.float64) - low) / (high - low)
    known = np.isfinite(share)
    codes = np.full(len(share), -1, np.int16)
    codes[known] = np.clip(share[known] * SHADES, 0, SHADES - 1).astype(np.int16)
    middles = low + (np.arange(SHADES) + 0.5) / SHADES * (high - low)
    palette = [colour.palette[int(i)] for i in np.linspace(0, len(colour.palette) - 1, SHADES)]
    return Categories(codes, [f"{value:.3g}" for value in middles], palette)

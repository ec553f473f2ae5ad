"""What a run is worth, in four numbers with their meaning; and the legend of its time points. HTML."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellstream_app import ui
from cellstream_app.style import dot

TILES = (
    ("vc", "VC", "neighbours move alike",
     "Velocity consistency: how much the velocities of neighbouring cells agree; 1 is best. A constant flow has 1 too, "
     "so read it together with what was kept."),
    ("tc", "TC", "neighbours share a time",
     "Temporal coherence: the share of a cell's neighbours that were measured at its time; 1 is best. The map is told "
     "the time of each cell, so it separates time points even of cells that do not differ: beside it the value of a "
     "plain PCA of as many dimensions, which is not told."),
    ("trust", "Trust", "neighbours kept",
     "Trustworthiness within time points: whether neighbours in the picture are neighbours in the data; 1 is best. "
     "Beside it the value of a plain PCA of as many dimensions."),
    ("r2", "R²", "features restored",
     "Share of the cells' variance that the decoder gives back from the embedding; 1 is best, and two dimensions "
     "seldom hold more than half. Measured on cells that training has not seen, where the settings hold some out. "
     "Beside it the value of a plain PCA of as many dimensions."),
)  # fmt: skip


LONELY = 0.1
"""Share of cells without neighbours in their ball from which it is told: in many dimensions most are alone."""


def legend_row(colours: dict[str, str]) -> str:
    """Time points with their colours, side by side."""
    one = "<span style='white-space:nowrap'>{} {}</span>"
    inside = " ".join(one.format(dot(colour), ui.escaped(name)) for name, colour in colours.items())
    return ui.styled(f"<div style='display:flex;flex-wrap:wrap;gap:4px 14px'>{inside}</div>")


def tiles_html(metrics: dict[str, Any], moving: bool) -> str:
    """VC and TC next to what was kept; each tells its meaning under the pointer. No VC before there is a velocity."""
    tile = (
        "<div title='{why}' style='cursor:help'>"
        "<div style='font-size:19px;font-weight:600;font-variant-numeric:tabular-nums'>"
        "{value}<span style='font-size:12px;font-weight:400;opacity:.68'> {name}</span></div>"
        "<div style='font-size:11px;opacity:.68'>{what}</div></div>"
    )
    shown = []
    for key, name, what, why in TILES:
        value = metrics.get(key) if moving or key != "vc" else None
        if (plain := metrics.get(f"{key}_pca")) is not None and np.isfinite(plain):
            what = f"{what}; PCA {plain:.2f}"
        if key in ("vc", "tc") and (lonely := metrics.get("lonely", 0)) > LONELY:
            what = f"{what}; of the {1 - lonely:.0%} of the cells that have neighbours"
        number = "–" if value is None or not np.isfinite(value) else f"{value:.2f}"
        shown.append(tile.format(why=ui.escaped(why), value=number, name=name, what=what))
    return ui.styled(f"<div style='display:grid;grid-template-columns:1fr 1fr;gap:8px 16px'>{''.join(shown)}</div>")

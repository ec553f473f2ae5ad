"""How the screen looks, in one place: colours, type, spacing, the two themes and the HoloViews defaults.

Colours keep their meaning everywhere: time is always the same sequential palette, categories a colour-blind safe
set, growth blue for loss and vermilion for gain. Nothing here fetches a font or a style from outside.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import holoviews as hv
import numpy as np
from bokeh.plotting import figure as Figure

from cellstream.colours import MISSING, css_colour

FONT = "Inter, Roboto, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, monospace"
TEXT_SIZE, SMALL_SIZE = "13px", "11px"
SPACE = 8  # pixels; gaps are multiples of it

BUTTONS = {
    "MuiButton": {"styleOverrides": {"root": {"textTransform": "none"}}},
    "MuiToggleButton": {"styleOverrides": {"root": {"textTransform": "none", "padding": "4px 10px"}}},
    "MuiFormControlLabel": {"styleOverrides": {"label": {"fontSize": "14px"}}},
    # not of a field, whose label is drawn at three quarters, and the gap for it in the border is reckoned with 16 px
    "MuiFormLabel": {"styleOverrides": {"root": {"&:not(.MuiInputLabel-root)": {"fontSize": "13px"}}}},
}
"""How widgets look in either theme."""


@dataclass(frozen=True)
class Theme:
    """Colours of one of the two themes, as CSS hex strings."""

    dark: bool
    background: str  # under plots and cards
    page: str  # around them
    ink: str
    muted: str
    grid: str
    accent: str


LIGHT = Theme(False, "#ffffff", "#f6f7f9", "#1d2329", "#667079", "#e4e7ea", "#0b7a75")
DARK = Theme(True, "#14181f", "#0e1116", "#e8ecf0", "#98a2ad", "#2a313a", "#4fd1c5")


def theme(dark: bool) -> Theme:
    """The dark or the light theme."""
    return DARK if dark else LIGHT


def _mui_palette(of: Theme) -> dict:
    return {
        "primary": {"main": of.accent},
        "background": {"default": of.page, "paper": of.background},
        "text": {"primary": of.ink, "secondary": of.muted},
        "divider": of.grid,
    }


def theme_config() -> dict:
    """``theme_config`` for ``panel_material_ui.Page``, so that page and plots share their colours."""
    return {
        "chart_style": "classic",  # leaves hidden axes hidden
        "typography": {"fontFamily": FONT},
        "shape": {"borderRadius": SPACE},
        "light": {"palette": _mui_palette(LIGHT)},
        "dark": {"palette": _mui_palette(DARK)},
    }


def use_defaults() -> None:
    """Load HoloViews' Bokeh backend and set what holds for every plot. Call once per session."""
    if "bokeh" not in hv.Store.loaded_backends():
        hv.extension("bokeh", logo=False)
    hv.Store.set_current_backend("bokeh")
    # all figures of a page share one WebGL context, which a browser may take away; then dots are gone for good
    hv.renderer("bokeh").webgl = False
    plain = dict(toolbar=None, fontsize={"labels": 12, "ticks": 11, "legend": 11}, show_title=False)
    for element in (hv.opts.Points, hv.opts.RGB, hv.opts.Path, hv.opts.Curve, hv.opts.Bars, hv.opts.Overlay):
        hv.opts.defaults(element(**plain))


def quiet(figure: Figure) -> None:
    """No logo, no outline, no background of its own: the page's surface shows through in both themes."""
    figure.toolbar.logo = None
    figure.toolbar.autohide = True
    figure.background_fill_alpha = figure.border_fill_alpha = 0
    figure.outline_line_color = None


# ------------------------------------------------------------------------------- legends, drawn by the page itself


def dot(colour: str) -> str:
    """A colour as a dot before the name of what has it, as HTML; grey where it is no colour."""
    look = "flex:none;display:inline-block;width:10px;height:10px;border-radius:50%"
    return f"<span style='{look};background:{html.escape(css_colour(colour) or MISSING)}'></span>"


def legend_html(colours: Mapping[str, str], counts: Mapping[str, int] | None = None) -> str:
    """A legend as HTML: a dot and a name per category. Names come from strangers' files and are escaped."""
    row = (
        "<div style='display:flex;align-items:center;gap:{gap}px;padding:2px 0'>"
        "{dot}"
        "<span style='overflow:hidden;text-overflow:ellipsis;white-space:nowrap' title='{name}'>{name}</span>"
        "{count}</div>"
    )
    number = "<span style='margin-left:auto;opacity:.6;font-variant-numeric:tabular-nums'>{:,}</span>"
    rows = [
        row.format(
            gap=SPACE,
            dot=dot(colour),
            name=html.escape(str(name)),
            count=number.format(counts[name]) if counts and name in counts else "",
        )
        for name, colour in colours.items()
    ]
    return f"<div style='font:{TEXT_SIZE}/1.35 {html.escape(FONT)}'>{''.join(rows)}</div>"


def colour_bar_html(
    palette: Sequence[str], limits: tuple[float, float], label: str, middle: str = "", explained: str = ""
) -> str:
    """A horizontal colour bar as HTML: its ends, a text in the middle, a label with the unit, a sentence below."""
    stops = ",".join(palette[int(i)] for i in np.linspace(0, len(palette) - 1, 16))
    low, high = (f"{v:.3g}".replace("-", "−") for v in limits)
    note = f"<div style='margin-top:{SPACE // 2}px;opacity:.75'>{html.escape(explained)}</div>" if explained else ""
    bar = f"height:{SPACE}px;border-radius:{SPACE // 2}px;margin:3px 0;background:linear-gradient(90deg,{stops})"
    return (
        f"<div style='font:{SMALL_SIZE}/1.4 {html.escape(FONT)}'>"
        f"<div style='font-size:{TEXT_SIZE}'>{html.escape(label)}</div><div style='{bar}'></div>"
        "<div style='display:flex;justify-content:space-between;opacity:.75'>"
        f"<span>{low}</span><span>{html.escape(middle)}</span><span>{high}</span></div>"
        f"{note}</div>"
    )

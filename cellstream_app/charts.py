"""Charts with axes: losses while training, and one bar per time point. Arrays in, HoloViews elements out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import holoviews as hv
import numpy as np
from bokeh.core.properties import value as constant
from bokeh.models import BasicTickFormatter, NumeralTickFormatter, Text

from cellstream_app.style import CATEGORY_PALETTE, FONT, SMALL_SIZE, SPACE, Theme, quiet, time_colours

HEIGHT = 220  # pixels
LOG_FROM = 20.0  # ratio of largest to smallest value above which an axis is logarithmic
BAR_WIDTH = 0.62  # of the room for a bar; less where there are only one or two


def losses(history: Mapping[str, tuple[np.ndarray, np.ndarray]], theme: Theme, ylabel: str = "loss") -> hv.Overlay:
    """A line per term: ``history[name] = (steps, values)``.

    The axis is logarithmic where the values are positive and span more than ``LOG_FROM``; values that a logarithm
    cannot show are left out there.
    """
    values = np.concatenate([np.asarray(v, float) for _, v in history.values()] or [np.empty(0)])
    positive = values[np.isfinite(values) & (values > 0)]
    log = bool(positive.size and positive.max() / positive.min() > LOG_FROM and not (values < 0).any())
    curves = []
    for (name, (steps, value)), colour in zip(history.items(), _colours(len(history)), strict=True):
        steps, value = np.asarray(steps, float), np.asarray(value, float)
        shown = np.isfinite(value) & ((value > 0) | (not log))
        curve = hv.Curve((steps[shown], value[shown]), "step", "value", label=str(name))
        curves.append(curve.opts(color=colour, line_width=1.8, logy=log))
    overlay = hv.Overlay(curves or [hv.Curve([], "step", "value")])
    return overlay.opts(
        **_frame(theme, xlabel="step", ylabel=ylabel, logy=log, legend_position="right", padding=(0.01, 0.08))
    )


def match_bars(
    labels: Sequence[str], w2: np.ndarray, floor: np.ndarray, stay: np.ndarray, theme: Theme, unit: str = ""
) -> hv.Overlay:
    """How well each time point is met: a bar for the matching error (Wasserstein-2) and two yardsticks.

    All arrays have one value per label, not-a-number where there is none. ``floor`` is the error between two halves of
    the observed cells, the best that can be had; ``stay`` is the error if the first snapshot never moved.
    """
    bars = _bars(labels, w2, time_colours(len(labels)), "matching error")
    overlay = (
        bars
        * _ticks(labels, stay, theme.muted, "first snapshot stays")
        * _ticks(labels, floor, theme.ink, "noise floor")
    )
    label = f"matching error [{unit}]" if unit else "matching error"
    return overlay.opts(**_frame(theme, ylabel=label, ylim=_from_zero(w2, floor, stay), legend_position="top"))


def cells_per_time(labels: Sequence[str], counts: Sequence[int], theme: Theme) -> hv.Overlay:
    """Number of cells at each time point, as bars with the number above."""
    counts = np.asarray(counts)
    bars = _bars(labels, counts, time_colours(len(labels)), "cells")
    numbers = hv.Labels((_names(labels), counts, [f"{c:,}" for c in counts]), ["time point", "value"], "text").opts(
        text_color=theme.muted, text_font_size=SMALL_SIZE
    )
    return (bars * numbers).opts(**_frame(theme, ylabel="cells", ylim=_from_zero(counts), show_legend=False))


def mass_bars(labels: Sequence[str], predicted: np.ndarray, observed: np.ndarray, theme: Theme) -> hv.Overlay:
    """Total mass relative to the first time point: bars as predicted, a tick where observed."""
    bars = _bars(labels, predicted, time_colours(len(labels)), "predicted")
    overlay = bars * _ticks(labels, observed, theme.ink, "observed")
    return overlay.opts(
        **_frame(theme, ylabel="mass, first = 1", ylim=_from_zero(predicted, observed), legend_position="top")
    )


def _colours(n: int) -> list[str]:
    return [CATEGORY_PALETTE[i % len(CATEGORY_PALETTE)] for i in range(n)]


def _names(labels: Sequence[str]) -> list[str]:
    return [str(label) for label in labels]


def _bars(labels: Sequence[str], values: np.ndarray, colours: Sequence[str], label: str) -> hv.Bars:
    table = (_names(labels), np.asarray(values, float), list(colours))
    return hv.Bars(table, "time point", ["value", "colour"], label=label).opts(
        color="colour", line_color=None, fill_alpha=0.85, bar_width=min(BAR_WIDTH, 0.25 * len(labels)),
        show_legend=False, tools=["hover"], hover_tooltips=[("", "@{time_point}"), (label, "@value{0,0.[000]}")],
    )  # fmt: skip


def _ticks(labels: Sequence[str], values: np.ndarray, colour: str, label: str) -> hv.Scatter:
    values = np.asarray(values, float)
    known = np.isfinite(values)
    names = [name for name, k in zip(_names(labels), known, strict=True) if k]
    return hv.Scatter((names, values[known]), "time point", "value", label=label).opts(
        marker="dash",
        size=30,
        color=colour,
        line_width=2.5,
        tools=["hover"],
        hover_tooltips=[(label, "@value{0.[000]}")],
    )


def _from_zero(*values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis of bars, with room for a number above the highest."""
    finite = np.concatenate([np.asarray(v, float).ravel() for v in values])
    finite = finite[np.isfinite(finite)]
    return (0.0, 1.15 * float(finite.max()) if finite.size and finite.max() > 0 else 1.0)


def _frame(theme: Theme, **own: object) -> dict:
    """Options of a chart: as wide as there is room, quiet, in the colours of the theme; and its own."""
    # no tools: the wheel over a chart scrolls the page
    quiet_tools = dict(toolbar=None, default_tools=[], active_tools=[])
    common = dict(xlabel="", show_grid=True, show_frame=False, hooks=[chart_hook(theme)])
    return dict(responsive=True, height=HEIGHT) | quiet_tools | common | own


def chart_hook(theme: Theme) -> Callable:
    """A hook that dresses a chart's axes, grid and legend."""

    def hook(plot: object, element: object) -> None:
        figure = plot.handles["plot"]
        quiet(figure)
        figure.min_border_right = 16
        for axis in (*figure.xaxis, *figure.yaxis):
            axis.axis_line_color = axis.major_tick_line_color = theme.grid
            axis.minor_tick_line_color = None
            axis.major_label_text_color, axis.axis_label_text_color = theme.muted, theme.ink
            axis.major_label_text_font = axis.axis_label_text_font = FONT
            axis.axis_label_text_font_style = "normal"
            axis.major_label_text_font_size, axis.axis_label_text_font_size = SMALL_SIZE, SMALL_SIZE
            axis.axis_label_standoff = SPACE
            if hasattr(axis.ticker, "desired_num_ticks"):
                axis.ticker.desired_num_ticks = 5
        if isinstance(figure.yaxis[0].formatter, BasicTickFormatter):
            figure.yaxis[0].formatter = NumeralTickFormatter(format="0,0.[000]")
        figure.yaxis[0].ticker.desired_num_ticks = 5
        figure.xaxis.major_tick_line_color = None
        figure.yaxis.axis_line_color = None
        figure.xgrid.grid_line_color, figure.ygrid.grid_line_color = None, theme.grid
        for text in figure.select(Text):
            text.text_font, text.text_baseline, text.y_offset = constant(FONT), "bottom", -4
        for legend in figure.legend:
            legend.background_fill_alpha, legend.border_line_color = 0, None
            legend.label_text_color, legend.label_text_font = theme.ink, FONT
            legend.label_text_font_size, legend.spacing, legend.label_standoff = SMALL_SIZE, SPACE, SPACE // 2
            legend.orientation = "horizontal" if legend in figure.above else "vertical"
            legend.padding = 0

    return hook

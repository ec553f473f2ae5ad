"""Charts of genes: their course in time, and growth beside a score. Arrays in; Bokeh figures out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Range1d, Span
from bokeh.plotting import figure as Figure

from cellstream_app.charts import dressed, frame
from cellstream_app.style import Theme

BAND = 0.16
"""Opacity of a line's spread."""
DOTS = 3000
"""Cells that are drawn, at most."""
Line = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Times (T,), means (T,) and standard deviations (T,)."""


def course(
    flow: Line | None, observed: Line | None, colours: Sequence[str], theme: Theme, xlabel: str, height: int
) -> Figure:
    """A gene in time: along the flow as a line with its spread, and as observed as dots with whiskers.

    ``colours`` are those of the time points, one per observed mean.
    """
    chart = frame(theme, "", height=height)
    chart.xaxis.axis_label = xlabel
    ends = [np.zeros(0)]
    if flow is not None:
        times, mean, spread = flow
        data = ColumnDataSource(dict(time=times, mean=mean, low=mean - spread, high=mean + spread, spread=spread))
        chart.varea("time", "low", "high", source=data, fill_color=theme.accent, fill_alpha=BAND)
        line = chart.line("time", "mean", source=data, line_color=theme.accent, line_width=2.4)
        chart.add_tools(_tip(line, "along the flow", mode="vline"))
        ends += [mean - spread, mean + spread]
    if observed is not None:
        times, mean, spread = observed
        known = np.isfinite(mean)
        data = ColumnDataSource(dict(
            time=times[known], mean=mean[known], low=(mean - spread)[known], high=(mean + spread)[known],
            spread=spread[known], colour=[c for c, k in zip(colours, known, strict=True) if k],
        ))  # fmt: skip
        chart.segment("time", "low", "time", "high", source=data, line_color="colour", line_width=1.6, line_alpha=0.8)
        dots = chart.scatter(
            "time", "mean", source=data, size=8, fill_color="colour", line_color=theme.background, line_width=1
        )
        chart.add_tools(_tip(dots, "observed", mode="mouse"))
        ends += [(mean - spread)[known], (mean + spread)[known]]
        chart.xaxis.ticker = FixedTicker(ticks=_apart(times))
    chart.y_range = _range(np.concatenate(ends))
    return dressed(chart, theme)


def score_chart(
    score: np.ndarray, growth: np.ndarray, index: np.ndarray, labels: Sequence[str], colours: Sequence[str],
    theme: Theme, xlabel: str, ylabel: str,
) -> Figure:  # fmt: skip
    """Growth of the cells against a score (n,), a dot each, coloured by time; of many cells :data:`DOTS` of them."""
    chart = frame(theme, ylabel, height=280)
    chart.xaxis.axis_label = xlabel
    chosen = np.random.default_rng(0).permutation(len(score))[:DOTS]
    data = ColumnDataSource(dict(
        x=score[chosen], y=growth[chosen], colour=np.asarray(colours, object)[index[chosen]],
        label=np.asarray(labels, object)[index[chosen]],
    ))  # fmt: skip
    dots = chart.scatter("x", "y", source=data, size=4, fill_color="colour", fill_alpha=0.55, line_color=None)
    told = [("", "@label"), ("score", "@x{0.00}"), ("growth", "@y{0.00}")]
    chart.add_tools(HoverTool(renderers=[dots], tooltips=told))
    chart.add_layout(Span(location=0, dimension="width", line_color=theme.muted, line_dash="dotted"))
    return dressed(chart, theme)


def _tip(renderer: object, name: str, mode: str) -> HoverTool:
    told = [("time", "@time{0.[00]}"), (name, "@mean{0.[000]} ± @spread{0.[000]}")]
    return HoverTool(renderers=[renderer], tooltips=told, mode=mode)


def _apart(times: np.ndarray, share: float = 0.07) -> list[float]:
    """The times that can be written below an axis without touching; the last one always."""
    least, kept = share * float(times[-1] - times[0]), [float(times[-1])]
    for time in times[-2::-1]:
        if kept[-1] - time >= least:
            kept.append(float(time))
    return kept[::-1]


def _range(values: np.ndarray) -> Range1d:
    """An axis that holds all values with some room; never empty."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.5
    return Range1d(low - room, high + room)

"""Charts with axes: losses while training, and one bar per time point. Arrays in; Bokeh figures out.

A figure is made once and then shown new data by :func:`show_losses` or :func:`show_bars`: making one anew, many times
in a training, would keep the page from answering (in a measured training it took a third of the server's time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from bokeh.core.properties import value as constant
from bokeh.models import ColumnDataSource, FactorRange, HoverTool, Legend, LegendItem, NumeralTickFormatter, Range1d
from bokeh.plotting import figure as Figure

from cellstream.colours import CATEGORY_PALETTE, time_colours
from cellstream_app.style import FONT, SMALL_SIZE, SPACE, Theme, quiet

HEIGHT = 220  # pixels
LOG_FROM = 20.0  # ratio of largest to smallest value above which an axis is logarithmic
BAR_WIDTH = 0.62  # of the room for a bar; less where there are only one or two
NUMBERS = "0,0.[000]"
Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]


def losses(history: Curves, theme: Theme, ylabel: str = "loss") -> Figure:
    """A line per term: ``history[name] = (steps, values)``.

    The axis is logarithmic where the values are positive and span more than ``LOG_FROM``; values that a logarithm
    cannot show are left out there.
    """
    log = is_logarithmic(history)
    chart = frame(theme, ylabel, y_axis_type="log" if log else "linear")
    chart.xaxis.axis_label = "step"
    items = []
    for (name, (steps, value)), colour in zip(history.items(), _colours(len(history)), strict=True):
        source = ColumnDataSource(_curve(steps, value, log), name=str(name))
        line = chart.line("step", "value", source=source, color=colour, line_width=1.8)
        items.append(LegendItem(label=str(name), renderers=[line]))
    chart.add_layout(_legend(items, theme), "right")
    return dressed(chart, theme)


def is_logarithmic(history: Curves) -> bool:
    """Whether the axis of these losses is logarithmic."""
    values = np.concatenate([np.asarray(v, float) for _, v in history.values()] or [np.empty(0)])
    positive = values[np.isfinite(values) & (values > 0)]
    return bool(positive.size and positive.max() / positive.min() > LOG_FROM and not (values < 0).any())


def show_losses(chart: Figure, history: Curves) -> None:
    """New losses of the same terms, on the same kind of axis."""
    log = is_logarithmic(history)
    for renderer in chart.renderers:
        source = renderer.data_source
        source.data = _curve(*history[source.name], log)


def match_bars(
    labels: Sequence[str], w2: np.ndarray, floor: np.ndarray, stay: np.ndarray, colours: Sequence[str], theme: Theme
) -> Figure:
    """How well each time point is met: a bar for the matching error (Wasserstein-2) and two yardsticks.

    All have one value per label; arrays not-a-number where there is none. ``floor`` is the error between two halves of
    the observed cells, the best that can be had; ``stay`` is the error if the first snapshot never moved.
    """
    ticks = {"first snapshot stays": (stay, theme.muted), "noise floor": (floor, theme.ink)}
    return _bars(labels, w2, "matching error", ticks, colours, theme, "matching error")


def mass_bars(
    labels: Sequence[str], predicted: np.ndarray, observed: np.ndarray, colours: Sequence[str], theme: Theme
) -> Figure:
    """Total mass relative to the first time point: bars as predicted, a tick where observed."""
    return _bars(labels, predicted, "predicted", {"observed": (observed, theme.ink)}, colours, theme, "mass, first = 1")


def cells_per_time(labels: Sequence[str], counts: Sequence[int], theme: Theme) -> Figure:
    """Number of cells at each time point, as bars with the number above."""
    chart = _bars(labels, np.asarray(counts, float), "cells", {}, time_colours(len(labels)), theme, "cells")
    numbers = dict(time_point=_names(labels), value=list(counts), text=[f"{c:,}" for c in counts])
    chart.text(
        "time_point", "value", "text", source=ColumnDataSource(numbers), text_color=theme.muted,
        text_font=constant(FONT), text_font_size=SMALL_SIZE, text_align="center", text_baseline="bottom", y_offset=-4,
    )  # fmt: skip
    return chart


def show_bars(chart: Figure, *values: np.ndarray) -> None:
    """New values of the same time points: the bars', then those of each kind of tick, as the chart was made with."""
    for renderer, value in zip(chart.renderers, values, strict=True):
        renderer.data_source.data = {**renderer.data_source.data, "value": np.asarray(value, float)}
    chart.y_range.end = _top(*values)


def _colours(n: int) -> list[str]:
    return [CATEGORY_PALETTE[i % len(CATEGORY_PALETTE)] for i in range(n)]


def _names(labels: Sequence[str]) -> list[str]:
    return [str(label) for label in labels]


def _curve(steps: np.ndarray, value: np.ndarray, log: bool) -> dict[str, np.ndarray]:
    steps, value = np.asarray(steps, float), np.asarray(value, float)
    shown = np.isfinite(value) & ((value > 0) | (not log))
    return dict(step=steps[shown], value=value[shown])


def _bars(
    labels: Sequence[str], values: np.ndarray, name: str, ticks: Mapping[str, tuple[np.ndarray, str]],
    colours: Sequence[str], theme: Theme, ylabel: str,
) -> Figure:  # fmt: skip
    """A bar per time point, and ticks across it: ``ticks[name] = (values, colour)``."""
    names = _names(labels)
    top = _top(values, *(value for value, _ in ticks.values()))
    chart = frame(theme, ylabel, x_range=FactorRange(*names), y_range=Range1d(0, top))

    def source(of: np.ndarray, **more: object) -> ColumnDataSource:
        return ColumnDataSource(dict(time_point=names, value=np.asarray(of, float), **more))

    bars = chart.vbar(
        "time_point", top="value", width=min(BAR_WIDTH, 0.25 * len(names)), line_color=None, fill_alpha=0.85,
        fill_color="colour", source=source(values, colour=list(colours)),
    )  # fmt: skip
    tips = [HoverTool(renderers=[bars], tooltips=[("", "@time_point"), (name, f"@value{{{NUMBERS}}}")])]
    items = [LegendItem(label=name, renderers=[bars])]
    for tick, (value, colour) in ticks.items():
        dashes = chart.scatter(
            "time_point", "value", marker="dash", size=30, color=colour, line_width=2.5, source=source(value)
        )
        tips.append(HoverTool(renderers=[dashes], tooltips=[(tick, f"@value{{{NUMBERS}}}")]))
        items.append(LegendItem(label=tick, renderers=[dashes]))
    chart.add_tools(*tips)
    if ticks:
        chart.add_layout(_legend(items, theme, orientation="horizontal"), "above")
    return dressed(chart, theme)


def _top(*values: Sequence[float] | np.ndarray) -> float:
    """Where an axis of bars ends, with room for a number above the highest."""
    finite = np.concatenate([np.asarray(v, float).ravel() for v in values])
    finite = finite[np.isfinite(finite)]
    return 1.15 * float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def _legend(items: list[LegendItem], theme: Theme, orientation: str = "vertical") -> Legend:
    return Legend(
        items=items, orientation=orientation, background_fill_alpha=0, border_line_color=None, padding=0,
        label_text_color=theme.ink, label_text_font=FONT, label_text_font_size=SMALL_SIZE, spacing=SPACE,
        label_standoff=SPACE // 2, glyph_width=18,
    )  # fmt: skip


def frame(theme: Theme, ylabel: str, **own: object) -> Figure:
    """A figure as wide as there is room. Without tools: the wheel over a chart scrolls the page."""
    own = {"height": HEIGHT, **own}
    return Figure(sizing_mode="stretch_width", tools="", toolbar_location=None, y_axis_label=ylabel, **own)


def dressed(chart: Figure, theme: Theme) -> Figure:
    """The chart with quiet axes and a faint grid, in the colours of the theme."""
    quiet(chart)
    chart.min_border_right = 16
    for axis in (*chart.xaxis, *chart.yaxis):
        axis.axis_line_color = axis.major_tick_line_color = theme.grid
        axis.minor_tick_line_color = None
        axis.major_label_text_color, axis.axis_label_text_color = theme.muted, theme.ink
        axis.major_label_text_font = axis.axis_label_text_font = FONT
        axis.axis_label_text_font_style = "normal"
        axis.major_label_text_font_size = axis.axis_label_text_font_size = SMALL_SIZE
        axis.axis_label_standoff = SPACE
        if hasattr(axis.ticker, "desired_num_ticks"):
            axis.ticker.desired_num_ticks = 5
    if type(chart.y_scale).__name__ == "LinearScale":
        chart.yaxis[0].formatter = NumeralTickFormatter(format=NUMBERS)
    chart.xaxis.major_tick_line_color = chart.yaxis.axis_line_color = None
    chart.xgrid.grid_line_color, chart.ygrid.grid_line_color = None, theme.grid
    return chart

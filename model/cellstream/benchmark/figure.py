"""A table as a figure: dots with error bars, or lines where a setting is a number; the paper's numbers hollow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from cellstream.benchmark.report import Summary

# M. A. Petroff, "Accessible color sequences for data visualization", arXiv:2107.02270; the app's order
PALETTE = ("#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#92dadd", "#a96b59", "#e76300", "#b9ac70", "#717581", "#94a4a2")
INK, MUTED, GRID = "#1d2329", "#667079", "#e4e7ea"
SIZE = 9
"""Of text, in points."""
NARROWEST = 0.25
"""Span of an axis of scores, which lie between 0 and 1."""


def drawn(summary: Summary, title: str) -> Figure:
    """One row of panels for each data set, one panel for each metric that is drawn."""
    return _lines(summary, title) if summary.table.over else _dots(summary, title)


def bars(names: Sequence[str], values: Sequence[float], unit: str, muted: Sequence[bool]) -> Figure:
    """A bar for each value above zero, in the order given, on a logarithmic axis with its number at its end."""
    figure = Figure(figsize=(6.5, 0.28 * len(names) + 0.9), layout="constrained")
    ax = figure.subplots()
    ax.barh(range(len(names)), values, color=[MUTED if quiet else PALETTE[0] for quiet in muted])
    for i, value in enumerate(values):
        ax.text(value * 1.1, i, f"{value:.2g}", va="center", fontsize=SIZE - 1, color=INK)
    ax.set_yticks(range(len(names)), names)
    ax.set_xscale("log")
    ax.set_xlim(min(values) / 2, max(values) * 4)
    ax.invert_yaxis()
    ax.set_xlabel(unit)
    _style(ax)
    return figure


def _dots(summary: Summary, title: str) -> Figure:
    table = summary.table
    sides = [_names(summary, data) for data in summary.data]
    tall = [0.3 * len(names) * max(1, 0.5 * len(series)) + 0.7 for names, series, _ in sides]
    figure = Figure(figsize=(2.6 + 2.2 * len(table.drawn) + 1.6, sum(tall) + 0.8), layout="constrained")
    grid = figure.subplots(
        len(summary.data),
        len(table.drawn),
        squeeze=False,
        gridspec_kw=dict(height_ratios=tall),
        # what is no score has a scale of its own in each data set
        sharex=False if table.by_setting else "col",
        sharey="row",
    )
    for axes, data, (names, series, by_method) in zip(grid, summary.data, sides, strict=True):
        for ax, key in zip(axes, table.drawn, strict=True):
            for k, one in enumerate(series):
                place = (k - (len(series) - 1) / 2) * min(0.7 / len(series), 0.25)
                pairs = [(name, one) if by_method else (one, name) for name in names]
                _draw_dots(ax, summary, [(data, *pair) for pair in pairs], key, place, one, PALETTE[k % len(PALETTE)])
            _style(ax)
            ax.tick_params(labelbottom=True)
            ax.set_xlabel(_title(summary, key))
            ax.set_yticks(range(len(names)), names)
            ax.set_ylim(len(names) - 0.5, -0.5)
        axes[0].set_title(data, loc="left", fontsize=SIZE + 1, color=INK)
        if len(series) > 1 and (data == summary.data[0] or table.by_setting):
            legend = axes[-1].legend(
                loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=SIZE, labelcolor=INK
            )
            if table.by_setting:
                legend.set_title("time point", prop=dict(size=SIZE))
    for ax in grid.flat if table.by_setting else grid[0]:
        _roomy(ax, 0.0 if table.by_setting else None)
    _caption(figure, summary, title)
    return figure


def _roomy(ax: Axes, start: float | None) -> None:
    """From ``start``, or wide enough that scores which hardly differ look so."""
    low, high = ax.get_xlim()
    low = min(low, high - NARROWEST) if start is None else start
    ax.set_xlim(low, high + 0.04 * (high - low))
    ax.locator_params(axis="x", nbins=4)


def _names(summary: Summary, data: str) -> tuple[list[str], list[str], bool]:
    """What stands on the vertical axis, what has colours, and whether methods are the former."""
    methods, settings = summary.names("method", data), summary.names("setting", data)
    if summary.table.by_setting or settings == [""]:
        return methods, settings, True
    return settings, methods, False


def _draw_dots(
    ax: Axes, summary: Summary, groups: list[tuple[str, str, str]], key: str, place: float, label: str, colour: str
) -> None:
    """A metric of one series; ``groups`` are its (data, method, setting) from the top down."""
    for i, group in enumerate(groups):
        value = summary.value(*group, key)
        if value is not None:
            sd = None if math.isnan(value.sd) else value.sd
            ax.errorbar(
                value.mean, i + place, xerr=sd, fmt="o", color=colour, markersize=5, capsize=2, linewidth=1, label=label
            )
            label = ""  # a series is named once
        reference = summary.reference(*group, key)
        if reference is not None:
            ax.plot(reference, i + place, "D", markersize=5, markerfacecolor="none", markeredgecolor=MUTED)


def _lines(summary: Summary, title: str) -> Figure:
    table = summary.table
    figure = Figure(figsize=(3.2 * len(table.drawn) + 1.9, 3.4), layout="constrained")
    (axes,) = figure.subplots(1, len(table.drawn), squeeze=False)
    series = [(data, method) for data in summary.data for method in summary.names("method", data)]
    for ax, key in zip(axes, table.drawn, strict=True):
        references = set()
        for k, (data, method) in enumerate(series):
            colour = PALETTE[k % len(PALETTE)]
            name = method if len(summary.data) == 1 else f"{data}, {method}"
            settings = summary.values(data)
            found = [(x, summary.value(data, method, s, key)) for x, s in settings]
            points = [(x, value.mean, 0 if math.isnan(value.sd) else value.sd) for x, value in found if value]
            if points:
                x, mean, sd = zip(*points, strict=True)
                ax.errorbar(
                    x, mean, yerr=sd, fmt="-o", color=colour, markersize=4, capsize=2, linewidth=1.3, label=name
                )
            known = [(x, summary.reference(data, method, s, key)) for x, s in settings]
            told = tuple((x, y) for x, y in known if y is not None)
            # both presets stand beside the paper's one CellStream, which is drawn once
            if told and told not in references:
                references.add(told)
                x, y = zip(*told, strict=True)
                label = "" if points else f"{name}, the paper's"
                ax.plot(x, y, "--D", color=colour, markersize=4, markerfacecolor="none", linewidth=0.8, label=label)
        _style(ax)
        ax.set_xlabel(table.over)
        ax.set_ylabel(_title(summary, key))
    axes[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1), frameon=False, fontsize=SIZE, labelcolor=INK)
    _caption(figure, summary, title)
    return figure


def _title(summary: Summary, key: str) -> str:
    table = summary.table
    return next(column.head for column in (*table.columns, *table.detail) if column.key == key)


def _caption(figure: Figure, summary: Summary, title: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontsize=SIZE + 2, color=INK)
    words = ["bars: standard deviation over seeds"] if any(summary.seeds(*key) > 1 for key in summary.groups) else []
    told = any(summary.reference(*key, c) is not None for key in summary.groups for c in summary.table.drawn)
    words += ["hollow: the paper's numbers"] if told else []
    figure.supxlabel("; ".join(words), x=0.01, ha="left", fontsize=SIZE - 1, color=MUTED)


def _style(ax: Axes) -> None:
    ax.grid(color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(colors=INK, labelsize=SIZE, length=0)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=INK, fontsize=SIZE)
    for spine in ax.spines.values():
        spine.set_visible(False)

"""Figures with axes and numbers, one function each: genes in time, losses, how well time points are met,
metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from cellstream.colours import CATEGORY_PALETTE, STILL, time_colours
from cellstream.errors import UserError
from cellstream.figures import keys
from cellstream.figures.drawings import Drawn, time_names
from cellstream.figures.page import Page
from cellstream.figures.paper import INK, MUTED, Sheet, plain
from cellstream.genes import Course
from cellstream.history import TERMS
from cellstream.time_labels import number_label

PANEL = 29.0
"""Millimetres that a panel is wide at least."""
TALL = 34.0
"""Height of a panel with its texts, in millimetres."""
MOSTLY = 0.9
"""Share of losses above 0 from which a stage has a logarithmic axis; what is not above 0 is not drawn then."""
TOTAL = "total"
LINE = CATEGORY_PALETTE[0]
YARDSTICK_MARKS = ("|", "x")


def gene_trends(courses: Sequence[Course], times: np.ndarray, unit: str, expression: str, sheet: Sheet) -> Drawn:
    """A panel for each gene: its course along the flow with its spread, and dots for what was observed.

    ``times`` (T,) are those of the time points, in whose colours the dots are. The numbers are the means and standard
    deviations.
    """
    if not courses:
        raise UserError("Expected at least one gene to draw, as in --genes SOX2,TBXT, but got none.")
    parts = []
    with sheet.type():
        page = Page(sheet)
        error = Line2D([], [], color=MUTED, marker="o", markersize=3, linestyle="none")
        handles: list[keys.Handle] = [Line2D([], [], color=LINE), Patch(color=LINE, alpha=0.2, linewidth=0), error]
        made = keys.names_of(page, handles, ["along the flow", "± s.d.", "observed ± s.d."], "", TALL)
        grid = _grid(page, made, len(courses))
        known = any(course.r2 is not None and np.isfinite(course.r2) for course in courses)
        for ax, course in zip(grid, courses, strict=True):
            if course.flow is not None:
                mean, spread = course.flow.mean[:, 0], course.flow.spread[:, 0]
                ax.fill_between(course.flow.times, mean - spread, mean + spread, color=LINE, alpha=0.2, linewidth=0)
                ax.plot(course.flow.times, mean, color=LINE)
                parts.append(_trend(course.name, "along the flow", course.flow.times, mean, spread))
            if course.observed is not None:
                seen = course.observed
                mean, spread = seen.mean[:, 0], seen.spread[:, 0]
                for t, m, s, colour in zip(seen.times, mean, spread, time_colours(len(times)), strict=True):
                    ax.errorbar(t, m, yerr=s, fmt="o", color=colour, markersize=3, linewidth=0.8)
                parts.append(_trend(course.name, "observed", seen.times, mean, spread))
            ax.set_title(plain(course.name), fontstyle="italic", pad=9 if known else 3)
            if course.r2 is not None and np.isfinite(course.r2):
                says = f"map returns {max(course.r2, 0):.0%}"
                ax.annotate(says, (0.5, 1), (0, 2), "axes fraction", "offset points", ha="center", color=MUTED)
            ax.yaxis.set_major_locator(MaxNLocator(4))
            ax.set_xticks(*_spaced(times))
            ax.set_xlabel(f"time [{plain(unit)}]" if unit else "time")
        grid[0].set_ylabel(expression)
    return Drawn(page.figure, pd.concat(parts, ignore_index=True))


def losses(curves: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], sheet: Sheet) -> Drawn:
    """A panel for each stage of the training, a line for each of its losses: stage -> name -> (steps, values)."""
    if not curves:
        raise UserError("This result does not hold the losses of its training: train again, or draw another kind.")
    parts = []
    names = list(dict.fromkeys(name for terms in curves.values() for name in terms))
    names.sort(key=lambda name: name != TOTAL)
    parts_of_it = [name for name in names if name != TOTAL]
    n = len(CATEGORY_PALETTE)
    colours = {name: CATEGORY_PALETTE[k % n] for k, name in enumerate(parts_of_it)} | {TOTAL: INK}
    dashed = set(parts_of_it[n:])
    with sheet.type():
        page = Page(sheet)
        lines = [Line2D([], [], color=colours[name], linestyle="--" if name in dashed else "-") for name in names]
        made = keys.names_of(page, lines, [_word(name) for name in names], "loss", 2 * TALL)
        for ax, (stage, terms) in zip(_grid(page, made, len(curves)), curves.items(), strict=True):
            for name, (steps, values) in terms.items():
                ax.plot(steps, values, color=colours[name], linewidth=0.8, linestyle="--" if name in dashed else "-")
                parts.append(pd.DataFrame(dict(stage=stage, loss=name, step=steps, value=values)))
            ax.set_title(stage)
            ax.set_xlabel("step")
            ax.set_ylabel("loss")
            ax.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 2.5, 5, 10], integer=True))
            if np.mean(np.concatenate([values for _, values in terms.values()]) > 0) > MOSTLY:
                ax.set_yscale("log", nonpositive="mask")
                # matplotlib's own powers of ten are mathematics, which names from files must not be
                ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                ax.yaxis.set_minor_formatter(NullFormatter())
    return Drawn(page.figure, pd.concat(parts, ignore_index=True))


def match(found: pd.DataFrame, unit: str, sheet: Sheet) -> Drawn:
    """How well each time point is met, and the size of the population.

    ``found`` has a row for each later time point and the columns ``w2, floor, stays, predicted, observed``;
    ``unit`` is that of time.
    """
    if found.empty:
        raise UserError(
            "This result does not hold how well its time points are met: train again, or draw another kind."
        )
    at = np.arange(len(found))
    colours = time_colours(len(found) + 1)[1:]
    names = list(time_names(list(found.index), unit).values())
    with sheet.type():
        page = Page(sheet)
        handles: list[keys.Handle] = [
            Patch(color=STILL),
            Line2D([], [], color=INK, linewidth=0.9),
            Line2D([], [], color=INK, linewidth=0.9, linestyle=":"),
            Line2D([], [], color=MUTED, marker="x", markersize=3.5, linestyle="none"),
        ]
        made = keys.names_of(page, handles, ["predicted", "observed", "noise floor", "if unmoved"], "", TALL)
        left, right = _grid(page, made, 2)
        left.bar(at, found["w2"], color=colours, width=0.7)
        left.plot(at, found["stays"], "x", color=MUTED, markersize=3.5)
        left.set_ylabel("matching error, W₂")
        right.bar(at, found["predicted"], color=colours, width=0.7)
        right.set_ylabel("population, first = 1")
        for ax, line, style in ((left, "floor", ":"), (right, "observed", "-")):
            ax.hlines(found[line], at - 0.45, at + 0.45, color=INK, linewidth=0.9, linestyle=style)
            ax.set_xticks(at, names, rotation=45, ha="right", rotation_mode="anchor")
            ax.set_ylim(0, None)
            ax.yaxis.set_major_locator(MaxNLocator(4))
    return Drawn(page.figure, found.rename_axis("time point"))


def metrics(found: pd.DataFrame, sheet: Sheet) -> Drawn:
    """Metrics of 0 to 1 as dots, each beside its yardstick.

    ``found`` has a row for each metric and the columns ``meaning, value, yardstick, yardstick is``.
    """
    if found.empty:
        raise UserError("This result does not hold its metrics: train again, or draw another kind.")
    at = np.arange(len(found))[::-1]
    with sheet.type():
        page = Page(sheet)
        kinds = [str(kind) for kind in dict.fromkeys(found["yardstick is"]) if kind]
        marks = dict(zip(kinds, YARDSTICK_MARKS, strict=False))
        handles: list[keys.Handle] = [Line2D([], [], color=LINE, marker="o", markersize=4, linestyle="none")]
        handles += [Line2D([], [], color=MUTED, marker=mark, markersize=4, linestyle="none") for mark in marks.values()]
        made = keys.names_of(page, handles, ["this result", *marks], "", TALL)
        (ax,) = _grid(page, made, 1)
        ax.hlines(at, 0, 1, color=STILL, linewidth=0.4)
        ax.plot(found["value"], at, "o", color=LINE, markersize=4, clip_on=False)
        for kind, mark in marks.items():
            of = (found["yardstick is"] == kind).to_numpy()
            ax.plot(found["yardstick"][of], at[of], mark, color=MUTED, markersize=4, clip_on=False)
        ax.set_yticks(at, [f"{name}: {means}" for name, means in found["meaning"].items()])
        ax.set_xlim(0, 1)
        ax.set_ylim(-0.6, len(found) - 0.4)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
    return Drawn(page.figure, found)


def _spaced(times: np.ndarray) -> tuple[list[float], list[str]]:
    """The time points to be told at an axis: the first, the last, and those between that leave room for each other."""
    first, last = float(times[0]), float(times[-1])
    room, kept = (last - first) / 5, [first]
    for t in map(float, times[1:-1]):
        if t - kept[-1] >= room and last - t >= room:
            kept.append(t)
    kept.append(last)
    return kept, [number_label(round(t, 2)) for t in kept]


def _grid(page: Page, made: keys.Made, n: int) -> list[Axes]:
    """Axes for so many panels in what the keys leave free, in rows that are as even as can be."""
    down = -(-n // max(int(page.room(made) / PANEL), 1))
    across = -(-n // down)
    rect = page.settle(made, down * TALL)
    page.charts(rect)
    every = list(page.figure.subplots(down, across, squeeze=False).flat)
    for ax in every[n:]:
        ax.set_axis_off()
    return every[:n]


def _word(loss: str) -> str:
    """What it is called, without the term of the equation."""
    return TERMS.get(loss, loss).partition(",")[0]


def _trend(gene: str, what: str, times: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(dict(gene=gene, what=what, time=times, mean=mean, standard_deviation=spread))

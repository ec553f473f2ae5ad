"""What can be wrong with a data set, or worth knowing: each check yields findings of one plain sentence with numbers.

:mod:`cellstream.doctor` asks them all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from cellstream import fixes
from cellstream.checkup import Checkup, Kept
from cellstream.config import Preprocess
from cellstream.metadata import unwritable
from cellstream.preprocess import inputs, kind_of
from cellstream.time_labels import MISSING, counted, listed, tidied
from cellstream.times import Times, guess_label_keys

STOP, CAUTION, NOTE = "stop", "caution", "note"
"""Levels: nothing can be trained; training would learn from what is doubtful; dealt with already, to be known."""

TINY = 10
"""Cells of a kind below which shares and averages of it mean little."""
MOST_CELLS, MOST_FEATURES = 0.5, 0.9
"""A remedy that leaves out a larger share of the data is none."""
COLUMNS = 4
"""Columns of labels that are looked at, the likeliest first."""


@dataclass(frozen=True)
class Remedy:
    """One button: its ``label``, the name of the fix, and the arguments of ``from_anndata`` that it sets.

    ``name`` is empty where the command line has another option for it; ``sets`` is, where the name is remembered.
    """

    label: str
    name: str = ""
    sets: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """One problem: ``level``, one plain ``sentence``, and its remedy where there is one."""

    level: str
    sentence: str
    remedy: Remedy | None = None


# --- time -------------------------------------------------------------------------------------------------------------


def of_times(obs: pd.DataFrame, read: Times, given: bool) -> Iterator[Finding]:
    """Of times that could be read; ``given``, whether the user has said their values."""
    if untimed := int((read.index < 0).sum()):
        yield Finding(
            NOTE,
            f"{_cells(untimed, 'has', 'have')} no time in '{read.key}': left out of training, kept in the saved file.",
        )
    column = obs[read.key]
    kinds = column.dtype.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    if not given and pd.api.types.infer_dtype(kinds) == "string":
        value = f"{read.values[-1]:g} {read.unit}".strip()
        yield Finding(
            NOTE,
            f"Times in '{read.key}' are text: '{read.labels[-1]}' is read as {value}, and so on; see the table of time "
            "points.",
        )
    if (jump := _out_of_order(read)) is not None:
        yield Finding(
            NOTE,
            f"Cells are not in order of time in the file ('{jump[0]}' stands before '{jump[1]}'): no matter, time "
            "points are ordered by their values.",
        )


def of_unclear_times(obs: pd.DataFrame, key: str) -> Finding:
    """Of labels that say no times."""
    order = stages(obs, key)
    if not order:
        return Finding(
            STOP,
            f"The labels of '{key}' do not say when each cell was measured: give each label a value in the table of "
            "time points, or choose another column.",
        )
    shown = " < ".join(map(str, order[:6])) + (" < …" if len(order) > 6 else "")
    remedy = Remedy("Use this order as times", fixes.ORDER, dict(time_map=in_order(order)))
    return Finding(STOP, f"The labels of '{key}' say no times, but they have an order: {shown}.", remedy)


def stages(obs: pd.DataFrame, key: str) -> list[Any]:
    """The labels in use of an ordered category, in its order; none where the column is no such."""
    if key not in obs or not isinstance(obs[key].dtype, pd.CategoricalDtype) or not obs[key].cat.ordered:
        return []
    used = [name for name in obs[key].cat.remove_unused_categories().cat.categories if tidied(str(name)) not in MISSING]
    return used if len(used) > 1 else []


def in_order(labels: list[Any]) -> dict[str, float]:
    """The labels as times 0, 1, 2, …"""
    return {str(label): float(i) for i, label in enumerate(labels)}


def _out_of_order(read: Times) -> tuple[str, str] | None:
    """Two labels of which the later one comes first in the file, where it has the time points one after another."""
    index = read.index[read.index >= 0]
    runs = index[np.append(True, index[1:] != index[:-1])]
    if len(runs) > 2 * len(read.labels):  # mixed, which nobody takes for an order
        return None
    at = np.flatnonzero(np.diff(runs) < 0)
    return (read.labels[runs[at[0]]], read.labels[runs[at[0] + 1]]) if len(at) else None


def of_points(read: Times, stay: Kept, asked: Collection[str]) -> Iterator[Finding]:
    """Of time points with few cells, or with none once others are left out."""
    counts = np.bincount(read.index[stay.rows], minlength=len(read.labels))
    told_of = {i for points in stay.points_left.values() for i in points}
    if empty := [read.labels[i] for i in np.flatnonzero(counts == 0) if i not in told_of]:
        them = "it" if len(empty) == 1 else "them"
        yield Finding(CAUTION, f"No cell is left at {listed(empty)}: undo a fix, or go on without {them}.")
    if len(stay.points) < 2:
        left = listed([read.labels[i] for i in stay.points]) if len(stay.points) else "none"
        yield Finding(STOP, f"Of the time points {left} is left, but two are needed: undo a fix.")
        return
    for name, fewest in ((fixes.LONE, 2), (fixes.SMALL, fixes.FEW)):
        few = [i for i in stay.points if counts[i] < fewest]
        if not few or name in asked or (name == fixes.SMALL and counts[few].max() == 1):
            continue
        told = ", ".join(f"'{read.labels[i]}' ({counts[i]:,})" for i in few[:6]) + (" and more" if len(few) > 6 else "")
        level, what = (
            (STOP, f"One cell only at {told}: a time point needs at least two.")
            if name == fixes.LONE
            else (CAUTION, f"Fewer than {fixes.FEW} cells at {told}: what is learned there is uncertain.")
        )
        if name == fixes.SMALL and counts[few].min() < TINY:
            what += " So small a population would be learned as cells that die, unless its true size is given."
        enough = len(stay.points) - len(few) >= 2
        remedy = Remedy(f"Leave out {counted(len(few), 'time point')}", name) if enough else None
        yield Finding(level, what, remedy)


# --- the matrix -------------------------------------------------------------------------------------------------------


def of_holes(check: Checkup, input: str) -> Iterator[Finding]:
    """Of missing and infinite values."""
    n, m = check.shape
    if not (check.nan or check.infinite):
        return
    kinds = [(check.nan, "missing (NaN)"), (check.infinite, "infinite")]
    values = " and ".join(f"{count:,} {kind}" for count, kind in kinds if count)
    where = f"in {counted(check.holed_cells, 'cell')} and {counted(check.holed_features, 'feature')}"
    what = f"'{input}' has {values} {'value' if check.nan + check.infinite == 1 else 'values'}, {where}"
    cells, features = int(check.bad.sum()), check.bad_features
    if cells <= MOST_CELLS * n and features <= MOST_FEATURES * m:
        left = " and ".join(counted(k, noun) for k, noun in ((cells, "cell"), (features, "feature")) if k)
        why = "a 0 in their place would be made up, so they are better left out"
        yield Finding(STOP, f"{what}: {why}.", Remedy(f"Leave out {left}", fixes.NONFINITE))
    elif check.nan and not input.startswith("obsm:"):
        as_zero = "as average" if check.low < 0 else "as not seen"
        why = f"to leave them out would take {cells / n:.0%} of the cells, while as 0 they count {as_zero}"
        yield Finding(STOP, f"{what}: {why}.", Remedy("Count missing as 0", fixes.FILL))
    else:
        yield Finding(STOP, f"{what}: correct them in the file, or choose another matrix.")


def of_content(check: Checkup, settings: Preprocess, adata: AnnData, input: str) -> Iterator[Finding]:
    """Of what kind of values these are, and of what is done with them."""
    m, high = check.shape[1], check.high
    if check.silent:
        verb = "is" if check.silent == 1 else "are"
        yield Finding(
            NOTE, f"{check.silent:,} of {counted(m, 'feature')} {verb} zero in every cell: left out by itself."
        )
    auto = Remedy("Normalise only counts", "", dict(normalise="auto"))
    counts = next((name for name in inputs(adata) if name.lower() in ("layer:counts", "layer:raw_counts")), "")
    match kind_of(check.low, high, check.integers), settings.normalise:
        case "signed", "yes":
            negative = f"'{input}' goes down to {check.low:.3g}, and there is no logarithm of what is negative"
            yield Finding(STOP, f"{negative}: use it as it is.", auto)
        case "signed", _:
            signed = (
                f"'{input}' goes down to {check.low:.3g}, so it was scaled or corrected before; it is used as it is"
            )
            if counts:
                use = Remedy(f"Use {counts.replace(':', ' ')}", "", dict(input=counts))
                yield Finding(CAUTION, f"{signed}, but the file has counts in a layer, which are better.", use)
            else:
                yield Finding(NOTE, f"{signed}.")
        case "counts", "no" if high > 1:
            raw = f"'{input}' holds raw counts up to {high:,.0f}, used as they are"
            yield Finding(CAUTION, f"{raw}: how deeply a cell was sequenced would count more than its kind.", auto)
        case "counts", _ if high > 1:
            raw = f"'{input}' holds raw counts up to {high:,.0f}"
            done = "for training each cell is scaled to the same total and logged; the saved file keeps the counts"
            yield Finding(NOTE, f"{raw}: {done}.")
        case "unlogged", "auto":
            unlogged = f"'{input}' has values up to {high:,.4g}, neither counts nor logarithms (CPM or TPM?)"
            scale = Remedy("Normalise and log", fixes.NORMALISE, dict(normalise="yes"))
            yield Finding(CAUTION, f"{unlogged}: the strongest genes would drown all others.", scale)


def of_cells(check: Checkup, index: np.ndarray, stay: Kept) -> Iterator[Finding]:
    """Of cells without any value and of copies, among those that stay; ``index`` (n,) their time points."""
    if empty := int(check.empty[stay.rows].sum()):
        label = f"Leave out {counted(empty, 'cell')}"
        yield Finding(
            CAUTION,
            f"{_cells(empty, 'is', 'are')} zero in every feature: nothing is known of them, and they would look like a "
            "kind of their own.",
            Remedy(label, fixes.EMPTY) if empty <= MOST_CELLS * len(index) else None,
        )
    if copies := int(stay.copies.sum()):
        yield Finding(
            CAUTION,
            f"{_cells(copies, 'is an exact copy', 'are exact copies')} of another one of the same time point, as when "
            "files were joined twice: that would pass for growth.",
            Remedy(f"Leave out {copies:,} {'copy' if copies == 1 else 'copies'}", fixes.COPIES),
        )
    rows = stay.rows[~(check.empty | check.bad)[stay.rows]]
    once = pd.DataFrame({"mark": check.mark[rows], "time": index[rows]}).drop_duplicates()
    if twice := int(once["mark"].duplicated().sum()):
        yield Finding(
            CAUTION,
            f"{_cells(twice, 'stands', 'stand')} at two time points with the same values: the file does not say which "
            "is right, so check how it was put together.",
        )


# --- names and metadata -----------------------------------------------------------------------------------------------


def of_names(adata: AnnData) -> Iterator[Finding]:
    """Of data that did not come through the readers, which make names unique and note it."""
    for what, names in (("cell", adata.obs_names), ("feature", adata.var_names)):
        if repeated := int(names.duplicated().sum()):
            yield Finding(
                NOTE,
                f"{counted(repeated, f'{what} name')} occurred before: here they are told apart by their place, but "
                "make them unique before joining tables.",
            )


def of_columns(adata: AnnData) -> Iterator[Finding]:
    """Of metadata that could not be written back."""
    names = [f"{slot}['{key}']" for slot in ("obs", "var") for key in unwritable(getattr(adata, slot))]
    if names:
        told = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        what = f"No .h5ad can hold {told} (several kinds of values, dates, or empty), so no result could be saved."
        yield Finding(CAUTION, what, Remedy(f"Save {'it' if len(names) == 1 else 'them'} as text", fixes.TEXT))


def of_labels(obs: pd.DataFrame) -> Iterator[Finding]:
    """Of kinds with few cells, and of cells without one."""
    for guess in guess_label_keys(obs)[:COLUMNS]:
        counts = obs[guess.key].value_counts()
        tiny = counts[(counts > 0) & (counts < TINY)]
        if len(tiny):
            told = ", ".join(f"'{str(name)[:40]}' ({n})" for name, n in list(tiny.items())[:4])
            more = f" and {len(tiny) - 4} more" if len(tiny) > 4 else ""
            yield Finding(
                NOTE,
                f"Kinds with fewer than {TINY} cells in '{guess.key}': {told}{more}; trained on like all others, but "
                "believe no share or average of so few.",
            )
        if without := int(obs[guess.key].isna().sum()):
            yield Finding(
                NOTE,
                f"{_cells(without, 'has', 'have')} no '{guess.key}': trained on like all others, grey where cells are "
                "coloured by it.",
            )


def _cells(n: int, one: str, many: str) -> str:
    return f"{counted(n, 'cell')} {one if n == 1 else many}"

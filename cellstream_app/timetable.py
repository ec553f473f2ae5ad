"""The table of time points that a user edits: label -> value, cells, relative size; and the way back to a reading."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from cellstream import times
from cellstream.errors import UserError
from cellstream.time_labels import SECONDS
from cellstream_app.reading import Reading

LABEL, VALUE, CELLS, SIZE = "Time point", "Value", "Cells", "Relative size"


def time_table(obs: pd.DataFrame, reading: Reading, rows: Sequence[int] | None = None) -> pd.DataFrame:
    """A row per time point of the column ``reading.time_key``, in order of time.

    Of the cells in ``rows`` only, where some are left out.

    Values that cannot be read off the labels are empty, for the user to fill in; so are those of labels left out.
    """
    key, words = reading.time_key, False
    try:
        read = times.read_times(obs, key)
        labels, values = list(read.labels), read.values
        index = read.index if rows is None else read.index[list(rows)]
        cells = np.bincount(index[index >= 0], minlength=len(labels))
    except UserError:
        names = obs[key].astype(str).where(obs[key].notna())
        known = names[~names.str.strip().str.casefold().isin(times.MISSING)]
        labels = sorted(known.dropna().unique())[: times.MAX_TIME_POINTS]
        there = names if rows is None else names.iloc[list(rows)]
        cells = there.value_counts().reindex(labels, fill_value=0).to_numpy()
        values, words = np.full(len(labels), np.nan), True
    if reading.time_map is not None:
        values = np.array([reading.time_map.get(label, np.nan) for label in labels], dtype=np.float64)
    table = pd.DataFrame({LABEL: labels, VALUE: np.asarray(values, np.float64), CELLS: cells})
    if not words or table[VALUE].notna().all():  # a row stays where it is while the user fills in one after the other
        table = table.sort_values(VALUE, kind="stable", ignore_index=True)
    table[SIZE] = _sizes(table, reading)
    return table


def _sizes(table: pd.DataFrame, reading: Reading) -> np.ndarray:
    kept = table[VALUE].notna().to_numpy()
    sizes = np.full(len(table), np.nan)
    if reading.masses is not None and len(reading.masses) == kept.sum():
        sizes[kept] = reading.masses
    else:
        there = np.flatnonzero(kept & (table[CELLS].to_numpy() > 0))  # all cells of a time point may be left out
        sizes[there] = table[CELLS].to_numpy()[there] / table[CELLS].to_numpy()[there[:1]]
    return sizes


def with_values(obs: pd.DataFrame, reading: Reading, table: pd.DataFrame) -> Reading:
    """The reading with the values of an edited table; labels without a value are left out of the data.

    Relative sizes that the user gave stay with their labels, and the values in the unit in which they were shown.
    """
    given = {row[LABEL]: _number(row[VALUE]) for _, row in table.iterrows()}
    sizes = table[table[VALUE].notna()].sort_values(VALUE, kind="stable")[SIZE]
    masses = tuple(sizes.astype(float)) if reading.masses is not None and sizes.notna().all() else None
    time_map = given | _variants(obs, reading.time_key, given)
    return dataclasses.replace(reading, time_map=time_map, masses=masses, unit=unit_of(obs, reading) or reading.unit)


def unit_of(obs: pd.DataFrame, reading: Reading) -> str:
    """The unit that the values of a reading are in, as it is prepared too; "" where none is known."""
    if reading.unit is not None:
        return reading.unit
    try:
        return times.read_times(obs, reading.time_key, reading.time_map).unit
    except UserError:
        return ""


def with_unit(obs: pd.DataFrame, reading: Reading, table: pd.DataFrame, before: str, unit: str) -> Reading:
    """The reading in another unit: values that had a unit ``before`` are converted, others get one."""
    if before != unit and before in SECONDS and unit in SECONDS:
        factor = SECONDS[before] / SECONDS[unit]
        reading = with_values(obs, reading, table.assign(**{VALUE: (table[VALUE].astype(float) * factor).round(9)}))
    return dataclasses.replace(reading, unit=unit)


def with_sizes(reading: Reading, table: pd.DataFrame) -> Reading:
    """The reading with the relative sizes of an edited table; raises :class:`UserError` for one that is no size."""
    kept = table[table[VALUE].notna()]
    without = (kept[CELLS] == 0) & kept[SIZE].isna()  # of no consequence, but sizes are given for all time points
    sizes = [_number(value) for value in kept[SIZE].mask(without, 1.0)]
    for label, size in zip(kept[LABEL], sizes, strict=True):
        if not (math.isfinite(size) and size > 0):
            raise UserError(f"Expected a relative size above zero for '{label}': type how large the population was.")
    return dataclasses.replace(reading, masses=tuple(sizes))


def _number(value: object) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _variants(obs: pd.DataFrame, key: str, given: dict[str, float]) -> dict[str, float]:
    """Labels that were read as one time point ("Day 1", "day 1") have one row in the table but each need a value."""
    try:
        read = times.read_times(obs, key)
    except UserError:
        return {}
    found = {}
    for i, label in enumerate(read.labels):
        for name in obs[key][read.index == i].unique():
            found[name if isinstance(name, str) else times.number_label(name) if _numeric(name) else str(name)] = given[
                label
            ]
    return found


def _numeric(value: object) -> bool:
    return isinstance(value, float | int | np.number) and not isinstance(value, bool)

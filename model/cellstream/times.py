"""From a time column to real values: "day 3", "48h", "E8.5", 0.5 -> numbers in one unit, and how they were read.

Nothing is guessed silently: a label that could mean two things ("5m": minutes or months; "0d_rm"; "d-1") is not read,
and the error asks what time it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellstream.errors import UserError
from cellstream.time_labels import (
    ISO_DATE,
    KINDS,
    MISSING,
    NOT_TIME,
    SECONDS,
    TIME_NAMES,
    UNITS,
    UnclearTimes,
    as_label,
    converted,
    counted,
    listed,
    looks_like_label_name,
    looks_like_time_name,
    mapped,
    number_label,
    parse_time,
    parsed,
    quantity,
    read_time_map,
    shortened,
    tidied,
    unit_in_name,
    words_of,
)

__all__ = [
    "MAX_TIME_POINTS",
    "MISSING",
    "SECONDS",
    "UNITS",
    "Guess",
    "Times",
    "UnclearTimes",
    "as_label",
    "counted",
    "guess_label_keys",
    "guess_time_keys",
    "listed",
    "looks_like_label_name",
    "looks_like_time_name",
    "number_label",
    "one_time",
    "parse_time",
    "read_time_map",
    "read_times",
]

MAX_TIME_POINTS = 200
"""More distinct values than this is a continuous quantity, not a series of snapshots."""


@dataclass(frozen=True, eq=False)
class Times:
    """The time points of a data set: T of them, over n cells.

    ``labels`` as in the file, in order of time, long fractions rounded; ``values`` (T,) float64, strictly increasing,
    in ``unit``; ``index`` (n,) int64, the time point of each cell, -1 where it has none; ``key`` the column; ``note``
    one sentence on how the labels were read.
    """

    labels: tuple[str, ...]
    values: np.ndarray
    unit: str
    index: np.ndarray
    key: str
    note: str

    @property
    def counts(self) -> np.ndarray:
        """Cells at each time point, (T,) int64."""
        return np.bincount(self.index[self.index >= 0], minlength=len(self.labels))


class Guess(NamedTuple):
    """A column of obs that may be what is looked for; ``score`` in 0..1, ``reason`` a phrase to show."""

    key: str
    score: float
    reason: str


class _Levels(NamedTuple):
    """The distinct entries of a column: ``codes`` (n,), -1 where missing; ``values`` None where they are text."""

    codes: np.ndarray
    labels: list[str]
    values: np.ndarray | None
    unit: str
    how: str


def read_times(obs: pd.DataFrame, key: str, mapping: Mapping[Any, float] | None = None) -> Times:
    """The time points in column ``key`` of ``obs`` (n rows): numbers, categories, text, dates or durations.

    ``mapping`` gives a value for each label and takes the place of reading them; NaN leaves a label out. Units that
    differ are converted to the finest one ("8h", "1d" -> hours). Raises :class:`UserError` for a column that is
    missing, continuous, has fewer than two time points, or has labels that do not say a time.
    """
    levels = _levels(_column(obs, key), key)
    if not levels.labels:
        raise UserError(f"Column '{key}' is empty: choose a column with the time of each cell.")
    if mapping is not None:
        values, unit = mapped(levels.labels, mapping, key), ""
        note = f"The values of '{key}' were given for {len(values)} labels"
    elif levels.values is not None:
        values, unit, note = levels.values, levels.unit, levels.how
    else:
        values, unit, note = _from_text(levels.labels, key)
    return _ordered(levels, values, unit, note, key)


def _ordered(levels: _Levels, values: np.ndarray, unit: str, note: str, key: str) -> Times:
    points = np.unique(values[~np.isnan(values)])
    groups = [[levels.labels[i] for i in np.flatnonzero(values == point)] for point in points]
    for point, names in zip(points, groups, strict=True):
        if len({tidied(name) for name in names}) > 1:
            raise UnclearTimes(
                f"Labels {listed(names)} of '{key}' all mean {quantity(point, unit)}: rename them alike in the file, "
                "or say for each label a time of its own."
            )
        if len(names) > 1:
            note += f"; {listed(names)} are one time point"
    if len(points) < 2:
        found = f"one time point ({listed(groups[0])})" if groups else "no time point"
        raise UserError(f"Column '{key}' has {found}, but at least two are needed: choose another column.")
    place = np.where(np.isnan(values), -1, np.searchsorted(points, values))
    index = np.append(place, -1)[levels.codes].astype(np.int64)  # code -1, a missing label, falls on the appended -1
    return Times(shortened([names[0] for names in groups]), points.astype(np.float64), unit, index, key, note + ".")


def _column(obs: pd.DataFrame, key: str) -> pd.Series:
    if key not in obs.columns:
        likely = [guess.key for guess in guess_time_keys(obs)]
        if likely:
            hint = f"Columns that look like time: {listed(likely)}. Choose one of them as the time column"
        else:
            there = f"Its columns are {listed(list(obs.columns))}" if len(obs.columns) else "It has no columns"
            hint = f"{there}, and none looks like time: add one with the time of each cell"
        raise UserError(f"No column '{key}' in obs. {hint}.")
    column = obs[key]
    if isinstance(column, pd.DataFrame):
        raise UserError(
            f"There are {column.shape[1]} columns named '{key}' in obs: give the time column a name of its own."
        )
    return column


def _levels(column: pd.Series, key: str) -> _Levels:
    try:
        codes, found = pd.factorize(column)
    except TypeError:
        raise UserError(f"Column '{key}' holds lists or tables, not times: choose another column.") from None
    if len(found) > MAX_TIME_POINTS:
        raise UserError(
            f"Column '{key}' has {len(found):,} different values, but at most {MAX_TIME_POINTS} time points are "
            "expected: choose another column, or put the cells into bins of time first."
        )
    found = pd.Index(found)
    if isinstance(found, pd.CategoricalIndex):
        found = pd.Index(found.astype(found.categories.dtype))
    if pd.api.types.is_bool_dtype(found) or (len(found) and all(isinstance(v, bool | np.bool_) for v in found[:3])):
        raise UserError(f"Column '{key}' holds True and False, not times: choose a column with the time of each cell.")
    if pd.api.types.is_numeric_dtype(found) and not pd.api.types.is_complex_dtype(found):
        labels = [number_label(v) for v in np.asarray(found)]  # float32 0.1 stays 0.1
        values = np.array([float(label) for label in labels])
        if not np.isfinite(values).all():
            raise UserError(
                f"Column '{key}' holds an infinite value: correct it, or empty it to leave those cells out."
            )
        unit = unit_in_name(key)
        how = f"Column '{key}' holds numbers" + (f", and its name says that they are in {unit}" if unit else "")
        return _Levels(codes, labels, values, unit, how)
    if pd.api.types.is_datetime64_any_dtype(found) or pd.api.types.is_timedelta64_dtype(found):
        return _durations(codes, found, key)
    labels = [v.decode(errors="replace") if isinstance(v, bytes) else as_label(v) for v in found]
    missing = np.array([tidied(label) in MISSING for label in labels], dtype=bool)
    if missing.any():
        renumber = np.where(missing, -1, np.cumsum(~missing) - 1)
        codes = np.append(renumber, -1)[codes]
        labels = [label for label, gone in zip(labels, missing, strict=True) if not gone]
    if labels and all(ISO_DATE.fullmatch(label) for label in labels):
        dates = pd.to_datetime(pd.Index(labels), format="ISO8601", errors="coerce")
        if not dates.isna().any():
            return _durations(codes, dates, key)._replace(labels=labels)
    return _Levels(codes, labels, None, "", "")


def _durations(codes: np.ndarray, found: pd.Index, key: str) -> _Levels:
    """Dates count from the first one; dates and durations are told in the largest unit of which they span two."""
    dates = not pd.api.types.is_timedelta64_dtype(found)
    since = found - found.min() if dates and len(found) else found
    seconds = np.asarray(pd.TimedeltaIndex(since).total_seconds(), dtype=np.float64)
    span = np.abs(seconds).max(initial=0.0)
    unit = next((unit for unit in ("d", "h", "min") if span >= 2 * SECONDS[unit]), "s")
    values = seconds / SECONDS[unit]
    if dates:
        days = all(date == date.normalize() for date in found)
        labels = [date.strftime("%Y-%m-%d") if days else date.isoformat(sep=" ") for date in found]
        return _Levels(codes, labels, values, unit, f"Column '{key}' holds dates, read as {unit} since the first")
    labels = [quantity(value, unit) for value in values]
    return _Levels(codes, labels, values, unit, f"Column '{key}' holds durations, read in {unit}")


def _from_text(labels: Sequence[str], key: str) -> tuple[np.ndarray, str, str]:
    readings = {label: reading for label in labels if (reading := parsed(label)) is not None}
    bad = [label for label in labels if label not in readings]
    tell = "say for each label what time it is"
    if bad:
        raise UnclearTimes(f"Cannot read {listed(bad)} in column '{key}' as times: {tell}, or choose another column.")
    # A zero without a unit is the start in any unit, and "0 min" does not ask for minutes.
    telling = {label: r for label, r in readings.items() if r.unit or r.value != 0}
    units, since = {r.unit for r in telling.values()}, {r.since for r in telling.values()}
    if "" in units and len(units) > 1:
        unknown = [label for label, r in telling.items() if not r.unit]
        which, have = ("Label", "has") if len(unknown) == 1 else ("Labels", "have")
        raise UnclearTimes(f"{which} {listed(unknown)} in column '{key}' {have} no unit but others do: {tell}.")
    if len(since) > 1:
        one_each = [next(label for label, r in telling.items() if r.since == s) for s in sorted(since)]
        raise UnclearTimes(f"Labels {listed(one_each)} in column '{key}' count from different starts: {tell}.")
    if units == {""}:
        unit = unit_in_name(key)
    else:
        weighty = {r.unit for r in telling.values() if r.value != 0} or units
        unit = min(weighty, key=lambda u: SECONDS.get(u, 0), default="")
    values = [converted(r, unit) for r in readings.values()]
    last = int(np.argmax(values))
    by_name = ", as its name says" if units == {""} and unit else ""
    return (
        np.array(values),
        unit,
        f"Read '{labels[last]}' in column '{key}' as {quantity(values[last], unit)}{by_name}",
    )


def guess_time_keys(obs: pd.DataFrame) -> list[Guess]:
    """Columns of ``obs`` that may hold the time, best first, with the reason for each guess."""
    guesses = (_guess_time(obs, key) for key in obs.columns[~obs.columns.duplicated(keep=False)])
    return sorted((guess for guess in guesses if guess), key=lambda guess: -guess.score)


def _guess_time(obs: pd.DataFrame, key: str) -> Guess | None:
    named, grouped = looks_like_time_name(key), looks_like_label_name(key)
    if words_of(key) & NOT_TIME:
        return None
    try:
        levels = _levels(obs[key], key)
    except UserError:
        return None
    if not 2 <= len(levels.labels) <= len(obs) / 2:
        return None
    try:
        times = read_times(obs, key)
    except UserError:
        if named and len(levels.labels) <= 50:
            return Guess(key, 0.2, f"its name says time, but its {len(levels.labels)} labels need values")
        return None
    spans = f"{len(times.labels)} time points from {times.labels[0]} to {times.labels[-1]}"
    readings = [parsed(label) for label in levels.labels] if levels.values is None else []
    spoken = any(r and r.unit for r in readings) or (levels.values is not None and levels.unit != unit_in_name(key))
    if not named:
        letters = any(r and r.bare_letter for r in readings)
        if not spoken or letters:
            return None
        return Guess(key, 0.3 if grouped else 0.4, f"its labels read as times: {spans}")
    score = 0.7 + 0.2 * bool(times.unit) + 0.05 * spoken + 0.05 * (words_of(key) <= TIME_NAMES)
    return Guess(key, round(score, 2), spans)


def one_time(obs: pd.DataFrame) -> str:
    """Where a column that is called like time holds one time only: the beginning of a sentence that says so."""
    for key in filter(looks_like_time_name, obs.columns[~obs.columns.duplicated(keep=False)]):
        held = obs[key].dropna().unique()
        if len(held) == 1:
            return (
                f"Column '{key}' holds one time only ('{as_label(held[0])}'), but at least two are needed: give a file "
                "with cells of several times"
            )
    return ""


def guess_label_keys(obs: pd.DataFrame) -> list[Guess]:
    """Columns of ``obs`` that sort cells into 2 to 100 kinds and are not time: good for colouring, best first."""
    times = {guess.key for guess in guess_time_keys(obs)}
    guesses = []
    for key in obs.columns[~obs.columns.duplicated(keep=False)]:
        column = obs[key]
        numbers = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if key in times or looks_like_time_name(key) or (numbers and not looks_like_label_name(key)):
            continue
        kinds = column.nunique()
        if not 2 <= kinds <= 100 or kinds > len(obs) / 2:
            continue
        score = next((score for score, kind in KINDS.items() if words_of(key) & kind), 0.5)
        guesses.append(Guess(key, score, f"{kinds} kinds of cells"))
    return sorted(guesses, key=lambda guess: -guess.score)

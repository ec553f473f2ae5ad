"""From a time column to real values: "day 3", "48h", "E8.5", 0.5 -> numbers in one unit, and how they were read.

Nothing is guessed silently: a label that could mean two things ("5m": minutes or months; "0d_rm"; "d-1") is not read,
and the error asks for a mapping from labels to values.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from cellstream.errors import UserError

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "week": 604800, "month": 2629800, "year": 31557600}
"""Length of each unit in seconds; a month is a twelfth of a Julian year of 365.25 days."""
UNITS = ("", *SECONDS)
"""Every unit that :class:`Times` can have; "" is unknown."""
MAX_TIME_POINTS = 200
"""More distinct values than this is a continuous quantity, not a series of snapshots."""
MISSING = frozenset({"", "nan", "na", "n/a", "none", "null", "<na>", "nat"})

_PLAIN = {
    "s": "sec secs second seconds",
    "min": "min mins minute minutes",
    "h": "h hr hrs hour hours",
    "d": "d day days",
    "week": "w wk wks week weeks",
    "month": "mo mos month months",
    "year": "y yr yrs year years",
}
# Since when: times that count from fertilisation, from birth or from infection share no axis without being told how.
_SINCE = {
    "E": {"d": "e|ed|embryonic day|embryonic|dpc"},
    "P": {"d": "p|pnd|pn|postnatal day|postnatal|dpp"},
    "pf": {"h": "hpf", "d": "dpf", "week": "wpf"},
    "pi": {"h": "hpi", "d": "dpi", "week": "wpi"},
    "pa": {"h": "hpa", "d": "dpa"},
    "pc": {"week": "pcw|wpc"},
    "GW": {"week": "gw"},
    "ZT": {"h": "zt"},
}
_ONLY_BEFORE = {"e", "ed", "embryonic day", "embryonic", "p", "pnd", "pn", "postnatal day", "postnatal", "zt"}
_UNKNOWN_UNIT = ("t", "tp", "time", "timepoint", "time point")
_BEFORE = {word: (unit, "") for unit, words in _PLAIN.items() for word in words.split()}
_BEFORE |= {word: (u, since) for since, by in _SINCE.items() for u, words in by.items() for word in words.split("|")}
_AFTER = {word: meaning for word, meaning in _BEFORE.items() if word not in _ONLY_BEFORE} | {"s": ("s", "")}
_BEFORE |= {word: ("", "") for word in _UNKNOWN_UNIT}


def _any_of(words: Mapping[str, object]) -> str:
    return "|".join(sorted(words, key=len, reverse=True))


# A number after its word needs a space before a sign, since "day-7" is as often a hyphen as a minus; and a number never
# starts with a dot, since "day.3" is a name made by R and not 0.3.
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.ASCII)
_NUMBER_WORD = re.compile(rf"(?P<number>[+-]?\d+(?:\.\d+)?) ?(?P<word>{_any_of(_AFTER)})", re.ASCII)
_WORD_NUMBER = re.compile(
    rf"(?P<word>{_any_of(_BEFORE)})(?: ?[:=] ?| ?)(?P<number>(?<= )[+-]?\d+(?:\.\d+)?|\d+(?:\.\d+)?)", re.ASCII
)
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?", re.ASCII)


class _Reading(NamedTuple):
    value: float
    unit: str
    since: str = ""
    bare_letter: bool = False  # "P1", "T2", "H9": a time in a time column, elsewhere a patient or a cell line


def _tidy(text: str) -> str:
    return " ".join(str(text).replace("_", " ").replace("−", "-").casefold().split())


def _parse(text: str) -> _Reading | None:
    tidy = _tidy(text)
    if _NUMBER.fullmatch(tidy):
        value = float(tidy)
        return _Reading(value, "") if np.isfinite(value) else None
    if match := _NUMBER_WORD.fullmatch(tidy):
        return _Reading(float(match["number"]), *_AFTER[match["word"]])
    if match := _WORD_NUMBER.fullmatch(tidy):
        letter = len(match["word"]) == 1 and match["word"] != "d"
        return _Reading(float(match["number"]), *_BEFORE[match["word"]], letter)
    return None


def parse_time(text: str) -> tuple[float, str] | None:
    """Value and unit (one of :data:`UNITS`) of one label, or None where it says no time, or says it ambiguously.

    >>> parse_time("Day_7"), parse_time("24hpf"), parse_time("E8.5"), parse_time("t0"), parse_time("0d_rm")
    ((7.0, 'd'), (24.0, 'h'), (8.5, 'd'), (0.0, ''), None)
    """
    reading = _parse(text)
    return None if reading is None else (reading.value, reading.unit)


@dataclass(frozen=True, eq=False)
class Times:
    """The time points of a data set: T of them, over n cells.

    ``labels`` as in the file, in order of time; ``values`` (T,) float64, strictly increasing, in ``unit``; ``index``
    (n,) int64, the time point of each cell, -1 where it has none; ``key`` the column; ``note`` one sentence on how
    the labels were read.
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


def read_times(obs: pd.DataFrame, key: str, mapping: Mapping[str, float] | None = None) -> Times:
    """The time points in column ``key`` of ``obs`` (n rows): numbers, categories, text, dates or durations.

    ``mapping`` gives a value for each label and takes the place of reading them; NaN leaves a label out. Units that
    differ are converted to the finest one ("8h", "1d" -> hours). Raises :class:`UserError` for a column that is
    missing, continuous, has fewer than two time points, or has labels that do not say a time.
    """
    levels = _levels(_column(obs, key), key)
    if not levels.labels:
        raise UserError(f"Column '{key}' is empty: choose a column with the time of each cell.")
    if mapping is not None:
        values, unit = _mapped(levels.labels, mapping, key), ""
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
        if len({_tidy(name) for name in names}) > 1:
            raise UserError(
                f"Labels {_listed(names)} of '{key}' all mean {_quantity(point, unit)}: give them one name in the "
                "file, or a mapping with different values."
            )
        if len(names) > 1:
            note += f"; {_listed(names)} are one time point"
    if len(points) < 2:
        found = f"one time point ({_listed(groups[0])})" if groups else "no time point"
        raise UserError(f"Column '{key}' has {found}, but at least two are needed: choose another column.")
    place = np.where(np.isnan(values), -1, np.searchsorted(points, values))
    index = np.append(place, -1)[levels.codes].astype(np.int64)  # code -1, a missing label, falls on the appended -1
    return Times(tuple(names[0] for names in groups), points.astype(np.float64), unit, index, key, note + ".")


def _column(obs: pd.DataFrame, key: str) -> pd.Series:
    if key not in obs.columns:
        likely = [guess.key for guess in guess_time_keys(obs)]
        if likely:
            hint = f"Columns that look like time: {_listed(likely)}. Choose one of them as the time column"
        else:
            there = f"Its columns are {_listed(list(obs.columns))}" if len(obs.columns) else "It has no columns"
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
        unit = _unit_in_name(key)
        how = f"Column '{key}' holds numbers" + (f", and its name says that they are in {unit}" if unit else "")
        return _Levels(codes, labels, values, unit, how)
    if pd.api.types.is_datetime64_any_dtype(found) or pd.api.types.is_timedelta64_dtype(found):
        return _durations(codes, found, key)
    labels = [v.decode(errors="replace") if isinstance(v, bytes) else _label(v) for v in found]
    missing = np.array([_tidy(label) in MISSING for label in labels], dtype=bool)
    if missing.any():
        renumber = np.where(missing, -1, np.cumsum(~missing) - 1)
        codes = np.append(renumber, -1)[codes]
        labels = [label for label, gone in zip(labels, missing, strict=True) if not gone]
    if labels and all(_ISO_DATE.fullmatch(label) for label in labels):
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
    labels = [_quantity(value, unit) for value in values]
    return _Levels(codes, labels, values, unit, f"Column '{key}' holds durations, read in {unit}")


def _from_text(labels: Sequence[str], key: str) -> tuple[np.ndarray, str, str]:
    readings = {label: reading for label in labels if (reading := _parse(label)) is not None}
    bad = [label for label in labels if label not in readings]
    mapping = "give a mapping from each label to its value"
    if bad:
        raise UserError(f"Cannot read {_listed(bad)} in column '{key}' as times: {mapping}, or choose another column.")
    # A zero without a unit is the start in any unit, and "0 min" does not ask for minutes.
    telling = {label: r for label, r in readings.items() if r.unit or r.value != 0}
    units, since = {r.unit for r in telling.values()}, {r.since for r in telling.values()}
    if "" in units and len(units) > 1:
        unknown = [label for label, r in telling.items() if not r.unit]
        raise UserError(f"Labels {_listed(unknown)} in column '{key}' have no unit but others do: {mapping}.")
    if len(since) > 1:
        one_each = [next(label for label, r in telling.items() if r.since == s) for s in sorted(since)]
        raise UserError(f"Labels {_listed(one_each)} in column '{key}' count from different starts: {mapping}.")
    if units == {""}:
        unit = _unit_in_name(key)
    else:
        weighty = {r.unit for r in telling.values() if r.value != 0} or units
        unit = min(weighty, key=lambda u: SECONDS.get(u, 0), default="")
    values = [
        round(r.value * (SECONDS[r.unit] / SECONDS[unit]), 9) if r.unit and r.value else r.value
        for r in readings.values()
    ]
    last = int(np.argmax(values))
    by_name = ", as its name says" if units == {""} and unit else ""
    return (
        np.array(values),
        unit,
        f"Read '{labels[last]}' in column '{key}' as {_quantity(values[last], unit)}{by_name}",
    )


def _mapped(labels: Sequence[str], mapping: Mapping[str, float], key: str) -> np.ndarray:
    known = {_label(label): value for label, value in mapping.items()}
    lacking = [label for label in labels if label not in known]
    if lacking:
        raise UserError(
            f"The mapping has no value for {_listed(lacking)} of column '{key}': add them (nan leaves a label out)."
        )
    given = pd.to_numeric(pd.Series([known[label] for label in labels], dtype=object), errors="coerce")
    for label, value in zip(labels, given, strict=True):
        if np.isinf(value) or (np.isnan(value) and not _is_nan(known[label])):
            found = known[label]
            raise UserError(
                f"The mapping gives '{label}' the value '{found}': expected a number, or nan to leave it out."
            )
    return given.to_numpy(np.float64)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and np.isnan(value)


def read_time_map(path: str | Path) -> dict[str, float]:
    """A mapping from labels to values out of a text file with two columns, label and value; a header is optional."""
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"No file '{path}': give a CSV file with two columns, label and value.") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"'{path.name}' cannot be read as a CSV file of labels and values: {error}.") from error
    separator = max("\t;,", key=lambda s: text.partition("\n")[0].count(s))
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=separator)]
    mapping: dict[str, float] = {}
    for number, row in enumerate([row for row in rows if any(row)]):
        if len(row) != 2:
            raise UserError(f"'{path.name}' has {len(row)} columns in a row: expected two, label and value.")
        label, value = row
        try:
            amount = float(value)
        except ValueError:
            if number == 0:
                continue  # the header
            raise UserError(
                f"'{path.name}' gives '{label}' the value '{value}': expected a number, or nan to leave it out."
            ) from None
        if label in mapping:
            raise UserError(f"'{path.name}' has the label '{label}' more than once: keep one row per label.")
        mapping[label] = amount
    if not mapping:
        raise UserError(f"'{path.name}' holds no labels: expected rows of a label and its value.")
    return mapping


def _set(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


# Words in the names of columns; the scores order the columns that sort cells into kinds.
_TIME_NAMES = _set(
    "time times timepoint timepoints timecourse tp day days hour hours hrs week weeks month months year years minute",
    "minutes stage stages age hpf dpf wpf hpi dpi wpi hpa dpa dpc pcw date",
)
_NOT_TIME = _set("pseudotime pseudo latent dpt velocity cycle cellcycle disease tumor tumour")
_KINDS = {
    0.9: _set("celltype celltypes type types annotation annotations lineage fate state states identity label"),
    0.7: _set("cluster clusters leiden louvain group groups population populations condition treatment"),
    0.3: _set(
        "sample samples batch batches donor donors patient patients subject individual replicate replicates rep plate",
        "well lane line clone passage library channel animal mouse embryo",
    ),
}


def _words(name: object) -> set[str]:
    # Digits stay with their word, or the gene TP53 would be a time point.
    return {word.casefold() for word in re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(name))) if word}


def looks_like_time_name(name: object) -> bool:
    """Whether a column of this name would hold the time of a cell: "Day", "time_point", "hpf", "collectionTime"."""
    words = _words(name)
    return str(name) == "t" or bool(words & _TIME_NAMES and not words & _NOT_TIME)  # "t" is time, "T" is brachyury


def looks_like_label_name(name: object) -> bool:
    """Whether a column of this name would hold groups of cells, even if written as numbers: "leiden", "batch"."""
    words = _words(name)
    return any(words & kind for kind in _KINDS.values())


def _unit_in_name(key: str) -> str:
    """The unit that a column's name tells: "day", "time_h", "age_weeks"."""
    words = _words(key)
    units = {_AFTER[word][0] for word in words if word in _AFTER and (len(word) > 1 or len(words) > 1)}
    return units.pop() if len(units) == 1 else ""


def guess_time_keys(obs: pd.DataFrame) -> list[Guess]:
    """Columns of ``obs`` that may hold the time, best first, with the reason for each guess."""
    guesses = (_guess_time(obs, key) for key in obs.columns[~obs.columns.duplicated(keep=False)])
    return sorted((guess for guess in guesses if guess), key=lambda guess: -guess.score)


def _guess_time(obs: pd.DataFrame, key: str) -> Guess | None:
    named, grouped = looks_like_time_name(key), looks_like_label_name(key)
    if _words(key) & _NOT_TIME:
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
    readings = [_parse(label) for label in levels.labels] if levels.values is None else []
    spoken = any(r and r.unit for r in readings) or (levels.values is not None and levels.unit != _unit_in_name(key))
    if not named:
        letters = any(r and r.bare_letter for r in readings)
        if not spoken or letters:
            return None
        return Guess(key, 0.3 if grouped else 0.4, f"its labels read as times: {spans}")
    score = 0.7 + 0.2 * bool(times.unit) + 0.05 * spoken + 0.05 * (_words(key) <= _TIME_NAMES)
    return Guess(key, round(score, 2), spans)


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
        score = next((score for score, kind in _KINDS.items() if _words(key) & kind), 0.5)
        guesses.append(Guess(key, score, f"{kinds} kinds of cells"))
    return sorted(guesses, key=lambda guess: -guess.score)


def number_label(value: float | np.number) -> str:
    """A number as a label: 1.5 -> "1.5", 2.0 -> "2", with the shortest digits that give the number back."""
    number = np.asarray(value)[()]
    if not isinstance(number, np.floating):
        return str(number)
    return np.format_float_positional(number, trim="-") if 1e-5 < abs(number) < 1e16 or number == 0 else str(number)


def _label(value: object) -> str:
    return number_label(value) if isinstance(value, float | np.number) else str(value)


def _quantity(value: float, unit: str) -> str:
    return f"{number_label(np.float64(value))} {unit}".strip()


def _listed(names: Sequence[object], most: int = 6) -> str:
    shown = ", ".join(f"'{str(name)[:40]}'" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")

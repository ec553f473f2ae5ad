"""The words in which people write times: of one label ("day 3", "48h", "E8.5"), of a unit, of a column's name.

A label that could mean two things ("5m": minutes or months; "0d_rm"; "d-1") is not read.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellstream.errors import UserError

SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "week": 604800, "month": 2629800, "year": 31557600}
"""Length of each unit in seconds; a month is a twelfth of a Julian year of 365.25 days."""
UNITS = ("", *SECONDS)
"""Every unit that :class:`Times` can have; "" is unknown."""
LONG_FRACTION = re.compile(r"-?\d+\.\d{7,}")
"""Numbers of more decimals than are shown."""
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
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?", re.ASCII)


class UnclearTimes(UserError):
    """Labels that do not say their times; whoever hears it knows how they can be told, which differs by the door."""


class Reading(NamedTuple):
    """What one label says: a value, its unit, and since when it counts."""

    value: float
    unit: str
    since: str = ""
    bare_letter: bool = False  # "P1", "T2", "H9": a time in a time column, elsewhere a patient or a cell line


def tidied(text: str) -> str:
    """A label as far as it matters: blanks, underscores and case do not."""
    return " ".join(str(text).replace("_", " ").replace("−", "-").casefold().split())


def parsed(text: str) -> Reading | None:
    """What one label says, or None; see :func:`parse_time`."""
    tidy = tidied(text)
    if _NUMBER.fullmatch(tidy):
        value = float(tidy)
        return Reading(value, "") if np.isfinite(value) else None
    if match := _NUMBER_WORD.fullmatch(tidy):
        return Reading(float(match["number"]), *_AFTER[match["word"]])
    if match := _WORD_NUMBER.fullmatch(tidy):
        letter = len(match["word"]) == 1 and match["word"] != "d"
        return Reading(float(match["number"]), *_BEFORE[match["word"]], letter)
    return None


def parse_time(text: str) -> tuple[float, str] | None:
    """Value and unit (one of :data:`UNITS`) of one label, or None where it says no time, or says it ambiguously.

    >>> parse_time("Day_7"), parse_time("24hpf"), parse_time("E8.5"), parse_time("t0"), parse_time("0d_rm")
    ((7.0, 'd'), (24.0, 'h'), (8.5, 'd'), (0.0, ''), None)
    """
    reading = parsed(text)
    return None if reading is None else (reading.value, reading.unit)


def converted(reading: Reading, unit: str) -> float:
    """The value of a reading in another ``unit``; 0, and a number without a unit, stay as they are."""
    if not (reading.unit and reading.value):
        return reading.value
    return round(reading.value * (SECONDS[reading.unit] / SECONDS[unit]), 9)


# --- values that are given --------------------------------------------------------------------------------------------


def mapped(labels: Sequence[str], mapping: Mapping[Any, float], key: str) -> np.ndarray:
    """The value that ``mapping`` gives to each label of column ``key``, (T,) float64."""
    known = {as_label(label): value for label, value in mapping.items()}
    for label, shown in zip(labels, shortened(labels), strict=True):  # as we say them, people write them
        if shown in known:
            known.setdefault(label, known[shown])
    lacking = [label for label in labels if label not in known]
    if lacking:
        raise UserError(
            f"No time is given for {listed(lacking)} of column '{key}': give one for each, or nan to leave it out."
        )
    given = pd.to_numeric(pd.Series([known[label] for label in labels], dtype=object), errors="coerce")
    for label, value in zip(labels, given, strict=True):
        if np.isinf(value) or (np.isnan(value) and not _is_nan(known[label])):
            found = known[label]
            raise UserError(f"The time given for '{label}' is '{found}': expected a number, or nan to leave it out.")
    return given.to_numpy(np.float64)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


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


# --- numbers and names in sentences -----------------------------------------------------------------------------------


def number_label(value: float | np.number) -> str:
    """A number as a label: 1.5 -> "1.5", 2.0 -> "2", with the shortest digits that give the number back."""
    number = np.asarray(value)[()]
    if not isinstance(number, np.floating):
        return str(number)
    return np.format_float_positional(number, trim="-") if 1e-5 < abs(number) < 1e16 or number == 0 else str(number)


def shortened(labels: Sequence[str]) -> tuple[str, ...]:
    """The same, with six decimals where numbers have more than fit beside each other: 0.9359722222 -> 0.935972. As they
    are where that would make two alike."""
    rounded = [number_label(round(float(t), 6)) if LONG_FRACTION.fullmatch(t) else t for t in labels]
    return tuple(rounded if len(set(rounded)) == len(labels) else labels)


def as_label(value: object) -> str:
    """An entry of a column, or a key of a mapping, as a label: 1.0 and "1" are one."""
    return number_label(value) if isinstance(value, float | np.number) else str(value)


def quantity(value: float, unit: str) -> str:
    """72.0, "h" -> "72 h"."""
    return f"{number_label(np.float64(value))} {unit}".strip()


def counted(n: int, noun: str) -> str:
    """2, "cell" -> "2 cells"; 1, "cell" -> "1 cell"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def listed(names: Sequence[object], most: int = 6) -> str:
    """Names in quotes, the first few of many, each at most 40 characters."""
    shown = ", ".join(f"'{str(name)[:40]}'" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


# --- names of columns -------------------------------------------------------------------------------------------------


def _set(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


# Words in the names of columns; the scores order the columns that sort cells into kinds.
TIME_NAMES = _set(
    "time times timepoint timepoints timecourse tp day days hour hours hrs week weeks month months year years minute",
    "minutes stage stages age hpf dpf wpf hpi dpi wpi hpa dpa dpc pcw date",
)
NOT_TIME = _set("pseudotime pseudo latent dpt velocity cycle cellcycle disease tumor tumour")
KINDS = {
    0.9: _set("celltype celltypes type types annotation annotations lineage fate state states identity label"),
    0.7: _set("cluster clusters leiden louvain group groups population populations condition treatment"),
    0.3: _set(
        "sample samples batch batches donor donors patient patients subject individual replicate replicates rep plate",
        "well lane line clone passage library channel animal mouse embryo",
    ),
}


def words_of(name: object) -> set[str]:
    """The words in a column's name: "collectionTime_h" -> {"collection", "time", "h"}."""
    # Digits stay with their word, or the gene TP53 would be a time point.
    return {word.casefold() for word in re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(name))) if word}


def looks_like_time_name(name: object) -> bool:
    """Whether a column of this name would hold the time of a cell: "Day", "time_point", "hpf", "collectionTime"."""
    words = words_of(name)
    return str(name) == "t" or bool(words & TIME_NAMES and not words & NOT_TIME)  # "t" is time, "T" is brachyury


def looks_like_label_name(name: object) -> bool:
    """Whether a column of this name would hold groups of cells, even if written as numbers: "leiden", "batch"."""
    words = words_of(name)
    return any(words & kind for kind in KINDS.values())


def unit_in_name(key: str) -> str:
    """The unit that a column's name tells: "day", "time_h", "age_weeks"."""
    words = words_of(key)
    units = {_AFTER[word][0] for word in words if word in _AFTER and (len(word) > 1 or len(words) > 1)}
    return units.pop() if len(units) == 1 else ""

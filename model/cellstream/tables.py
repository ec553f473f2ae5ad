"""Tables of text with cells in rows: how the text is encoded and separated, and which columns are features."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from cellstream.errors import UserError
from cellstream.preflight import binary, head, require_memory, unpacked_size
from cellstream.time_labels import counted, looks_like_label_name, looks_like_time_name

_CELL_NAMES = re.compile(r"|index|name|id|obs_names|barcodes?|cells?(_?(id|name))?", re.IGNORECASE)
_MEASURED = re.compile(r"(n_|total_|pct_|percent|ncount_|nfeature_|(.*_)?pseudotime)", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+(e[+-]?\d+)?\s*", re.IGNORECASE)


def read_table(path: Path, notes: list[str]) -> AnnData:
    """Cells in rows. Numbers become X; text, and what its name calls a time, group or quality measure, becomes obs."""
    # As numbers a table takes up to four times its text: "0," is two bytes, a float64 eight.
    require_memory(4 * unpacked_size(path), path.name)
    encoding = _encoding(head(path))
    with _text(path, encoding) as file:
        skip, lines = _first_lines(file)
    separator = _separator(lines, path.name)
    rows = list(csv.reader(lines, delimiter=separator))
    cells = [cell for row in rows[1:] for cell in row]
    comma = (
        separator != ","
        and any(map(_DECIMAL_COMMA.fullmatch, cells))
        and not any("." in c for c in cells if _NUMBER.fullmatch(c))
    )
    headless = all(_is_number(cell, comma) for cell in rows[0]) and rows[0] != [str(i) for i in range(len(rows[0]))]
    with _text(path, encoding) as file:
        frame = pd.read_csv(
            file,
            sep=separator,
            decimal="," if comma else ".",
            header=None if headless else 0,
            skiprows=skip,
            skipinitialspace=True,
            low_memory=False,  # one type per column, whatever its length
        )
    if headless:
        frame.columns = [f"feature_{i + 1}" for i in range(frame.shape[1])]
        notes.append("The first row holds numbers, so the columns were named feature_1, feature_2 and so on.")
    elif repeated := len(rows[0]) - len(set(rows[0])):
        notes.append(f"{counted(repeated, 'column name')} occurred more than once and got a number added.")
    return _from_frame(_name_rows(frame), path.name, notes)


def _name_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Take the names of the cells from the first column, where it looks like names."""
    if not isinstance(frame.index, pd.RangeIndex) or frame.shape[1] < 2:
        return frame
    first = str(frame.columns[0])
    named = first.startswith("Unnamed:") or bool(_CELL_NAMES.fullmatch(first))
    column = frame.iloc[:, 0]
    text = not pd.api.types.is_numeric_dtype(column) and column.is_unique and not looks_like_time_name(first)
    return frame.set_index(frame.columns[0]) if (named or text) and column.notna().all() else frame


def _from_frame(frame: pd.DataFrame, name: str, notes: list[str]) -> AnnData:
    empty = [c for c in frame if str(c).startswith("Unnamed:") and frame[c].isna().all()]  # a separator ends each line
    frame = frame.drop(columns=empty)
    numeric = {c for c, dtype in frame.dtypes.items() if dtype.kind in "iuf"}
    others = [c for c in frame if c not in numeric or _belongs_in_obs(str(c))]
    features = frame.columns[~frame.columns.isin(others)]
    if frame.empty:
        raise UserError(f"'{name}' has a header but no rows: expected one row per cell.")
    if features.empty:
        raise UserError(f"'{name}' has no columns of numbers: expected cells in rows and features in columns.")
    mixed = [c for c in others if c not in numeric and pd.to_numeric(frame[c], errors="coerce").notna().mean() > 0.5]
    if mixed:
        why = (
            "holds text among its numbers, so it was kept in obs and not as a feature"
            if len(mixed) == 1
            else "hold text among their numbers, so they were kept in obs and not as features"
        )
        notes.append(f"{_names(mixed)} {why}.")
    if others:
        were = "was" if len(others) == 1 else "were"
        rest = (
            "the other column is the feature"
            if len(features) == 1
            else f"the other {len(features):,} columns are the features"
        )
        notes.append(f"{_names(others)} {were} kept in obs; {rest}.")
    kinds = [
        c for c in others if frame[c].dtype == object and pd.api.types.infer_dtype(frame[c]) not in ("string", "empty")
    ]
    if kinds:
        frame = frame.assign(**{c: frame[c].map(str, na_action="ignore") for c in kinds})
        notes.append(f"{_names(kinds)}: values of several kinds, which no .h5ad can hold, became text.")
    obs = frame[others].set_axis(frame.index.astype(str), axis=0).rename_axis(None)
    x = np.ascontiguousarray(frame[features].to_numpy(np.float32))
    return AnnData(x, obs=obs, var=pd.DataFrame(index=[str(c) for c in features]))


def _belongs_in_obs(name: str) -> bool:
    known = _CELL_NAMES.fullmatch(name) is not None or _MEASURED.match(name) is not None
    return known or looks_like_time_name(name) or looks_like_label_name(name)


def _names(columns: list[Any]) -> str:
    shown = ", ".join(f"'{c}'" for c in columns[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
    return f"{'Columns' if len(columns) > 1 else 'Column'} {shown}"


def _encoding(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content)  # the last character may be cut
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


@contextmanager
def _text(path: Path, encoding: str) -> Iterator[io.TextIOWrapper]:
    with binary(path) as file:
        yield io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="")


def _first_lines(file: io.TextIOWrapper, most: int = 30) -> tuple[int, list[str]]:
    """How many comment lines to skip, and the lines after them; a header may be megabytes long."""
    skip = 0
    lines: list[str] = []
    for line in file:
        if not lines and (line.startswith("#") or not line.strip()):
            skip += 1
        else:
            lines.append(line)
        if len(lines) == most:
            break
    return skip, lines


def _separator(lines: list[str], name: str) -> str:
    """The separator that splits all lines alike; semicolon before comma, since "1,5;2,5" has decimal commas."""
    bare = [re.sub(r'"[^"]*"', "", line) for line in lines if line.strip()]
    widths = {mark: [line.count(mark) + 1 for line in bare] for mark in "\t;, "}
    for mark, (header, *rest) in widths.items():
        # R's write.table leaves out the name of the first column
        if header > 1 and len(set(rest)) <= 1 and all(width - header in (0, 1) for width in rest):
            return mark
    mark = max(widths, key=lambda mark: widths[mark][0])
    if widths[mark][0] < 2:
        raise UserError(
            f"'{name}' has one column: expected cells in rows and columns separated by comma, semicolon or tab."
        )
    return mark


def _is_number(cell: str, comma: bool) -> bool:
    return (_DECIMAL_COMMA.fullmatch(cell) is not None and comma) or _NUMBER.fullmatch(cell) is not None

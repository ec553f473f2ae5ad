"""Columns of metadata that an .h5ad cannot hold, and the same as text, which it can."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pandas as pd


def unwritable(frame: pd.DataFrame) -> list[Hashable]:
    """Columns that anndata refuses to write: of several kinds of values, lists, dates, empty ones without a type, and
    numbers that pandas keeps in ways of its own."""
    names = frame.columns[~frame.columns.duplicated(keep=False)]  # of the others anndata itself says what is wrong
    return [name for name in names if not _writable(frame[name])]


def _writable(column: Any) -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return _writable(column.dtype.categories.to_numpy())  # as which anndata writes them
    if isinstance(column.dtype, pd.StringDtype):
        return True
    if column.dtype == object:
        return len(column) == 0 or pd.api.types.infer_dtype(column) in ("string", "bytes")
    if isinstance(column.dtype, pd.IntervalDtype | pd.SparseDtype):
        return False
    extension = pd.api.types.is_extension_array_dtype(column.dtype)
    return column.dtype.kind in ("biu" if extension else "biufc")


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its unwritable columns as text, or as numbers where they are some; what is missing stays so.
    Others are not copied.

    A column in which all is missing becomes one of numbers, NaN, since text has no word for it. Dates are written so
    that :func:`cellstream.times.read_times` reads them as before.
    """
    frame = frame.copy(deep=False)
    for name in unwritable(frame):
        plain = _plain(frame[name])
        frame[name] = plain if _writable(plain) else _text(plain)
    return frame


def _plain(column: pd.Series) -> pd.Series:
    """Numbers that pandas keeps in a way of its own, as an array of NumPy's."""
    if isinstance(column.dtype, pd.SparseDtype):
        column = column.sparse.to_dense()
    if pd.api.types.is_extension_array_dtype(column.dtype) and pd.api.types.is_float_dtype(column.dtype):
        return pd.Series(column.to_numpy(float, na_value=np.nan), index=column.index)
    return column


def _text(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.CategoricalDtype):
        # labels that are one as text, such as 1 and "1", are one category
        column = column.astype(object)
    missing = column.isna()
    if missing.all():
        return pd.Series(float("nan"), index=column.index, dtype=float)
    if pd.api.types.is_datetime64_any_dtype(column):
        days = bool((column[~missing] == column[~missing].dt.normalize()).all())
        text = column.dt.strftime("%Y-%m-%d") if days else column.map(lambda date: date.isoformat(sep=" "), "ignore")
    else:
        text = column.map(str, na_action="ignore")
    return text.astype(object).mask(missing, np.nan)

"""The file doctor: what is wrong with a data set, or worth knowing, with a remedy where there is one.

It looks at what :func:`cellstream.snapshots.from_anndata` would be given and changes nothing. What it offers is a
change of how the file is read: the name of a fix (:mod:`cellstream.fixes`), or another argument.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from cellstream import fixes, symptoms
from cellstream.checkup import Checkup, Kept, checkup, kept
from cellstream.config import Preprocess
from cellstream.errors import UserError
from cellstream.preprocess import matrix_of
from cellstream.symptoms import CAUTION, NOTE, STOP, Finding, Remedy
from cellstream.time_labels import as_label, counted, listed
from cellstream.times import Times, UnclearTimes, one_time, read_times

__all__ = ["CAUTION", "NOTE", "STOP", "Diagnosis", "Finding", "Remedy", "choices", "examine"]

ORDER = (STOP, CAUTION, NOTE)


@dataclass(frozen=True)
class Diagnosis:
    """What was found, the worst first, and what the fixes asked for have done, by their names."""

    findings: tuple[Finding, ...]
    done: Mapping[str, str]
    shape: tuple[int, int]
    """Cells and features that were looked at."""

    def of(self, *levels: str) -> tuple[Finding, ...]:
        """The findings of these levels."""
        return tuple(finding for finding in self.findings if finding.level in levels)


def examine(
    adata: AnnData,
    time_key: str,
    *,
    input: str = "X",
    time_map: Mapping[Any, float] | None = None,
    preprocess: Preprocess | None = None,
    asked: Sequence[str] = (),
    notes: Sequence[str] = (),
    checked_by: Callable[[], Checkup] | None = None,
) -> Diagnosis:
    """Look at a data set as :func:`cellstream.snapshots.from_anndata` would read it with these arguments.

    ``asked`` are the fixes that are asked for already, ``notes`` what was noticed when the file was read. Walks over
    the whole matrix, in parts where it is in its file, unless ``checked_by`` gives what such a walk has found.
    Raises :class:`UserError` for a fix that is none.
    """
    asked = fixes.ordered(asked)
    read, found = _times(adata.obs, time_key, time_map)
    found += [*(Finding(NOTE, note) for note in notes), *symptoms.of_names(adata), *symptoms.of_labels(adata.obs)]
    if fixes.TEXT not in asked:
        found += symptoms.of_columns(adata)
    index = np.zeros(adata.n_obs, dtype=np.int64) if read is None else read.index
    check = None
    with contextlib.suppress(UserError):  # of a matrix that cannot be read at all: whoever prepares it says why
        check = checked_by() if checked_by is not None else checkup(matrix_of(adata, input, asked)[0])
    stay = kept(index, check, asked)
    if check is not None:
        if fixes.NONFINITE not in asked:
            found += symptoms.of_holes(check, input)
        if not input.startswith("obsm:"):
            found += symptoms.of_content(check, preprocess or Preprocess(), adata, input)
        found += symptoms.of_cells(check, index, stay)
    if read is not None:
        found += symptoms.of_points(read, stay, asked)
    found.sort(key=lambda finding: ORDER.index(finding.level))
    done = {name: _done(name, check, stay, read) for name in asked if not fixes.FIXES[name].choice}
    return Diagnosis(tuple(found), done, (adata.n_obs, adata.n_vars) if check is None else check.shape)


def choices(asked: Collection[str], obs: pd.DataFrame, time_key: str) -> dict[str, Any]:
    """The arguments that those fixes among ``asked`` set which are choices. Raises :class:`UserError`."""
    found: dict[str, Any] = {}
    if fixes.ORDER in asked:
        order = symptoms.stages(obs, time_key)
        if not order:
            raise UserError(
                f"Expected labels in an order for the fix {fixes.ORDER}, but the column '{time_key}' is no ordered "
                "category: say for each label what time it is."
            )
        found["time_map"] = symptoms.in_order(order)
    if fixes.NORMALISE in asked:
        found["normalise"] = "yes"
    return found


def _times(obs: pd.DataFrame, key: str, time_map: Mapping[Any, float] | None) -> tuple[Times | None, list[Finding]]:
    """The times, where they can be read, and what is to be said of them."""
    if not key:
        what = one_time(obs) or "No column tells when each cell was measured: add one to the file"
        return None, [Finding(STOP, f"{what}.")]
    try:
        read = read_times(obs, key, time_map)
    except UnclearTimes:
        return None, [symptoms.of_unclear_times(obs, key)]
    except UserError as error:
        if key in obs and obs[key].nunique() == 1:
            held = as_label(obs[key].dropna().iloc[0])
            what = (
                f"All cells are of one time, '{held}' in '{key}', but two are needed: join the files of several times."
            )
            return None, [Finding(STOP, what)]
        return None, [Finding(STOP, str(error))]
    return read, list(symptoms.of_times(obs, read, given=time_map is not None))


def _done(name: str, check: Checkup | None, stay: Kept, read: Times | None) -> str:
    """What a fix has done, in a sentence."""
    cells = counted(stay.left.get(name, 0), "cell")
    if name == fixes.FILL:
        return "Missing values count as 0."
    if name == fixes.NONFINITE:
        features = counted(check.bad_features if check is not None else 0, "feature")
        return f"Left out for missing or infinite values: {cells}, {features}."
    if name == fixes.EMPTY:
        return f"Left out because they are zero in every feature: {cells}."
    if name == fixes.COPIES:
        return f"Left out because they are copies: {cells}."
    if name == fixes.TEXT:
        return "Columns that an .h5ad cannot hold will be saved as text."
    points = stay.points_left.get(name, ())
    which = listed([read.labels[i] for i in points]) if read is not None and points else "none"
    return f"Time points left out: {which} ({cells})."

"""Mends of a data set that a user may ask for, by name: the one list that the file doctor, the app and the command line
share.

A fix changes how a file is read and never the file. The names of those asked for stand in the recipe of a run, so that
a result finds its cells again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from cellstream.errors import UserError

FILL = "fill-missing"
NONFINITE = "drop-nonfinite"
EMPTY = "drop-empty-cells"
COPIES = "drop-copies"
LONE = "drop-lone-times"
SMALL = "drop-small-times"
TEXT = "columns-as-text"
ORDER = "order-times"
NORMALISE = "normalise"

FEW = 50
"""Cells at a time point below which what is learned there is called uncertain."""


@dataclass(frozen=True)
class Fix:
    """A mend: its name on the command line, and what it does, as the end of a sentence that begins with its name."""

    name: str
    doc: str
    why: str = ""
    """Of one that leaves out cells: which ones, in a few words."""
    choice: bool = False
    """It is not remembered by its name but gives another argument of :func:`cellstream.snapshots.from_anndata` its
    value, where the user sees it and can change it."""


FIXES = {
    fix.name: fix
    for fix in (
        Fix(FILL, "counts missing values (NaN) as 0, for tables in which empty means not seen"),
        Fix(NONFINITE, "leaves out features and cells with missing or infinite values", "missing or infinite values"),
        Fix(EMPTY, "leaves out cells that are zero in every feature", "zero in every feature"),
        Fix(COPIES, "leaves out exact copies of a cell at the same time point, but for one", "copies of others"),
        Fix(LONE, "leaves out time points with a single cell", "alone at their time point"),
        Fix(SMALL, f"leaves out time points with fewer than {FEW} cells", f"fewer than {FEW} at their time point"),
        Fix(TEXT, "writes columns that an .h5ad cannot hold as text into the result"),
        Fix(ORDER, "takes the labels of an ordered column as times 0, 1, 2, …", choice=True),
        Fix(NORMALISE, "scales each cell to the same total and takes log(1 + x), whatever is found", choice=True),
    )
}
"""In the order in which they are applied, whatever the order in which they were asked for."""


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """The names of fixes, each once, in the order of :data:`FIXES`. Raises :class:`UserError` for one that is none."""
    names = set(names)
    for name in sorted(names - set(FIXES)):
        close = difflib.get_close_matches(name, FIXES, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise UserError(f"There is no fix '{name}'{hint}: choose from {', '.join(FIXES)}.")
    return tuple(name for name in FIXES if name in names)

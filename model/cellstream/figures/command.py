"""The command line's figures: words become a wish and a sheet."""

from __future__ import annotations

import argparse
import math
import re
from dataclasses import fields
from pathlib import Path

from cellstream import readers
from cellstream.errors import UserError
from cellstream.figures import GROWTH, STREAMS, WIDTHS
from cellstream.figures.drawings import Drawn
from cellstream.figures.marks import View
from cellstream.figures.of_result import Source, Wish
from cellstream.figures.paper import Sheet, place_for, write
from cellstream.files import new_file, whole

HEEDED = {
    "embedding": ("colour", "layers", "time", "view", "axes", "select"),
    "times": ("colour", "view", "axes"),
    "lineage": ("select", "labels", "view", "axes"),
    "genes": ("genes", "select"),
    "losses": (),
    "match": (),
    "metrics": (),
}
"""What each kind of figure can be asked for; a word that it would not heed is refused."""


def figure(arguments: argparse.Namespace) -> list[Path]:
    """Draw what is asked for; the files that were written."""
    out = place_for(arguments.out, arguments.overwrite)
    numbers = new_file(arguments.numbers, arguments.overwrite, ".csv") if arguments.numbers else None
    sheet, wish = sheet_of(arguments), wish_of(arguments)
    opened = readers.open_file(arguments.result)
    source = Source.in_file(opened.adata, Path(arguments.result).expanduser())
    drawn = source.drawn(wish, sheet)
    write(drawn.figure, out, sheet, source.provenance(wish, sheet))
    if numbers is None:
        return [out]
    return [out, *write_numbers(drawn, numbers, arguments.overwrite)]


def write_numbers(drawn: Drawn, out: Path, overwrite: bool = False) -> list[Path]:
    """The numbers behind a figure; what lies over the cells in files of its own beside ``out``, as in out-streams.csv.

    Raises:
        UserError: one of those is there already; then none is written.
    """
    tables = {out: drawn.numbers}
    for name, table in drawn.further.items():
        tables[new_file(str(out.with_name(f"{out.stem}-{name}{out.suffix}")), overwrite, ".csv")] = table
    for place, table in tables.items():
        with whole(place) as path:
            table.to_csv(path, index=table.index.name is not None)
    return list(tables)


def sheet_of(arguments: argparse.Namespace) -> Sheet:
    """Size and type."""
    same = {item.name: getattr(arguments, item.name) for item in fields(Sheet) if item.name != "width"}
    return Sheet(width=millimetres(arguments.width), **same)


def wish_of(arguments: argparse.Namespace) -> Wish:
    """What is drawn. Raises :class:`UserError` for words that the kind of figure would not heed."""
    kind = arguments.kind
    asked = {name: getattr(arguments, name) for names in HEEDED.values() for name in names}
    asked = {name: value for name, value in asked.items() if value is not None}
    for name in asked:
        if name not in HEEDED[kind]:
            kinds = " or ".join(known for known, names in HEEDED.items() if name in names)
            raise UserError(f"--{name} says nothing to a figure of kind {kind}: leave it out, or take --kind {kinds}.")
    for name in {"layers", "genes"} & set(asked):
        asked[name] = listed(asked[name])
    if "view" in asked:
        asked["view"] = view_of(asked["view"])
    if "axes" in asked:
        asked["axes"] = axes_of(asked["axes"])
    wish = Wish(kind=kind, **asked)
    if wish.time is not None and not {STREAMS, GROWTH} & set(wish.layers):
        raise UserError("--time is the moment of streams and growth: add them, as in --layers cells,streams.")
    return wish


def millimetres(words: str) -> float:
    """A width in millimetres, or that of a journal's column by its name."""
    if words in WIDTHS:
        return WIDTHS[words]
    try:
        return float(words)
    except ValueError:
        raise UserError(f"Expected a width in mm or one of {', '.join(WIDTHS)}, but got '{words}'.") from None


def view_of(words: str) -> View:
    """What is seen of the plane, as X0,X1,Y0,Y1."""
    try:
        x0, x1, y0, y1 = map(float, words.split(","))
    except ValueError:
        x0 = x1 = y0 = y1 = math.nan
    if not (x0 < x1 and y0 < y1 and all(map(math.isfinite, (x0, x1, y0, y1)))):
        raise UserError(f"Expected a view as X0,X1,Y0,Y1, from left to right and from below, but got '{words}'.")
    return x0, x1, y0, y1


def axes_of(words: str) -> tuple[int, int]:
    """Two components, counted from 1 by those who ask and from 0 here."""
    found = re.fullmatch(r"\s*([1-9]\d?)\s*,\s*([1-9]\d?)\s*", words)
    if not found:
        raise UserError(f"Expected two components, as in 1,3, but got '{words}'.")
    return int(found[1]) - 1, int(found[2]) - 1


def listed(words: str) -> tuple[str, ...]:
    """Words with commas between them, each once."""
    return tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))

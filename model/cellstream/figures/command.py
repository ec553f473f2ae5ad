"""The command line's figures: words become a wish and a sheet."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

from cellstream import readers
from cellstream.errors import UserError
from cellstream.figures import GROWTH, STREAMS, WIDTHS
from cellstream.figures.of_result import Source, Wish
from cellstream.figures.paper import Sheet, place_for, write
from cellstream.files import new_file, whole

HEEDED = {
    "embedding": ("colour", "layers", "time"),
    "times": ("colour",),
    "lineage": ("select", "labels"),
    "genes": ("genes",),
    "losses": (),
    "match": (),
}
"""What each kind of figure can be asked for; a word that it would not heed is refused."""


def figure(arguments: argparse.Namespace) -> list[Path]:
    """Draw what is asked for; the files that were written."""
    out = place_for(arguments.out, arguments.overwrite)
    numbers = new_file(arguments.numbers, arguments.overwrite, ".csv") if arguments.numbers else None
    sheet, wish = sheet_of(arguments), wish_of(arguments)
    opened = readers.open_file(arguments.result)
    source = Source(opened.adata, Path(arguments.result).expanduser())
    drawn = source.drawn(wish, sheet)
    write(drawn.figure, out, sheet, source.provenance(wish, sheet))
    if numbers is None:
        return [out]
    with whole(numbers) as path:
        drawn.numbers.to_csv(path, index=drawn.numbers.index.name is not None)
    return [out, numbers]


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


def listed(words: str) -> tuple[str, ...]:
    """Words with commas between them, each once."""
    return tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))

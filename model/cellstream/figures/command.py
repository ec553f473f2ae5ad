"""The command line's figures: words become a wish and a sheet."""

from __future__ import annotations

import argparse
from pathlib import Path

from cellstream import readers
from cellstream.errors import UserError
from cellstream.figures.of_result import Source, Wish
from cellstream.figures.paper import WIDTHS, Sheet, place_for, write
from cellstream.files import new_file, whole


def figure(arguments: argparse.Namespace) -> list[Path]:
    """Draw what is asked for; the files that were written."""
    out = place_for(arguments.out, arguments.overwrite)
    numbers = new_file(arguments.numbers, arguments.overwrite, ".csv") if arguments.numbers else None
    sheet = Sheet(
        width=millimetres(arguments.width),
        **{key: getattr(arguments, key) for key in SHEET},
    )
    wish = Wish(
        layers=listed(arguments.layers),
        genes=listed(arguments.genes),
        sheet=sheet,
        **{key: getattr(arguments, key) for key in WISH},
    )
    source = Source(readers.open_file(arguments.result).adata)
    drawn = source.drawn(wish)
    write(drawn.figure, out, sheet, source.provenance(wish))
    if numbers is None:
        return [out]
    with whole(numbers) as path:
        drawn.numbers.to_csv(path, index=drawn.numbers.index.name is not None)
    return [out, numbers]


SHEET = ("height", "font", "text", "point", "legend", "transparent", "letter", "dpi")
WISH = ("kind", "colour", "time", "select", "labels")


def millimetres(words: str) -> float:
    """A width in millimetres, or that of a journal's column by its name."""
    if words in WIDTHS:
        return WIDTHS[words]
    try:
        return float(words)
    except ValueError:
        raise UserError(f"Expected a width in mm or one of {', '.join(WIDTHS)}, but got '{words}'.") from None


def listed(words: str) -> tuple[str, ...]:
    """Words with commas between them."""
    return tuple(word.strip() for word in words.split(",") if word.strip())

"""Figures of what the app shows: a run's result as the source of figures, and figures as bytes. It knows no widget."""

from __future__ import annotations

import io
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from cellstream import scverse
from cellstream.errors import UserError
from cellstream.figures import KINDS
from cellstream.figures.command import write_numbers
from cellstream.figures.drawings import Drawn
from cellstream.figures.of_result import Source, Wish
from cellstream.figures.paper import Sheet, write
from cellstream.painting import GENE, TIME, WORDS
from cellstream.runs import Run
from cellstream_app import colouring
from cellstream_app.palette import own_colours
from cellstream_app.results import Result
from cellstream_app.shown import Shown
from cellstream_app.sources import Source as DataSet

NOT_YET = (
    "Velocity and growth have not been learned yet: until they are, figures show cells alone, and there is no film and "
    "no page."
)
PREVIEW_DPI = 228
"""Of the picture on the screen; a point has the same size as in the file."""
KIND_NAMES = {
    "Embedding": "embedding",
    "A panel for each time point": "times",
    "Ancestors and descendants": "lineage",
    "Genes along the flow": "genes",
    "Match of the time points": "match",
    "Losses of the training": "losses",
    "Metrics and their yardsticks": "metrics",
}
"""Shown name -> kind of figure."""
assert set(KIND_NAMES.values()) == set(KINDS)


def source_of(result: Result, data: DataSet | None, losses: bool = False) -> Source:
    """A run's result as figures read it: with the data set behind it, where that is there, and its losses on demand."""
    run = result.run
    told = None
    if losses:
        told = Run(run.folder)  # a result is shared by all sessions, and so is its run: it reads what is said for them
        told.poll()
    return Source(
        result,
        data.adata if data else None,
        run.recipe,
        losses=scverse.losses_of(told.history if told else None),
        metrics=run.metrics(),
        trained_by=str((run.recipe.get("versions") or {}).get("cellstream", "")),
        path=_file_of(result),
        own=own_colours(data.key) if data else None,
    )


def _file_of(result: Result) -> Path | None:
    """Where a result was read from; None where another one is in its place by now, whose hash would be told."""
    path = result.run.folder / ("model.safetensors" if result.final else "preview.safetensors")
    try:
        return path if result.version is not None and path.stat().st_mtime_ns == result.version[0] else None
    except OSError:
        return None


def colour_word(key: str, gene: str) -> str:
    """How a figure is asked for a colour of the screen."""
    words = {own: word for word, own in WORDS.items()}
    return f"gene:{gene}" if key == GENE else words.get(key, key)


def colour_shown(shown: Shown, result: Result, data: DataSet | None) -> str:
    """What Explore colours by, as :func:`colour_word` has it; time, where the result has no such colour."""
    there = shown.colour in colouring.choices(result, data).values() and (shown.colour != GENE or shown.gene)
    return colour_word(shown.colour, shown.gene) if there else TIME


@dataclass(frozen=True)
class Preview:
    """A figure as the screen shows it."""

    png: bytes
    width: float
    """Millimetres."""
    height: float


def preview(source: Source, wish: Wish, sheet: Sheet) -> Preview:
    """The figure in the screen's resolution. Takes a while; raises :class:`UserError`."""
    sheet = replace(sheet, dpi=min(sheet.dpi, PREVIEW_DPI))
    drawn = source.drawn(wish, sheet)
    wide, high = drawn.figure.get_size_inches() * 25.4
    return Preview(_bytes(drawn, source, wish, sheet, ".png"), float(wide), float(high))


def figure_bytes(source: Source, wish: Wish, sheet: Sheet, suffix: str) -> bytes:
    """The figure as a file: ``suffix`` is .png, .pdf or .svg. Takes a while; raises :class:`UserError`."""
    return _bytes(source.drawn(wish, sheet), source, wish, sheet, suffix)


def _bytes(drawn: Drawn, source: Source, wish: Wish, sheet: Sheet, suffix: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="cellstream-") as folder:
        path = Path(folder) / f"figure{suffix}"
        write(drawn.figure, path, sheet, source.provenance(wish, sheet))
        return path.read_bytes()


def numbers_bytes(source: Source, wish: Wish, sheet: Sheet, stem: str) -> tuple[str, bytes]:
    """The numbers behind a figure, and the file's name: a csv, or a zip of several where layers have some of their own.

    Takes a while; raises :class:`UserError`.
    """
    drawn = source.drawn(wish, replace(sheet, dpi=72))
    if drawn.numbers.empty:
        raise UserError("There are no numbers behind this figure: choose another one.")
    with tempfile.TemporaryDirectory(prefix="cellstream-") as folder:
        paths = write_numbers(drawn, Path(folder) / f"{stem}.csv")
        if len(paths) == 1:
            return paths[0].name, paths[0].read_bytes()
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path in paths:
                zipped.write(path, path.name)
        return f"{stem}-numbers.zip", packed.getvalue()

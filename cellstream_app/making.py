"""Files that take a while and can be given up: films, pages, bundles; as the Export page has them made. No widget."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cellstream import account
from cellstream.animations.film import Film, Shot
from cellstream.animations.flow import Wish
from cellstream.animations.of_result import film_of
from cellstream.animations.training import film_of_run
from cellstream.animations.writing import write
from cellstream.events import Progress
from cellstream.figures.of_result import Source
from cellstream.runs import Run
from cellstream.web.contents import Options
from cellstream.web.page import Written, write_page

FLOW, TRAINING = "The flow between time points", "The embedding as it was learned"


@dataclass(frozen=True)
class FilmWish:
    """A film that the Export page can be asked for."""

    kind: str
    wish: Wish
    shot: Shot


def film(source: Source, run: Run, asked: FilmWish) -> Film:
    """The film, whose frames are drawn when they are asked for. Raises :class:`UserError`."""
    if asked.kind == TRAINING:
        return film_of_run(Run(run.folder), asked.wish.colour, asked.shot)  # a run of its own, to read in a thread
    return film_of(source, asked.wish, asked.shot)


def film_bytes(
    source: Source,
    run: Run,
    asked: FilmWish,
    suffix: str,
    progress: Progress | None = None,
    stop: Callable[[], object] | None = None,
) -> bytes:
    """The film as a file. Takes a while; raises :class:`UserError`, or ``Stopped`` where ``stop`` says so."""
    with tempfile.TemporaryDirectory(prefix="cellstream-") as folder:
        out = Path(folder) / f"film{suffix}"
        write(film(source, run, asked), out, progress, stop)
        return out.read_bytes()


def page_bytes(source: Source, run: Run, options: Options) -> tuple[bytes, Written]:
    """A result as one html file, and what came of it. Takes a while; raises :class:`UserError`."""
    with tempfile.TemporaryDirectory(prefix="cellstream-") as folder:
        out = Path(folder) / "page.html"
        told = account.of_run(Run(run.folder))
        written = write_page(source, out, options, told=told)
        return out.read_bytes(), written

"""Colours that a user gave to the labels of a data set; kept beside the runs, by data set and column."""

from __future__ import annotations

import json
import re
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from cellstream import runs
from cellstream.errors import UserError
from cellstream.files import whole

_lock = threading.Lock()
Palette = dict[str, dict[str, str]]
"""Colours as #rrggbb by column and label."""


def own_colours(key: str) -> Palette:
    """The colours given to labels of the data set ``key``; none where there are none, or they cannot be read."""
    try:
        found = _read().get(key)
    except (OSError, ValueError):
        return {}
    columns = found.items() if isinstance(found, dict) else ()
    return {column: {n: c for n, c in of.items() if is_colour(c)} for column, of in columns if isinstance(of, dict)}


def paint(key: str, column: str, label: str, colour: str) -> None:
    """Keep a colour, ``#rrggbb``, for a label. Raises :class:`UserError` where it is none or cannot be kept."""
    if not is_colour(colour):
        raise UserError(f"Expected a colour like #3f90da, but got {colour!r}.")
    paint_all(key, {column: {label: colour}})


def paint_all(key: str, colours: Palette) -> None:
    """Keep colours for labels, all at once. Raises :class:`UserError` where they cannot be kept."""
    with _lock:
        try:
            every = _read()  # not as for looking: colours that cannot be read now must not be lost
            own = own_colours(key)
            for column, names in colours.items():
                own.setdefault(column, {}).update(names)
            every = every | {key: own}
            runs.home().mkdir(parents=True, exist_ok=True)
            with whole(_place()) as path:
                path.write_text(json.dumps(every, ensure_ascii=False, indent=1), "utf-8")
        except (OSError, ValueError) as error:
            raise UserError(
                f"The colours could not be kept in {_place()} ({error}): mend that file or move it away."
            ) from error


def _place() -> Path:
    return runs.home() / "colours.json"


def _read() -> dict[str, Any]:
    """What is in the file; nobody may change it. Raises ``OSError`` or ``ValueError`` where it cannot be read."""
    try:
        state = _place().stat()
    except FileNotFoundError:
        return {}
    return _content(_place(), state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=1)
def _content(place: Path, *state: int) -> dict[str, Any]:
    """The file as it is in this state: it is asked for at each colouring, and changes with each colour given."""
    found = json.loads(place.read_text("utf-8"))
    if not isinstance(found, dict):
        raise ValueError("it holds no table of colours")
    return found


def is_colour(colour: object) -> bool:
    """Whether it is a colour as ``#rrggbb``."""
    return isinstance(colour, str) and bool(re.fullmatch(r"#[0-9a-fA-F]{6}", colour))

"""Which data set a tab of the browser had open, and how it was read; by a word that the tab's address bears, so that a
reload finds it again.

The address names no file: a link could then make the app open any. What a word stands for is kept beside the runs, so
that a new server finds it as well.
"""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from cellstream import runs
from cellstream.config import Preprocess
from cellstream.files import whole
from cellstream_app.reading import Reading

MOST = 100
"""Tabs that are remembered; of more, the latest."""
_lock = threading.Lock()


def new_word() -> str:
    """One that nobody guesses."""
    return secrets.token_urlsafe(12)


def remember(word: str, key: str, reading: Reading) -> None:
    """A tab's data set ``key``, read in this way. What cannot be kept is not: it is a convenience."""
    with _lock, suppress(OSError):
        known = _read()
        known.pop(word, None)  # so that it stands last
        known[word] = dict(key=key, reading=dataclasses.asdict(reading))
        latest = dict(list(known.items())[-MOST:])
        runs.home().mkdir(parents=True, exist_ok=True)
        with whole(_place()) as path:
            path.write_text(json.dumps(latest), "utf-8")


def remembered(word: str) -> tuple[str, Reading] | None:
    """What a tab had open: the data set and how it was read; None where that is not known."""
    found = _read().get(word) if re.fullmatch(r"[\w-]{16}", word) else None
    if not isinstance(found, dict) or not isinstance(found.get("key"), str):
        return None
    try:
        return found["key"], _reading(found["reading"])
    except (KeyError, TypeError, ValueError):  # of another version
        return None


def _reading(told: dict[str, Any]) -> Reading:
    masses, times = told["masses"], told["time_map"]
    given = told | dict(
        preprocess=Preprocess(**told["preprocess"]),
        fixes=tuple(map(str, told["fixes"])),
        masses=None if masses is None else tuple(map(float, masses)),
        time_map=None if times is None else {str(label): float(time) for label, time in times.items()},
    )
    return Reading(**given)


def _place() -> Path:
    return runs.home() / "tabs.json"


def _read() -> dict[str, Any]:
    try:
        found = json.loads(_place().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

"""The app's log: a file beside the runs that begins anew when it is large, with nothing of the user's data in it.

What the terminal is told of a fault may hold names and values from a file. In the log stands what kind of error it was
and which lines of the program led to it; of other messages, the words that they are made of and not what was put in.
"""

from __future__ import annotations

import logging
import logging.handlers
import traceback
from contextlib import suppress
from pathlib import Path

from cellstream import __version__, runs

MOST, KEPT = 1_000_000, 3
"""Bytes of a file, and how many older ones are kept."""
OURS = ("cellstream", "cellstream_app")


class Discreet(logging.Formatter):
    """Records without what they are about."""

    def format(self, record: logging.LogRecord) -> str:
        # an f-string of another package may hold anything
        known = bool(record.args) or record.name.partition(".")[0] in OURS
        said = record.msg if isinstance(record.msg, str) and known else "…"
        lines = [f"{self.formatTime(record)} {record.levelname} {record.name}: {said}"]
        error = record.exc_info[1] if record.exc_info else None
        while error is not None:
            lines.append(f"  {type(error).__module__}.{type(error).__qualname__}")
            lines += [
                f"    {_from_package(frame.filename)}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(error.__traceback__)
            ]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(lines)


def _from_package(filename: str) -> str:
    """A file of the program, from its package on: before that stands whose machine it is."""
    parts = Path(filename).parts
    for k in range(len(parts) - 1, -1, -1):
        if parts[k] in ("site-packages", "model") or parts[k].startswith("python3"):
            return "/".join(parts[k + 1 :])
        if parts[k] in OURS:
            return "/".join(parts[k:])
    return parts[-1] if parts else ""


def place() -> Path:
    """Where the log is."""
    return runs.home() / "logs" / "app.log"


def keep_log() -> logging.Handler | None:
    """Write warnings and faults of this process into the log from now on; None where there is no place for it."""
    with suppress(OSError):
        place().parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(place(), maxBytes=MOST, backupCount=KEPT, encoding="utf-8")
        handler.setFormatter(Discreet())
        handler.setLevel(logging.WARNING)
        logging.getLogger().addHandler(handler)
        begins = f"CellStream {__version__} begins"
        handler.handle(logging.LogRecord(__name__, logging.INFO, __file__, 0, begins, None, None))
        return handler
    return None

"""Where data comes from: a named data set, a path on this machine, an upload; and what it says about itself."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from anndata import AnnData

from cellstream import bundle, datasets, readers, runs
from cellstream.checkup import Checkup, checkup
from cellstream.config import Preprocess
from cellstream.errors import UserError
from cellstream.fixes import FILL, NONFINITE
from cellstream.preprocess import Prepared, cells_of, matrix_of, prepare

KEPT = 3
"""Opened data sets that stay in memory, and ways in which each was prepared; shared by all browser sessions."""
PART = ".part"
"""How the name of an upload under way ends."""
FORGOTTEN = 86_400
"""Seconds after which an upload that has not grown is taken for given up."""
LARGEST_UPLOAD = 20_000_000_000
"""Bytes; a larger file is better opened by its path."""
LISTED = 200
"""Most entries of a folder that are offered while a path is typed."""


@dataclass(frozen=True, eq=False)
class Source:
    """An opened data set. ``key`` finds it again: the name of a public data set, or a path."""

    key: str
    title: str
    adata: AnnData
    notes: tuple[str, ...]
    time_key: str = ""
    """The time column, where it is known without guessing."""
    _prepared: OrderedDict[tuple, Prepared] = field(default_factory=OrderedDict, repr=False)
    _preparing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _checkups: OrderedDict[tuple, Checkup] = field(default_factory=OrderedDict, repr=False)
    _checking: threading.Lock = field(default_factory=threading.Lock, repr=False)
    progress: dict[str, float] = field(default_factory=dict, repr=False)
    """Share of the walk over each input that is under way."""

    def checkup(self, input: str, mends: Collection[str] = ()) -> Checkup:
        """What a walk over an input finds. Takes a while the first time; raises :class:`UserError` where it cannot."""
        key = input, FILL in mends
        with self._checking:
            if key not in self._checkups:
                try:
                    self._checkups[key] = checkup(
                        matrix_of(self.adata, input, mends)[0], lambda share: self.progress.update({input: share})
                    )
                finally:
                    self.progress.pop(input, None)
                while len(self._checkups) > KEPT:
                    self._checkups.popitem(last=False)
            self._checkups.move_to_end(key)
            return self._checkups[key]

    def prepared(self, rows: np.ndarray, input: str, settings: Preprocess, mends: Collection[str] = ()) -> Prepared:
        """What the encoder reads of these cells. Takes a while the first time; nobody changes what comes back.

        Times, sizes and units can then be changed at once, and a second session waits for the first one's.
        """
        mending = tuple(name for name in (FILL, NONFINITE) if name in mends)
        key = input, settings, mending, hashlib.blake2b(rows.tobytes()).digest()
        with self._preparing:
            if key not in self._prepared:
                self._prepared[key] = prepare(cells_of(self.adata, rows), input, settings, mending)
                while len(self._prepared) > KEPT:
                    self._prepared.popitem(last=False)
            self._prepared.move_to_end(key)
            return self._prepared[key]


_opened: OrderedDict[tuple, Source] = OrderedDict()
_gates: dict[tuple, threading.Lock] = {}
_lock = threading.Lock()


def open_source(key: str) -> Source:
    """The data set of this name or at this path. Reads from disk, so call it away from the event loop.

    Raises :class:`UserError`, one sentence, for whatever cannot be opened.
    """
    known = datasets.DATASETS.get(key)
    path = datasets.fetch(key) if known else permitted(key)
    mark = _mark(path)
    with _lock:
        gate = _gates.setdefault(mark, threading.Lock()) if mark is not None else threading.Lock()
    with gate:  # two who open the same file at once: the second waits for the first one's
        with _lock:
            if mark is not None and (source := _opened.get(mark)) is not None:
                _opened.move_to_end(mark)
                return source
        reading = readers.open_file(path)
        title, time_key = (known.title, known.time_key) if known else (path.name, "")
        source = Source(key if known else str(path), title, reading.adata, reading.notes, time_key)
        if mark is not None:
            with _lock:
                _opened[mark] = source
                while len(_opened) > KEPT:
                    _opened.popitem(last=False)
        return source


def _mark(path: Path) -> tuple | None:
    """By what an unchanged file is known; None for folders, whose files change unseen, and for what is not there."""
    if not path.is_file():
        return None
    about = path.stat()
    return str(path), about.st_mtime_ns, about.st_size


def permitted(path: str) -> Path:
    """The real path of what the user names, if the app may open it.

    Where ``CELLSTREAM_ROOT`` is set, only what really lies in that folder may be opened, whatever links say.
    """
    if not path.strip():
        raise UserError("No path was given: type the path of a file or a folder on this machine.")
    if "://" in path:
        raise UserError(f"'{path}' is a web address: download the file first and give its path.")
    try:
        real = Path(path.strip().strip("'\"")).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"'{path}' is not a path that can be opened: {error}.") from None
    if (root := os.environ.get("CELLSTREAM_ROOT")) and not real.is_relative_to(Path(root).expanduser().resolve()):
        raise UserError(f"This app opens files in {root} only, and '{real}' is not there.")
    return real


def completions(typed: str) -> list[str]:
    """Paths that begin with what is typed: folders, and files that can be read."""
    typed = typed.strip()
    if not typed:
        return []
    folder, start = os.path.split(os.path.expanduser(typed))
    suffixes = (*(suffix for form in readers.FORMATS for suffix in form.suffixes), bundle.SUFFIX)
    found = []
    try:
        with os.scandir(permitted(folder or ".")) as entries:
            for entry in entries:
                if not entry.name.startswith(start) or (entry.name.startswith(".") and not start.startswith(".")):
                    continue
                if entry.is_dir():
                    found.append(os.path.join(folder, entry.name) + os.sep)
                elif entry.name.lower().endswith(suffixes):
                    found.append(os.path.join(folder, entry.name))
                if len(found) == LISTED:
                    break
    except (OSError, UserError):
        return []
    return sorted(found)


def sweep(folder: Path | None = None) -> None:
    """Remove parts of uploads that nobody has added to for a day: of a browser or a server that has ended."""
    for part in (folder or runs.home() / "uploads").glob(f".*{PART}"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > FORGOTTEN:
                part.unlink()


class Spool:
    """An upload on its way to disk, chunk by chunk, so that it never lies in memory as a whole."""

    def __init__(self, name: str, folder: Path | None = None, limit: int = LARGEST_UPLOAD):
        folder = folder or runs.home() / "uploads"
        folder.mkdir(parents=True, exist_ok=True)
        # the name is a stranger's text: no folders, no dot at the start, no odd characters, not endless
        safe = re.sub(r"[^\w.+-]+", "-", Path(name.replace("\\", "/")).name).lstrip(".-")[-120:] or "upload"
        self.limit, self.size, n = limit, 0, 1
        self.path = folder / safe
        while self.path.exists() or not self._begun():
            n += 1
            self.path = folder / f"{n}-{safe}"

    def _begun(self) -> bool:
        """Begin the file of the parts; not where another upload of the name is under way."""
        self.partial = self.path.with_name(f".{self.path.name}{PART}")
        with contextlib.suppress(FileExistsError), open(self.partial, "xb"):
            return True
        return False

    def add(self, chunk: bytes) -> None:
        """Append a chunk; refuses to grow over the limit, whatever the browser promised."""
        self.size += len(chunk)
        if self.size > self.limit:
            self.discard()
            raise UserError(
                f"The upload is larger than {self.limit / 1e9:g} GB: copy the file to this machine and open its path."
            )
        with open(self.partial, "ab") as file:
            file.write(chunk)

    def finish(self) -> Path:
        """The upload is whole; where it lies."""
        os.replace(self.partial, self.path)
        return self.path

    def discard(self) -> None:
        """Forget the upload."""
        self.partial.unlink(missing_ok=True)

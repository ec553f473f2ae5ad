"""What is in a run's folder, on its way into a bundle and out of one: without the paths of the machine that it leaves,
and, where it arrives, only what is known to be harmless. A stranger's arrays are measured before they are loaded.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open

from cellstream import datasets, events, memory
from cellstream.bundle.archive import ANOTHER, safe_name
from cellstream.bundle.manifest import LONGEST
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.events import Cancelled, Event, Failed, Finished, Lost, Stage
from cellstream.fixes import ordered
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream

MARK = "bundle"
"""Where the recipe of a run from a bundle says which bundle's it is."""
LOCAL = ("out", "takes_turns", "result", MARK)
"""What a recipe says that is true of this machine alone."""
MEANT = ("time_key", "input", "time_map", "unit", "method", "preset", "fixes", "made")
"""What a recipe says in words that are no places, whatever they look like."""
MOST_ARRAYS = 20


# --- on the way in --------------------------------------------------------------------------------------------------


def portable(recipe: Mapping[str, Any], places: Iterable[Path] = ()) -> dict[str, Any]:
    """A recipe that names files and no places."""
    without = without_places(places)
    found = {
        key: value if key in MEANT else _each_text(value, without) for key, value in recipe.items() if key not in LOCAL
    }
    if source := recipe.get("source"):
        found["source"] = source if source in datasets.DATASETS else safe_name(str(source))
    return found


def without_places(places: Iterable[Path] = ()) -> Callable[[str], str]:
    """A function that leaves of each path in a text the last name. ``places`` are looked for first, since where a path
    with spaces ends cannot be told."""
    known = sorted({str(place) for place in places if len(place.parts) > 2}, key=len, reverse=True)

    def clean(text: str) -> str:
        for place in known:
            text = re.sub(rf"(?<!\w){re.escape(place)}(?!\w)[\\/]?", "", text)
        text = re.sub(r"(['\"])(?:[A-Za-z]:)?[\\/][^'\"\n]*[\\/]([^'\"\n\\/]*)\1", r"\1\2\1", text)
        return re.sub(r"(?<![\w.:/\\])(?:[A-Za-z]:|~)?[\\/](?:[^\s'\"\\/:]+[\\/])+", "", text)

    return clean


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _each_text(part, change) for key, part in value.items()}
    return [_each_text(part, change) for part in value] if isinstance(value, list | tuple) else value


def told(path: Path, clean: Callable[[str], str]) -> tuple[bytes, Event | None]:
    """The lines of an events.jsonl that can be read, without places, and the last event; a run that says nothing of its
    end has been stopped."""
    lines: list[str] = []
    last: Event | None = None
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                try:
                    event = believed_event(line)
                except ValueError:
                    continue  # half a line is left by a worker that was killed while writing it
                last = event
                if isinstance(event, Failed | Lost | Finished | Stage):
                    said = {
                        item.name: _each_text(getattr(event, item.name), clean) for item in dataclasses.fields(event)
                    }
                    event = type(event)(**(said | ({"detail": ""} if isinstance(event, Failed) else {})))
                    lines.append(events.to_line(event))
                else:
                    lines.append(line.decode().rstrip("\r\n"))
    if not isinstance(last, Finished | Cancelled | Failed):
        last = Cancelled(getattr(last, "step", 0), 0.0)
        lines.append(events.to_line(last))
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"), last


# --- on the way out -------------------------------------------------------------------------------------------------


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 10_000


def _moment(value: Any) -> bool:
    return _text(value) and datetime.fromisoformat(value) is not None


def _numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_number, value.values()))


def _or_none(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or test(value)


_RECIPE: dict[str, Callable[[Any], bool]] = dict(
    name=_text, made=_moment, source=_or_none(_text), title=_text, time_key=_text, input=_text, unit=_text,
    method=_text,
    preset=_or_none(_text), time_map=_or_none(lambda v: _numbers(v) and all(map(math.isfinite, v.values()))),
    masses=_or_none(lambda v: isinstance(v, list) and all(_number(m) and 0 < m < math.inf for m in v)),
    real_times=lambda v: isinstance(v, bool), quick=lambda v: isinstance(v, bool), embedding=_text,
    some_cells=lambda v: isinstance(v, bool) or _integer(v),
    fixes=lambda v: isinstance(v, list) and ordered(v) is not None,
    preprocess=_or_none(lambda v: isinstance(v, dict) and Config.from_dict({"preprocess": v}) is not None),
    versions=_or_none(lambda v: isinstance(v, dict) and all(map(_text, v.values()))),
)  # fmt: skip
"""What a recipe may say, and how it is told from something else; what else it says is of a later version."""
_FIELDS: dict[str, Callable[[Any], bool]] = {
    "int": _integer, "float": _number, "float | None": _or_none(_number), "str": _text,
    "bool": lambda v: isinstance(v, bool), "dict[str, float]": _numbers, "dict": lambda v: isinstance(v, dict),
}  # fmt: skip


def believed(text: bytes) -> dict[str, Any]:
    """A stranger's recipe. Raises ``ValueError`` where it is none."""
    found = json.loads(text)
    if not isinstance(found, dict) or not {"name", "made"} <= set(found):
        raise ValueError("no recipe")
    known = {key: value for key, value in found.items() if key in _RECIPE}
    for key, value in known.items():
        if not _RECIPE[key](value):
            raise ValueError(key)
    known["name"] = known["name"][:LONGEST]
    if source := known.get("source"):
        known["source"] = source if source in datasets.DATASETS else safe_name(source)
    return known


def believed_event(line: bytes) -> Event:
    """An event in a stranger's line. Raises ``ValueError`` where there is none."""
    try:
        event = events.from_line(line.decode())
    except (KeyError, TypeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError("no event") from error
    for item in dataclasses.fields(event):
        if not _FIELDS[str(item.type)](getattr(event, item.name)):
            raise ValueError(item.name)
    return event


def require_sound(folder: Path, where: str) -> None:
    """What was unpacked must be a run: settings, a recipe, events and measures that can be read, and a model of just
    these cells. Raises :class:`UserError`; ``where`` names the bundle in it."""
    try:
        Config.from_dict(json.loads((folder / "config.json").read_bytes()))
        believed((folder / "recipe.json").read_bytes())
        measured = folder / "metrics.json"
        if measured.exists() and not isinstance(json.loads(measured.read_bytes()), dict):
            raise ValueError("no metrics")
        if (folder / "events.jsonl").exists():
            with (folder / "events.jsonl").open("rb") as file:
                for line in file:
                    believed_event(line)
        for path in sorted(folder.glob("*.np[yz]")):
            _require_arrays(path)
        memory.require((folder / "data.npz").stat().st_size * 2, "The run in it", "close other programs")
        _require_pair(Snapshots.load(folder / "data.npz"), folder / "model.safetensors")
    except MemoryError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError, EOFError, zipfile.BadZipFile, SafetensorError) as error:
        if isinstance(error, UserError) and str(error).startswith("The run in it needs"):
            raise
        raise UserError(
            f"What '{where}' holds is no run that can be shown ({_cause(error)}), so nothing of it is kept: {ANOTHER}."
        ) from error


def _cause(error: Exception) -> str:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return "".join(letter for letter in said if letter.isprintable())[:120].rstrip(".")


def _require_arrays(path: Path) -> None:
    """Arrays as numpy saves them, none of which says that it is larger than it is."""
    if path.suffix == ".npy":
        with path.open("rb") as file:
            _require_array(file, path.stat().st_size)
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len(entries) > MOST_ARRAYS or sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise ValueError(f"{path.name} unpacks to more than it holds")
        for entry in entries:
            with archive.open(entry) as file:
                _require_array(cast(BufferedIOBase, file), entry.file_size)


def _require_array(file: BufferedIOBase, size: int) -> None:
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in read:
        raise ValueError("an array of a kind that is not written here")
    shape, _, dtype = read[version](file)
    if dtype.hasobject or dtype.kind not in "biufSU" or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise ValueError("an array that is not what it says")


def _require_pair(s: Snapshots, model: Path) -> None:
    """A model of just these cells."""
    n, points = len(s.index), len(s.times)
    words = (*s.labels, *s.features, *s.report, s.unit, s.fingerprint, *(s.genes.names if s.genes else ()))
    sound = (
        all(map(_text, words)) and isinstance(s.even, bool) and s.x.ndim == 2 and s.x.is_floating_point()
        and s.index.shape == (len(s.x),) and s.times.shape == s.mass.shape == (points,) and len(s.labels) == points
        and not s.index.is_floating_point() and int(s.index.min()) >= 0 and int(s.index.max()) < points
        and bool(s.x.isfinite().all() and s.times.isfinite().all() and s.mass.isfinite().all())
        and (s.rows is None or (len(s.rows) == n and min(s.rows) >= 0))
    )  # fmt: skip
    if not sound:
        raise ValueError("its cells do not fit together")
    with safe_open(model, framework="pt") as file:
        header = json.loads((file.metadata() or {}).get("cellstream", "{}"))
    # asked before networks of that size are made
    if header.get("n_features") != s.x.shape[1]:
        raise ValueError("its model is of other features than its cells")
    stream = CellStream.load(model)
    clock = stream.clock
    if len(clock.times) != points or not np.allclose((clock.times, clock.tau), (s.times.tolist(), s.tau.tolist())):
        raise ValueError("its model is of other times than its cells")
    if not all(map(_text, (*clock.labels, clock.unit, *stream.features, stream.method))):
        raise ValueError("its model has names that are none")
    z = stream.encode(s.x[:64].numpy(), s.times[s.index[:64]].numpy())
    if z.shape != (min(n, 64), stream.latent_dim) or not np.isfinite(z).all():
        raise ValueError("its model gives no places to its cells")

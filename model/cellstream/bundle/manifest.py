"""manifest.json: what a bundle says of itself."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from cellstream.errors import UserError

NAME = "manifest.json"
KIND = "CellStream bundle"
FORMAT = 1
"""A bundle of a higher one is of a later version, and is not opened."""
LONGEST = 200
"""Letters of a name."""


@dataclass(frozen=True)
class Part:
    """A file of the bundle."""

    what: str
    """In words."""
    bytes: int
    sha256: str


@dataclass(frozen=True)
class DataFile:
    """The file that the cells came from."""

    name: str
    """Of the file, or of a named data set."""
    time_key: str = ""
    bytes: int | None = None
    """None where the file was not there when the bundle was written."""
    sha256: str = ""
    held: str = ""
    """Where it is in the bundle; nothing where it is not."""


@dataclass(frozen=True)
class Manifest:
    """All but the files themselves."""

    name: str
    """Of the run."""
    made: str
    """When the bundle was written, ISO 8601."""
    cellstream: str
    """Version that has written it."""
    files: Mapping[str, Part]
    """By their names in the bundle; all of them but this one."""
    summary: Mapping[str, Any]
    """The run in a few values, for people."""
    data: DataFile | None = None
    view: Mapping[str, Any] | None = None
    """What was on the screen, as plain JSON values; only the app knows what they mean."""

    @property
    def mark(self) -> str:
        """A word by which the same run is known again, whatever was on the screen and beside it."""
        same = {name: part.sha256 for name, part in self.files.items() if name.startswith(("run/", "data/"))}
        said = json.dumps([self.name, sorted(same.items())])
        return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all files, unpacked."""
        return sum(part.bytes for part in self.files.values())

    def to_json(self) -> str:
        """The text of the file. Raises :class:`ValueError` where the view is not plain."""
        said = {"kind": KIND, "format": FORMAT, **asdict(self)}
        return json.dumps(said, indent=1, ensure_ascii=True, allow_nan=False, sort_keys=False)

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> Manifest:
        """From what :meth:`to_json` gave, or from anything else, which is refused by a :class:`UserError`; ``where``
        names the bundle in it."""
        try:
            found = json.loads(text, parse_constant=_no_number)
            if not isinstance(found, dict) or found.get("kind") != KIND:
                raise UserError(f"'{where}' is not a bundle of CellStream: its {NAME} is of something else.")
            version = found.get("format")
            if not isinstance(version, int) or isinstance(version, bool) or version < 1:
                raise ValueError("no format")
            if version > FORMAT:
                raise UserError(
                    f"'{where}' is a bundle of format {version}, and this version of CellStream reads format {FORMAT}: "
                    "update CellStream to open it."
                )
            return cls(
                name=_text(found["name"]),
                made=_text(found["made"]),
                cellstream=_text(found["cellstream"]),
                files={_text(name): _part(part) for name, part in _mapping(found["files"]).items()},
                summary=_mapping(found.get("summary", {})),
                data=None if found.get("data") is None else _data(found["data"]),
                view=None if found.get("view") is None else _mapping(found["view"]),
            )
        except UserError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(
                f"The {NAME} of '{where}' is damaged, so nothing of the bundle is opened: ask for another copy of it."
            ) from error


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError("no size")
    return value


def _text(value: Any) -> str:
    """A line of text; half letters, which no file can be written with, are none."""
    if not isinstance(value, str) or len(value) > LONGEST or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError("no text")
    return value


def _hash(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("no SHA-256")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no names and values")
    return value


def _part(value: Any) -> Part:
    found = _mapping(value)
    return Part(_text(found["what"]), _size(found["bytes"]), _hash(found["sha256"]))


def _data(value: Any) -> DataFile:
    found = _mapping(value)
    known = found.get("bytes") is not None
    name = _text(found["name"])
    if (name and re.split(r"[\\/]", name)[-1] != name) or name in (".", ".."):
        raise ValueError("a name that leads elsewhere")
    return DataFile(
        name,
        _text(found.get("time_key", "")),
        _size(found["bytes"]) if known else None,
        _hash(found["sha256"]) if known else "",
        _text(found.get("held", "")),
    )

"""The zip of a bundle. To read one is to read a stranger's file: what each entry is called, how large it is and what it
is are settled before a byte is unpacked, and no more is unpacked than was declared.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from cellstream.bundle.manifest import NAME, Manifest, Part
from cellstream.errors import UserError

SUFFIX = ".cellstream.zip"
README = "README.txt"
MOST_ENTRIES = 500
LARGEST_READ = 1 << 20
"""Bytes that are read at once, so also of the archive's own list of entries: a few thousand."""
RATIO, RATIO_FROM = 200, 10_000_000
"""Bytes that a byte of the archive may unpack to, in an entry of so many bytes or more."""
MB, GB = 1_000_000, 1_000_000_000
RUN_FILES: dict[str, tuple[str, int]] = {
    "config.json": ("settings", MB),
    "recipe.json": ("where the cells came from and how they were read", 10 * MB),
    "data.npz": ("the cells as they were read", 20 * GB),
    "model.safetensors": ("the model", 20 * GB),
    "events.jsonl": ("what happened while it trained, an event a line", 500 * MB),
    "metrics.json": ("what the result is worth", 50 * MB),
    "preview.npz": ("the last picture", 100 * MB),
    "embedding.npy": ("the embedding that the dynamics were fitted on", 20 * GB),
}
"""Files of a run's folder that a bundle holds, what each is, and its bytes at most."""
NEEDED = ("config.json", "recipe.json", "data.npz", "model.safetensors")
WORDS = {
    "methods.txt": "the Methods paragraph",
    "references.bib": "the papers that it cites",
    "again.py": "a Python script that makes the result again",
}
FIGURES = ("png", "jpg", "jpeg", "tif", "tiff", "pdf", "svg", "eps", "gif", "mp4", "webm", "html", "csv", "txt")
"""Endings of figures and of the numbers behind them."""
_STEM = r"[\w+][\w.+\- ()]{0,120}"
_PLACES = {
    re.escape(NAME): 50 * MB,
    re.escape(README): MB,
    **{re.escape(f"run/{name}"): most for name, (_, most) in RUN_FILES.items()},
    **{re.escape(f"words/{name}"): 10 * MB for name in WORDS},
    rf"figures/{_STEM}\.(?:{'|'.join(FIGURES)})": GB,
    rf"data/{_STEM}(?<![. ])": 20 * GB,
}
"""Every name that an entry may have, as a pattern, and its bytes at most."""
ANOTHER = "ask for another copy of it"
BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OverflowError, NotImplementedError, ValueError)
"""What reading a damaged archive may raise."""


def is_bundle(path: Path | str) -> bool:
    """Whether a file is a bundle by its name, or by what is in it; reads next to nothing."""
    path = Path(path)
    if path.name.lower().endswith(SUFFIX):
        return path.is_file()
    try:
        with _zip(path) as archive:
            return {NAME, "run/config.json"} <= set(archive.namelist())
    except (*BROKEN, OSError):
        return False


class _Guarded(io.BufferedReader):
    """A file that is not read in large pieces: an archive says itself how long its list of entries is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > LARGEST_READ:
            raise UserError("it has too long a list of entries")
        return super().read(size)


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    with _Guarded(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        yield archive


@contextmanager
def opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """A bundle whose entries are those of its manifest, with allowed names and sizes. Their contents are not looked at
    yet. Whatever is wrong, then or while the block reads it, is a :class:`UserError`."""
    name = shown(path.name)
    try:
        with _zip(path) as archive:
            entries = _entries(archive, name)
            manifest = Manifest.from_json(_small(archive, entries[NAME], name), name)
            _require_listed(entries, manifest, name)
            yield archive, manifest
    except UserError as error:
        if str(error).startswith("it has"):
            raise UserError(f"'{name}' is not a bundle of CellStream, since {error}.") from error
        raise
    except FileNotFoundError as error:
        if error.filename in (None, str(path), path):
            raise UserError(f"There is no file {path}: check the path.") from error
        raise
    except IsADirectoryError as error:
        raise UserError(f"Expected a bundle ({SUFFIX}), but {path} is a folder.") from error
    except (*BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which a place before the file's beginning is
            raise
        if zipfile.is_zipfile(path) or _begins_as_zip(path):
            raise UserError(f"'{name}' is cut short or damaged: copy or download it again.") from error
        raise UserError(
            f"'{name}' is not a bundle of CellStream, which is a zip archive, but something else."
        ) from error


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _entries(archive: zipfile.ZipFile, where: str) -> dict[str, zipfile.ZipInfo]:
    """The entries by their names, once each of them is one that a bundle may have."""
    found: dict[str, zipfile.ZipInfo] = {}
    alike: set[str] = set()
    listed = archive.infolist()
    if NAME not in archive.namelist():
        raise UserError(f"'{where}' is a zip archive but not a bundle of CellStream: it has no {NAME}.")
    if len(listed) > MOST_ENTRIES:
        raise UserError(f"'{where}' has {len(listed):,} entries, and a bundle at most {MOST_ENTRIES}: {ANOTHER}.")
    for entry in listed:
        name = entry.orig_filename
        most = next((most for pattern, most in _PLACES.items() if re.fullmatch(pattern, name)), None)
        if most is None or name != entry.filename:
            raise UserError(f"'{where}' holds '{shown(name)}', which is no name of a file in a bundle: {ANOTHER}.")
        key = unicodedata.normalize("NFKC", name).casefold()  # where they would be the same file on some machine
        if key in alike:
            raise UserError(f"'{where}' holds '{shown(name)}' more than once: {ANOTHER}.")
        if entry.flag_bits & 0x41:
            raise UserError(f"'{where}' is locked with a password: ask for a copy without one.")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise UserError(f"'{where}' holds '{shown(name)}' as a link and not as a file: {ANOTHER}.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UserError(f"'{where}' is packed in a way that no bundle is: {ANOTHER}.")
        bomb = entry.file_size > RATIO_FROM and entry.file_size > RATIO * entry.compress_size
        if (
            bomb
            or entry.file_size > most
            or (entry.compress_type == zipfile.ZIP_STORED) > (entry.compress_size == entry.file_size)
        ):
            raise UserError(f"'{shown(name)}' in '{where}' would unpack to more than it can hold: {ANOTHER}.")
        alike.add(key)
        found[name] = entry
    return found


def _require_listed(entries: Mapping[str, zipfile.ZipInfo], manifest: Manifest, where: str) -> None:
    wanted, there = set(manifest.files), set(entries) - {NAME}
    if missing := sorted((wanted | {f"run/{name}" for name in NEEDED}) - there):
        raise UserError(f"'{where}' lacks '{shown(missing[0])}', which belongs to it: {ANOTHER}.")
    if more := sorted(there - wanted):
        raise UserError(f"'{where}' holds '{shown(more[0])}', of which its {NAME} does not tell: {ANOTHER}.")
    for name, part in manifest.files.items():
        if part.bytes != entries[name].file_size:
            raise _altered(name, where)
    held = manifest.data.held if manifest.data else ""
    if [name for name in there if name.startswith("data/")] != ([held] if held else []):
        raise UserError(f"'{where}' holds another file with cells than its {NAME} says: {ANOTHER}.")


def _small(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str) -> bytes:
    """An entry whose size has been found to be allowed, in memory."""
    out = io.BytesIO()
    _copy(archive, entry, out, where)
    return out.getvalue()


def extract(archive: zipfile.ZipFile, name: str, part: Part, to: Path, where: str) -> None:
    """Unpack an entry to a file that is not there yet. Raises :class:`UserError` where it is not what the manifest
    says."""
    with open(to, "xb") as out:
        digest = _copy(archive, archive.getinfo(name), out, where)
    if digest != part.sha256:
        raise _altered(name, where)


def _altered(name: str, where: str) -> UserError:
    return UserError(f"'{shown(name)}' in '{where}' was changed since the bundle was written: {ANOTHER}.")


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, out: BufferedIOBase, where: str) -> str:
    """The SHA-256 of an entry that was copied; of its declared size at most."""
    digest, left = hashlib.sha256(), entry.file_size
    with archive.open(entry) as file:
        while chunk := file.read(LARGEST_READ // 2):
            left -= len(chunk)
            if left < 0:
                raise UserError(f"'{shown(entry.filename)}' in '{where}' is larger than it says: {ANOTHER}.")
            digest.update(chunk)
            out.write(chunk)
    if left:
        raise UserError(f"'{shown(entry.filename)}' in '{where}' is smaller than it says: {ANOTHER}.")
    return digest.hexdigest()


# --- writing --------------------------------------------------------------------------------------------------------


def add(archive: zipfile.ZipFile, name: str, content: bytes | Path) -> str:
    """Write an entry, the same for the same content at any time; its SHA-256."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
    entry.compress_type = _method(content)
    entry.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size
    digest = hashlib.sha256()
    with _reader(content) as file, archive.open(entry, "w") as out:
        while chunk := file.read(LARGEST_READ):
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()


def _method(content: bytes | Path) -> int:
    """Deflated where that makes it smaller; not where it would make so little of it that it looked like a bomb."""
    with _reader(content) as file:
        size = file.seek(0, os.SEEK_END)
        raw = packed = 0
        for share in (0.0, 0.35, 0.7):
            file.seek(int(share * size))
            sample = file.read(300_000)
            raw, packed = raw + len(sample), packed + len(zlib.compress(sample, 1))
    fits = 1.05 < raw / max(packed, 1) < RATIO / 2 or size < RATIO_FROM
    return zipfile.ZIP_DEFLATED if fits and raw > packed else zipfile.ZIP_STORED


def sha256_of(content: bytes | Path) -> tuple[int, str]:
    """Bytes and SHA-256."""
    digest, size = hashlib.sha256(), 0
    with _reader(content) as file:
        while chunk := file.read(LARGEST_READ):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def _reader(content: bytes | Path) -> BufferedIOBase:
    return io.BytesIO(content) if isinstance(content, bytes) else open(content, "rb")


# --- names ----------------------------------------------------------------------------------------------------------


def safe_name(name: str, default: str = "file") -> str:
    """The last part of a path as a name that every machine can have, and that an entry may have."""
    last = re.split(r"[\\/]", name.rstrip("\\/"))[-1]
    stem, dot, ending = unicodedata.normalize("NFC", last).rpartition(".")
    clean = [re.sub(r"[^\w.+\- ()]+", "-", part).lstrip(".- ()").rstrip(" ") for part in (stem, ending)]
    found = f"{clean[0][:100] or default}{dot}{clean[1][:20]}" if dot else f"{clean[1][:120] or default}"
    if re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", found, re.IGNORECASE):  # Windows takes them for devices
        found = f"{default}-{found}"
    return found.rstrip(". ") or default


def shown(name: str) -> str:
    """A stranger's name in a sentence: printable, not endless."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in name)
    return clean if len(clean) <= 80 else f"{clean[:79]}…"

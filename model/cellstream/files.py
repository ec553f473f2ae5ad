"""Places to write to, looked at before the work; and files that are whole or not there.

A file is written beside its place, flushed to disk, then moved into it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from cellstream.errors import UserError


def path_of(words: Path | str) -> Path:
    """The absolute path that a person names, ``~`` and links followed; a :class:`UserError` where it can be none."""
    try:
        return Path(words).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"'{words}' is not a path that can be used ({str(error).rstrip('.')}): give another one."
        ) from error


AGAIN = "choose another name, or add --overwrite to replace it"


def new_file(out: str, overwrite: bool, suffix: str = ".h5ad", again: str = AGAIN) -> Path:
    """A place for a file that can be written to, looked at before the work instead of after it; ``again`` says what to
    do where there is one already."""
    path = path_of(out)
    if path.suffix != suffix:
        raise UserError(f"Expected a name that ends in {suffix} to write to, but got {out!r}.")
    if path.is_dir() or not path.parent.is_dir():
        raise UserError(f"Expected a file in a folder that exists to write to, but got {out!r}.")
    if path.exists() and not overwrite:
        raise UserError(f"{out} exists already: {again}.")
    return _tried(path, beside(path), Path.touch)


def new_folder(out: str, overwrite: bool, holds: Callable[[Path], bool], what: str, again: str = AGAIN) -> Path:
    """A place for a folder that is written whole, looked at before the work.

    A folder that is there must be empty, or hold ``what`` (``holds`` says so) and ``overwrite`` be asked for: of
    anything else nothing is removed.
    """
    path = path_of(out)
    if not path.parent.is_dir() or (path.exists() and not path.is_dir()):
        raise UserError(f"Expected the name of a folder, in one that exists, to write to, but got {out!r}.")
    if path.exists() and any(path.iterdir()):
        if not holds(path):
            raise UserError(
                f"{out} holds files that are not {what}, and nothing of them is removed: name another folder."
            )
        if not overwrite:
            raise UserError(f"{out} exists already: {again}.")
    return _tried(path, beside_folder(path), Path.mkdir)


def _tried(path: Path, place: AbstractContextManager[Path], make: Callable[[Path], None]) -> Path:
    """The path, once something could be made beside it: rights say nothing of a medium that is read-only, or of a name
    that is too long."""
    try:
        with place as temporary:
            make(temporary)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another place.") from error
    return path


def require_vacant(folder: Path | str) -> Path:
    """The path of a folder for a new run, which must not be there yet or be empty; else a :class:`UserError`."""
    folder = path_of(folder)
    if any("\ud800" <= letter <= "\udfff" for letter in str(folder)):
        # safetensors opens no such path, and would say so after the training
        raise UserError(f"Expected a folder for the run whose path is Unicode, but {folder} is not. Name another one.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"Expected a folder for the run, but {folder} is a file. Name another one.")
    if (folder / "config.json").exists():
        raise UserError(
            f"There is a run in {folder} already: continue it with '{resuming(folder)}', or name another folder."
        )
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"Expected a new or empty folder for the run, but {folder} holds files. Name another one.")
    return folder


def resuming(folder: Path | str | None) -> str:
    """The command that goes on with the run in a folder, whatever is in the folder's name."""
    return f"cellstream resume {shlex.quote(str(folder))}"


def size_in_words(n: float) -> str:
    """Bytes for people: 1.6 GB, 48.0 MB."""
    return f"{n / 1e9:,.1f} GB" if n >= 1e8 else f"{n / 1e6:,.1f} MB"


def require_disk(folder: Path, needed: float, what: str) -> None:
    """Refuse, before the work, to write ``what`` takes more than the ``needed`` bytes that are free in ``folder``."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return  # a file system that does not say; the writing will
    if needed > free:
        raise UserError(
            f"{what} needs {size_in_words(needed)} of disk but {size_in_words(free)} are free in {folder}: make room "
            "there, or choose another place."
        )


@contextmanager
def beside(path: Path | str) -> Iterator[Path]:
    """A temporary path in the folder of ``path``, gone when the block ends."""
    path = Path(path)
    # the suffix stays: numpy and anndata choose or add one by it
    temporary = path.with_name(f".{path.stem}-{os.getpid()}-{threading.get_native_id()}{path.suffix}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole(path: Path | str) -> Iterator[Path]:
    """A temporary path in the same folder that becomes ``path`` when the block ends without an error.

    >>> with whole("result.json") as temporary:
    ...     temporary.write_text("{}")
    """
    with beside(path) as temporary:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


@contextmanager
def beside_folder(path: Path) -> Iterator[Path]:
    """Like :func:`beside`, of a folder."""
    temporary = path.with_name(f".{path.stem}-{os.getpid()}-{threading.get_native_id()}{path.suffix}")
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Like :func:`whole`, of a folder that the block makes; one that is there is put aside first, and then removed."""
    with beside_folder(path) as temporary:
        yield temporary
        aside = path.with_name(f".{path.stem}-{os.getpid()}-{threading.get_native_id()}-before{path.suffix}")
        if path.exists():
            os.replace(path, aside)
        try:
            os.replace(temporary, path)
        except OSError:
            if aside.exists():
                os.replace(aside, path)
            raise
        shutil.rmtree(aside, ignore_errors=True)

"""A bundle becomes a run: in a new folder, whole or not at all, and only where all in it is what its manifest says."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cellstream import runs
from cellstream.bundle.archive import extract, opened, sha256_of, shown
from cellstream.bundle.contents import MARK, believed, require_sound
from cellstream.bundle.manifest import Manifest
from cellstream.errors import UserError
from cellstream.files import path_of, require_disk, require_vacant, whole, whole_folder
from cellstream.runs import Run

KEPT_AS = "bundle.json"
"""The manifest, in the folder of the run."""
_opening = threading.Lock()
"""One at a time: of two who open the same bundle at once, the second is given the first one's run."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle."""

    run: Run
    manifest: Manifest
    new: bool
    """Whether the run was made now, and not when the same bundle was opened before."""

    @property
    def figures(self) -> list[Path]:
        """The figures, as files."""
        return sorted((self.run.folder / "figures").glob("*"))


def look(path: Path | str) -> Manifest:
    """What a bundle says of itself; nothing is unpacked. Raises :class:`UserError` where it is none."""
    with opened(path_of(path)) as (_, manifest):
        return manifest


def unpack(path: Path | str, root: Path | None = None) -> Bundle:
    """The run of a bundle in a new folder of ``root``, by default beside the user's own runs; the one made before where
    the same bundle was opened before and its run is still what it was. Takes a while.

    Where the file with the cells is not inside, but lies as it was beside the bundle, or where another of the user's
    runs has it from, the run finds it there.

    Raises:
        UserError: it is no bundle, it was changed, it is of a later version, or there is no room for it.
    """
    path, root = path_of(path), root or runs.home() / "runs"
    with _opening, _explained(path, root), opened(path) as (archive, manifest):
        if (known := _opened_before(manifest, root)) is not None:
            _find_data(known, manifest, path)
            return Bundle(known, manifest, new=False)
        _require_room(root, manifest)
        folder = runs.new_folder(_stem(path), root)
        try:
            run = _unpacked(archive, manifest, path, folder)
        except BaseException:
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise
        return Bundle(run, manifest, new=True)


def unpack_into(path: Path | str, folder: Path | str) -> Bundle:
    """All files of a bundle in a folder that is new or empty, which is then a run's. Raises :class:`UserError` as
    :func:`unpack` does."""
    path, folder = path_of(path), require_vacant(folder)
    if not folder.parent.is_dir():
        raise UserError(f"Expected the name of a new folder, in one that exists, but got '{folder}'.")
    with _explained(path, folder.parent), opened(path) as (archive, manifest):
        _require_room(folder.parent, manifest)
        return Bundle(_unpacked(archive, manifest, path, folder), manifest, new=True)


def _unpacked(archive: zipfile.ZipFile, manifest: Manifest, path: Path, folder: Path) -> Run:
    where = shown(path.name)
    with whole_folder(folder) as temporary:
        temporary.mkdir()
        for name, part in manifest.files.items():
            to = temporary / name.removeprefix("run/")
            to.parent.mkdir(exist_ok=True)
            extract(archive, name, part, to, where)
        require_sound(temporary, where)
        recipe = {**believed((temporary / "recipe.json").read_bytes()), MARK: manifest.mark}
        if source := _data_at(manifest, path, folder):
            recipe["source"] = source
        (temporary / "recipe.json").write_text(json.dumps(recipe, indent=2))
        (temporary / KEPT_AS).write_text(manifest.to_json())
        # a folder is a run by this file, which comes when all is in its place
        os.replace(temporary / "config.json", temporary / ".config.json")
    os.replace(folder / ".config.json", folder / "config.json")
    return Run(folder)


def _data_at(manifest: Manifest, path: Path, folder: Path) -> str:
    """Where the file with the cells is: inside, or as it was beside the bundle or where another run has it from;
    nothing where it is neither."""
    data = manifest.data
    if data is None:
        return ""
    if data.held:
        return str(folder / data.held)
    if data.bytes is None:
        return ""
    sources = [Path(str(run.recipe.get("source") or "")) for run in runs.all_runs(folder.parent)]
    known = (source for source in sources if source.is_absolute() and source.name == data.name)
    for place in dict.fromkeys([path.parent / data.name, *known]):
        with contextlib.suppress(OSError):
            if place.is_file() and place.stat().st_size == data.bytes and sha256_of(place) == (data.bytes, data.sha256):
                return str(place)
    return ""


def _opened_before(manifest: Manifest, root: Path) -> Run | None:
    model = manifest.files["run/model.safetensors"]
    for run in runs.all_runs(root):
        kept = run.folder / "model.safetensors"
        if run.recipe.get(MARK) != manifest.mark or not kept.is_file():
            continue
        # one that was trained on since is another run by now
        if sha256_of(kept) == (model.bytes, model.sha256) and not run.status().live:
            return run
    return None


def _find_data(run: Run, manifest: Manifest, path: Path) -> None:
    """Where the file with the cells has come to lie beside the bundle since, tell the run."""
    if manifest.data is None or manifest.data.held or Path(str(run.recipe.get("source", ""))).is_absolute():
        return
    if source := _data_at(manifest, path, run.folder):
        recipe = {**run.recipe, "source": source}
        with whole(run.folder / "recipe.json") as temporary:
            temporary.write_text(json.dumps(recipe, indent=2))


def _require_room(folder: Path, manifest: Manifest) -> None:
    there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    require_disk(there, manifest.size * 1.01, "What is in the bundle")


@contextlib.contextmanager
def _explained(path: Path, folder: Path) -> Iterator[None]:
    """Disks that are full or cannot be written to, in words."""
    try:
        yield
    except OSError as error:
        name = shown(path.name)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"There is no room on the disk for what is in '{name}': make room in {folder}.") from error
        why = error.strerror or str(error)
        advice = f"see whether anything can be written to {folder}"
        raise UserError(f"'{name}' could not be unpacked ({why}): {advice}.") from error


def _stem(path: Path) -> str:
    return path.name.split(".")[0] or "bundle"

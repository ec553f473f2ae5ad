"""A run becomes a bundle."""

from __future__ import annotations

import errno
import json
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from cellstream import __version__, account, datasets, readers, scverse
from cellstream.bundle.archive import (
    FIGURES,
    MOST_ENTRIES,
    NEEDED,
    README,
    RUN_FILES,
    SUFFIX,
    WORDS,
    add,
    opened,
    safe_name,
    sha256_of,
)
from cellstream.bundle.contents import portable, told, without_places
from cellstream.bundle.manifest import NAME, DataFile, Manifest, Part
from cellstream.bundle.of_result import made_run, metrics_in
from cellstream.bundle.prose import one_line, read_me, said_of, summary_of
from cellstream.errors import UserError
from cellstream.files import new_file, path_of, require_disk, whole
from cellstream.fitting import located
from cellstream.runs import Run

Figure = Path | str | tuple[str, bytes]
"""A file, or a name and what is to be in it."""


def pack(
    run: Run | Path | str,
    out: Path | str,
    *,
    data: bool | Path = False,
    shown: Mapping[str, Any] | None = None,
    figures: Sequence[Figure] = (),
    overwrite: bool = False,
    made: datetime | None = None,
) -> Path:
    """Write a bundle of a run, or of the result in a file, to ``out``, whole or not at all. Takes a while.

    Parameters
    ----------
    run
        A run, its folder, or a file with a result in it.
    data
        Put the file with the cells in, as it is: the one that the run was made from, or another place of it.
    shown
        What is on the screen, as plain JSON values; see ``cellstream_app.bundling``.
    figures
        Files, or pairs of a name and bytes.
    made
        When, for who wants the same bytes again; by default now.

    Raises:
        UserError: there is no model yet, something is not there or cannot be written, or ``out`` is taken.
    """
    place = place_for(str(out), overwrite)
    if not isinstance(run, Run) and path_of(run).is_file():
        source = path_of(run)
        with tempfile.TemporaryDirectory(prefix="cellstream-") as folder:
            of_file = _run_of(source, Path(folder) / "run")
            return pack(of_file, out, data=data, shown=shown, figures=figures, overwrite=overwrite, made=made)
    run = run if isinstance(run, Run) else Run(run)
    try:
        moment = (made or datetime.now().astimezone()).isoformat(timespec="seconds")
        _write(run, place, data, shown, figures, moment)
    except FileNotFoundError as error:
        if (run.folder / "config.json").is_file():
            raise UserError(f"{error.filename} is no longer there: see what has become of it.") from error
        raise UserError(f"The run '{run.folder.name}' is no longer there: choose another one.") from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = "the disk is full" if full else error.strerror or str(error)
        advice = "make room there, or choose another place" if full else "choose another place"
        raise UserError(f"The bundle could not be written to {place} ({why}): {advice}.") from error
    return place


def place_for(out: str, overwrite: bool) -> Path:
    """A place that a bundle can be written to, looked at before the work."""
    if not out.lower().endswith(SUFFIX):
        raise UserError(f"Expected a name that ends in {SUFFIX} to write to, but got {out!r}.")
    return new_file(out, overwrite, Path(out).suffix)


def _run_of(source: Path, folder: Path) -> Run:
    adata = readers.open_file(source).adata
    stream, snapshots, recipe = scverse.read_result(adata)
    recipe = {**recipe, "source": str(source), "title": source.name}
    return made_run(folder, stream, snapshots, recipe, metrics_in(adata), source.name)


def _write(
    run: Run,
    place: Path,
    data: bool | Path,
    shown: Mapping[str, Any] | None,
    figures: Sequence[Figure],
    moment: str,
) -> None:
    _require_ready(run)
    recipe = run.recipe
    file = _data_file(run, data)
    clean = portable(recipe, _places(run, file))
    parts: dict[str, tuple[str, bytes | Path]] = {}
    events, _ = told(run.folder / "events.jsonl", without_places(_places(run, file)))
    for name in RUN_FILES:
        content: bytes | Path = run.folder / name
        if name == "recipe.json":
            content = json.dumps(clean, indent=2).encode()
        elif name == "events.jsonl":
            content = events
        elif name not in NEEDED and not (run.folder / name).exists():
            continue
        parts[f"run/{name}"] = RUN_FILES[name][0], content
    of = replace(account.of_run(run), recipe=clean)
    parts |= {f"words/{name}": (WORDS[name], text.encode()) for name, text in said_of(of, run.folder).items()}
    parts |= {f"figures/{name}": ("a figure, or numbers behind one", content) for name, content in _named(figures)}
    about, held = _about(clean, file, data is not False), None
    if about is not None and about.held and file is not None:
        held = about.held
        parts[held] = "the file with the cells", file
    parts[README] = "what this is", read_me(of, moment, about).encode()
    if len(parts) >= MOST_ENTRIES:
        raise UserError(f"A bundle holds at most {MOST_ENTRIES} files: put fewer figures in.")
    hashed = {name: Part(what, *_sized(content, about, name)) for name, (what, content) in parts.items()}
    manifest = Manifest(
        one_line(str(clean.get("name", ""))),
        moment,
        __version__,
        hashed,
        summary_of(of),
        about,
        dict(shown) if shown else None,
    )
    require_disk(place.parent, manifest.size * 0.25, "The bundle")
    try:
        text = manifest.to_json().encode()
    except (TypeError, ValueError) as error:
        raise UserError(f"Expected plain values for what is shown, but some are not ({error}).") from error
    with whole(place) as path:
        with zipfile.ZipFile(path, "w") as archive:
            add(archive, NAME, text)
            for name, (_, content) in parts.items():
                if add(archive, name, content) != hashed[name].sha256:
                    raise UserError(f"'{name}' has changed while it was put into the bundle: try again.")
        with opened(path):  # what could not be opened is not left behind
            pass


def _sized(content: bytes | Path, about: DataFile | None, name: str) -> tuple[int, str]:
    if about is not None and name == about.held and about.bytes is not None:
        return about.bytes, about.sha256
    return sha256_of(content)


def _require_ready(run: Run) -> None:
    if not (run.folder / "config.json").is_file():
        raise UserError(f"The run '{run.folder.name}' is no longer there: choose another one.")
    if run.status().live:
        raise UserError(f"The run '{run.name}' is still under way: bundle it once it has ended or was stopped.")
    if not (run.folder / "model.safetensors").is_file():
        raise UserError(f"The run '{run.name}' has no model yet: train it to its end before it is bundled.")


def _places(run: Run, file: Path | None) -> list[Path]:
    """Paths of this machine that a text may hold."""
    found = [run.folder, *run.folder.parents, Path.home(), *Path.home().parents, Path.cwd(), *Path.cwd().parents]
    named = [Path(str(run.recipe[key])) for key in ("source", "out") if run.recipe.get(key)]
    for path in (*named, *([file] if file else [])):
        if path.is_absolute():
            found += path.parents
    return found


def _data_file(run: Run, data: bool | Path) -> Path | None:
    """The file with the cells where it is there; where it is asked for it has to be, with the cells of the run."""
    source = run.recipe.get("source")
    if isinstance(data, Path):
        file: Path | None = path_of(data)
    elif not source:
        file = None
    else:
        try:
            file = located(str(source))[0] if data or source not in datasets.DATASETS else None
        except UserError:
            if data:
                raise
            file = None
    if not data:
        return file if file is not None and file.is_file() else None
    if file is None:
        raise UserError("The run does not say from which file its cells came, so the file cannot be put in.")
    if not file.exists():
        raise UserError(f"The file with the cells, {file}, is no longer there: put it back, or bundle without it.")
    form = readers.sniff(file)
    if not file.is_file() or form == "10x-mtx":
        raise UserError(f"{file} is a folder or one of several files: save it as .h5ad, or bundle without it.")
    scverse.require_same_cells(readers.open_file(file).adata, run.snapshots(), run.recipe)
    return file


def _about(recipe: Mapping[str, Any], file: Path | None, held: bool) -> DataFile | None:
    """What a manifest says of the file with the cells."""
    source = str(recipe.get("source") or "")
    name = safe_name(file.name) if file is not None else source
    if not name:
        return None
    size, digest = sha256_of(file) if file is not None else (None, "")
    named = source if source in datasets.DATASETS and not held else name
    return DataFile(named, one_line(str(recipe.get("time_key") or "")), size, digest, f"data/{name}" if held else "")


def _named(figures: Iterable[Figure]) -> list[tuple[str, bytes | Path]]:
    """Figures by names that differ on every machine."""
    found: dict[str, tuple[str, bytes | Path]] = {}
    for figure in figures:
        given, content = figure if isinstance(figure, tuple) else (path_of(figure).name, path_of(figure))
        name = safe_name(given, "figure")
        stem, _, ending = name.rpartition(".")
        if ending.lower() not in FIGURES:
            raise UserError(f"Expected a figure as one of {', '.join(FIGURES)}, but got '{given}'.")
        if isinstance(content, Path) and not content.is_file():
            raise UserError(f"There is no file {content} to put in as a figure: check the path.")
        n, name = 1, f"{stem}.{ending.lower()}"
        while name.casefold() in found:
            n += 1
            name = f"{stem}-{n}.{ending.lower()}"
        found[name.casefold()] = name, content
    return list(found.values())

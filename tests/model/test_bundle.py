"""Bundles: a run comes back from one as it was; and a stranger's file does nothing but be refused."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import pickle
import re
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellstream import bundle, events, runs, scverse
from cellstream.bundle import archive, contents, packing, unpacking
from cellstream.bundle.manifest import NAME, DataFile, Manifest, Part
from cellstream.cli import main
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.readers import open_file
from cellstream.runs import Run
from cellstream.snapshots import from_anndata
from cellstream.worker import work
from tests.conftest import TINY

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
UNHURRIED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
"""For a machine that does other things as well."""


def cells(seed: int = 0) -> anndata.AnnData:
    rng = np.random.default_rng(seed)
    which = np.repeat(np.arange(3), [30, 20, 40])
    obs = pd.DataFrame({"day": which.astype(float), "kind": np.where(np.arange(90) % 2, "a", "b")})
    return anndata.AnnData(rng.normal(size=(90, 6)).astype(np.float32) + which[:, None], obs=obs)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run in a folder of a person's name, of a file in another one."""
    place = tmp_path_factory.mktemp("Maria Curie")
    file = place / "my study" / "cells of mine.h5ad"
    file.parent.mkdir()
    cells().write_h5ad(file)
    recipe = dict(name="Mine <b>", source=str(file), title=file.name, time_key="day", out=str(place / "result.h5ad"))
    run = Run.create(place / "run", from_anndata(open_file(file).adata, "day"), Config().with_settings(**TINY), recipe)
    work(run.folder)
    assert run.status().state == "finished"
    return run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def packed(trained: Run, tmp_path: Path) -> Path:
    return bundle.pack(trained, tmp_path / "mine.cellstream.zip", data=True, shown={"page": "explore"}, made=WHEN)


def left_in(home: Path) -> list[str]:
    """All that is in the home of runs."""
    return sorted(str(path.relative_to(home)) for path in home.rglob("*"))


# there and back


def test_the_run_comes_back_bit_for_bit(trained: Run, packed: Path):
    opened = bundle.unpack(packed)
    one, other = trained.result(), opened.run.result()
    x, t = trained.snapshots().x.numpy(), trained.snapshots().times[trained.snapshots().index].numpy()
    z = one.encode(x, t)
    assert np.array_equal(other.encode(x, t), z)
    assert np.array_equal(other.velocity(z, t), one.velocity(z, t))
    assert np.array_equal(other.growth(z, t), one.growth(z, t))
    assert np.array_equal(other.push(z, 0.0, [1.0, 2.0]).z, one.push(z, 0.0, [1.0, 2.0]).z)
    assert opened.run.snapshots().digest == trained.snapshots().digest
    assert opened.run.config == trained.config
    assert opened.run.metrics() == trained.metrics()
    assert opened.run.status() == trained.status()
    assert opened.run.history.steps == trained.history.steps
    assert opened.run.name == "Mine <b>"
    assert opened.new


def test_the_file_with_the_cells_is_found_again(trained: Run, packed: Path, home: Path):
    run = bundle.unpack(packed).run
    source = Path(run.recipe["source"])
    assert source.is_relative_to(run.folder)
    assert source.read_bytes() == Path(trained.recipe["source"]).read_bytes()
    scverse.require_same_cells(open_file(source).adata, run.snapshots(), run.recipe)
    run.delete()
    assert not (home / "runs" / source.parent.parent.name).exists()


def test_a_file_that_is_not_inside_is_found_beside_the_bundle_if_it_is_the_same(trained: Run, tmp_path: Path):
    out = bundle.pack(trained, tmp_path / "mine.cellstream.zip")
    run = bundle.unpack(out).run
    assert run.recipe["source"] == "cells of mine.h5ad"
    beside = tmp_path / "cells of mine.h5ad"
    cells(1).write_h5ad(beside)
    assert bundle.unpack(out).run.recipe["source"] == "cells of mine.h5ad"
    beside.write_bytes(Path(trained.recipe["source"]).read_bytes())
    again = bundle.unpack(out)
    assert (again.run.folder, again.new) == (run.folder, False)
    assert again.run.recipe["source"] == str(beside)


def test_a_file_that_another_run_has_is_found_there(trained: Run, tmp_path: Path):
    """As on the machine that the bundle was written on, where the file lies where it was."""
    (tmp_path / "bundles").mkdir()
    out = bundle.pack(trained, tmp_path / "bundles" / "mine.cellstream.zip")
    root, source = tmp_path / "runs", Path(trained.recipe["source"])
    other = Path(shutil.copytree(trained.folder, root / "other"))
    moved = tmp_path / "elsewhere" / source.name
    moved.parent.mkdir()
    recipe = json.loads((other / "recipe.json").read_text())
    (other / "recipe.json").write_text(json.dumps(recipe | {"source": str(moved)}))
    cells(1).write_h5ad(moved)  # of the same name, and another one
    assert bundle.unpack(out, root).run.recipe["source"] == source.name
    shutil.copy(source, moved)
    assert bundle.unpack(out, root).run.recipe["source"] == str(moved)


def test_opened_twice_it_is_the_run_made_before(trained: Run, packed: Path, tmp_path: Path):
    first = bundle.unpack(packed)
    other = bundle.pack(trained, tmp_path / "other.cellstream.zip", data=True, shown={"page": "genes"})
    second = bundle.unpack(other)
    assert (second.run.folder, second.new) == (first.run.folder, False)
    assert second.manifest.view == {"page": "genes"}
    (first.run.folder / "model.safetensors").write_bytes(b"trained on")
    assert bundle.unpack(packed).new


def test_the_same_run_at_the_same_time_is_the_same_bytes(trained: Run, packed: Path, tmp_path: Path):
    again = bundle.pack(trained, tmp_path / "again.cellstream.zip", data=True, shown={"page": "explore"}, made=WHEN)
    assert again.read_bytes() == packed.read_bytes()


def test_nothing_in_it_says_where_it_was_made(trained: Run, tmp_path: Path):
    """Not even what a failure told of a path with spaces, or a traceback."""
    run = Run(trained.folder)
    said = run.folder / "events.jsonl"
    before = said.read_bytes()
    lost = f"A file could not be written ([Errno 28] No space left on device: '{run.folder}/model.safetensors')."
    failed = events.Failed(9, lost, f'Traceback\n  File "{Path.home()}/x.py"')
    said.write_bytes(before + (events.to_line(failed) + "\n" + '{"event": "St').encode())
    try:
        out = bundle.pack(run, tmp_path / "x.cellstream.zip", data=True)
    finally:
        said.write_bytes(before)
    with zipfile.ZipFile(out) as made:
        texts = {name: made.read(name) for name in made.namelist() if not name.endswith((".h5ad", ".npz"))}
    for name, text in texts.items():
        for place in (str(trained.folder.parent), "Maria Curie", "my study", str(Path.home()), "Traceback"):
            assert place.encode() not in text, (name, place)
    opened = bundle.unpack(out).run
    assert opened.status().state == "failed"
    assert "No space left on device: 'model.safetensors'" in opened.status().reason
    assert "out" not in opened.recipe


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("see /home/maria/data/x.h5ad now", "see x.h5ad now"),
        (r"see C:\Users\Maria\x.h5ad now", "see x.h5ad now"),
        ("'/home/maria curie/my data/x.h5ad'", "'x.h5ad'"),
        ("W2 / floor, 3/4 of a/b cells", "W2 / floor, 3/4 of a/b cells"),
        ("/srv/Maria Curie/run: gone", "run: gone"),
    ],
)
def test_of_a_path_the_name_is_left(text: str, left: str):
    assert contents.without_places([Path("/srv/Maria Curie")])(text) == left


def test_it_holds_words_figures_and_a_note(trained: Run, tmp_path: Path):
    figure = tmp_path / "a b.pdf"
    figure.write_bytes(b"%PDF")
    out = tmp_path / "x.cellstream.zip"
    figures = [figure, ("../../a b.PDF", b"other"), ("<b>.svg", b"<svg/>")]
    bundle.pack(trained, out, figures=figures)
    opened = bundle.unpack(out)
    assert [path.name for path in opened.figures] == ["a b-2.pdf", "a b.pdf", "b-.svg"]
    assert opened.figures[0].read_bytes() == b"other"
    assert "@" in (opened.run.folder / "words/references.bib").read_text()
    assert "90 cells" in (opened.run.folder / "words/methods.txt").read_text()
    compile((opened.run.folder / "words/again.py").read_text(), "again.py", "exec")
    note = (opened.run.folder / "README.txt").read_text()
    assert "cellstream app" in note
    assert "cells of mine.h5ad" in note
    assert json.loads((opened.run.folder / "bundle.json").read_text())["name"] == "Mine <b>"


def test_a_result_in_a_file_is_bundled(trained: Run, tmp_path: Path):
    adata = open_file(trained.recipe["source"]).adata
    stream, snapshots = trained.result(), trained.snapshots()
    stream.annotate(adata, snapshots, trained.recipe, metrics=trained.metrics())
    adata.write_h5ad(tmp_path / "result.h5ad")
    out = bundle.pack(tmp_path / "result.h5ad", tmp_path / "x.cellstream.zip", data=True)
    run = bundle.unpack(out).run
    x, t = snapshots.x.numpy(), snapshots.times[snapshots.index].numpy()
    assert np.array_equal(run.result().encode(x, t), stream.encode(x, t))
    assert run.status().state == "finished"
    assert Path(run.recipe["source"]).name == "result.h5ad"
    assert run.metrics() == trained.metrics()


def test_the_command_line_packs_and_unpacks(
    trained: Run, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def command(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return int(ended.value.code or 0), *capsys.readouterr()

    (tmp_path / "f.svg").write_text("<svg/>")
    out = tmp_path / "c.cellstream.zip"
    code, said, _ = command("bundle", trained.folder, "--out", out, "--with-data", "--figures", tmp_path / "f.svg")
    assert (code, str(out) in said) == (0, True)
    code, said, _ = command("bundle", out, "--unpack", tmp_path / "taken")
    assert (code, "f.svg" in said, "events.jsonl" in said) == (0, True, True)
    assert Run(tmp_path / "taken").status().state == "finished"
    assert command("describe", tmp_path / "taken", "--methods")[0] == 0
    for words, expected in (
        (("bundle", out, "--unpack", tmp_path / "taken"), "There is a run in"),
        (("bundle", trained.folder, "--out", out), "exists already"),
        (("bundle", trained.folder, "--out", tmp_path / "x.zip"), "ends in .cellstream.zip"),
        (("bundle", out, "--out", tmp_path / "y.cellstream.zip"), "is a bundle already"),
        (("bundle", trained.folder), "Expected --out"),
        (("bundle", out, "--unpack", tmp_path / "z", "--with-data"), "--unpack takes a bundle apart"),
        (("bundle", tmp_path / "f.svg", "--unpack", tmp_path / "z"), "not a bundle"),
        (("bundle", tmp_path / "none", "--unpack", tmp_path / "z"), "There is no file"),
        (("fit", out, "--out", tmp_path / "r.h5ad"), "cellstream bundle FILE --unpack DIR"),
        (("figure", out, "--out", tmp_path / "r.pdf"), "cellstream app"),
        (("describe", out), "is a bundle of CellStream"),
    ):
        code, _, wrong = command(*words)
        assert (code, expected in wrong, wrong.count("\n")) == (2, True, 1), (words, wrong)
    assert not (tmp_path / "z").exists()


# what cannot be bundled


def test_a_run_without_a_model_or_folder_is_told(trained: Run, tmp_path: Path):
    fresh = Run.create(tmp_path / "fresh", trained.snapshots(), trained.config, {"name": "fresh"})
    with pytest.raises(UserError, match="'fresh' has no model yet"):
        bundle.pack(fresh, tmp_path / "x.cellstream.zip")
    fresh.delete()
    with pytest.raises(UserError, match="'fresh' is no longer there"):
        bundle.pack(fresh, tmp_path / "x.cellstream.zip")
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_taken_away_meanwhile_is_told(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copy = Run(shutil.copytree(trained.folder, tmp_path / "copy"))
    (tmp_path / "out").mkdir()
    write = packing.add

    def taken_away(*arguments: object) -> str:
        shutil.rmtree(copy.folder, ignore_errors=True)
        return write(*arguments)

    monkeypatch.setattr(packing, "add", taken_away)
    with pytest.raises(UserError, match="'copy' is no longer there"):
        bundle.pack(copy, tmp_path / "out" / "x.cellstream.zip")
    assert not list((tmp_path / "out").iterdir())


def test_data_that_are_gone_or_others_are_told(trained: Run, tmp_path: Path):
    out = tmp_path / "x.cellstream.zip"
    with pytest.raises(UserError, match="no longer there: put it back, or bundle without it"):
        bundle.pack(trained, out, data=tmp_path / "gone.h5ad")
    shuffled = open_file(trained.recipe["source"]).adata[::-1].copy()
    shuffled.write_h5ad(tmp_path / "shuffled.h5ad")
    with pytest.raises(UserError, match="not those that the result was made from"):
        bundle.pack(trained, out, data=tmp_path / "shuffled.h5ad")
    shuffled.write_zarr(tmp_path / "cells.zarr")
    with pytest.raises(UserError, match="is a folder"):
        bundle.pack(trained, out, data=tmp_path / "cells.zarr")
    with pytest.raises(UserError, match=r"There is no file .*figure.*check the path"):
        bundle.pack(trained, out, figures=[tmp_path / "figure.pdf"])
    with pytest.raises(UserError, match="Expected a figure as one of"):
        bundle.pack(trained, out, figures=[("a.exe", b"")])
    with pytest.raises(UserError, match="plain values"):
        bundle.pack(trained, out, shown={"time": float("nan")})
    assert not out.exists()


@pytest.mark.parametrize("fails_at", [1, 2, 3, 5, 8])
def test_a_full_disk_leaves_the_bundle_of_before(
    packed: Path, trained: Run, monkeypatch: pytest.MonkeyPatch, fails_at: int
):
    before, write, calls = packed.read_bytes(), packing.add, []

    def full(*arguments: object) -> str:
        calls.append(1)
        if len(calls) == fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*arguments)

    monkeypatch.setattr(packing, "add", full)
    with pytest.raises(UserError, match="the disk is full"):
        bundle.pack(trained, packed, overwrite=True)
    assert packed.read_bytes() == before
    assert [path.name for path in packed.parent.iterdir()] == [packed.name]


@pytest.mark.parametrize("name", ["run/data.npz", "run/events.jsonl", "data/cells of mine.h5ad", "README.txt"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES])
def test_nothing_is_left_where_unpacking_breaks(
    packed: Path, home: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
):
    take = unpacking.extract

    def broken(made: zipfile.ZipFile, entry: str, part: Part, to: Path, where: str) -> None:
        take(made, entry, part, to, where)
        if entry == name:
            raise OSError(code, os.strerror(code), str(to))

    monkeypatch.setattr(unpacking, "extract", broken)
    with pytest.raises(UserError, match=r"no room on the disk|could not be unpacked"):
        bundle.unpack(packed)
    assert left_in(home) == ["runs"]
    assert runs.all_runs() == []


def test_too_little_room_is_told_before(packed: Path, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(UserError, match=r"of disk but 0\.0 MB are free"):
        bundle.unpack(packed)
    assert not home.exists()


# a stranger's file


Change = Callable[[list[tuple[zipfile.ZipInfo, bytes]]], None]


def remade(packed: Path, change: Change) -> Path:
    """The bundle with other entries, and its manifest as it was."""
    with zipfile.ZipFile(packed) as made:
        entries = [(entry, made.read(entry)) for entry in made.infolist()]
    change(entries)
    out = packed.with_name("hostile.cellstream.zip")
    with zipfile.ZipFile(out, "w") as made:
        for entry, content in entries:
            made.writestr(entry, content, entry.compress_type)
    return out


def with_entries(packed: Path, further: dict[str, bytes], view: object = None, also: Change | None = None) -> Path:
    """The bundle with further or other entries, of which its manifest tells, as a stranger would who knows how."""

    def change(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        kept = {entry.filename: content for entry, content in entries} | further
        said = json.loads(kept.pop(NAME))
        for name, content in kept.items():
            size, digest = archive.sha256_of(content)
            said["files"][name] = dict(what="?", bytes=size, sha256=digest)
        entries[:] = [
            (made_entry(name), content) for name, content in {NAME: json.dumps(said).encode(), **kept}.items()
        ]
        if also:
            also(entries)

    return remade(packed, change)


def made_entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    return entry


def refused(path: Path, home: Path) -> str:
    """The sentence by which it is refused; nothing is left of it, inside or outside of the home."""
    there = {p: p.stat().st_mtime_ns for p in path.parent.rglob("*") if not p.is_relative_to(home) and p.is_file()}
    with pytest.raises(UserError) as told:
        bundle.unpack(path)
    assert [name for name in left_in(home) if name != "runs"] == [] if home.exists() else True
    assert {
        p: p.stat().st_mtime_ns for p in path.parent.rglob("*") if not p.is_relative_to(home) and p.is_file()
    } == there
    sentence = str(told.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert len(sentence) < 420
    return sentence


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt", "run/../../evil.txt", "/etc/evil", "C:/evil.txt", "C:evil.txt", "run\\config.json", "..\\evil",
        "run/sub/evil.txt", "run/checkpoint-00000001.safetensors", "run/cancel", "figures/sub/a.png", "figures/a.exe",
        "figures/<img src=x onerror=alert(1)>.svg", "figures/.hidden.png", "figures/a.png/", "data/", "words/other.txt",
        "figures/a\x1b[31m.png", "figures/a\u202egnp.exe", "data/../x.h5ad", "__MACOSX/run/config.json", "evil.py",
        "figures/" + "a" * 300 + ".png", "run/pickle.pkl", "./run/config.json", "run//config.json", "",
    ],
)  # fmt: skip
def test_a_name_that_no_bundle_has_is_refused(packed: Path, home: Path, name: str):
    said = refused(with_entries(packed, {name: b"evil"}), home)
    assert "no name of a file in a bundle" in said or "damaged" in said, said
    assert said.isprintable()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_links_and_devices_are_refused(packed: Path, home: Path, kind: int):
    def change(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        next(entry for entry, _ in entries if entry.filename == "README.txt").external_attr = (kind | 0o777) << 16

    assert "as a link and not as a file" in refused(remade(packed, change), home)


@pytest.mark.parametrize("twin", ["run/config.json", "figures/A.png", "figures/\ufb01.png"])
def test_a_name_that_comes_twice_is_refused(packed: Path, home: Path, twin: str):
    """Also where two names are one on a machine that tells no capitals, or ways to write a letter, apart."""
    told = pytest.warns(UserWarning, match="Duplicate name") if twin == "run/config.json" else contextlib.nullcontext()
    with told:
        path = with_entries(
            packed,
            {"figures/a.png": b"1", "figures/fi.png": b"2"},
            also=lambda e: e.append((made_entry(twin), b"{}")),
        )
    assert "more than once" in refused(path, home)


def test_a_bomb_is_refused_before_it_goes_off(packed: Path, home: Path):
    said = refused(with_entries(packed, {"words/methods.txt": bytes(60_000_000)}), home)
    assert "more than it can hold" in said
    said = refused(with_entries(packed, {"figures/a.csv": bytes(50_000_000)}), home)
    assert "more than it can hold" in said


@pytest.mark.parametrize("says", [10, 50_000])
def test_an_entry_that_is_larger_or_smaller_than_it_says_is_refused(packed: Path, home: Path, says: int):
    """The list of entries and the manifest agree on a size that is not the content's."""
    content = bytes(range(256)) * 80
    path = with_entries(packed, {"figures/a.csv": content})
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02", 0)
    while raw[at + 46 : at + 46 + 13] != b"figures/a.csv":
        at = raw.index(b"PK\x01\x02", at + 4)
    raw[at + 24 : at + 28] = struct.pack("<I", says)
    path.write_bytes(raw)
    with zipfile.ZipFile(path) as made:
        said = json.loads(made.read(NAME))
    assert "was changed since" in refused(path, home)
    # and with a manifest that says the same
    said["files"]["figures/a.csv"]["bytes"] = says
    path.write_bytes(_with_manifest(path, json.dumps(said).encode(), says))
    said = refused(path, home)
    assert "damaged" in said or "than it says" in said or "was changed" in said, said


def _with_manifest(path: Path, manifest: bytes, says: int) -> bytes:
    """The archive with another manifest, and one entry's size in the list of entries forged."""
    with zipfile.ZipFile(path) as made:
        entries = [(entry.filename, made.read(entry) if entry.filename != "figures/a.csv" else None) for entry in
                   made.infolist()]  # fmt: skip
    content = bytes(range(256)) * 80
    with zipfile.ZipFile(path, "w") as made:
        for name, found in entries:
            made.writestr(made_entry(name), manifest if name == NAME else content if found is None else found)
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02", 0)
    while raw[at + 46 : at + 46 + 13] != b"figures/a.csv":
        at = raw.index(b"PK\x01\x02", at + 4)
    raw[at + 24 : at + 28] = struct.pack("<I", says)
    return bytes(raw)


def test_what_is_locked_or_packed_otherwise_is_refused(packed: Path, home: Path):
    raw = bytearray(packed.read_bytes())
    at = raw.rindex(b"PK\x01\x02")
    locked = packed.with_name("locked.cellstream.zip")
    forged = bytearray(raw)
    forged[at + 8] |= 1
    locked.write_bytes(forged)
    assert "password" in refused(locked, home)

    def change(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        next(entry for entry, _ in entries if entry.filename == "README.txt").compress_type = zipfile.ZIP_LZMA

    assert "in a way that no bundle is" in refused(remade(packed, change), home)


def test_thousands_of_entries_are_refused_without_being_read(packed: Path, home: Path, monkeypatch: pytest.MonkeyPatch):
    said = refused(with_entries(packed, {f"figures/{k}.png": b"" for k in range(600)}), home)
    assert "a bundle at most 500" in said
    many = packed.with_name("many.cellstream.zip")
    with zipfile.ZipFile(many, "w") as made:
        for k in range(30_000):
            made.writestr(f"figures/{k}.png", b"")
    monkeypatch.setattr(zipfile.ZipInfo, "__init__", _never)
    assert "too long a list of entries" in refused(many, home)


def _never(*arguments: object, **more: object) -> None:
    raise AssertionError("an entry was read")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.6, 0.95, 0.999])
def test_what_is_cut_short_is_refused(packed: Path, home: Path, share: float):
    content = packed.read_bytes()
    path = packed.with_name("short.cellstream.zip")
    path.write_bytes(content[: int(share * len(content))])
    assert "cut short or damaged" in refused(path, home) or share < 0.001


def test_any_flipped_byte_is_refused_or_changes_nothing(packed: Path, home: Path):
    """Bytes all over the file: of headers, of lists and of contents."""
    content, path = packed.read_bytes(), packed.with_name("flipped.cellstream.zip")
    names = [name.encode() for name in zipfile.ZipFile(packed).namelist()]
    rng = np.random.default_rng(0)
    places = {int(k) for k in rng.integers(len(content), size=25)}
    places |= {content.index(name) + 3 for name in names} | {len(content) - k for k in (1, 4, 8, 14, 20, 22)}
    for place in sorted(places):
        raw = bytearray(content)
        raw[place] ^= 0x55
        path.write_bytes(raw)
        try:
            opened = bundle.unpack(path)
        except UserError:
            assert [name for name in left_in(home) if name != "runs"] == []
        else:
            assert opened.manifest == bundle.look(packed)
            opened.run.delete()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "something else"), (b"\x89HDF\r\n\x1a\n" + bytes(300), "something else"),
        (b"hello" * 1000, "something else"),
        (b"PK\x03\x04" + bytes(500), "cut short or damaged"), (b"PK\x05\x06" + bytes(18), "has no manifest.json"),
    ],
)  # fmt: skip
def test_what_is_no_bundle_is_told(tmp_path: Path, home: Path, content: bytes, expected: str):
    path = tmp_path / "x.cellstream.zip"
    path.write_bytes(content)
    assert expected in refused(path, home)


def test_a_zip_of_something_else_and_a_folder_are_told(tmp_path: Path, home: Path):
    path = tmp_path / "x.cellstream.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a.txt", "a")
    assert "has no manifest.json" in refused(path, home)
    with pytest.raises(UserError, match="There is no file"):
        bundle.unpack(tmp_path / "none.cellstream.zip")
    (tmp_path / "folder.cellstream.zip").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        bundle.unpack(tmp_path / "folder.cellstream.zip")
    assert not bundle.is_bundle(tmp_path / "folder.cellstream.zip")
    assert not bundle.is_bundle(tmp_path)


def manifest_of(packed: Path, **changes: object) -> Path:
    """The bundle with other words in its manifest."""

    def change(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        said = json.loads(entries[0][1])
        entries[0] = entries[0][0], json.dumps(said | changes).encode()

    return remade(packed, change)


def test_other_formats_are_told(packed: Path, home: Path):
    assert "update CellStream" in refused(manifest_of(packed, format=2), home)
    for wrong in (0, "1", None, True, 1.5):
        assert "manifest.json of" in refused(manifest_of(packed, format=wrong), home)
    assert "of something else" in refused(manifest_of(packed, kind="holiday pictures"), home)


def test_what_is_missing_altered_or_more_is_told(packed: Path, home: Path):
    def without(name: str) -> Change:
        return lambda entries: entries.remove(next(e for e in entries if e[0].filename == name))

    for name in ("run/model.safetensors", "run/config.json", "README.txt", "data/cells of mine.h5ad"):
        assert f"lacks '{name}'" in refused(remade(packed, without(name)), home)
    said = refused(remade(packed, lambda e: e.append((made_entry("figures/a.png"), b"x"))), home)
    assert "of which its manifest.json does not tell" in said
    for name in ("run/model.safetensors", "words/methods.txt", "data/cells of mine.h5ad"):

        def alter(entries: list[tuple[zipfile.ZipInfo, bytes]], name: str = name) -> None:
            at = next(k for k, (entry, _) in enumerate(entries) if entry.filename == name)
            entries[at] = entries[at][0], entries[at][1][:-1] + b"?"

        assert f"'{name}' in 'hostile.cellstream.zip' was changed" in refused(remade(packed, alter), home)
    without_model = {
        k: v for k, v in json.loads(zipfile.ZipFile(packed).read(NAME))["files"].items() if "model" not in k
    }

    def agreed(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        without("run/model.safetensors")(entries)
        entries[0] = entries[0][0], json.dumps(json.loads(entries[0][1]) | {"files": without_model}).encode()

    assert "lacks 'run/model.safetensors'" in refused(remade(packed, agreed), home)
    two = with_entries(packed, {"data/other.h5ad": b"x"})
    assert "another file with cells" in refused(two, home)


def array(shape: str, content: bytes = bytes(8), dtype: str = "'<f4'", version: bytes = b"\x01\x00") -> bytes:
    head = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (-(len(head) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(head)) + head + content


def npz(entries: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return out.getvalue()


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pickled",)


def test_arrays_that_lie_or_run_code_are_refused(
    packed: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    objects = io.BytesIO()
    np.save(objects, np.array([Evil()], dtype=object), allow_pickle=True)
    huge = array("(100000000000,)")
    for name, content in {
        "run/data.npz": npz({"x.npy": huge}),
        "run/preview.npz": npz({"z.npy": huge}),
        "run/embedding.npy": huge,
    }.items():
        assert "no run that can be shown" in refused(with_entries(packed, {name: content}), home)
    for content in (
        npz({"x.npy": objects.getvalue()}), npz({"x.npy": array("(2,)", dtype="'|O'")}),
        npz({"x.npy": array("(2,)")}, zipfile.ZIP_DEFLATED),
        npz({f"{k}.npy": array("(2,)") for k in range(30)}), npz({"x.npy": array("(2,)", version=b"\x03\x00")}),
        npz({"x.npy": array("(-2,)")}), pickle.dumps(Evil()), b"", npz({"x.npy": bytes(50_000_000)}, 8),
    ):  # fmt: skip
        assert "no run that can be shown" in refused(with_entries(packed, {"run/data.npz": content}), home)
    assert not (tmp_path / "pickled").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("run/config.json", b"{"), ("run/config.json", b"[]"),
        ("run/config.json", b'{"networks": {"latent_dim": 1e9}}'),
        ("run/config.json", b"[" * 100_000), ("run/recipe.json", b"[]"), ("run/recipe.json", b'{"name": "x"}'),
        ("run/recipe.json", b'{"name": "x", "made": "soon"}'),
        ("run/recipe.json", b'{"name": 3, "made": "2026-01-01"}'),
        ("run/recipe.json", b'{"name": "x", "made": "2026-01-01", "masses": ["a"]}'),
        ("run/recipe.json", b'{"name": "x", "made": "2026-01-01", "fixes": ["rm -rf"]}'),
        ("run/recipe.json", b'{"name": "x", "made": "2026-01-01", "preprocess": {"n_pcs": -1}}'),
        ("run/events.jsonl", b'{"event": "Step", "step": "1", "total": 2, "stage": "x", "losses": {}}\n'),
        ("run/events.jsonl", b'{"event": "Step", "step": 1, "total": 2, "stage": "x", "losses": {"a": "<b>"}}\n'),
        ("run/events.jsonl", b'{"event": "Run", "code": "x"}\n'), ("run/events.jsonl", b"\xff\xfe\n"),
        ("run/metrics.json", b"[1]"), ("run/metrics.json", b"nonsense"), ("run/model.safetensors", b""),
        ("run/model.safetensors", struct.pack("<Q", 2**60) + b"{}"),
    ],
)  # fmt: skip
def test_a_run_that_is_none_is_refused(packed: Path, home: Path, name: str, content: bytes):
    assert "no run that can be shown" in refused(with_entries(packed, {name: content}), home)


def test_a_model_of_other_cells_is_refused(packed: Path, trained: Run, home: Path, tmp_path: Path):
    snapshots = trained.snapshots()
    fewer = replace(snapshots, x=snapshots.x[:, :5], features=snapshots.features[:5], genes=None)
    fewer.save(tmp_path / "other.npz")
    path = with_entries(packed, {"run/data.npz": (tmp_path / "other.npz").read_bytes()})
    assert "of other features than its cells" in refused(path, home)
    replace(snapshots, times=snapshots.times * 2).save(tmp_path / "other.npz")
    path = with_entries(packed, {"run/data.npz": (tmp_path / "other.npz").read_bytes()})
    assert "of other times than its cells" in refused(path, home)
    replace(snapshots, rows=tuple(range(-1, 89))).save(tmp_path / "other.npz")
    path = with_entries(packed, {"run/data.npz": (tmp_path / "other.npz").read_bytes()})
    assert "do not fit together" in refused(path, home)


def test_a_recipe_leads_to_no_other_file(packed: Path, tmp_path: Path):
    """A stranger's recipe could name any file, which the app would open."""
    secret = tmp_path / "secret.h5ad"
    cells().write_h5ad(secret)
    said = json.loads(zipfile.ZipFile(packed).read("run/recipe.json"))
    for source in (str(secret), "../../secret.h5ad", r"\\server\share\secret.h5ad"):
        text = json.dumps(said | {"source": source, "out": str(secret), "takes_turns": True, "result": "x"}).encode()

        def change(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
            found = json.loads(entries[0][1])
            found["files"].pop("data/cells of mine.h5ad", None)
            entries[:] = [e for e in entries if not e[0].filename.startswith("data/")]
            entries[0] = made_entry(NAME), json.dumps(found | {"data": None}).encode()

        recipe = bundle.unpack(with_entries(packed, {"run/recipe.json": text}, also=change)).run.recipe
        assert recipe["source"] == "secret.h5ad"
        assert not {"out", "takes_turns", "result"} & set(recipe)


PARTS = st.builds(Part, what=st.text(max_size=30), bytes=st.integers(0, 2**60), sha256=st.just("0" * 64))
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip
NAMES = st.text(max_size=60).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))
FILE_NAMES = NAMES.filter(lambda name: not {"/", "\\"} & set(name) and name not in (".", ".."))
"""Others lead elsewhere, and are refused."""
MANIFESTS = st.builds(
    Manifest, name=NAMES, made=NAMES, cellstream=NAMES, files=st.dictionaries(NAMES, PARTS, max_size=5),
    summary=st.dictionaries(NAMES, PLAIN, max_size=4), view=st.none() | st.dictionaries(NAMES, PLAIN, max_size=4),
    data=st.none() | st.builds(DataFile, name=FILE_NAMES, time_key=NAMES, bytes=st.none(), held=NAMES),
)  # fmt: skip


@UNHURRIED
@given(MANIFESTS)
def test_a_manifest_comes_back_from_its_text(manifest: Manifest):
    back = Manifest.from_json(manifest.to_json(), "x")
    assert back == manifest
    assert back.mark == manifest.mark


@UNHURRIED
@given(st.dictionaries(st.sampled_from(["kind", "format", "name", "made", "cellstream", "files", "summary", "data",
                                        "view"]), PLAIN), st.booleans())  # fmt: skip
def test_whatever_a_manifest_says_it_is_one_or_a_sentence(found: dict, ours: bool):
    text = json.dumps(({"kind": "CellStream bundle", "format": 1} if ours else {}) | found)
    try:
        back = Manifest.from_json(text, "x")
    except UserError:
        return
    assert Manifest.from_json(back.to_json(), "x") == back


@UNHURRIED
@given(st.binary(max_size=200))
def test_a_manifest_of_any_bytes_is_a_sentence(text: bytes):
    with pytest.raises(UserError):
        Manifest.from_json(text, "x")


@UNHURRIED
@given(st.text())
def test_a_safe_name_is_one_that_an_entry_may_have(name: str):
    clean = archive.safe_name(name)
    assert archive.safe_name(clean) == clean
    assert any(re.fullmatch(pattern, f"data/{clean}") for pattern in archive._PLACES), clean
    assert not set('/\\:<>"|?*\0') & set(clean)


def test_what_is_being_unpacked_is_no_run_yet(packed: Path, home: Path, monkeypatch: pytest.MonkeyPatch):
    seen, sound = [], unpacking.require_sound

    def look(folder: Path, where: str) -> None:
        seen.append((folder / "config.json").is_file())
        seen.append(runs.all_runs(home / "runs"))
        sound(folder, where)

    monkeypatch.setattr(unpacking, "require_sound", look)
    run = bundle.unpack(packed).run
    assert seen == [True, []]
    assert [found.folder for found in runs.all_runs(home / "runs")] == [run.folder]


@pytest.mark.parametrize("name", ["../secret.h5ad", "/etc/passwd", "a\\b.h5ad", ".."])
def test_a_data_file_with_a_name_that_leads_elsewhere_is_refused(packed: Path, home: Path, name: str):
    def lead(entries: list[tuple[zipfile.ZipInfo, bytes]]) -> None:
        for k, (entry, content) in enumerate(entries):
            if entry.filename == NAME:
                said = json.loads(content) | {"data": {"name": name, "bytes": 3, "sha256": "0" * 64}}
                entries[k] = made_entry(NAME), json.dumps(said).encode()

    refused(remade(packed, lead), home)

"""Bundles: a run comes back from one as it was; and a stranger's file does nothing but be refused."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from cellstream import bundle, events, runs, scverse
from cellstream.bundle import contents, packing, unpacking
from cellstream.bundle.manifest import Part
from cellstream.cli import main
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.readers import open_file
from cellstream.runs import Run
from cellstream.snapshots import from_anndata
from cellstream.worker import work
from tests.conftest import TINY

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


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
    import shutil

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
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(UserError, match=r"of disk but 0\.0 MB are free"):
        bundle.unpack(packed)
    assert not home.exists()

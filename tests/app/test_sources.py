"""What may be opened, what is spooled, and who may come in."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from types import SimpleNamespace

import anndata
import numpy as np
import pytest

from cellstream.errors import UserError
from cellstream_app import sources
from cellstream_app.app_hooks import allowed_origins, refused, settle
from cellstream_app.parts.drop import Drop
from cellstream_app.parts.opening import Dropper
from cellstream_app.sources import Spool, completions, open_source, permitted


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the only one to open files in, with a sibling whose name begins like it."""
    root, sibling = tmp_path / "data", tmp_path / "data-private"
    root.mkdir()
    sibling.mkdir()
    (sibling / "secret.h5ad").write_bytes(b"secret")
    (root / "link.h5ad").symlink_to(sibling / "secret.h5ad")
    (root / "cells.h5ad").write_bytes(b"")
    (root / "notes.pdf").write_bytes(b"")
    (root / "more").mkdir()
    monkeypatch.setenv("CELLSTREAM_ROOT", str(root))
    return root


def test_only_what_really_lies_in_the_folder_may_be_opened(folder: Path):
    assert permitted(str(folder / "cells.h5ad")) == folder / "cells.h5ad"
    assert permitted(f"  '{folder}/more' ") == folder / "more"
    for path in ("../data-private/secret.h5ad", "link.h5ad", "more/../../data-private", "/etc/passwd"):
        with pytest.raises(UserError, match="not there"):
            permitted(str(folder / path))
    with pytest.raises(UserError, match="web address"):
        permitted("https://example.org/x.h5ad")
    with pytest.raises(UserError, match="No path"):
        permitted("  ")


def test_completions_are_folders_and_files_that_can_be_read(folder: Path):
    assert completions(f"{folder}/") == [f"{folder}/cells.h5ad", f"{folder}/link.h5ad", f"{folder}/more/"]
    assert completions(f"{folder}/ce") == [f"{folder}/cells.h5ad"]
    assert completions(f"{folder.parent}/") == []  # outside
    assert completions("") == completions(f"{folder}/nothing/at/all") == []


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CELLSTREAM_ROOT", raising=False)
    path = tmp_path / "cells.h5ad"
    anndata.AnnData(np.ones((4, 3), np.float32)).write_h5ad(path)
    first = open_source(str(path))
    assert open_source(str(path)) is first
    anndata.AnnData(np.ones((5, 30), np.float32)).write_h5ad(path)
    assert open_source(str(path)).adata.shape == (5, 30)


def test_only_a_few_files_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CELLSTREAM_ROOT", raising=False)
    for i in range(sources.KEPT + 2):
        path = tmp_path / f"{i}.h5ad"
        anndata.AnnData(np.ones((4, 3), np.float32)).write_h5ad(path)
        open_source(str(path))
    assert len(sources._opened) == sources.KEPT


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cells.h5ad", "cells.h5ad"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\my cells.h5ad", "my-cells.h5ad"),
        (".hidden", "hidden"),
        ("<script>.csv", "script-.csv"),
        ("...", "upload"),
        ("x" * 500 + ".h5ad", "x" * 115 + ".h5ad"),
    ],
)
def test_an_upload_lies_in_its_folder_under_a_safe_name(tmp_path: Path, name: str, kept: str):
    spool = Spool(name, tmp_path / "uploads")
    spool.add(b"one ")
    spool.add(b"two")
    path = spool.finish()
    assert path == tmp_path / "uploads" / kept
    assert path.read_bytes() == b"one two"
    assert [p.name for p in path.parent.iterdir()] == [kept]  # nothing half done is left


def test_uploads_of_one_name_do_not_overwrite_each_other(tmp_path: Path):
    for i in range(3):
        spool = Spool("a.csv", tmp_path)
        spool.add(bytes([i]))
        spool.finish()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2-a.csv", "3-a.csv", "a.csv"]


def test_uploads_of_one_name_at_the_same_time_keep_their_own_bytes(tmp_path: Path):
    one, two = Spool("a.csv", tmp_path), Spool("a.csv", tmp_path)
    for i in range(3):
        one.add(b"1%d" % i)
        two.add(b"2%d" % i)
    assert (two.finish().read_bytes(), one.finish().read_bytes()) == (b"202122", b"101112")
    assert len(list(tmp_path.iterdir())) == 2


def test_only_parts_that_nobody_has_added_to_for_a_day_are_swept_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path))
    hours = {"old": 25, "young": 23}
    spools = {name: Spool(f"{name}.csv") for name in hours}
    whole = Spool("whole.csv").finish()
    for path, age in [(whole, 25), *((spools[name].partial, age) for name, age in hours.items())]:
        os.utime(path, (time.time() - 3600 * age,) * 2)
    sources.sweep()
    assert sorted(whole.parent.iterdir()) == sorted([spools["young"].partial, whole])


def test_of_an_upload_whose_browser_has_gone_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Dropped on the window or into the card; the next one begins anew."""
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path))
    received, refused = [], []
    uploads = tmp_path / "uploads"
    drop, dropper = Drop(received.append, refused.append), Dropper(received.append, refused.append)
    drop._handle_msg({"from": 0, "size": 4, "data": [1, 2], "name": "a.csv"})
    part = dict(name="b.csv", chunk=1, total_chunks=2, data=b"12")
    dropper._process_event(SimpleNamespace(event_name="upload_event", data=part))
    assert len(list(uploads.iterdir())) == 2
    drop.discard()
    dropper.discard()
    assert list(uploads.iterdir()) == []
    dropper._process_event(SimpleNamespace(event_name="upload_event", data=part | dict(chunk=2)))  # comes too late
    drop._handle_msg({"from": 0, "size": 1, "data": [7], "name": "a.csv"})
    assert [Path(path).read_bytes() for path in received] == [b"\x07"]
    assert [path.name for path in uploads.iterdir()] == ["a.csv"]
    assert refused == []


def test_an_upload_over_the_limit_is_refused_and_gone(tmp_path: Path):
    spool = Spool("a.csv", tmp_path, limit=10)
    spool.add(b"123456789")
    with pytest.raises(UserError, match="larger than"):
        spool.add(b"12")
    assert list(tmp_path.iterdir()) == []


NOBODY: frozenset[str] = frozenset()
HERE = "127.0.0.1"


@pytest.mark.parametrize(
    ("host", "origin", "address", "allowed", "login", "welcome"),
    [
        ("127.0.0.1:5006", None, HERE, NOBODY, False, True),
        ("localhost:5006", "http://localhost:5006", HERE, NOBODY, False, True),
        ("[::1]:5006", "http://[::1]:5006", "::1", NOBODY, False, True),
        ("127.0.0.1:5006", None, "::ffff:127.0.0.1", NOBODY, False, True),
        # a foreign page that points its name at this machine, and is consistent about it
        ("evil.example:5006", "http://evil.example:5006", HERE, NOBODY, False, False),
        ("127.0.0.1:5006", "http://evil.example", HERE, NOBODY, False, False),
        ("127.0.0.1.evil.example", None, HERE, NOBODY, False, False),
        ("evil.example", "http://127.0.0.1:5006", HERE, NOBODY, False, False),
        # another machine: only by an allowed name and with a login
        ("lab.example:5006", "http://lab.example:5006", "10.0.0.7", frozenset({"lab.example:5006"}), False, False),
        ("lab.example:5006", "http://lab.example:5006", "10.0.0.7", frozenset({"lab.example:5006"}), True, True),
        ("lab.example:5006", "http://lab.example:5006", "10.0.0.7", frozenset({"lab.example"}), True, True),
        ("lab.example:5006", "http://lab.example:5006", "10.0.0.7", frozenset({"*"}), True, True),
        ("lab.example:5006", None, "10.0.0.7", NOBODY, True, False),
        ("", None, HERE, NOBODY, False, False),
        ("[", None, HERE, NOBODY, False, False),
    ],
)
def test_who_may_come_in(host, origin, address, allowed, login, welcome):
    assert (refused(host, origin, address, allowed, login) == "") is welcome


def test_the_refusal_of_another_machine_says_how_to_share():
    said = refused("127.0.0.1:5006", None, "10.0.0.7", NOBODY, False)
    assert "--basic-auth" in said
    assert "--allow-websocket-origin" in said


def test_allowed_names_are_read_from_the_command_line():
    line = "panel serve app --allow-websocket-origin=Lab.example:80 --port 1 --allow-websocket-origin other.example"
    assert allowed_origins(line.split()) == {"lab.example:80", "other.example"}


def test_what_is_loaded_at_the_start_is_passed_over_by_the_garbage_collector():
    try:
        settle()
        assert gc.get_freeze_count() > 100_000
        assert len(gc.get_objects()) < 10_000
    finally:
        gc.unfreeze()

"""``cellstream doctor`` says what there is, and what is wrong with what is made wrong here."""

from __future__ import annotations

import json
import os
import shutil
import socket
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cellstream import __version__, health
from cellstream.cli import main
from cellstream.errors import UserError
from cellstream.health import Finding
from tests.model.test_cli import one_sentence


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def found(look: str) -> dict[str, Finding]:
    return {finding.what: finding for finding in health._safely(getattr(health, look))}


def test_of_a_sound_machine_every_part_says_a_line_and_nothing_is_left_behind(home: Path):
    findings = {finding.what: finding for finding in health.examine()}
    assert findings["CellStream"].found == __version__
    assert f"torch {torch.__version__}" in findings["Packages"].found
    assert str(home) in findings["Runs and settings"].found
    assert len(findings) >= 12
    assert not {what: f.wrong for what, f in findings.items() if f.wrong and "disk" not in f.wrong}
    assert not list(home.iterdir())


def test_packages_that_are_missing_or_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch):
    real = metadata.version

    def version(name: str) -> str:
        if name == "pot":
            raise metadata.PackageNotFoundError(name)
        return "1.0" if name == "panel" else real(name)

    monkeypatch.setattr(health.metadata, "version", version)
    wrong = found("_versions")["Packages"].wrong
    assert "pot is missing" in wrong
    assert "panel 1.0 is there, but <2,>=1.9 is needed" in wrong
    assert "install CellStream again" in wrong


def test_a_folder_that_cannot_be_written_to_and_a_full_disk_are_told(home: Path, monkeypatch: pytest.MonkeyPatch):
    home.write_text("a file where the folder should be")
    assert "Nothing can be written there" in found("_places")["Runs and settings"].wrong
    home.unlink()
    monkeypatch.setattr(health.shutil, "disk_usage", lambda place: SimpleNamespace(free=5e7))
    assert "only 50.0 MB left" in found("_places")["Runs and settings"].wrong


def test_little_memory_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health.memory, "free", lambda: int(5e8))
    assert "close other programs" in found("_memory")["Memory"].wrong


def test_a_card_that_does_not_compute_is_told(monkeypatch: pytest.MonkeyPatch):
    for name, answer in (
        ("is_available", True), ("device_count", 1), ("get_device_name", "A card"), ("mem_get_info", (1e9, 8e9))
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *given, answer=answer: answer)
    monkeypatch.setattr(torch, "ones", lambda *shape, device: torch.zeros(shape))
    assert "computes wrongly" in found("_gpu")["GPU 0"].wrong

    def fail(*shape: int, device: str) -> None:
        raise RuntimeError("no kernel image is available\nfor this device")

    monkeypatch.setattr(torch, "ones", fail)
    said = found("_gpu")["GPU 0"].wrong
    assert said.startswith("It does not compute (no kernel image is available): ")


def test_runs_are_counted_and_damaged_ones_named(home: Path, monkeypatch: pytest.MonkeyPatch):
    sample = Path(__file__).parents[2] / "sample_data" / "branching-result"
    for name in ("one", "two"):
        shutil.copytree(sample, home / "runs" / name)
    told = found("_kept_runs")["Runs"]
    assert told.found.startswith("2 finished; ")
    assert not told.wrong
    real = health.runs.Run.status

    def status(run: health.runs.Run) -> object:
        if run.folder.name == "two":
            raise UserError("It is damaged.")
        return real(run)

    monkeypatch.setattr(health.runs.Run, "status", status)
    told = found("_kept_runs")["Runs"]
    assert told.found.startswith("1 finished; ")
    assert told.wrong == "1 cannot be read (two): delete what is damaged."


def test_files_of_the_apps_pages_that_lack_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "SCRIPTS", {"panel": ("dist/panel.min.js", "dist/none.js"), "no_such_package": ("a",)})
    told = found("_app")["The app's pages"]
    assert told.found.startswith("1 of 3 files")
    assert "panel/dist/none.js, no_such_package/a" in told.wrong


def test_a_port_in_use_is_told():
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 5006))
            taken.listen()
        except OSError:
            pass  # somebody else has it
        assert "in use" in found("_port")["Port 5006"].found


def test_what_cannot_be_looked_at_is_a_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CELLSTREAM_MEMORY", "much")
    told = found("_memory")["Memory"]
    assert told.found == "could not be looked at"
    assert "number of gigabytes" in told.wrong


def test_the_users_name_is_in_no_report(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/marie"))
    text = health.report([Finding("Runs", "/home/marie/runs, /home/marie2"), Finding("Disk", "full", "Make room.")])
    assert text == "  Runs  ~/runs, /home/marie2\n! Disk  full\n\n! Disk: Make room."
    assert health.report([Finding("A", "b")]).endswith("All is well.")


def test_the_command_says_it_and_ends_by_what_was_found(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(health, "PARTS", (health._processor,))
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 0
    assert f"{len(os.sched_getaffinity(0))} " in capsys.readouterr().out
    monkeypatch.setattr(health, "PARTS", (lambda: iter([Finding("Disk", "full", "Make room.")]),))
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json"])
    assert ended.value.code == 2
    assert json.loads(capsys.readouterr().out) == {"Disk": {"found": "full", "wrong": "Make room."}}
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "me"])
    assert "Unrecognized arguments: me" in one_sentence(capsys.readouterr().err)

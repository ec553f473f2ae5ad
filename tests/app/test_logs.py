"""The log says where a fault is, and nothing of the data it came with."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cellstream import __version__, health
from cellstream_app import logs
from cellstream_app.parts import about

SECRET = "patient-0815"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path / SECRET / "home"))
    return tmp_path / SECRET / "home"


@pytest.fixture
def kept(home: Path) -> Iterator[logging.Handler]:
    handler = logs.keep_log()
    assert handler is not None
    yield handler
    logging.getLogger().removeHandler(handler)
    handler.close()


def fail() -> None:
    try:
        {}[SECRET]
    except KeyError as error:
        raise ValueError(f"no column {SECRET}") from error


def test_a_fault_is_told_by_its_kind_and_its_lines_alone(kept: logging.Handler):
    log = logging.getLogger("cellstream_app.ui")
    try:
        fail()
    except ValueError as error:
        log.error("%s", error, exc_info=error)
    log.warning("The file %s could not be read", SECRET)
    logging.getLogger("another").warning(f"{SECRET} is odd")
    logging.getLogger("cellstream_app").info("not worth a line")
    said = logs.place().read_text()
    assert SECRET not in said
    assert f"CellStream {__version__} begins" in said
    assert "builtins.ValueError" in said
    assert "builtins.KeyError" in said
    assert len(re.findall(r"test_logs\.py:\d+ fail", said)) == 2
    assert "The file %s could not be read" in said
    assert "WARNING another: …" in said
    assert "not worth a line" not in said


def test_of_a_large_log_the_latest_is_kept(kept: logging.Handler, monkeypatch: pytest.MonkeyPatch):
    kept.maxBytes = 2_000
    for k in range(400):
        logging.getLogger("cellstream_app").warning(f"fault number {k:04d} of the test")
    files = sorted(logs.place().parent.iterdir())
    assert len(files) == logs.KEPT + 1
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert "0399" in logs.place().read_text()


def test_where_nothing_can_be_written_the_app_goes_on(home: Path):
    home.parent.mkdir()
    home.write_text("a file")
    before = list(logging.getLogger().handlers)
    assert logs.keep_log() is None
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize(
    ("filename", "said"),
    [
        ("/home/marie/venv/lib/python3.11/site-packages/panel/io/state.py", "panel/io/state.py"),
        ("/home/marie/src/cellstream_app/ui.py", "cellstream_app/ui.py"),
        ("/home/marie/src/model/cellstream/runs.py", "cellstream/runs.py"),
        ("/usr/lib/python3.11/asyncio/events.py", "asyncio/events.py"),
        ("/home/marie/script.py", "script.py"),
        ("<string>", "<string>"),
    ],
)
def test_a_file_of_the_program_is_told_from_its_package_on(filename: str, said: str):
    assert logs._from_package(filename) == said


def test_the_diagnosis_says_where_the_log_is(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(about.health, "PARTS", (about.health._processor,))
    monkeypatch.setattr(Path, "home", lambda: home.parent)
    told = about.diagnosis()
    assert health.report(told).splitlines()[1] == "  Log        ~/home/logs/app.log"
    assert "~/home/logs/app.log" in about.as_html(told)
    assert "All is well" in about.as_html(told)
    shown = about.as_html([health.Finding("Disk <b>", "full", "Make room.")])
    assert "Disk &lt;b&gt;" in shown
    assert "Make room." in shown
    assert "All is well" not in shown

"""The notebooks run as they are, to the end; in CellRank's own environment the second one finds the true fates."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient

from tests.model.test_handover_readers import READERS

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "assets" / "notebooks"
FIRST, SECOND = NOTEBOOKS / "from_h5ad_to_fates.ipynb", NOTEBOOKS / "fates_in_cellrank.ipynb"
LARGEST = 1_500_000
"""Bytes of a notebook that is kept."""


def executed(path: Path, folder: Path, python: str) -> nbformat.NotebookNode:
    """A copy of a notebook, with what an interpreter's kernel has said in ``folder``. Raises where a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    manager = KernelManager()
    manager.kernel_spec.argv[0] = python
    NotebookClient(notebook, km=manager, timeout=1200, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def said(notebook: nbformat.NotebookNode, code: str) -> str:
    """The text that came of the cell with this code in it."""
    (cell,) = (cell for cell in notebook.cells if cell.cell_type == "code" and code in cell.source)
    return "\n".join(str(out.get("data", {}).get("text/plain", out.get("text", ""))) for out in cell.outputs)


def shares(table: str) -> dict[str, tuple[float, float]]:
    """Of each day the share that is right and the one by chance, from a table of days."""
    rows = re.findall(r"^(day \d)\s+\d+\s+([\d.]+)\s+([\d.]+)", table, re.MULTILINE)
    return {day: (float(right), float(chance)) for day, right, chance in rows}


@pytest.mark.parametrize("path", [FIRST, SECOND], ids=lambda path: path.stem)
def test_a_notebook_is_kept_small_with_what_came_of_it(path):
    assert path.stat().st_size < LARGEST
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any("image/png" in out.get("data", {}) for cell in code for out in cell.outputs)
    # of nobody's machine
    assert not re.search(r"/(home|root|tmp|Users)/", path.read_text())


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> tuple[nbformat.NotebookNode, Path]:
    folder = tmp_path_factory.mktemp("notebook")
    return executed(FIRST, folder, sys.executable), folder


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_from_a_file_to_fates(first):
    notebook, folder = first
    found = shares(said(notebook, "at_the_end"))
    assert found["day 5"][0] > 0.95 > found["day 5"][1] + 0.4
    assert found["day 3"][0] > found["day 3"][1] + 0.1
    assert (folder / "result.h5ad").exists()


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_and_on_into_cellrank(first, tmp_path):
    """In the environment that ``CELLSTREAM_SCVERSE_PYTHON`` names, or one that is made here."""
    _, folder = first
    python = os.environ.get("CELLSTREAM_SCVERSE_PYTHON")
    if not python or subprocess.run([python, "-c", "import ipykernel"], capture_output=True).returncode:
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
        python = str(tmp_path / "venv" / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", *READERS, "ipykernel"], check=True)
    place = tmp_path / "alone"
    place.mkdir()
    shutil.copy(folder / "handed.h5ad", place)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONPATH", raising=False)  # of ours it is to see nothing but the file
        notebook = executed(SECOND, place, python)
    found = shares(said(notebook, "likely ="))
    assert found["day 5"][0] > 0.95 > found["day 5"][1] + 0.4
    assert found["day 3"][0] > found["day 3"][1] + 0.2

"""The code of a result: what it makes again is the result, bit for bit, whatever stands in the names of files."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import torch

from cellstream import account, rivals, script, words
from cellstream.errors import UserError
from cellstream.events import Cancelled, Round, to_line
from cellstream.history import History
from cellstream.presets import preset
from cellstream.runs import Run
from cellstream.scverse import annotate, read_result
from cellstream.snapshots import from_anndata
from cellstream.time_labels import read_time_map
from cellstream.training import train
from cellstream.worker import work
from tests.conftest import TINY

SAMPLE = Path(__file__).parents[2] / "sample_data" / "branching.h5ad"
SHORT = {**TINY, "rounds": 1, "embedding_steps": 3, "warm_steps": 3, "held_out": 0.05}
PATIENT = 300
HOSTILE = "a 'b' \"c\" $(touch pwned) `touch pwned`; é <b>&amp; \\n"
"""A name of which a shell, a Python script or a page that reads it makes something else."""
COLUMN = "day 'x' \"y\" $(touch pwned) <i>ü"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def cells() -> anndata.AnnData:
    """Every third cell of the sample: a training of a second."""
    return anndata.read_h5ad(SAMPLE)[::3].copy()


def made(folder: Path, adata: anndata.AnnData, config: Any, train: bool = True, **recipe: Any) -> Run:
    """A run of these cells, trained in this process."""
    names = ("input", "time_map", "real_times", "masses", "fixes")
    given = {name: recipe[name] for name in names if name in recipe}
    snapshots = from_anndata(adata, recipe["time_key"], **given, preprocess=config.preprocess)
    run = Run.create(folder, snapshots, config, recipe)
    if train:
        work(run.folder)
        assert run.status().state == "finished", run.status().reason
    return run


def executed(folder: Path, *words: str, text: str = "") -> subprocess.CompletedProcess:
    """A command in a folder of its own, in which this Python comes first."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        words, cwd=folder, input=text, capture_output=True, text=True, timeout=PATIENT, env={**os.environ, "PATH": path}
    )


def same(run: Run, path: Path) -> None:
    """The file holds the run's own model, to the bit, and its time in the same words."""
    stream, _, _ = read_result(anndata.read_h5ad(path))
    expected = run.result()
    weights = stream.weights()
    assert weights.keys() == expected.weights().keys()
    assert all(value.equal(weights[name]) for name, value in expected.weights().items())
    assert stream.config == expected.config
    assert (stream.clock.times, stream.clock.labels) == (expected.clock.times, expected.clock.labels)


def scripted(run: Run, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    path = folder / "again.py"
    path.write_text(script.python_script(account.of_run(run)), encoding="utf-8")
    return executed(folder, sys.executable, str(path), *arguments)


def commanded(run: Run, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    path = folder / "again.sh"
    path.write_text(script.command_line(account.of_run(run)), encoding="utf-8")
    return executed(folder, "bash", str(path), *arguments)


WAYS = pytest.mark.parametrize("again", [scripted, commanded])


# --- bit for bit ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@WAYS
def test_counts_with_our_own_preset_come_out_the_same(again, cells, tmp_path):
    """With the neighbour term, the lineages' term, held-out cells and a second model for the uncertainty."""
    path = tmp_path / "blood.h5ad"
    cells.write_h5ad(path)
    config = preset("quick", **SHORT, seed=3, ensemble=2, n_pcs=7)
    run = made(tmp_path / "run", cells, config, source=str(path), time_key="day", preset="quick")
    ended = again(run, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "to the last bit" not in ended.stderr
    same(run, tmp_path / "blood-reproduced.h5ad")
    # and what was made again tells of itself as the run does
    told, first = account.of(tmp_path / "blood-reproduced.h5ad"), account.of_run(run)
    assert (told.config, told.rounds, told.members) == (first.config, 1, 1)
    assert told.snapshots.digest == first.snapshots.digest
    assert script.command_line(replace(told, recipe=first.recipe)) == script.command_line(first)


@pytest.mark.slow
@WAYS
def test_an_embedding_with_times_masses_and_names_of_a_stranger_comes_out_the_same(again, cells, tmp_path):
    adata = cells.copy()
    labels = [HOSTILE, "-1; x", "two,\ttabs", "__leave out__", '=5 "quoted"', "END"]
    adata.obs[COLUMN] = adata.obs["day"].cat.rename_categories(labels).astype(str)
    adata.obsm["X' \"é $(touch pwned)"] = adata.obsm["X_latent_true"]
    path = tmp_path / f"{HOSTILE}.h5ad"
    adata.write_h5ad(path)
    run = made(
        tmp_path / "run",
        adata,
        preset("paper", **SHORT, lambda_wfr=0.3, latent_dim=3),
        source=str(path),
        time_key=COLUMN,
        name="coding: utf-7\n\"\"\"'''\nraise SystemExit(9)",
        input="obsm:X' \"é $(touch pwned)",
        time_map=dict(zip(labels, [0.0, 1.5, 2.1, float("nan"), 5.0, 7.25], strict=True)),
        masses=[1.0, 1.1, 1.7, 2.5, 1 / 3],
        real_times=True,
        preset="paper",
    )
    ended = again(run, tmp_path)
    assert ended.returncode == 0, ended.stderr
    (result,) = tmp_path.glob("*-reproduced.h5ad")
    same(run, result)
    assert not list(tmp_path.glob("pwned*"))


@pytest.mark.slow
@WAYS
def test_cells_without_a_file_are_asked_for(again, cells, tmp_path):
    cells.write_h5ad(tmp_path / "given.h5ad")
    run = made(tmp_path / "run", cells, preset("paper", **SHORT), time_key="day", fixes=("drop-copies",))
    text = script.python_script(account.of_run(run))
    assert "takes the file as its first argument" in text.splitlines()[1]
    without = again(run, tmp_path)
    assert without.returncode != 0
    assert "file with the cells" in without.stderr
    ended = again(run, tmp_path, "given.h5ad")
    assert ended.returncode == 0, ended.stderr
    same(run, tmp_path / "run-reproduced.h5ad")


@pytest.mark.slow
@WAYS
def test_another_method_comes_out_the_same(again, cells, tmp_path):
    """TIGON on an embedding that only the run's folder has."""
    snapshots = from_anndata(cells, "day", input="obsm:X_latent_true")
    z = np.asarray(cells.obsm["X_latent_true"])[:, :2]
    run = rivals.create(tmp_path / "run", snapshots, "TIGON + mine", dict(time_key="day", embedding="x"), z, quick=True)
    work(run.folder)
    text = script.python_script(account.of_run(run))
    assert "The embedding that the method was fitted on is not in the file" in text.splitlines()[1]
    ended = again(run, tmp_path)
    assert ended.returncode == 0, ended.stderr
    weights, expected = (r.result().weights() for r in (Run(tmp_path / "run-reproduced"), run))
    assert weights.keys() == expected.keys()
    assert all(value.equal(weights[name]) for name, value in expected.items())


@pytest.mark.slow
def test_other_cells_and_other_values_are_told(cells, tmp_path):
    cells.write_h5ad(tmp_path / "blood.h5ad")
    config = preset("paper", **SHORT)
    run = made(tmp_path / "run", cells, config, source=str(tmp_path / "blood.h5ad"), time_key="day")
    cells[1:].write_h5ad(tmp_path / "fewer.h5ad")
    ended = scripted(run, tmp_path, "fewer.h5ad")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "are not those of the run" in ended.stderr
    other = cells.copy()
    other.X[0, other.X[0].indices[0]] += 1
    other.write_h5ad(tmp_path / "other.h5ad")
    ended = scripted(run, tmp_path, "other.h5ad")
    assert ended.returncode == 0, ended.stderr
    assert "is not, to the last bit, what the run was trained on" in ended.stderr


# --- in a moment ------------------------------------------------------------------------------------------------------


def arguments_of(command: str) -> list[str]:
    """What a shell makes of the words after ``cellstream fit``."""
    shell = 'cellstream() { shift; printf "%s\\0" "$@"; }\n'
    return executed(Path.cwd(), "bash", text=shell + command).stdout.split("\0")[:-1]


def test_a_command_has_only_the_options_that_differ(cells, tmp_path):
    path = str(tmp_path / "blood.h5ad")
    run = made(tmp_path / "run", cells, preset("best"), False, source=path, time_key="day", preset="best")
    plain = [path, "--out", "blood-reproduced.h5ad", "--time-key", "day"]
    assert arguments_of(script.command_line(account.of_run(run))) == plain
    changed = preset("quick", seed=4, lambda_ae=0.1 + 0.2, growth=False, normalise="yes", rounds=2)
    run = made(tmp_path / "own", cells, changed, False, source=path, time_key="day", fixes=["normalise"], preset="own")
    found = arguments_of(script.command_line(account.of_run(run), "x.h5ad"))
    assert found[:5] == [path, "--out", "x.h5ad", "--time-key", "day"]
    options = found[5:]
    assert options[:4] == ["--fix", "normalise", "--preset", "quick"]
    assert sorted(options[4:]) == sorted(
        ["--set", "lambda_ae=0.30000000000000004", "--set", "growth=False", "--set", "rounds=2", "--seed", "4"]
    )


@pytest.mark.parametrize("word", [HOSTILE, COLUMN, "-x", "--help", "a\nb", "\udcff", "'", "", "é\u202e", "$'\\x41'"])
def test_a_shell_takes_every_word_as_it_is(word, tmp_path):
    """Also what cannot be printed, and file names that are no Unicode."""
    path = tmp_path / "again.sh"
    path.write_bytes(os.fsencode('printf "%s\\0" ' + " ".join(script._option("time-key", word))))
    found = subprocess.run(["bash", str(path)], capture_output=True, cwd=tmp_path).stdout.split(b"\0")[:-1]
    joined = [b"--time-key=" + os.fsencode(word)]
    assert found == (joined if word.startswith("-") else [b"--time-key", os.fsencode(word)])
    assert [p.name for p in tmp_path.iterdir()] == ["again.sh"]


def test_every_value_comes_back_from_its_python_expression():
    value = {HOSTILE: [1, 0.1 + 0.2, None, True, ("a\nb", "\udcff\u2028")], "none": (), "one": (1,), "": {"'": '"'}}
    text = script._literal(value)
    assert eval(text) == value
    assert text.isprintable()
    assert np.isnan(eval(script._literal([float("nan")]))[0])


def test_labels_that_no_table_holds_go_the_way_of_python(cells, tmp_path):
    adata = cells.copy()
    labels = ["a\nb", " c", "d", "e", "f", "g"]
    adata.obs["t"] = adata.obs["day"].cat.rename_categories(labels).astype(str)
    times = dict(zip(labels, map(float, range(6)), strict=True))
    run = made(tmp_path / "run", adata, preset("paper"), False, time_key="t", time_map=times, source="x.h5ad")
    command = script.command_line(account.of_run(run))
    assert command.startswith("# The command fit has no option for labels of time points that no line of a table")
    assert script.python_script(account.of_run(run)) in command
    assert subprocess.run(["bash", "-n"], input=command, text=True).returncode == 0
    # where they fit on one, the table is what a person would have written
    held = {"x, y; z": 0.0, 'q"': float("nan"), "é": 1.5}
    (tmp_path / "times.csv").write_text(script._table(held), encoding="utf-8")
    assert str(read_time_map(tmp_path / "times.csv")) == str(held)


def test_a_result_in_a_file_tells_the_same_script(cells, tmp_path):
    path = str(tmp_path / "blood.h5ad")
    config = preset("paper", **{**SHORT, "rounds": 0})
    recipe = dict(source=path, time_key="day", real_times=True, preset="paper", name="blood")
    run = made(tmp_path / "run", cells, config, **recipe)
    adata = cells.copy()
    annotate(run.result(), adata, run.snapshots(), run.recipe, metrics=run.metrics(), history=run.history)
    adata.write_h5ad(tmp_path / "result.h5ad")
    told = account.of(tmp_path / "result.h5ad")
    assert script.python_script(told) == script.python_script(account.of(tmp_path / "run"))
    assert script.command_line(told) == script.command_line(account.of(tmp_path / "run"))
    assert words.methods_paragraph(told) == words.methods_paragraph(account.of(tmp_path / "run"))


def test_what_a_file_alone_cannot_tell_is_refused_in_a_sentence(cells, tmp_path):
    run = made(tmp_path / "run", cells, preset("paper"), False, time_key="day", some_cells=True)
    text = script.python_script(account.of_run(run))
    assert "some cells of its file only" in text.splitlines()[1]
    assert str(run.folder) in text
    with pytest.raises(UserError, match="name the run's folder"):
        script.python_script(replace(account.of_run(run), folder=None))


def test_a_run_that_was_stopped_is_said_to_come_out_otherwise(cells, tmp_path):
    run = made(tmp_path / "run", cells, preset("paper", **SHORT), False, time_key="day", source="x.h5ad")
    for event in train(state := run.state()):
        if isinstance(event, Round):
            break
    with open(run.folder / "events.jsonl", "w") as file:
        file.write(to_line(Cancelled(state.step, 0.0)) + "\n")
    state.result().save(run.folder / "model.safetensors")
    told = account.of_run(run)
    assert script.STOPPED in script.python_script(told).splitlines()[2]
    assert script.STOPPED in script.command_line(told)
    assert "stopped before its end" in words.methods_paragraph(told)
    # and so it is where the result was written to a file
    adata = cells.copy()
    losses = History(steps={1: dict(stage="start", total=1.0)})
    annotate(run.result(), adata, run.snapshots(), run.recipe, history=losses)
    assert account.of_result(adata).stopped
    annotate(run.result(), adata, run.snapshots(), run.recipe, metrics=dict(vc=1.0), history=losses)
    assert not account.of_result(adata).stopped

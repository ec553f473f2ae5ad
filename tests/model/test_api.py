"""``import cellstream as cs``: one road with the command line, and a result that knows its cells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

import cellstream as cs
from cellstream import scverse
from cellstream.figures.of_result import Source, Wish
from cellstream.figures.paper import Sheet
from cellstream.runs import Run
from cellstream.scene import Scene
from tests.conftest import TINY

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data" / "branching-result"
SETTINGS = {**TINY, "embedding_steps": 20, "warm_steps": 20, "seed": 3}


@pytest.fixture(scope="module")
def cells() -> anndata.AnnData:
    """Two lineages of 30 features at three time points, and cells without a time among them."""
    rng = np.random.default_rng(0)
    counts = [40, 60, 90]
    index = np.repeat(np.arange(3), counts)
    lineage = rng.integers(0, 2, len(index))
    x = rng.normal(size=(len(index), 30)) + index[:, None] * np.linspace(0, 2, 30)
    x[:, :5] += (lineage * index)[:, None]
    obs = pd.DataFrame(
        dict(day=[f"day {t}" for t in np.array([0, 1, 3])[index]], lineage=np.array(["a", "<b>"])[lineage]),
        index=[f"cell{i}" for i in range(len(index))],
    )
    adata = anndata.AnnData(x.astype(np.float32), obs=obs)
    adata.obs.loc[["cell5", "cell77"], "day"] = np.nan
    adata.obs["day"] = pd.Categorical(adata.obs["day"])
    return adata


@pytest.fixture(scope="module")
def fitted(cells) -> cs.CellStream:
    return cs.fit(cells, "day", real_times=True, masses=[1, 2, 3], progress=False, **SETTINGS)


@pytest.fixture(scope="module")
def sample() -> cs.CellStream:
    return cs.load(SAMPLE)


# --- one road ---------------------------------------------------------------------------------------------------------


def test_a_fit_is_that_of_the_command_line_bit_for_bit(cells, fitted, tmp_path):
    """From memory and from a file: the same weights, the same metrics, the same losses."""
    file, out = tmp_path / "cells.h5ad", tmp_path / "out.h5ad"
    cells.write_h5ad(file)
    words = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    words = ["fit", str(file), "--out", str(out), "--time-key", "day", "--real-times", "--masses", "1,2,3", *words]
    subprocess.run([sys.executable, "-m", "cellstream", *words], check=True, capture_output=True)
    said = cs.load(out)
    ours, theirs = fitted.weights(), said.weights()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
    assert fitted.config == said.config
    assert json.dumps(fitted.metrics) == json.dumps(said.metrics)
    pd.testing.assert_frame_equal(fitted.losses, said.losses, check_index_type=False)
    assert len(fitted.losses) > 10
    assert fitted.record.notes[: len(said.record.notes)] == said.record.notes


def test_the_cells_stay_as_they_were(cells, fitted):
    assert fitted.record.adata is cells
    assert not cells.uns
    assert not cells.obsm
    assert list(cells.obs) == ["day", "lineage"]


def test_progress_goes_to_stderr_and_silence_is_silent(cells, capsys):
    with pytest.raises(cs.UserError, match="relative masses"):
        cs.fit(cells, "day", masses=[1, 2], progress=False)
    cs.fit(cells, "day", progress=False, **SETTINGS)
    assert capsys.readouterr() == ("", "")
    cs.fit(cells, "day", **SETTINGS)
    said = capsys.readouterr()
    assert said.out == ""
    assert "real_times=True follows the real ones" in said.err
    assert "masses=[1,1,1]" in said.err
    assert "--" not in said.err


# --- interrupts -------------------------------------------------------------------------------------------------------


def interrupted(when, done: threading.Event) -> threading.Thread:
    """Send this process Ctrl-C once ``when`` is true."""

    def wait() -> None:
        while not done.is_set():
            if when():
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_an_interrupt_keeps_the_best_model_so_far(cells, tmp_path):
    folder, done = tmp_path / "run", threading.Event()

    def learning() -> bool:
        return (folder / "config.json").exists() and Run(folder).status().stage == "rounds"

    thread = interrupted(learning, done)
    try:
        result = cs.fit(cells, "day", run_dir=folder, progress=False, **{**SETTINGS, "rounds": 9999, "patience": 9999})
    finally:
        done.set()
        thread.join()
    assert result.record.state == "cancelled"
    assert result.metrics == {}
    assert np.isfinite(result.velocity()).all()
    assert "cancelled before its end" in repr(result)
    # the folder was asked for: it stays, and is the same result
    for name, value in Run(folder).result().weights().items():
        assert torch.equal(value, result.weights()[name])


def test_an_interrupt_before_there_is_a_model_leaves_nothing_behind(cells, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    done = threading.Event()
    thread = interrupted(lambda: any(tmp_path.glob("cellstream-*/worker.json")), done)
    try:
        with pytest.raises(KeyboardInterrupt, match="nothing had been learned yet"):
            cs.fit(cells, "day", progress=False, **{**TINY, "start_steps": 100_000})
    finally:
        done.set()
        thread.join()
    assert not list(tmp_path.glob("cellstream-*"))


# --- words that are not known -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (dict(sed=1), "did you mean seed"),
        (dict(rouds=1), "did you mean rounds"),
        (dict(real_time=True), "did you mean real_times"),
        (dict(preset="quik"), "did you mean 'quick'"),
        (dict(rounds="many"), "whole number"),
        (dict(input="layer:a", use_rep="X_pca"), "leave one out"),
        (dict(use_rep="X_pca"), "X_pca"),
        (dict(fixes=["drop-copy"]), "drop-copies"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_done(cells, words, said):
    with pytest.raises(cs.UserError, match=said):
        cs.fit(cells, "day", progress=False, **words)


def test_the_door_speaks_python(cells):
    twice = cells.copy()
    twice.obs["time"] = twice.obs["day"].astype(str).str[4:].replace("", np.nan).astype(float)
    with pytest.raises(cs.UserError, match="Expected time_key, the column"):
        cs.fit(twice, progress=False)
    holes = cells.copy()
    holes.X[0, 0] = np.nan
    with pytest.raises(cs.UserError, match=r'fixes=\["drop-nonfinite"\]'):
        cs.fit(holes, "day", progress=False)
    with pytest.raises(cs.UserError, match="AnnData, a path or the name of a data set, but got int"):
        cs.fit(3)


# --- a result that knows its cells ------------------------------------------------------------------------------------


def test_asked_of_nothing_a_result_tells_of_its_cells(fitted):
    snapshots = fitted.record.snapshots
    x, t = snapshots.x.numpy(), np.array([0.0, 1.0, 3.0])[snapshots.index.numpy()]
    z = fitted.encode(x, t)
    assert len(z) == 188  # two have no time
    assert np.array_equal(fitted.encode(), z)
    assert np.array_equal(fitted.velocity(), fitted.velocity(z, t))
    assert np.array_equal(fitted.growth(), fitted.growth(z, t))
    assert np.array_equal(fitted.decode(), fitted.decode(z))
    with pytest.raises(cs.UserError, match="got one"):
        fitted.velocity(z)
    with pytest.raises(cs.UserError, match="got one"):
        fitted.encode(t=0.0)


def test_a_result_annotates_its_own_cells_and_others_only_where_they_are_the_same(cells, fitted):
    adata = cells.copy()
    fitted.annotate(adata)
    known = adata.obs["day"].notna().to_numpy()
    assert np.array_equal(adata.obsm["X_cellstream"][known], fitted.encode())
    assert np.isnan(adata.obsm["X_cellstream"][~known]).all()
    assert np.array_equal(adata.obsm["velocity_cellstream"][known], fitted.velocity())
    again = scverse.result_in(adata)
    assert again.metrics == json.loads(json.dumps(fitted.metrics))
    with pytest.raises(cs.UserError, match="not those"):
        fitted.annotate(cells[::-1].copy())


def test_a_result_is_kept_with_its_cells_and_read_again(fitted, tmp_path):
    out = tmp_path / "result.h5ad"
    fitted.save(out)
    with pytest.raises(cs.UserError, match="overwrite=True"):
        fitted.save(out)
    fitted.save(out, overwrite=True)
    fitted.save(tmp_path / "result.zarr")
    fitted.save(tmp_path / "model.safetensors")
    for path in (out, tmp_path / "result.zarr", tmp_path / "model.safetensors"):
        again = cs.load(path)
        for name, value in fitted.weights().items():
            assert torch.equal(value, again.weights()[name])
    assert again.record is None
    with pytest.raises(cs.UserError, match="Only the model"):
        again.velocity()
    assert "the model alone" in repr(again)
    with pytest.raises(cs.UserError, match="ends in"):
        fitted.save(tmp_path / "result.csv")
    assert not fitted.record.adata.uns


def test_a_runs_folder_is_a_result(sample):
    assert len(sample.record.snapshots.index) == sample.record.adata.n_obs == 2736
    assert len(sample.members) == 4
    assert sample.metrics["trust"] == Run(SAMPLE).metrics()["trust"]
    table = sample.summary()
    assert table.loc["trust", "value"] == sample.metrics["trust"]
    assert table.loc["trust", "beside"] == sample.metrics["trust_pca"]
    assert table.loc["mass at day 7", "beside"] == pytest.approx(826 / 231)
    with pytest.raises(cs.UserError, match="not those"):
        cs.load(SAMPLE, sample.record.adata[:-1].copy())


def test_a_result_says_what_it_is_and_names_from_files_stay_text(fitted, sample):
    told = repr(sample)
    for part in ("2,736 cells", "0 to 7 d", "5 models", "preset best", "noise floor"):
        assert part in told
    clock = fitted.clock.__class__(**{**vars(fitted.clock), "labels": ("<script>", "1", "3")})
    shown = fitted.__class__(**{**vars(fitted), "clock": clock})._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown


# --- figures ----------------------------------------------------------------------------------------------------------


def test_a_figure_is_shown_and_kept_with_its_numbers_and_where_it_came_from(fitted, tmp_path):
    figure = cs.figures.embedding(fitted, colour="lineage", layers=["cells", "streams"], width=120)
    assert figure.get_figwidth() == pytest.approx(120 / 25.4)
    assert np.allclose(figure.numbers[["x", "y"]], Scene(fitted, fitted.record.snapshots).points)
    shown, about = figure._repr_mimebundle_()
    assert shown["image/png"].startswith("iVBOR")
    assert about["image/png"]["width"] == round(1.6 * 96 * 120 / 25.4)
    out = figure.save(tmp_path / "a.svg")
    told = out.read_text()
    assert figure.provenance["cells_fingerprint"] in told
    assert figure.provenance["shows"]["colour"] == "lineage"
    with pytest.raises(cs.UserError, match="overwrite=True"):
        figure.save(out)


def test_a_figure_is_that_of_the_command_line(fitted, tmp_path):
    """The picture itself, byte for byte: an svg's description alone tells where the result was."""
    fitted.save(tmp_path / "result.h5ad")
    words = [str(tmp_path / "result.h5ad"), "--out", str(tmp_path / "a.svg"), "--colour", "growth", "--letter", "b"]
    subprocess.run([sys.executable, "-m", "cellstream", "figure", *words], check=True, capture_output=True)
    ours = cs.figures.embedding(fitted, colour="growth", letter="b").save(tmp_path / "b.svg")
    drawn = [path.read_text().partition("</metadata>")[2] for path in (tmp_path / "a.svg", ours)]
    assert len(drawn[0]) > 5000
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("draw", "rows"),
    [
        (lambda r: cs.figures.times(r, "speed"), 2736),
        (lambda r: cs.figures.lineage(r, "lineage=erythroid", labels="lineage"), 6),
        (lambda r: cs.figures.genes(r, r.genes.names[0]), None),
        (lambda r: cs.figures.losses(r), None),
        (lambda r: cs.figures.match(r), 5),
    ],
    ids=["times", "lineage", "genes", "losses", "match"],
)
def test_every_kind_of_figure_is_drawn_with_its_numbers(sample, draw, rows):
    figure = draw(sample)
    assert figure.get_axes()
    assert len(figure.numbers) == rows if rows else len(figure.numbers) > 10


def test_cells_view_and_axes_are_chosen_by_words(sample):
    kinds = sample.record.adata.obs["lineage"].iloc[scverse.rows_of(sample.record.adata, sample.record.snapshots)]
    chosen = np.flatnonzero(kinds.to_numpy() == "progenitor")
    by_cells = Source.of(sample).drawn(Wish("genes", genes=("Stem05",), cells=chosen), Sheet()).numbers
    ours = cs.figures.genes(sample, "Stem05", select="lineage=progenitor").numbers
    pd.testing.assert_frame_equal(ours, by_cells)
    assert not ours.equals(cs.figures.genes(sample, "Stem05").numbers)
    figure = cs.figures.embedding(sample, select="lineage=progenitor", view=(-1, 2, 0, 3))
    assert figure.provenance["shows"]["select"] == "lineage=progenitor"
    assert figure.provenance["shows"]["view"] == [-1, 2, 0, 3]
    ax = next(ax for ax in figure.axes if len(ax.lines))
    assert {*ax.get_xlim(), *ax.get_ylim()} >= {-1, 2} or {*ax.get_xlim(), *ax.get_ylim()} >= {0, 3}
    for wrong in (dict(view=(2, 1, 0, 1)), dict(view=3), dict(axes=(1,)), dict(axes=(1, 3))):
        with pytest.raises(cs.UserError, match=r"Expected (a view|axes|two of)"):
            cs.figures.embedding(sample, **wrong)
    with pytest.raises(cs.UserError, match="KEY=VALUE"):
        cs.figures.lineage(sample, "")


def test_a_file_takes_no_other_cells(fitted, tmp_path):
    fitted.save(tmp_path / "result.h5ad")
    with pytest.raises(cs.UserError, match="leave adata out"):
        cs.load(tmp_path / "result.h5ad", fitted.record.adata)


def test_a_figures_words_are_checked(sample, fitted):
    for draw, said in (
        (lambda: cs.figures.embedding(sample, widht=3), "did you mean width"),
        (lambda: cs.figures.embedding(sample, width="singel"), "single"),
        (lambda: cs.figures.embedding(sample, layers="stream"), "out of cells, streams"),
        (lambda: cs.figures.embedding(sample, time=2), "layers="),
        (lambda: cs.figures.genes(sample, []), r"genes=\["),
        (lambda: cs.figures.match(sample.record.adata), "Expected a result of cs.fit"),
    ):
        with pytest.raises(cs.UserError, match=said):
            draw()


# --- the package ------------------------------------------------------------------------------------------------------


def test_importing_the_package_imports_next_to_nothing():
    heavy = ("torch", "numpy", "pandas", "anndata", "matplotlib", "scipy")
    code = f"import sys, cellstream, cellstream.figures; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_stays_what_it_is():

    for name in cs.__all__:
        assert getattr(cs, name) is not None
        assert name in dir(cs)
    assert callable(cs.fit)
    for name in cs.figures.__all__:
        assert callable(getattr(cs.figures, name))
    with pytest.raises(AttributeError):
        cs.fitt  # noqa: B018


def test_settings_are_a_table():
    table = cs.settings("quick")
    assert table.loc["rounds", "value"] == 8
    assert cs.settings().loc["rounds", "value"] == 12
    assert table["meaning"].str.len().min() > 10

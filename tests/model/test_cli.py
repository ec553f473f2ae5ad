"""The command line: what it makes, what it says, and how it ends."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import psutil
import pytest

from cellstream import cli, evaluation, events, genes, progress, scverse, serve
from cellstream.config import Config, settings
from cellstream.errors import UserError
from cellstream.files import resuming
from cellstream.fitting import Outcome
from cellstream.history import History
from cellstream.presets import PRESETS, preset
from cellstream.progress import Bar, Clock, part_ends
from cellstream.runs import Run, Status
from cellstream.scverse import annotate, read_result
from cellstream.simulate import simulate
from cellstream.snapshots import from_anndata
from cellstream.state import State
from cellstream.terminal import as_json, columns, table_of
from cellstream.training import parts, train
from tests.conftest import TINY

SMALL = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
PATIENT = 120


@pytest.fixture
def command(capsys):
    """Runs the command line in this process; gives exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in words])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "cells.h5ad"
    simulate("populations", n_cells=40).write_h5ad(path)
    return path


@pytest.fixture(scope="session")
def fitted(data, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A result, made once by the command as a user calls it."""
    out = tmp_path_factory.mktemp("fitted") / "result.h5ad"
    words = ["fit", data, "--out", out, "--preset", "paper", "--seed", "5", "--masses", "2,3,4", "--json", *SMALL]
    return out, subprocess.run([sys.executable, "-m", "cellstream", *words], capture_output=True, text=True)


def one_sentence(said: str) -> str:
    assert said.endswith((".\n", "?\n")), said
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return said


def last_step() -> int:
    return max(part_ends(preset("paper", **TINY)).values())


# --- fit --------------------------------------------------------------------------------------------------------------


def test_fit_writes_a_result_and_says_what_it_did(fitted, data):
    out, ended = fitted
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert (said["out"], said["run"], said["state"]) == (str(out), None, "finished")
    assert said["seconds"] > 0
    assert said["metrics"].keys() >= {"vc", "tc", "trust", "direction", "match", "mass"}
    for words in ("'time'", "negative values", "kept all", "Fitting the autoencoder"):
        assert words in ended.stderr
    adata = anndata.read_h5ad(out)
    assert adata.obsm["X_cellstream"].shape == (adata.n_obs, 2)
    np.testing.assert_array_equal(adata.X, anndata.read_h5ad(data).X)
    kept = adata.uns["cellstream"]
    assert json.loads(kept["metrics"]) == said["metrics"]
    assert list(kept["losses"]["step"]) == list(range(1, last_step() + 1))
    recipe = json.loads(kept["recipe"])
    expected = dict(source=str(data), time_key="time", input="X", masses=[2, 3, 4], preset="paper", real_times=False)
    assert {key: recipe[key] for key in expected} == expected


def test_fit_says_where_population_sizes_come_from_and_that_steps_are_even(fitted, tmp_path, command, monkeypatch):
    outcome = Outcome(Status("cancelled"), None, None)
    monkeypatch.setattr("cellstream.fitting.train", lambda *words, **options: outcome)
    adata = simulate("populations", n_cells=40)
    adata.obs["time"] = adata.obs["time"].map({0: 0.0, 1: 2.0, 2: 12.0})
    adata.write_h5ad(tmp_path / "cells.h5ad")
    words = ["fit", tmp_path / "cells.h5ad", "--out", tmp_path / "r.h5ad", "--time-key", "time"]
    _, _, said = command(*words, "--run-dir", tmp_path / "even")
    assert "or 1 everywhere, as in --masses 1,1,1." in said
    assert "from 2 to 10, but count as even steps" in said
    assert "--real-times" in said
    assert "Few cells at 0" in said
    assert "sequenced" not in fitted[1].stderr
    _, _, said = command(*words, "--run-dir", tmp_path / "real", "--real-times")
    assert "even steps" not in said


@pytest.mark.slow
def test_the_result_is_that_of_the_settings_given(fitted):
    stream, snapshots, _ = read_result(anndata.read_h5ad(fitted[0]))
    assert stream.config == preset("paper", seed=5, **TINY)
    assert snapshots.mass.tolist() == [1, 1.5, 2]
    # the same training in this process
    state = State.initial(snapshots, stream.config)
    for _ in train(state):
        pass
    weights = state.result().weights()
    assert all(value.equal(weights[name]) for name, value in stream.weights().items())


@pytest.mark.slow
def test_no_temporary_run_is_left(fitted, data, tmp_path, command, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, said, err = command(
        "fit", data, "--time-key", "time", "--out", tmp_path / "r.h5ad", "--preset", "paper", *SMALL
    )
    assert code == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["r.h5ad"]
    assert "velocity consistency" in said
    assert "natural logarithms per time step" in said.splitlines()[-2]
    assert str(tmp_path / "r.h5ad") in said


def test_evaluate_measures_the_result_anew(fitted, command):
    code, said, _ = command("evaluate", fitted[0], "--json")
    assert code == 0
    found = json.loads(said)
    keys = "vc_paper tc_paper vc tc tc_pca lonely trust trust_pca direction direction_constant r2 r2_pca"
    keys += " r2_per_feature r2_cells r2_unseen match mass va"
    assert found.keys() == set(keys.split())
    adata = anndata.read_h5ad(fitted[0])
    stream, snapshots, _ = read_result(adata)
    assert found["va"] == pytest.approx(evaluation.alignment(stream, snapshots, adata.layers["velocity_true"]))
    before = json.loads(adata.uns["cellstream"]["metrics"])
    assert {k: found[k] for k in before} == json.loads(as_json(before))
    code, said, _ = command("evaluate", fitted[0])
    assert code == 0
    assert f"{found['va']:.3f}" in said
    assert f"{found['match']['2']['w2']:.3f}" in said
    for row, key in (("TC", "tc_pca"), ("trust", "trust_pca"), ("R²", "r2_pca")):
        assert f"plain PCA {found[key]:.3f}" in next(line for line in said.splitlines() if line.startswith(row))
    assert "natural logarithms per time step" in said.splitlines()[-1]


def test_evaluate_follows_lineages(fitted, command):
    code, said, _ = command("evaluate", fitted[0], "--labels", "population", "--json")
    found = json.loads(said)
    assert code == 0
    assert 0.5 < found["branch_accuracy"] <= 1
    lineages = found["arrivals"]["lineages"]
    assert list(lineages) == ["population 1", "population 2"]
    assert sum(share["predicted"] for share in lineages.values()) == pytest.approx(1)
    # of 20 cells each at the start, one population grows by half a time step's logarithm: e against 1 at the end
    assert lineages["population 1"]["observed"] == pytest.approx(54 / 74)
    _, said, _ = command("evaluate", fitted[0], "--labels", "population")
    assert "branches" in said
    assert "share arriving from 1" in said
    assert "share at 1" in said
    assert lineages["population 1"]["start"] + lineages["population 2"]["start"] == pytest.approx(1)
    assert "so they are the easy ones" in said
    code, _, said = command("evaluate", fitted[0], "--labels", "fate")
    assert code == 2
    assert "There is no column 'fate' in obs; there are: 'time', 'population'" in one_sentence(
        said.splitlines()[-1] + "\n"
    )


def test_only_kinds_of_cells_are_lineages(fitted, tmp_path, command):
    adata = anndata.read_h5ad(fitted[0])
    adata.obs["depth"] = np.random.default_rng(0).normal(size=adata.n_obs)
    adata.obs["stage"] = adata.obs["time"].map({0: "early", 1: "middle", 2: "late"}).to_numpy()
    adata.obs["some"] = adata.obs["population"].astype(str).mask(np.arange(adata.n_obs) % 3 == 0, "unknown")
    adata.obs["part"] = np.where(np.arange(adata.n_obs) % 2, 0.5, 1.25)
    adata.obs["batch"], adata.obs["nothing"] = "one", np.nan
    path = tmp_path / "labelled.h5ad"
    adata.write_h5ad(path)
    for key, says in (
        ("part", "'part' holds fractions, as in 1.25"),
        ("batch", "at least two, but 'batch' has 'one' for all cells that have one"),
        ("nothing", "'nothing' has none"),
        ("depth", f"'depth' has {adata.n_obs} of them for {adata.n_obs} cells"),
        ("time", "'time' has one for each time point"),
        ("stage", "'stage' has one for each time point"),
    ):
        code, _, err = command("evaluate", path, "--labels", key)
        assert code == 2
        assert says in one_sentence(err.splitlines()[-1] + "\n")
    code, _, err = command("evaluate", path, "--labels", "some")
    assert code == 0
    left = (adata.obs["some"] == "unknown").sum()
    assert f"{left} cells without a label in 'some' (empty, not assigned, unknown, …) are left out" in err


def test_evaluate_repeats_what_one_should_know(fitted, command):
    _, _, err = command("evaluate", fitted[0])
    assert "Few cells at 0: what is learned there is uncertain." in err
    assert "Population sizes" not in err  # they were given


def test_metrics_of_an_earlier_version_are_still_shown(fitted):
    before = json.loads(anndata.read_h5ad(fitted[0]).uns["cellstream"]["metrics"])
    less = {key: value for key, value in before.items() if key not in ("tc_pca", "r2_pca")}
    shown = table_of(before).replace(f", plain PCA {before['tc_pca']:.3f}", "")
    assert shown.replace(f" (plain PCA {before['r2_pca']:.3f})", "") == table_of(less)


def test_the_table_says_of_how_many_cells_it_speaks_where_most_are_alone(fitted):
    metrics = json.loads(anndata.read_h5ad(fitted[0]).uns["cellstream"]["metrics"])
    assert "that have neighbours" not in table_of(metrics | dict(lonely=0.05))
    said = table_of(metrics | dict(lonely=0.93, tc_pca=float("nan")))
    assert "of the 7% of the cells that have neighbours" in said
    assert "nan" not in said


def test_further_tables_are_shown_where_the_metrics_have_them(fitted):
    metrics = json.loads(anndata.read_h5ad(fitted[0]).uns["cellstream"]["metrics"])
    plain = table_of(metrics)
    assert "the longer side of the embedding's bounding box" in plain
    further = dict(
        branch_accuracy=0.9961,
        branch_accuracy_pca=0.9424,
        fidelity={
            "day 2": dict(of=1234, kept=0.8125, chance=0.51, lineages=dict(En=0.9, M=0.75)),
            "day 2.5": dict(of=56, kept=1.0),  # as an earlier version tells it
        },
        ensemble=dict(models=5, median=12.3, scattered=0.034),
    )
    lines = table_of(metrics | further).splitlines()
    assert "branches   0.996  lineages told apart (plain PCA 0.942)" in lines
    assert "time point  cells with a lineage  share arriving in it  by chance  of those of En  of those of M" in lines
    assert "day 2       1,234                 0.812                 0.510      0.900           0.750" in lines
    assert "day 2.5     56                    1.000                 –          –               –" in lines
    (said,) = (line for line in lines if "models scatter" in line)
    assert said.startswith("The directions of 5 models scatter by 12° (median), by more than 45° at 3% of the cells. ")
    assert said.endswith("it does not say that a fate is right.")
    more = table_of(metrics | further | dict(ensemble=dict(further["ensemble"], growth=0.0512, growth_cells=0.113)))
    assert (
        "growth rates of one cell have a standard deviation of 0.051, the cells of one time point one of 0.113" in more
    )
    seven = dict(day=dict(of=9, kept=1.0, chance=0.2, lineages=dict.fromkeys("abcdefg", 1.0)))
    assert "There are 7 lineages: --json tells the share of each." in table_of(metrics | dict(fidelity=seven))
    better = table_of(metrics | dict(direction=0.9, direction_constant=0.95))
    assert "(a constant field 0.950, which does better)" in better
    assert "does better" not in table_of(metrics | dict(direction=0.95, direction_constant=0.9501))
    assert "models" not in plain


def test_an_ensemble_is_measured_with_the_result(tmp_path, command):
    adata = simulate("populations", n_cells=40)
    snapshots = from_anndata(adata, "time")
    state = State.initial(snapshots, preset("paper", **TINY, ensemble=2))
    for _ in train(state):
        pass
    stream = state.result()
    annotate(stream, adata, snapshots, dict(time_key="time"))
    adata.write_h5ad(tmp_path / "result.h5ad")
    code, said, err = command("evaluate", tmp_path / "result.h5ad", "--json")
    assert code == 0, err
    variance = adata.obs["cellstream_velocity_uncertainty"].to_numpy()
    # √(−2 log R) = 45° where R = exp(−(π/4)² / 2)
    share = (variance > 1 - np.exp(-((np.pi / 4) ** 2) / 2)).mean()
    assert json.loads(said)["ensemble"]["models"] == 2
    assert json.loads(said)["ensemble"]["scattered"] == pytest.approx(share, abs=0.01)


def test_how_much_of_each_feature_comes_back_goes_to_a_table(fitted, tmp_path, command):
    path = tmp_path / "features.csv"
    code, said, err = command("evaluate", fitted[0], "--genes", path, "--json")
    assert code == 0, err
    table = pd.read_csv(path, index_col=0)
    assert table.index.name == "feature"
    assert table["r2"].to_dict() == pytest.approx(json.loads(said)["r2_per_feature"])
    assert set(table.index) == {f"Gene{i}" for i in range(1, 7)}
    code, _, err = command("evaluate", fitted[0], "--genes", path)
    assert code == 2
    assert "--overwrite" in one_sentence(err)
    code, _, err = command("evaluate", fitted[0], "--genes", tmp_path / "x.txt")
    assert ".csv" in one_sentence(err)


def test_genes_are_ranked_at_each_time_point_or_at_one(fitted, tmp_path, command):
    """One table for all time points; at a time of one's own the same ranking as the library's."""
    path, one = tmp_path / "drivers.csv", tmp_path / "one.csv"
    code, said, err = command("genes", fitted[0], "--out", path)
    assert code == 0, err
    table = pd.read_csv(path, index_col=0)
    stream, snapshots, recipe = scverse.read_result(adata := anndata.read_h5ad(fitted[0]))
    assert sorted(table["time"].unique()) == snapshots.times.tolist()
    assert "standard deviations per" in said
    time = float(snapshots.times[0] + snapshots.times[1]) / 2
    code, _, err = command("genes", fitted[0], "--out", one, "--time", str(time))
    assert code == 0, err
    expression = scverse.expression(adata, stream, snapshots, recipe)
    spread, returned = genes.spread_of(snapshots, expression), evaluation.returned(stream, snapshots, expression)
    pd.testing.assert_frame_equal(
        pd.read_csv(one, index_col=0), genes.ranking(stream, snapshots, time, spread, returned), rtol=1e-5
    )
    code, _, err = command("genes", fitted[0], "--out", one)
    assert code == 2
    assert "--overwrite" in one_sentence(err)
    code, _, err = command("genes", fitted[0], "--out", tmp_path / "x.csv", "--time", "1e6")
    assert code == 2
    assert "Expected times from" in one_sentence(err)
    assert not (tmp_path / "x.csv").exists()


def test_genes_are_told_where_the_features_are_their_components(tmp_path, command):
    """The names in the table are genes, and the totals stand beside what all components hold."""
    out, path = tmp_path / "result.h5ad", tmp_path / "genes.csv"
    adata = simulate("branching", n_cells=60, n_genes=230)
    snapshots = from_anndata(adata, "day")
    stream = State.initial(snapshots, preset("quick", **TINY)).result()
    annotate(stream, adata, snapshots, dict(time_key="day"))
    adata.write_h5ad(out)
    code, said, err = command("evaluate", out, "--genes", path, "--json")
    assert code == 0, err
    found, table = json.loads(said), pd.read_csv(path, index_col="gene")
    assert set(table.index) <= set(adata.var_names)
    assert len(table) > 200
    assert len(found["r2_per_feature"]) == 50
    assert table["r2"].max() == pytest.approx(max(found["r2_per_feature"].values()))
    assert found["r2_genes"] < found["r2_genes_features"] < 1
    code, said, err = command("evaluate", out)
    assert "Population sizes are taken from the numbers of cells in the file" in err
    assert f"all components {found['r2_genes_features']:.3f}" in said
    assert found["r2_genes_below"] == pytest.approx((table["r2"].dropna() < 0).mean())
    assert f"{found['r2_genes_below']:.0%} of the genes below 0" in said


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_model_and_resume_goes_on(data, tmp_path, command):
    out, folder = tmp_path / "result.h5ad", tmp_path / "run"
    words = ["fit", data, "--out", out, "--preset", "paper", *SMALL, "--set", "rounds=4000", "--set", "patience=10000"]
    fit = subprocess.Popen(
        [sys.executable, "-m", "cellstream", *map(str, words), "--run-dir", str(folder), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = []
    for line in fit.stderr:
        seen.append(line)
        if "together" in line:
            break
    until(lambda: (run := Run(folder)).poll() and run.history.rounds)
    fit.send_signal(signal.SIGINT)
    said, errors = fit.communicate(timeout=PATIENT)
    assert fit.returncode == 130, "".join(seen) + errors
    assert "Stopped by you" in errors
    assert json.loads(said)["state"] == "cancelled"
    adata = anndata.read_h5ad(out)
    best = Run(folder).result().weights()
    kept = adata.uns["cellstream"]["model"]["weights"]
    assert all((value.numpy() == kept[name]).all() for name, value in best.items())
    # a second fit into the same folder is told of resume
    code, _, err = command(*words[:2], "--out", tmp_path / "other.h5ad", "--run-dir", folder)
    assert code == 2
    assert f"cellstream resume {folder}" in one_sentence(err)
    code, _, err = command("resume", folder)
    assert code == 2
    assert "--overwrite" in one_sentence(err)
    # let it come to its end soon
    run = Run(folder)
    shorter = run.config.with_settings(patience=1)
    (folder / "config.json").write_text(shorter.to_json())
    code, said, err = command("resume", folder, "--overwrite", "--json")
    assert "Going on from the last checkpoint; " in err
    assert "Fitting the autoencoder" not in err
    assert code == 0, err
    assert json.loads(said)["state"] == "finished"
    assert json.loads(said)["run"] == str(folder)
    first = [
        e
        for e in map(events.from_line, (folder / "events.jsonl").read_text().splitlines())
        if isinstance(e, events.Resumed)
    ]
    assert first[0].step > 20
    # what is finished is only written
    code, said, err = command("resume", folder, "--out", tmp_path / "again.h5ad")
    assert code == 0, err
    read_result(anndata.read_h5ad(tmp_path / "again.h5ad"))


def until(condition):
    end = time.monotonic() + PATIENT
    while not (found := condition()):
        assert time.monotonic() < end, "It did not happen."
        time.sleep(0.05)
    return found


def test_a_run_that_fails_says_why_and_is_kept(data, tmp_path, command):
    run = make_run(tmp_path, size=1e30)  # float32 does not hold the squares
    code, said, err = command("resume", run.folder, "--json")
    assert code == 1
    assert json.loads(said)["state"] == "failed"
    assert Run(run.folder).status().reason in err
    assert str(run.folder) in err
    assert "resume" not in err  # which would only end there again
    # and the command that the app starts
    code, said, err = command("run", run.folder)
    assert (code, said) == (1, "")
    assert one_sentence(err) == f"{run.status().reason}\n"


def make_run(tmp_path, size: float = 1) -> Run:
    adata = simulate("populations", n_cells=40)
    adata.X = adata.X * np.float32(size)
    return Run.create(tmp_path / "run", from_anndata(adata, "time"), Config().with_settings(**TINY), {})


def test_a_folder_that_was_removed_is_told_in_a_sentence(tmp_path, command, monkeypatch):
    run = make_run(tmp_path)
    monkeypatch.setattr(Run, "start", lambda self: None)
    remove = lambda run, told: (run.folder / "config.json").unlink() or Status("new")  # noqa: E731
    monkeypatch.setattr("cellstream.fitting.follow", remove)
    code, _, err = command("resume", run.folder)
    assert code == 2
    assert "was removed" in one_sentence(err)


def test_run_works_in_a_folder_without_a_word(tmp_path, command):
    run = make_run(tmp_path)
    assert command("run", run.folder) == (0, "", "")
    assert run.status().state == "finished"


# --- what would be lost -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_training(monkeypatch):
    """Whatever starts a training fails: it is too late by then."""

    def start(self):
        raise AssertionError("A training was started.")

    monkeypatch.setattr(Run, "start", start)


def permuted(adata: anndata.AnnData) -> anndata.AnnData:
    return adata[::-1].copy()


def at_other_times(adata: anndata.AnnData) -> anndata.AnnData:
    adata.obs["time"] = adata.obs["time"].to_numpy()[::-1]
    return adata


def with_our_names(adata: anndata.AnnData) -> anndata.AnnData:
    adata.obsm["X_cellstream"] = np.ones((adata.n_obs, 2))
    return adata


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (permuted, "or their order"),
        (at_other_times, "times of the cells"),
        (with_our_names, "X_cellstream"),
        (None, ""),
    ],
)
def test_resume_looks_at_the_file_before_it_trains(data, tmp_path, command, no_training, change, says):
    source = tmp_path / "cells.h5ad"
    adata = anndata.read_h5ad(data)
    recipe = dict(source=str(source), time_key="time", out=str(tmp_path / "r.h5ad"))
    run = Run.create(tmp_path / "run", from_anndata(adata, "time"), Config().with_settings(**TINY), recipe)
    if change:
        change(adata).write_h5ad(source)
    code, out, err = command("resume", run.folder)
    assert (code, out) == (2, "")
    assert (says or str(source)) in one_sentence(err)


def test_a_finished_run_is_written_where_its_device_is_not(data, tmp_path, command, monkeypatch):
    from cellstream.worker import work

    adata = anndata.read_h5ad(data)
    recipe = dict(source=str(data), time_key="time")
    run = Run.create(tmp_path / "run", from_anndata(adata, "time"), Config().with_settings(**TINY), recipe)
    work(run.folder)
    (run.folder / "config.json").write_text(run.config.with_settings(device="cuda").to_json())
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert command("resume", run.folder, "--out", tmp_path / "r.h5ad")[0] == 0
    read_result(anndata.read_h5ad(tmp_path / "r.h5ad"))


def test_a_run_that_does_not_know_its_source_says_so(tmp_path, command, no_training):
    code, _, err = command("resume", make_run(tmp_path).folder, "--out", tmp_path / "r.h5ad")
    assert code == 2
    assert "where its data came from" in one_sentence(err)


@pytest.mark.parametrize(
    ("change", "words", "says"),
    [
        (with_our_names, [], "obsm['X_cellstream']"),
        (lambda adata: adata, ["--device", "cuda"], "CUDA"),
        (lambda adata: adata, ["--run-dir", "RUN"], "Name another one"),
    ],
)
def test_what_cannot_end_well_is_not_begun(data, tmp_path, command, no_training, monkeypatch, change, words, says):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    change(anndata.read_h5ad(data)).write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").touch()
    words = [str(tmp_path / "run") if word == "RUN" else word for word in words]
    code, out, err = command("fit", tmp_path / "cells.h5ad", "--out", tmp_path / "r.h5ad", *words)
    assert (code, out) == (2, "")
    assert says in one_sentence(err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.h5ad", "run"]


def table(path: Path, **columns: object) -> Path:
    adata = simulate("populations", n_cells=40)
    frame = adata.to_df().assign(day=adata.obs["time"].to_numpy())
    for name, values in columns.items():
        frame[name] = [values[i % len(values)] for i in range(len(frame))]
    frame.to_csv(path, index_label="cell")
    return path


def test_a_column_that_no_h5ad_holds_is_named_before_the_training(tmp_path, command, no_training):
    path = table(tmp_path / "cells.csv", _index=["a", "b"], note=["a", "b"])
    code, _, err = command("fit", path, "--out", tmp_path / "r.h5ad")
    assert code == 2
    assert "obs['_index']" in one_sentence(err)
    assert "note" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["cells.csv"]


def test_columns_of_several_kinds_in_a_table_become_text(tmp_path, command):
    path = table(tmp_path / "cells.csv", flag=["True", "", "False"], note=["a", "", "b"])
    code, _, err = command("fit", path, "--out", tmp_path / "r.h5ad", "--preset", "paper", *SMALL)
    assert code == 0, err
    assert "'flag': values of several kinds" in err
    obs = anndata.read_h5ad(tmp_path / "r.h5ad").obs
    assert obs["flag"].astype(object).where(obs["flag"].notna(), None).tolist()[:3] == ["True", None, "False"]
    assert obs["note"].astype(object).where(obs["note"].notna(), None).tolist()[:3] == ["a", None, "b"]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [(OSError(28, "No space left"), 2, "No space left"), (KeyboardInterrupt(), 130, "Stopped.")],
)
def test_a_result_that_was_not_written_is_told_where_it_is(data, tmp_path, command, monkeypatch, error, code, says):
    """After the training, while the file is written: the disk is full, or the user is impatient."""
    written = anndata.AnnData.write_h5ad

    def write(self, path, *args, **kwargs):
        if "cellstream" in self.uns:
            raise error
        return written(self, path, *args, **kwargs)

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(anndata.AnnData, "write_h5ad", write)
    ended, _, err = command("fit", data, "--out", tmp_path / "r.h5ad", "--preset", "paper", *SMALL)
    last = err.splitlines()[-1]
    assert ended == code
    assert says in last
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    assert f"cellstream resume {folder} --out" in last
    monkeypatch.setattr(anndata.AnnData, "write_h5ad", written)
    assert command("resume", folder, "--out", tmp_path / "again.h5ad")[0] == 0
    read_result(anndata.read_h5ad(tmp_path / "again.h5ad"))


@pytest.mark.slow
def test_the_training_goes_on_when_nobody_listens(data, tmp_path):
    """``cellstream fit ... 2>&1 | head -1`` is no wish to stop; and a second line must not end it."""
    words = [sys.executable, "-m", "cellstream", "fit", data, "--out", tmp_path / "r.h5ad", "--preset", "paper", *SMALL]
    fit = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    fit.stdout.readline()
    fit.stdout.close()
    assert fit.wait(PATIENT) == 0
    read_result(anndata.read_h5ad(tmp_path / "r.h5ad"))


def test_ctrl_c_while_the_process_comes_up_stops_it(tmp_path, monkeypatch):
    """It reaches the worker as a wish, and the signal's own handler is back afterwards."""
    from cellstream import fitting

    run, started = make_run(tmp_path), Run.start

    def start(self):
        os.kill(os.getpid(), signal.SIGINT)
        started(self)

    monkeypatch.setattr(Run, "start", start)
    handler = signal.getsignal(signal.SIGINT)
    outcome = fitting.train(run, None, None, run.snapshots())
    assert outcome.status.state == "cancelled"
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_part_of_a_result_is_measured_with_the_masses_of_all(fitted, tmp_path, command):
    adata = anndata.read_h5ad(fitted[0])
    adata[np.arange(adata.n_obs) % 3 != 0].copy().write_h5ad(tmp_path / "part.h5ad")
    code, said, err = command("evaluate", tmp_path / "part.h5ad", "--json")
    assert code == 0
    assert f"of the {adata.n_obs} cells" in err
    observed = {label: at["observed"] for label, at in json.loads(said)["mass"].items()}
    assert observed == {"1": 1.5, "2": 2.0}


def test_a_folder_with_spaces_is_quoted(tmp_path):
    assert shlex.split(resuming(tmp_path / "my run's")) == ["cellstream", "resume", str(tmp_path / "my run's")]


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fit", "DATA"], "--out"),
        (["fit", "nothing-like-it", "--out", "NEW"], "branching, ipsc, emt"),
        (["fit", "DATA.csv", "--out", "NEW"], "DATA.csv"),
        (["fit", "DATA", "--out", "x.csv"], ".h5ad"),
        (["fit", "DATA", "--out", "/nowhere/x.h5ad"], "folder that exists"),
        (["fit", "DATA", "--out", "DATA"], "--overwrite"),
        (["fit", "DATA", "--out", "NEW", "--time-key", "days"], "Columns that look like time: 'time'"),
        (["fit", "DATA", "--out", "NEW", "--input", "layer:none"], "layer:velocity_true"),
        (["fit", "DATA", "--out", "NEW", "--set", "alpha"], "name=value"),
        (["fit", "DATA", "--out", "NEW", "--set", "lambda_oops=1"], "did you mean"),
        (["fit", "DATA", "--out", "NEW", "--set", "quux=1"], "Known settings"),
        (["fit", "DATA", "--out", "NEW", "--set", "rounds=-1"], "rounds expects 0 to 10000"),
        (["fit", "DATA", "--out", "NEW", "--seed", "x"], "--seed"),
        (["fit", "DATA", "--out", "NEW", "--preset", "finest"], "quick"),
        (["fit", "DATA", "--out", "NEW", "--masses", "1;2"], "1,1.5,2"),
        (["fit", "DATA", "--out", "NEW", "--masses", "1,2"], "Expected 3 relative masses"),
        (["fit", "DATA", "--out", "NEW", "--time-map", "none.csv"], "none.csv"),
        (["evaluate", "DATA"], "cellstream fit"),
        (["evaluate", "none.h5ad"], "none.h5ad"),
        (["evaluate", "DATA", "--label", "x"], "(did you mean --labels?); 'cellstream evaluate --help'"),
        (["datasets", "list", "--loud"], "'cellstream datasets list --help'"),
        (["resume", "."], "run folder"),
        (["run", "nowhere"], "run folder"),
        (["simulate", "weather", "--out", "NEW"], "populations, branching"),
        (["fit", "DATA", "--out", "NEW", "--set", "oops.alpha=2"], "'oops.alpha'"),
        (["fit", "DATA", "--out", "NEW", "--set", "lambda_ae=inf"], "finite"),
        (["fit", "DATA", "--out", "NEW", "--set", "lambda_ae=nan"], "finite"),
        (["fit", "DATA", "--out", "NEW", "--run-dir", "DATA"], "is a file"),
        (["fit", "DATA", "--out", "LONG.h5ad"], "too long"),
        (["fit", "~nobody-here/x", "--out", "NEW"], "is not a path"),
        (["fit", "DATA", "--out", "~nobody-here/x.h5ad"], "is not a path"),
        (["fit", "DATA", "--out", "NEW", "--time-map", "~nobody-here/x.csv"], "is not a path"),
        (["run", "~nobody-here"], "is not a path"),
        (["app", "~nobody-here"], "is not a path"),
        (["simulate", "populations", "--seed", "-1", "--out", "NEW"], "seed must be at least 0"),
        (["simulate", "populations", "--cells", "1e11", "--out", "NEW"], "--cells"),
        (["simulate", "populations", "--cells", "100000000000", "--out", "NEW"], "GB of memory"),
        (["simulate", "populations", "--sigma", "inf", "--out", "NEW"], "sigma_main must be finite"),
        (["simulate", "branching", "--sigma", "1", "--out", "NEW"], "no setting 'sigma_main'"),
        (["datasets", "get", "mosta"], "branching, ipsc, emt"),
        (["datasets"], "list|get"),
        (["app", "none.h5ad"], "none.h5ad"),
        (["dance"], "invalid choice"),
        (["evalute", "DATA"], "(did you mean evaluate?)"),
        (["fit", "DATA", "--out", "NEW", "--preset", "qick"], "(did you mean quick?)"),
        (["fit", "DATA", "--out", "NEW", "--seed", "one"], "expected a whole number, but got 'one'"),
        ([], "COMMAND"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(data, tmp_path, command, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    stand_ins = {"DATA": str(data), "NEW": "new.h5ad", "LONG": "x" * 246}
    for name, meant in stand_ins.items():
        words = [word.replace(name, meant) for word in words]
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    assert says.replace("DATA", str(data)) in one_sentence(err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["run", "resume"])
@pytest.mark.parametrize("name", ["recipe.json", "config.json"])
def test_a_damaged_run_is_one_sentence_and_code_2(tmp_path, command, verb, name):
    run = make_run(tmp_path)
    (run.folder / name).write_text('{"half')
    code, out, err = command(verb, run.folder)
    assert (code, out) == (2, "")
    assert name in one_sentence(err)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")]
)
def test_too_little_memory_is_one_sentence(data, tmp_path, command, monkeypatch, error):
    def too_much(*args, **kwargs):
        raise error

    monkeypatch.setattr("cellstream.intake.from_anndata", too_much)
    code, _, err = command("fit", data, "--out", tmp_path / "r.h5ad")
    assert code == 2
    assert "not enough memory" in one_sentence(err)


def test_a_fault_of_ours_is_not_dressed_up(data, tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("strange")

    monkeypatch.setattr("cellstream.intake.from_anndata", broken)
    with pytest.raises(RuntimeError, match="strange"):
        cli.main(["fit", str(data), "--out", str(tmp_path / "r.h5ad")])


@pytest.mark.parametrize(("columns", "says"), [(["day", "hour"], "'day' (.*'hour' ("), ([], "no column looks like it")])
def test_the_time_column_is_asked_for_where_it_is_not_plain(tmp_path, command, columns, says):
    import re

    adata = simulate("populations", n_cells=20)
    adata.obs = adata.obs[["population"]].assign(**{name: adata.obs["time"] for name in columns})
    adata.write_h5ad(tmp_path / "cells.h5ad")
    code, _, err = command("fit", tmp_path / "cells.h5ad", "--out", tmp_path / "new.h5ad")
    assert code == 2
    assert re.search(says.replace("(", "\\("), one_sentence(err).replace("\\", ""))


def test_one_time_is_too_few(tmp_path, command):
    adata = simulate("populations", n_cells=20)
    adata.obs["day"] = 3.0
    adata.obs = adata.obs[["population", "day"]]
    adata.write_h5ad(tmp_path / "cells.h5ad")
    code, _, err = command("fit", tmp_path / "cells.h5ad", "--out", tmp_path / "new.h5ad")
    assert code == 2
    assert "'day' holds one time only ('3'), but at least two" in one_sentence(err)


def test_labels_that_say_no_time_are_told_by_a_time_map(tmp_path, command):
    adata = simulate("populations", n_cells=20)
    adata.obs["day"] = adata.obs["time"].map({0: "ctrl", 1: "early", 2: "late"})
    adata.write_h5ad(tmp_path / "cells.h5ad")
    words = ["fit", tmp_path / "cells.h5ad", "--time-key", "day", "--out", tmp_path / "new.h5ad"]
    code, _, err = command(*words)
    assert code == 2
    assert "'ctrl', 'early', 'late'" in err
    assert "--time-map takes" in one_sentence(err)
    (tmp_path / "map.csv").write_text("ctrl,0\nearly,1\nlate,4\n")
    code, _, err = command(*words, "--preset", "paper", *SMALL, "--real-times", "--time-map", tmp_path / "map.csv")
    assert code == 0, err
    assert read_result(anndata.read_h5ad(tmp_path / "new.h5ad"))[1].times.tolist() == [0, 1, 4]


def test_symbols_name_settings_too(data, tmp_path):
    words = [
        "fit",
        str(data),
        "--out",
        str(tmp_path / "r.h5ad"),
        "--set",
        "λ_AE=7",
        "--set",
        "alpha=2",
        "--device",
        "cpu",
    ]
    config = cli.configured(cli.parser().parse_args(words))
    assert config == preset("best", lambda_ae=7, alpha=2, device="cpu")


# --- the other commands -----------------------------------------------------------------------------------------------


def test_help_comes_without_the_heavy_libraries():
    code = (
        "import sys; from cellstream.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: sys.stderr.write(' '.join({'torch', 'scanpy', 'anndata', 'numpy', 'panel'} & set(sys.modules)))"
    )
    for words in (["--help"], ["fit", "--help"], ["settings"], ["presets"]):
        ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (0, ""), words
        assert ended.stdout


def test_settings_and_presets_are_all_listed(command):
    code, said, _ = command("settings", "--preset", "paper")
    assert code == 0
    lines = said.splitlines()[1:]
    assert [line.split()[1] for line in lines] == [
        f"{item.name}={getattr(getattr(preset('paper'), section), item.name)}" for section, item in settings()
    ]
    assert all(item.metadata["doc"] in line for line, (_, item) in zip(lines, settings(), strict=True))
    _, said, _ = command("presets")
    assert [line.split()[0] for line in said.splitlines()[1:]] == list(PRESETS)


def test_simulate_writes_what_the_library_simulates(tmp_path, command):
    path = tmp_path / "s.h5ad"
    words = ["simulate", "populations", "--out", path, "--seed", 3, "--cells", 30, "--sigma", 0.7]
    assert command(*words)[0] == 0
    expected = simulate("populations", n_cells=30, seed=3, sigma_main=0.7)
    np.testing.assert_array_equal(anndata.read_h5ad(path).X, expected.X)
    assert command(*words)[0] == 2
    assert command(*words, "--overwrite")[0] == 0


def test_datasets_are_listed_and_copied(tmp_path, command):
    _, said, _ = command("datasets", "list")
    assert [line.split()[0] for line in said.splitlines()[1:]] == ["branching", "ipsc", "emt"]
    code, said, _ = command("datasets", "get", "branching", "--out", tmp_path / "b.h5ad")
    assert (code, said) == (0, f"{tmp_path / 'b.h5ad'}\n")
    _, place, _ = command("datasets", "get", "branching")
    assert (tmp_path / "b.h5ad").read_bytes() == Path(place.strip()).read_bytes()


def test_a_closed_pipe_is_no_error():
    ended = subprocess.run(
        f"{sys.executable} -m cellstream settings | head -1", shell=True, capture_output=True, text=True
    )
    assert ended.stderr == ""
    assert ended.stdout.startswith("section")


@pytest.mark.parametrize("to", ["> /dev/full", ">&-", ">&- 2>&-"])
def test_output_that_goes_nowhere_is_no_traceback(to):
    ended = subprocess.run(f"{sys.executable} -m cellstream settings {to}", shell=True, capture_output=True, text=True)
    assert ended.returncode == (2 if "full" in to else 0)
    assert ended.stderr == "" or "No space" in one_sentence(ended.stderr)


def test_symbols_are_said_in_any_encoding():
    ended = subprocess.run(
        [sys.executable, "-m", "cellstream", "settings"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert "\\u03bb_AE" in ended.stdout.decode("ascii")


def test_the_exit_codes_are_in_the_help(command):
    for words in (["--help"], ["run", "--help"]):
        assert "1 the training broke" in " ".join(command(*words)[1].split())


def test_the_app_is_served_to_this_machine_only(data, command, monkeypatch):
    asked = []

    def instead(program, words, env):
        assert program == sys.executable
        asked.append((words, env))
        sys.exit(0)

    monkeypatch.setattr(serve.os, "execve", instead)
    assert command("app", data, "--no-browser")[0] == 0
    words, environment = asked[0]
    assert words[words.index("--address") + 1] == "127.0.0.1"
    assert Path(words[words.index("serve") + 1]).name == "cellstream_app"
    port = words[words.index("--port") + 1]
    origins = [words[i + 1] for i, word in enumerate(words) if word == "--allow-websocket-origin"]
    assert origins == [f"127.0.0.1:{port}", f"localhost:{port}"]
    assert "--show" not in words
    assert environment["CELLSTREAM_FILE"] == str(data)


SERVER = """
import socket, sys

with socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1]))) as server:
    while True:
        server.accept()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGKILL"])
def test_no_server_is_left_when_the_command_is_ended(tmp_path, name):
    """With a stand-in for Panel, which takes seconds to start. Tests may run under nohup, but the command does not."""
    (tmp_path / "panel").mkdir()
    (tmp_path / "panel" / "__init__.py").touch()
    (tmp_path / "panel" / "__main__.py").write_text(SERVER)
    port = serve.free_port()
    app = subprocess.Popen(
        [sys.executable, "-m", "cellstream", "app", "--no-browser", "--port", str(port)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    try:
        until(lambda: answers(port))
        app.send_signal(getattr(signal, name))
        app.wait(PATIENT)
        until(lambda: not answers(port))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(app.pid, signal.SIGKILL)


WEBVIEW = """
import os, time

def create_window(title, address, width, height):
    with open(os.environ["TOLD"], "w") as file:
        file.write(f"{title}\\n{address}")

def start():
    while not os.path.exists(os.environ["TOLD"] + ".close"):
        time.sleep(0.05)
"""
BROWSER = """#!{python}
import os, sys, time

with open(os.environ["TOLD"], "w") as file:
    file.write("\\n".join(sys.argv[1:]))
while not os.path.exists(os.environ["TOLD"] + ".close"):
    time.sleep(0.05)
"""


@pytest.fixture(params=["webview", "browser"])
def in_window(request, tmp_path, data):
    """The command with a window, its port, and where the window tells what it shows; with stand-ins for Panel, and for
    pywebview or a browser."""
    (tmp_path / "panel").mkdir()
    (tmp_path / "panel" / "__init__.py").touch()
    (tmp_path / "panel" / "__main__.py").write_text(SERVER)
    port, told, program = serve.free_port(), tmp_path / "told", tmp_path / "a browser"
    if request.param == "webview":
        (tmp_path / "webview.py").write_text(WEBVIEW)
    program.write_text(BROWSER.format(python=sys.executable))
    program.chmod(0o755)
    environment = {"PYTHONPATH": str(tmp_path), "TOLD": str(told), "CELLSTREAM_CHROMIUM": str(program)}
    app = subprocess.Popen(
        [sys.executable, "-m", "cellstream", "app", str(data), "--window", "--port", str(port)],
        env={**os.environ, **environment},
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield app, port, told
    with suppress(ProcessLookupError):
        os.killpg(app.pid, signal.SIGKILL)
    app.wait(PATIENT)


def test_a_window_shows_the_app_and_ends_it_when_it_is_closed(in_window, data):
    app, port, told = in_window
    until(lambda: told.exists() and told.read_text())
    said, address = told.read_text(), f"http://127.0.0.1:{port}/cellstream_app"
    assert said == f"{data.name} – CellStream\n{address}" or f"--app={address}" in said.splitlines()
    assert answers(port)
    told.with_suffix(".close").touch()
    app.wait(PATIENT)
    until(lambda: not answers(port))


@pytest.mark.parametrize("in_window", ["browser"], indirect=True)
def test_a_window_is_closed_when_the_app_ends(in_window):
    app, _, told = in_window
    until(lambda: told.exists() and told.read_text())
    beside = [p for p in psutil.Process(app.pid).children(recursive=True) if "a browser" in " ".join(p.cmdline())]
    assert beside
    app.kill()
    until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in beside))


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_in_use_is_passed_over_or_refused(command, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = command("app", "--port", port, "--no-browser")
        assert code == 2
        assert str(port) in one_sentence(err)
        monkeypatch.setattr(serve, "PORT", port)
        assert port < serve.free_port() < port + 100


def test_an_ensemble_is_asked_for_in_a_word():
    words = ["fit", "x.h5ad", "--out", "y.h5ad", "--ensemble", "4", "--preset", "quick"]
    assert cli.configured(cli.parser().parse_args(words)) == preset("quick", ensemble=4)
    with pytest.raises(UserError, match="ensemble expects 1 to 50"):
        cli.configured(cli.parser().parse_args([*words, "--ensemble", "0"]))


# --- progress ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_the_parts_end_where_the_training_ends_them(name):
    ends, first = {}, 0
    for part in parts(preset(name)):
        first += part.steps
        ends[part.name] = first
    assert part_ends(preset(name)) == ends


def test_time_left_is_that_of_the_present_part(monkeypatch):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    config = Config().with_settings(start_steps=100, rounds=10, autoencoder_steps=10, dynamics_steps=10)
    clock, history = Clock(config), History()

    def after(seconds: float, stage: str, *steps: int) -> str:
        nonlocal now
        now = seconds
        if not history.stages or history.stages[-1].name != stage:
            history.add(events.Stage(stage, "", history.step, 300))
            clock.look(history, running=True)
        for step in steps:
            history.add(events.Step(step, 300, stage, {"total": 1.0}))
        clock.look(history, running=True)
        return clock.left()

    assert after(0, "start") == ""
    assert after(10, "start", *range(1, 21)) == "00:40 left in this part, about 10:50 in all"  # 2 a second, 80 to go
    assert after(60, "start", *range(21, 101)) == ""
    # the speed of an earlier part says nothing of this one
    assert after(60, "rounds", 101) == ""
    assert after(100, "rounds", *range(102, 122)) == "at most 05:40 left"  # 21 in 40 s, 179 to go
    clock.look(history, running=False)  # paused
    assert clock.left() == ""


def test_time_left_of_an_ensemble_is_that_of_the_steps_that_are_left(monkeypatch):
    """The rounds had 300 steps to go, and stopped after 50: two members of 100 steps begin there."""
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    steps = dict(start_steps=0, rounds=10, autoencoder_steps=20, dynamics_steps=10, ensemble=3)
    clock, history = Clock(Config().with_settings(**steps)), History()
    for step in range(1, 51):
        history.add(events.Step(step, 500, "rounds", {"total": 1.0}))
    history.add(events.Stage("ensemble", "", 50, 250))
    clock.look(history, running=True)
    for step in range(51, 71):
        history.add(events.Step(step, 250, "ensemble", {"total": 1.0}))
    now = 10.0
    clock.look(history, running=True)
    assert clock.left() == "at most 01:30 left"  # 2 a second, 180 to go


def test_a_terminal_gets_a_bar_and_a_log_gets_lines(tmp_path):
    run = make_run(tmp_path)
    run.history.add(events.Stage("start", "Fitting the autoencoder.", 0, 44))
    run.history.add(events.Step(11, 44, "start", {"total": 1.5, "decoder": 0.25}))

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, log = Terminal(), io.StringIO()
    for out in (terminal, log):
        bar = Bar(run, out)
        for stopping in (False, False, True):
            bar.show(Status("running", step=11, total=44, stage="start"), stopping)
        bar.close()
    assert "Start  25%" in terminal.getvalue()
    assert "total 1.5, decoder 0.25" in terminal.getvalue()
    assert "Stopping" in terminal.getvalue()
    assert log.getvalue() == "Fitting the autoencoder.\n"


def test_json_has_a_word_for_what_is_no_number():
    said = json.loads(as_json({"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": None, "e": "ö"}}))
    assert said == {"a": None, "b": [1.5, None], "c": {"d": None, "e": "ö"}}


def test_columns_are_aligned():
    assert columns([("a", "bc"), ("def", "g")]) == "a    bc\ndef  g\n"


def test_the_second_ctrl_c_kills(monkeypatch, tmp_path):
    run, did, states = make_run(tmp_path), [], iter(["running"] * 3 + ["dead"])
    monkeypatch.setattr(progress, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(run, "cancel", lambda: did.append("cancel"))
    monkeypatch.setattr(run, "kill", lambda: did.append("kill"))

    def status() -> Status:
        state = next(states)
        if state == "running":
            os.kill(os.getpid(), signal.SIGINT)
        return Status(state)

    monkeypatch.setattr(run, "status", status)
    handler = signal.getsignal(signal.SIGINT)
    assert progress.follow(run, io.StringIO()).state == "dead"
    assert did == ["cancel", "kill", "kill"]
    assert signal.getsignal(signal.SIGINT) is handler

"""Benchmarks: what is kept, what is fitted anew, and that tables say what was measured."""

from __future__ import annotations

import ast
import csv
import io
import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import ot
import pytest
import torch
from sklearn.decomposition import PCA

from cellstream import cli, evaluation, metrics
from cellstream.benchmark import NAMES, cases, fates, fits, holdout, measures, methods, paper, report, sources, speed
from cellstream.benchmark.cases import Case
from cellstream.benchmark.methods import Entry
from cellstream.benchmark.plans import TABLES
from cellstream.benchmark.records import Folder, Job, Record, made
from cellstream.config import Config
from cellstream.errors import Diverged, UserError
from cellstream.presets import preset
from cellstream.progress import Tally
from cellstream.simulate import populations
from cellstream.snapshots import Snapshots, from_anndata
from cellstream.state import State
from cellstream.stream import CellStream


class Baseline:
    """Stands for a method of the registry: the paper's preset under another name, or one that always diverges."""

    def __init__(self, name: str, diverges: bool = False):
        self.name, self.diverges = name, diverges

    def fit(self, snapshots, seed=0, quick=False, embedding=None, on_progress=None) -> CellStream:
        if self.diverges:
            raise Diverged
        return methods.ours("paper", quick).fit(snapshots, seed, on_progress)


REGISTRY = {b.name: b for b in (Baseline("TIGON + PCA"), Baseline("TIGON + diffusion map"), Baseline("MIOFlow", True))}


tigon_in_components = methods.tigon_in_components


@pytest.fixture(autouse=True)
def tiny_registry(monkeypatch):
    monkeypatch.setattr(methods, "registry", lambda: REGISTRY)

    def shallow(quick: bool, d: int) -> Entry:
        return replace(methods.baseline("TIGON + PCA", quick), name=f"TIGON + PCA d={d}", d=d)

    monkeypatch.setattr(methods, "tigon_in_components", shallow)


@pytest.fixture
def fitted(monkeypatch) -> list[int]:
    """Seeds of the CellStream fits that are made."""
    made, train = [], methods.trained

    def counted(snapshots, config, on_progress):
        made.append(config.compute.seed)
        return train(snapshots, config, on_progress)

    monkeypatch.setattr(methods, "trained", counted)
    return made


@pytest.fixture(scope="session")
def cells(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "cells.h5ad"
    adata = populations(n_cells=40)
    adata.obsm["X_part"] = adata.X[:, :3].copy()
    adata.write_h5ad(path)
    return path


@pytest.fixture
def command(cells, tmp_path, capsys):
    """Runs the command on the small file; gives exit code, stdout and stderr."""

    def run(name: str, *words: object, data: Path | None = cells, out: Path = tmp_path / "out") -> tuple[int, str, str]:
        given = ["benchmark", name, "--out", out, "--quick", *(["--data", data] if data else []), *words]
        with pytest.raises(SystemExit) as ended:
            cli.main([str(word) for word in given])
        said, wrong = capsys.readouterr()
        return ended.value.code, said, wrong

    return run


def kept(folder: Path) -> dict[str, dict]:
    """Records by their names, less the hash at the end."""
    read = {path: json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*.json"))}
    found = {path.stem.rpartition("-")[0]: record for path, record in read.items()}
    assert len(found) == len(read)
    return found


def grids(page: str) -> list[list[dict[str, str]]]:
    """The tables of a Markdown page."""
    found = []
    for block in page.split("\n\n"):
        if block.startswith("|"):
            head, _, *rows = ([c.strip() for c in line.strip("|").split("|")] for line in block.splitlines())
            found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


# --- going on ---------------------------------------------------------------------------------------------------------


def test_a_second_call_fits_nothing(command, fitted, tmp_path):
    code, said, _ = command("table3", "--methods", "cellstream paper", "--seeds", "2")
    assert code == 0
    assert sorted(fitted) == [0, 0, 0, 1, 1, 1]
    made = [Path(line) for line in said.split()]
    assert [path.name for path in made] == [f"table3-quick.{end}" for end in ("csv", "md", "png", "svg")]
    before = [path.read_bytes() for path in made[:2]]
    fitted.clear()
    assert command("table3", "--methods", "CellStream paper", "--seeds", "2")[0] == 0
    assert fitted == []
    assert [path.read_bytes() for path in made[:2]] == before
    # one that is missing, and one that was cut off by a crash of another program, are made again
    first, second, *_ = sorted((tmp_path / "out" / "runs").iterdir())
    whole = first.read_bytes()
    shutil.rmtree(tmp_path / "out" / "fits")
    first.unlink()
    second.write_text(second.read_text()[:100])
    command("table3", "--methods", "CellStream paper", "--seeds", "2")
    assert len(fitted) == 2
    assert json.loads(first.read_bytes())["metrics"] == json.loads(whole)["metrics"]


def test_a_measure_that_has_changed_measures_the_kept_models(command, fitted, tmp_path, monkeypatch):
    words = ("table3", "--methods", "CellStream paper")
    command(*words)
    before = kept(tmp_path / "out")
    page = (tmp_path / "out" / "table3-quick.csv").read_bytes()
    fitted.clear()
    monkeypatch.setattr(measures, "VERSION", measures.VERSION + 1)
    command(*words)
    assert fitted == []
    after = kept(tmp_path / "out")
    assert (tmp_path / "out" / "table3-quick.csv").read_bytes() == page
    for name, record in before.items():
        assert after[name]["hash"] != record["hash"]
        assert (after[name]["seconds"], after[name]["metrics"]) == (record["seconds"], record["metrics"])
    # a model that was cut off is fitted again
    model = min((tmp_path / "out" / "fits").glob("*.safetensors"))
    model.write_bytes(model.read_bytes()[:1000])
    monkeypatch.setattr(measures, "VERSION", measures.VERSION + 1)
    command(*words)
    assert len(fitted) == 1


def test_other_code_is_fitted_anew_and_other_comments_are_not(command, fitted, tmp_path, monkeypatch):
    words = ("table3", "--methods", "CellStream paper")
    command(*words)
    before = kept(tmp_path / "out")
    fitted.clear()
    monkeypatch.setattr(sources, "word", lambda files: "other")
    command(*words)
    assert len(fitted) == 3
    after = kept(tmp_path / "out")
    assert after.keys() == before.keys()  # in the place of those before
    assert all(before[name]["hash"] != after[name]["hash"] for name in before)


def test_the_meaning_of_code_is_what_it_does():
    code = 'RATE = 1\n"""Of learning."""\ndef f(x):\n    """Double."""\n    return 2 * x\n'
    same = "RATE = 1  # slow\n\n\ndef f(x):\n    return (2 * x)\n"
    assert sources.meaning(code) == sources.meaning(same)
    assert len({sources.meaning(code.replace("2", n)) for n in "123"}) == 3
    assert sources.meaning('f("a")') != sources.meaning('f("b")')


def imported(*aside: str) -> set[str]:
    """Files of the package that training imports, but for the modules ``aside`` and what only they import."""
    seen, to_read = set(), ["training"]
    while to_read:
        name = to_read.pop()
        if name in seen or name in aside:
            continue
        seen.add(name)
        for node in ast.walk(ast.parse((sources.PACKAGE / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "cellstream":
                to_read += [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cellstream."):
                to_read.append(node.module.split(".")[1])
    return {f"{name}.py" for name in seen}


def test_the_code_of_a_fit_is_all_that_training_imports():
    """Of the package; less what a fit's identity holds by itself (settings, data), and what comes after the fit."""
    # benchmarks fit by one process, without a team
    aside = ("config", "setting", "errors", "events", "snapshots", "stream", "ensemble", "team")
    assert imported(*aside) == set(sources.TRAINING)
    # what is known of the cells' neighbours and partners serves the embedding, which a baseline does not learn
    assert imported(*aside, "shaping", "lineages", "affinities", "partners") == set(sources.ROUNDS)
    assert {path.name for path in (sources.PACKAGE / "baselines").glob("*.py")} == {
        Path(name).name for name in sources.BASELINES
    }
    ours, theirs = methods.ours("best"), methods.baseline("MIOFlow")
    assert ours.identity["code"] == sources.word(sources.TRAINING) != theirs.identity["code"]
    assert theirs.identity["code"] == sources.word(sources.ROUNDS + sources.BASELINES)


def test_names_of_files_do_not_collide():
    jobs = [
        Job("table1", data, "m", seed, dict(data=digest), "measure", dict)
        for data, digest in (("EMT", "a"), ("emt", "a"), ("数据", "a"), ("细胞", "a"), ("emt", "b"))
        for seed in (0, 1)
    ]
    assert len({job.name for job in jobs}) == 10
    assert all(name.isascii() and name == name.lower() for name in (job.name for job in jobs))


def test_what_is_no_number_is_none_from_the_first_run_on(tmp_path):
    job = Job(
        "table1", "emt", "m", 0, {}, "measure", lambda _: dict(vc=math.nan, tc=math.inf, trust=0.5, direction=None)
    )
    folder = Folder(tmp_path)
    record = folder.keep(job, made(job, folder, print))
    assert record.metrics == dict(vc=None, tc=None, trust=0.5, direction=None)
    assert Folder(tmp_path).find(job) == record


def test_changed_settings_or_data_are_fitted_anew(command, fitted, cells, tmp_path, monkeypatch):
    words = ("table3", "--methods", "CellStream paper")
    command(*words)
    before = kept(tmp_path / "out")
    fitted.clear()
    monkeypatch.setitem(methods.QUICK, "dynamics_steps", 4)
    command(*words)
    assert len(fitted) == 3
    changed = kept(tmp_path / "out")
    assert before.keys() == changed.keys()
    assert all(before[name]["hash"] != changed[name]["hash"] for name in before)
    other = tmp_path / "cells.h5ad"
    populations(n_cells=40, seed=1).write_h5ad(other)
    fitted.clear()
    command(*words, data=other)
    assert len(fitted) == 3
    assert kept(tmp_path / "out").keys() == before.keys()


def test_tables_share_their_fits(command, fitted, tmp_path):
    command("table4", "--methods", "CellStream paper")
    assert len(fitted) == 6
    fitted.clear()
    command("table5", "--methods", "CellStream paper")
    assert len(fitted) == 2  # α = 0.8 and 1.2; α = 1 is the preset's own
    found = kept(tmp_path / "out")
    one = found["table5_quick-cells-cellstream_paper-1-0"]
    assert (one["table"], one["setting"]) == ("table5-quick", "α = 1")
    assert one["metrics"] == found["table4_quick-cells-cellstream_paper-as_in_the_preset-0"]["metrics"]


def test_a_record_says_what_it_was_made_with(command, tmp_path):
    command("table3", "--methods", "CellStream paper")
    for record in kept(tmp_path / "out").values():
        assert record["seed"] == 0
        assert record["seconds"] > 0
        assert record["identity"]["config"]["networks"]["encoder_width"] == 10
        assert record["machine"]["torch"] == torch.__version__
        assert record["machine"]["cores"] >= 1
        assert record["commit"]
        assert record["date"].endswith("+00:00")
        assert len(record["hash"]) == 16
    foot = (tmp_path / "out" / "table3-quick.md").read_text().split("\n---\n\n")[1]
    assert record["commit"] in foot
    assert record["date"][:10] in foot
    assert f"torch {torch.__version__}" in foot


def test_ctrl_c_keeps_what_is_done(command, monkeypatch, tmp_path):
    train, calls = methods.trained, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(methods, "trained", interrupted)
    code, _, said = command("table3", "--methods", "CellStream paper")
    assert code == 130
    assert "1 of 3 fits are kept in" in said.splitlines()[-1]
    assert len(kept(tmp_path / "out")) == 1


def test_a_fit_that_diverges_is_recorded_with_its_sentence(command, tmp_path):
    code, _, said = command("table1", "--methods", "MIOFlow, CellStream paper", "--seeds", "2")
    assert code == 0
    sentence = str(Diverged())
    assert said.count(sentence) == 2
    found = kept(tmp_path / "out")
    assert len(found) == 4
    bad = found["table1_quick-cells-mioflow-default-1"]
    assert (bad["failed"], bad["metrics"], bad["diverged"]) == (sentence, {}, True)
    page = (tmp_path / "out" / "table1-quick.md").read_text()
    assert "not to be quoted" in page
    assert f"- cells, MIOFlow, seed 1: {sentence}" in page
    row = next(row for row in grids(page)[0] if row["method"] == "MIOFlow")
    assert set(row.values()) == {"MIOFlow", "–"}
    table = list(csv.DictReader((tmp_path / "out" / "table1-quick.csv").read_text().splitlines()))
    assert [row["seed"] for row in table if row["failed"]] == ["0", "1"]
    assert not any("nan" in row["value"] for row in table)


def test_what_diverged_is_not_tried_again_and_what_was_refused_is(command, tmp_path, monkeypatch):
    asked = []

    def refused(snapshots, **how):
        asked.append("refused")
        raise UserError("Expected the package magic: install it.")

    def diverging(snapshots, **how):
        asked.append("diverged")
        raise Diverged

    monkeypatch.setattr(REGISTRY["TIGON + PCA"], "fit", refused)
    monkeypatch.setattr(REGISTRY["MIOFlow"], "fit", diverging)
    for _ in range(2):
        assert command("table1", "--methods", "TIGON + PCA,MIOFlow")[0] == 0
    assert asked == ["refused", "diverged", "refused"]
    assert "Expected the package magic: install it." in (tmp_path / "out" / "table1-quick.md").read_text()


def test_fields_that_are_no_numbers_count_as_diverged(moving_cloud):
    state = State.initial(moving_cloud, preset("paper"))
    with torch.no_grad():
        state.velocity.net[-1].bias[0] = math.inf
    with pytest.raises(Diverged, match="no longer numbers"):
        measures.everything(state.result(), Case("cloud", moving_cloud))


# --- tables -----------------------------------------------------------------------------------------------------------


def record(method: str, seed: int, failed: str = "", **values: float | None) -> Record:
    told = paper.TABLE1["ipsc", method]
    made = dict(date="2026-01-01", commit="abc", measured="abc", paper=told)
    return Record("table1", "ipsc", method, "", seed, f"{method}{seed}", 1.0, values, failed, **made)


def test_tables_hold_means_and_deviations_of_the_records():
    rng = np.random.default_rng(0)
    vc, tc = rng.uniform(size=(2, 4))
    made = [record("MIOFlow", i, vc_paper=vc[i], tc_paper=tc[i], r2_seen=0.5 if i else None) for i in range(4)]
    made += [record("VeloViz", 0, vc_paper=0.25), record("VeloViz", 1, "It broke.")]
    summary = report.Summary(TABLES["table1"], made)
    one, other = grids(report.page("table1", summary, quick=False))[1]
    assert one["VC ↑"] == f"{vc.mean():.3f} ± {np.std(vc, ddof=1):.3f}"
    assert one["TC ↑"] == f"{tc.mean():.3f} ± {np.std(tc, ddof=1):.3f}"
    assert one["R², cells seen ↑"] == "0.500 ± 0.000 (3 of 4)"
    assert (one["paper's VC"], one["paper's TC"]) == ("0.98", "0.92")
    assert (other["VC ↑"], other["paper's VC"], other["TC ↑"]) == ("0.250 (1 of 2)", "0.41", "–")
    rows = list(csv.DictReader(io.StringIO(report.long("table1", summary))))
    assert [float(row["value"]) for row in rows if row["method"] == "MIOFlow" and row["metric"] == "vc_paper"] == list(
        vc
    )
    assert [row["failed"] for row in rows if row["failed"]] == ["It broke."]


def test_the_tables_numbers_are_those_of_the_records(command, tmp_path):
    command("table1", "--methods", "CellStream paper", "--seeds", "3")
    values = [r["metrics"] for r in kept(tmp_path / "out").values()]
    (row,), (detail,) = grids((tmp_path / "out" / "table1-quick.md").read_text())
    assert len(row) <= 12
    row |= detail
    shown = {"VC ↑": "vc_paper", "TC strict ↑": "tc", "direction ↑": "direction", "mass error ↓": "mass"}
    shown |= {"R², cells seen ↑": "r2_seen", "R² of PCA ↑": "r2_pca"}  # this preset holds none out
    for title, key in shown.items():
        numbers = [v[key] for v in values]
        assert row[title] == f"{np.mean(numbers):.3f} ± {np.std(numbers, ddof=1):.3f}"
    assert row["below shift ↑"].split()[0] == f"{np.mean([v['below_shift'] for v in values]):.2f}"
    assert "R², new cells ↑" not in row
    assert not any("paper's" in title for title in row)  # these are no data of the paper's


@pytest.mark.parametrize("name", TABLES)
def test_every_table_can_be_made(command, name, tmp_path):
    chosen = {"table2": ("CellStream paper", "MIOFlow"), "holdout": ("CellStream best d=2", "TIGON + PCA d=10")}
    asked = chosen.get(name, ("CellStream paper",))
    wide = tmp_path / "wide.h5ad"
    populations(n_cells=40, n_genes=11).write_h5ad(wide)
    source = dict(table2=dict(data=None), fates=dict(data=None), holdout=dict(data=wide)).get(name, {})
    code, _, wrong = command(name, "--methods", ",".join(asked), **source)
    assert code == 0, wrong
    assert (tmp_path / "out" / f"{name}-quick.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "out" / f"{name}-quick.svg").read_text()
    page = (tmp_path / "out" / f"{name}-quick.md").read_text()
    assert page.startswith(f"# {name}-quick: {TABLES[name].title}")
    shown = grids(page)[0]
    if name == "table2":
        assert [row["setting"] for row in shown[::2]] == [f"σ = {s:g}" for s in paper.SIGMAS]
        assert [row["paper's VA"] for row in shown[::2]] == ["0.740", "0.735", "0.726", "0.717", "0.741"]
        assert all(0 < float(row["VA ↑"]) <= 1 for row in shown[::2])
    if name == "fates":
        assert [row["method"] for row in shown] == [*asked, *fits.COUPLINGS]
        assert all(0 < float(row["fate, day 5 ↑"]) <= 1 for row in shown)
    if name == "table5":
        assert len(shown) == 9
        assert len({row["setting"] for row in shown}) == 9
    if name == "dimensions":
        assert [row["setting"] for row in shown] == ["d = 2", "d = 5"]  # there are six features
        assert all(float(row["R², cells seen ↑"]) < 1 for row in shown)
    if name == "holdout":
        assert list(shown[0]) == ["prediction", "1", "mean"]
        assert [row["prediction"] for row in shown] == [
            "noise floor",
            "linear OT interpolation",
            "previous time point",
            *(f"{model}, {name}" for model in asked for name in SAID),
        ]


SAID = ("decoded", "residual", "residual, both sides", "residual, both sides, coupled")


def test_a_failed_fit_counts_in_every_prediction():
    told = {f"w2 {name}": float(k) for k, name in enumerate(SAID, 1)}
    rows = dict(date="", commit="")
    made = [Record("holdout", "emt", "M", "1", seed, str(seed), 1.0, told, **rows) for seed in (0, 1)]
    made.append(Record("holdout", "emt", "M", "1", 2, "2", 1.0, {}, "It broke.", **rows))
    page = report.page("holdout", report.Summary(TABLES["holdout"], made), quick=False)
    shown = {row["prediction"]: row["1"] for row in grids(page)[0]}
    assert shown == {f"M, {name}": f"{k}.000 ± 0.000 (2 of 3)" for k, name in enumerate(SAID, 1)}
    assert page.count("It broke.") == 1


def test_the_papers_numbers_are_in_their_places():
    assert paper.TABLE1["ipsc", "TIGON + diffusion map"] == dict(vc_paper=0.78, tc_paper=0.84)
    assert paper.TABLE1["emt", "VeloViz"] == dict(vc_paper=0.88, tc_paper=0.70)
    assert paper.TABLE2[0.5, "MIOFlow"] == dict(va=0.692, tc_paper=0.800)
    assert paper.TABLE3["ipsc", "no growth"] == dict(vc_paper=0.80, tc_paper=0.87)
    assert (*TABLES, "speed") == NAMES


def test_the_papers_numbers_stand_beside_its_own_data_only(cells, tmp_path):
    (tmp_path / "emt.h5ad").write_bytes(cells.read_bytes())
    for source, name, paper_vc in (
        ("ipsc", "ipsc", 0.97),
        (str(tmp_path / "emt.h5ad"), "emt (file)", None),
        (f"{cells}", "cells", None),
    ):
        (job,) = fits.compared(fits.Options((source,), ("CellStream best",)), 1)
        assert (job.data, job.paper.get("vc_paper")) == (name, paper_vc)


def test_without_growth_the_mass_error_is_that_of_a_mass_of_one(command, tmp_path):
    command("table3", "--methods", "CellStream paper")
    found = kept(tmp_path / "out")
    observed = (54 + 20) / 40  # of 40 cells, 20 grow to 54 and 20 stay
    mass = found["table3_quick-cells-cellstream_paper-no_growth-0"]["metrics"]["mass"]
    assert mass == pytest.approx(1 - 1 / observed, abs=1e-6)


# --- measures and methods ---------------------------------------------------------------------------------------------


def test_of_time_points_the_worst_one_counts(moving_cloud):
    stream = State.initial(moving_cloud, preset("paper")).result()
    lineages = np.where(moving_cloud.x[:, 1].numpy() > 1, "up", "down")
    case = Case("cloud", moving_cloud, lineages, "0")
    found, whole = measures.everything(stream, case), evaluation.evaluate(stream, moving_cloud, lineages, "0")
    points = whole["match"].values()
    assert found["match"] == pytest.approx(max(p["w2"] / p["floor"] for p in points))
    assert found["r2_seen"] == whole["r2"]
    for label, p in whole["match"].items():
        assert found[f"w2_input {label}"] == p["input"]["w2"]
    assert found["below_shift"] == float(all(p["w2"] < p["shift"] for p in points))
    assert found["mass"] == pytest.approx(
        max(abs(m["predicted"] - m["observed"]) / m["observed"] for m in whole["mass"].values())
    )
    assert found["branch_accuracy"] == whole["branch_accuracy"]
    assert found["lineages"] == whole["arrivals"]["difference"]
    assert found["arriving up"] + found["arriving down"] == pytest.approx(1)
    assert found["tc r=0.05"] == found["tc"]
    assert found["vc_paper r=0.05"] == found["vc_paper"]
    z, v = evaluation.in_plane(stream, case.snapshots)
    assert found["tc r=0.1"] == metrics.consistency(z, v, moving_cloud.index.numpy(), 0.1).tc


def test_yardsticks_are_those_of_the_worst_time_point():
    one = dict(w2=3.0, stays=9.0, shift=8.0, floor=2.0)
    other = dict(w2=2.0, stays=1.0, shift=0.5, floor=1.0)
    assert measures.worst_match([one, other]) == dict(w2=2.0, stays=1.0, shift=0.5)
    for floor in (0.0, math.nan):
        assert measures.worst_match([one, dict(other, floor=floor)]) == dict(w2=None, stays=None, shift=None)


def test_cells_that_are_all_alike_are_no_error(moving_cloud):
    x = moving_cloud.x.clone()
    x[moving_cloud.cells(1)] = x[moving_cloud.cells(1)][:1]
    alike = replace(moving_cloud, x=x)
    found = measures.everything(State.initial(alike, preset("paper")).result(), Case("cloud", alike))
    assert found["match"] is found["match_input"] is None
    assert found["mass"] >= 0


def test_more_dimensions_are_judged_in_their_plane(moving_cloud):
    """Principal components by scikit-learn; VC is the same in any turn of the plane, and its box in mirror images."""
    stream = State.initial(moving_cloud, preset("best", latent_dim=3)).result()
    t = moving_cloud.times.numpy()[moving_cloud.index.numpy()]
    z = stream.encode(moving_cloud.x.numpy(), t)
    axes = PCA(2).fit(z).components_.T
    index = moving_cloud.index.numpy()
    flat = metrics.consistency((z @ axes).astype(np.float32), stream.velocity(z, t) @ axes, index)
    found = measures.everything(stream, Case("cloud", moving_cloud))
    assert found["vc"] == pytest.approx(flat.vc, abs=1e-3)
    assert found["tc"] == pytest.approx(flat.tc, abs=1e-3)
    x = moving_cloud.x.numpy()
    for key, plane, more in (
        ("trust", z @ axes, z),
        ("trust_pca", PCA(2).fit_transform(x), PCA(3).fit_transform(x)),
    ):
        expected, other = (metrics.trust_within(x, part.astype(np.float32), index) for part in (plane, more))
        assert found[key] == pytest.approx(expected, abs=1e-4)
        assert abs(found[key] - other) > 0.01  # or nothing would have been seen


def test_cells_that_training_has_not_seen_are_told_apart(moving_cloud):
    settings = dict(held_out=0.2, start_steps=2, embedding_steps=0, warm_steps=0, rounds=1)
    state = State.initial(moving_cloud, preset("best", **settings, autoencoder_steps=1, dynamics_steps=1))
    found = measures.everything(state.result(), Case("cloud", moving_cloud))
    assert "r2_new" in found
    assert not {"r2", "r2_seen"} & found.keys()


class Spy:
    """An entry that keeps the snapshots which it is given, by data and seed."""

    def __init__(self) -> None:
        self.given: list[tuple[Snapshots, int]] = []

    def entry(self) -> Entry:
        return Entry("spy", {}, self.fit)

    def fit(self, snapshots: Snapshots, seed: int, on_progress: Callable) -> CellStream:
        self.given.append((snapshots, seed))
        return State.initial(snapshots, preset("paper")).result()


def test_a_held_out_time_point_is_not_in_the_training(monkeypatch, moving_cloud):
    spy = Spy()
    monkeypatch.setattr(fits, "data_of", lambda options: [Case("cloud", moving_cloud)])
    monkeypatch.setattr(fits, "HELD_OUT", {"spy": lambda quick: spy.entry()})
    jobs = [job for job in fits.left_out(fits.Options(), 2) if job.fit]
    assert [(job.setting, job.seed) for job in jobs] == [("1", 0), ("1", 1)]
    for job in jobs:
        job.fit(print)
    hidden = {tuple(row) for row in moving_cloud.x[moving_cloud.index == 1].tolist()}
    for (snapshots, seed), job in zip(spy.given, jobs, strict=True):
        assert seed == job.seed
        assert snapshots.labels == ("0", "3")
        assert torch.equal(snapshots.x, moving_cloud.x[moving_cloud.index != 1])
        assert not hidden & {tuple(row) for row in snapshots.x.tolist()}


def test_simulated_data_are_those_of_the_row_and_its_seed(monkeypatch):
    spy = Spy()
    monkeypatch.setattr(fits, "entry_of", lambda name, quick: spy.entry())
    for job in fits.simulated(fits.Options(methods=("CellStream best",)), 2):
        job.fit(print)
        snapshots, seed = spy.given[-1]
        assert seed == job.seed
        assert job.value == float(job.setting.removeprefix("σ = "))
        np.testing.assert_array_equal(snapshots.x.numpy(), populations(job.value, seed=job.seed).X)


def test_tigon_takes_as_many_components_as_its_name_says():
    snapshots = from_anndata(populations(n_cells=40, n_genes=12), "time")
    entry = tigon_in_components(quick=True)
    stream = entry.fit(snapshots, 0, lambda done, total: None)
    assert (entry.name, entry.d, stream.latent_dim, stream.method) == ("TIGON + PCA d=10", 10, 10, "TIGON + PCA d=10")
    expected = PCA(10).fit_transform(snapshots.x.numpy())
    z = stream.encode(snapshots.x.numpy(), snapshots.times.numpy()[snapshots.index.numpy()])
    np.testing.assert_allclose(np.abs(z), np.abs(expected), atol=1e-4)


def test_growth_is_somewhat_cheaper_and_dearer_than_in_each_preset(cells):
    jobs = fits.priced(fits.Options(data=(str(cells),)), 1)
    assert [job.setting for job in jobs] == ["α = 0.08", "α = 0.1", "α = 0.12", "α = 0.8", "α = 1", "α = 1.2"]
    for job in jobs:
        changed = job.identity["config"]["weights"]
        assert changed["alpha"] == float(job.setting.removeprefix("α = "))
        assert (
            changed | dict(alpha=1.0) == preset(job.method.removeprefix("CellStream "), alpha=1.0).to_dict()["weights"]
        )


@pytest.mark.parametrize("name", ["best", "paper"])
def test_committed_results_are_of_the_present_settings(name):
    """A preset that changes leaves the tables of the README behind: they are to be made anew."""
    folder = Path(__file__).parents[2] / "assets" / "benchmarks" / "runs"
    records = [record for path in folder.glob("*.json") if (record := Record.read(path))]
    own = [r for r in records if r.method == f"CellStream {name}" and r.table in ("table1", "table2", "fates")]
    assert {(r.table, r.data) for r in own} >= {("table1", "emt"), ("table1", "ipsc"), ("table2", "populations")}
    for record in own:
        # a setting that came later does what was done before, at its default
        assert Config.from_dict(record.identity["config"]) == preset(name)


def test_settings_are_what_their_labels_say():
    symbols = dict(λ_AE="lambda_ae", λ_Match="lambda_match", λ_WFR="lambda_wfr", λ_OT="lambda_ot", λ_Mass="lambda_mass")
    for label, changes in fits.LAMBDAS.items():
        symbol, _, number = label.partition(" = ")
        expected = {symbols[symbol]: float(number)} if number else {}
        assert changes == expected
        parts = methods.ours("best", **changes).identity["config"].values()
        assert all(any(part.get(key) == value for part in parts) for key, value in expected.items())


def test_data_of_too_few_features_are_left_out_of_more_dimensions(command, tmp_path):
    code, _, wrong = command("holdout")
    assert code == 0, wrong
    shown = [row["prediction"] for row in grids((tmp_path / "out" / "holdout-quick.md").read_text())[0]]
    assert "CellStream best d=2, decoded" in shown
    assert not any("d=10" in name for name in shown)


def test_one_feature_is_enough_for_two_dimensions_and_not_for_comparing_them(command, tmp_path):
    one = tmp_path / "one.h5ad"
    populations(n_cells=40)[:, :1].copy().write_h5ad(one)
    assert command("holdout", data=one)[0] == 0
    code, _, said = command("dimensions", data=one)
    assert code == 2
    assert "at least 2 features" in said
    assert said.count("\n") == 1


def test_settings_of_a_quick_fit_stay_those_of_the_ablation():
    config = methods.ours("best", quick=True, autoencoder_steps=0).identity["config"]
    assert config["schedule"]["autoencoder_steps"] == 0
    assert config["schedule"]["dynamics_steps"] == methods.QUICK["dynamics_steps"]
    assert methods.ours("paper", quick=True).identity["config"]["schedule"]["embedding_steps"] == 0


def test_a_case_changes_its_digest_with_what_is_in_it(moving_cloud):
    case = Case("cloud", moving_cloud)
    others = [
        replace(case, snapshots=replace(moving_cloud, x=moving_cloud.x + 1e-3)),
        replace(case, snapshots=replace(moving_cloud, mass=moving_cloud.mass * torch.tensor([1.0, 1.0, 2.0]))),
        replace(case, lineages=np.array(["a"] * 190)),
        replace(case, since="1"),
        replace(case, velocity=np.zeros((190, 5))),
        case.few(20),
        case.without(1),
    ]
    assert len({case.digest, *(other.digest for other in others)}) == 8
    assert replace(case, name="other").digest == case.digest


def test_what_is_read_stands_behind_the_at(cells, tmp_path):
    case = cases.load(f"{cells}@obsm:X_part", lineages="population")
    assert case.name == "cells@obsm:X_part"
    assert case.snapshots.x.shape[1] == 3
    assert set(case.lineages) == {"population 1", "population 2"}
    odd = tmp_path / "a@obsm:b.h5ad"
    odd.write_bytes(cells.read_bytes())
    assert cases.load(str(odd)).snapshots.x.shape[1] == 6


def test_lineages_of_named_data_are_known():
    case = cases.load("ipsc")
    assert case.since in case.snapshots.labels
    assert metrics.labelled(case.lineages).sum() == 258


# --- a time point left out --------------------------------------------------------------------------------------------


def cloud(rng: np.random.Generator, n: int, *centre: float) -> np.ndarray:
    return rng.normal(size=(n, 2)) + centre


def three(a: np.ndarray, b: np.ndarray, c: np.ndarray, times: tuple[float, ...] = (0.0, 1.0, 4.0)) -> Case:
    parts = (a, b, c)
    snapshots = Snapshots(
        x=torch.tensor(np.concatenate(parts), dtype=torch.float32),
        index=torch.repeat_interleave(torch.arange(3), torch.tensor([len(p) for p in parts])),
        times=torch.tensor(times, dtype=torch.float64),
        mass=torch.tensor([1.0, 2.0, 4.0]),
        labels=("0", "1", "4"),
    )
    return Case("three", snapshots)


def test_interpolation_between_a_cloud_and_its_shift_is_the_shift_in_part():
    """The optimal plan between x and x + s sends each point along s."""
    rng = np.random.default_rng(0)
    a, shift = cloud(rng, 60, 0, 0), np.array([8.0, -3.0])
    b = rng.permutation(a) + shift
    points, weights = holdout.interpolated(holdout.even(a), holdout.even(b), 0.25)
    np.testing.assert_allclose(points[np.lexsort(points.T)], (a + shift / 4)[np.lexsort((a + shift / 4).T)], atol=1e-9)
    np.testing.assert_allclose(weights, 1 / 60)


def test_interpolation_is_a_geodesic():
    """W_2(a, between) = s W_2(a, b) and W_2(between, b) = (1 − s) W_2(a, b), by POT."""
    rng = np.random.default_rng(1)
    a, b = cloud(rng, 40, 0, 0), 2 * cloud(rng, 70, 3, 1)
    points, weights = holdout.interpolated(holdout.even(a), holdout.even(b), 0.3)
    w2 = lambda p, x, q, y: math.sqrt(ot.emd2(p, q, ot.dist(x, y)))  # noqa: E731
    whole = w2(ot.unif(40), a, ot.unif(70), b)
    assert w2(ot.unif(40), a, weights, points) == pytest.approx(0.3 * whole, rel=1e-6)
    assert w2(weights, points, ot.unif(70), b) == pytest.approx(0.7 * whole, rel=1e-6)


def test_a_case_without_a_time_point_keeps_the_others_times():
    rng = np.random.default_rng(0)
    case = three(cloud(rng, 5, 0, 0), cloud(rng, 6, 1, 0), cloud(rng, 7, 4, 0))
    left = case.without(1).snapshots
    assert left.times.tolist() == [0, 4]
    assert left.labels == ("0", "4")
    assert left.mass.tolist() == [1, 4]
    assert left.counts.tolist() == [5, 7]
    torch.testing.assert_close(left.x, torch.cat([case.snapshots.x[:5], case.snapshots.x[11:]]))
    assert case.without(0).snapshots.mass.tolist() == [1, 2]
    assert holdout.Gap(case, 1).share == 0.25


def steady(case: Case, step: tuple[float, float], growth: float) -> CellStream:
    """A model whose embedding is the plane itself, moving and growing by these in each interval."""
    linear = dict(encoder_layers=0, decoder_layers=0, velocity_layers=0, growth_layers=0)
    state = State.initial(case.snapshots, preset("paper", latent_scale="pca", time_separation=1, **linear))
    with torch.no_grad():
        for net in (state.autoencoder, state.velocity, state.growth):
            for part in net.parameters():
                part.zero_()
        state.autoencoder.encoder[0].weight[:, 1:] = torch.eye(2)
        state.autoencoder.decoder[0].weight[1:] = torch.eye(2)
        state.velocity.net[0].bias[:] = torch.tensor(step)
        state.growth.net[0].bias[:] = growth
    return state.result()


def parting() -> Case:
    """Two islands that never meet: of as many cells at first and in the middle, and 80 and 20 at the end."""
    rng = np.random.default_rng(0)
    sizes = [(40, 40), (40, 40), (80, 20)]
    parts = [
        np.concatenate([cloud(rng, up, 8 * i, 10), cloud(rng, down, 8 * i, -10)]) for i, (up, down) in enumerate(sizes)
    ]
    up = np.concatenate([np.arange(sum(pair)) < pair[0] for pair in sizes])
    even = np.arange(len(up)) < 80
    return replace(three(*parts), fate=np.where(up, "up", "down"), growth=np.where(even, 0.1, np.where(up, 0.5, -0.5)))


def test_fates_and_growth_of_a_model_are_held_against_the_true_ones():
    case = parting()
    stream = steady(case, (8.0, 0.0), 0.0)
    found = fates.measured(stream, case)
    assert (found["fate 0"], found["fate 1"]) == (1, 1)
    assert found["growth 0"] is found["growth 1"] is found["slope 1"] is None  # true rates or the model's are all alike
    with torch.no_grad():
        stream.growth_net.net[0].weight[0, -1] = 0.1  # the higher a cell, the faster it grows
    found = fates.measured(stream, case)
    true, rate = (part[80:160] for part in (case.growth, case.snapshots.x.numpy()[:, 1]))
    assert found["growth 0"] is None
    assert found["growth 1"] == pytest.approx(np.corrcoef(true, rate)[0, 1], abs=1e-6)
    assert found["growth 1"] > 0.95
    assert found["slope 1"] == pytest.approx(np.polyfit(true, 0.1 * rate, 1)[0], rel=1e-5)  # 20 apart for a rate of 1
    assert found["slope 1"] == pytest.approx(2, rel=0.05)
    lost = fates.measured(steady(case, (8.0, 20.0), 0.0), case)
    assert lost["fate 1"] == 0.5  # the lower island rises to where the upper one was


def test_couplings_keep_fates_where_cells_may_grow():
    """Of the lower island's 40 cells the balanced coupling sends 16 to its own 20 of 100 cells, and 24 across."""
    balanced, growing = (fates.yardsticks(parting(), grow) for grow in (False, True))
    assert balanced["fate 1"] == pytest.approx((40 + 16) / 80)
    assert balanced["growth 1"] is None
    assert growing["fate 1"] > 0.95
    assert growing["growth 1"] > 0.85
    # from half to a share of 0.8 within an interval of so long, ±½ log 4 about its mean, where the true rates are ±0.5
    gap = float(parting().snapshots.times.diff()[1])
    assert growing["slope 1"] == pytest.approx(np.log(4) / gap, rel=0.2)
    assert growing["growth 0"] is growing["slope 0"] is None


def test_predictions_of_a_steady_flow_are_its_flow():
    """After a quarter of the interval, cells went a quarter of the step, and have three quarters of it before them."""
    rng = np.random.default_rng(0)
    a, c = cloud(rng, 50, 0, 0), cloud(rng, 80, 8, 4)
    case = three(a, cloud(rng, 60, 2, 1), c)
    found = holdout.predictions(steady(case.without(1), (8.0, 4.0), 0.7), holdout.Gap(case, 1))
    forward, back = a + [2, 1], c - [6, 3]
    for name in ("decoded", "residual"):
        points, weights = found[name]
        np.testing.assert_allclose(points, forward, atol=1e-4)
        np.testing.assert_allclose(weights, 1 / 50, rtol=1e-5)
    points, weights = found["residual, both sides"]
    np.testing.assert_allclose(points, np.concatenate([forward, back]), atol=1e-4)
    np.testing.assert_allclose(weights, np.repeat([0.75 / 50, 0.25 / 80], [50, 80]), rtol=1e-5)


def test_both_sides_coupled_are_the_flow_where_it_is_right_and_linear_where_nothing_moves():
    """Of a shift by (8, 4), all of which the model knows, or nothing: the true cells after a quarter, in both cases."""
    rng = np.random.default_rng(0)
    a = cloud(rng, 50, 0, 0)
    case = three(a, cloud(rng, 60, 2, 1), rng.permutation(a) + [8, 4])
    for step in ((8.0, 4.0), (0.0, 0.0)):
        clouds = holdout.predictions(steady(case.without(1), step, 0.7), holdout.Gap(case, 1))
        points, weights = clouds["residual, both sides, coupled"]
        order, expected = np.lexsort(points.T), a + [2, 1]
        np.testing.assert_allclose(points[order], expected[np.lexsort(expected.T)], atol=1e-4)
        np.testing.assert_allclose(weights, 1 / 50, rtol=1e-5)


def test_half_of_the_way_known_is_half_of_the_way_taken_on_faith():
    """A model that knows the first axis only, between clouds of other shapes: it is carried there, and the second axis
    is displacement interpolation, by POT."""
    rng = np.random.default_rng(0)
    a, c = cloud(rng, 40, 0, 0), cloud(rng, 40, 8, 5) * [1, 2]
    case = three(a, cloud(rng, 60, 2, 1), c)
    found = holdout.predictions(steady(case.without(1), (8.0, 0.0), 0.0), holdout.Gap(case, 1))
    points, weights = found["residual, both sides, coupled"]
    forward, back = a + [2, 0], c - [6, 0]
    plan = ot.emd(ot.unif(40), ot.unif(40), ot.dist(forward, back))
    expected = 0.75 * forward + 0.25 * back[plan.argmax(1)]
    np.testing.assert_allclose(points[np.lexsort(points.T)], expected[np.lexsort(expected.T)], atol=1e-4)
    np.testing.assert_allclose(weights, 1 / 40, rtol=1e-5)


def test_the_residual_is_what_the_decoder_cannot_say():
    """A decoder that knows only the first axis: the second one's spread is lost when decoded, and kept as residual."""
    rng = np.random.default_rng(0)
    a = cloud(rng, 50, 0, 0)
    case = three(a, cloud(rng, 60, 2, 0), cloud(rng, 80, 8, 0))
    stream = steady(case.without(1), (8.0, 0.0), 0.0)
    with torch.no_grad():
        stream.autoencoder.decoder[0].weight[2] = 0
    gap = holdout.Gap(case, 1)
    found = holdout.predictions(stream, gap)
    np.testing.assert_allclose(found["decoded"][0], np.stack([a[:, 0] + 2, np.zeros(50)], 1), atol=1e-4)
    np.testing.assert_allclose(found["residual"][0], a + [2, 0], atol=1e-4)
    scores = gap.score(found, 0)
    observed = case.snapshots.x[50:110].numpy()
    spread = np.sqrt(found["decoded"][0].var(0).sum() / observed.var(0).sum())
    assert scores["spread decoded"] == pytest.approx(spread, rel=1e-5)


def test_cells_that_are_all_alike_have_no_spread():
    rng = np.random.default_rng(0)
    case = three(cloud(rng, 20, 0, 0), np.full((20, 2), 1e3), cloud(rng, 20, 2, 0))
    gap = holdout.Gap(case, 1)
    found = gap.score(holdout.yardsticks(gap), 0)
    assert found["spread previous time point"] is None
    assert found["w2 noise floor"] == 0


def test_clouds_are_compared_alike():
    """The true law scores as the noise floor does, however many points a prediction has; a shift adds its square."""
    rng = np.random.default_rng(0)
    case = three(cloud(rng, 400, 0, 0), cloud(rng, 300, 0, 0), cloud(rng, 400, 0, 0))
    truth = {f"{n} points": holdout.even(cloud(rng, n, 0, 0)) for n in (400, 4000)}
    weights = rng.uniform(0.5, 1.5, 2000)
    clouds = truth | {"weighted": (cloud(rng, 2000, 0, 0), weights), "off": holdout.even(cloud(rng, 1000, 2, 0))}
    found = holdout.Gap(case, 1).score(clouds, 0)
    floor = found["w2 noise floor"]
    for name in ("400 points", "4000 points", "weighted"):
        assert found[f"w2 {name}"] == pytest.approx(floor, rel=0.2)
    assert found["w2 off"] == pytest.approx(math.sqrt(4 + floor**2), rel=0.15)
    assert found["spread 4000 points"] == pytest.approx(1, rel=0.1)


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_mistakes_are_one_sentence(command, cells, tmp_path):
    file = tmp_path / "file"
    file.touch()
    two = tmp_path / "two.h5ad"
    populations(n_cells=20, times=(0, 1)).write_h5ad(two)
    for expected, words, more in (
        ("There is no table 'table9'; choose one of: table1, ", ("table9",), {}),
        ("no method 'Magic'; it has: CellStream best, ", ("table1", "--methods", "CellStream best,Magic"), {}),
        ("no method 'MIOFlow'; it has: CellStream best, CellStream paper.", ("table4", "--methods", "MIOFlow"), {}),
        ("no data set 'mouse'", ("table1",), dict(data="mouse")),
        ("There is no column 'fate' in obs", ("table1", "--labels", "fate"), {}),
        ("Expected at least one seed, but got 0.", ("table1", "--seeds", "0"), {}),
        ("Expected no --data for table2", ("table2",), {}),
        ("Expected no --data for fates", ("fates",), {}),
        ("'cells' comes twice", ("table1", "--data", cells), {}),
        ("at least three time points to leave one out, but 'two' has two", ("holdout",), dict(data=two)),
        ("is a file", ("table1",), dict(out=file)),
    ):
        code, _, said = command(*words, **more)
        assert code == 2
        assert expected in said
        assert said.count("\n") == 1, said


def test_progress_is_lines_in_a_log_and_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    log, terminal = io.StringIO(), Terminal()
    for out in (log, terminal):
        bar = Tally(2, out)
        for name in ("one", "two"):
            bar.begin(name)
            bar.part(0.5)
            bar.end()
        bar.say("It broke.")
        bar.close()
    assert log.getvalue() == "1 of 2: one\n2 of 2: two\nIt broke.\n"
    assert "100%" in terminal.getvalue()
    assert "2 of 2" in terminal.getvalue()
    assert "It broke." in terminal.getvalue()


def test_a_record_survives_its_file(tmp_path):
    one = record("MIOFlow", 3, vc=0.25, lonely=None)
    one.write(tmp_path / "one.json")
    assert Record.read(tmp_path / "one.json") == one
    (tmp_path / "one.json").write_text("[1")
    assert Record.read(tmp_path / "one.json") is None
    assert Record.read(tmp_path / "none.json") is None
    assert asdict(one)["metrics"]["vc"] == 0.25


# how long things take


def test_speed_is_told_in_seconds_and_in_multiples_of_the_calibration(command, monkeypatch, tmp_path):
    """Two tasks that sleep; what is prepared or told is not timed."""

    def sleeps(seconds: float) -> Callable[[], float]:
        time.sleep(0.3)
        return lambda: time.sleep(seconds) or seconds

    def told(slept: float) -> str:
        time.sleep(0.3)
        return f"slept {slept}"

    tasks = [
        speed.Task(speed.CALIBRATION, "", 3, lambda: sleeps(0.05)),
        speed.Task("sleep", "long", 1, lambda: sleeps(0.15), told),
    ]
    monkeypatch.setattr(speed, "tasks", lambda quick: tasks)
    code, _, wrong = command("speed", data=None)
    assert code == 0, wrong
    unit, row = csv.DictReader((tmp_path / "out" / "speed-quick.csv").read_text().splitlines())
    assert unit["rounds"] == "3"
    assert 0.05 < float(unit["seconds"]) < 0.25
    assert 0.15 < float(row["seconds"]) < 0.3  # neither with what comes before nor with what comes after
    assert float(row["multiple"]) == pytest.approx(float(row["seconds"]) / float(unit["seconds"]), rel=0.01)
    assert row["outcome"] == "slept 0.15"
    (_, shown) = grids((tmp_path / "out" / "speed-quick.md").read_text())[0]
    assert shown["what came of it"] == "slept 0.15"
    assert (tmp_path / "out" / "speed-quick.png").read_bytes().startswith(b"\x89PNG")


def test_speed_has_its_own_methods(command):
    code, _, wrong = command("speed", "--methods", "MIOFlow", data=None)
    assert code == 2
    assert "has its own data and methods" in wrong


@pytest.mark.slow
def test_every_task_of_speed_can_be_timed():
    for task in speed.tasks(quick=True):
        found = speed.timed(replace(task, rounds=1))
        assert found.seconds > 0
        assert found.outcome.startswith("VC 0.") == task.name.startswith("training")

"""Benchmarks: what is kept, what is fitted anew, and that tables say what was measured."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import ot
import pytest
import torch

from cellstream import cli, metrics
from cellstream.benchmark import NAMES, cases, holdout, measures, methods, paper, report
from cellstream.benchmark.cases import Case
from cellstream.benchmark.plans import TABLES
from cellstream.benchmark.records import Record
from cellstream.errors import Diverged, UserError
from cellstream.presets import preset
from cellstream.progress import Tally
from cellstream.simulate import populations
from cellstream.snapshots import Snapshots
from cellstream.state import State
from cellstream.stream import CellStream


class Baseline:
    """Stands for a method of the registry: the paper's preset under another name, or one that always diverges."""

    def __init__(self, name: str, diverges: bool = False):
        self.name, self.diverges = name, diverges

    def fit(self, snapshots, seed=0, quick=False, embedding=None, on_progress=None) -> CellStream:
        if self.diverges:
            raise Diverged
        return methods.ours("CellStream paper", quick).fit(snapshots, seed, on_progress)


REGISTRY = {b.name: b for b in (Baseline("TIGON + PCA"), Baseline("TIGON + diffusion map"), Baseline("MIOFlow", True))}


@pytest.fixture(autouse=True)
def tiny_registry(monkeypatch):
    monkeypatch.setattr(methods, "registry", lambda: REGISTRY)
    monkeypatch.setattr(methods, "_baselines_code", lambda: "tiny")
    monkeypatch.setattr(methods, "tigon_in_components", lambda quick: methods.baseline("TIGON + PCA", quick))


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
    return {path.name: json.loads(path.read_text()) for path in sorted((folder / "runs").glob("*.json"))}


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
    first.unlink()
    second.write_text(second.read_text()[:100])
    command("table3", "--methods", "CellStream paper", "--seeds", "2")
    assert len(fitted) == 2
    assert first.exists()


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
    one = found["table5_quick-cells-cellstream_paper-1-0.json"]
    assert (one["table"], one["setting"]) == ("table5-quick", "α = 1")
    assert one["metrics"] == found["table4_quick-cells-cellstream_paper-as_in_the_preset-0.json"]["metrics"]


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
    bad = found["table1_quick-cells-mioflow-default-1.json"]
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
    return Record(
        "table1", "ipsc", method, "", seed, f"{method}{seed}", 1.0, values, failed, date="2026-01-01", commit="abc"
    )


def test_tables_hold_means_and_deviations_of_the_records():
    rng = np.random.default_rng(0)
    vc, tc = rng.uniform(size=(2, 4))
    made = [record("MIOFlow", i, vc_paper=vc[i], tc_paper=tc[i], r2=0.5 if i else None) for i in range(4)]
    made += [record("VeloViz", 0, vc_paper=0.25), record("VeloViz", 1, "It broke.")]
    summary = report.Summary(TABLES["table1"], made)
    one, other = grids(report.page("table1", summary, quick=False))[0]
    assert one["VC"] == f"{vc.mean():.3f} ± {np.std(vc, ddof=1):.3f}"
    assert one["TC"] == f"{tc.mean():.3f} ± {np.std(tc, ddof=1):.3f}"
    assert one["R²"] == "0.500 ± 0.000 (3 of 4)"
    assert (one["VC, paper"], one["TC, paper"]) == ("0.98", "0.92")
    assert (other["VC"], other["VC, paper"], other["TC"]) == ("0.250 (1 of 2)", "0.41", "–")
    rows = list(csv.DictReader(io.StringIO(report.long("table1", summary))))
    assert [float(row["value"]) for row in rows if row["method"] == "MIOFlow" and row["metric"] == "vc_paper"] == list(
        vc
    )
    assert [row["failed"] for row in rows if row["failed"]] == ["It broke."]


def test_the_tables_numbers_are_those_of_the_records(command, tmp_path):
    command("table1", "--methods", "CellStream paper", "--seeds", "3")
    values = [r["metrics"] for r in kept(tmp_path / "out").values()]
    (row,) = grids((tmp_path / "out" / "table1-quick.md").read_text())[0]
    shown = dict(VC="vc_paper", TC="tc_paper", direction="direction", trust="trust") | {"mass error": "mass"}
    for title, key in shown.items():
        numbers = [v[key] for v in values]
        assert row[title] == f"{np.mean(numbers):.3f} ± {np.std(numbers, ddof=1):.3f}"
    assert row["below shift"].split()[0] == f"{np.mean([v['below_shift'] for v in values]):.2f}"


@pytest.mark.parametrize("name", NAMES)
def test_every_table_can_be_made(command, name, tmp_path):
    chosen = {"table2": ("CellStream paper", "MIOFlow"), "holdout": ("CellStream best d=2", "TIGON + PCA d=10")}
    asked = chosen.get(name, ("CellStream paper",))
    source = dict(data=None) if name == "table2" else {}
    code, _, wrong = command(name, "--methods", ",".join(asked), **source)
    assert code == 0, wrong
    assert (tmp_path / "out" / f"{name}-quick.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "out" / f"{name}-quick.svg").read_text()
    page = (tmp_path / "out" / f"{name}-quick.md").read_text()
    assert page.startswith(f"# {name}-quick: {TABLES[name].title}")
    shown = grids(page)[0]
    if name == "table2":
        assert [row["setting"] for row in shown[::2]] == [f"σ = {s:g}" for s in paper.SIGMAS]
        assert [row["VA, paper"] for row in shown[::2]] == ["0.740", "0.735", "0.726", "0.717", "0.741"]
        assert all(0 < float(row["VA"]) <= 1 for row in shown[::2])
    if name == "table5":
        assert len(shown) == 9
        assert len({row["setting"] for row in shown}) == 9
    if name == "dimensions":
        assert [row["setting"] for row in shown] == ["d = 2", "d = 5"]  # there are six features
        assert all(float(row["R²"]) < 1 for row in shown)
    if name == "holdout":
        assert list(shown[0]) == ["prediction", "1", "mean"]
        assert [row["prediction"] for row in shown] == [
            "noise floor",
            "linear OT interpolation",
            "previous time point",
            "CellStream best d=2, decoded",
            "CellStream best d=2, residual",
            "CellStream best d=2, residual, both sides",
            "CellStream best d=2, residual, both sides, coupled",
            "TIGON + PCA",
        ]


def test_the_papers_numbers_are_in_their_places():
    assert paper.TABLE1["ipsc", "TIGON + diffusion map"] == dict(vc_paper=0.78, tc_paper=0.84)
    assert paper.TABLE1["emt", "VeloViz"] == dict(vc_paper=0.88, tc_paper=0.70)
    assert paper.TABLE2[0.5, "MIOFlow"] == dict(va=0.692, tc_paper=0.800)
    assert paper.TABLE3["ipsc", "no growth"] == dict(vc_paper=0.80, tc_paper=0.87)
    assert tuple(TABLES) == NAMES


def test_without_growth_the_mass_error_is_that_of_a_mass_of_one(command, tmp_path):
    command("table3", "--methods", "CellStream paper")
    found = kept(tmp_path / "out")
    observed = (54 + 20) / 40  # of 40 cells, 20 grow to 54 and 20 stay
    mass = found["table3_quick-cells-cellstream_paper-no_growth-0.json"]["metrics"]["mass"]
    assert mass == pytest.approx(1 - 1 / observed, abs=1e-6)


# --- measures and methods ---------------------------------------------------------------------------------------------


def test_of_time_points_the_worst_one_counts(moving_cloud):
    from cellstream import evaluation

    stream = State.initial(moving_cloud, preset("paper")).result()
    lineages = np.where(moving_cloud.x[:, 1].numpy() > 1, "up", "down")
    case = Case("cloud", moving_cloud, lineages, "0")
    found, whole = measures.everything(stream, case), evaluation.evaluate(stream, moving_cloud, lineages, "0")
    points = whole["match"].values()
    assert found["match"] == pytest.approx(max(p["w2"] / p["floor"] for p in points))
    for yardstick in ("stays", "shift"):
        assert found[f"match_{yardstick}"] == pytest.approx(max(p[yardstick] / p["floor"] for p in points))
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


def test_settings_of_a_quick_fit_stay_those_of_the_ablation():
    config = methods.ours("CellStream best", quick=True, autoencoder_steps=0).identity["config"]
    assert config["schedule"]["autoencoder_steps"] == 0
    assert config["schedule"]["dynamics_steps"] == methods.QUICK["dynamics_steps"]
    assert methods.ours("CellStream paper", quick=True).identity["config"]["schedule"]["embedding_steps"] == 0


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

"""The file doctor: each problem is put into a file, found there with its number, and mended as asked."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellstream import by_parts, doctor, fitting, fixes, readers, scverse
from cellstream.checkup import checkup, kept
from cellstream.config import Config, Preprocess
from cellstream.doctor import CAUTION, NOTE, STOP, Diagnosis, Finding, examine
from cellstream.errors import UserError
from cellstream.metadata import as_text, unwritable
from cellstream.preprocess import matrix_of
from cellstream.runs import Run
from cellstream.snapshots import from_anndata
from cellstream.worker import work
from tests.conftest import TINY

GENES = 30
COUNTS = (60, 70, 80)


def sound(counts=COUNTS, labels=("day 0", "day 2", "day 5"), seed: int = 0) -> ad.AnnData:
    """Counts of which no two cells, and no cell and nothing, are alike."""
    rng = np.random.default_rng(seed)
    which = np.repeat(np.arange(len(counts)), counts)
    x = rng.poisson(4 + which[:, None], size=(len(which), GENES)).astype(np.float32) + 1
    obs = pd.DataFrame({"day": np.array(labels)[which]}, index=[f"c{i}" for i in range(len(which))])
    return ad.AnnData(x, obs, pd.DataFrame(index=[f"g{i}" for i in range(GENES)]))


def the(found: Diagnosis, *words: str) -> Finding:
    """The one finding whose sentence has these words."""
    (finding,) = [f for f in found.findings if all(word in f.sentence for word in words)]
    return finding


def kinds(found: Diagnosis) -> list[str]:
    return [finding.level for finding in found.findings if finding.level != NOTE]


def test_a_sound_file_has_no_problems():
    found = examine(sound(), "day")
    assert kinds(found) == []
    assert found.shape == (210, GENES)
    assert "up to" in the(found, "raw counts").sentence
    assert "'day 5' is read as 5 d" in the(found, "are text").sentence
    for times in (
        np.repeat([0, 2, 5], COUNTS),
        np.repeat(pd.to_datetime(["2024-01-01", "2024-01-03", "2024-01-06"]), COUNTS),
    ):
        for column in (times, pd.Categorical(times)):
            adata = sound()
            adata.obs["day"] = column
            assert "are text" not in " ".join(f.sentence for f in examine(adata, "day").findings)


# values


def holed() -> ad.AnnData:
    """Two cells that failed, one feature that was not measured in half of the cells, one value that overflowed."""
    adata = sound()
    adata.X[3] = np.nan
    adata.X[100, 1:] = np.nan
    adata.X[::2, 7] = np.nan
    adata.X[50, 9] = np.inf
    return adata


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_missing_values_are_left_out_where_that_costs_least(form):
    adata = holed()
    adata.X = form(adata.X)
    nan, infinite = int(np.isnan(holed().X).sum()), 1
    finding = the(examine(adata, "day"), "missing")
    assert finding.level == STOP
    assert f"{nan} missing (NaN) and {infinite} infinite values" in finding.sentence
    assert finding.remedy.label == "Leave out 3 cells and 1 feature"
    with pytest.raises(UserError, match="NaN"):
        from_anndata(adata, "day")
    s = from_anndata(adata, "day", fixes=[finding.remedy.name])
    assert sorted(set(range(210)) - set(s.rows)) == [3, 50, 100]
    assert s.features == tuple(f"g{i}" for i in range(GENES) if i != 7)
    # as if the file had come without them
    good = np.setdiff1d(np.arange(GENES), [7])
    want = from_anndata(sound()[list(s.rows), good].copy(), "day")
    np.testing.assert_allclose(s.x, want.x, rtol=1e-6)
    assert s.mass.tolist() == want.mass.tolist()
    assert examine(adata, "day", asked=[finding.remedy.name]).done == {
        fixes.NONFINITE: "Left out for missing or infinite values: 3 cells, 1 feature."
    }


def test_cells_that_failed_cost_no_features():
    """A fifth of them lack all values but one: by them, every feature would be missing too often to be kept."""
    adata = sound()
    adata.X[::5, 1:] = np.nan
    found = checkup(matrix_of(adata, "X")[0])
    assert np.flatnonzero(found.bad).tolist() == list(range(0, 210, 5))
    assert found.bad_features == 0


@pytest.mark.parametrize("stored", [[3.0, 5.0], [-5.0, -3.0]])
def test_what_a_sparse_matrix_does_not_store_is_zero_and_of_its_range(stored: list[float]):
    x = np.diag(stored)
    for form in (x, sp.csr_matrix(x)):
        found = checkup(matrix_of(ad.AnnData(form), "X")[0])
        assert (found.low, found.high) == (x.min(), x.max())


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_scattered_missing_values_are_filled_since_little_would_stay(form):
    adata = sound()
    missing = np.random.default_rng(1).random(adata.shape) < 0.05
    adata.X[missing] = np.nan
    adata.X = form(adata.X)
    remedy = the(examine(adata, "day"), "missing").remedy
    assert remedy.name == fixes.FILL
    whole = sound()
    whole.X[missing] = 0
    np.testing.assert_allclose(from_anndata(adata, "day", fixes=[fixes.FILL]).x, from_anndata(whole, "day").x)
    assert kinds(examine(adata, "day", asked=[fixes.FILL])) == []
    values = adata.X.data if sp.issparse(adata.X) else adata.X
    assert np.isnan(values).sum() == missing.sum()  # in the data all is as it was


def test_where_leaving_out_leaves_nothing_and_a_zero_is_no_value_there_is_no_remedy():
    adata = sound()
    adata.obsm["X_low"] = adata.X[:, :3].copy()
    adata.X[np.arange(210), np.arange(210) % GENES] = np.inf
    adata.obsm["X_low"][np.arange(210), np.arange(210) % 3] = np.nan
    assert the(examine(adata, "day"), "infinite").remedy is None
    assert the(examine(adata, "day", input="obsm:X_low"), "missing").remedy is None


def test_empty_cells_and_silent_features():
    adata = sound()
    adata.X[[5, 90, 91]] = 0
    adata.X[:, [1, 2]] = 0
    found = examine(adata, "day")
    finding = the(found, "3 cells are zero")
    assert (finding.level, finding.remedy.name) == (CAUTION, fixes.EMPTY)
    assert the(found, "2 of 30 features are zero").level == NOTE
    s = from_anndata(adata, "day", fixes=[fixes.EMPTY])
    assert sorted(set(range(210)) - set(s.rows)) == [5, 90, 91]
    assert len(from_anndata(adata, "day").x) == 210


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_copies_are_told_from_cells_that_are_only_alike(form):
    adata = sound()
    adata.X[[10, 11]] = adata.X[2]
    adata.X[12] = adata.X[3]
    adata.X[12, 0] += 1  # alike, but another cell
    adata.X[200] = adata.X[20]  # at another time
    adata.X = form(adata.X)
    found = examine(adata, "day")
    finding = the(found, "2 cells are exact copies")
    assert finding.remedy.name == fixes.COPIES
    assert the(found, "1 cell stands at two time points").remedy is None
    s = from_anndata(adata, "day", fixes=[fixes.COPIES])
    assert sorted(set(range(210)) - set(s.rows)) == [10, 11]
    assert s.counts.tolist() == [58, 70, 80]
    np.testing.assert_allclose(s.mass, np.array([58, 70, 80]) / 58, rtol=1e-6)


def test_marks_agree_with_comparing_all_rows():
    """Against pandas, which compares values: few distinct rows, zeros of both signs, of any storage."""
    rng = np.random.default_rng(0)
    x = rng.integers(-1, 2, (400, 4)).astype(np.float64)
    x[x == 0] *= np.where(rng.random((x == 0).sum()) < 0.5, -1, 1)
    want = pd.DataFrame(x + 0.0).groupby(list(range(4)), sort=False).ngroup()
    for form in (x, x.astype(np.float32), x.astype(np.int8), sp.csr_matrix(x)):
        matrix = matrix_of(ad.AnnData(form), "X")[0]
        np.testing.assert_array_equal(pd.factorize(checkup(matrix).mark)[0], want)


@pytest.mark.parametrize(
    ("change", "settings", "words", "level", "sets"),
    [
        (lambda x: x, Preprocess(normalise="no"), "raw counts", CAUTION, dict(normalise="auto")),
        (lambda x: x - 5, Preprocess(normalise="yes"), "no logarithm", STOP, dict(normalise="auto")),
        (lambda x: x * 1234.5, Preprocess(), "CPM", CAUTION, dict(normalise="yes")),
        (lambda x: x - 5, Preprocess(), "scaled or corrected", CAUTION, dict(input="layer:counts")),
    ],
)
def test_what_kind_of_values_there_are(change, settings, words, level, sets):
    adata = sound()
    adata.layers["counts"] = adata.X
    adata.X = change(adata.X)
    finding = the(examine(adata, "day", preprocess=settings), words)
    assert (finding.level, finding.remedy.sets) == (level, sets)
    changed = Preprocess(sets.get("normalise", settings.normalise))
    again = examine(adata, "day", preprocess=changed, input=sets.get("input", "X"))
    assert kinds(again) == ([CAUTION] if level == STOP else [])  # of what is left, the counts in their layer are told
    from_anndata(adata, "day", preprocess=changed, input=sets.get("input", "X"))


# times


def test_small_time_points():
    adata = sound((60, 1, 70, 12), ("day 0", "day 2", "day 5", "day 9"))
    found = examine(adata, "day")
    lone, small = the(found, "One cell only"), the(found, "Fewer than 50")
    assert (lone.level, small.level) == (STOP, CAUTION)
    assert "'day 2' (1)" in lone.sentence
    assert "'day 2' (1), 'day 9' (12)" in small.sentence
    with pytest.raises(UserError, match="at least two cells"):
        from_anndata(adata, "day")
    one = from_anndata(adata, "day", fixes=[lone.remedy.name], masses=[1, 7, 2, 5])
    assert one.labels == ("day 0", "day 5", "day 9")
    assert one.times.tolist() == [0, 5, 9]
    assert one.mass.tolist() == [1, 2, 5]  # the sizes are of the column's time points
    both = from_anndata(adata, "day", fixes=[small.remedy.name])
    assert both.labels == ("day 0", "day 5")
    assert both.counts.tolist() == [60, 70]
    assert both.index.tolist() == [0] * 60 + [1] * 70
    # where too few would stay there is no such button
    assert the(examine(sound((60, 20, 20)), "day"), "Fewer than 50").remedy is None


def test_cells_without_a_time_one_time_and_no_order():
    adata = sound()
    adata.obs.loc[adata.obs_names[:9], "day"] = np.nan
    assert the(examine(adata[::-1].copy(), "day"), "not in order of time").level == NOTE
    assert the(examine(adata, "day"), "9 cells have no time").level == NOTE
    single = examine(sound(labels=("day 3",) * 3), "day")
    assert kinds(single) == [STOP]
    assert "one time" in single.findings[0].sentence
    assert "one time" in examine(sound(labels=("day 3",) * 3), "").findings[0].sentence


def test_ordered_labels_become_times():
    adata = sound(labels=("early", "mid", "late"))
    assert the(examine(adata, "day"), "do not say when").remedy is None
    adata.obs["day"] = pd.Categorical(adata.obs["day"], ["early", "mid", "late", "never"], ordered=True)
    remedy = the(examine(adata, "day"), "early < mid < late").remedy
    assert (
        remedy.sets
        == {"time_map": {"early": 0, "mid": 1, "late": 2}}
        == doctor.choices([remedy.name], adata.obs, "day")
    )
    assert from_anndata(adata, "day", **remedy.sets).labels == ("early", "mid", "late")
    assert kinds(examine(adata, "day", **remedy.sets)) == []


# names and metadata


def test_names_and_labels(tmp_path: Path):
    adata = sound()
    adata.obs_names = [*adata.obs_names[:-2], "c0", "c1"]
    adata.obs["cell_type"] = ["rare"] * 3 + ["a", "b", None] * 69
    assert the(examine(adata, "day"), "2 cell names").level == NOTE
    adata.write_h5ad(tmp_path / "x.h5ad")
    reading = readers.open_file(tmp_path / "x.h5ad")
    found = examine(reading.adata, "day", notes=reading.notes)
    assert "got a number added" in the(found, "2 cell names").sentence  # once, although the names differ by now
    assert "'rare' (3)" in the(found, "Kinds with fewer").sentence
    assert the(found, "69 cells have no 'cell_type'").level == NOTE


COLUMNS = {
    "text": ["a", "b", None],
    "mixed": ["a", 1, None],
    "numbers as objects": np.array([1, 2.5, None], object),
    "empty": np.array([None] * 3, object),
    "flags": np.array([True, None, False], object),
    "lists": [[1], [2], [3]],
    "dates": pd.to_datetime(["2020-01-01", "2020-01-02", None]),
    "hours": pd.to_datetime(["2020-01-01 06:00", "2020-01-02 00:00", None]),
    "spans": pd.to_timedelta([1, 2, 3], "D"),
    "kinds": pd.Categorical(["a", "b", None]),
    "mixed kinds": pd.Categorical(["1", 1, "1"]),
    "bins": pd.cut([1, 2, 3], 3),
    "integers with gaps": pd.array([1, None, 2], dtype="Int64"),
    "half": np.array([1, 2, 3], np.float16),
    "flags with gaps": pd.array([True, None, False], dtype="boolean"),
    "strings": pd.array(["a", None, "b"], dtype="string"),
    "fractions with gaps": pd.array([1.5, None, 2], dtype="Float64"),
    "single fractions": pd.array([1.5, 2, 3], dtype="Float32"),
    "nothing but gaps": pd.array([None] * 3, dtype="Float64"),
    "sparse integers": pd.arrays.SparseArray([0, 0, 2]),
    "sparse fractions": pd.arrays.SparseArray([0, np.nan, 2.5]),
    "sparse flags": pd.arrays.SparseArray([True, False, False]),
    "kinds of integers": pd.Categorical(pd.array([1, None, 2], dtype="Int64")),
    "kinds of flags": pd.Categorical.from_codes([0, 1, -1], pd.Index(pd.array([True, False], dtype="boolean"))),
    "kinds of strings": pd.Categorical(pd.array(["a", None, "b"], dtype="string")),
    "kinds of fractions": pd.Categorical([1.5, None, 2]),
    "kinds of fractions with gaps": pd.Categorical(pd.array([1.5, None, 2], dtype="Float64")),
    "kinds of sparse integers": pd.Categorical(pd.arrays.SparseArray([0, 0, 2])),
    "kinds of sparse fractions": pd.Categorical(pd.arrays.SparseArray([0, np.nan, 2.5])),
    "bins as kinds": pd.Categorical(pd.interval_range(0, 3)),
    "kinds of dates": pd.Categorical(pd.to_datetime(["2020-01-01", None, "2020-01-03"])),
    "dates of a zone": pd.to_datetime(["2020-01-01", None, "2020-01-03"]).tz_localize("UTC"),
    "months": pd.period_range("2020-01", "2020-03", freq="M"),
    "kinds of months": pd.Categorical(pd.period_range("2020-01", "2020-03", freq="M")),
    "flags and text": np.array([True, "b", None], object),
    "dates and text": np.array([pd.Timestamp("2020-01-01"), None, "x"], object),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COLUMNS)
def test_what_anndata_refuses_to_write_is_known_and_as_text_it_can_be_written(tmp_path: Path, name: str):
    frame = pd.DataFrame({name: pd.Series(COLUMNS[name], index=list("xyz"))})

    def written(frame: pd.DataFrame) -> bool:
        try:
            ad.AnnData(obs=frame.copy()).write_h5ad(tmp_path / "x.h5ad")
        except Exception:
            return False
        return True

    assert (unwritable(frame) == []) == written(frame)
    text = as_text(frame)
    assert written(text)
    assert text[name].isna().tolist() == frame[name].isna().tolist()
    if pd.api.types.is_numeric_dtype(frame[name].dtype):
        again = ad.read_h5ad(tmp_path / "x.h5ad").obs[name]
        assert pd.api.types.is_numeric_dtype(again.dtype)
        missing = frame[name].isna().to_numpy()
        np.testing.assert_array_equal(*(c.to_numpy(object)[~missing].astype(float) for c in (again, frame[name])))


def test_metadata_that_cannot_be_written_is_written_as_text(tmp_path: Path):
    adata = sound()
    dates = {"day 0": "2024-01-01", "day 2": "2024-01-03", "day 5": "2024-01-06"}
    adata.obs["day"] = pd.to_datetime(adata.obs["day"].map(dates))
    adata.obs["plate"] = np.array(["A", 1, None] * 70, object)
    finding = the(examine(adata, "day"), "No .h5ad can hold")
    assert "obs['day'], obs['plate']" in finding.sentence
    out = tmp_path / "out.h5ad"
    with pytest.raises(UserError, match=f"--fix {fixes.TEXT}"):
        fitting.require_writable(adata, out)
    fitting.require_writable(adata, out, [finding.remedy.name])
    assert kinds(examine(adata, "day", asked=[fixes.TEXT])) == []
    snapshots = from_anndata(adata, "day", fixes=[fixes.TEXT])
    recipe = dict(time_key="day", fixes=[fixes.TEXT])
    run = Run.create(tmp_path / "run", snapshots, Config().with_settings(**TINY), recipe)
    work(run.folder)
    scverse.annotate(run.result(), adata, snapshots, recipe)
    fitting.write(adata, out)
    again = readers.read(out)
    _, s, _ = scverse.read_result(again)  # the times are read from the text as from the dates
    assert s.labels == ("2024-01-01", "2024-01-03", "2024-01-06")
    assert again.obs["plate"].iloc[:2].tolist() == ["A", "1"]
    assert again.obs["plate"].isna().sum() == 70


# all together


@pytest.mark.filterwarnings("ignore")
def test_a_file_in_parts_is_examined_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    adata = holed()
    adata.X[[20, 21]] = 0
    adata.X[30] = adata.X[32]
    adata.X = sp.csr_matrix(adata.X)
    adata.write_h5ad(tmp_path / "x.h5ad")
    monkeypatch.setattr(by_parts, "ROOM", 1e9)
    monkeypatch.setattr(by_parts, "ENTRIES", 1_000)
    monkeypatch.setattr(by_parts, "WORTH", 1_000)
    reading = readers.open_file(tmp_path / "x.h5ad")
    assert by_parts.is_lazy(reading.adata.X)
    found = examine(reading.adata, "day", notes=reading.notes)
    assert "read in parts" in the(found, "GB in memory").sentence
    here, shares = examine(adata, "day"), []
    assert [f for f in found.findings if f.sentence not in reading.notes] == list(here.findings)
    assert by_parts.is_lazy(reading.adata.X)
    checkup(matrix_of(reading.adata, "X")[0], shares.append)
    assert len(shares) > 6
    assert max(shares) == 1
    for asked in ([fixes.NONFINITE, fixes.EMPTY, fixes.COPIES], [fixes.FILL, fixes.NONFINITE]):
        lazy, whole = (from_anndata(a, "day", fixes=asked) for a in (reading.adata, adata))
        assert lazy.rows == whole.rows
        np.testing.assert_allclose(lazy.x, whole.x, rtol=1e-5)


def test_fixes_compose_in_one_order_whatever_the_order_of_asking():
    adata = holed()
    adata.X[[20, 21]] = 0
    adata.X[30] = adata.X[32]
    asked = [fixes.SMALL, fixes.COPIES, fixes.EMPTY, fixes.NONFINITE]
    one, other = (from_anndata(adata, "day", fixes=names) for names in (asked, asked[::-1]))
    assert one.rows == other.rows
    assert sorted(set(range(210)) - set(one.rows)) == [3, 20, 21, 32, 50, 100]
    index = np.repeat(np.arange(3), COUNTS)
    stay = kept(index, checkup(adata.X), asked)
    assert stay.left == {fixes.NONFINITE: 3, fixes.EMPTY: 2, fixes.COPIES: 1, fixes.SMALL: 0}
    with pytest.raises(UserError, match="did you mean drop-copies"):
        from_anndata(adata, "day", fixes=["drop-copy"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("genes", [GENES, 300])
def test_the_command_line_mends_trains_and_annotates_all_cells_of_the_original(tmp_path: Path, genes: int):
    """With 300 genes there are principal components, which depend on the cells that take part."""
    adata = holed()
    adata = ad.concat([adata] + [sound(seed=i) for i in range(1, genes // GENES)], axis=1, merge="first")
    adata.var_names = [f"g{i}" for i in range(genes)]
    if genes > GENES:
        adata.X[3], adata.X[100] = np.nan, np.nan
    adata.X[[20, 21]] = 0
    adata.X[30] = adata.X[32]
    path, out = tmp_path / "x.h5ad", tmp_path / "out.h5ad"
    adata.write_h5ad(path)
    before = path.read_bytes()
    config = Config().with_settings(**TINY)
    with pytest.raises(UserError, match=f"--fix {fixes.NONFINITE} leaves out"):
        fitting.fit(str(path), out, config, lambda sentence: None, time_key="day")
    said: list[str] = []
    asked = [fixes.COPIES, fixes.NONFINITE, fixes.EMPTY]
    outcome = fitting.fit(str(path), out, config, said.append, time_key="day", asked=asked, run_dir=tmp_path / "run")
    assert outcome.status.state == "finished"
    assert "1 cell left out, as asked for: copies of others." in said
    assert path.read_bytes() == before
    result = readers.read(out)
    assert result.obs_names.tolist() == adata.obs_names.tolist()
    left = np.flatnonzero(np.isnan(result.obsm["X_cellstream"]).any(axis=1))
    assert left.tolist() == [3, 20, 21, 32, 50, 100]
    np.testing.assert_array_equal(np.asarray(result.X), adata.X)
    # the result finds its way back, from the file and from the run
    stream, s, recipe = scverse.read_result(result)
    assert recipe["fixes"] == list(fixes.ordered(asked))
    assert set(range(210)) - set(s.rows) == set(left.tolist())
    z = stream.encode(s.x.numpy(), s.times.numpy()[s.index.numpy()])
    np.testing.assert_allclose(z, result.obsm["X_cellstream"][list(s.rows)], atol=1e-4)
    run = Run(tmp_path / "run")
    assert json.loads((run.folder / "recipe.json").read_text())["fixes"] == list(fixes.ordered(asked))
    scverse.require_same_cells(readers.read(path), run.snapshots(), run.recipe)
    assert scverse.expression(result, stream, s, recipe).shape == (204, len(stream.genes.names))
    # a time that was changed is noticed, of cells that take part
    other = readers.read(path)
    other.obs["day"] = other.obs["day"].astype(object)
    other.obs.loc["c0", "day"] = "day 2"
    with pytest.raises(UserError, match="times of the cells"):
        scverse.require_same_cells(other, run.snapshots(), run.recipe)

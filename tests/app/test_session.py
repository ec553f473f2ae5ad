"""The one state: what it does with files, times, runs and addresses, without a screen."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

from cellstream import doctor, events, fixes, runs, scverse
from cellstream.config import Config, Preprocess
from cellstream.errors import UserError
from cellstream.fixes import ordered
from cellstream.preprocess import prepare
from cellstream.presets import preset
from cellstream.runs import Run
from cellstream.state import State
from cellstream_app import embeddings, sources
from cellstream_app import session as app
from cellstream_app.colouring import expression
from cellstream_app.parts.saving import write_result
from cellstream_app.reading import Reading, examined
from cellstream_app.results import Result, load_result
from cellstream_app.session import NOT_LOADED, SAMPLE, Session
from cellstream_app.timetable import CELLS, LABEL, SIZE, VALUE, time_table, with_sizes, with_unit, with_values
from tests.conftest import TINY


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CELLSTREAM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CELLSTREAM_ROOT", raising=False)
    return tmp_path / "home"


def cells(labels: list, counts: list[int]) -> anndata.AnnData:
    rng = np.random.default_rng(0)
    n = sum(counts)
    which = np.repeat(np.arange(len(counts)), counts)
    obs = pd.DataFrame({"day": [labels[i] for i in which], "kind": ["a", "b"] * (n // 2) + ["a"] * (n % 2)})
    adata = anndata.AnnData(rng.normal(size=(n, 6)).astype(np.float32) + which[:, None], obs=obs)
    adata.obsm["X_pca"] = rng.normal(size=(n, 3)).astype(np.float32)
    return adata


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cells.h5ad"
    cells(["day 0", "day 2", "day 5"], [30, 20, 40]).write_h5ad(path)
    return path


def opened(path: Path) -> Session:
    session = Session()
    asyncio.run(session.open(str(path)))
    return session


# data


def test_opening_guesses_the_times_and_prepares(file: Path):
    session = opened(file)
    assert session.source.title == "cells.h5ad"
    assert (session.reading.time_key, session.reading.input) == ("day", "X")
    assert session.snapshots.times.tolist() == [0, 2, 5]
    assert session.snapshots.unit == "d"
    assert session.problem == ""
    assert not session.preparing
    assert session.opening == ""


def test_a_file_that_is_none_leaves_the_session_as_it_was(file: Path, tmp_path: Path):
    session = opened(file)
    before = session.source, session.reading, session.snapshots
    bad = tmp_path / "bad.h5ad"
    bad.write_bytes(b"\x89HDF\r\n\x1a\n broken")
    for path in (bad, tmp_path / "missing.h5ad", "", "https://example.org/x.h5ad"):
        with pytest.raises(UserError):
            asyncio.run(session.open(str(path)))
    assert (session.source, session.reading, session.snapshots) == before
    assert session.opening == ""


def test_a_bad_reading_is_a_sentence_and_a_good_one_afterwards_heals_it(file: Path):
    session = opened(file)
    asyncio.run(session.prepare(Reading(time_key="kind")))
    assert "kind" in session.problem
    assert session.snapshots is None
    asyncio.run(session.prepare(Reading(time_key="day", input="obsm:X_pca", real_times=True)))
    assert session.problem == ""
    assert session.snapshots.x.shape == (90, 3)
    np.testing.assert_allclose(session.snapshots.tau, [0, 0.8, 2])  # in proportion to 0, 2, 5 days


def test_of_several_readings_the_last_one_counts(file: Path, monkeypatch: pytest.MonkeyPatch):
    session = opened(file)
    read = app.read_snapshots

    def slow(source, reading):
        time.sleep(0.3 if reading.input == "X" else 0)
        return read(source, reading)

    monkeypatch.setattr(app, "read_snapshots", slow)

    async def hurry():
        await asyncio.gather(
            session.prepare(Reading(time_key="day", input="X")),
            session.prepare(Reading(time_key="day", input="obsm:X_pca")),
        )

    asyncio.run(hurry())
    assert session.reading.input == "obsm:X_pca"
    assert session.snapshots.x.shape == (90, 3)
    assert not session.preparing


def test_of_several_openings_the_last_one_counts(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The slower one neither takes the place of what was asked for after it, nor is what went wrong with it told."""
    session, later, missing = Session(), tmp_path / "later.h5ad", tmp_path / "missing.h5ad"
    cells(["day 0", "day 1"], [30, 20]).write_h5ad(later)
    monkeypatch.setattr(app, "open_source", lambda key: time.sleep(waits[key]) or sources.open_source(key))
    waits = {str(missing): 0.4, str(file): 0.3, str(later): 0.0}

    async def hurry() -> None:
        before = [asyncio.ensure_future(session.open(str(path))) for path in (missing, file)]
        await asyncio.sleep(0.05)
        await session.open(str(later))
        await session.prepare(dataclasses.replace(session.reading, real_times=True))
        await asyncio.gather(*before)

    asyncio.run(hurry())
    assert session.source.key == str(later)
    assert session.reading.real_times
    assert session.snapshots.counts.tolist() == [30, 20]


def test_an_opening_is_under_way_until_the_last_one_is_done(file: Path, monkeypatch: pytest.MonkeyPatch):
    session, seen = Session(), []
    monkeypatch.setattr(app, "open_source", lambda key: time.sleep(waits[key]) or sources.open_source(key))
    waits = {"nothing": 0.0, str(file): 0.3}
    session.param.watch(lambda event: seen.append(event.new), "opening")

    async def hurry() -> None:
        await asyncio.gather(session.open("nothing"), session.open(str(file)))

    asyncio.run(hurry())
    assert seen == ["nothing", str(file), ""]


def failing(error: Exception) -> Callable:
    def fail(*given: object) -> None:
        raise error

    return fail


def test_a_file_that_cannot_be_reached_any_more_is_a_sentence(file: Path, monkeypatch: pytest.MonkeyPatch):
    session, gone = Session(), failing(OSError("the network drive is gone"))

    async def story() -> None:
        await session.open(str(file))
        await session.examined()
        with monkeypatch.context() as patch:
            patch.setattr(app, "read_snapshots", gone)
            patch.setattr(app, "examined", gone)
            await session.prepare(session.reading)
            assert session.snapshots is None
            assert "drive is gone" in session.problem
            assert await session.examined() is None
        await session.prepare(session.reading)
        assert session.problem == ""
        await session.examined()
        monkeypatch.setattr(app, "examined", gone)  # what is prepared is in memory, the file check walks over the file
        await session.prepare(session.reading)
        assert session.snapshots is not None
        assert await session.examined() is None
        assert "drive is gone" in session.problem
        assert not session.preparing
        assert not session.checking

    asyncio.run(story())


def test_nobody_waits_for_what_has_failed_by_a_fault_of_ours(file: Path, monkeypatch: pytest.MonkeyPatch):
    session = Session()

    async def story() -> None:
        await session.open(str(file))  # and the file check is still under way
        monkeypatch.setattr(app, "read_snapshots", failing(RuntimeError("a fault of ours")))
        with pytest.raises(RuntimeError, match="of ours"):
            await session.prepare(dataclasses.replace(session.reading, input="obsm:X_pca"))
        await session.examined()
        assert not session.preparing
        assert not session.checking
        assert session.snapshots is None  # those of the reading before are not to be trained on
        assert session.diagnosis is None
        assert "fault of this app" in session.problem

    asyncio.run(story())


# the table of time points


def test_a_file_is_prepared_once_for_all_who_read_it_alike(file: Path, monkeypatch: pytest.MonkeyPatch):
    """Times and sizes change at once, two sessions share, and other features are prepared anew."""
    made = []

    def slow(*arguments):
        made.append(arguments[1:])
        time.sleep(0.2)
        return prepare(*arguments)

    monkeypatch.setattr(sources, "prepare", slow)
    first, second = Session(), Session()

    async def both():
        await asyncio.gather(first.open(str(file)), second.open(str(file)))
        await first.prepare(dataclasses.replace(first.reading, masses=(1, 2, 3), real_times=True))

    asyncio.run(both())
    assert made == [("X", Preprocess(), ())]
    assert first.snapshots.mass.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(first.snapshots.x, second.snapshots.x)
    asyncio.run(second.prepare(dataclasses.replace(second.reading, input="obsm:X_pca")))
    few = second.source.adata.obs["day"].isin(["day 0", "day 5"]).to_numpy()
    assert len(second.source.prepared(np.flatnonzero(few), "X", Preprocess()).x) == 70
    assert [input for input, *_ in made] == ["X", "obsm:X_pca", "X"]


def test_the_table_tells_what_the_labels_say():
    adata = cells(["day 5", "day 0", "day 2"], [40, 30, 20])
    table = time_table(adata.obs, Reading(time_key="day"))
    assert table[LABEL].tolist() == ["day 0", "day 2", "day 5"]
    assert table[VALUE].tolist() == [0, 2, 5]
    assert table[CELLS].tolist() == [30, 20, 40]
    np.testing.assert_allclose(table[SIZE], [1, 20 / 30, 40 / 30])


def test_values_that_the_user_types_come_back_in_order_of_time(tmp_path: Path):
    path = tmp_path / "stages.h5ad"
    cells(["late", "early", "junk"], [40, 30, 20]).write_h5ad(path)
    session = opened(path)
    asyncio.run(session.prepare(Reading(time_key="day")))
    assert "late" in session.problem
    obs = session.source.adata.obs
    table = time_table(obs, session.reading)
    assert table[VALUE].isna().all()
    typed = {"early": 1.0, "late": 9.5, "junk": np.nan}
    table[VALUE] = table[LABEL].map(typed)
    asyncio.run(session.prepare(with_values(obs, session.reading, table)))
    assert session.problem == ""
    assert session.snapshots.labels == ("early", "late")  # what has no value is left out
    assert session.snapshots.times.tolist() == [1.0, 9.5]
    assert session.snapshots.counts.tolist() == [30, 40]
    again = time_table(obs, session.reading)
    assert again.set_index(LABEL)[VALUE].to_dict() == pytest.approx(typed, nan_ok=True)


def test_a_row_stays_where_it_is_until_all_words_have_a_time(tmp_path: Path):
    path = tmp_path / "words.h5ad"
    cells(["late", "early", "mid"], [40, 30, 20]).write_h5ad(path)
    session = opened(path)
    obs, seen = session.source.adata.obs, []
    for label, value in (("mid", 2.0), ("late", 3.0), ("early", 1.0)):
        table = time_table(obs, session.reading)
        seen.append(table[LABEL].tolist())
        table.loc[table[LABEL] == label, VALUE] = value
        asyncio.run(session.prepare(with_values(obs, session.reading, table)))
    assert seen == 3 * [["early", "late", "mid"]]
    assert time_table(obs, session.reading)[LABEL].tolist() == ["early", "mid", "late"]
    assert session.snapshots.labels == ("early", "mid", "late")


def test_numbers_can_be_given_other_values(tmp_path: Path):
    path = tmp_path / "numbers.h5ad"
    cells([0.5, 1.0, 3.25], [10, 10, 10]).write_h5ad(path)
    session = opened(path)
    table = time_table(session.source.adata.obs, session.reading)
    table.loc[2, VALUE] = 4.0
    asyncio.run(session.prepare(with_values(session.source.adata.obs, session.reading, table)))
    assert session.snapshots.times.tolist() == [0.5, 1.0, 4.0]


def test_labels_that_are_one_time_point_keep_together(tmp_path: Path):
    path = tmp_path / "spelled.h5ad"
    cells(["day 1", "Day 1", "day 3"], [10, 12, 14]).write_h5ad(path)
    session = opened(path)
    table = time_table(session.source.adata.obs, session.reading)
    assert table[CELLS].tolist() == [22, 14]
    table[VALUE] = [2.0, 6.0]
    asyncio.run(session.prepare(with_values(session.source.adata.obs, session.reading, table)))
    assert session.problem == ""
    assert session.snapshots.counts.tolist() == [22, 14]
    assert session.snapshots.times.tolist() == [2.0, 6.0]
    assert session.snapshots.unit == "d"  # as it was shown beside the values


def test_relative_sizes_are_those_of_the_user_or_a_sentence(file: Path):
    session = opened(file)
    table = time_table(session.source.adata.obs, session.reading)
    table[SIZE] = [2.0, 4.0, 10.0]
    asyncio.run(session.prepare(with_sizes(session.reading, table)))
    assert session.snapshots.mass.tolist() == [1.0, 2.0, 5.0]
    for wrong in (0.0, -1.0, np.nan, "many"):
        table[SIZE] = [2.0, wrong, 10.0]
        with pytest.raises(UserError, match="day 2"):
            with_sizes(session.reading, table)


def test_one_time_only_is_told_as_the_command_line_tells_it(tmp_path: Path):
    path = tmp_path / "one.h5ad"
    cells(["day 3"], [30]).write_h5ad(path)
    session = opened(path)
    assert session.reading.time_key == ""
    assert session.snapshots is None
    assert session.problem == (
        "Column 'day' holds one time only ('day 3'), but at least two are needed: give a file with cells of several "
        "times, or choose the column that has them."
    )


# the file doctor


def broken(path: Path) -> anndata.AnnData:
    """Two cells with missing values, three empty ones, a copy, and a fourth time point of one cell."""
    adata = cells(["day 0", "day 2", "day 5", "day 9"], [60, 60, 60, 1])
    adata.X[[3, 4], 2] = np.nan
    adata.X[[70, 71, 72]] = 0
    adata.X[150] = adata.X[140]
    adata.obs_names = [f"c{i}" for i in range(181)]
    adata.write_h5ad(path)
    return adata


LEFT = [3, 4, 70, 71, 72, 150, 180]


def mended(path: Path) -> Session:
    """Every button that the doctor offers is pressed."""
    session = Session()

    async def press() -> None:
        await session.open(str(path))
        while remedies := [f.remedy for f in (await session.examined()).findings if f.remedy]:
            fixes = ordered([*session.reading.fixes, remedies[0].name])
            await session.prepare(dataclasses.replace(session.reading, fixes=fixes))

    asyncio.run(press())
    return session


@pytest.mark.slow
def test_fixes_are_remembered_by_the_run_and_its_result_annotates_all_cells(tmp_path: Path):
    path, out = tmp_path / "broken.h5ad", tmp_path / "out.h5ad"
    adata = broken(path)
    assert opened(path).problem
    session = mended(path)
    assert session.problem == ""
    assert session.reading.fixes == (fixes.NONFINITE, fixes.EMPTY, fixes.COPIES, fixes.LONE)
    assert session.diagnosis.of(doctor.STOP, doctor.CAUTION) == ()
    assert session.snapshots.labels == ("day 0", "day 2", "day 5")
    assert sorted(set(range(181)) - set(session.snapshots.rows)) == LEFT
    table = time_table(session.source.adata.obs, session.reading, session.snapshots.rows)
    assert table[CELLS].tolist() == [58, 57, 59, 0]
    table.loc[1, SIZE] = 3.0  # sizes can be given although one time point has none
    asyncio.run(session.prepare(with_sizes(session.reading, table)))
    assert session.snapshots.mass.tolist() == pytest.approx([1, 3, 59 / 58])
    tiny(session)
    assert watch(session)[-1] == "finished"
    later = Session(run_id=session.run_id)
    asyncio.run(later.restore())
    assert later.result_problem == ""
    assert later.result_source.key == str(path)
    assert np.isfinite(expression(later.result, later.result_source, "0")).all()
    write_result(later.result, later.result_source, out)
    saved = anndata.read_h5ad(out)
    assert saved.obs_names.tolist() == adata.obs_names.tolist()
    assert np.flatnonzero(np.isnan(saved.obsm["X_cellstream"]).any(axis=1)).tolist() == LEFT
    np.testing.assert_array_equal(saved.X, adata.X)
    # and from the saved file alone
    again = Session()

    async def show() -> None:
        await again.open(str(out))
        await again.show_result_in_file()

    asyncio.run(show())
    np.testing.assert_allclose(again.result.z, later.result.z, atol=1e-4)
    assert again.result_problem == ""


def test_what_is_undone_is_as_it_was(tmp_path: Path):
    broken(tmp_path / "broken.h5ad")
    session = mended(tmp_path / "broken.h5ad")
    kept = dataclasses.replace(session.reading, fixes=(fixes.NONFINITE, fixes.LONE))
    asyncio.run(session.prepare(kept))
    assert sorted(set(range(181)) - set(session.snapshots.rows)) == [3, 4, 180]
    asyncio.run(session.prepare(dataclasses.replace(kept, fixes=())))
    assert session.snapshots is None
    assert "NaN" in session.problem


def test_the_page_does_not_wait_for_the_doctor(file: Path, monkeypatch: pytest.MonkeyPatch):
    session, seen = Session(), []

    def slow(source, reading):
        time.sleep(0.5)
        return examined(source, reading)

    monkeypatch.setattr(app, "examined", slow)

    async def story() -> None:
        await session.open(str(file))
        seen.append((session.snapshots is not None, session.checking, session.diagnosis))
        await session.prepare(dataclasses.replace(session.reading, input="obsm:X_pca"))  # of two, the last one counts
        await session.examined()

    asyncio.run(story())
    assert seen == [(True, True, None)]
    assert not session.checking
    assert session.diagnosis.shape == (90, 3)


# runs


def tiny(session: Session, name: str = "") -> Run:
    return asyncio.run(session.start(preset("quick", **TINY, embedding_steps=5, warm_steps=5), "quick", name))


def watch(session: Session, seconds: float = 120) -> list[str]:
    """Poll as the page does until the run is over; the states in their order."""
    states, until = [session.status.state], time.monotonic() + seconds
    while session.status.live:
        assert time.monotonic() < until, f"still {session.status} after {seconds} s"
        time.sleep(0.05)
        session.poll()
        if session.status.state != states[-1]:
            states.append(session.status.state)
    return states


def test_a_run_is_made_watched_found_again_and_deleted(file: Path):
    session = opened(file)
    heard = []
    session.param.watch(lambda event: heard.append(event.new), "news")
    run = tiny(session, "  my run ")
    assert run.name == "my run"
    assert session.run is run
    assert session.run_id == run.folder.name
    recipe = json.loads((run.folder / "recipe.json").read_text())
    assert recipe["takes_turns"] is True
    assert (recipe["source"], recipe["time_key"], recipe["input"]) == (str(file), "day", "X")
    assert (recipe["time_map"], recipe["masses"], recipe["real_times"]) == (None, None, False)
    assert watch(session)[-1] == "finished"
    assert len(heard) > 3
    # the page is loaded again: a new session finds the run by what stands in the address
    later = Session(run_id=run.folder.name)
    asyncio.run(later.restore())
    assert later.run.folder == run.folder
    assert later.status.state == "finished"
    assert later.result.final
    assert later.result_source.key == str(file)
    later.rename(later.run, "other")
    assert runs.all_runs()[0].name == "other"
    asyncio.run(later.delete(later.run))
    assert not run.folder.exists()
    assert later.runs() == []


def of_the_future(run: Run) -> Run:
    """The run with a setting that only a later version knows."""
    path = run.folder / "config.json"
    config = json.loads(path.read_text())
    config["networks"]["of_the_future"] = 1
    path.write_text(json.dumps(config))
    return run


def test_a_run_that_cannot_be_read_is_a_sentence_and_the_one_before_stays(file: Path):
    session = opened(file)
    run = of_the_future(Run.create(runs.new_folder("later"), session.snapshots, Config(), {"name": "later"}))
    later = Session(run_id=run.folder.name)
    asyncio.run(later.restore())  # there is none before
    assert later.run_id == SAMPLE
    assert later.result is not None
    assert "of_the_future" in later.result_problem
    told, result = [], later.result
    later.param.watch(lambda event: told.append(event.new), "run_id", onlychanged=False)
    asyncio.run(later.choose(run.folder.name))
    assert (later.run_id, later.result, later.loading) == (SAMPLE, result, False)
    assert told  # for whoever shows a choice
    asyncio.run(later.load())
    assert later.result is result


@pytest.mark.parametrize("slow", [0, 1])
def test_of_several_loadings_the_last_one_counts(slow: int, monkeypatch: pytest.MonkeyPatch):
    session = Session()
    asyncio.run(session.restore())
    found = load_result(session.run)
    results = [Result(found.run, found.stream, found.snapshots, final) for final in (False, True)]
    free, calls = [threading.Event(), threading.Event()], []

    def load(run: Run) -> Result:
        calls.append(run)
        mine = len(calls) - 1
        assert free[mine].wait(30)
        return results[mine]

    monkeypatch.setattr(app, "load_result", load)

    async def story() -> None:
        loadings = []
        for n in range(2):
            loadings.append(asyncio.create_task(session.load()))
            while len(calls) == n:
                await asyncio.sleep(0.01)
        for k in (1 - slow, slow):
            free[k].set()
            await loadings[k]

    asyncio.run(story())
    assert session.result is results[1]
    assert not session.loading


def test_nobody_waits_for_a_result_that_fails_by_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch):
    session = Session()
    asyncio.run(session.restore())
    monkeypatch.setattr(app, "load_result", failing(RuntimeError("a fault")))
    with pytest.raises(RuntimeError, match="a fault"):
        asyncio.run(session.load())
    assert (session.loading, session.result, session.result_problem) == (False, None, NOT_LOADED)


def test_another_run_begins_at_its_first_time(file: Path):
    session = opened(file)
    tiny(session)
    assert watch(session)[-1] == "finished"
    asyncio.run(session.load())
    session.time = 2.5
    asyncio.run(session.load())  # the same run
    assert session.time == 2.5
    asyncio.run(session.choose(SAMPLE))
    assert session.time == session.result.times[0]


def test_a_result_whose_file_is_gone_is_shown_without_it(file: Path):
    session = opened(file)
    tiny(session)
    watch(session)
    file.unlink()
    later = Session(run_id=session.run_id)
    asyncio.run(later.restore())
    assert later.result is not None
    assert later.result_source is None
    assert "no longer there" in later.result_problem


def test_a_result_in_a_file_is_one_run_however_often_it_is_shown(file: Path, tmp_path: Path, monkeypatch):
    snapshots, out = opened(file).snapshots, tmp_path / "out.h5ad"

    def write(seed: int) -> None:
        adata = anndata.read_h5ad(file)
        stream = State.initial(snapshots, preset("quick", seed=seed)).result()
        scverse.annotate(stream, adata, snapshots, dict(time_key="day", name="mine"))
        adata.write_h5ad(out)

    async def shown(session: Session) -> Run:
        await session.open(str(out))
        await session.show_result_in_file()
        return session.run

    async def story() -> None:
        write(seed=0)
        session, other = Session(), Session()
        first = await shown(session)
        session.rename(first, "renamed")
        assert await shown(session) is first
        assert (await shown(other)).folder == first.folder
        assert [run.name for run in session.runs()] == ["renamed"]
        # dynamics fitted beside it are not taken for it, though their recipe is
        plain = embeddings.embedded(session.result, session.result_source, embeddings.PCA)
        fit = embeddings.start_dynamics(plain, session.result)
        say = events.to_line(events.Finished(1, "", 0.0, 0.0)) + "\n"
        (fit.folder / "events.jsonl").write_text(say)
        assert await shown(session) is first
        # one that was left half made, or deleted, is made anew; and another model in the file is another result
        (first.folder / "events.jsonl").unlink()
        second = await shown(Session())
        assert second.folder != first.folder
        await other.delete(second)
        third = await shown(other)
        assert third.folder.exists()
        write(seed=1)
        assert (await shown(other)).folder != third.folder

    monkeypatch.setattr(Run, "start", lambda run: None)
    asyncio.run(story())


def test_results_that_are_offered_have_a_model_or_are_selected(file: Path, home: Path):
    session = opened(file)
    made = [Run.create(home / "runs" / name, session.snapshots, preset("quick"), {"name": "one"}) for name in "abc"]
    (made[0].folder / "model.safetensors").touch()
    assert list(app.offered(session).values()) == [app.SAMPLE, "a"]
    session.run = next(run for run in session.runs() if run.folder.name == "b")
    offered = app.offered(session)
    assert sorted(offered.values()) == ["a", "b", app.SAMPLE]
    assert len(offered) == 3  # though both are called alike


def test_another_unit_converts_what_had_one_and_names_what_had_none():
    obs = cells(["1 h", "3 h", "8 h"], [4, 4, 4]).obs
    reading = Reading(time_key="day")
    table = time_table(obs, reading)
    in_minutes = with_unit(obs, reading, table, "h", "min")
    assert (in_minutes.time_map, in_minutes.unit) == ({"1 h": 60, "3 h": 180, "8 h": 480}, "min")
    assert with_unit(obs, reading, table, "", "d") == dataclasses.replace(reading, unit="d")


def test_sizes_that_were_given_stay_with_their_labels():
    obs = cells(["a", "b", "c"], [4, 4, 4]).obs
    table = time_table(obs, Reading(time_key="day", time_map={"a": 0, "b": 1, "c": 2}, masses=(1.0, 2.0, 5.0)))
    table.loc[table[LABEL] == "c", VALUE] = -1.0
    assert with_values(obs, Reading(time_key="day", masses=(1.0, 2.0, 5.0)), table).masses == (5.0, 1.0, 2.0)
    assert with_values(obs, Reading(time_key="day"), table).masses is None


def test_a_result_is_not_shown_beside_other_cells(file: Path):
    session = opened(file)
    tiny(session)
    watch(session)
    cells(["day 0", "day 2", "day 5"], [30, 20, 40])[::-1].copy().write_h5ad(file)
    later = Session(run_id=session.run_id)
    asyncio.run(later.restore())
    assert later.result is not None
    assert later.result_source is None
    assert "other cells" in later.result_problem


def test_nothing_starts_while_the_data_are_prepared_anew(file: Path, monkeypatch: pytest.MonkeyPatch):
    """The snapshots are those of the reading before, the recipe would be that of the new one."""
    session = opened(file)
    read = app.read_snapshots
    monkeypatch.setattr(app, "read_snapshots", lambda *given: time.sleep(0.2) or read(*given))
    monkeypatch.setattr(Run, "start", lambda run: None)

    async def story() -> None:
        anew = asyncio.ensure_future(session.prepare(dataclasses.replace(session.reading, input="obsm:X_pca")))
        await asyncio.sleep(0.02)
        with pytest.raises(UserError, match="still being prepared"):
            await session.start(preset("quick", **TINY), "quick")
        assert session.runs() == []
        await anew
        run = await session.start(preset("quick", **TINY), "quick")
        assert (run.recipe["input"], run.snapshots().x.shape[1]) == ("obsm:X_pca", 3)

    asyncio.run(story())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused_at_the_button(file: Path):
    session = opened(file)
    with pytest.raises(UserError, match="CUDA"):
        asyncio.run(session.start(preset("quick", **TINY, device="cuda"), "quick"))
    assert session.runs() == []


def test_a_run_that_is_killed_is_not_under_way_any_more(file: Path):
    session = opened(file)
    long = preset("quick", **{**TINY, "rounds": 5000, "patience": 10_000}, embedding_steps=0, warm_steps=0)
    run = asyncio.run(session.start(long, "quick"))
    until = time.monotonic() + 60
    while session.status.step < 5 and time.monotonic() < until:
        time.sleep(0.05)
        session.poll()
    with pytest.raises(UserError, match="under way"):
        asyncio.run(session.delete(run))
    run.kill()
    assert watch(session)[-1] == "dead"
    assert "Resume" in session.status.reason


@pytest.mark.parametrize("name", ["../../etc", "/etc", "no-such-run", "..", "a/b", "sample\0"])
def test_an_address_can_only_name_runs_that_are_listed(name: str):
    run, problem = app.find_run(name, [])
    assert run is None or run.folder == app.sample_run().folder
    assert "no longer there" in problem


def test_nothing_starts_without_data():
    with pytest.raises(UserError, match="open one"):
        asyncio.run(Session().start(preset("quick"), "quick"))

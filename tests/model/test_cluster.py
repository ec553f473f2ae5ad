"""A real Dask cluster of two workers: what is done there is what one machine does, and what is lost there is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import dask
import psutil
import pytest
from distributed import LocalCluster
from safetensors.torch import load_file

from cellstream import cluster, dispatch, events
from cellstream.benchmark import away
from cellstream.benchmark.command import Options, benchmark
from cellstream.benchmark.records import Folder, Job
from cellstream.card import Card
from cellstream.cluster import VARIABLE
from cellstream.errors import Diverged, UserError
from cellstream.runs import Run
from cellstream.simulate import populations
from cellstream.stream import CellStream
from cellstream.ticket import PASS, Attempt, Ticket
from cellstream.worker import work
from tests.model.test_ensemble import THREE
from tests.model.test_runs import reached, same_model, until

LONG = dict(rounds=10_000, patience=10_000)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A cluster of two workers; its address."""
    # a LocalCluster parts with a worker that is not there at the moment so long after its death: one that has come back
    # and died again just then would be missing for good
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"})
    local = dict(n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("TMPDIR", str(tmp_path_factory.mktemp("workers")))  # killed ones leave something there
        with patient, LocalCluster(**local) as made:
            yield made.scheduler_address


@pytest.fixture
def on_cluster(scheduler, monkeypatch) -> str:
    monkeypatch.setenv(VARIABLE, scheduler)
    return scheduler


@pytest.fixture
def make(moving_cloud, tiny_config, tmp_path):
    made = []

    def one(name: str = "run", **changes: object) -> Run:
        run = Run.create(tmp_path / name, moving_cloud, tiny_config.with_settings(**changes), {})
        made.append(run)
        return run

    yield one
    for run in made:
        if run.folder.exists() and run.status().live:
            run.kill()
            until(lambda run=run: not run.status().live)


def workers_of(address: str) -> dict[str, int]:
    """Process numbers of the workers by their address."""
    return cluster.connect(address).run(os.getpid)


def in_another_process(what: str, run: Run) -> None:
    """Start or cancel the run from a process that has nothing but its folder, and ends."""
    code = "import sys; from cellstream.runs import Run; getattr(Run(sys.argv[2]), sys.argv[1])()"
    subprocess.run([sys.executable, "-c", code, what, str(run.folder)], check=True)


def over(run: Run) -> str:
    until(lambda: not run.status().live)
    return run.status().state


# --- runs -------------------------------------------------------------------------------------------------------------


def test_two_runs_side_by_side_are_those_of_one_machine(make, on_cluster):
    one, two, alone = make("one"), make("two", seed=1), make("alone")
    for run in (one, two):
        run.start()
        assert run.status().live
    assert over(one) == over(two) == "finished", (one.status(), two.status())
    hosts = {Ticket.read(run.folder).attempts[0].worker for run in (one, two)}
    assert hosts == set(workers_of(on_cluster))
    work(alone.folder)
    assert same_model(one, alone)
    assert not same_model(two, alone)
    assert list(one.history.steps) == list(range(1, 45))
    assert one.metrics() == alone.metrics()
    for run in (one, two):
        run.delete()
        assert not run.folder.exists()


@pytest.mark.slow
def test_a_run_waits_is_cancelled_and_its_place_is_given_on(make, on_cluster):
    first, second, third, fourth = (make(name, **LONG) for name in ("1", "2", "3", "4"))
    for run in (first, second):
        run.start()
    for run in (first, second):
        until(lambda run=run: reached(run, 30))
    third.start()
    in_another_process("start", fourth)  # which has ended before a worker begins
    for run in (third, fourth):
        assert run.status().state == "queued"
    in_another_process("cancel", third)
    assert third.status().state == "cancelled"
    assert third.status().step == 0
    assert second.status().state == fourth.status().state.replace("queued", "running") == "running"
    second.pause()
    until(lambda: second.status().state == "paused")
    second.unpause()
    until(lambda: second.status().state == "running")
    first.cancel()
    assert over(first) == "cancelled"
    assert first.result() is not None
    until(lambda: reached(fourth, 30))
    fourth.kill()
    second.kill()
    assert over(fourth) == over(second) == "dead"
    assert "Resume" in second.status().reason
    assert not (third.folder / "worker.json").exists(), "No worker has begun what was cancelled before."
    # nor does one begin again by itself when the worker that had it dies
    before = workers_of(on_cluster)
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    client = cluster.connect(on_cluster)
    until(lambda: len(now := client.nthreads()) == 2 and not now.keys() & before.keys())
    time.sleep(3)
    assert len(Ticket.read(fourth.folder).attempts) == len(Ticket.read(second.folder).attempts) == 1
    assert fourth.status().state == second.status().state == "dead"


@pytest.mark.slow
def test_a_worker_that_dies_is_named_and_its_run_goes_on(make, on_cluster):
    run, other, unbroken = make(rounds=25), make("other"), make("unbroken", rounds=25)
    run.start()
    other.start()
    run.pause()
    until(lambda: run.status().state == "paused")  # which leaves a checkpoint to go on from
    run.unpause()
    until(lambda: reached(run, 60))
    lost, orphan = Ticket.read(run.folder).attempts[0], psutil.Process(Card.read(run.folder).pid)
    os.kill(workers_of(on_cluster)[lost.worker], signal.SIGKILL)
    until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE, 10)
    assert Run(run.folder).status().live
    assert over(run) == over(other) == "finished", (run.status(), other.status())
    said = [event.text for event in run.history.lost]
    assert len(said) == 1
    assert f"worker {lost.worker} on {lost.host} was lost at step" in said[0]
    resumed = [line for line in (run.folder / "events.jsonl").read_text().splitlines() if '"Resumed"' in line]
    assert len(resumed) == 1
    assert events.from_line(resumed[0]).step > 0
    work(unbroken.folder)
    assert same_model(run, unbroken)
    assert not other.history.lost


def started(run: Run, ticket: Ticket) -> subprocess.Popen:
    """The run's process as a worker starts it."""
    command = [sys.executable, "-m", "cellstream", "run", str(run.folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, env={**os.environ, PASS: ticket.word})


@pytest.mark.slow
def test_a_process_that_was_replaced_or_is_an_orphan_ends(make):
    run = make(**LONG)
    # its worker was believed lost, since the network between was: the ticket names another attempt by now
    first = Ticket("tcp://127.0.0.1:1", "task").begun(Attempt("tcp://10.0.0.1:1", "first"))
    first.write(run.folder)
    process = started(run, first)
    until(lambda: reached(run, 30))
    second = first.begun(Attempt("tcp://10.0.0.2:1", "second"))
    second.write(run.folder)
    assert process.wait(15) == 1
    run.poll()
    assert not isinstance(run.history.last, events.Finished | events.Cancelled | events.Failed)
    # one that comes up late does not begin
    said = (run.folder / "events.jsonl").read_bytes()
    late = started(run, first)
    late.wait(60)
    assert (run.folder / "events.jsonl").read_bytes() == said
    # its worker has died
    orphan = started(run, second)
    until(lambda: run.poll() and run.history.lost and run.status().state == "running")
    orphan.stdin.close()
    assert orphan.wait(15) == 1
    for one in (process, late):
        one.stdin.close()
    (run.folder / "ticket.json").unlink()


def test_a_folder_that_the_worker_does_not_see_is_told(make, on_cluster, tmp_path, monkeypatch):
    run = make()
    there = Run(run.folder.rename(tmp_path / "elsewhere"))
    write = Ticket.write
    monkeypatch.setattr(Ticket, "write", lambda ticket, _: write(ticket, there.folder))
    dispatch.submit(run.folder, on_cluster, 0, 1)
    assert over(there) == "failed"
    assert "all machines share" in there.status().reason
    assert str(run.folder) in there.status().reason
    there.delete()


def occupied(until: str) -> None:
    while not Path(until).exists():
        time.sleep(0.05)


# --- ensembles --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_members_of_an_ensemble_are_those_of_one_machine(moving_cloud, on_cluster, tmp_path, monkeypatch):
    run, alone = (Run.create(tmp_path / name, moving_cloud, THREE, {}) for name in ("run", "alone"))
    client, free = cluster.connect(on_cluster), tmp_path / "free"
    other = client.submit(occupied, str(free), pure=False)
    until(lambda: any(client.run(executing).values()))
    run.start()
    # on the worker where the run is, since the other one has no place: the run makes room for them
    until(lambda: run.poll() and any(step["stage"] == "ensemble" for step in run.history.steps.values()))
    assert not other.done()
    free.touch()
    assert over(run) == "finished", run.status()
    monkeypatch.delenv(VARIABLE)
    work(alone.folder)
    assert len(run.result().members) == 2
    assert same_model(run, alone)
    for one in (run, alone):
        one.poll()
    # counted through, to the step at which one machine arrives
    assert (run.status().step, run.status().total) == (alone.status().step, alone.status().total)
    assert list(run.history.steps) == sorted(run.history.steps)
    assert not any((run.folder / name).exists() for name in ("aside", "ensemble.safetensors"))


# --- benchmarks -------------------------------------------------------------------------------------------------------


def options(folder: Path, seeds: int = 2) -> Options:
    path = folder / "cells.h5ad"
    if not path.exists():
        populations(n_cells=40).write_h5ad(path)
    return Options(data=(str(path),), methods=("CellStream paper",), seeds=seeds, quick=True)


def records_in(out: Path) -> dict[str, dict]:
    return {path.name: json.loads(path.read_text()) for path in sorted((out / "runs").iterdir())}


@pytest.mark.parametrize("table", ["table1", pytest.param("holdout", marks=pytest.mark.slow)])
def test_a_sweep_is_that_of_one_machine(on_cluster, tmp_path, monkeypatch, table):
    chosen = options(tmp_path)
    if table == "holdout":
        chosen = replace(chosen, methods=("CellStream best d=2",), seeds=1)
    benchmark(table, tmp_path / "cluster", chosen)
    monkeypatch.delenv(VARIABLE)
    benchmark(table, tmp_path / "alone", chosen)
    there, here = records_in(tmp_path / "cluster"), records_in(tmp_path / "alone")
    assert there.keys() == here.keys()
    for name, record in here.items():
        assert there[name]["metrics"] == record["metrics"]
        assert there[name]["hash"] == record["hash"]
        assert not record["failed"]
    for fit in (tmp_path / "alone" / "fits").glob("*.safetensors"):
        other = load_file(tmp_path / "cluster" / "fits" / fit.name)
        assert all(other[k].equal(w) for k, w in load_file(fit).items())
    pages = [(tmp_path / place / f"{table}-quick.csv").read_text() for place in ("cluster", "alone")]
    assert pages[0] == pages[1]


def deadly(place: str, on_progress) -> CellStream:
    """A fit that ends its worker, as one that needs too much memory does; the first one only where there is a place."""
    marks = Path(place)
    n = len(list(marks.iterdir()))
    (marks / str(n)).touch()
    if n < int(marks.name):
        os.kill(os.getpid(), signal.SIGKILL)
    raise Diverged


def slow(on_progress) -> CellStream:
    for step in range(600):
        on_progress(step, 600)
        time.sleep(0.1)
    raise Diverged


def nothing(stream: CellStream | None) -> dict[str, float]:
    return dict(vc=1.0)


def job(name: str, fit=None) -> Job:
    return Job("table1", "cells", name, 0, dict(name=name), "measure", nothing, fit)


@pytest.mark.slow
def test_a_job_whose_worker_dies_is_tried_again_and_at_last_reported(on_cluster, tmp_path):
    for deaths in ("1", "99"):
        (tmp_path / deaths).mkdir()
    jobs = [
        job("dies once", partial(deadly, str(tmp_path / "1"))),
        job("dies always", partial(deadly, str(tmp_path / "99"))),
        *(job(f"measure {i}") for i in range(4)),
    ]
    told = [told for told in away.run(jobs, Folder(tmp_path / "out"), print) if told.record]
    found = {told.job.method: told.record for told in told}
    assert found.keys() == {one.method for one in jobs}
    assert found["dies once"].diverged
    assert "has lost 4 workers over the fit 'cells, dies always, seed 0'" in found["dies always"].failed
    assert all(found[f"measure {i}"].metrics == dict(vc=1.0) for i in range(4))
    assert Folder(tmp_path / "out").find(jobs[1]) is None, "What a cluster gave up is tried again."


def test_ctrl_c_takes_back_what_is_outstanding_and_keeps_what_is_done(on_cluster, tmp_path):
    jobs = [job("measure"), *(job(f"slow {i}", slow) for i in range(6))]
    over = []

    def stop(step: int, total: int) -> None:
        if over and step / total > 0.01:
            raise KeyboardInterrupt

    def follow() -> None:
        for told in away.run(jobs, Folder(tmp_path / "out"), stop):
            over.extend([told.record] if told.record else [])

    with pytest.raises(KeyboardInterrupt):
        follow()
    assert [record["method"] for record in records_in(tmp_path / "out").values()] == ["measure"]
    client = cluster.connect(on_cluster)
    # those under way end, too: the workers are free for others
    until(lambda: not any(client.run(executing).values()), 20)


def executing(dask_worker) -> int:
    return dask_worker.state.executing_count + len(dask_worker.state.long_running)


# --- no cluster -------------------------------------------------------------------------------------------------------


def test_a_scheduler_that_is_not_there_is_one_sentence_soon(make, monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "tcp://127.0.0.1:9")
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1.0)
    run = make()
    began = time.monotonic()
    with pytest.raises(UserError, match=r"Expected a Dask scheduler at tcp://127.0.0.1:9, .* start it"):
        run.start()
    assert time.monotonic() - began < 10
    assert run.status().state == "new"
    with pytest.raises(UserError, match="Expected a Dask scheduler"):
        benchmark("table1", tmp_path / "out", options(tmp_path))


def test_without_dask_there_is_one_sentence(make, monkeypatch):
    monkeypatch.setenv(VARIABLE, "tcp://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r'pip install "cellstream\[dask\]"'):
        make().start()


def test_dask_is_not_imported_unless_asked_for():
    code = "import sys, cellstream.worker; assert 'distributed' not in sys.modules"
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)

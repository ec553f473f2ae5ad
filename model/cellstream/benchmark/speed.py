"""What a person waits for, in seconds and in multiples of fixed work: ``cellstream benchmark speed``.

Two machines differ in their seconds. Each figure therefore stands beside its multiple of a calibration, the same small
network trained by plain torch, whose steps are like those of the training; NumPy's part is told as well.
"""

from __future__ import annotations

import csv
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anndata import AnnData
from scipy import sparse
from threadpoolctl import threadpool_limits

from cellstream import datasets, evaluation, readers, training
from cellstream.benchmark.figure import bars
from cellstream.benchmark.records import commit, machine
from cellstream.benchmark.report import QUICK
from cellstream.config import Config
from cellstream.files import whole
from cellstream.preprocess import prepare
from cellstream.presets import preset
from cellstream.progress import Tally
from cellstream.simulate import simulate
from cellstream.snapshots import Snapshots, from_anndata
from cellstream.state import State

CALIBRATION = "calibration: torch"
"""The task by which all others are divided."""
FEATURES, GENES, TIMES = 50, 2_000, 6


@dataclass(frozen=True)
class Task:
    """Something to be timed."""

    name: str
    size: str
    rounds: int
    prepare: Callable[[], Callable[[], Any]]
    """What is not timed; returns what is."""
    told: Callable[[Any], str] = lambda _: ""
    """What came of it, in words; not timed either."""


@dataclass(frozen=True)
class Timed:
    """How long a task took."""

    name: str
    size: str
    seconds: float
    """Median."""
    rounds: int
    outcome: str = ""


def speed(folder: Path, quick: bool) -> list[Path]:
    """Time every task; writes ``speed.csv``, ``.md`` and ``.png`` to ``folder``, or ``speed-quick`` of a quick run."""
    folder.mkdir(parents=True, exist_ok=True)
    every, found = tasks(quick), []
    threads = torch.get_num_threads()
    bar = Tally(len(every))
    try:
        torch.set_num_threads(1)  # as in training
        with threadpool_limits(1):
            for task in every:
                bar.begin(f"{task.name}, {task.size}")
                found.append(timed(task))
                bar.end()
    finally:
        bar.close()
        torch.set_num_threads(threads)
    name = "speed-quick" if quick else "speed"
    return [
        _csv(found, folder / f"{name}.csv"),
        _page(found, folder / f"{name}.md", quick),
        _drawn(found, folder / f"{name}.png"),
    ]


def timed(task: Task) -> Timed:
    """Run a task once unseen where it is run more than once, then ``rounds`` times by the clock."""
    run, seconds = task.prepare(), []
    if task.rounds > 1:
        run()
    for _ in range(task.rounds):
        began = time.perf_counter()
        made = run()
        seconds.append(time.perf_counter() - began)
    return Timed(task.name, task.size, statistics.median(seconds), task.rounds, task.told(made))


def tasks(quick: bool) -> list[Task]:
    """The calibration first."""
    few = dict(start_steps=5, embedding_steps=5, warm_steps=5, rounds=1, autoencoder_steps=1, dynamics_steps=1)
    sizes = (1_000, 3_000) if quick else (10_000, 100_000, 1_000_000)
    every = [
        Task(CALIBRATION, "200 steps", 5, lambda: _torch_work),
        Task("calibration: NumPy", "product and sort", 5, lambda: _numpy_work),
    ]
    for name in ("quick", "best"):
        for data in ("emt", "ipsc"):
            config = preset(name, **(few if quick else {}))
            every.append(Task(f"training, {name}", data, 1, partial(_training, data, config), _quality))
    for n in sizes:
        every.append(Task("a step of the dynamics", f"{n:,} cells", 11, partial(_step, n)))
    for n in sizes:
        every.append(Task("all metrics", f"{n:,} cells", 1, partial(_metrics, n)))
    n = sizes[0] if quick else sizes[1]
    every.append(Task(f"opening counts of {GENES:,} genes", f"{n:,} cells", 1, partial(_opening, n)))
    return every


# --- the tasks --------------------------------------------------------------------------------------------------------


def _torch_work() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64))
    x, optimiser = torch.randn(1024, 64), torch.optim.Adam(net.parameters())
    for _ in range(200):
        optimiser.zero_grad()
        (net(x) - x).square().mean().backward()
        optimiser.step()


def _numpy_work() -> None:
    a = np.random.default_rng(0).normal(size=(1000, 1000))
    for _ in range(3):
        a = a @ a / 1000
    np.sort(a, axis=None)


def _training(data: str, config: Config) -> Callable[[], State]:
    snapshots = from_anndata(datasets.load(data), "time")

    def run() -> State:
        state = State.initial(snapshots, config)
        for _ in training.train(state):
            pass
        return state

    return run


def _quality(state: State) -> str:
    seen = evaluation.evaluate(state.result(), state.snapshots)
    ratio = max(match["w2"] / match["floor"] for match in seen["match"].values())
    return f"VC {seen['vc']:.3f}, TC {seen['tc']:.3f}, trust {seen['trust']:.3f}, W2 at most {ratio:.2f} × noise floor"


def _step(n: int) -> Callable[[], Any]:
    state = State.initial(drifting(n), preset("best"))
    training.scale_dynamics(state)
    numbers = itertools.count()
    return lambda: training.dynamics_step(state, [state.draw(next(numbers), state.config.schedule.batch_size)])


def _metrics(n: int) -> Callable[[], Any]:
    snapshots = drifting(n)
    return partial(evaluation.evaluate, State.initial(snapshots, preset("best")).present(), snapshots)


def _opening(n: int) -> Callable[[], Any]:
    folder = tempfile.TemporaryDirectory(prefix="cellstream-")
    path = Path(folder.name) / "counts.h5ad"
    rng = np.random.default_rng(0)
    rates, some = rng.gamma(0.3, 0.5, GENES), 5_000
    parts = [
        sparse.csr_matrix(rng.poisson(rates, (min(some, n - i), GENES)), dtype=np.float32) for i in range(0, n, some)
    ]
    AnnData(sparse.vstack(parts, format="csr")).write_h5ad(path)

    def run() -> None:
        with folder:
            prepare(readers.read(path))

    return run


def drifting(n: int) -> Snapshots:
    """About ``n`` cells at six time points of the paper's simulation, in fifty features."""
    adata = simulate("populations", n_cells=n // TIMES, n_genes=FEATURES, times=range(TIMES), growth=(0.0, 0.0))
    return from_anndata(adata, "time")


# --- what is written --------------------------------------------------------------------------------------------------


def _multiple(found: list[Timed], one: Timed) -> float:
    return one.seconds / next(timed.seconds for timed in found if timed.name == CALIBRATION)


def _csv(found: list[Timed], path: Path) -> Path:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["task", "size", "seconds", "rounds", "multiple", "outcome"])
    for one in found:
        rows.writerow(
            [one.name, one.size, f"{one.seconds:.5f}", one.rounds, f"{_multiple(found, one):.3f}", one.outcome]
        )
    with whole(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    return path


def _page(found: list[Timed], path: Path, quick: bool) -> Path:
    m = machine()
    lines = [
        f"# {path.stem}: what a person waits for",
        "",
        *((QUICK, "") if quick else ()),
        "Seconds belong to this machine; the last column but one, multiples of the first line, can be compared with "
        "another machine's.",
        "",
        "| task | size | seconds | multiple | what came of it |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {one.name} | {one.size} | {one.seconds:.3g} | {_multiple(found, one):.3g} | {one.outcome} |"
            for one in found
        ),
        "",
        "---",
        "",
        f"Commit {commit()}. Machine: {m['cpu']}, {m['cores']} cores, torch {m['torch']}; one thread, as in training. "
        f"Made {datetime.now(UTC).isoformat(timespec='seconds')}; medians of {_rounds(found)}.",
        "",
    ]
    with whole(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")
    return path


def _rounds(found: list[Timed]) -> str:
    return ", ".join(sorted({"one run" if one.rounds == 1 else f"{one.rounds} runs" for one in found}))


def _drawn(found: list[Timed], path: Path) -> Path:
    names, seconds = [f"{one.name}, {one.size}" for one in found], [one.seconds for one in found]
    figure = bars(names, seconds, "seconds", [CALIBRATION.partition(":")[0] in name for name in names])
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")
    return path

"""CellStream beside CytoBridge and MIOFlow: seconds, memory, matching and mass, measured in one sitting.

Each method runs by itself, one after the other, in its own environment; all write where they carry the cells of the
first time point (``recorded.py``), and all are judged here by the same functions. CellStream runs before and after the
others, so that what other work on the machine changes can be seen.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np

from cellstream import metrics
from cellstream.datasets import fetch
from cellstream.files import whole
from cellstream.metrics import Cloud

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Run:
    """One training: who runs which script."""

    name: str
    python: str
    script: str
    threads: int
    options: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        return self.name.replace(",", "").replace(" ", "-") + ".npz"


def runs(args: argparse.Namespace) -> list[Run]:
    """In the order in which they are measured: CellStream, then the others and CellStream again, for each number of
    threads."""
    every = ours(1)
    for again, n in enumerate(args.threads, 2):
        threads = f"{n} thread{'s' * (n > 1)}"
        if args.cytobridge:
            every.append(Run(f"CytoBridge, {threads}", args.cytobridge, "run_cytobridge.py", n))
        if args.mioflow:
            every.append(Run(f"MIOFlow, {threads}", args.mioflow, "run_mioflow.py", n))
        every += ours(again)
    return every


def ours(again: int) -> list[Run]:
    """CellStream for the ``again``-th time, with the one thread that it takes by default."""
    return [
        Run(f"CellStream best d={d}, {again}", sys.executable, "run_cellstream.py", 1, ("--latent-dim", str(d)))
        for d in (2, 10)
    ]


def measure(run: Run, data: Path, folder: Path, more: list[str]) -> None:
    """Run it; what it says goes into a ``.log`` beside its file."""
    out = folder / run.file
    command = [run.python, str(HERE / run.script), "--data", str(data), "--out", str(out), *run.options, *more]
    with out.with_suffix(".log").open("w", encoding="utf-8") as log:
        subprocess.run(
            command,
            env={**os.environ, "OMP_NUM_THREADS": str(run.threads)},
            stdout=log,
            stderr=subprocess.STDOUT,
            check=True,
        )


# --- what is written --------------------------------------------------------------------------------------------------


def predictions(folder: Path, every: list[Run]) -> Iterator[tuple[str, dict[str, np.ndarray], str]]:
    """``(title, file's content, name of the clouds)``."""
    for run in every:
        path = folder / run.file
        if path.exists():
            with np.load(path) as file:
                found = dict(file)
            yield run.name, found, "points"
            if "kept" in found:
                yield f"{run.name}; residual", found, "kept"


def mean_seconds(folder: Path, every: list[Run], d: int) -> float:
    """Of all runs of CellStream with ``d`` dimensions."""
    return float(
        np.mean([found["seconds"] for title, found, _ in predictions(folder, every) if f"best d={d}," in title])
    )


def w2(points: np.ndarray, weights: np.ndarray, observed: np.ndarray) -> float:
    """Exact W_2 of all carried cells to all observed ones."""
    return metrics.w2(points, observed, weights)


def spread(points: np.ndarray, weights: np.ndarray) -> float:
    """Root of the total variance: W_2 between samples is kind to clouds that have too little of it."""
    mean = np.average(points, axis=0, weights=weights)
    return float(np.sqrt(np.average(np.square(points - mean).sum(1), weights=weights)))


def page(data: Path, folder: Path, every: list[Run]) -> str:
    """The tables, in Markdown."""
    adata = anndata.read_h5ad(data)
    x, time_of = np.asarray(adata.X, np.float64), adata.obs["time"].to_numpy(np.float64)
    labels = np.unique(time_of)
    observed = [x[time_of == label] for label in labels]
    first, later = observed[0], observed[1:]
    mass = np.array([len(cells) / len(first) for cells in later])
    ours = {d: mean_seconds(folder, every, d) for d in (2, 10)}
    clouds: dict[str, list[Cloud]] = {
        "first snapshot stays": [metrics.even(first) for _ in later],
        "mean shift alone": [metrics.even(first + cells.mean(0) - first.mean(0)) for cells in later],
    }
    rows = []
    for title, found, name in predictions(folder, every):
        clouds[title] = list(zip(found[name], found["weights"], strict=True))
        if name == "points":
            seconds = float(found["seconds"])
            masses = found["weights"].mean(1)
            error = "–" if (masses == 1).all() else " / ".join(f"{e:.1%}" for e in np.abs(masses / mass - 1))
            told = [
                f"{found['version']}",
                f"{seconds:.1f}",
                f"{float(found['cpu']):.1f}",
                " / ".join(f"{seconds / mean:.1f}" for mean in ours.values()),
                f"{float(found['megabytes']):.0f}",
                f"{float(found['load']):.1f}",
                error,
                ", ".join(f"{key} {value}" for key, value in json.loads(str(found["settings"])).items()),
            ]
            rows.append(f"| {title} | {' | '.join(told)} |")
    lines = [
        "| run | version | seconds | all threads | × CellStream d=2, d=10 | MB | load before | mass error | settings |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "| W₂, input space | "
        + " | ".join(f"t{i + 1}" for i in range(len(later)))
        + " | as multiples of the floor | spread / observed |",
        "|---|" + "---|" * (len(later) + 2),
    ]
    sampled = [
        metrics.compared(cells, {name: each[i] for name, each in clouds.items()}, len(cells) // 2)
        for i, cells in enumerate(later)
    ]
    lines.append("| halves of the observed cells | " + " | ".join(f"{s['floor']:.3f}" for s in sampled) + " | 1 | 1 |")
    for name, each in clouds.items():
        exact = " | ".join(f"{w2(*cloud, cells):.3f}" for cloud, cells in zip(each, later, strict=True))
        ratios = " / ".join(f"{s[name] / s['floor']:.2f}" for s in sampled)
        spreads = " / ".join(
            f"{spread(*cloud) / spread(*metrics.even(cells)):.2f}" for cloud, cells in zip(each, later, strict=True)
        )
        lines.append(f"| {name} | {exact} | {ratios} | {spreads} |")
    lines += ["", "In CellStream's own embedding, as multiples of its floor there:", ""]
    for title, found, name in predictions(folder, every):
        if name == "kept":
            lines.append(f"- {title.partition(';')[0]}: {' / '.join(embedded(found, time_of))}")
    return "\n".join([*lines, ""])


def embedded(found: dict[str, np.ndarray], time_of: np.ndarray) -> Iterator[str]:
    """W_2 in the embedding over the floor, of each later time point."""
    for i, label in enumerate(np.unique(time_of)[1:]):
        cells = found["cells"][time_of == label]
        one = metrics.compared(cells, dict(w2=(found["moved"][i], found["weights"][i])), len(cells) // 2)
        yield f"{one['w2'] / one['floor']:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cytobridge", help="the Python of an environment that has cytobridge")
    parser.add_argument("--mioflow", help="the Python of an environment that has mioflow")
    parser.add_argument("--threads", type=int, nargs="+", default=[2], help="of the peers; they run once with each")
    parser.add_argument("--epochs", type=int, help="a trial: so many of each stage, and CellStream's shortest fit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder for what the runs write, and the tables")
    parser.add_argument("--judge", action="store_true", help="make the tables of what is there; run nothing")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    data, every = fetch("emt"), runs(args)
    more = ["--seed", str(args.seed), *([] if args.epochs is None else ["--epochs", str(args.epochs)])]
    for run in [] if args.judge else every:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')}  {run.name}\n")
        measure(run, data, args.out, more)
    text = page(data, args.out, every)
    with whole(args.out / "comparison.md") as path:
        path.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()

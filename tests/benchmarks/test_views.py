"""What a picture of the embedding costs the server, from ten thousand cells to a million."""

from __future__ import annotations

import holoviews as hv
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from pytest_benchmark.fixture import BenchmarkFixture

from cellstream.presets import preset
from cellstream.runs import Run
from cellstream.state import State
from cellstream.worker import Worker
from cellstream_app import plots
from cellstream_app.colouring import GENE, TIME, Colouring, colouring
from cellstream_app.results import Result, load_result
from cellstream_app.sources import Source
from tests.benchmarks.test_speed import drifting

SIZE = (1100, 800)
KINDS = {"time": TIME, "label": "obs:kind", "gene": GENE}


@pytest.fixture(scope="module", params=[10_000, 100_000, 1_000_000])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose model is kept untrained: a picture of it costs as much as one of any other."""
    hv.extension("bokeh")
    snapshots = drifting(request.param)
    run = Run.create(tmp_path_factory.mktemp("runs") / "drifting", snapshots, preset("quick"), {"name": "drifting"})
    torch.set_num_threads(1)
    State.initial(snapshots, run.config).present().save(run.folder / "model.safetensors")
    plots.warm_up()
    return run


@pytest.fixture(scope="module")
def result(run: Run) -> Result:
    found = load_result(run)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def source(result: Result) -> Source:
    """The file behind it: its features as genes, and a column of labels."""
    x = result.snapshots.x.numpy()
    kinds = pd.Categorical.from_codes(np.arange(len(x)) % 8, [f"kind {i}" for i in range(8)])
    return Source(
        "drifting",
        "drifting",
        AnnData(x, obs=pd.DataFrame({"kind": kinds}, index=np.arange(len(x)).astype(str))),
        (),
        "",
    )


def coloured(result: Result, source: Source, kind: str) -> Colouring:
    return colouring(result, source, KINDS[kind], "3")


def test_loading_a_result(benchmark: BenchmarkFixture, run: Run) -> None:
    """From the run's folder to the cells' places in the plane."""
    benchmark.group = "load a result"
    final = run.folder / "model.safetensors"

    def load() -> np.ndarray:
        final.touch()  # or what was loaded before is given again
        return load_result(run).points

    benchmark.pedantic(load, rounds=3)


@pytest.mark.parametrize("part", [1.0, 0.2], ids=["all", "zoomed"])
@pytest.mark.parametrize("kind", ["time", "gene"])
def test_a_view(benchmark: BenchmarkFixture, result: Result, source: Source, kind: str, part: float) -> None:
    """Panned or zoomed: the picture is shaded anew."""
    benchmark.group = f"a view by {kind}, {part:.0%} of the width"
    cells = plots.Cells(result.points, coloured(result, source, kind).colour)
    x0, x1, y0, y1 = home = plots.view_of(result.points, SIZE)
    view = tuple(np.interp([(1 - part) / 2, (1 + part) / 2], [0, 1], ends) for ends in ((x0, x1), (y0, y1)))
    benchmark.pedantic(
        plots.embedding,
        args=(cells,),
        kwargs=dict(view=(*view[0], *view[1]), size=SIZE, home=home),
        rounds=9,
        warmup_rounds=1,
    )


@pytest.mark.parametrize("kind", ["label", "gene"])
def test_recolouring(benchmark: BenchmarkFixture, result: Result, source: Source, kind: str) -> None:
    """From the choice of a colour to the picture."""
    benchmark.group = f"recolour by {kind}"

    def recolour() -> hv.Overlay:
        return plots.embedding(plots.Cells(result.points, coloured(result, source, kind).colour), size=SIZE)

    benchmark.pedantic(recolour, rounds=5, warmup_rounds=1)


def test_a_preview(benchmark: BenchmarkFixture, run: Run) -> None:
    """What a training leaves for those who watch: a sample of the cells, and a first look at the metrics."""
    benchmark.group = "preview"
    worker, state = Worker(run.folder), State.initial(run.snapshots(), run.config)
    benchmark.pedantic(worker._preview, args=(state,), rounds=3, warmup_rounds=1)

"""What a figure for a paper costs, from drawing to file, and how large the file is, as the cells grow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cellstream.colours import VALUE_PALETTE, Values
from cellstream.figures.drawings import embedding
from cellstream.figures.paper import Sheet, write
from cellstream.painting import TIME, Painted, painted
from cellstream.presets import preset
from cellstream.scene import Scene
from cellstream.state import State
from tests.benchmarks.test_speed import drifting


@pytest.fixture(scope="module", params=[10_000, 1_000_000])
def scene(request: pytest.FixtureRequest) -> Scene:
    """Cells all over the plane in colours without order: pixels that compress as badly as can be."""
    snapshots = drifting(request.param)
    scene = Scene(State.initial(snapshots, preset("quick")).present(), snapshots)
    scene.points = np.random.default_rng(0).normal(size=(request.param, 2)).astype(np.float32)
    return scene


@pytest.mark.parametrize("colour", [TIME, "value"])
@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_a_figure(benchmark: BenchmarkFixture, scene: Scene, suffix: str, colour: str, tmp_path: Path) -> None:
    """An embedding one column wide at 300 dpi; a million cells should take below 10 s and 5 MB."""
    benchmark.group = f"figure by {colour}"
    values = np.random.default_rng(1).uniform(size=len(scene.points))
    paint = painted(scene, None, TIME) if colour == TIME else Painted(Values(values, VALUE_PALETTE), "value")
    sheet, path = Sheet(), tmp_path / f"figure.{suffix}"

    def draw() -> None:
        write(embedding(scene, paint, sheet).figure, path, sheet, {})

    benchmark.pedantic(draw, rounds=2)
    benchmark.extra_info["MB"] = round(path.stat().st_size / 1e6, 2)

"""What a film for a talk costs, from the first frame to the file: ten seconds of 1080p, of many cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from cellstream.animations.film import Film, Shot
from cellstream.animations.flow import flow
from cellstream.animations.training import Stage, training
from cellstream.animations.writing import write
from cellstream.painting import TIME, painted
from cellstream.pictures import MOST, Pictures, aligned
from cellstream.presets import preset
from cellstream.scene import Scene
from cellstream.state import State
from tests.benchmarks.test_speed import drifting

CELLS = 50_000
PICTURED = 5_000


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Cells all over the plane, and particles that cross it."""
    snapshots = drifting(CELLS)
    scene = Scene(State.initial(snapshots, preset("quick")).present(), snapshots)
    rng = np.random.default_rng(0)
    scene.points = rng.normal(size=(CELLS, 2)).astype(np.float32)
    begin, end = rng.normal(size=(2, len(scene.starts), 2))
    share = np.linspace(0, 1, len(scene.moments))[:, None, None]
    scene.paths = ((1 - share) * begin + share * end).astype(np.float32)
    return scene


def film_of_flow(scene: Scene) -> Film:
    return flow(scene, painted(scene, None, TIME), Shot())


def film_of_training(scene: Scene) -> Film:
    rng = np.random.default_rng(0)
    cells = np.sort(rng.permutation(CELLS)[:PICTURED])
    walk = np.cumsum(rng.normal(size=(MOST, PICTURED, 2)), axis=0)
    points = aligned(list(walk), scene.index[cells])
    paint = painted(scene, None, TIME)
    kept = Pictures(points, np.arange(MOST) * 10, cells)
    some = type(paint)(paint.colour.only(cells), paint.title)
    return training(kept, some, [Stage("embedding", 0)], Shot())


@pytest.mark.parametrize("make", [film_of_flow, film_of_training])
@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif"])
def test_a_film(benchmark: BenchmarkFixture, scene: Scene, make, suffix: str, tmp_path: Path) -> None:
    """300 frames of 1920 × 1080; an mp4 should take below 60 s on two cores."""
    path = tmp_path / f"film.{suffix}"
    benchmark.group = make.__name__
    benchmark.pedantic(lambda: write(make(scene), path), rounds=1)
    benchmark.extra_info["MB"] = round(path.stat().st_size / 1e6, 2)

"""Shared fixtures. ``CELLSTREAM_DATA_DIR`` names the folder of real data; without it those tests fail, not skip."""

from __future__ import annotations

import functools
import os
from pathlib import Path

# small networks run faster on one thread, and so do tests beside each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from cellstream.config import Config
from cellstream.snapshots import Snapshots

torch.set_num_threads(1)

TINY = dict(
    start_steps=20, rounds=3, autoencoder_steps=3, dynamics_steps=5, batch_size=32, steps_per_interval=2, patience=50
)
"""Settings of a training that takes a second."""


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with iPSC, EMT, A549 and the dyngen simulation."""
    place = os.environ.get("CELLSTREAM_DATA_DIR")
    assert place, "Set CELLSTREAM_DATA_DIR to the folder that holds the test data."
    assert Path(place).is_dir(), "Set CELLSTREAM_DATA_DIR to the folder that holds the test data."
    return Path(place)


@pytest.fixture
def tiny_config() -> Config:
    return Config().with_settings(**TINY)


@pytest.fixture
def moving_cloud() -> Snapshots:
    """Three time points of a cloud in five dimensions that drifts and grows by half each time."""
    rng = np.random.default_rng(0)
    counts = [40, 60, 90]
    index = np.repeat(np.arange(3), counts)
    x = rng.normal(size=(sum(counts), 5)) + index[:, None] * np.array([2.0, 1.0, 0.0, 0.0, 0.0])
    return Snapshots(
        x=torch.tensor(x, dtype=torch.float32),
        index=torch.tensor(index),
        times=torch.tensor([0.0, 1.0, 3.0]),
        mass=torch.tensor([1.0, 1.5, 2.25]),
        labels=("0", "1", "3"),
        unit="d",
    )


class OneBrowser(LoadFileScheduling):
    """A process for each file, since its fixtures, a server or a cluster, are made once; and one for all files that
    drive a browser: two browsers at a time on two cores are slow enough to fail."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return "browser" if _drives_a_browser(file) else file


@functools.cache
def _drives_a_browser(file: str) -> bool:
    """Read from its text: who distributes the tests has not imported them."""
    return "pytest.mark.browser" in (Path(__file__).parents[1] / file).read_text()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """For ``--dist loadfile``."""
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # the browser's tests take longest: they come first, as they are collected
    return OneBrowser(config, log)

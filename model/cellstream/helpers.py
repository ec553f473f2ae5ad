"""The further processes of a run that is trained by several together (:mod:`cellstream.team`), seen from the first one.

They follow it step by step and write nothing. The first one alone listens to wishes, keeps and shows what was learned,
as any run's process; while it does so the others wait for it.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from cellstream import cluster
from cellstream.errors import Diverged, UserError
from cellstream.runs import Run
from cellstream.state import State, device_of, require_devices
from cellstream.team import ALONE, joined
from cellstream.training import train, train_model

TOGETHER = "together"
"""Where they meet, in the run's folder."""
BEGINNING = "beginning.safetensors"
"""The state that all go on from."""


@contextmanager
def helped(state: State, run: Run, go_on: Callable[[], bool]) -> Iterator[None]:
    """Within this block, train ``state`` together with as many further processes as its settings ask for.

    Nothing is started where ``go_on`` says no before all have come up.

    Raises:
        UserError: there are too few GPUs, or a process did not come up.
    """
    size = state.config.compute.devices
    if size == 1:
        yield
        return
    device = require_devices(state.config)
    place = run.folder / TOGETHER
    shutil.rmtree(place, ignore_errors=True)  # of a process that was killed
    place.mkdir()
    state.save(place / BEGINNING)
    spawn = multiprocessing.get_context("spawn")
    helpers = [spawn.Process(target=follow, args=(run.folder, n, size), daemon=True) for n in range(1, size)]
    try:
        for helper in helpers:
            helper.start()
        while not all((place / f"{n}").exists() for n in range(1, size)):
            if not go_on():
                yield
                return
            if any(helper.exitcode is not None for helper in helpers):
                raise UserError(
                    f"One of the {size} processes that were to train together ended before it began: look into "
                    f"{run.folder / 'stderr.txt'}, and choose fewer devices if memory was short."
                )
            time.sleep(0.05)
        with joined(place, 0, size, device) as state.team:
            yield
    finally:
        state.team = ALONE
        for helper in helpers:
            helper.kill()
            helper.join()
        shutil.rmtree(place, ignore_errors=True)


def follow(folder: Path, rank: int, size: int) -> None:
    """Be helper number ``rank``: train along, from the same beginning, until the first process has what it wants."""
    # a wish to stop is the first one's to follow
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    run, place = Run(folder), folder / TOGETHER
    torch.set_num_threads(run.config.compute.threads)
    device = device_of(run.config)
    if device.type == "cuda":
        torch.cuda.set_device(rank)
    state = State.initial(run.snapshots(), run.config)
    state.restore(place / BEGINNING)
    (place / f"{rank}").touch()
    # a first process that has ended, or diverged as this one, says so itself
    with joined(place, rank, size, device) as state.team, suppress(UserError, Diverged):
        for _ in train_model(state) if cluster.address() else train(state):
            pass


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)

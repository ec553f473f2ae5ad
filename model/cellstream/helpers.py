"""The further processes of a run that is trained by several together (:mod:`cellstream.team`), seen from the first one.

They follow it step by step and write nothing into its folder. The first one alone listens to wishes, keeps and shows
what was learned, as any run's process; while it does so the others wait for it.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NoReturn

import torch

from cellstream import cluster
from cellstream.errors import Diverged, UserError
from cellstream.files import whole
from cellstream.runs import Run
from cellstream.state import State, device_of
from cellstream.team import ALONE, LOST, joined
from cellstream.training import train, train_model

BEGINNING = "beginning.safetensors"
"""The state that all go on from, in the folder where they meet."""
DIVERGED = "diverged"
"""What a helper says there whose own batch has left the numbers."""
NOTICE_SECONDS = 20.0
"""How long the first process may take to see by itself that another one is lost, before it is ended."""


@contextmanager
def helped(state: State, run: Run, go_on: Callable[[], bool], last_word: Callable[[str], object]) -> Iterator[None]:
    """Within this block, train ``state`` together with as many further processes as its settings ask for.

    They are started first, and ``state`` is trained alone where ``go_on`` says no before all have come up. Where one is
    lost and the block does not end by itself, as it waits for that one, ``last_word`` is given the reason and this
    process ends.

    Raises:
        UserError: a process did not come up, or was lost.
        Diverged: the batch of another process has left the numbers.
    """
    size = state.config.compute.devices
    if size == 1:
        yield
        return
    over = threading.Event()
    # on this machine: the run's own folder is often one of a network, which knows no locks that hold
    with tempfile.TemporaryDirectory(prefix="cellstream-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        state.save(place / BEGINNING)
        spawn = multiprocessing.get_context("spawn")
        helpers = [spawn.Process(target=follow, args=(run.folder, place, n, size), daemon=True) for n in range(1, size)]
        watch = threading.Thread(target=_watch, args=(helpers, place, over, last_word), daemon=True)
        try:
            for helper in helpers:
                helper.start()
            while not all((place / f"{n}").exists() for n in range(1, size)):
                # in this order: a signal that ends all of them is first of all a wish to stop
                ended = any(helper.exitcode is not None for helper in helpers)
                if not go_on():
                    yield
                    return
                if ended:
                    raise UserError(
                        f"One of the {size} processes that were to train together ended before it began: look into "
                        f"{run.folder / 'stderr.txt'}, and choose fewer devices if memory was short."
                    )
                time.sleep(0.05)
            watch.start()
            with joined(place, 0, size, device_of(state.config)) as state.team:
                yield
        except UserError as error:
            if (place / DIVERGED).exists():
                raise Diverged((place / DIVERGED).read_text()) from error
            raise
        finally:
            state.team = ALONE
            over.set()
            for helper in helpers:
                helper.kill()
            if watch.is_alive():
                watch.join()
            for helper in helpers:
                helper.join()


def _watch(
    helpers: Sequence[BaseProcess], place: Path, over: threading.Event, last_word: Callable[[str], object]
) -> None:
    """End this process where a helper is lost: nobody else would. It may wait for one that has never joined, and a GPU
    waits for its peers for ever."""
    running = {helper.sentinel: helper for helper in helpers}
    while running:
        for sentinel in wait(list(running)):
            helper = running.pop(sentinel)  # type: ignore[arg-type]
            helper.join()
            # one that has learned all there is to learn ends well, and before the first process does
            if helper.exitcode == 0 or over.wait(NOTICE_SECONDS):
                continue
            told = place / DIVERGED
            last_word(told.read_text() if told.exists() else LOST.format(n=len(helpers) + 1))
            shutil.rmtree(place, ignore_errors=True)
            os._exit(1)


def follow(folder: Path, place: Path, rank: int, size: int) -> None:
    """Be helper number ``rank`` of the run in ``folder``: train along, from the beginning that lies in ``place``, until
    the first process has what it wants."""
    # a wish to stop is the first one's to follow; a machine or a cluster tells it to every process of a job
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_IGN)
    threading.Thread(target=_end_with_first, args=(place,), daemon=True).start()
    run = Run(folder)
    device = device_of(run.config)
    if device.type == "cuda":
        torch.cuda.set_device(rank)
    state = run.state(place / BEGINNING)
    (place / f"{rank}").touch()
    with joined(place, rank, size, device) as state.team:
        try:
            # members are trained on a cluster without this process: it ends, and leaves its memory to them
            for _ in train_model(state) if cluster.address() else train(state):
                pass
        except UserError as error:
            if not isinstance(error, Diverged):
                _end_with_first(place, 1)  # it is gone, or another one, of which it tells
            with whole(place / DIVERGED) as path:
                path.write_text(str(error))
            os._exit(1)  # at once: GPUs part only when all have come


def _end_with_first(place: Path, seconds: float | None = None) -> NoReturn:
    """End when the first process has ended, which has then left the place where they met; or after so many seconds."""
    first = multiprocessing.parent_process()
    assert first is not None
    first.join(seconds)
    if not first.is_alive():
        shutil.rmtree(place, ignore_errors=True)
    os._exit(1)

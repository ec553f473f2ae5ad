"""A run's progress on a terminal: a bar with the part, the losses and an honest time left."""

from __future__ import annotations

import itertools
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm import tqdm

from cellstream.config import Config
from cellstream.history import History
from cellstream.runs import Run, Status
from cellstream.terminal import say
from cellstream.training import part_steps

POLL_SECONDS = 0.2
WIDE = 110
"""Letters of a bar of text in a notebook, which does not tell its size."""
EARLY = ("rounds", "ensemble")
"""Parts that may stop before their last step."""
FITTED = ("warm", "rounds", "ensemble")
"""Parts from which on there is a model to keep."""
ENOUGH = 10
"""Steps of a part after which its speed is told: the first ones prepare what all use."""
COSTS = dict(start=1.0, embedding=3.6, warm=0.8, rounds=6.1, ensemble=2.9)
"""What a step of each part takes, in those of the first, with the preset ``best`` (mean of iPSC and EMT, measured)."""


def follow(run: Run, out: TextIO | None = None, told: int = 0, notebook: bool = False) -> Status:
    """Show a run's progress until it is over; returns how it ended. Of its parts so many have been ``told`` before;
    in a ``notebook`` there is a bar whatever ``out`` is.

    Ctrl-C (or the signal that ends a process) asks the run to stop and keep its best model; a second one kills it.
    """
    bar = Bar(run, out or sys.stderr, told, notebook)
    heeded = 0
    with interrupts() as came:
        while True:
            status = run.status()
            bar.show(status, stopping=heeded > 0)
            if not status.live:
                bar.close()
                return status
            if len(came) > heeded:
                (run.kill if heeded else run.cancel)()
                heeded = len(came)
            time.sleep(POLL_SECONDS)


class Bar:
    """A tqdm bar where ``out`` is a terminal, and in a notebook; elsewhere, in a log file, one line for each part."""

    def __init__(self, run: Run, out: TextIO, told: int = 0, notebook: bool = False):
        self.run, self.out, self.told = run, out, told
        self.clock = Clock(run.config)
        self.lost = 0
        # made when there is something to show: the process needs seconds to come up
        drawn, wide = _in_cell() if notebook else (tqdm, shutil.get_terminal_size().columns)
        self.bar = drawn(
            desc="Starting ",
            unit="",
            total=1,
            file=out,
            disable=not (notebook or out.isatty()),
            bar_format="{desc}{percentage:3.0f}%|{bar}| {unit}",
            # a terminal that does not tell its size would get no bar at all
            ncols=wide,
            nrows=2,
        )

    def show(self, status: Status, stopping: bool) -> None:
        history = self.run.history
        self.clock.look(history, running=status.state == "running")
        for lost in history.lost[self.lost :]:
            say(lost.text, self.out) if self.bar.disable else self.bar.write(lost.text, file=self.out)
        self.lost = len(history.lost)
        if self.bar.disable:
            for stage in history.stages[self.told :]:
                say(stage.text, self.out)
            self.told = len(history.stages)
            return
        if self.bar.total != (total := max(history.total, 1)):
            self.bar.reset(total)
        self.bar.n = history.step
        self.bar.set_description_str(self._doing(status, stopping), refresh=False)
        self.bar.unit = ", ".join(filter(None, [self.clock.left(), _losses(history)]))
        self.bar.refresh()

    def close(self) -> None:
        self.bar.close()

    def _doing(self, status: Status, stopping: bool) -> str:
        if stopping:
            return f"Stopping{', keeping the best model' if status.stage in FITTED else ''} "
        if status.state == "running" and status.step == status.total > 0:
            return "Measuring the result "
        words = {"starting": "Starting", "queued": "Waiting for its turn", "paused": "Paused"}
        return f"{words.get(status.state, status.stage.capitalize() or 'Preparing')} "


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, where cells show what is written and no terminal is there."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def _in_cell() -> tuple[type[tqdm], Any]:
    """The bar of a notebook's cell and its width: a widget where there is ipywidgets, else text, without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm as drawn
        from tqdm.notebook import tqdm_notebook
    return drawn, "100%" if issubclass(drawn, tqdm_notebook) else WIDE


class Tally:
    """A bar over many pieces of work where ``out`` is a terminal; elsewhere, in a log file, one line for each."""

    def __init__(self, total: int, out: TextIO | None = None):
        self.out = out or sys.stderr
        self.begun = self.done = 0
        self.bar = tqdm(
            total=total,
            file=self.out,
            disable=not self.out.isatty(),
            bar_format="{desc}{percentage:3.0f}%|{bar}| {n:.0f} of {total:.0f}, {elapsed}{postfix}",
            ncols=shutil.get_terminal_size().columns,
            nrows=2,
        )

    def begin(self, text: str) -> None:
        """The next piece; its name is told."""
        self.begun += 1
        if self.bar.disable:
            say(f"{self.begun} of {self.bar.total}: {text}", self.out)
        self.bar.set_description_str(f"{text} ")

    def part(self, share: float) -> None:
        """So much of the present piece is done, from 0 to 1; of several at once, so many in sum."""
        # tqdm draws at most ten times a second
        self.bar.update(min(self.done + share, self.bar.total - 0.01) - self.bar.n)

    def end(self) -> None:
        self.done += 1
        self.bar.update(self.done - self.bar.n)

    def say(self, sentence: str) -> None:
        """A line above the bar."""
        if self.bar.disable:
            say(sentence, self.out)
        else:
            self.bar.write(sentence, file=self.out)

    def close(self) -> None:
        self.bar.close()


class Clock:
    """Time left from the speed of the present part, and about that of the parts to come, whose steps cost otherwise."""

    def __init__(self, config: Config):
        self.steps, self.ends = part_steps(config), part_ends(config)
        self.part: str | None = None
        self.end = 0
        self.begun = self.seconds = 0.0
        self.first = self.step = 0

    def look(self, history: History, running: bool) -> None:
        now = time.monotonic()
        part = history.stages[-1].name if history.stages else None
        if part != self.part or not running:
            # after a pause, too, the clock starts anew
            self.part, self.begun, self.first = part, now, history.step
        self.seconds, self.step = now - self.begun, history.step
        # where the rounds have stopped early, the ensemble ends earlier too, and the run says where
        self.end = min(self.ends.get(part or "", 0), history.total)

    def left(self) -> str:
        """In words: 00:40 left in this part, about 01:50 in all; in the last part, at most 01:20 left where it may stop
        earlier."""
        if self.part not in self.ends or self.step - self.first < ENOUGH:
            return ""
        todo = self.end - self.step
        if todo <= 0:
            return ""
        pace = self.seconds / (self.step - self.first)
        parts = list(self.steps)
        later = parts[parts.index(self.part) + 1 :]
        here = f"{'at most ' if self.part in EARLY else ''}{tqdm.format_interval(pace * todo)} left"
        if not later:
            return here
        rest = sum(self.steps[part] * COSTS[part] for part in later) * pace / COSTS[self.part]
        return f"{here} in this part, about {tqdm.format_interval(pace * todo + rest)} in all"


def part_ends(config: Config) -> dict[str, int]:
    """The step at which each part of the training ends at the latest, in order."""
    steps = part_steps(config)
    return dict(zip(steps, itertools.accumulate(steps.values()), strict=True))


def _losses(history: History, most: int = 3) -> str:
    if not history.steps:
        return ""
    said = history.steps[history.step]
    return ", ".join(f"{k} {v:.3g}" for k, v in itertools.islice(said.items(), most + 1) if k != "stage")


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """The signals that ask to end come into a list; a closed terminal or a cluster's time limit count as Ctrl-C."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    kinds = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {kind: signal.signal(kind, lambda kind, _: came.append(kind)) for kind in kinds}
    try:
        yield came
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)

"""A run is a folder, and one process works in it: ``cellstream run FOLDER``.

    config.json       settings          recipe.json   name, source file, time key, input, when it was made
    data.npz          snapshots         events.jsonl  what happened, one event a line
    preview.npz       the latest picture               checkpoint-*.safetensors   the last two
    pictures/         some cells at even steps
    model.safetensors the result        metrics.json  what it is worth
    worker.json       who works here    heartbeat     touched every second
    cancel, pause     wishes of the user                stderr.txt   the process's last words
    ticket.json       the task of a cluster that works here, where one was given the run

The app, the command line and the tests all go through this contract; nothing is pickled; files appear whole.
:class:`Run` is the outside of the folder. The process inside is in :mod:`cellstream.worker`.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import platformdirs
import psutil
import torch
from filelock import FileLock

from cellstream import cluster, dispatch, events
from cellstream.card import Card
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.files import path_of, require_disk, require_vacant, whole
from cellstream.history import History
from cellstream.pictures import spaced
from cellstream.snapshots import Snapshots
from cellstream.state import State, require_devices
from cellstream.stream import CellStream
from cellstream.ticket import Ticket
from cellstream.versions import versions

LIVE = ("starting", "queued", "running", "paused")
OVER = ("finished", "cancelled", "failed", "dead")

BESIDE_DATA = 50_000_000
"""Bytes that a run leaves in its folder beside its data: models, checkpoints, pictures, events."""
PICTURED = 20_000
"""Cells of a picture at most."""

_children: dict[Path, subprocess.Popen] = {}
"""Workers that this process has started: a child stays as a zombie until its parent takes leave of it."""


@dataclass(frozen=True)
class Status:
    """Where a run stands."""

    state: str
    """new, starting, queued, running, paused, finished, cancelled, failed or dead."""
    reason: str = ""
    """Why it ended, in a sentence; of one under way, what went wrong without ending it."""
    step: int = 0
    total: int = 0
    stage: str = ""

    @property
    def live(self) -> bool:
        """A process works on it or waits to."""
        return self.state in LIVE


class Run:
    """One run folder, seen from outside. Cheap to make; reads only what is asked for."""

    def __init__(self, folder: Path | str):
        self.folder = path_of(folder)
        if not (self.folder / "config.json").is_file():
            raise UserError(f"Expected a run folder with a config.json, but {self.folder} is none.")
        self.history = History()
        self._recipe: tuple[int, dict[str, Any]] | None = None

    # making, starting, stopping

    @classmethod
    def create(cls, folder: Path | str, snapshots: Snapshots, config: Config, recipe: Mapping[str, Any]) -> Run:
        """A new run folder. ``recipe`` says where the data came from, so that the result finds its way back to it; with
        it are kept the name, the time and the versions of the software, unless it brings its own."""
        folder = require_vacant(folder)
        folder.mkdir(parents=True, exist_ok=True)
        require_disk(folder, snapshots.x.nbytes * 1.2 + BESIDE_DATA, "The folder of the run")
        with whole(folder / "data.npz") as path:
            snapshots.save(path)
        made = datetime.now().astimezone().isoformat(timespec="seconds")
        with whole(folder / "recipe.json") as path:
            path.write_text(json.dumps({"name": folder.name, "made": made, "versions": versions(), **recipe}, indent=2))
        with whole(folder / "config.json") as path:
            path.write_text(config.to_json())
        return cls(folder)

    def start(self) -> None:
        """Start the process, or start it again from the last checkpoint; nothing happens where one is at work.

        Where ``CELLSTREAM_SCHEDULER`` names a cluster, one of its workers starts it. Raises :class:`UserError` where
        that cannot be reached.
        """
        # two who press Start at once: the second finds the first one's card
        with FileLock(self.folder / "start"):
            status = self.status()
            if status.live:
                return
            if gone := _children.pop(self.folder, None):
                gone.wait()
            for wish in ("cancel", "pause", "kill", "aside"):
                (self.folder / wish).unlink(missing_ok=True)
            events_so_far = self.folder / "events.jsonl"
            since = events_so_far.stat().st_size if events_so_far.exists() else 0
            self._forget(status)
            (self.folder / "ticket.json").unlink(missing_ok=True)
            if scheduler := cluster.address():
                return dispatch.submit(self.folder, scheduler, since, self.config.compute.threads)
            with open(self.folder / "stderr.txt", "wb") as errors:
                child = subprocess.Popen(
                    # -P: a file of the user's called torch.py in the current folder is not torch
                    [sys.executable, "-P", "-m", "cellstream", "run", str(self.folder)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                    env={**os.environ, "OMP_NUM_THREADS": str(self.config.compute.threads)},
                )
            _children[self.folder] = child
            # the worker writes its own card once it is up, and mends this one should it come later
            Card.of(child.pid, "starting", since).write(self.folder)

    def cancel(self) -> None:
        """Ask the worker to stop and keep the best model so far. Nothing happens where none is at work."""
        status = self.status()
        if status.live:
            (self.folder / "cancel").touch()
        if status.state == "queued":
            self._take_back(status.step)

    def pause(self) -> None:
        """Ask the worker to wait. Nothing happens where none is at work."""
        if self.status().live:
            (self.folder / "pause").touch()

    def unpause(self) -> None:
        """Let a waiting worker go on."""
        (self.folder / "pause").unlink(missing_ok=True)

    def kill(self) -> None:
        """End the process at once. Resume goes on from the last checkpoint."""
        card, ticket = Card.read(self.folder), Ticket.read(self.folder)
        if card is None or card.host != platform.node() or not card.alive(self.folder):
            if ticket is not None and (status := self.status()).live:
                (self.folder / "kill").touch()  # for the worker that waits for the process
                if status.state == "queued":
                    self._take_back(status.step)
                self._gone(within=15)
            return
        try:
            psutil.Process(card.pid).kill()
        except psutil.NoSuchProcess:
            return
        self._gone(within=5)

    def delete(self) -> None:
        """Remove the folder of a run on which nobody works."""
        # one that has said its last word may take a while to end on a busy machine
        status = self.status()
        if status.live or not self._gone(within=30):
            raise UserError(f"The run {self.name!r} is still under way. Stop it before deleting it.")
        if child := _children.pop(self.folder, None):
            child.wait()
        self._forget(status)
        shutil.rmtree(self.folder)

    def rename(self, name: str) -> None:
        """Give the run another name; the folder stays."""
        recipe = {**self._read("recipe.json"), "name": name}  # as it is now, whoever has written it
        with whole(self.folder / "recipe.json") as path:
            path.write_text(json.dumps(recipe, indent=2))
        self._recipe = None

    # looking at it

    @cached_property
    def config(self) -> Config:
        """Its settings. Raises :class:`UserError` where they are missing or damaged."""
        return Config.from_dict(self._read("config.json"))

    @property
    def recipe(self) -> dict[str, Any]:
        """Read again when it has changed: others may look at the folder too, and give the run another name. Of a run
        that is deleted, what it was."""
        known = self._recipe
        try:
            version = (self.folder / "recipe.json").stat().st_mtime_ns
        except OSError:
            version = known[0] if known else 0
        if known is None or version != known[0]:
            self._recipe = known = version, self._read("recipe.json")
        return known[1]

    @property
    def name(self) -> str:
        """What people call it; the folder's name where nobody has named it."""
        return str(self.recipe.get("name", self.folder.name))

    def snapshots(self) -> Snapshots:
        """What it is trained on."""
        return Snapshots.load(self.folder / "data.npz")

    def state(self, beginning: Path | None = None) -> State:
        """What training starts from: fresh networks, or what the file ``beginning`` holds. Sets the number of processor
        threads of this process to that of the settings, so that the same is computed in each that asks."""
        torch.set_num_threads(self.config.compute.threads)
        state = State.initial(self.snapshots(), self.config)
        if beginning is not None:
            state.restore(beginning)
        return state

    def result(self) -> CellStream | None:
        """The best model so far, where one has been written."""
        path = self.folder / "model.safetensors"
        return CellStream.load(path) if path.exists() else None

    def metrics(self) -> dict[str, Any] | None:
        """What the result is worth, by the names of :mod:`cellstream.evaluation`; None where it was not measured."""
        try:
            return json.loads((self.folder / "metrics.json").read_text())
        except (FileNotFoundError, ValueError):
            return None  # damaged ones can be measured anew, and must not keep the model from being written

    def preview(self) -> dict[str, np.ndarray] | None:
        """The latest picture: ``z, v, cells, index, step`` as arrays."""
        try:
            with np.load(self.folder / "preview.npz", allow_pickle=False) as data:
                return dict(data)
        except (OSError, ValueError, EOFError, BadZipFile):
            return None

    def poll(self) -> bool:
        """Read what is new in events.jsonl into ``history``; whether there was anything."""
        return self.history.read(self.folder / "events.jsonl")

    def status(self) -> Status:
        """Where the run stands now; a worker that is gone without a last word is dead."""
        card, alive = self._worker()
        ticket = Ticket.read(self.folder)
        since = max(card.since if card else 0, ticket.since if ticket else 0)
        # read after looking for the worker: what it had to say, it said before it went
        self.poll()
        h = self.history

        def stands(state: str, reason: str = "") -> Status:
            return Status(state, reason, h.step, h.total, h.stages[-1].name if h.stages else "")

        match h.last if h.last_at >= since else None:
            case events.Finished(reason=reason):
                return stands("finished", reason)
            case events.Cancelled():
                kept = (self.folder / "model.safetensors").exists()
                early = "velocity and growth had not been learned yet" if h.previews else "nothing had been learned yet"
                what = "the best model so far is kept" if kept else early
                return stands("cancelled", f"Stopped by you; {what}.")
            case events.Failed(reason=reason):
                return stands("failed", reason)
        if card is not None and alive:
            return stands(card.phase, h.lost[-1].text if ticket and len(ticket.attempts) > 1 and h.lost else "")
        if ticket is not None and (said := dispatch.standing(ticket, h.step))[0]:
            return stands(*said)
        if card is None and ticket is None and h.last is None:
            return stands("new")
        return stands("dead", self._last_words(h.step))

    def _read(self, name: str) -> dict[str, Any]:
        path, advice = self.folder / name, "put it back from a copy, or start a new run"
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{path} is missing or damaged ({error}): {advice}.") from error
        if not isinstance(found, dict):
            raise UserError(f"{path} is damaged, since it holds no names and values: {advice}.")
        return found

    def _forget(self, status: Status) -> None:
        """Let the cluster forget a run that it may still have, as one that waits for a worker in vain."""
        ticket = Ticket.read(self.folder)
        if ticket is not None and status.state in ("failed", "dead"):
            dispatch.withdraw(ticket)

    def _take_back(self, step: int) -> None:
        """Cancel a run that waits in a cluster, unless a worker has begun it meanwhile and will see the wish."""
        with FileLock(self.folder / "start"):
            ticket = Ticket.read(self.folder)
            if ticket is None or self.status().state != "queued" or self._worker()[1]:
                return
            replace(ticket, key="").write(self.folder)
            with open(self.folder / "events.jsonl", "a", encoding="utf-8") as file:
                # a worker that was lost may have left half a line
                file.write("\n" * bool(ticket.attempts) + events.to_line(events.Cancelled(step, 0.0)) + "\n")
            for wish in ("cancel", "kill"):
                (self.folder / wish).unlink(missing_ok=True)
        dispatch.withdraw(ticket)

    def _worker(self) -> tuple[Card | None, bool]:
        """Who works here, or did so last, and whether that process is there."""
        if self.folder in _children and _children[self.folder].poll() is not None:
            _children.pop(self.folder, None)  # another thread may have seen so too
        card = Card.read(self.folder)
        return card, card is not None and card.alive(self.folder)

    def _gone(self, within: float) -> bool:
        """Whether the process has ended, or ends within so many seconds."""
        until = time.monotonic() + within
        while self._worker()[1]:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return True

    def _last_words(self, step: int) -> str:
        path = self.folder / "stderr.txt"
        lines = path.read_text(errors="replace").strip().splitlines() if path.exists() else []
        said = f" Its last words: {lines[-1][:200]}" if lines else ""
        return (
            f"The training process ended at step {step} without a word: it was killed, ran out of memory, or the "
            f"machine restarted. Resume goes on from the last checkpoint.{said}"
        )


def require_devices_here(config: Config) -> None:
    """:func:`require_devices` where a run that is about to be started is for this machine. Of one that goes to a
    cluster only the worker's own machine can tell."""
    if not cluster.address():
        require_devices(config)


def picture(stream: CellStream, s: Snapshots, step: int) -> dict[str, Any]:
    """The arrays of preview.npz: the cells as a model sees them after so many steps; see :meth:`Run.preview`."""
    cells = spaced(len(s.index), PICTURED)
    index = s.index[cells].cpu().numpy()
    t = s.times.cpu().numpy()[index]
    z = stream.encode(s.x[cells].cpu().numpy(), t)
    return dict(z=z, v=stream.velocity(z, t), index=index, cells=cells.numpy(), step=np.array(step))


def home() -> Path:
    """Where the app keeps its runs: ``CELLSTREAM_HOME``, else the user's data folder."""
    place = os.environ.get("CELLSTREAM_HOME")
    return Path(place).expanduser() if place else Path(platformdirs.user_data_dir("cellstream", appauthor=False))


def all_runs(root: Path | None = None) -> list[Run]:
    """The runs in a folder, newest first; folders that are no runs are passed over."""
    root = root or home() / "runs"
    found = []
    for config in root.glob("*/config.json"):
        if config.parent.name.startswith("."):  # one that is being written, or was left by who was killed meanwhile
            continue
        try:
            run = Run(config.parent)
            run.recipe["made"]  # a folder without a readable recipe is no run
            found.append(run)
        except (UserError, OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda run: str(run.recipe["made"]), reverse=True)


def new_folder(name: str, root: Path | None = None) -> Path:
    """A new, empty folder for a run, named by its data and the time."""
    root = root or home() / "runs"
    stem = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
    first = path = root / f"{stem}-{datetime.now():%Y%m%d-%H%M%S}"
    n = 1
    while True:
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            n += 1
            path = first.with_name(f"{first.name}-{n}")

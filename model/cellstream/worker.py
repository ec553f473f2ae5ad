"""The process inside a run folder: trains, and leaves there what others want to see. See :mod:`cellstream.runs`."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from cellstream import cluster, evaluation, events, rivals
from cellstream.card import Card
from cellstream.ensemble import disagreement
from cellstream.errors import UserError, is_memory
from cellstream.events import Event
from cellstream.files import whole
from cellstream.helpers import helped
from cellstream.members import train_on_cluster
from cellstream.pictures import FOLDER, Album
from cellstream.runs import Run, picture
from cellstream.snapshots import Snapshots
from cellstream.state import State, require_devices
from cellstream.stream import CellStream
from cellstream.ticket import Ticket, fenced_out, own_pass
from cellstream.training import train

LOCK_SECONDS = 5.0
"""How long to wait for a worker in the same folder that is about to end."""
CHECKPOINT_SECONDS = 5.0
PREVIEW_SHARE = 0.12
"""Previews may take this share of the time, so that a large data set is not slowed down by being watched."""
PREVIEW_SECONDS = 0.7
"""The least time between two previews."""
FIT_SECONDS = 0.3
"""Between two words of a fit of another method on how far it is."""


def work(folder: Path) -> None:
    """Train in a run folder, from its last checkpoint if there is one, until done, cancelled or failed.

    Raises :class:`UserError` where another process already works there.
    """
    Worker(folder).work()


class Stopped(Exception):
    """The user has asked a fit to stop."""


class Worker:
    def __init__(self, folder: Path):
        self.folder = folder
        self.step = 0
        self.checkpointed = self.previewed = time.monotonic()
        self.pause_between_previews = PREVIEW_SECONDS
        self.kept = self.shown = -1
        """Steps of the last checkpoint and of the last preview."""
        self.turn = FileLock(folder.parent / ".turn")
        self.stopped = False
        """A signal has asked to stop."""
        self.card_lock = threading.Lock()

    def work(self) -> None:
        if own_pass():
            threading.Thread(target=_end_with_worker, daemon=True).start()
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise UserError(f"Another process already works in {self.folder}.") from None
        over = threading.Event()
        with lock, self._signals():
            if fenced_out(self.folder):
                return
            self._tidy()
            self._name_the_lost()
            events_so_far = self.folder / "events.jsonl"
            since = events_so_far.stat().st_size if events_so_far.exists() else 0
            self.card = Card.of(os.getpid(), "running", since)
            self.card.write(self.folder)
            beat = threading.Thread(target=self._beat, args=(over,), daemon=True)
            beat.start()
            try:
                self._train()
            except UserError as error:
                self._fail(str(error))
            except Exception as error:
                self._say(events.Failed(self.step, _in_words(error), traceback.format_exc()))
                traceback.print_exc()
            finally:
                self.turn.release()
                over.set()
                beat.join()
                (self.folder / "cancel").unlink(missing_ok=True)

    def _train(self) -> None:
        run = Run(self.folder)
        takes_turns = bool(run.recipe.get("takes_turns")) and own_pass() is None  # a cluster has a queue of its own
        if takes_turns and not self._wait_for_turn():
            return self._say(events.Cancelled(self.step, 0.0))
        require_devices(run.config)
        if run.recipe.get("method"):
            torch.set_num_threads(run.config.compute.threads)
            return self._fit(run, takes_turns)
        state = run.state()
        if self._restore(state) or (self.folder / "events.jsonl").exists():
            self._say(events.Resumed(state.step))
        try:
            with helped(state, run, lambda: not self._wished("cancel"), self._fail):
                self._follow(state, takes_turns)
        except Exception:
            if state.best is not None:
                self._keep(state.result())
            raise

    def _fit(self, run: Run, takes_turns: bool) -> None:
        """Fit another method, from the beginning to its end: of one that is stopped nothing is kept."""
        snapshots, began = run.snapshots(), time.monotonic()
        said = -math.inf

        def on_progress(step: int, total: int) -> None:
            nonlocal said
            self.step = step
            if self._wished("cancel"):
                raise Stopped
            if self._wished("pause"):
                self._rest(step, takes_turns)
            if time.monotonic() - said > FIT_SECONDS or step == total:
                self._say(events.Step(step, total, rivals.STAGE, {}))
                said = time.monotonic()

        if (self.folder / "events.jsonl").exists():
            self._say(events.Resumed(0))
        self._say(events.Stage(rivals.STAGE, f"{run.recipe['method']} is fitted.", 0, 0))
        try:
            stream = rivals.fit(run, snapshots, on_progress)
        except Stopped:
            return self._say(events.Cancelled(self.step, time.monotonic() - began))
        self._preview(stream, snapshots)
        self._finish(
            stream, snapshots, events.Finished(self.step, "All steps are done.", 0.0, time.monotonic() - began)
        )

    def _follow(self, state: State, takes_turns: bool) -> None:
        """Train, tell of it, and do what is wished meanwhile."""
        album = Album(self.folder, state)
        for event in train_on_cluster(state, self.folder) if cluster.address() else train(state):
            self.step = state.step
            album.see(state, final=isinstance(event, events.Finished))
            if isinstance(event, events.Finished):
                self._checkpoint(state)
                self._preview(state.present(), state.snapshots)
                return self._finish(state.result(), state.snapshots, event)
            if not isinstance(event, events.Waiting):
                self._say(event)
            if self._wished("pause") and not self._wished("cancel"):
                self._wait_paused(state, takes_turns)
            if self._wished("cancel"):
                self._checkpoint(state)
                if state.fitted:
                    self._keep(state.result())
                return self._say(events.Cancelled(state.step, state.seconds, _finite(state.best_loss)))
            now, stage = time.monotonic(), isinstance(event, events.Stage)
            # while a member of the ensemble is trained, the state stays as it is: nothing to keep or to show
            if self.kept != state.step and (now - self.checkpointed > CHECKPOINT_SECONDS or stage):
                self._checkpoint(state)
            if self.shown != state.step and (now - self.previewed > self.pause_between_previews or stage):
                self._preview(state.present(), state.snapshots)

    def _finish(self, stream: CellStream, snapshots: Snapshots, event: events.Finished) -> None:
        self._keep(stream)
        reason, measured = event.reason, {}
        try:
            measured = evaluation.evaluate(stream, snapshots)
            if stream.members:
                measured["ensemble"] = disagreement(stream, snapshots)
        except Exception as error:  # a training is worth more than its measures
            (self.folder / "metrics.json").unlink(missing_ok=True)
            reason = f"{reason} The result is kept, but it could not be measured ({type(error).__name__}: {error})."
        else:
            with whole(self.folder / "metrics.json") as path:
                path.write_text(json.dumps(measured, indent=2))
        self._say(events.Finished(event.step, reason, event.loss, event.seconds, measured))

    # when others have a say

    def _wait_for_turn(self) -> bool:
        """Wait until no run beside this one trains, in the order in which they were started; whether to go on."""
        while not self._wished("cancel"):
            if self._is_next():
                try:
                    self.turn.acquire(timeout=0)
                except Timeout:
                    pass
                else:
                    self._be("running")
                    return True
            self._be("queued")
            time.sleep(0.2)
        return False

    def _is_next(self) -> bool:
        mine = (self.card.started, self.folder.name)
        for path in self.folder.parent.glob("*/worker.json"):
            card, folder = Card.read(path.parent), path.parent
            if folder == self.folder or card is None or card.phase not in ("starting", "queued"):
                continue
            if (card.started, folder.name) < mine and card.alive(folder):
                return False
        return True

    def _wait_paused(self, state: State, takes_turns: bool) -> None:
        self._checkpoint(state)
        self._rest(state.step, takes_turns)

    def _rest(self, step: int, takes_turns: bool) -> None:
        """Wait until the user wants it to go on, or to stop; others may train meanwhile."""
        self._be("paused")
        self._say(events.Paused(step))
        self.turn.release()
        while self._wished("pause") and not self._wished("cancel"):
            time.sleep(0.1)
        if takes_turns:
            self._wait_for_turn()
        self._be("running")

    def _wished(self, what: str) -> bool:
        return (what == "cancel" and self.stopped) or (self.folder / what).exists()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C, and the signal by which machines and clusters end a process, are wishes to stop and keep the best."""

        def stop(*_: object) -> None:
            self.stopped = True

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {kind: signal.signal(kind, stop) for kind in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _be(self, phase: str) -> None:
        with self.card_lock:
            if phase != self.card.phase:
                self.card = dataclasses.replace(self.card, phase=phase)
                self.card.write(self.folder)

    def _beat(self, over: threading.Event) -> None:
        """Once a second, show life; and put the card right, where whoever started this process wrote it late."""
        while not over.wait(1):
            try:
                if not (self.folder / "config.json").exists():
                    self.stopped = True  # the folder was taken away: nobody waits for this run any more
                    return
                if fenced_out(self.folder):
                    os._exit(1)  # another process goes on with the run, or will when this one is gone
                (self.folder / "heartbeat").touch()
                with self.card_lock:
                    if Card.read(self.folder) != self.card:
                        self.card.write(self.folder)
            except OSError:
                continue  # a full disk, or a folder that is gone: training itself will say so

    # what is left in the folder

    def _say(self, event: Event) -> None:
        with open(self.folder / "events.jsonl", "a", encoding="utf-8") as file:
            file.write(events.to_line(event) + "\n")

    def _fail(self, reason: str) -> None:
        self._say(events.Failed(self.step, reason))

    def _tidy(self) -> None:
        """Clear up after a worker that was killed while writing: half files, and half a line of events."""
        for name in (".checkpoint-", ".model-", ".preview-", ".metrics-", f"{FOLDER}/."):
            for path in self.folder.glob(f"{name}*"):
                path.unlink(missing_ok=True)
        path = self.folder / "events.jsonl"
        if path.exists() and (text := path.read_bytes()) and not text.endswith(b"\n"):
            # the next event must not be glued to it
            with open(path, "ab") as file:
                file.write(b"\n")

    def _name_the_lost(self) -> None:
        """Where a worker of the cluster was lost before this process, say which."""
        ticket = Ticket.read(self.folder)
        if own_pass() is None or ticket is None or len(ticket.attempts) < 2:
            return
        run = Run(self.folder)
        run.poll()
        step, (before, now) = run.history.step, ticket.attempts[-2:]
        text = f"The {before} was lost at step {step}; the {now} goes on from the last checkpoint."
        self._say(events.Lost(step, text))

    def _checkpoint(self, state: State) -> None:
        with whole(self.folder / f"checkpoint-{state.step:08d}.safetensors") as path:
            state.save(path)
        # those of later steps could not be read when this process began, or it would have gone on from them
        kept = [path for path in self._checkpoints() if path.name <= f"checkpoint-{state.step:08d}.safetensors"][:2]
        for old in set(self._checkpoints()) - set(kept):
            old.unlink()
        self.checkpointed, self.kept = time.monotonic(), state.step

    def _checkpoints(self) -> list[Path]:
        """Newest first."""
        return sorted(self.folder.glob("checkpoint-*.safetensors"), reverse=True)

    def _restore(self, state: State) -> bool:
        for path in self._checkpoints():
            try:
                state.restore(path)
            except UserError:
                continue  # damaged on disk: the one before it will do
            return True
        return False

    def _keep(self, stream: CellStream) -> None:
        with whole(self.folder / "model.safetensors") as path:
            stream.save(path)

    def _preview(self, stream: CellStream, s: Snapshots) -> None:
        began = time.monotonic()
        with whole(self.folder / "preview.npz") as path:
            np.savez(path, **picture(stream, s, self.step))
        with whole(self.folder / "preview.safetensors") as path:
            stream.save(path)
        try:
            seen = evaluation.glance(stream, s)
        except Exception:  # the next look may do; training does not end for one
            seen = {}
        self._say(events.Preview(self.step, "preview.npz", seen))
        self.previewed, self.shown = time.monotonic(), self.step
        self.pause_between_previews = max(PREVIEW_SECONDS, (self.previewed - began) / PREVIEW_SHARE)


def _end_with_worker() -> None:
    """End when the worker of a cluster that has started this process is gone: another one goes on with the run."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _in_words(error: Exception) -> str:
    """What broke, for a person, and what to do about it."""
    if is_memory(error):
        return "Training ran out of memory. Choose a smaller batch_size, fewer features, or the device cpu."
    if isinstance(error, OSError):
        return f"A file could not be written or read ({error}). Check the disk, then press Resume."
    return f"Training broke with {type(error).__name__}: {error}. Resume goes on from the last checkpoint."

"""Session: the one state of a browser session. Pages read and write it, and never each other.

What is costly (reading files, preprocessing, loading results) runs in a thread; training runs in a process of its own,
whose folder is polled. Nothing here knows a widget.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import param

from cellstream import bundle, runs, scverse, times
from cellstream.config import Config
from cellstream.doctor import Diagnosis
from cellstream.errors import UserError
from cellstream.progress import Clock
from cellstream.runs import Run, Status, require_devices_here
from cellstream.snapshots import Snapshots
from cellstream_app import plots
from cellstream_app.bundling import opened_bundle
from cellstream_app.imports import import_result
from cellstream_app.reading import Reading, examined, guess_reading, read_snapshots
from cellstream_app.results import Result, load_result, sample_run
from cellstream_app.shown import Shown
from cellstream_app.sources import Source, open_source

PAGES = ("data", "train", "explore", "genes", "compare", "export")
SAMPLE = "sample"
"""The name in the address of the bundled run."""
SAMPLE_NAME = "Sample: simulated blood"
NO_TIME = "No column of this data set looks like time: choose the one that holds it."
UNREADABLE = "The data set could not be read ({}): see whether its file can still be reached, and open it again."
FAULT = "The data set could not be prepared by a fault of this app, of which its log tells more: read it otherwise."
NOT_LOADED = "The result could not be loaded by a fault of this app, of which its log tells more: choose another one."
STATUS_SECONDS = 1.0
"""How often a run is asked whether its process still lives, even when it says nothing."""


class Session(param.Parameterized):
    """The state. Parameters that pages watch; methods that change them."""

    page = param.Selector(default="explore", objects=list(PAGES), doc="The page that is shown.")
    own_data = param.Integer(default=0, doc="How often the user has asked to open data of their own.")
    run_id = param.String(default=SAMPLE, doc="Folder name of the selected run; in the address, so reloads find it.")
    beside = param.String(default="", doc="What stands on the right of Compare, as its choice has it; in the address.")
    dark = param.Boolean(default=False, doc="Whether the theme is dark.")
    pixel_ratio = param.Number(default=1.0, doc="Device pixels in a pixel of the style sheet.")

    source = param.ClassSelector(class_=Source, doc="The opened data set.")
    reading = param.ClassSelector(class_=Reading, default=Reading(), doc="How it is to be read.")
    snapshots = param.ClassSelector(
        class_=Snapshots, doc="The data set, read and prepared; None where it could not be."
    )
    problem = param.String(default="", doc="Why it could not be, in a sentence.")
    opening = param.String(default="", doc="What is being opened now.")
    preparing = param.Boolean(default=False, doc="Whether the data set is being prepared.")
    diagnosis = param.ClassSelector(
        class_=Diagnosis, doc="What the file doctor says of the data set as it is read now; None until it has looked."
    )
    checking = param.Boolean(default=False, doc="Whether the file doctor is looking.")

    beat = param.Integer(default=0, doc="Counts up ten times a second: one clock for all that looks again and again.")
    run = param.ClassSelector(class_=Run, doc="The selected run.")
    status = param.ClassSelector(class_=Status, default=Status("new"), doc="Where it stands.")
    elsewhere = param.Parameter(
        doc="Where the selected run is not under way: another one that is, and where it stands; or None."
    )
    news = param.Integer(default=0, doc="Counts up whenever the run has said something.")
    runs_changed = param.Integer(default=0, doc="Counts up whenever a run was made, renamed or deleted.")

    result = param.ClassSelector(class_=Result, doc="The selected run's result, or what it has shown so far.")
    result_source = param.ClassSelector(class_=Source, doc="The data set behind the result, where it is still there.")
    result_problem = param.String(default="", doc="What could not be loaded, in a sentence.")
    loading = param.Boolean(default=False, doc="Whether a result is being loaded.")
    time = param.Number(default=0.0, doc="The time that is shown of the result, in the data's unit.")
    playing = param.Boolean(default=True, doc="Whether that time runs by itself, or will on the next page that has it.")
    shown = param.ClassSelector(class_=Shown, default=Shown(), doc="What Explore shows, as it was left.")
    genes = param.List(default=[], doc="Genes that were chosen on the Genes page.")
    asked = param.ClassSelector(
        class_=Shown, doc="What Explore is to show of the selected run, once; None where it shows what it chose."
    )
    painted = param.Integer(default=0, doc="Counts up whenever a name in a legend was given another colour.")
    selection = param.Array(doc="Selected cells of the result, as positions among its cells, (k,); None: none.")

    def __init__(self, **params: Any):
        super().__init__(**params)
        self._known: dict[Path, Run] = {}
        self._asked = 0.0
        self._opens = 0
        self._prepares = 0
        self._looks_elsewhere = False
        self._selects = 0
        self._loads = 0
        self._looking: asyncio.Future | None = None
        self.clock: Clock | None = None

    # data

    async def open(self, key: str, reading: Reading | None = None) -> None:
        """Open a data set by name or path and prepare it, read in this way or as it is guessed. Raises
        :class:`UserError`.

        Of several calls in a row, the last one counts.
        """
        self._opens += 1
        mine = self._opens
        self.opening = key
        try:
            source = await asyncio.to_thread(open_source, key)
        except UserError:
            if mine == self._opens:
                raise
        finally:
            if mine == self._opens:
                self.opening = ""
        if mine != self._opens:
            return
        reading = guess_reading(source) if reading is None else reading
        self.param.update(source=source, reading=reading, snapshots=None, problem="", diagnosis=None)
        await self.prepare(reading)

    async def prepare(self, reading: Reading) -> None:
        """Prepare the opened data set in this way. Of several calls in a row, the last one counts."""
        source = self.source
        if source is None:
            return
        self._prepares += 1
        mine = self._prepares
        self.param.update(reading=reading, preparing=True)
        try:
            snapshots, problem = await self._read(source, reading)
        except BaseException:  # whatever it is, nobody waits for it, and no snapshots of another reading are left
            if mine == self._prepares:
                self.param.update(snapshots=None, problem=FAULT, diagnosis=None, preparing=False, checking=False)
            raise
        if mine == self._prepares:
            self.param.update(snapshots=snapshots, problem=problem, preparing=False, checking=True)
            # the page goes on meanwhile: it walks over the whole matrix
            self._looking = asyncio.ensure_future(self._examine(source, reading, mine))

    async def _read(self, source: Source, reading: Reading) -> tuple[Snapshots | None, str]:
        """The snapshots, or why there are none."""
        try:
            if not reading.time_key:
                one = times.one_time(source.adata.obs)
                raise UserError(f"{one}, or choose the column that has them." if one else NO_TIME)
            return await asyncio.to_thread(read_snapshots, source, reading), ""
        except UserError as error:
            return None, str(error)
        except MemoryError:
            return None, "There is not enough memory to prepare this data set: keep fewer genes, or take fewer cells."
        except OSError as error:
            return None, UNREADABLE.format(error)

    async def _examine(self, source: Source, reading: Reading, mine: int) -> None:
        """Ask the file doctor."""
        diagnosis = None
        try:
            diagnosis = await asyncio.to_thread(examined, source, reading)
        except (UserError, MemoryError):
            pass  # whoever prepares the data has said so
        except OSError as error:  # has come about since they were prepared, or has been said too
            if mine == self._prepares and not self.problem:
                self.problem = UNREADABLE.format(error)
        finally:
            if mine == self._prepares:
                self.param.update(diagnosis=diagnosis, checking=False)

    async def examined(self) -> Diagnosis | None:
        """What the file doctor says of the data set, once it has looked."""
        if self._looking is not None:
            await self._looking
        return self.diagnosis

    # runs

    def runs(self) -> list[Run]:
        """Every run in the user's folder, newest first. Runs seen before are the same objects."""
        found = [self._known.setdefault(run.folder, run) for run in runs.all_runs()]
        self._known = {run.folder: run for run in found}
        return found

    async def start(self, config: Config, preset_name: str, name: str = "") -> Run:
        """Make a run of the prepared data set and start its process. Raises :class:`UserError`."""
        if self.preparing:  # the snapshots are those of another reading
            raise UserError("The data set is still being prepared: start the training once that is done.")
        if self.snapshots is None or self.source is None:
            raise UserError("No data set is ready: open one on the Data page first.")
        reading, source = self.reading, self.source
        recipe = dict(
            takes_turns=True,
            name=name.strip() or source.title,
            source=source.key,
            title=source.title,
            time_key=reading.time_key,
            input=reading.input,
            time_map=reading.time_map,
            unit=self.snapshots.unit,
            real_times=reading.real_times,
            masses=list(reading.masses) if reading.masses else None,
            preset=preset_name,
            preprocess=dataclasses.asdict(reading.preprocess),
            fixes=list(reading.fixes),
        )
        config = dataclasses.replace(config, preprocess=reading.preprocess)
        require_devices_here(config)  # one that is not there is refused here, at the button
        stem = re.sub(r"\.(h5ad|zarr|loom|h5|mtx|csv|tsv|txt)(\.gz|\.zip)?$", "", Path(source.key).name)
        run = await asyncio.to_thread(Run.create, runs.new_folder(stem), self.snapshots, config, recipe)
        await asyncio.to_thread(run.start)
        self._known[run.folder] = run
        self.param.update(runs_changed=self.runs_changed + 1)
        await self.select(run, new=True)
        return run

    async def show_result_in_file(self) -> None:
        """Show the result that the opened file holds, as a run made the first time. Raises :class:`UserError`."""
        run = await asyncio.to_thread(import_result, self.source)
        run = self._known.setdefault(run.folder, run)
        self.runs_changed += 1
        await self.select(run)
        self.page = "explore"

    async def open_bundle(self, path: str) -> None:
        """Make the run of a bundle the selected one, and show of it what was shown when the bundle was written. Raises
        :class:`UserError` where it cannot be opened; then all stays as it was.

        Of several calls in a row, the last one counts.
        """
        self._opens += 1
        mine = self._opens
        self.opening = path
        try:
            run, view = await asyncio.to_thread(opened_bundle, path)
        except UserError:
            if mine != self._opens:
                return
            raise
        finally:
            if mine == self._opens:
                self.opening = ""
        run = self._known.setdefault(run.folder, run)
        self.runs_changed += 1
        if mine != self._opens:
            return
        if self.page == view.page == "explore":
            self.page = "data"  # it draws anew when it is come back to
        await self.select(run, asked=view.shown)
        if self.run is run:
            if self.result is not None and self.result.run.folder == run.folder:
                self.param.update(view.of(self.result))
            self.page = view.page

    async def select(self, run: Run | None, new: bool = False, asked: Shown | None = None) -> None:
        """Make a run the selected one and load what it has to show; a ``new`` one has nothing yet. Explore shows it as
        ``asked``, where that is given.

        Of several calls in a row, the last one counts. Raises :class:`UserError` where the run's own files cannot be
        read; the one before stays selected.
        """
        self._selects += 1
        mine = self._selects
        status, clock = await asyncio.to_thread(_standing, run)
        if mine != self._selects:  # another one was chosen meanwhile
            return
        name, self.clock = folder_name(run), clock
        self.param.update(
            run=run, run_id=name, status=status, news=self.news + 1, result_problem="", selection=None, asked=asked
        )
        if new:
            self._loads += 1  # what is being loaded is of the one before
            self.param.update(result=None, result_source=None, loading=False)
        else:
            await self.load()

    async def choose(self, name: str) -> None:
        """Select the run of this name in the address; the sample where it is gone. Where it cannot be read, the one
        before stays, and a sentence says so."""
        run, problem = find_run(name, self.runs())
        try:
            await self.select(run)
        except UserError as error:
            problem = str(error)
            if self.run is None:
                await self.select(sample_run())
            else:  # whoever offers a choice hears that it was not taken
                self.param.trigger("run_id")
            run = self.run
        if problem and run is self.run:
            self.result_problem = problem

    async def restore(self) -> None:
        """Select the run that the address names."""
        await self.choose(self.run_id)

    async def load(self) -> None:
        """Load the selected run's result, or the latest picture of a run under way.

        Of several calls in a row, the last one counts.
        """
        run = self.run
        self._loads += 1
        mine = self._loads
        self.loading = True
        result, source, problem = None, None, ""
        try:
            if run is not None:
                result = await asyncio.to_thread(load_result, run)
                if result is not None:
                    result, source, problem = await asyncio.to_thread(with_source, result)
        except UserError as error:
            problem = str(error)
        except (OSError, MemoryError) as error:
            problem = f"The result could not be loaded ({error or 'not enough memory'}): choose another one."
        except BaseException:  # whatever it is, nobody waits for it
            if mine == self._loads:
                self.param.update(result=None, result_source=None, result_problem=NOT_LOADED, loading=False)
            raise
        if mine == self._loads:
            # the cells of the one before could be picked until now
            same = result is not None and result.of_same_run(self.result)
            self.param.update(
                result=result, result_source=source, result_problem=problem, loading=False,
                selection=self.selection if same else None,
                time=self.time if same or result is None else float(result.times[0]),
                # what was chosen for another result says nothing of this one
                shown=self.shown if same else self.asked or Shown(), genes=self.genes if same else [],
            )  # fmt: skip

    async def load_latest(self) -> bool:
        """For a page that comes into sight: load again what is not final; whether there was anything to load."""
        wanted = self.run is not None and (self.result is None or not self.result.final)
        if wanted:
            await self.load()
        return wanted

    def poll(self) -> bool:
        """Read what the selected run has said since; whether anything has changed. Called a few times a second."""
        run = self.run
        if run is None or not run.folder.exists():
            return False
        said = run.poll()
        now = time.monotonic()
        if not said and now - self._asked < STATUS_SECONDS:
            return False
        self._asked = now
        status = run.status()
        self.clock.look(run.history, running=status.state == "running")
        if not said and status == self.status:
            return False
        ended = self.status.live and not status.live
        self.param.update(status=status, news=self.news + 1)
        if ended:
            self.runs_changed += 1
        return True

    async def look_elsewhere(self) -> None:
        """See whether another run is under way than the selected one, of which :meth:`poll` tells.

        In a thread: the first time it reads all that every run has said. One look at a time.
        """
        if self._looks_elsewhere:
            return
        self._looks_elsewhere = True
        try:
            others = [] if self.status.live else [run for run in self.runs() if run is not self.run]
            found = await asyncio.to_thread(_first_live, others)
        finally:
            self._looks_elsewhere = False
        self.elsewhere = None if self.status.live else found

    def rename(self, run: Run, name: str) -> None:
        """Give a run another name."""
        if not name.strip():
            raise UserError("A run needs a name: type one.")
        run.rename(name.strip()[:120])
        self.runs_changed += 1

    async def delete(self, run: Run) -> None:
        """Delete a run that is not under way; the sample takes its place where it was selected."""
        await asyncio.to_thread(run.delete)
        self._known.pop(run.folder, None)
        if self.run is run:
            await self.select(sample_run())
        self.runs_changed += 1


def _standing(run: Run | None) -> tuple[Status, Clock | None]:
    """Where a run stands, and the clock for the time that is left."""
    return (Status("new"), None) if run is None else (run.status(), Clock(run.config))


def _first_live(runs: list[Run]) -> tuple[Run, Status] | None:
    """The first of the runs that is under way, and where it stands."""
    return next(((run, status) for run in runs if (status := run.status()).live), None)


def folder_name(run: Run | None) -> str:
    """The name of a run in the address."""
    if run is None:
        return ""
    sample = sample_run()
    return SAMPLE if sample is not None and run.folder == sample.folder else run.folder.name


def find_run(name: str, known: list[Run]) -> tuple[Run | None, str]:
    """The run of this name in the address, among the ``known`` ones only, and a sentence where it is gone."""
    if name in ("", SAMPLE):
        return sample_run(), ""
    for run in known:
        if run.folder.name == name:
            return run, ""
    return sample_run(), "The run in this address is no longer there; this is the sample instead."


def named(runs: list[Run]) -> dict[str, str]:
    """Runs to choose from: a name of its own for each -> its folder's name."""
    found: dict[str, str] = {}
    names = Counter(run.name for run in runs)
    for run in runs:
        name = run.name
        if names[name] > 1:
            made = datetime.fromisoformat(str(run.recipe["made"]))
            name += f" · {made:%d %b %H:%M:%S}".replace(" 0", " ")
        found[name if name not in found else f"{name} ({run.folder.name})"] = run.folder.name
    return found


def offered(session: Session) -> dict[str, str]:
    """Results to choose from, and the selected run also before it has one: shown name -> name in the address."""
    runs = [run for run in session.runs() if run is session.run or (run.folder / "model.safetensors").exists()]
    return {SAMPLE_NAME: SAMPLE} | named(runs)


def _missing(run: Run, key: str) -> str:
    """Why the file behind a run cannot be read, in a sentence."""
    if bundle.MARK in run.recipe and not Path(key).is_absolute():
        return (
            f"The file {key} is not in the bundle, and neither beside it nor behind another of your runs, so labels "
            "and genes cannot be shown: put it beside the bundle, and open that again."
        )
    return f"The file {key} is no longer there, so labels and genes cannot be shown."


def with_source(result: Result) -> tuple[Result, Source | None, str]:
    """The result, warmed up for drawing, and the data set behind it where that is still what it was."""
    unsure = ("uncertainty",) if result.stream.members else ()
    for warm in ("points", "g", "flow", "paths", "grid", "course", *unsure):
        getattr(result, warm)
    if len(result.index) > plots.SHADE_ABOVE:
        plots.warm_up()
    key = result.run.recipe.get("source")
    if not key:
        return result, None, "Where this run's data came from is not known, so labels and genes cannot be shown."
    try:
        source = open_source(str(key))
    except (UserError, OSError):
        return result, None, _missing(result.run, str(key))
    try:
        scverse.require_same_cells(source.adata, result.snapshots, result.run.recipe)
    except UserError:
        return result, None, f"The file {key} has other cells than the run, so labels and genes cannot be shown."
    return result, source, ""

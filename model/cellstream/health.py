"""What CellStream finds on this machine, and what is wrong there, in plain words: ``cellstream doctor``.

Each part looks at one thing and says it in a line; what it cannot find out is a line as well, never an error.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from cellstream import __version__, memory, runs
from cellstream.errors import UserError
from cellstream.files import beside, size_in_words

LITTLE_MEMORY, LITTLE_DISK = 2e9, 2e9
"""Bytes below which little can be trained, or kept."""
SHOWN = ("torch", "torchdiffeq", "pot", "scanpy", "anndata", "numpy", "panel", "panel-material-ui", "bokeh")
"""Packages whose versions are told; of the others what does not fit."""
SCRIPTS = {
    "bokeh": ("server/static/js/bokeh.min.js", "server/static/js/bokeh-gl.min.js"),
    "panel": ("dist/panel.min.js", "dist/bundled/font-awesome"),
    "panel_material_ui": ("dist/panel-material-ui.bundle.js", "dist/material-icons.css"),
    "cellstream_app": ("main.py", "components/flow.js"),
}
"""What the app's pages read, which comes with the packages: nothing is fetched from outside."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    wrong: str = ""
    """What is wrong and what to do, in a sentence; nothing where all is well."""


def examine() -> list[Finding]:
    """All that there is to say of this machine, in the order in which it is read. Takes some seconds."""
    return [finding for look in PARTS for finding in _safely(look)]


def report(findings: list[Finding]) -> str:
    """The findings as lines of text, without the name of the user: to be read, or sent to who helps."""
    wide = max(len(finding.what) for finding in findings)
    lines = [f"{'!' if finding.wrong else ' '} {finding.what:<{wide}}  {finding.found}" for finding in findings]
    wrong = [finding for finding in findings if finding.wrong]
    lines += ["", *(f"! {finding.what}: {finding.wrong}" for finding in wrong)] if wrong else ["", "All is well."]
    return without_name("\n".join(lines))


def without_name(text: str) -> str:
    """A text in which the user's own folder is called ``~``."""
    home = str(Path.home())
    return re.sub(rf"{re.escape(home)}(?=[\\/\s]|$)", "~", text) if len(home) > 1 else text


def _safely(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except Exception as error:
        name = (look.__name__).strip("_").replace("_", " ")
        return [Finding(name.capitalize(), "could not be looked at", f"{type(error).__name__}: {error}")]


def _versions() -> Iterator[Finding]:
    yield Finding("CellStream", __version__)
    yield Finding("Python", f"{platform.python_version()} on {platform.platform(terse=True)}, {platform.machine()}")
    told, misfits = [], []
    for words in metadata.requires("cellstream") or ():
        wanted = Requirement(words)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            there = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            misfits.append(f"{wanted.name} is missing")
            continue
        if wanted.name.lower() in SHOWN:
            told.append(f"{wanted.name} {there}")
        if not wanted.specifier.contains(there, prereleases=True):
            misfits.append(f"{wanted.name} {there} is there, but {wanted.specifier} is needed")
    advice = f"{'; '.join(misfits)}: install CellStream again, as its README says." if misfits else ""
    yield Finding("Packages", ", ".join(told), advice)


def _processor() -> Iterator[Finding]:
    all_ = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else all_
    yield Finding("Processor", f"{usable} of {all_} cores" if usable < all_ else f"{usable} cores")


def _gpu() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        build = "this torch was built without CUDA" if torch.version.cuda is None else "torch finds none"
        card = shutil.which("nvidia-smi") is not None
        advice = "There is an NVIDIA driver: install torch for CUDA, as pytorch.org says, to train on the GPU."
        yield Finding("GPU", f"none ({build}): training runs on the processor", advice if card else "")
        return
    for k in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_name(k)
        try:
            free, total = torch.cuda.mem_get_info(k)
            one = torch.ones(64, 64, device=f"cuda:{k}")
            works = bool((one @ one == 64).all())
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            advice = f"It does not compute ({first}): train with --device cpu, or see whether driver and torch fit."
            yield Finding(f"GPU {k}", name, advice)
            continue
        said = f"{name}, {size_in_words(free)} of {size_in_words(total)} free"
        wrong = "" if works else "It computes wrongly: do not use it; train with --device cpu."
        yield Finding(f"GPU {k}", said, wrong)


def _memory() -> Iterator[Finding]:
    free, total = memory.free(), psutil.virtual_memory().total
    advice = "That is little for a training: close other programs." if free < LITTLE_MEMORY else ""
    yield Finding("Memory", f"{size_in_words(free)} free of {size_in_words(total)}", advice)


def _places() -> Iterator[Finding]:
    yield from _place("Runs and settings", runs.home(), "set CELLSTREAM_HOME to a folder that can be written to")
    yield from _place("Temporary files", Path(tempfile.gettempdir()), "set TMPDIR to a folder that can be written to")


def _place(what: str, folder: Path, advice: str) -> Iterator[Finding]:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    wrong = f"The disk has only {size_in_words(free)} left: make room." if free < LITTLE_DISK else ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with beside(folder / "write-test.txt") as probe:
            probe.write_text("can be written to")
    except OSError as error:
        wrong = f"Nothing can be written there ({error.strerror or error}): {advice}."
    yield Finding(what, f"{folder}, {size_in_words(free)} free", wrong)


def _kept_runs() -> Iterator[Finding]:
    found = runs.all_runs()
    size = sum(file.stat().st_size for run in found for file in run.folder.rglob("*") if file.is_file())
    states: dict[str, int] = {}
    broken = []
    for run in found:
        try:
            state = run.status().state
        except (UserError, OSError):
            broken.append(run.folder.name)
            continue
        states[state] = states.get(state, 0) + 1
    told = ", ".join(f"{n} {state}" for state, n in sorted(states.items())) or "none yet"
    wrong = f"{len(broken)} cannot be read ({', '.join(broken[:3])}): delete what is damaged." if broken else ""
    yield Finding("Runs", f"{told}; {size_in_words(size)}" if found else told, wrong)


def _app() -> Iterator[Finding]:
    lacks = []
    for package, files in SCRIPTS.items():
        spec = importlib.util.find_spec(package)
        places = list(spec.submodule_search_locations or ()) if spec is not None else []
        lacks += [f"{package}/{file}" for file in files if not any((Path(place) / file).exists() for place in places)]
    wrong = f"Missing: {', '.join(lacks)}. Install CellStream again, as its README says." if lacks else ""
    n = sum(map(len, SCRIPTS.values()))
    yield Finding("The app's pages", f"{n - len(lacks)} of {n} files that they need are there", wrong)


def _port() -> Iterator[Finding]:
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", 5006)) == 0
    yield Finding("Port 5006", "in use; 'cellstream app' takes the next free one" if taken else "free")


def _variables() -> Iterator[Finding]:
    names = sorted(name for name in os.environ if name.startswith("CELLSTREAM_"))
    told = ", ".join(f"{name}={os.environ[name]}" for name in names)
    yield Finding("Variables", told or "none of CellStream's is set")


def _clock() -> Iterator[Finding]:
    now = time.time()
    with tempfile.NamedTemporaryFile() as file:
        off = abs(os.stat(file.name).st_mtime - now)
    wrong = f"Files are dated {off:.0f} s beside it: set the clock of the machine or of its disk." if off > 60 else ""
    yield Finding("Clock", time.strftime("%Y-%m-%d %H:%M %Z"), wrong)


PARTS = (_versions, _processor, _gpu, _memory, _places, _kept_runs, _app, _port, _variables, _clock)

"""What a bundle says of its run in words, for people who open it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cellstream import __version__, datasets, script, words
from cellstream.account import Account
from cellstream.bundle.archive import SUFFIX
from cellstream.bundle.manifest import LONGEST, DataFile
from cellstream.errors import UserError

READ_ME = """\
{title}
{rule}

A bundle of CellStream, written {made} by version {version}: {name}.
{cells}

To look at it:        cellstream app FILE{suffix}
                      or drop the file on the window of the app
To get at the files:  cellstream bundle FILE{suffix} --unpack DIR
                      DIR is then the folder of the run, for 'cellstream describe DIR' and the like

manifest.json lists the files with their SHA-256. {data}
"""


def said_of(of: Account, folder: Path) -> dict[str, str]:
    """Texts about the result, as far as there is something to say."""
    made = {}
    writers = {
        "methods.txt": lambda: words.methods_paragraph(of) + "\n",
        "references.bib": lambda: words.bibtex(of),
        # the script is read in the folder of a run, which is elsewhere by then
        "again.py": lambda: script.python_script(of).replace(repr(str(folder)), repr("..")),
    }
    for name, write in writers.items():
        try:
            made[name] = write()
        except UserError:
            continue
    return made


def summary_of(of: Account) -> dict[str, Any]:
    """The run in a few values."""
    s = of.snapshots
    return dict(
        method=of.method,
        preset=str(of.recipe.get("preset") or ""),
        cells=len(s.index),
        features=int(s.x.shape[1]),
        time_points=list(s.labels),
        unit=s.unit,
        dimensions=of.config.networks.latent_dim,
        seed=of.config.compute.seed,
        stopped=of.stopped,
    )


def read_me(of: Account, moment: str, about: DataFile | None) -> str:
    """README.txt; ``moment`` is when it is written."""
    s = of.snapshots
    name = one_line(str(of.recipe.get("name", "")))
    title = f"CellStream: {name}"
    data = "The file with the cells is not known."
    if about is not None and about.held:
        data = f"The file with the cells is inside, as {about.held}."
    elif about is not None:
        data = (
            f"The cells came from '{about.name}', which is not inside: put it beside this file before you open it, and "
            "labels and genes are shown as well."
        )
        if about.name in datasets.DATASETS:
            data = f"The cells are those of the data set '{about.name}', which CellStream knows."
    cells = f"{len(s.index):,} cells at {len(s.times)} time points, by {of.method}."
    return READ_ME.format(
        title=title, rule="=" * len(title), made=moment, version=__version__, name=name, cells=cells, suffix=SUFFIX,
        data=data,
    )  # fmt: skip


def one_line(text: str) -> str:
    """A name as a printable line that is not endless."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:LONGEST]

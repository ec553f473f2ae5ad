"""The code of a result: a Python script, and a command, that make it again.

On the machine that made the run both come out at its weights, bit for bit. Names out of files are only ever Python
literals, or words that the shell does not read.
"""

from __future__ import annotations

import csv
import io
import math
import os
import pprint
import re
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from cellstream.account import Account
from cellstream.config import Config, Preprocess
from cellstream.errors import UserError
from cellstream.fixes import NORMALISE, ORDER
from cellstream.presets import PRESETS, preset
from cellstream.rivals import EMBEDDING
from cellstream.stream import METHOD
from cellstream.time_labels import read_time_map

PRESET = "best"
"""The command line's own, where none is named."""
OPTIONS = ("seed", "device", "devices", "ensemble")
"""Settings that have an option of their own."""
STOPPED = "The run was stopped before its end, and this is not: it trains to the end, and comes out otherwise."
OWN = ("made", "versions", "takes_turns", "out", "unit", "title")
"""What a recipe says of a run and not of how it is made."""


# --- in Python --------------------------------------------------------------------------------------------------------


def python_script(account: Account, out: str | None = None) -> str:
    """A script that reads the cells, prepares and trains as the run did, and writes the result to ``out``.

    It takes another file, and another place for the result, as its arguments. Where the cells cannot be prepared from
    a file again, it takes them from the run's folder and leaves another such folder; where no file is known it asks
    for one. Its first lines say so.

    Raises:
        UserError: of another method's result neither the run's folder nor all that it was fitted to is there.
    """
    out = out or f"{_stem(account)}-reproduced{'' if _unreadable(account) else '.h5ad'}"
    return _from_folder(account, out) if _unreadable(account) else _from_file(account, out)


def _unreadable(account: Account) -> str:
    """Why the cells of a run cannot be prepared from their file, as a sentence; nothing where they can."""
    recipe, folder = account.recipe, account.folder
    why = ""
    if not recipe.get("time_key"):
        why = "The run does not say how its cells were read from a file"
    elif recipe.get("some_cells"):
        why = "The run is of some cells of its file only, which were drawn"
    elif account.method != METHOD and _embedded(account):
        why = "The embedding that the method was fitted on is not in the file"
    if why and folder is None:
        raise UserError(f"{why}: the result cannot be made again from its file alone, so name the run's folder.")
    return why


def _embedded(account: Account) -> bool:
    """Whether dynamics were fitted on an embedding that was given."""
    if account.folder is not None:
        return (account.folder / EMBEDDING).exists()
    return bool(account.recipe.get("embedding")) and account.method != "TIGON + PCA"


_FILE_MAIN = """

def main() -> int:
    source = sys.argv[1] if len(sys.argv) > 1 else SOURCE
    if source is None:
        raise UserError("Expected the file with the cells as the first argument.")
    out = new_file(sys.argv[2] if len(sys.argv) > 2 else OUT, overwrite=False)
    path, dataset = located(source)
    adata = open_file(path).adata
    if CELLS not in ("", fingerprint(adata.obs_names)):
        raise UserError(f"The cells in {path}, or their order, are not those of the run: name the file that it read.")
    snapshots = dataclasses.replace(from_anndata(adata, **READING), unit=UNIT)
    if snapshots.digest != VALUES:
        say("What is read from the file is not, to the last bit, what the run was trained on: the result will differ.")
    config = Config.from_dict(CONFIG)
    require_devices_here(config)
    require_writable(adata, out, READING["fixes"])
    recipe = {**READING, "preprocess": dataclasses.asdict(READING["preprocess"])}
    recipe |= dict(name=NAME, source=dataset or str(path), preset=PRESET, out=str(out))
    folder = Path(tempfile.mkdtemp(prefix="cellstream-"))
    run = @CREATE@
    return report(train(run, out, adata, snapshots, temporary=True), asked_json=False)
"""

_FOLDER_MAIN = """

def main() -> int:
    given = Path(sys.argv[1] if len(sys.argv) > 1 else FOLDER)
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else OUT)
    snapshots = Snapshots.load(given / "data.npz")
    if snapshots.digest != VALUES:
        say("The cells in the folder are not, to the last bit, those of the run: the result will differ.")
    config = Config.from_dict(CONFIG)
    require_devices_here(config)
    recipe = RECIPE
    run = @CREATE@
    return report(train(run, None, None, snapshots), asked_json=False)
"""

_END = """

if __name__ == "__main__":
    ready()
    try:
        code = main()
    except UserError as error:
        say(str(error))
        code = 2
    sys.exit(code)
"""


def _head(account: Account, first: str, asks: str) -> str:
    """The comment above: what it is first, in words that no file has a say in."""
    made, stopped = account.recipe.get("made"), account.trained and account.stopped
    kept = account.recipe.get("versions")
    by = f", with {', '.join(f'{name} {v}' for name, v in kept.items())}" if isinstance(kept, Mapping) else ""
    lines = [
        "# -*- coding: utf-8 -*-",
        f"# {first}",
        *([f"# {STOPPED}"] if stopped else []),
        f"# python SCRIPT {asks}. On the machine of the run the weights come out the same, bit for bit.",
        f"# The run: {_literal(str(account.recipe.get('name', '')))}{f', made {_literal(made)}' if made else ''}.",
        *([f"# Made{_printable(by)}."] if by else []),
    ]
    return "\n".join(lines) + "\n"


def _from_file(account: Account, out: str) -> str:
    recipe, source = account.recipe, account.recipe.get("source")
    first = "This script makes a run of CellStream again: it reads the file, prepares the cells, trains, and writes."
    asks = "[FILE] [RESULT.h5ad]"
    if not source:
        first = "The run does not say from which file its cells came: this script takes the file as its first argument."
        asks = "FILE [RESULT.h5ad]"
    rival = account.method != METHOD
    quick = bool(recipe.get("quick"))
    create = (
        f"rivals.create(folder, snapshots, METHOD, recipe, quick={quick})"
        if rival
        else "Run.create(folder, snapshots, config, recipe)"
    )
    prepared = recipe.get("preprocess")
    preprocess = Preprocess(**prepared) if prepared else account.config.preprocess
    reading = [
        f"time_key={_literal(recipe['time_key'])}",
        f"input={_literal(recipe.get('input', 'X'))}",
        f"time_map={_literal(recipe.get('time_map'))}",
        f"real_times={_literal(bool(recipe.get('real_times', False)))}",
        f"masses={_literal(recipe.get('masses'))}",
        f"preprocess={preprocess!r}",
        f"fixes={_literal(tuple(recipe.get('fixes') or ()))}",
    ]
    return "".join(
        [
            _head(account, first, asks),
            "import dataclasses\nimport sys\nimport tempfile\nfrom pathlib import Path\n\n",
            "from cellstream import rivals\n" if rival else "",
            "from cellstream.cli import report\n",
            "from cellstream.config import Config, Preprocess\n",
            "from cellstream.errors import UserError\n",
            "from cellstream.files import new_file\n",
            "from cellstream.fitting import located, require_writable, train\n",
            "from cellstream.readers import open_file\n",
            f"from cellstream.runs import {'' if rival else 'Run, '}require_devices_here\n",
            "from cellstream.snapshots import fingerprint, from_anndata\n",
            "from cellstream.terminal import ready, say\n\n",
            f"SOURCE = {_literal(source or None)}\n",
            f"OUT = {_literal(out)}\n",
            f"NAME = {_literal(str(recipe.get('name', '')))}\n",
            f"PRESET = {_literal(str(recipe.get('preset') or ''))}\n",
            f"METHOD = {_literal(account.method)}\n" if rival else "",
            f"CELLS = {_literal(account.snapshots.fingerprint)}  # a word for the cells' names\n",
            f"VALUES = {_literal(account.snapshots.digest)}  # and one for all that training reads\n",
            f"UNIT = {_literal(account.snapshots.unit)}\n",
            "READING = dict(\n",
            *(f"    {line},\n" for line in reading),
            ")\n",
            _settings(account.config),
            _FILE_MAIN.replace("@CREATE@", create),
            _END,
        ]
    )


def _from_folder(account: Account, out: str) -> str:
    why = _unreadable(account)
    first = f"{why}, so this script takes the prepared cells from the run's folder and leaves another such folder."
    recipe = {key: value for key, value in account.recipe.items() if key not in (*OWN, "method", "quick")}
    rival = account.method != METHOD
    embedding = f'np.load(given / "{EMBEDDING}", allow_pickle=False)' if _embedded(account) else "None"
    quick = bool(account.recipe.get("quick"))
    create = (
        f"rivals.create(folder, snapshots, METHOD, recipe, {embedding}, quick={quick})"
        if rival
        else "Run.create(folder, snapshots, config, recipe)"
    )
    return "".join(
        [
            _head(account, first, "[RUN_FOLDER] [NEW_FOLDER]"),
            "import sys\nfrom pathlib import Path\n\n",
            "import numpy as np\n\nfrom cellstream import rivals\n" if rival else "",
            "from cellstream.cli import report\n",
            "from cellstream.config import Config\n",
            "from cellstream.errors import UserError\n",
            "from cellstream.fitting import train\n",
            f"from cellstream.runs import {'' if rival else 'Run, '}require_devices_here\n",
            "from cellstream.snapshots import Snapshots\n",
            "from cellstream.terminal import ready, say\n\n",
            f"FOLDER = {_literal(str(account.folder))}\n",
            f"OUT = {_literal(out)}\n",
            f"METHOD = {_literal(account.method)}\n" if rival else "",
            f"VALUES = {_literal(account.snapshots.digest)}  # a word for all that training reads\n",
            f"RECIPE = {_literal(recipe)}\n",
            _settings(account.config),
            _FOLDER_MAIN.replace("@CREATE@", create),
            _END,
        ]
    )


def _settings(config: Config) -> str:
    """All of them, so that a later version with other defaults trains alike."""
    return f"CONFIG = {pprint.pformat(config.to_dict(), indent=1, width=100, sort_dicts=False)}\n"


def _literal(value: Any) -> str:
    """A Python expression, in one line of printable letters, that gives the value back."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(part)}' for key, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, tuple):
        return f"({''.join(f'{_literal(part)}, ' for part in value).rstrip()})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)


# --- in a shell -------------------------------------------------------------------------------------------------------


def command_line(account: Account, out: str | None = None) -> str:
    """Lines for a POSIX shell (bash where a name cannot be printed): ``cellstream fit`` with the options that differ
    from their defaults, and before it what it needs in a file. Where that command has no option for something, the
    Python script itself.

    Raises:
        UserError: as :func:`python_script`.
    """
    if why := _beyond(account):
        return _script_in_shell(account, out, why)
    recipe, out = account.recipe, out or f"{_stem(account)}-reproduced.h5ad"
    words = ["cellstream", "fit"]
    lines = [f"# {STOPPED}"] if account.trained and account.stopped else []
    source = recipe.get("source")
    if not source:
        lines.append("# The run does not say from which file its cells came: name the file as the first argument.")
    words.append(_quoted(str(source)) if source else '"${1:?name the file with the cells}"')
    words += _option("out", out) + _option("time-key", str(recipe["time_key"]))
    if (chosen := recipe.get("input", "X")) != "X":
        words += _option("input", chosen)
    asked = tuple(recipe.get("fixes") or ())
    if recipe.get("time_map") is not None and ORDER not in asked:
        lines += ["times=$(mktemp)", _written(_table(recipe["time_map"]), '"$times"')]
        words += ["--time-map", '"$times"']
        if account.snapshots.unit:
            lines.append("# The unit of time was given by hand, for which there is no option; it changes names alone.")
    if recipe.get("real_times"):
        words.append("--real-times")
    if recipe.get("masses") is not None:
        words += _option("masses", ",".join(repr(float(mass)) for mass in recipe["masses"]))
    for name in asked:
        words += _option("fix", name)
    words += _settings_as_options(account.config, str(recipe.get("preset") or ""), asked)
    return "\n".join([*lines, " ".join(words)]) + "\n"


def _settings_as_options(config: Config, name: str, asked: tuple[str, ...]) -> list[str]:
    name = name if name in PRESETS else min(PRESETS, key=lambda name: len(_differing(config, preset(name))))
    words = [] if name == PRESET else _option("preset", name)
    for key, value in _differing(config, preset(name)).items():
        if key in OPTIONS:
            words += _option(key, str(value))
        elif not (key == "normalise" and NORMALISE in asked):
            words += _option("set", f"{key}={value!r}" if isinstance(value, float) else f"{key}={value}")
    return words


def _differing(config: Config, like: Config) -> dict[str, Any]:
    groups = [(getattr(config, section.name), getattr(like, section.name)) for section in fields(config)]
    return {
        item: value for one, other in groups for item, value in asdict(one).items() if value != getattr(other, item)
    }


def _beyond(account: Account) -> str:
    """What the command ``fit`` has no option for, as the end of a sentence; nothing where it can do all."""
    recipe = account.recipe
    if account.method != METHOD:
        return "other methods than CellStream"
    if _unreadable(account):
        return "cells that were prepared before"
    given = recipe.get("time_map")
    if given is not None and ORDER not in (recipe.get("fixes") or ()) and not _tabled(given):
        return "labels of time points that no line of a table can hold"
    prepared = recipe.get("preprocess")
    if prepared and Preprocess(**prepared) != account.config.preprocess:
        return "cells that were prepared otherwise than the settings say"
    return ""


def _table(time_map: Mapping[Any, float]) -> str:
    """The CSV file that :func:`cellstream.times.read_time_map` reads, with a head by which it knows the comma."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("label", "time"))
    rows.writerows((label, repr(float(value))) for label, value in time_map.items())
    return text.getvalue()


def _tabled(time_map: Mapping[Any, float]) -> bool:
    """Whether the table is read back as what it was made from."""
    text = _table(time_map)
    if not _shown(text.replace("\n", "")):
        return False
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "times.csv"
        path.write_text(text, encoding="utf-8")
        try:
            back = read_time_map(path)
        except UserError:
            return False
    meant = {str(label): float(value) for label, value in time_map.items()}
    return {k: repr(v) for k, v in back.items()} == {k: repr(v) for k, v in meant.items()}


def _script_in_shell(account: Account, out: str | None, why: str) -> str:
    """The Python script, given to Python by the shell."""
    file = account.recipe.get("source") or _unreadable(account)
    argument = "" if file else ' "${1:?name the file with the cells}"'
    text = python_script(account, out)
    said = f"# The command fit has no option for {why}: this runs a Python script.\n"
    return said + _here(f"python -{argument}", text)


def _written(text: str, place: str) -> str:
    return _here(f"cat > {place}", text).rstrip("\n")


def _here(command: str, text: str) -> str:
    """A command that reads the text, of which the shell reads nothing."""
    end = "END"
    while end in text.splitlines():
        end += "_"
    return f"{command} <<'{end}'\n{text}{end}\n"


def _option(name: str, value: str) -> list[str]:
    """A value that looks like an option has to be of one word with its name."""
    return [_quoted(f"--{name}={value}")] if value.startswith("-") else [f"--{name}", _quoted(value)]


def _quoted(word: str) -> str:
    """A word that the shell takes as it is; in bash's own way where it cannot be printed."""
    if _shown(word):
        return shlex.quote(word)
    return (
        "$'"
        + "".join(
            f"\\x{byte:02x}" if byte < 32 or byte > 126 or byte in b"'\\" else chr(byte) for byte in os.fsencode(word)
        )
        + "'"
    )


def _shown(text: str) -> bool:
    return text.isprintable()


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _stem(account: Account) -> str:
    """Of the names of files that are written: the data's, in letters that need no quotes."""
    named = Path(str(account.recipe.get("source") or account.recipe.get("name") or "cells")).name
    named = re.sub(r"\.(h5ad|zarr|loom|h5|mtx|csv|tsv|txt)(\.gz|\.zip)?$", "", named)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", named).strip("-.") or "cells"

"""What the command line says: sentences on stderr; tables, or one line of JSON, on stdout."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO


def say(sentence: str, out: TextIO | None = None) -> None:
    """A line on ``out`` or stderr. Work does not end because nobody listens: a closed pipe is passed over."""
    out = out or sys.stderr
    try:
        out.write(f"{sentence}\n")
        out.flush()
    except OSError:
        hush(out)


def write(text: str) -> None:
    sys.stdout.write(text)


def ready() -> None:
    """Before the first word: names of files and symbols can be said in any encoding, and to nobody at all."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell: >&-
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def hush(stream: TextIO) -> None:
    """From now on to nobody: what is still to be written would otherwise fail once more when the program ends."""
    with suppress(OSError, ValueError):
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, stream.fileno())
        os.close(nobody)


def as_json(value: Any) -> str:
    """One line of JSON; what is not a number becomes null, for which JSON has a word."""
    return json.dumps(_strict(value), ensure_ascii=False, allow_nan=False) + "\n"


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table_of(metrics: dict[str, Any]) -> str:
    """The metrics for a person, each beside what it is to be read with."""
    m = metrics
    seen = f", of {m['r2_cells']:,} cells that training has not seen" if m.get("r2_unseen") else ""
    pca = f", plain PCA {m['tc_pca']:.3f}" if "tc_pca" in m else ""  # a run of an earlier version has none
    rows = [
        ("VC", f"{m['vc']:.3f}", f"velocity consistency (in the paper's form {m['vc_paper']:.3f})"),
        ("TC", f"{m['tc']:.3f}", f"time consistency (in the paper's form {m['tc_paper']:.3f}{pca})"),
        ("trust", f"{m['trust']:.3f}", f"neighbours kept within time points (plain PCA {m['trust_pca']:.3f})"),
        ("direction", f"{m['direction']:.3f}", "cosine of velocity and optimal coupling"),
        ("R²", f"{m['r2']:.3f}", f"features that the decoder returns{seen}"),
        *([("VA", f"{m['va']:.3f}", "distance correlation with the true velocity")] if "va" in m else []),
        *([("branches", f"{m['branch_accuracy']:.3f}", "lineages told apart")] if "branch_accuracy" in m else []),
    ]
    match: list[tuple[str, ...]] = [("time point", "W2", "noise floor", "nothing moves", "mass", "observed")]
    for label, at in m["match"].items():
        mass = m["mass"][label]
        values = (at["w2"], at["floor"], at["stays"], mass["predicted"], mass["observed"])
        match.append((label, *(f"{value:.3f}" for value in values)))
    return columns(rows) + "\n" + columns(match) + "\n" + _arrivals(m.get("arrivals") or {})


def _arrivals(arrivals: dict[str, Any]) -> str:
    """Where lineages were followed: which share of the cells goes where."""
    if not arrivals:
        return ""
    head = (f"lineage at {arrivals['to']}", f"share arriving from {arrivals['from']}", "observed")
    rows = [(name, f"{s['predicted']:.3f}", f"{s['observed']:.3f}") for name, s in arrivals["lineages"].items()]
    return columns([head, *rows]) + "\n"


def growth_of(unit: str) -> str:
    """What the growth rates in a result are, where rates are per ``unit``; the app shows doublings."""
    return (
        f"obs['cellstream_growth_rate'] holds natural logarithms per {unit}: divide by ln 2 = {math.log(2):.3f} "
        "for doublings.\n"
    )


def columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as lines with aligned columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "".join("  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)

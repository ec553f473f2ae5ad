"""What the command line says: sentences on stderr; tables, or one line of JSON, on stdout."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

MOST_LINEAGES = 6
"""Lineages that have a column each."""
LONELY = 0.1
"""Share of cells without neighbours from which it is told."""
W2_UNIT = "W2 and its yardsticks: 1 is the longer side of the embedding's bounding box.\n"


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
    told_apart = f"lineages told apart{_beside(m, 'branch_accuracy')}"
    rows = [
        ("VC", f"{m['vc']:.3f}", f"velocity consistency (in the paper's form {m['vc_paper']:.3f}){_of_those(m)}"),
        ("TC", f"{m['tc']:.3f}", f"time consistency (in the paper's form {m['tc_paper']:.3f}{_beside(m, 'tc', ', ')})"),
        ("trust", f"{m['trust']:.3f}", f"neighbours kept within time points{_beside(m, 'trust')}"),
        ("direction", f"{m['direction']:.3f}", f"cosine of velocity and optimal coupling{_of_constant(m)}"),
        ("R²", f"{m['r2']:.3f}", f"features that the decoder returns{_beside(m, 'r2')}{seen}"),
        *_genes(m),
        *([("VA", f"{m['va']:.3f}", "distance correlation with the true velocity")] if "va" in m else []),
        *([("branches", f"{m['branch_accuracy']:.3f}", told_apart)] if "branch_accuracy" in m else []),
    ]
    match: list[tuple[str, ...]] = [("time point", "W2", "noise floor", "nothing moves", "mass", "observed")]
    for label, at in m["match"].items():
        mass = m["mass"][label]
        values = (at["w2"], at["floor"], at["stays"], mass["predicted"], mass["observed"])
        match.append((label, *(f"{value:.3f}" for value in values)))
    parts = [columns(rows), columns(match) + W2_UNIT, _arrivals(m), _fidelity(m), _ensemble(m)]
    return "\n".join(part for part in parts if part)


def _arrivals(m: dict[str, Any]) -> str:
    """Where lineages were followed: which share of the cells goes where."""
    arrivals = m.get("arrivals")
    if not arrivals:
        return ""
    begin, end = arrivals["from"], arrivals["to"]
    head: tuple[str, ...] = (f"lineage at {end}", f"share arriving from {begin}", "observed")
    rows: list[tuple[str, ...]] = [
        (name, f"{s['predicted']:.3f}", f"{s['observed']:.3f}") for name, s in arrivals["lineages"].items()
    ]
    shares = [s.get("start", math.nan) for s in arrivals["lineages"].values()]
    if not any(map(math.isnan, shares)):
        # what would arrive if all stayed in their lineage and none grew
        head = (*head, f"share at {begin}")
        rows = [(*row, f"{share:.3f}") for row, share in zip(rows, shares, strict=True)]
    return columns([head, *rows])


def _fidelity(m: dict[str, Any]) -> str:
    """Where cells have a lineage before the last time point: how many of them arrive in it, and what that is worth."""
    if "fidelity" not in m:
        return ""
    if not m["fidelity"]:
        return (
            "No cell before the last time point has one of its lineages: whether single cells reach the right one "
            "cannot be told here, only whether as many arrive in each.\n"
        )
    names = sorted({name for at in m["fidelity"].values() for name in at.get("lineages", {})})
    more = f"There are {len(names)} lineages: --json tells the share of each.\n" if len(names) > MOST_LINEAGES else ""
    names = [] if more else names
    head = (
        "time point",
        "cells with a lineage",
        "share arriving in it",
        "by chance",
        *(f"of those of {name}" for name in names),
    )
    rows = []
    for label, at in m["fidelity"].items():
        own = (_share(at.get("lineages", {}).get(name)) for name in names)
        rows.append((label, f"{at['of']:,.0f}", f"{at['kept']:.3f}", _share(at.get("chance")), *own))
    table = columns([head, *rows])
    return (
        f"{table}{more}These cells have a lineage already, so they are the easy ones: before lineages are apart, "
        "neither the fate of a cell nor its growth can be believed.\n"
    )


def _ensemble(m: dict[str, Any]) -> str:
    """Where an ensemble was trained: how far its directions scatter, and what that says."""
    if not m.get("ensemble"):
        return ""
    from cellstream.ensemble import AGREEMENT, SCATTERED  # whose torch the command line's help does not wait for

    at = m["ensemble"]
    growth = ""
    if at.get("growth") is not None:  # unknown of a run of an earlier version
        growth = (
            f" Their growth rates of one cell have a standard deviation of {at['growth']:.3f}, the cells of one time "
            f"point one of {at['growth_cells']:.3f} (root mean squares)."
        )
    return (
        f"The directions of {at['models']} models scatter by {at['median']:.0f}° (median), by more than "
        f"{SCATTERED:.0f}° at {at['scattered']:.0%} of the cells.{growth} {AGREEMENT}\n"
    )


def _share(value: float | None) -> str:
    """A share, where it is known: a run of an earlier version does not tell all."""
    return "–" if value is None else f"{value:.3f}"


def _of_constant(m: dict[str, Any]) -> str:
    """The best that one direction for all cells can do; unknown of a run of an earlier version."""
    value = m.get("direction_constant")
    if value is None:
        return ""
    better = round(value, 3) > round(m["direction"], 3)
    return f" (a constant field {value:.3f}{', which does better' if better else ''})"


def _beside(m: dict[str, Any], key: str, before: str = "") -> str:
    """The same of plain PCA; nothing where it is not known, as of a run of an earlier version."""
    value = m.get(f"{key}_pca")
    if value is None or not math.isfinite(value):
        return ""
    return f"{before}plain PCA {value:.3f}" if before else f" (plain PCA {value:.3f})"


def _of_those(m: dict[str, Any]) -> str:
    """On how many cells VC and TC are told, where many have no other cell in their ball, as in many dimensions."""
    few = m.get("lonely", 0) > LONELY
    return f"; of the {1 - m['lonely']:.0%} of the cells that have neighbours, as is TC" if few else ""


def _genes(m: dict[str, Any]) -> list[tuple[str, ...]]:
    """What comes back of genes, where the features are components of them."""
    if "r2_genes" not in m:
        return []
    left = f"plain PCA {m['r2_genes_pca']:.3f}, all components {m['r2_genes_features']:.3f}"
    below = m.get("r2_genes_below", 0)
    worse = f"; {below:.0%} of the genes below 0, worse than by their mean" if below >= 0.005 else ""
    return [("R² genes", f"{m['r2_genes']:.3f}", f"genes that the decoder returns ({left}){worse}")]


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

"""A result in a few lines: as text, as HTML in a notebook, and its metrics as a table with what each is read with."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from cellstream.time_labels import counted, number_label

if TYPE_CHECKING:
    from cellstream.stream import CellStream

VERBS = "encode, decode, velocity, growth, push, pull, annotate, save, metrics, losses, summary"


def text(result: CellStream) -> str:
    """Lines for a terminal, and for whoever prints a result."""
    name, *rows = _rows(result)
    wide = max(len(key) for key, _ in rows)
    return "\n".join([": ".join(name), *(f"  {key:{wide}}  {value}" for key, value in rows)])


def as_html(result: CellStream) -> str:
    """The same for a notebook, in its own colours; names from files are escaped."""
    name, *rows = _rows(result)
    # themes of notebooks that dress tables are asked to leave this one alone
    cell = "text-align:left;padding:1px 14px 1px 0;border:none;background:none;vertical-align:top"
    body = "".join(
        f"<tr style='background:none'><td style='{cell};opacity:.65;white-space:nowrap'>{html.escape(key)}</td>"
        f"<td style='{cell}'>{html.escape(value)}</td></tr>"
        for key, value in rows
    )
    head = f"<b>{html.escape(name[0])}</b> {html.escape(name[1])}"
    return f"<div>{head}<table style='margin:4px 0;border:none;border-collapse:collapse'>{body}</table></div>"


def summary(result: CellStream) -> pd.DataFrame:
    """The metrics as a table: value, what it is read beside, and what it says. See :mod:`cellstream.evaluation`.

    Empty where nothing was measured, as of a training that was stopped.
    """
    rows = list(_measured(dict(result.metrics)))
    columns = ["value", "beside", "yardstick", "says"]
    return pd.DataFrame([row[1:] for row in rows], pd.Index([row[0] for row in rows], name="metric"), columns)


def _rows(result: CellStream) -> Iterator[tuple[str, str]]:
    """The name with what it is; then what is said of it."""
    config, clock = result.config, result.clock
    d, p = result.latent_dim, result.autoencoder.shift.shape[0] - 1
    dims = f"{counted(p, 'feature')} in {counted(d, 'dimension')}"
    record = result.record
    cells = f"{len(record.snapshots.index):,} cells, " if record is not None else ""
    yield result.method, f"{cells}{dims}"
    unit = f" {clock.unit}" if clock.unit else ""
    span = f"{number_label(clock.times[0])} to {number_label(clock.times[-1])}{unit}"
    labels = ", ".join(clock.labels) if len(clock.labels) <= 12 else f"{clock.labels[0]} … {clock.labels[-1]}"
    yield "time points", f"{len(clock.times)}, from {span} ({labels})"
    yield "rates per", clock.rate_unit
    if result.members:
        yield "ensemble", f"{1 + len(result.members)} models of velocity and growth"
    if record is None:
        yield "known", "the model alone; cs.load of a file with cells gives the rest"
        return
    preset, seed = str(record.recipe.get("preset") or ""), config.compute.seed
    took = f", {record.seconds:.0f} s" if record.seconds else ""
    ended = "" if record.state == "finished" else f"; {record.state} before its end"
    yield "trained", f"{f'preset {preset}, ' if preset else ''}seed {seed}{took}{ended}"
    m = record.metrics
    if m.get("match") and m.get("mass") and {"trust", "trust_pca", "r2", "r2_pca"} <= set(m):
        worst, at = max((at["w2"] / max(at["floor"], 1e-12), label) for label, at in m["match"].items())
        yield "match", f"{worst:.1f} × the noise floor at the worst time point ({at})"
        yield "trust", f"{m['trust']:.2f} of neighbours kept within time points (plain PCA {m['trust_pca']:.2f})"
        yield "R²", f"{m['r2']:.2f} of the features returned (plain PCA {m['r2_pca']:.2f})"
        if result.config.networks.growth:
            off = max(abs(at["predicted"] / at["observed"] - 1) for at in m["mass"].values())
            yield "mass", f"{off:.1%} off the observed size of the population at worst"
    yield "can", VERBS


def _measured(m: dict[str, Any]) -> Iterator[tuple[str, float, float | None, str, str]]:
    """Name, value, yardstick, what the yardstick is, and what the value says."""
    if not m:
        return
    yield "VC", m["vc"], None, "any constant field has 1", "cells that lie together move alike"
    yield "TC", m["tc"], m["tc_pca"], "plain PCA", "neighbours in the map are of the same time point"
    yield "trust", m["trust"], m["trust_pca"], "plain PCA", "neighbours kept within time points"
    constant = "best constant field"
    yield "direction", m["direction"], m["direction_constant"], constant, "cosine of velocity and optimal coupling"
    yield "R²", m["r2"], m["r2_pca"], "plain PCA", "features that the decoder returns"
    for label, at in m["match"].items():
        yield f"W2 at {label}", at["w2"], at["floor"], "noise floor", "distance of predicted and observed cells"
    for label, at in m["mass"].items():
        yield f"mass at {label}", at["predicted"], at["observed"], "observed", "size of the population"

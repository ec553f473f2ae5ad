"""What cells can be coloured by, and how: time, growth, speed and their uncertainty from the result; labels and genes
from the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import issparse

from cellstream import by_parts, scverse, times
from cellstream.ensemble import AGREEMENT, SCATTERED
from cellstream.errors import UserError
from cellstream.metrics import labelled
from cellstream.preprocess import filled
from cellstream_app.palette import own_colours
from cellstream_app.plots import Categories, Values
from cellstream_app.results import Result
from cellstream_app.sources import Source
from cellstream_app.style import (
    MISSING,
    VALUE_PALETTE,
    category_colours,
    colour_bar_html,
    growth_colours,
    legend_html,
    time_colours,
)

TIME, GROWTH, SPEED, GENE = "time", "growth", "speed", "gene"
DIRECTION_SPREAD, GROWTH_SPREAD = "direction spread", "growth spread"
NAMES = {
    TIME: "Time",
    GROWTH: "Growth rate",
    SPEED: "Speed",
    DIRECTION_SPREAD: "Uncertainty of direction",
    GROWTH_SPREAD: "Uncertainty of growth",
    GENE: "Gene …",
}
SCATTER = (10.0, 70.0)
"""Degrees between which the colours of a direction's scatter end: less is nothing to warn of, beyond it nothing is left
of a direction."""
DIRECTION_HELP = (
    "By how many degrees the arrows of {n} models, each trained on cells drawn anew, scatter around their mean. Beyond "
    f"about {SCATTERED:.0f}° do not believe an arrow. {AGREEMENT} It is too small where there are no cells."
)
GROWTH_HELP = (
    "By how much the growth rates of {n} models, each trained on cells drawn anew, differ (standard deviation). Where "
    "it is as large as the growth rate itself, cells may as well grow as die."
)
MOST_LABELS = 100
"""A column with more kinds than this is no label."""
ROBUST = 99.0
"""Percentile at which the colours of a gene end, so that one cell does not darken all others."""


@dataclass(frozen=True)
class Colouring:
    """Colours of the cells, the legend that explains them (HTML), and how many cells each name has, where names are
    what is coloured by; ``title`` names the colour where the pointer reads it."""

    colour: Categories | Values
    legend: str
    counts: Mapping[str, int] | None = None
    title: str = ""


def choices(result: Result, source: Source | None) -> dict[str, str]:
    """What can be chosen: shown name -> key. Columns of the file have keys ``obs:NAME``."""
    unsure = (DIRECTION_SPREAD, GROWTH_SPREAD) if result.stream.members else ()
    found = {NAMES[key]: key for key in (TIME, GROWTH, SPEED, *unsure, GENE)}
    if source is not None:
        obs = source.adata.obs
        labels = [str(guess.key) for guess in times.guess_label_keys(obs)]
        above = (scverse.GROWTH, scverse.VELOCITY_UNCERTAINTY, scverse.GROWTH_UNCERTAINTY)  # growth in doublings
        numbers = [str(key) for key in obs.columns if _is_number(obs[key]) and key not in (*labels, *above)]
        own = str(result.run.recipe.get("time_key"))  # offered as time already
        shown = {key: f"{key}, in the file" if key in found else key for key in [*labels, *numbers] if key != own}
        found |= {name: f"obs:{key}" for key, name in shown.items()}
    return found


def label_keys(source: Source | None) -> list[str]:
    """Columns of the file that hold labels, likely ones first."""
    if source is None:
        return []
    obs = source.adata.obs
    return [str(guess.key) for guess in times.guess_label_keys(obs) if not _is_scale(obs[guess.key])]


def genes(result: Result, source: Source | None) -> list[str]:
    """Names that a gene can be chosen from: the file's genes, or what is left of them in the run."""
    if source is not None and source.adata.n_vars and source.adata.X is not None:
        return [str(name) for name in source.adata.var_names]
    return [str(name) for name in result.snapshots.features]


def colouring(result: Result, source: Source | None, key: str, gene: str = "") -> Colouring:
    """The cells of a result, coloured. Raises :class:`UserError` for a column or a gene that is not there."""
    unit = result.stream.clock.rate_unit
    if key == TIME:
        labels = [str(label) for label in result.snapshots.labels]
        counts = dict(zip(labels, result.snapshots.counts.tolist(), strict=True))
        colours = time_colours(len(labels))
        named = dict(zip(labels, colours, strict=True))
        return Colouring(Categories(result.index, labels, colours), legend_html(named, counts), counts)
    if key == GROWTH:
        limit, palette = result.growth_limit, growth_colours()
        bar = colour_bar_html(palette, (-limit, limit), f"doublings per {unit}", "0")
        return Colouring(Values(result.g, palette, (-limit, limit)), bar, title="growth")
    if key == SPEED:
        top = float(np.percentile(result.speed, ROBUST))
        return Colouring(
            Values(result.speed, VALUE_PALETTE, (0.0, top)),
            colour_bar_html(VALUE_PALETTE, (0.0, top), f"embedding units per {unit}"),
            title="speed",
        )
    if key in (DIRECTION_SPREAD, GROWTH_SPREAD):
        return _uncertainty(result, key)
    if key == GENE:
        values = expression(result, source, gene)
        if not np.isfinite(values).any():
            raise UserError(f"No cell has a value of the gene '{gene}': choose another one.")
        limits = gene_limits(values)
        bar = colour_bar_html(VALUE_PALETTE, limits, gene)
        return Colouring(Values(values, VALUE_PALETTE, limits), bar, title=gene)
    return _column(result, source, key.removeprefix("obs:"))


def _uncertainty(result: Result, key: str) -> Colouring:
    n, limit = len(result.stream.members) + 1, result.growth_limit
    if key == DIRECTION_SPREAD:
        values, (least, most) = result.uncertainty.scatter, SCATTER
        title, explained = "scatter of the direction, degrees", DIRECTION_HELP
    else:
        values, least, most = result.uncertainty.growth / np.float32(np.log(2)), limit / 10, limit
        title, explained = f"± doublings per {result.stream.clock.rate_unit}", GROWTH_HELP
    limits = 0.0, float(np.clip(np.percentile(values, ROBUST), least, most))
    bar = colour_bar_html(VALUE_PALETTE, limits, title, explained=explained.format(n=n))
    return Colouring(Values(values, VALUE_PALETTE, limits), bar, title="uncertainty")


def _column(result: Result, source: Source | None, key: str) -> Colouring:
    if source is None or key not in source.adata.obs:
        raise UserError(f"The column '{key}' is not in the file behind this result: choose another colour.")
    column = source.adata.obs[key].iloc[result.rows]
    if _is_scale(column):
        values = column.to_numpy(np.float32)
        low, high = (float(v) for v in np.nanpercentile(values, [1, ROBUST]))
        bar = colour_bar_html(VALUE_PALETTE, (low, high), key)
        return Colouring(Values(values, VALUE_PALETTE, (low, high)), bar, title=key)
    return _labels(source, key, result.rows)


def _labels(source: Source, key: str, rows: np.ndarray | slice) -> Colouring:
    kinds = source.adata.obs[key].astype("category")
    names = [str(name) for name in kinds.cat.categories]
    colours = _colours_of(source, key, kinds)
    codes = kinds.cat.codes.to_numpy()[rows]
    counts = {name: int(n) for name, n in zip(names, np.bincount(codes[codes >= 0], minlength=len(names)), strict=True)}
    counts = {name: n for name, n in counts.items() if n}
    below = tuple(i for i, known in enumerate(labelled(names)) if not known)
    shown = [colours[name] for name in names]
    return Colouring(
        Categories(codes, names, shown, below), legend_html({name: colours[name] for name in counts}, counts), counts
    )


def label_colours(source: Source, key: str) -> dict[str, str]:
    """The colour of each label of a column of the file: the user's own, else the file's, else one of our palette."""
    return _colours_of(source, key, source.adata.obs[key].astype("category"))


def _colours_of(source: Source, key: str, kinds: pd.Series) -> dict[str, str]:
    """:func:`label_colours` of a column that is categorical already: of many cells that takes a while."""
    names = [str(name) for name in kinds.cat.categories]
    given = source.adata.uns.get(f"{key}_colors")
    known = dict(zip(names, labelled(names), strict=True))
    if given is None:  # a word for "not known" takes no colour from the others
        colours = category_colours([name for name in names if known[name]])
    else:
        colours = category_colours(names, given if isinstance(given, Mapping) else list(given))
    own = own_colours(source.key).get(key, {})
    return {name: own.get(name, colours[name] if known[name] else MISSING) for name in names}


def write_colours(source: Source, adata: AnnData) -> None:
    """Put the colours of the columns that the user has painted into ``adata``, a copy, as scanpy keeps them."""
    for key in own_colours(source.key):
        if key in adata.obs:
            adata.uns[f"{key}_colors"] = np.array(list(label_colours(source, key).values()), dtype=object)


def _is_scale(column: pd.Series) -> bool:
    """Whether numbers in a column are sizes, and not names."""
    return _is_number(column) and (pd.api.types.is_float_dtype(column) or column.nunique() > MOST_LABELS)


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def gene_limits(values: np.ndarray) -> tuple[float, float]:
    """Where the colours of a gene end: at zero or its least value, and where nearly all cells lie below."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    return min(float(finite.min()), 0.0), float(np.percentile(finite, ROBUST)) or float(finite.max())


def expression(result: Result, source: Source | None, gene: str) -> np.ndarray:
    """A gene in each cell, (n,); counts are scaled to 10,000 per cell and logged as for training."""
    known = genes(result, source)
    if gene not in known:  # typed, and not chosen from the list
        gene = next((name for name in known if name.casefold() == gene.strip().casefold()), gene)
    if gene not in known:
        raise UserError(f"There is no gene '{gene}': type the beginning of a name and choose from the list.")
    if source is None or source.adata.X is None:
        return result.snapshots.x.numpy()[:, known.index(gene)]
    x, column = source.adata.X, known.index(gene)
    scaled = holds_counts(x)  # what is missing has no share in a cell's total
    parts = by_parts.blocks(x) if by_parts.is_lazy(x) else [x]
    values = np.concatenate([_values(part, column, scaled) for part in parts])
    return values[result.rows].astype(np.float32)


def _values(x: Any, column: int, scaled: bool) -> np.ndarray:
    values = _flat(x[:, column].todense() if issparse(x) else x[:, column])
    return np.log1p(1e4 * values / np.maximum(_flat(filled(x).sum(axis=1)), 1)) if scaled else values


def _flat(column: Any) -> np.ndarray:
    return np.asarray(column, np.float64).ravel()


def holds_counts(x: Any) -> bool:
    """Whether a matrix holds raw counts, as far as its first cells tell."""
    some = next(by_parts.blocks(x[:200]))
    values = some.data if issparse(some) else np.asarray(some)
    values = values[np.isfinite(values)]
    return bool(values.size and (values >= 0).all() and (values == np.rint(values)).all() and values.max() > 1)

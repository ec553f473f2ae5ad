"""What cells can be coloured by, and how: time, growth, speed and their uncertainty from the result; labels and genes
from the file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import issparse

from cellstream import by_parts, scverse, times
from cellstream.colours import (
    MISSING,
    VALUE_PALETTE,
    Categories,
    Values,
    category_colours,
    growth_colours,
    time_colours,
)
from cellstream.ensemble import AGREEMENT, SCATTERED
from cellstream.errors import UserError
from cellstream.metrics import labelled
from cellstream.preprocess import filled
from cellstream.scene import Scene

TIME, GROWTH, SPEED, GENE = "time", "growth", "speed", "gene"
DIRECTION_SPREAD, GROWTH_SPREAD = "direction spread", "growth spread"
NAMES = {
    TIME: "Time",
    GROWTH: "Growth rate",
    SPEED: "Speed",
    DIRECTION_SPREAD: "Uncertainty of direction",
    GROWTH_SPREAD: "Uncertainty of growth",
}
"""What comes from the result, as a person chooses it."""
WORDS = {
    TIME: TIME,
    GROWTH: GROWTH,
    SPEED: SPEED,
    "direction-uncertainty": DIRECTION_SPREAD,
    "growth-uncertainty": GROWTH_SPREAD,
}
"""Colours that come from the result itself, by the words that ask for them."""
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


Own = Mapping[str, Mapping[str, str]]
"""Colours that a user has given, by column and label."""


@dataclass(frozen=True)
class Painted:
    """Cells in colours."""

    colour: Categories | Values
    title: str
    """Of the legend, with the unit."""
    name: str = ""
    """A word for it."""
    counts: Mapping[str, int] | None = None
    """Cells of each name that there is, where names are what is coloured by."""
    explained: str = ""
    """How to read it, where that is not plain."""


def painted(scene: Scene, adata: AnnData | None, key: str, gene: str = "", own: Own | None = None) -> Painted:
    """The cells of a result in colours. Columns of the file have keys ``obs:NAME``.

    Raises:
        UserError: a column or a gene is not there.
    """
    unit = scene.stream.clock.rate_unit
    if key == TIME:
        labels = [str(label) for label in scene.snapshots.labels]
        counts = dict(zip(labels, scene.snapshots.counts.tolist(), strict=True))
        return Painted(Categories(scene.index, labels, time_colours(len(labels))), "time", counts=counts)
    if key == GROWTH:
        limit = scene.growth_limit
        return Painted(Values(scene.g, growth_colours(), (-limit, limit)), f"doublings per {unit}", "growth")
    if key == SPEED:
        limits = 0.0, float(np.percentile(scene.speed, ROBUST))
        return Painted(Values(scene.speed, VALUE_PALETTE, limits), f"embedding units per {unit}", "speed")
    if key in (DIRECTION_SPREAD, GROWTH_SPREAD):
        return _uncertainty(scene, key)
    if key == GENE:
        values = expression(scene, adata, gene)
        if not np.isfinite(values).any():
            raise UserError(f"No cell has a value of the gene '{gene}': choose another one.")
        return Painted(Values(values, VALUE_PALETTE, gene_limits(values)), gene, gene)
    return _column(scene, adata, key.removeprefix("obs:"), own or {})


def _uncertainty(scene: Scene, key: str) -> Painted:
    n, limit = len(scene.stream.members) + 1, scene.growth_limit
    if key == DIRECTION_SPREAD:
        values, (least, most) = scene.uncertainty.scatter, SCATTER
        title, explained = "scatter of the direction, degrees", DIRECTION_HELP
    else:
        values, least, most = scene.uncertainty.growth / np.float32(np.log(2)), limit / 10, limit
        title, explained = f"± doublings per {scene.stream.clock.rate_unit}", GROWTH_HELP
    limits = 0.0, float(np.clip(np.percentile(values, ROBUST), least, most))
    return Painted(Values(values, VALUE_PALETTE, limits), title, "uncertainty", explained=explained.format(n=n))


def _column(scene: Scene, adata: AnnData | None, key: str, own: Own) -> Painted:
    if adata is None or key not in adata.obs:
        raise UserError(f"The column '{key}' is not in the file behind this result: choose another colour.")
    column = adata.obs[key].iloc[scene.rows]
    if is_scale(column):
        values = column.to_numpy(np.float32)
        low, high = (float(v) for v in np.nanpercentile(values, [1, ROBUST]))
        return Painted(Values(values, VALUE_PALETTE, (low, high)), key, key)
    kinds = adata.obs[key].astype("category")
    names = [str(name) for name in kinds.cat.categories]
    colours = colours_of(adata, key, kinds, own)
    codes = kinds.cat.codes.to_numpy()[scene.rows]
    counts = {name: int(n) for name, n in zip(names, np.bincount(codes[codes >= 0], minlength=len(names)), strict=True)}
    counts = {name: n for name, n in counts.items() if n}
    below = tuple(i for i, known in enumerate(labelled(names)) if not known)
    return Painted(Categories(codes, names, [colours[name] for name in names], below), key, counts=counts)


def own_keys(scene: Scene) -> tuple[str, ...]:
    """What the cells of a result can be coloured by without a file: keys of :data:`NAMES`."""
    return (TIME, GROWTH, SPEED, *((DIRECTION_SPREAD, GROWTH_SPREAD) if scene.stream.members else ()))


def columns(obs: pd.DataFrame, time_key: str = "") -> list[str]:
    """Columns of obs that cells can be coloured by: labels, likely ones first, then numbers.

    Left out are the time, which is offered as such, and those that :data:`NAMES` stand for.
    """
    labels = [str(guess.key) for guess in times.guess_label_keys(obs)]
    above = (scverse.GROWTH, scverse.VELOCITY_UNCERTAINTY, scverse.GROWTH_UNCERTAINTY)  # growth in doublings
    numbers = [str(key) for key in obs.columns if is_number(obs[key]) and key not in (*labels, *above)]
    return [key for key in [*labels, *numbers] if key != time_key]


def colours_of(adata: AnnData, key: str, kinds: pd.Series | None = None, own: Own | None = None) -> dict[str, str]:
    """The colour of each label of a column of the file: the user's own, else the file's, else one of our palette.

    ``kinds`` is the column as a categorical, where somebody has it already: of many cells that takes a while.
    """
    kinds = adata.obs[key].astype("category") if kinds is None else kinds
    names = [str(name) for name in kinds.cat.categories]
    given = adata.uns.get(f"{key}_colors")
    known = dict(zip(names, labelled(names), strict=True))
    if given is None:  # a word for "not known" takes no colour from the others
        colours = category_colours([name for name in names if known[name]])
    else:
        colours = category_colours(names, given if isinstance(given, Mapping) else list(given))
    chosen = (own or {}).get(key, {})
    return {name: chosen.get(name, colours[name] if known[name] else MISSING) for name in names}


def is_scale(column: pd.Series) -> bool:
    """Whether numbers in a column are sizes, and not names."""
    return is_number(column) and (pd.api.types.is_float_dtype(column) or column.nunique() > MOST_LABELS)


def is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers; truth values are none."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def gene_names(scene: Scene, adata: AnnData | None) -> list[str]:
    """Names that a gene can be chosen from: the file's genes, or what is left of them in the run."""
    if adata is not None and adata.n_vars and adata.X is not None:
        return [str(name) for name in adata.var_names]
    return [str(name) for name in scene.snapshots.features]


def require_gene(scene: Scene, adata: AnnData | None, gene: str) -> None:
    """Raises :class:`UserError` with the name that was meant, perhaps, where there is no gene of this one."""
    names = gene_names(scene, adata)
    if gene in names:
        return
    close = difflib.get_close_matches(gene, names, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names[:8])}, …."
    raise UserError(f"There is no gene '{gene}' in the file: {hint}")


def gene_limits(values: np.ndarray) -> tuple[float, float]:
    """Where the colours of a gene end: at zero or its least value, and where nearly all cells lie below."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    return min(float(finite.min()), 0.0), float(np.percentile(finite, ROBUST)) or float(finite.max())


def expression(scene: Scene, adata: AnnData | None, gene: str) -> np.ndarray:
    """A gene in each cell, (n,); counts are scaled to 10,000 per cell and logged as for training."""
    known = gene_names(scene, adata)
    if gene not in known:  # typed, and not chosen from the list
        gene = next((name for name in known if name.casefold() == gene.strip().casefold()), gene)
    if gene not in known:
        raise UserError(f"There is no gene '{gene}': type the beginning of a name and choose from the list.")
    if adata is None or adata.X is None:
        return scene.snapshots.x.numpy()[:, known.index(gene)]
    x, column = adata.X, known.index(gene)
    scaled = holds_counts(x)  # what is missing has no share in a cell's total
    parts = by_parts.blocks(x) if by_parts.is_lazy(x) else [x]
    values = np.concatenate([_values(part, column, scaled) for part in parts])
    return values[scene.rows].astype(np.float32)


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

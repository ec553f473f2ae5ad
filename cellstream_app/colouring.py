"""What the screen offers to colour cells by, and the colours with their legends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from anndata import AnnData

from cellstream import painting, times
from cellstream.colours import Categories, Values

# keys of what can be chosen, for those who choose
from cellstream.painting import DIRECTION_SPREAD, GENE, GROWTH, GROWTH_SPREAD, SPEED, TIME, is_scale  # noqa: F401
from cellstream_app.palette import own_colours
from cellstream_app.results import Result
from cellstream_app.sources import Source
from cellstream_app.style import colour_bar_html, legend_html

NAMES = painting.NAMES | {GENE: "Gene …"}


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
    found = {NAMES[key]: key for key in (*painting.own_keys(result), GENE)}
    if source is not None:
        shown = painting.columns(source.adata.obs, str(result.run.recipe.get("time_key")))
        found |= {f"{key}, in the file" if key in found else key: f"obs:{key}" for key in shown}
    return found


def label_keys(source: Source | None) -> list[str]:
    """Columns of the file that hold labels, likely ones first."""
    if source is None:
        return []
    obs = source.adata.obs
    return [str(guess.key) for guess in times.guess_label_keys(obs) if not is_scale(obs[guess.key])]


def genes(result: Result, source: Source | None) -> list[str]:
    """Names that a gene can be chosen from: the file's genes, or what is left of them in the run."""
    return painting.gene_names(result, source.adata if source else None)


def colouring(result: Result, source: Source | None, key: str, gene: str = "") -> Colouring:
    """The cells of a result, coloured. Raises :class:`UserError` for a column or a gene that is not there."""
    own = own_colours(source.key) if source else None
    found = painting.painted(result, source.adata if source else None, key, gene, own)
    if isinstance(found.colour, Values):
        middle = "0" if key == GROWTH else ""
        legend = colour_bar_html(found.colour.palette, found.colour.span(), found.title, middle, found.explained)
        return Colouring(found.colour, legend, title=found.name)
    colours = dict(zip(found.colour.names, found.colour.colours, strict=True))
    return Colouring(
        found.colour, legend_html({name: colours[name] for name in found.counts}, found.counts), found.counts
    )


def label_colours(source: Source, key: str) -> dict[str, str]:
    """The colour of each label of a column of the file: the user's own, else the file's, else one of our palette."""
    return painting.colours_of(source.adata, key, own=own_colours(source.key))


def write_colours(source: Source, adata: AnnData) -> None:
    """Put the colours of the columns that the user has painted into ``adata``, a copy, as scanpy keeps them."""
    for key in own_colours(source.key):
        if key in adata.obs:
            adata.uns[f"{key}_colors"] = np.array(list(label_colours(source, key).values()), dtype=object)


def expression(result: Result, source: Source | None, gene: str) -> np.ndarray:
    """A gene in each cell, (n,); counts are scaled to 10,000 per cell and logged as for training."""
    return painting.expression(result, source.adata if source else None, gene)

"""What the particles can be coloured by: one colour, what they start as, what they become."""

from __future__ import annotations

import numpy as np

from cellstream.colours import MISSING, Categories, colour_array
from cellstream.errors import UserError
from cellstream.kin import around
from cellstream_app.colouring import colouring, label_keys
from cellstream_app.results import Result
from cellstream_app.sources import Source
from cellstream_app.style import legend_html

ONE, START, END, GENE = "one", "start", "end", "gene"


def particle_choices(source: Source | None, gene: str = "") -> dict[str, str]:
    """What can be chosen: shown name -> key."""
    found = {"One colour": ONE}
    for key in label_keys(source):
        found |= {f"{key} at the start": f"{START}:obs:{key}", f"{key} at the end": f"{END}:obs:{key}"}
    if gene:
        found[f"{gene} at the start"] = f"{GENE}:{gene}"
    return found


def particle_key(result: Result, source: Source | None, choice: str) -> str:
    """What the particles' colours mean, as HTML; nothing where they have one alone."""
    kind, _, key = choice.partition(":")
    if kind == ONE:
        return ""
    found = colouring(result, source, GENE if kind == GENE else key, key)
    if not isinstance(found.colour, Categories):
        return found.legend
    named = dict(zip(found.colour.names, found.colour.colours, strict=True))
    return legend_html({name: colour for name, colour in named.items() if name in (found.counts or named)})


def particle_colours(result: Result, source: Source | None, choice: str, one: str) -> np.ndarray:
    """Bytes (particles, 4) for a key of :func:`particle_choices`; ``one`` is the colour where there is only one."""
    kind, _, key = choice.partition(":")
    n = len(result.starts)
    if kind == ONE:
        return np.repeat(colour_array([one]), n, axis=0)
    if kind == GENE:
        found = colouring(result, source, GENE, key).colour
        low, high = found.span()
        value = np.nan_to_num((found.values[result.starts] - low) / (high - low))
        return colour_array(found.palette)[np.round(np.clip(value, 0, 1) * (len(found.palette) - 1)).astype(int)]
    found = colouring(result, source, key).colour
    if not isinstance(found, Categories):
        raise UserError(f"Expected a label to colour the particles by, but '{key}' is none.")
    codes = np.asarray(found.codes)
    if kind == START:
        own = codes[result.starts]
    else:
        tree, there = result.trees[-1]
        own = around(result.flow.z[-1], tree, codes[there])
    return colour_array([*found.colours, MISSING])[own]

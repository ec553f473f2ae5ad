"""A run folder of another method: what :mod:`cellstream.baselines` fits is then kept, shown and found like our own.

``recipe.json`` names the method; ``embedding.npy`` holds the embedding that its dynamics are fitted on, where that is
not the method's own. The process inside is the one of every run (:mod:`cellstream.worker`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from cellstream.baselines import METHODS, tigon
from cellstream.baselines.embeddings import checked
from cellstream.baselines.tigon_dynamics import settings
from cellstream.errors import UserError
from cellstream.events import Progress
from cellstream.files import whole
from cellstream.runs import Run
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream

EMBEDDING = "embedding.npy"
STAGE = "dynamics"
"""The one stage of such a run."""


def create(
    folder: Path,
    snapshots: Snapshots,
    method: str,
    recipe: Mapping[str, Any],
    embedding: Float[np.ndarray, "n d"] | None = None,
    quick: bool = False,
) -> Run:
    """A new run folder in which ``method`` is to be fitted, on an ``embedding`` of the cells where one is given.

    quick: a fit of seconds, which shows that all works and is not to be quoted.

    Raises:
        UserError: the embedding does not fit the cells, or there is no such method.
    """
    if embedding is not None:
        embedding = checked(snapshots, embedding, method)
    elif method not in METHODS:
        raise UserError(f"There is no method '{method}'; there are: {', '.join(METHODS)}.")
    run = Run.create(folder, snapshots, settings(0, quick), {**recipe, "method": method, "quick": quick})
    if embedding is not None:
        with whole(run.folder / EMBEDDING) as path, open(path, "wb") as file:
            np.save(file, embedding, allow_pickle=False)
    return run


def fit(run: Run, snapshots: Snapshots, on_progress: Progress) -> CellStream:
    """Fit what the run's recipe names. Raises :class:`UserError` where the method refuses the cells or diverges."""
    method, quick, seed = str(run.recipe["method"]), bool(run.recipe.get("quick")), run.config.compute.seed
    if (path := run.folder / EMBEDDING).exists():
        return tigon(snapshots, np.load(path, allow_pickle=False), method, seed, quick, on_progress)
    if method not in METHODS:
        raise UserError(f"There is no method '{method}'; there are: {', '.join(METHODS)}.")
    return METHODS[method].fit(snapshots, seed, quick, on_progress=on_progress)

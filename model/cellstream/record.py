"""What is known of a result beside its networks: its cells, how they were read, how training went, what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellstream.snapshots import Snapshots

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, eq=False)
class Record:
    """Where a result came from. A result of :func:`cellstream.fit` or :func:`cellstream.load` carries one along."""

    adata: AnnData
    """The cells as they were given: not a copy, and not changed. What is added to ``adata.obs`` later can be drawn."""
    snapshots: Snapshots
    """What of them was trained on."""
    recipe: Mapping[str, Any]
    """How ``snapshots`` were made of ``adata``: the arguments of :func:`cellstream.snapshots.from_anndata`, the preset,
    when, and with which versions."""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    """See :mod:`cellstream.evaluation`; empty where training was stopped."""
    losses: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Step by step: ``step``, ``stage`` and each loss, NaN where a stage does not have it; empty where unknown."""
    notes: tuple[str, ...] = ()
    """What one should know of the file and of how it was read, a sentence each."""
    state: str = "finished"
    """How training ended: ``"finished"``, or ``"cancelled"`` where it was stopped and its best model kept."""
    seconds: float = 0.0
    """Time spent on training; 0 where unknown."""
    version: str = ""
    """Of CellStream, by which it was trained."""
    path: Path | None = None
    """The file that it was read from."""
    run: Path | None = None
    """The folder of its run, where that was kept."""

"""Where selected cells came from and where they go, as numbers and arrays to draw; it knows no screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cellstream.colours import MISSING, Categories
from cellstream.kin import Kin, kin, kinds, shares
from cellstream.scene import Scene

NONE = "no label"
"""The kin of cells that have none."""


@dataclass(frozen=True, eq=False)
class Ancestry:
    """The kin of selected cells, by label and time point."""

    kin: Kin
    labels: tuple[str, ...]
    """Of the time points."""
    selected: np.ndarray
    """Selected cells at each time point, (T,)."""
    mass: np.ndarray
    """Ancestors or descendants at each time point for each selected cell, (T,)."""
    names: tuple[str, ...]
    """Kinds; the last one is :data:`NONE`."""
    colours: tuple[str, ...]
    shares: np.ndarray
    """Of each kind at each time point, (T, kinds)."""
    fates: np.ndarray
    """The kind that each followed cell's kin is at the last time point, (n,)."""

    def table(self) -> pd.DataFrame:
        """A row for each time point: what the numbers on the screen are, for a file."""
        frame = pd.DataFrame({"time point": self.labels, "selected cells": self.selected, "cells for each": self.mass})
        if self.names == (NONE,):  # of one kind are all
            return frame
        return frame.join(pd.DataFrame(self.shares, columns=[f"share of {name}" for name in self.names]))


def ancestry(scene: Scene, chosen: np.ndarray, labels: Categories | None) -> Ancestry:
    """Follow the ``chosen`` cells (positions, at least one), and tell what kinds of cells their kin are by ``labels``.

    Without labels there is one kind only, :data:`NONE`.
    """
    found = kin(scene.stream, scene.z, scene.index, chosen)
    names, colours = (tuple(labels.names), tuple(labels.colours)) if labels else ((), ())
    codes = np.asarray(labels.codes) if labels else np.full(len(scene.index), -1)
    steps = [kinds(found, i, codes, *scene.trees[i]) for i in range(len(scene.times))]
    return Ancestry(
        found,
        tuple(map(str, scene.snapshots.labels)),
        np.bincount(scene.index[chosen], minlength=len(scene.times)),
        np.array([found.mass(i) for i in range(len(scene.times))]),
        (*names, NONE),
        (*colours, MISSING),
        np.stack([shares(found, i, step, names) for i, step in enumerate(steps)]),
        np.where(steps[-1] < 0, len(names), steps[-1]),
    )

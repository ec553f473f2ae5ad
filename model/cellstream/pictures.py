"""The pictures of a training: where some of the cells were as the embedding was learned, kept in the run's folder.

    pictures/00000120.npy    after so many steps, (cells, d), centred and in units of its size, in half precision

They are at even steps, few enough to keep all, of the same cells; and here is how pictures that were made one after the
other are put so that the eye can follow: in a box of fixed size, turned and flipped onto each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import orthogonal_procrustes

from cellstream.errors import UserError
from cellstream.fields import leading_axes
from cellstream.files import whole
from cellstream.state import State
from cellstream.training import part_steps

FOLDER = "pictures"
MOST = 120
"""Pictures of a run."""
CELLS = 5_000
"""Cells of a picture at most."""
NUMBERS = 30_000
"""Of a picture at most: in many dimensions, of fewer cells."""
BOX = np.array([1.0, 0.9])
"""Half of the width and of the height that a picture fills, whatever the size of the embedding."""


class Album:
    """Keeps the pictures of a training that goes on from ``state``; later ones, of a run that broke, are taken out."""

    def __init__(self, folder: Path, state: State):
        self.folder, s = folder / FOLDER, state.snapshots
        self.steps = sum(n for part, n in part_steps(state.config).items() if part != "ensemble")
        self.every = max(-(-self.steps // (MOST - 2)), 1)
        most = min(CELLS, NUMBERS // state.config.networks.latent_dim)
        self.cells = spaced(len(s.index), most).to(s.index.device)
        for path in _paths(self.folder):
            if int(path.stem) > state.step:
                path.unlink(missing_ok=True)
        self.last = max((int(path.stem) for path in _paths(self.folder)), default=-1)

    def see(self, state: State, final: bool = False) -> None:
        """Keep a picture of the state if one is due, or if it is the ``final`` one."""
        step = state.step
        if step <= self.last or step > self.steps or (step % self.every and not final):
            return
        with torch.no_grad():
            z = state.encode(self.cells).cpu().numpy().astype(np.float64)
        z -= z.mean(0)
        z /= max(float(np.abs(z).max()), 1e-12)
        self.folder.mkdir(exist_ok=True)
        with whole(self.folder / f"{step:08d}.npy") as path:
            np.save(path, z.astype(np.float16), allow_pickle=False)
        self.last = step


@dataclass(frozen=True)
class Pictures:
    """What an :class:`Album` has kept: ``points`` (pictures, cells, 2), after ``steps`` (pictures,), of
    the ``cells`` at these positions among all."""

    points: np.ndarray
    steps: np.ndarray
    cells: np.ndarray


def read(folder: Path, index: np.ndarray, box: np.ndarray = BOX) -> Pictures:
    """The pictures of the run in a folder, turned onto the last one; ``index`` (n,) are the time points of all cells.
    Each fills a ``box`` (2,), of which this is the half.

    Raises :class:`UserError` where there are less than two, which no film can be made of.
    """
    kept = {}
    for path in _paths(folder / FOLDER):
        try:
            kept[int(path.stem)] = np.load(path, allow_pickle=False).astype(np.float64)
        except (OSError, ValueError, EOFError):
            continue  # damaged on disk: the others will do
    kept = {step: z for step, z in kept.items() if z.ndim == 2 and len(z) <= len(index) and np.isfinite(z).all()}
    last = kept[max(kept)].shape if kept else None
    kept = {step: kept[step] for step in sorted(kept) if kept[step].shape == last}
    if len(kept) < 2:
        raise UserError(
            f"The run in {folder} holds no pictures of its training: it was made by another method or an earlier "
            "version, or imported; train again to have some."
        )
    steps = np.array(list(kept))
    cells = spaced(len(index), len(kept[steps[0]])).numpy()
    return Pictures(aligned([kept[step] for step in steps], index[cells], box), steps, cells)


def aligned(pictures: list[np.ndarray], index: np.ndarray, box: np.ndarray = BOX) -> np.ndarray:
    """Embeddings (n, d) of the same cells in the plane, one after the other (pictures, n, 2): each in the box, and from
    the last one back turned and flipped such that it lies on the next as well as can be (orthogonal Procrustes).

    With more than two dimensions, it is the plane of the two leading axes; with one, time lies along x.
    """
    found: list[np.ndarray] = []
    for z in reversed(pictures):
        one_dimension = z.shape[1] == 1
        if one_dimension:
            z = np.column_stack([index * np.ptp(z), z[:, 0]])
        elif z.shape[1] > 2:
            z = z @ leading_axes(z - z.mean(0), index)
        points = framed(z, box)[0].astype(np.float64)
        if found:
            turn = orthogonal_procrustes(points, found[-1])[0]
            if one_dimension:  # time stays where it is
                turn = np.diag([1.0, np.sign((points[:, 1] * found[-1][:, 1]).sum()) or 1.0])
            points = framed(points @ turn, box)[0].astype(np.float64)
        found.append(points)
    return np.stack(found[::-1]).astype(np.float32)


def framed(points: np.ndarray, box: np.ndarray = BOX) -> tuple[np.ndarray, float]:
    """Points (n, 2) in the box, but for a few far out, as float32; and the length that became one."""
    low, high = np.percentile(points, [0.2, 99.8], axis=0)
    half = max(float(((high - low) / box).max()) / 2, 1e-9)
    return ((points - (low + high) / 2) / half).astype(np.float32), half


def steady(axes: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """Principal axes (d, 2), whose signs are arbitrary, such that they look like those of the picture ``before``."""
    return axes if before is None else axes * np.where((axes * before).sum(0) < 0, -1, 1)


def spaced(n: int, most: int) -> torch.Tensor:
    """At most ``most`` of ``0 .. n-1``, the same ones every time so that a picture does not flicker."""
    if n <= most:
        return torch.arange(n)
    return torch.randperm(n, generator=torch.Generator().manual_seed(0))[:most].sort().values


def _paths(folder: Path) -> list[Path]:
    """The files of the pictures, in order."""
    return sorted(path for path in folder.glob("*.npy") if path.stem.isdigit())

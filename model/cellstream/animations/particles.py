"""What flows, as marks in pixels: dots whose area is mass, that fade as they die, with tails to where they came from.

Sizes, opacities and the way between two moments are those of the screen (``cellstream_app/components/flow.js``).
"""

from __future__ import annotations

import numpy as np
from matplotlib.collections import Collection, PathCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.path import Path
from matplotlib.transforms import IdentityTransform

DIAMETER = 0.4
"""Of a particle with the mass that it started with, in hundredths of the plane's longer side."""
SIZES = (0.4, 2.2)
"""Smallest and largest diameter relative to that; area follows mass in between."""
OPACITY = 0.9
FADE_FROM = 0.02
"""Mass at which a dying particle has gone."""
GONE = -60.0
"""Log mass of a particle whose path is not a number."""
TAIL = 0.45
"""Opacity of a tail."""
RIM = 0.12
"""Width of the rim, in the colour of the ground, in diameters."""


class Paths:
    """Particles between the moments at which they are known: ``points`` (frames, n, 2) and ``log_w`` (frames, n)."""

    def __init__(self, points: np.ndarray, log_w: np.ndarray):
        log_w = (log_w - log_w[0]).astype(np.float64)
        lost = ~(np.isfinite(points).all(-1) & np.isfinite(log_w))
        points = np.where(lost[..., None], 0.0, points)
        for k in range(1, len(points)):  # one that escaped stays where it was last, without mass
            points[k, lost[k]] = points[k - 1, lost[k]]
        self.points, self.log_w = points, np.where(lost, GONE, log_w)

    def place(self, s: float) -> np.ndarray:
        """Where they are (n, 2) at the frame number ``s``: Catmull–Rom through the frames beside it."""
        last = len(self.points) - 1
        k = int(np.clip(np.floor(s), 0, last - 1))
        u = float(np.clip(s - k, 0, 1))
        p = self.points
        a, b, c, d = (p[int(np.clip(k + j, 0, last))] for j in (-1, 0, 1, 2))
        # the ends have no neighbour: a straight continuation
        a, d = (2 * b - c if k == 0 else a), (2 * c - b if k + 2 > last else d)
        return b + 0.5 * u * (c - a + u * (2 * a - 5 * b + 4 * c - d + u * (3 * (b - c) + d - a)))

    def mass(self, s: float) -> np.ndarray:
        """Their masses (n,) relative to the start: a straight line through the logarithms."""
        last = len(self.log_w) - 1
        k = int(np.clip(np.floor(s), 0, last - 1))
        u = float(np.clip(s - k, 0, 1))
        return np.exp((1 - u) * self.log_w[k] + u * self.log_w[k + 1])


def opacity(mass: np.ndarray) -> np.ndarray:
    """Of particles with these masses, 0 to 1: full from the mass at the start on."""
    mass = np.minimum(mass, 1.0)
    x = np.clip((mass - FADE_FROM) / (3 * FADE_FROM), 0, 1)
    return mass**0.55 * x * x * (3 - 2 * x)


def diameters(mass: np.ndarray, unit: float) -> np.ndarray:
    """In pixels, of particles with these masses; ``unit`` are the pixels of a hundredth of the plane."""
    return DIAMETER * unit * np.clip(np.sqrt(mass), *SIZES)


def dots(at: np.ndarray, mass: np.ndarray, colours: np.ndarray, rim: str, unit: float, pixel: float) -> Collection:
    """A disc for each particle, at pixels (n, 2), in ``colours`` (n, 3) from 0 to 1; ``pixel`` is its size in points.

    Large ones lie below.
    """
    order = np.argsort(-mass, kind="stable")
    order = order[opacity(mass[order]) > 0]
    wide, alpha = diameters(mass[order], unit), OPACITY * opacity(mass[order])
    edges = np.column_stack([np.broadcast_to(to_rgb(rim), (len(order), 3)), 0.8 * alpha])
    return PathCollection(
        [Path.unit_circle()], sizes=np.pi * (wide / 2 * pixel) ** 2, offsets=at[order], linewidths=RIM * wide * pixel,
        offset_transform=IdentityTransform(), facecolors=np.column_stack([colours[order], alpha]), edgecolors=edges,
        antialiaseds=[True, True],  # with all properties alike, marks would be put on whole pixels, and jerk
    )  # fmt: skip


def tails(ways: np.ndarray, mass: np.ndarray, colours: np.ndarray, unit: float) -> Collection:
    """A tapered band along the way of each particle: pixels (k, n, 2), the last of which is where it is now."""
    alive = opacity(mass) > 0
    ways, mass, colours = ways[:, alive], mass[alive], colours[alive]
    along = np.gradient(ways, axis=0)
    length = np.hypot(along[..., 0], along[..., 1])
    normal = np.stack([-along[..., 1], along[..., 0]], -1) / np.maximum(length, 1e-9)[..., None]
    taper = np.linspace(0, 0.5, len(ways))[:, None, None]
    half = normal * taper * (0.85 * diameters(mass, unit))[None, :, None]
    bands = np.concatenate([ways + half, (ways - half)[::-1]]).swapaxes(0, 1)
    moving = length.sum(0) > 0.5
    shade = np.column_stack([colours, TAIL * opacity(mass)])
    return PolyCollection(bands[moving], facecolors=shade[moving], linewidths=0, transform=IdentityTransform())


def drawn_by(canvas_figure: object, *collections: Collection) -> list[Collection]:
    """Collections that may be drawn by themselves, without axes."""
    for collection in collections:
        collection.set_figure(canvas_figure)  # type: ignore[arg-type]
    return list(collections)

"""The colours of particles at each moment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.colors import to_rgb

from cellstream.animations import END, PARTICLES, PLAIN, START, TIME
from cellstream.colours import MISSING, TIME_PALETTE, Categories, Values, colour_array, time_colours
from cellstream.errors import UserError
from cellstream.kin import AROUND, around
from cellstream.painting import Painted
from cellstream.scene import Scene

Tint = Callable[[float], np.ndarray]
"""The networks' time -> a colour for each particle, (n, 3) from 0 to 1."""


def tint(scene: Scene, paint: Painted | None, choice: str, ink: str) -> Tint:
    """The colours that ``choice``, one of :data:`cellstream.animations.PARTICLES`, gives to a scene's particles.

    ``paint`` are the cells in the colours that they may take. Raises :class:`UserError` where it has no labels and
    these are asked for.
    """
    if choice not in PARTICLES:
        raise UserError(f"Expected the particles' colour to be one of {', '.join(PARTICLES)}, but got '{choice}'.")
    n = len(scene.starts)
    if choice == PLAIN:
        return lambda t: np.tile(to_rgb(ink), (n, 1))
    if choice == TIME:
        return _of_time(scene)
    if choice in (START, END) and (paint is None or not isinstance(paint.colour, Categories)):
        raise UserError("Particles that are coloured by a label need one: name a column of labels.")
    assert paint is not None
    if isinstance(paint.colour, Values):
        return _of_values(scene, paint.colour)
    codes, colours = np.asarray(paint.colour.codes), _bytes(paint.colour.colours)
    if choice == START:
        own = codes[scene.starts]
        return lambda t: colours[own]
    kinds = [around(z, tree, codes[there]) for z, (tree, there) in _passed(scene)]
    if choice == END:
        return lambda t: colours[kinds[-1]]
    known = scene.tau(scene.times)
    return lambda t: colours[kinds[int(np.argmin(np.abs(known - t)))]]


def _of_time(scene: Scene) -> Tint:
    """Through the palette of time, at each time point in that one's colour."""
    known = scene.tau(scene.times)
    every, n = list(TIME_PALETTE), len(scene.starts)
    places = [every.index(colour) for colour in time_colours(len(known))]
    return lambda t: np.tile(to_rgb(every[round(float(np.interp(t, known, places)))]), (n, 1))


def _of_values(scene: Scene, colour: Values) -> Tint:
    """The mean of the cells around, at each time point of its cells; in between a straight line."""
    palette, known = _bytes(colour.palette), scene.tau(scene.times)
    means = []
    for z, (tree, there) in _passed(scene):
        near = tree.query(z, min(AROUND, len(there)))[1].reshape(len(z), -1)
        values = colour.values[there][near].astype(np.float64)
        known_ones = np.isfinite(values)
        means.append(np.where(known_ones, values, 0).sum(1) / np.where(known_ones.any(1), known_ones.sum(1), np.nan))

    def at(t: float) -> np.ndarray:
        i = int(np.clip(np.searchsorted(known, t) - 1, 0, len(known) - 2))
        u = np.clip((t - known[i]) / (known[i + 1] - known[i]), 0, 1)
        return _shaded((1 - u) * means[i] + u * means[i + 1], colour.span(), palette)

    return at


def _passed(scene: Scene) -> list[tuple[np.ndarray, tuple]]:
    """Where the particles are at each time point, with the tree of the cells that were measured then."""
    frames = [int(np.argmin(np.abs(scene.flow.times - t))) for t in scene.times]
    places = [np.nan_to_num(scene.flow.z[k], posinf=0.0, neginf=0.0) for k in frames]
    return list(zip(places, scene.trees, strict=True))


def _bytes(colours) -> np.ndarray:
    """Colours from 0 to 1, and below them that of what is not known, (n + 1, 3)."""
    return colour_array([*colours, MISSING])[:, :3] / 255


def shades(colour: Categories | Values) -> np.ndarray:
    """The colour of each cell, (n, 3) from 0 to 1."""
    if isinstance(colour, Categories):
        return _bytes(colour.colours)[np.asarray(colour.codes)]
    return _shaded(np.asarray(colour.values, np.float64), colour.span(), _bytes(colour.palette))


def _shaded(values: np.ndarray, limits: tuple[float, float], palette: np.ndarray) -> np.ndarray:
    """Numbers in the colours of a palette, the last of which is for what is none."""
    place = np.clip((values - limits[0]) / (limits[1] - limits[0]), 0, 1)
    return palette[np.where(np.isfinite(place), np.round(np.nan_to_num(place) * (len(palette) - 2)), -1).astype(int)]

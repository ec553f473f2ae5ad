"""The sample data: simulated progenitors that divide, branch into three fates, and die, read out as raw counts.

A smooth tree in a latent space, clones that move along it and grow, gene programmes as functions of the place, and
a noisy count per gene. Velocity and growth of every cell are known exactly. The design is ours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import expit, softmax
from scipy.stats import norm

from cellstream import memory
from cellstream.errors import UserError

Array = NDArray[np.float64]
Index = NDArray[np.int_]

TARGET_SUM = 1e4  # counts per cell after normalisation, in the noise-free expression

FATES = ("erythroid", "monocyte", "neutrophil")
SIDE = np.array([[1.0, 0.0], [-1.0, 1.0], [-1.0, -1.0]])  # of each fate at the first and the second branching
SPLIT = np.array([1.5, 2.8])  # age at the two branchings, days
BEND = 0.3  # how gradual a branching is, days
SHARE = np.array([0.22, 0.36, 0.42])  # of the founders, by the fate of their descendants
RATE_PROGENITOR = 0.25  # growth rates per day
RATE_BRANCH = np.array([[0.35, 0.35], [0.20, 0.10], [0.20, -0.20]])  # of each fate after the first, second branching
ASYNCHRONY = 0.6  # standard deviation of age within one day's sample before growth acts, days
OFFSET_SD = np.array([0.0, 0.3, 0.3, 0.5])  # spread of cells across their branch, latent units
LINEAGE_COLORS = ("#9a9a9a", "#d55e00", "#0072b2", "#009e73")  # colour-blind safe (Okabe and Ito)


@dataclass(frozen=True)
class BranchingModel:
    """The noise-free world of ``branching``: age and fate -> place on a tree -> expression; and growth.

    A cell of age τ (days) and fate f sits at ``z = path(τ, f) + offset`` in a latent space of four axes: age, first
    branching, second branching, and a nuisance direction in which nothing moves. Gene j's log rate is
    ``η_j = base_j + height_j s(u_j) + load_j g(τ, f)``, ``u_j = (direction_j · z - centre_j) / width_j``, with s a
    sigmoid or a bump. Ages have shape (n,), fates (n,) as indices into ``FATES``, offsets (n, 4).
    """

    names: tuple[str, ...]
    base: Array  # (p,), as all below unless noted
    height: Array
    direction: Array  # (p, 4)
    centre: Array
    width: Array
    load: Array
    is_bump: NDArray[np.bool_]

    def expected(self, age: Array, fate: Index, offset: Array) -> Array:
        """Noise-free log-normalised expression ``log(1 + 10⁴ softmax(η))``, shape (n, p)."""
        return np.log1p(TARGET_SUM * self.proportions(age, fate, offset))

    def proportions(self, age: Array, fate: Index, offset: Array) -> Array:
        """Each gene's part of a cell's molecules, ``softmax(η)``, shape (n, p), rows sum to 1."""
        u = self._place(age, fate, offset)
        shape = np.where(self.is_bump, np.exp(-(u**2) / 2), expit(u))
        return softmax(self.base + self.height * shape + self.load * growth_rate(age, fate)[:, None], axis=1)

    def velocity(self, age: Array, fate: Index, offset: Array) -> Array:
        """d/dτ of ``expected``, per day, by the chain rule; shape (n, p)."""
        u = self._place(age, fate, offset)
        slope = np.where(self.is_bump, -u * np.exp(-(u**2) / 2), expit(u) * expit(-u))
        d_u = _path_drift(age, fate) @ self.direction.T / self.width
        d_eta = self.height * slope * d_u + self.load * growth_rate_drift(age, fate)[:, None]
        part = self.proportions(age, fate, offset)
        d_part = part * (d_eta - np.sum(part * d_eta, axis=1, keepdims=True))
        return TARGET_SUM * d_part / (1 + TARGET_SUM * part)

    def _place(self, age: Array, fate: Index, offset: Array) -> Array:
        return ((path(age, fate) + offset) @ self.direction.T - self.centre) / self.width


def path(age: Array, fate: Index) -> Array:
    """Centre of the tree's branch at this age, shape (n, 4): straight before a branching, straight after it."""
    bends = BEND * np.logaddexp(0, (age[:, None] - SPLIT) / BEND)
    return np.column_stack([age, SIDE[fate] * bends, np.zeros_like(age)])


def _path_drift(age: Array, fate: Index) -> Array:
    return np.column_stack([np.ones_like(age), SIDE[fate] * _committed(age), np.zeros_like(age)])


def _committed(age: Array) -> Array:
    return expit((age[:, None] - SPLIT) / BEND)


def _rate_steps(fate: Index) -> Array:
    return np.diff(RATE_BRANCH, axis=1, prepend=RATE_PROGENITOR)[fate]


def growth_rate(age: Array, fate: Index) -> Array:
    """g(τ, f) per day: a smooth step at each branching; shape (n,)."""
    return RATE_PROGENITOR + np.sum(_rate_steps(fate) * _committed(age), axis=1)


def growth_rate_drift(age: Array, fate: Index) -> Array:
    """dg/dτ per day², shape (n,)."""
    return np.sum(_rate_steps(fate) * _committed(age) * (1 - _committed(age)), axis=1) / BEND


def log_mass(age: Array, fate: Index) -> Array:
    """An antiderivative of ``growth_rate`` in age, shape (n,): differences are a clone's log change in size."""
    steps = _rate_steps(fate) * BEND * np.logaddexp(0, (age[:, None] - SPLIT) / BEND)
    return RATE_PROGENITOR * age + steps.sum(axis=1)


def branching_model(n_genes: int = 300, seed: int = 0) -> BranchingModel:
    """Draw the genes: programmes of named genes, each a sigmoid or a bump along one direction of the tree."""
    at_least("n_genes", n_genes, 60)
    rng = np.random.default_rng([seed, 1])
    # programme, share of the genes, direction, range of centres, range of heights, bump?
    programmes = [
        ("Stem", 0.12, (-1, 0, 0, 0), (-4.5, -0.5), (1.2, 2.4), False),
        ("Wave", 0.12, (1, 0, 0, 0), (0.0, 6.5), (1.2, 2.5), True),
        ("Ery", 0.13, (0, 1, 0, 0), (0.2, 5.5), (1.2, 2.8), False),
        ("Mye", 0.05, (0, -1, 0, 0), (0.2, 3.0), (1.2, 2.4), False),
        ("Mono", 0.14, (0, 0, 1, 0), (0.2, 4.2), (1.2, 2.8), False),
        ("Neut", 0.14, (0, 0, -1, 0), (0.2, 4.2), (1.2, 2.8), False),
        ("Prolif", 0.06, (0, 0, 0, 0), (0.0, 0.0), (0.0, 0.0), False),
        ("Stress", 0.05, (0, 0, 0, 1), (-0.5, 0.5), (0.8, 1.5), False),
        ("Gene", 0.20, None, (-2.0, 4.0), (0.2, 0.6), False),  # what is left: weak mixtures of all directions
    ]
    counts = [round(share * n_genes) for _, share, *_ in programmes]
    counts[-1] += n_genes - sum(counts)
    parts: list[tuple[Array, ...]] = []
    names: list[str] = []
    for (name, _, direction, centres, heights, bump), n in zip(programmes, counts, strict=True):
        names += [f"{name}{i + 1:0{3 if name == 'Gene' else 2}d}" for i in range(n)]
        along = rng.normal(0, 0.7, (n, 4)) if direction is None else np.tile(np.array(direction, float), (n, 1))
        load = rng.uniform(3.0, 5.0, n) if name == "Prolif" else np.zeros(n)
        width = rng.uniform(0.9, 1.6, n) if bump else rng.uniform(0.6, 1.4, n)
        parts.append(
            (rng.normal(0, 0.8, n), rng.uniform(*heights, n), along, rng.uniform(*centres, n), width, load,
             np.full(n, bump))
        )  # fmt: skip
    return BranchingModel(tuple(names), *(np.concatenate(column) for column in zip(*parts, strict=True)))


def branching(
    n_cells: int = 230,
    *,
    n_genes: int = 300,
    days: Sequence[float] = (0, 1, 2, 3, 5, 7),
    depth: float = 1000.0,
    dispersion: float = 0.3,
    dropout: float = 0.5,
    seed: int = 0,
) -> AnnData:
    """Progenitors that become erythroid cells, or, branching later, monocytes and neutrophils; raw counts (ours).

    Clones of age ``τ = day + δ``, ``δ ~ N(0, 0.6²)`` at day 0, follow the tree of ``BranchingModel`` and grow at
    ``growth_rate``: erythroid cells proliferate, neutrophils die slowly. Samples are drawn anew at every day, as many
    cells of each fate and age as the growth has made. A count is negative binomial, ``NB(mean = L p, variance = mean +
    dispersion mean²)``, with library size L log-normal, p from the model, then dropped with probability
    ``dropout exp(-mean)``.

    Args:
        n_cells: cells at the first day; later days hold as many as the masses say.
        n_genes: at least 60.
        days: increasing sampling days.
        depth: median library size, molecules per cell.
        dispersion: of the negative binomial; 0 gives Poisson counts.
        dropout: probability that a molecule count near zero is lost.
        seed: of the random numbers.

    Returns:
        ``X`` (n, p) raw counts, csr float32. ``obs``: day (text), true_time (age τ, days), lineage, cell_type,
        fate_true, growth_true (per day). ``layers``: expected (noise-free ``log(1 + 10⁴ p)``), velocity_true
        (its derivative per day). ``obsm``: X_latent_true and offset_true, (n, 4).

    Raises:
        UserError: a number is out of its range.
    """
    days = increasing(days)
    lows = (("n_cells", n_cells, 10), ("depth", depth, 1), ("dispersion", dispersion, 0), ("seed", seed, 0))
    for label, value, low in lows:
        at_least(label, value, low)
    require_room(n_cells * len(days), n_genes)
    if not 0 <= dropout <= 1:
        raise UserError(f"dropout is a probability between 0 and 1, not {dropout}; give one in that range.")
    model = branching_model(n_genes, seed)
    rng = np.random.default_rng([seed, 2])
    age, fate, day = _clones(rng, n_cells, days)
    offset = rng.normal(0, OFFSET_SD, (len(age), 4))
    mean = rng.lognormal(np.log(depth), 0.35, (len(age), 1)) * model.proportions(age, fate, offset)
    rate = mean * rng.gamma(1 / dispersion, dispersion, mean.shape) if dispersion > 0 else mean
    counts = np.where(rng.random(mean.shape) < dropout * np.exp(-mean), 0, rng.poisson(rate))

    obs = pd.DataFrame({"day": [f"day {d:g}" for d in day], "true_time": age}, index=cell_names(len(age)))
    obs["day"] = pd.Categorical(obs["day"], [f"day {d:g}" for d in days], ordered=True)
    obs["lineage"], obs["cell_type"] = _labels(age, fate)
    obs["fate_true"] = pd.Categorical.from_codes(fate, list(FATES))
    obs["growth_true"] = growth_rate(age, fate)
    adata = AnnData(csr_matrix(counts.astype(np.float32)), obs=obs, var=pd.DataFrame(index=list(model.names)))
    adata.var["programme"] = pd.Categorical([name.rstrip("0123456789") for name in model.names])
    adata.layers["expected"] = model.expected(age, fate, offset).astype(np.float32)
    adata.layers["velocity_true"] = model.velocity(age, fate, offset).astype(np.float32)
    adata.obsm["X_latent_true"] = path(age, fate) + offset
    adata.obsm["offset_true"] = offset
    adata.uns["lineage_colors"] = list(LINEAGE_COLORS)
    adata.uns["simulation"] = dict(
        name="branching", seed=seed, n_cells=n_cells, n_genes=n_genes, days=days, depth=float(depth),
        dispersion=float(dispersion), dropout=float(dropout), target_sum=TARGET_SUM, asynchrony_days=ASYNCHRONY,
        note="Simulated by CellStream, not measured. velocity_true is d/dt of the noise-free log(1 + 1e4 p), per day.",
    )  # fmt: skip
    return adata


def _clones(rng: np.random.Generator, n_cells: int, days: list[float]) -> tuple[Array, Index, Array]:
    """Age, fate and day of every sampled cell, shapes (n,).

    A founder of age δ has exp(log_mass(δ + day) - log_mass(δ)) descendants, so older clones are over-represented
    where growth rises: ages are drawn from that tilted law by its inverse distribution function on a fine grid.
    """
    delta = norm.ppf((np.arange(4000) + 0.5) / 4000, scale=ASYNCHRONY)
    rows = []
    for d in days:
        for f in range(len(FATES)):
            same = np.full(len(delta), f)
            mass = np.exp(log_mass(delta + d, same) - log_mass(delta + days[0], same))
            n = round(n_cells * SHARE[f] * mass.mean())
            drawn = np.interp(rng.random(n), np.cumsum(mass) / mass.sum(), delta)
            rows.append(np.column_stack([drawn + d, np.full(n, f), np.full(n, d)]))
    table = np.concatenate(rows)
    return table[:, 0], table[:, 1].astype(int), table[:, 2]


def _labels(age: Array, fate: Index) -> tuple[pd.Categorical, pd.Categorical]:
    """Lineage (progenitor until the cell's last branching) and finer stages of it."""
    committed = np.where(fate == 0, SPLIT[0], SPLIT[1])
    lineage = np.where(age < committed, "progenitor", np.array(FATES)[fate])
    since = age - committed
    stage = np.where(since < 1.5, "early ", "") + lineage.astype(object)
    stage = np.where(age < 0.5, "stem", np.where(age < SPLIT[0], "multipotent progenitor", stage))
    stage = np.where((fate > 0) & (age >= SPLIT[0]) & (age < SPLIT[1]), "myeloid progenitor", stage)
    stages = ["stem", "multipotent progenitor", "myeloid progenitor", *(e + f for f in FATES for e in ("early ", ""))]
    return pd.Categorical(lineage, ["progenitor", *FATES]), pd.Categorical(stage, stages).remove_unused_categories()


def cell_names(n: int) -> list[str]:
    """``cell00000`` and so on."""
    return [f"cell{i:05d}" for i in range(n)]


def increasing(times: Sequence[float]) -> list[float]:
    """Time points as floats; a UserError if there is none or they do not increase."""
    values = [float(t) for t in times]
    grow = all(later > earlier for earlier, later in itertools.pairwise(values))
    if not (values and grow and all(map(math.isfinite, values))):
        raise UserError(f"Time points must increase, but these are {values}; sort them and give each one once.")
    return values


def at_least(name: str, value: float, low: float) -> None:
    """A UserError if a setting is below its bound, or endless."""
    if not value >= low:
        raise UserError(f"{name} must be at least {low}, but is {value}; give a larger number.")
    if math.isinf(value):
        raise UserError(f"{name} must be finite, but is {value}; give a smaller number.")


def require_room(n_cells: int, n_genes: int) -> None:
    """A UserError if so many cells of so many genes do not fit into the memory that is free."""
    needed = 32 * n_cells * n_genes  # four numbers of eight bytes at a time
    memory.require(needed, f"A simulation of {n_cells:,} cells of {n_genes:,} genes", "simulate fewer cells")

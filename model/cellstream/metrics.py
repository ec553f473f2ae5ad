"""How good a result is, and what it has thrown away. Scale-free, by neighbour trees, with yardsticks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import ot
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree

from cellstream.cores import side_by_side

CHUNK = 1024
"""Rows of a distance matrix that are held at once."""
RADIUS = 0.05
"""Of the balls in which cells are consistent, in units of the longer side of the embedding's box (the paper's)."""
NEAREST = 15
"""Neighbours of a cell of which trustworthiness asks."""
PAIRS = 5_000_000
"""Neighbours that are looked at for consistency: seconds, and far more than the third digit needs."""


@dataclass(frozen=True)
class Consistency:
    """VC and TC over the balls of radius r around every cell, in both forms."""

    vc_paper: float
    tc_paper: float
    vc: float
    """Strict: the cell itself does not count, and cells without neighbours are left out."""
    tc: float
    lonely: float
    """Share of cells left out of the strict form."""


def unit_box(z: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, " d"], float]:
    """Corner and longer side of the bounding box: ``(z - corner) / side`` lies in the unit box."""
    corner = z.min(0)
    return corner, float(max((z.max(0) - corner).max(), 1e-12))


def consistency(
    z: Float[np.ndarray, "n d"],
    velocity: Float[np.ndarray, "n d"],
    index: Int[np.ndarray, " n"],
    radius: float = RADIUS,
    most: int = 20_000,
    seed: int = 0,
) -> Consistency:
    """Velocity consistency and time consistency (Ling et al. 2026, "Metrics") on the embedding in its unit box.

    VC: mean over cells of the mean cosine between the cell's velocity and those in its ball. TC: mean over cells of
    the fraction of its ball that has the cell's own time label. Of more than ``most`` cells a random sample is looked
    at; and of so many of its balls, drawn at random, that they hold :data:`PAIRS` neighbours together.
    """
    corner, side = unit_box(z)
    z = (z - corner) / side
    norm = np.linalg.norm(velocity, axis=1, keepdims=True)
    unit = np.divide(velocity, norm, out=np.zeros_like(velocity, dtype=np.float64), where=norm > 0)
    rng = np.random.default_rng(seed)
    if len(z) > most:
        chosen = np.sort(rng.choice(len(z), most, replace=False))
        z, unit, index = z[chosen], unit[chosen], index[chosen]
    tree = cKDTree(z)
    centres = rng.permutation(len(z))
    pairs = np.cumsum(tree.query_ball_point(z[centres], radius, return_length=True))
    centres = np.sort(centres[: max(np.searchsorted(pairs, PAIRS, side="right"), 1)])
    cosine, same, size = (np.empty(len(centres)) for _ in range(3))
    for begin in range(0, len(centres), CHUNK):
        part = centres[begin : begin + CHUNK]
        balls = tree.query_ball_point(z[part], radius)
        lengths = np.array([len(ball) for ball in balls])
        members = np.concatenate(balls).astype(np.intp)
        owner = np.repeat(np.arange(len(part)), lengths)
        here = slice(begin, begin + len(part))
        size[here] = lengths
        dots = np.einsum("nd,nd->n", unit[members], unit[part][owner])
        cosine[here] = np.bincount(owner, dots, minlength=len(part))
        same[here] = np.bincount(owner, index[members] == index[part][owner], minlength=len(part))
    own = np.square(unit[centres]).sum(1)
    many = size > 1
    if not many.any():
        return Consistency(float((cosine / size).mean()), float((same / size).mean()), np.nan, np.nan, 1.0)
    return Consistency(
        vc_paper=float((cosine / size).mean()),
        tc_paper=float((same / size).mean()),
        vc=float(((cosine - own) / (size - 1).clip(1))[many].mean()),
        tc=float(((same - 1) / (size - 1).clip(1))[many].mean()),
        lonely=float(1 - many.mean()),
    )


def trustworthiness(
    x: Float[np.ndarray, "n p"], z: Float[np.ndarray, "n d"], k: int = 15, most: int = 3000, seed: int = 0
) -> float:
    """How far the ``k`` nearest neighbours in the embedding are neighbours in the input, 1 at best.

    Venna & Kaski, ICANN 2001; as ``sklearn.manifold.trustworthiness``, in rows of distances instead of a whole matrix.
    More than ``most`` cells are sampled. It is defined for k below n / 2; of fewer cells the largest such k is taken,
    and NaN is returned where there is none.
    """
    if len(x) > most:
        chosen = np.random.default_rng(seed).choice(len(x), most, replace=False)
        x, z = x[chosen], z[chosen]
    x = x.astype(np.float64) - x.mean(0)  # the expanded square below loses digits far from the origin
    n = len(x)
    k = min(k, (n - 1) // 2)
    if k < 1:
        return float("nan")
    near = _neighbours(z, k)
    square = np.einsum("np,np->n", x, x)
    penalty = 0.0
    for begin in range(0, n, CHUNK):
        rows = np.arange(begin, min(begin + CHUNK, n))
        distance = square[rows, None] + square[None] - 2 * x[rows] @ x.T
        distance[np.arange(len(rows)), rows] = -np.inf
        # rank of each embedded neighbour among the cell's neighbours in the input, 1 for the nearest
        order = np.argsort(distance, axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(n)[None].repeat(len(rows), 0), axis=1)
        excess = np.take_along_axis(rank, near[rows], axis=1) - k
        penalty += excess[excess > 0].sum()
    return float(1 - penalty * 2 / (n * k * (2 * n - 3 * k - 1)))


def _neighbours(z: np.ndarray, k: int) -> np.ndarray:
    """The ``k`` nearest other points of each point."""
    found = cKDTree(z).query(z, k + 1)[1]
    others = found != np.arange(len(z))[:, None]
    # where several points coincide, the point itself may be missing from its own list: drop the farthest instead
    others[others.all(1), -1] = False
    return found[others].reshape(len(z), k)


def trust_within(x: np.ndarray, z: np.ndarray, index: np.ndarray, k: int = NEAREST) -> float:
    """Trustworthiness within each time point, averaged over time points."""
    values = side_by_side(lambda i: trustworthiness(x[index == i], z[index == i], k), np.unique(index))
    return float(np.nanmean(values))


def principal_components(x: Float[np.ndarray, "n p"], d: int = 2) -> Float[np.ndarray, "n d"]:
    """Plain PCA of the cells, the yardstick of an embedding."""
    from sklearn.decomposition import PCA

    return PCA(min(d, *x.shape), random_state=0).fit_transform(x)


def through_pca(seen: Float[np.ndarray, "n p"], x: Float[np.ndarray, "m p"], d: int) -> Float[np.ndarray, "m p"]:
    """``x`` as the ``d`` principal components of the cells ``seen`` give it back, the yardstick of a decoder."""
    from sklearn.decomposition import PCA

    pca = PCA(min(d, *seen.shape), random_state=0).fit(seen)
    return pca.inverse_transform(pca.transform(x)).astype(x.dtype)


def principal_axes(x: Float[np.ndarray, "n p"], d: int = 2) -> Float[np.ndarray, "p d"]:
    """Unit vectors along the leading principal components, in columns."""
    from sklearn.decomposition import PCA

    return PCA(min(d, *x.shape), random_state=0).fit(x).components_.T.astype(x.dtype)


def r2(x: Float[np.ndarray, "n p"], reconstructed: Float[np.ndarray, "n p"]) -> float:
    """1 − (residual sum of squares) / (total sum of squares), over all features together."""
    return float(1 - np.square(x - reconstructed).sum() / np.square(x - x.mean(0)).sum())


def r2_each(x: Float[np.ndarray, "n p"], reconstructed: Float[np.ndarray, "n p"]) -> Float[np.ndarray, " p"]:
    """The same of each feature by itself; not a number where a feature does not vary."""
    x, reconstructed = x.astype(np.float64), reconstructed.astype(np.float64)
    residual, total = np.square(x - reconstructed).sum(0), np.square(x - x.mean(0)).sum(0)
    return np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), np.nan)


def w2(
    x: Float[np.ndarray, "n d"],
    y: Float[np.ndarray, "m d"],
    weights: Float[np.ndarray, " n"] | None = None,
    most: int = 2000,
    seed: int = 0,
) -> float:
    """Exact W_2 between a weighted cloud and a uniform one; larger clouds are sampled to ``most`` points."""
    rng = np.random.default_rng(seed)
    if len(x) > most:
        p = None if weights is None else weights / weights.sum()
        x, weights = x[rng.choice(len(x), most, p=p)], None
    if len(y) > most:
        y = y[rng.choice(len(y), most, replace=False)]
    a = (
        np.full(len(x), 1 / len(x))
        if weights is None
        else np.asarray(weights, np.float64) / np.sum(weights, dtype=np.float64)
    )
    b = np.full(len(y), 1 / len(y))
    cost = ot.dist(x.astype(np.float64), y.astype(np.float64))
    return float(np.sqrt(max(ot.emd2(a, b, cost, numItermax=1_000_000), 0)))


Cloud = tuple[np.ndarray, np.ndarray]
"""Points (n, d) and their weights (n,)."""


def even(points: Float[np.ndarray, "n d"]) -> Cloud:
    """Points of equal weight, together of weight one."""
    return points, np.full(len(points), 1 / len(points))


def compared(
    observed: Float[np.ndarray, "n d"], clouds: Mapping[str, Cloud], m: int, splits: int = 3, seed: int = 0
) -> dict[str, float]:
    """W_2 of each cloud to the observed points, and as ``floor`` that of observed points to each other.

    W_2 between samples is the larger the smaller they are, so all are of one size: ``m`` points of each cloud
    (:func:`resampled`), and ``m`` other observed ones, against the same ``m`` observed ones, in the mean over random
    ``splits``. What cannot be told from the observed points has the floor's value. NaN where fewer than 2 m points
    are observed.
    """
    if not 1 <= m <= len(observed) // 2:
        return dict.fromkeys((*clouds, "floor"), float("nan"))
    pairs = []
    for split in range(splits):
        order = np.random.default_rng((seed, split)).permutation(len(observed))
        one, other = observed[order[:m]], observed[order[m : 2 * m]]
        # each with the same random numbers, so that what stands beside it makes no difference
        drawn = [resampled(*cloud, m, np.random.default_rng((seed, split, m))) for cloud in clouds.values()]
        pairs += [(cloud, one) for cloud in (other, *drawn)]
    found = np.reshape(side_by_side(lambda pair: w2(*pair), pairs), (splits, len(clouds) + 1))
    return dict(zip(("floor", *clouds), found.mean(0).tolist(), strict=True))


def _coupling(clouds: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Optimal plan between two clouds of equal weights."""
    a, b = clouds
    return ot.emd(ot.unif(len(a)), ot.unif(len(b)), ot.dist(a, b), numItermax=1_000_000)


@dataclass(frozen=True)
class Direction:
    """Mean cosines with the cells' displacements; see :func:`direction`."""

    learned: float
    constant: float
    """Of the best field that is the same everywhere and always."""


def direction(
    z: Float[np.ndarray, "n d"], velocity: Float[np.ndarray, "n d"], index: Int[np.ndarray, " n"], most: int = 2000
) -> Direction:
    """Mean cosine between a cell's velocity and its displacement to where an exact coupling with the next time point
    sends it (the barycentre of its partners); and the largest that a constant field can have.

    For a unit vector c the mean of ⟨c, e⟩ over the displacements' directions e is ⟨c, ⟨e⟩⟩, at most |⟨e⟩|. A cell that
    the field leaves at rest counts as 0.
    """
    rng = np.random.default_rng(0)
    pairs, cosines, directions = [], [], []
    for i in np.unique(index)[:-1]:
        here, there = (np.flatnonzero(index == j) for j in (i, i + 1))
        pairs.append([rng.choice(c, most, replace=False) if len(c) > most else c for c in (here, there)])
    clouds = [(z[here].astype(np.float64), z[there].astype(np.float64)) for here, there in pairs]
    plans = side_by_side(_coupling, clouds)
    for (here, _), (a, b), plan in zip(pairs, clouds, plans, strict=True):
        step, v = plan @ b * len(a) - a, velocity[here].astype(np.float64)
        steps, speeds = np.linalg.norm(step, axis=1), np.linalg.norm(v, axis=1)
        goes = steps > 0
        cosines.append((step * v).sum(1)[goes] / np.where(speeds > 0, steps * speeds, 1)[goes])
        directions.append(step[goes] / steps[goes, None])
    constant = np.linalg.norm(np.concatenate(directions).mean(0))
    return Direction(float(np.concatenate(cosines).mean()), float(constant))


def direction_spread(velocities: Float[np.ndarray, "k n d"]) -> Float[np.ndarray, " n"]:
    """1 − |⟨v / |v|⟩| over k models: the circular variance of their directions at n places, in 0 .. 1.

    0 where all point the same way; 0.13, 0.25, 0.5 for directions that scatter by about 30°, 45°, 70° around their
    mean. In d = 2, k directions without anything in common give 1 − 0.89 / √k on average, 0.6 for five. A model at
    rest has no direction and counts as disagreeing. Source: Mardia & Jupp, Directional Statistics, 2000, section 2.3.
    """
    v = velocities.astype(np.float64)
    norm = np.linalg.norm(v, axis=2, keepdims=True)
    unit = np.divide(v, norm, out=np.zeros_like(v), where=norm > 0)
    mean = np.linalg.norm(unit.mean(0), axis=1)
    # 1 − R² is the mean square distance from the mean; about the first one, equal directions give zero to the last bit
    apart = unit - unit[0]
    scatter = np.square(apart).sum(2).mean(0) - np.square(apart.mean(0)).sum(1)
    moving = (norm > 0).all((0, 2))
    spread = np.where(moving, scatter / (1 + mean), 1 - mean)
    return np.clip(spread, 0, 1).astype(np.float32)


UNLABELLED = frozenset(("", "nan", "none", "na", "n/a", "not assigned", "unassigned", "unknown", "undefined"))
"""Words for a cell of no known kind, in any case."""


def labelled(labels: Iterable) -> Bool[np.ndarray, " n"]:
    """Which cells have a label that says something."""
    return np.array([not pd.isna(label) and str(label).strip().lower() not in UNLABELLED for label in labels], bool)


def votes(near: Int[np.ndarray, "n k"], codes: Int[np.ndarray, " m"]) -> Int[np.ndarray, " n"]:
    """The commonest of the ``codes`` of each row's neighbours; of equally common ones the first."""
    counts = np.zeros((len(near), int(codes.max()) + 1), np.int64)
    np.add.at(counts, (np.arange(len(near))[:, None], codes[near]), 1)
    return counts.argmax(1)


def label_accuracy(z: Float[np.ndarray, "n d"], labels: Iterable, k: int = 15) -> float:
    """Share of labelled cells whose ``k`` nearest other labelled cells in the embedding vote for their own label.

    Leave-one-out k-nearest-neighbours classification; cells without a label (:func:`labelled`) are left out. NaN where
    fewer than two cells, or fewer than two labels, are left.
    """
    labels = np.asarray(labels, dtype=object)
    known = labelled(labels)
    names, codes = np.unique(labels[known].astype(str), return_inverse=True)
    if len(names) < 2:
        return float("nan")
    near = _neighbours(z[known], min(k, len(codes) - 1))
    return float((votes(near, codes) == codes).mean())


def landed(arrived: Float[np.ndarray, "n d"], z: Float[np.ndarray, "m d"], labels: Iterable, k: int = 15) -> np.ndarray:
    """The label of each particle, (n,) of text: that of most of the ``k`` labelled cells nearest to it.

    At least one cell must have a label.
    """
    labels = np.asarray(labels, dtype=object)
    known = labelled(labels)
    names, codes = np.unique(labels[known].astype(str), return_inverse=True)
    near = cKDTree(z[known]).query(arrived, min(k, len(codes)))[1].reshape(len(arrived), -1)
    return names[votes(near, codes)]


def arrivals(
    arrived: Float[np.ndarray, "n d"],
    weights: Float[np.ndarray, " n"],
    z: Float[np.ndarray, "m d"],
    labels: Iterable,
    k: int = 15,
) -> dict[str, dict[str, float]]:
    """For each label, the share of the mass of particles that arrives there, beside the share of the observed cells.

    A particle arrives where :func:`landed` says. Empty where no cell has a label.
    """
    labels = np.asarray(labels, dtype=object)
    observed = labels[labelled(labels)].astype(str)
    if not len(observed):
        return {}
    places, mass = landed(arrived, z, labels, k), np.asarray(weights, np.float64)
    return {
        str(name): dict(
            predicted=float(mass[places == name].sum() / mass.sum()), observed=float((observed == name).mean())
        )
        for name in np.unique(observed)
    }


def resampled(
    points: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " n"], m: int, rng: np.random.Generator
) -> Float[np.ndarray, "m d"]:
    """``m`` points of a weighted cloud by systematic resampling: point i is drawn ⌊m w_i⌋ or ⌈m w_i⌉ times.

    So points of equal weight are drawn at most once where m ≤ n. Source: Kitagawa, J. Comput. Graph. Stat. 5, 1996.
    """
    order = rng.permutation(len(points))
    ends = np.cumsum(np.asarray(weights, np.float64)[order])
    places = (rng.random() + np.arange(m)) / m * ends[-1]
    return points[order[np.searchsorted(ends, places, side="right").clip(max=len(points) - 1)]]


def velocity_alignment(
    velocity: Float[np.ndarray, "n d"], truth: Float[np.ndarray, "n k"], most: int = 2000, seed: int = 0
) -> float:
    """VA: distance correlation between learned and true velocities in the embedding (Székely et al. 2007).

    Beyond ``most`` cells a random sample is compared.
    """
    if len(velocity) > most:
        chosen = np.random.default_rng(seed).choice(len(velocity), most, replace=False)
        velocity, truth = velocity[chosen], truth[chosen]
    a, b = (_centred_distances(part.astype(np.float64)) for part in (velocity, truth))
    covariance, spread = (a * b).mean(), np.sqrt((a * a).mean() * (b * b).mean())
    return float(np.sqrt(max(covariance, 0) / spread)) if spread > 0 else 0.0


def _centred_distances(points: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    distance = cdist(points, points)
    return distance - distance.mean(0) - distance.mean(1)[:, None] + distance.mean()

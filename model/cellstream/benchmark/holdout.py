"""A time point that the model has not seen: W_2 in the input space between predicted and observed cells.

Every prediction is a weighted cloud of points. All are compared in the same way: m points of it against m of the
observed cells; the noise floor is m others of these against them. m is at most half the observed cells, the number of
cells of either neighbouring time point, and 2000. The mean over :data:`SPLITS` random splits.

Between finite samples, W_2 is kind to clouds of too little spread: in many dimensions they can fall below the floor.
So the spread of each prediction, as a share of that of the observed cells, stands beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import ot

from cellstream import metrics
from cellstream.benchmark.cases import Case
from cellstream.errors import Lost
from cellstream.metrics import Cloud, even
from cellstream.stream import CellStream

SPLITS = 5
MOST = 2000
PREDICTIONS = ("decoded", "residual", "residual, both sides", "residual, both sides, coupled")
"""What a model says of the time point; see :func:`predictions`."""


class Gap:
    """The time point ``i`` of a case and its neighbours, as arrays."""

    def __init__(self, case: Case, i: int):
        s = case.snapshots
        x, index = s.x.cpu().numpy().astype(np.float64), s.index.cpu().numpy()
        self.before, self.observed, self.after = (x[index == j] for j in (i - 1, i, i + 1))
        self.start, self.time, self.end = s.times.cpu().numpy()[i - 1 : i + 2].tolist()

    @property
    def share(self) -> float:
        """How far the time point lies from the one before (0) to the one after (1)."""
        return (self.time - self.start) / (self.end - self.start)

    def score(self, clouds: dict[str, Cloud], seed: int) -> dict[str, float | None]:
        """W_2 of each prediction and of the ``noise floor`` to the observed cells, as ``w2 NAME``; and ``spread NAME``,
        √(total variance of the prediction / that of the observed cells), None where the latter are all alike."""
        sizes = (len(self.observed) // 2, len(self.before), len(self.after), MOST)
        found = metrics.compared(self.observed, clouds, min(sizes), SPLITS, seed)
        w2 = {"noise floor": found.pop("floor"), **found}
        variance = _variance(even(self.observed))
        differ = variance > 1e-12 * np.square(self.observed).sum(1).mean()
        spread = {
            f"spread {name}": float(np.sqrt(_variance(cloud) / variance)) if differ else None
            for name, cloud in clouds.items()
        }
        return {f"w2 {name}": value for name, value in w2.items()} | spread


def yardsticks(gap: Gap) -> dict[str, Cloud]:
    """What needs no training."""
    return {
        "linear OT interpolation": interpolated(even(gap.before), even(gap.after), gap.share),
        "previous time point": even(gap.before),
    }


def interpolated(a: Cloud, b: Cloud, share: float) -> Cloud:
    """Displacement interpolation (McCann 1997) along an exact optimal plan P: (1 − s) a_i + s b_j of mass P_ij."""
    plan = ot.emd(a[1], b[1], ot.dist(a[0], b[0]), numItermax=1_000_000)
    here, there = plan.nonzero()
    return (1 - share) * a[0][here] + share * b[0][there], plan[here, there]


def predictions(stream: CellStream, gap: Gap) -> dict[str, Cloud]:
    """Predictions of a model that has not seen the time point.

    ``decoded``: particles from the cells of the time point before, decoded. ``residual``: these cells in the input
    space plus what the decoder says of their way, x + dec(z(t)) − dec(z(t₀)), so that what two dimensions cannot hold
    is kept. ``both sides``: that from the time point before and, backwards, from the one after, mixed by closeness in
    time. ``both sides, coupled``: these two clouds, which are of one time, coupled and interpolated: the model says how
    cells move as far as it sees them, and the coupling the rest. Of a model that moves nothing it is linear OT
    interpolation.
    """
    decoded, forward = _carried(stream, gap.before, gap.start, gap.time)
    _, backward = _carried(stream, gap.after, gap.end, gap.time)
    mixed = np.concatenate([(1 - gap.share) * forward[1], gap.share * backward[1]])
    both = (np.concatenate([forward[0], backward[0]]), mixed)
    return dict(zip(PREDICTIONS, (decoded, forward, both, interpolated(forward, backward, gap.share)), strict=True))


def _carried(stream: CellStream, x: np.ndarray, start: float, time: float) -> tuple[Cloud, Cloud]:
    """The cells ``x`` of ``start`` at ``time``: decoded, and with their residual. Weights sum to one."""
    z = stream.encode(x, start)
    flow = (stream.push if time > start else stream.pull)(z, start, [time])
    weights = np.exp(flow.log_w[0].astype(np.float64))
    there = stream.decode(flow.z[0]).astype(np.float64)
    moved = x + there - stream.decode(z)
    if not (np.isfinite(moved).all() and np.isfinite(weights).all() and weights.sum() > 0):
        raise Lost
    weights /= weights.sum()
    return (there, weights), (moved, weights)


def _variance(cloud: Cloud) -> float:
    """Total variance of a weighted cloud."""
    points, weights = cloud
    mean = np.average(points, axis=0, weights=weights)
    return float(np.average(np.square(points - mean).sum(1), weights=weights))


def judged(stream: CellStream, case: Case, i: int, seed: int) -> dict[str, Any]:
    """All predictions of a model of ``case.without(i)`` for time point ``i``."""
    gap = Gap(case, i)
    found = gap.score(predictions(stream, gap), seed)
    return {name: value for name, value in found.items() if "noise floor" not in name}

"""Fates and growth where both are known: simulated lineages that part and grow at different rates.

``fate LABEL``: of the cells of a time point, the share that end among cells of their own true fate. ``growth LABEL``:
correlation, over the cells of a time point, of their growth rate with the true one; within an interval, so that of
two growths at a time point the one of the interval that begins there counts. ``slope LABEL``: by how much it rises
where the true one rises by one, that is their correlation times the ratio of their spreads. True rates are those of the
cells as they are; the mean over the interval, which is what couplings can tell, has slope 1.00 at day 5 and 1.15 at day
3. Where the true rate is the same for all cells there is nothing to compare, and both are None.

What no picture can do better is told by couplings of the cells in the input (:func:`yardsticks`). The fate of a cell
is drawn before its lineage can be told from the others', so no method reaches 1 at the early time points.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import ot
import scipy.stats
from jaxtyping import Float
from torch import Tensor

from cellstream import evaluation, metrics, partners
from cellstream.benchmark.cases import Case
from cellstream.benchmark.measures import require_finite
from cellstream.stream import CellStream


def measured(stream: CellStream, case: Case) -> dict[str, Any]:
    """Fates and growth of a fitted model, beside TC and trust."""
    s = case.snapshots
    z, v = evaluation.in_plane(stream, s)
    require_finite(stream, case, z, v)
    assert case.fate is not None
    kept = evaluation.fidelity(stream, s, case.fate)
    x, index, times = s.x.cpu().numpy(), s.index.cpu().numpy(), s.times.cpu().numpy()
    latent = stream.encode(x, times[index])
    found: dict[str, Any] = {f"fate {label}": share["kept"] for label, share in kept.items()}
    for i in range(len(s.times) - 1):
        here = index == i
        found |= _compared(stream.growth(latent[here], times[i]), case, i)
    return found | dict(tc=metrics.consistency(z, v, index).tc, trust=metrics.trust_within(x, z, index))


def yardsticks(case: Case, grow: bool) -> dict[str, Any]:
    """The same of chained exact couplings of the input: balanced, or of cells weighted by their descendants as an
    unbalanced coupling tells them, which is what L_Lin learns from. A cell has the fate to which most of its mass goes.
    """
    s = case.snapshots
    assert case.fate is not None
    x = [s.x[s.cells(i)] for i in range(len(s.times))]
    weights = [_weights(a, b, grow) for a, b in pairwise(x)]
    names, codes = np.unique(case.fate.astype(str), return_inverse=True)
    cells = [s.cells(i).cpu().numpy() for i in range(len(x))]
    ends = np.eye(len(names))[codes[cells[-1]]]
    found: dict[str, Any] = {}
    for i in reversed(range(len(x) - 1)):
        a, b = (part.cpu().numpy().astype(np.float64) for part in x[i : i + 2])
        plan = ot.emd(weights[i], ot.unif(len(b)), ot.dist(a - a.mean(0), b - b.mean(0)), numItermax=1_000_000)
        ends = plan @ ends / plan.sum(1, keepdims=True)
        found[f"fate {s.labels[i]}"] = float((ends.argmax(1) == codes[cells[i]]).mean())
        gap = float(s.times[i + 1] - s.times[i])
        found |= _compared(np.log(weights[i]) / gap, case, i)
    return found


def _weights(a: Tensor, b: Tensor, grow: bool) -> Float[np.ndarray, " n"]:
    descendants = partners.descendants(a, b).cpu().numpy().astype(np.float64) if grow else np.ones(len(a))
    return descendants / descendants.sum()


def _compared(rates: Sequence[float] | np.ndarray, case: Case, i: int) -> dict[str, float | None]:
    """Correlation and slope of growth rates of the cells of time point ``i`` on the true ones."""
    assert case.growth is not None
    true, label = case.growth[case.snapshots.index.cpu().numpy() == i], case.snapshots.labels[i]
    if min(np.ptp(true), np.ptp(rates)) == 0:
        return {f"growth {label}": None, f"slope {label}": None}
    line = scipy.stats.linregress(true, rates)
    return {f"growth {label}": float(line.rvalue), f"slope {label}": float(line.slope)}

"""A result in numbers, one level deep: what the tables show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from cellstream import evaluation, metrics
from cellstream.benchmark.cases import Case
from cellstream.errors import Lost
from cellstream.stream import CellStream

VERSION = 3
"""To be raised where a measure changes its meaning: what was measured before is then measured anew."""
RADIUS = 0.05
"""Of the balls of VC and TC wherever nothing else is said."""
RADII = (0.01, RADIUS, 0.1)
"""As in the paper's table 5."""

Measure = Callable[[CellStream, Case], dict[str, Any]]


def everything(stream: CellStream, case: Case) -> dict[str, Any]:
    """The metrics of :func:`cellstream.evaluation.evaluate`; of time points the worst one counts.

    ``match`` is W_2 in the embedding as a multiple of the noise floor, at the time point where that is largest;
    ``match_stays`` and ``match_shift`` are the same of "nothing moves" and "all cells move alike" at this time point.
    ``match_input`` is that of the input space. All are None where the cells of a time point are all alike.
    ``below_shift`` says whether W_2 is below the shift's at every time point; ``w2_input LABEL`` is W_2 in the input
    space; ``mass`` is the relative error. R² is ``r2_new`` where training has left cells out to be judged on, else
    ``r2_seen``.
    """
    z, v = evaluation.in_plane(stream, case.snapshots)
    require_finite(stream, case, z, v)
    found = evaluation.evaluate(stream, case.snapshots, case.lineages, case.since, plane=True)
    points = found["match"].values()
    flat: dict[str, float | None] = {key: value for key, value in found.items() if isinstance(value, float)}
    flat["r2_new" if found["r2_unseen"] else "r2_seen"] = flat.pop("r2")
    worst = worst_match(points)
    flat |= dict(match=worst["w2"], match_stays=worst["stays"], match_shift=worst["shift"])
    flat["match_input"] = worst_match(p["input"] for p in points)["w2"]
    flat["below_shift"] = float(all(p["w2"] < p["shift"] for p in points))
    flat["mass"] = max(abs(p["predicted"] / p["observed"] - 1) for p in found["mass"].values())
    flat |= {f"w2_input {label}": p["input"]["w2"] for label, p in found["match"].items()}
    if found.get("arrivals"):
        flat["lineages"] = found["arrivals"]["difference"]
        for name, share in found["arrivals"]["lineages"].items():
            flat |= {f"arriving {name}": share["predicted"], f"observed {name}": share["observed"]}
    index = case.snapshots.index.cpu().numpy()
    for r in RADII:
        balls = found if r == RADIUS else asdict(metrics.consistency(z, v, index, r))
        flat |= {f"{name} r={r:g}": balls[name] for name in ("vc_paper", "tc_paper", "vc", "tc")}
    return flat


def worst_match(points: Iterable[Mapping[str, Any]]) -> dict[str, float | None]:
    """``w2``, ``stays`` and ``shift`` as multiples of the ``floor``, of the time point where that of ``w2`` is largest;
    None each where a time point has no floor that a ratio could be made with."""
    keys, points = ("w2", "stays", "shift"), list(points)
    if not all(math.isfinite(p["floor"]) and p["floor"] > 0 for p in points):
        return dict.fromkeys(keys)
    worst = max(points, key=lambda p: p["w2"] / p["floor"])
    return {key: worst[key] / worst["floor"] for key in keys}


def alignment(stream: CellStream, case: Case) -> dict[str, Any]:
    """VA against the true velocity, and TC in both forms."""
    assert case.velocity is not None
    z, v = evaluation.in_plane(stream, case.snapshots)
    require_finite(stream, case, z, v)
    found = metrics.consistency(z, v, case.snapshots.index.cpu().numpy())
    va = evaluation.alignment(stream, case.snapshots, case.velocity)
    return dict(va=va, tc_paper=found.tc_paper, tc=found.tc, vc_paper=found.vc_paper, vc=found.vc)


def require_finite(stream: CellStream, case: Case, z: np.ndarray, v: np.ndarray) -> None:
    """Raise :class:`~cellstream.errors.Lost` where cells ``z``, velocities ``v``, or the places to which the fit
    carries the first cells, are no numbers."""
    s = case.snapshots
    first = s.cells(0).cpu().numpy()
    times = s.times.cpu().numpy().astype(np.float64)
    flow = stream.push(stream.encode(s.x.cpu().numpy()[first], times[0]), times[0], times)
    if not all(np.isfinite(part).all() for part in (z, v, flow.z, np.exp(flow.log_w))):
        raise Lost

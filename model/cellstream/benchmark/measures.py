"""A result in numbers, one level deep: what the tables show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cellstream import evaluation, metrics
from cellstream.benchmark.cases import Case
from cellstream.errors import Diverged, UserError
from cellstream.stream import CellStream

VERSION = 2
"""To be raised where a measure changes its meaning: what was measured before is then measured anew."""
RADII = (0.01, 0.05, 0.1)
"""Of the balls of VC and TC, as in the paper's table 5."""


class Lost(Diverged):
    """The fields of a fit carry cells out of the numbers."""

    def __init__(self) -> None:
        UserError.__init__(self, "The fitted fields carry cells to where positions or masses are no longer numbers.")


Measure = Callable[[CellStream, Case], dict[str, Any]]


def everything(stream: CellStream, case: Case) -> dict[str, Any]:
    """The metrics of :func:`cellstream.evaluation.evaluate`; of time points the worst one counts.

    ``match`` is W_2 in the embedding as a multiple of the noise floor, ``match_stays`` and ``match_shift`` are the same
    of "nothing moves" and "all cells move alike"; ``below_shift`` says whether W_2 is below the latter's at every time
    point; ``w2_input LABEL`` is W_2 in the input space; ``mass`` is the relative error.
    """
    require_finite(stream, case)
    found = evaluation.evaluate(stream, case.snapshots, case.lineages, case.since, plane=True)
    points = list(found["match"].values())
    flat = {k: v for k, v in found.items() if isinstance(v, float)} | dict(
        match=max(p["w2"] / p["floor"] for p in points),
        match_stays=max(p["stays"] / p["floor"] for p in points),
        match_shift=max(p["shift"] / p["floor"] for p in points),
        match_input=max(p["input"]["w2"] / p["input"]["floor"] for p in points),
        below_shift=float(all(p["w2"] < p["shift"] for p in points)),
        mass=max(abs(p["predicted"] / p["observed"] - 1) for p in found["mass"].values()),
    )
    flat |= {f"w2_input {label}": p["input"]["w2"] for label, p in found["match"].items()}
    if found.get("arrivals"):
        flat["lineages"] = found["arrivals"]["difference"]
        for name, share in found["arrivals"]["lineages"].items():
            flat |= {f"arriving {name}": share["predicted"], f"observed {name}": share["observed"]}
    return flat | _at_radii(stream, case)


def alignment(stream: CellStream, case: Case) -> dict[str, Any]:
    """VA against the true velocity, and TC in both forms."""
    require_finite(stream, case)
    assert case.velocity is not None
    z, v = evaluation.in_plane(stream, case.snapshots)
    found = metrics.consistency(z, v, case.snapshots.index.cpu().numpy())
    va = evaluation.alignment(stream, case.snapshots, case.velocity)
    return dict(va=va, tc_paper=found.tc_paper, tc=found.tc, vc_paper=found.vc_paper, vc=found.vc)


def require_finite(stream: CellStream, case: Case) -> None:
    """Raise :class:`Lost` where the fit carries cells out of the numbers."""
    s = case.snapshots
    first = s.cells(0).cpu().numpy()
    times = s.times.cpu().numpy().astype(np.float64)
    flow = stream.push(stream.encode(s.x.cpu().numpy()[first], times[0]), times[0], times)
    if not all(
        np.isfinite(part).all() for part in (*evaluation.in_plane(stream, case.snapshots), flow.z, np.exp(flow.log_w))
    ):
        raise Lost


def _at_radii(stream: CellStream, case: Case) -> dict[str, float]:
    z, v = evaluation.in_plane(stream, case.snapshots)
    found = {r: metrics.consistency(z, v, case.snapshots.index.cpu().numpy(), r) for r in RADII}
    names = ("vc_paper", "tc_paper", "vc", "tc")
    return {f"{name} r={r:g}": getattr(balls, name) for r, balls in found.items() for name in names}

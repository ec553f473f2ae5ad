"""A result for the rest of the scverse: growth, time, velocities of genes, transitions and transport maps.

What :func:`hand_over` adds to the AnnData that :func:`cellstream.scverse.annotate` has written to, for the n cells that
took part; others get NaN, and in matrices what their readers bear (below):

    obs["cellstream_time"]           the cell's time, ordered categories that are numbers: for CellRank's
                                     RealTimeKernel, moscot's time_key, WOT's day_field
    obs["cellstream_descendants"]    m_i = exp ∫ g dt along the flow to the next time point; NaN at the last one
    obs["posterior_growth_rates"]    m_i^(1/Δt): moscot's name and unit for what it learns, a factor per unit of time
    obs["cell_growth_rate"]          the same number under WOT's name, which raises it to the power Δt
    layers["velocity"]               W J_dec(z) v(t, z), per ``clock.rate_unit``: for scVelo, CellRank's VelocityKernel
    layers["cellstream_expression"]  W f_dec(z) + μ, the expression that this velocity changes: scVelo's xkey
    obsp["T_fwd"]                    P below: for CellRank's PrecomputedKernel

**Velocity of genes.** In the log-normalised expression that the encoder was given (:func:`cellstream.genes.rates`).
Genes that no decoder reaches are NaN: scVelo leaves out a gene that is NaN somewhere, where a zero would say that it
does not change. So cells without a place on the map are 0 in every gene that is reached, which are marked in
``var["velocity_genes"]``.

**Transitions.** Cell i of a time point is carried by the flow to y_i at the next one, whose cells are at z_j. Of the
k = 15 nearest to y_i,

    P_ij ∝ exp(−|y_i − z_j|² / 2h_i²),    h_i = half the mean over them of r_j,

with r_j the distance from z_j to its k-th nearest of the same time point: within such a radius snapshots do not tell
one cell from another. Cells of the last time point, and those that did not take part, stay where they are.

**Transport maps.** Between the n carried cells with masses m_i and the l observed ones

    min_π ⟨π, C⟩ + ε KL(π ‖ a ⊗ b) + τ KL(πᵀ1 ‖ b)  where π1 = a,  a_i = m_i / Σ m,  b_j = 1/l,  C_ij = |y_i − z_j|²,

times Σ m: rows sum to m_i, which is what growth is in WOT, and columns are even as far as that asks no cell to change
its lineage. ε = 2r² with r the median of r_j, τ = 10 ε. Where growth is a little off, columns that must be even force
the rest across: of the simulated blood, day 5, 88 % of the cells then end in their own lineage, with this price 99 %,
while columns deviate from even by 26 % (standard deviation), and by 5 to 12 % in the intervals before. The transitions
above, which ask nothing of columns, keep 99.6 %.

Source: Lange et al., Nature Methods 2022 (CellRank); Schiebinger et al., Cell 2019 (WOT); Klein et al., Nature 2025
(moscot); Bergen et al., Nature Biotechnology 2020 (scVelo); Chizat et al., Math. Comp. 2018 (unbalanced transport).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import ot
import pandas as pd
from anndata import AnnData
from jaxtyping import Float, Int
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from cellstream import genes, memory
from cellstream.errors import UserError
from cellstream.files import require_disk, whole_folder
from cellstream.scverse import HANDOVER, KEY, handed_over, is_ours, rows_of
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream

TIME = "cellstream_time"
DESCENDANTS = "cellstream_descendants"
MOSCOT_GROWTH = "posterior_growth_rates"
WOT_GROWTH = "cell_growth_rate"
VELOCITY_LAYER = "velocity"
EXPRESSION = "cellstream_expression"
TRANSITIONS = "T_fwd"
OTHERWISE = "cellstream_"
"""Put before a name of another tool's where the user has something of their own under it."""
NEAREST = 15
"""k, as in scanpy's graphs. Fates on the simulated blood are the same from 5 to 60."""
PRICE = 10.0
"""τ / ε."""
SWEEPS = 3000
"""Of Sinkhorn's algorithm, at most."""
COPIES = 5
"""Matrices in double precision that solving for a transport map holds, about."""


@dataclass(frozen=True)
class Landing:
    """The cells of a time point, carried to the next one."""

    before: Int[np.ndarray, " n"]
    """Which cells, as positions in the snapshots."""
    after: Int[np.ndarray, " m"]
    """Cells of the next time point."""
    z: Float[np.ndarray, "n d"]
    """Where the first come to lie."""
    there: Float[np.ndarray, "m d"]
    """Where the second lie."""
    mass: Float[np.ndarray, " n"]
    """exp ∫ g dt."""
    times: tuple[float, float]


def landings(stream: CellStream, snapshots: Snapshots) -> list[Landing]:
    """Every interval between two time points."""
    z, index = _embedding(stream, snapshots), snapshots.index.cpu().numpy()
    times, found = snapshots.times.tolist(), []
    for i, (start, end) in enumerate(pairwise(times)):
        before, after = np.flatnonzero(index == i), np.flatnonzero(index == i + 1)
        flow = stream.push(z[before], start, [end])
        if not (np.isfinite(flow.z).all() and np.isfinite(flow.log_w).all()):
            raise UserError(
                f"The flow carries cells of {snapshots.labels[i]} to where positions or masses are no longer numbers: "
                "train again with lower learning rates."
            )
        mass = np.exp(flow.log_w[-1].astype(np.float64))
        found.append(Landing(before, after, flow.z[-1], z[after], mass, (start, end)))
    return found


def hand_over(
    adata: AnnData,
    stream: CellStream,
    snapshots: Snapshots,
    *,
    velocity_layer: bool = False,
    transitions: bool = False,
    landed: list[Landing] | None = None,
) -> dict[str, str]:
    """Add to ``adata``, in place, what other tools read; what is there of the user's stays.

    ``adata`` is annotated; ``stream`` and ``snapshots`` are what :func:`cellstream.scverse.read_result` finds in it.
    Names that belong to other tools get :data:`OTHERWISE` before them where the user has used them; what an earlier
    handing over wrote is replaced. ``landed`` is of :func:`landings`, for those who have it already.

    Returns:
        What was written: its place, such as ``obs['cellstream_time']``, and its unit or meaning.

    Raises:
        UserError: there is no result, a name of ours is taken, the features lead back to no gene of the data, or memory
            is too small.
    """
    if not is_ours(adata.uns.get(KEY)):
        raise UserError("Expected an annotated result to hand over, but uns['cellstream'] holds none: annotate first.")
    rows = rows_of(adata, snapshots)
    landed = landings(stream, snapshots) if landed is None else landed
    unit, per = stream.clock.unit or "unit of time", stream.clock.rate_unit
    factor, new = f"factor per {unit}", _Written(adata)

    new.put("obs", new.own("obs", TIME), _times(adata, snapshots, rows), unit)
    mass, rate = _growth(snapshots, landed)
    new.put("obs", new.own("obs", DESCENDANTS), _spread(mass, rows, adata.n_obs), "factor until the next time point")
    for name in (MOSCOT_GROWTH, WOT_GROWTH):
        new.put("obs", new.free("obs", name), _spread(rate, rows, adata.n_obs), factor)
    if velocity_layer:
        velocity, expression, reached = _in_genes(adata, stream, snapshots, rows)
        normalised = any("log(1 + x)" in line for line in snapshots.report)
        values = "log-normalised expression" if normalised else "values as in the file"
        # scVelo looks for the genes under the velocity's name: both are free, or both go by the other name
        theirs = new.taken("layers", VELOCITY_LAYER) or new.taken("var", f"{VELOCITY_LAYER}_genes")
        name = OTHERWISE + VELOCITY_LAYER if theirs else VELOCITY_LAYER
        new.put("layers", new.own("layers", name), velocity, f"{values} per {per}")
        new.put("layers", new.own("layers", EXPRESSION), expression, f"{values}, as decoded")
        new.put("var", new.own("var", f"{name}_genes"), reached, "whether a decoder reaches the gene")
    if transitions:
        found = transition_matrix(landed, rows, adata.n_obs)
        new.put("obsp", new.free("obsp", TRANSITIONS), found, "probability until the next time point")
    return new.write()


def transition_matrix(landed: list[Landing], rows: Int[np.ndarray, " n"], n_obs: int) -> sparse.csr_matrix:
    """P of all cells of a table of ``n_obs``, in which those of the snapshots are in ``rows``; rows sum to one."""
    froms, tos, values = [], [], []
    for part in landed:
        near, weight = _kernel(part)
        froms.append(np.repeat(rows[part.before], near.shape[1]))
        tos.append(rows[part.after[near]].ravel())
        values.append(weight.ravel())
    staying = np.setdiff1d(np.arange(n_obs), np.concatenate(froms))
    at = np.concatenate([*froms, staying]), np.concatenate([*tos, staying])
    # of double precision: row sums are held against one by those who read them
    return sparse.csr_matrix((np.concatenate([*values, np.ones(len(staying))]), at), (n_obs, n_obs))


def transport_maps(landed: list[Landing], names: pd.Index) -> Iterator[AnnData]:
    """π of each interval: rows the earlier cells, columns the later ones; ``names`` are the snapshots' cells'."""
    for part in landed:
        start, end = part.times
        n, m = len(part.before), len(part.after)
        memory.require(
            COPIES * 8 * n * m,
            f"A transport map of {n:,} by {m:,} cells",
            "take fewer cells, or --transitions, which are sparse",
        )
        # named as WOT looks for it in the file
        obs, var = (pd.DataFrame(index=pd.Index(names[k].astype(str), name="index")) for k in (part.before, part.after))
        obs[DESCENDANTS], obs[WOT_GROWTH] = part.mass, part.mass ** (1 / (end - start))
        yield AnnData(coupling(part).astype(np.float32), obs, var, uns=dict(t0=start, t1=end))


def only_maps(folder: Path) -> bool:
    """Whether there is nothing in a folder but what :func:`write_transport_maps` writes."""
    return all(file.is_file() and re.fullmatch(r"tmap_.*_.*\.h5ad", file.name) for file in folder.iterdir())


def write_transport_maps(landed: list[Landing], names: pd.Index, folder: Path) -> list[str]:
    """:func:`transport_maps` as ``tmap_{t0}_{t1}.h5ad`` in ``folder``, all or none; their names.

    The times are written without exponents, which WOT does not read; those below zero only CellRank reads."""
    needed = 4 * sum(len(part.before) * len(part.after) for part in landed)
    require_disk(folder.parent, needed, "The transport maps")
    written = []
    with whole_folder(folder) as inside:
        inside.mkdir()
        for part, found in zip(landed, transport_maps(landed, names), strict=True):
            written.append("tmap_{}_{}.h5ad".format(*(np.format_float_positional(t, trim="-") for t in part.times)))
            found.write_h5ad(inside / written[-1])
    return written


def coupling(part: Landing) -> Float[np.ndarray, "n m"]:
    """π: its rows sum to ``part.mass``."""
    radius = np.median(_radius(part.there))
    a, b = part.mass / part.mass.sum(), ot.unif(len(part.there))
    cost = ot.dist(part.z.astype(np.float64), part.there.astype(np.float64)) / (2 * radius**2)
    # what is taken off a row changes nothing where its sum is given; and the kernel cannot vanish in all of it
    cost -= cost.min(1, keepdims=True)
    plan = ot.unbalanced.sinkhorn_unbalanced(
        a, b, cost, 1.0, (np.inf, PRICE), method="sinkhorn_stabilized", reg_type="kl", numItermax=SWEEPS
    )
    # the last sweep was over the columns
    return plan * (part.mass / plan.sum(1))[:, None]


def _kernel(part: Landing) -> tuple[Int[np.ndarray, "n k"], Float[np.ndarray, "n k"]]:
    """The k nearest cells of each landing place, as positions among ``part.after``, and P there."""
    k = min(NEAREST, len(part.there))
    distance, near = NearestNeighbors(n_neighbors=k).fit(part.there).kneighbors(part.z)
    square = distance.astype(np.float64) ** 2
    width = _radius(part.there)[near].mean(1, keepdims=True) / 2
    weight = np.exp((square[:, :1] - square) / (2 * width**2))  # the nearest has one, however far it is
    return near, weight / weight.sum(1, keepdims=True)


def _radius(z: Float[np.ndarray, "m d"]) -> Float[np.ndarray, " m"]:
    """r_j; above zero also where cells lie on each other."""
    k = min(NEAREST, len(z) - 1)
    distance, _ = NearestNeighbors(n_neighbors=k).fit(z).kneighbors()
    return np.maximum(distance[:, -1], 1e-6 * max(float(np.linalg.norm(z.std(0))), 1e-30)).astype(np.float64)


def _embedding(stream: CellStream, snapshots: Snapshots) -> Float[np.ndarray, "n d"]:
    return stream.encode(snapshots.x.cpu().numpy(), _own_times(snapshots))


def _own_times(snapshots: Snapshots) -> Float[np.ndarray, " n"]:
    return snapshots.times.cpu().numpy().astype(np.float64)[snapshots.index.cpu().numpy()]


def _times(adata: AnnData, snapshots: Snapshots, rows: np.ndarray) -> pd.Categorical:
    codes = np.full(adata.n_obs, -1)
    codes[rows] = snapshots.index.cpu().numpy()
    return pd.Categorical.from_codes(codes, pd.Index(snapshots.times.cpu().numpy().astype(np.float64)), ordered=True)


def _growth(snapshots: Snapshots, landed: list[Landing]) -> tuple[np.ndarray, np.ndarray]:
    """Mass of each cell's descendants at the next time point, and its rate as a factor per unit of time."""
    mass, rate = np.full((2, len(snapshots.index)), np.nan)
    for part in landed:
        mass[part.before] = part.mass
        rate[part.before] = part.mass ** (1 / (part.times[1] - part.times[0]))
    return mass, rate


def _spread(values: np.ndarray, rows: np.ndarray, n_obs: int) -> np.ndarray:
    out = np.full(n_obs, np.nan)
    out[rows] = values
    return out


def _in_genes(
    adata: AnnData, stream: CellStream, snapshots: Snapshots, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Velocity and expression (n_obs, n_vars) of all genes, and which of them a decoder reaches."""
    names = genes.space(stream).names
    at = adata.var_names.get_indexer(list(names))
    if not (at >= 0).any():
        raise UserError(
            f"None of the {len(names):,} genes that the result was made from is among those of the data: give the data "
            "as they were then."
        )
    known, columns = np.flatnonzero(at >= 0), at[at >= 0]
    shape = (adata.n_obs, adata.n_vars)
    memory.require(3 * 4 * shape[0] * shape[1], "The velocity of all genes", "take fewer cells or genes")
    velocity, expression = np.full((2, *shape), np.nan, dtype=np.float32)
    velocity[:, columns] = 0
    z, t = _embedding(stream, snapshots), _own_times(snapshots)
    some = max(genes.ENTRIES // len(names), 1)
    for i in range(0, len(z), some):
        part = slice(i, i + some)
        here = np.ix_(rows[part], columns)
        velocity[here] = genes.rates(stream, z[part], t[part])[:, known]
        expression[here] = stream.decode_genes(z[part])[:, known]
    reached = np.zeros(adata.n_vars, bool)
    reached[columns] = True
    return velocity, expression, reached


class _Written:
    """What is to be written, all of it ready before the first name is: an error leaves the data as they were."""

    def __init__(self, adata: AnnData) -> None:
        self.adata = adata
        self.earlier = set(handed_over(adata))
        self.parts: list[tuple[str, str, Any, str]] = []

    def taken(self, slot: str, name: str) -> bool:
        return name in getattr(self.adata, slot) and (slot, name) not in self.earlier

    def own(self, slot: str, name: str) -> str:
        """A name that is ours."""
        if self.taken(slot, name):
            raise UserError(
                f"The data already has {slot}['{name}'], which CellStream did not write and will not overwrite: "
                "rename or remove it first."
            )
        return name

    def free(self, slot: str, name: str) -> str:
        """A name of another tool's, or the one that is next best."""
        return self.own(slot, OTHERWISE + name) if self.taken(slot, name) else name

    def put(self, slot: str, name: str, value: Any, unit: str) -> None:
        self.parts.append((slot, name, value, unit))

    def write(self) -> dict[str, str]:
        kept = dict(self.adata.uns[KEY])
        kept["units"] = dict(kept.get("units", {}))
        for slot, name, value, unit in self.parts:
            getattr(self.adata, slot)[name] = value
            kept["units"][name] = unit
        now = {(slot, name) for slot, name, *_ in self.parts}
        kept[HANDOVER] = json.dumps(sorted(now | {at for at in self.earlier if at[1] in getattr(self.adata, at[0])}))
        self.adata.uns[KEY] = kept
        return {f"{slot}['{name}']": unit for slot, name, _, unit in self.parts}

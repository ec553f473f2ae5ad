"""A result inside an AnnData, under names that scanpy and scVelo know; and the way back from there.

    obsm["X_cellstream"]            embedding (n_obs, d)         uns["cellstream"]   the model itself, its settings,
    obsm["velocity_cellstream"]     velocity there (n_obs, d)                        where the data came from, metrics
    obs["cellstream_growth_rate"]   d log(mass)/dt               losses, units, and the masses that were observed

and, where an ensemble was trained, how far its models disagree (:class:`cellstream.stream.Uncertainty`):

    obs["cellstream_velocity_uncertainty"]   of the directions, 0 to 1
    obs["cellstream_growth_uncertainty"]     standard deviation of the growth rates

One ``.h5ad`` is thus all that a result needs. What the file carried before is left as it was. What other tools read of
it, :mod:`cellstream.handover` adds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from cellstream.config import Preprocess
from cellstream.errors import UserError
from cellstream.fixes import TEXT
from cellstream.metadata import as_text
from cellstream.metrics import labelled
from cellstream.preprocess import cells_of, expressed
from cellstream.record import Record
from cellstream.snapshots import Snapshots, fingerprint, from_anndata
from cellstream.stream import CellStream
from cellstream.time_labels import counted, shortened
from cellstream.times import read_times

if TYPE_CHECKING:
    from anndata import AnnData

    from cellstream.history import History

KEY = "cellstream"
HANDOVER = "handover"
"""In ``uns["cellstream"]``: what :mod:`cellstream.handover` has written beside the result."""
EMBEDDING = "X_cellstream"
VELOCITY = "velocity_cellstream"
GROWTH = "cellstream_growth_rate"
VELOCITY_UNCERTAINTY = "cellstream_velocity_uncertainty"
GROWTH_UNCERTAINTY = "cellstream_growth_uncertainty"
MOST_KINDS = 50
"""Different labels that any column of kinds of cells may have; more only where each has some cells."""
SAME = 1e-2
"""Embeddings count as the same where no cell is further away than this share of the embedding's spread."""


def annotate(
    stream: CellStream,
    adata: AnnData,
    snapshots: Snapshots,
    recipe: Mapping[str, Any] | None = None,
    *,
    metrics: Mapping[str, Any] | None = None,
    history: History | None = None,
    losses: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a result into ``adata``, in place; cells that did not take part get NaN.

    Velocities and growth rates are per ``stream.clock.rate_unit``, and ``uns["cellstream"]["units"]`` says so.
    ``recipe`` holds the arguments of :func:`cellstream.snapshots.from_anndata` by which ``snapshots`` came from
    ``adata``; without it :func:`read_result` cannot find its way back. An earlier result of CellStream is replaced.
    ``losses`` are those of ``history`` where that is at hand no more. Where the recipe asks for it, columns that an
    .h5ad cannot hold become text.

    Raises:
        UserError: a name is taken by something that is not CellStream's, or ``adata`` has other cells.
    """
    require_free(adata)
    require_same_cells(adata, snapshots, recipe)
    rows = rows_of(adata, snapshots)
    index = snapshots.index.cpu().numpy()
    t = snapshots.times.cpu().numpy().astype(np.float64)[index]
    z = stream.encode(snapshots.x.cpu().numpy(), t)
    per = stream.clock.rate_unit
    kept = dict(
        version=stream.header()["version"],
        config=stream.config.to_json(),
        recipe=json.dumps(dict(recipe or {})),  # in ASCII: a file's name may hold what is no Unicode
        # where cells are taken out of the file later, the masses cannot be counted anew
        snapshots=json.dumps({**_counted(snapshots), "fingerprint": snapshots.fingerprint}, ensure_ascii=False),
        clock=json.dumps({**asdict(stream.clock), "rate_unit": per}, ensure_ascii=False),
        units={GROWTH: f"natural logarithm per {per}", VELOCITY: f"embedding per {per}"},
        metrics=json.dumps(dict(metrics or {}), ensure_ascii=False),
        losses=dict(losses_of(history) if losses is None else losses),
        model=dict(
            header=json.dumps(stream.header(), ensure_ascii=False),
            weights={name: value.cpu().numpy().copy() for name, value in stream.weights().items()},
        ),
    )
    # everything is ready before the first name is written: an error leaves the data as they were
    columns = {GROWTH: stream.growth(z, t)}
    if stream.members:
        spread = stream.uncertainty(z, t)
        columns |= {VELOCITY_UNCERTAINTY: spread.direction, GROWTH_UNCERTAINTY: spread.growth}
        kept["units"] |= {VELOCITY_UNCERTAINTY: "circular variance, 0 to 1", GROWTH_UNCERTAINTY: kept["units"][GROWTH]}
    columns = {name: _spread_out(part, rows, adata.n_obs) for name, part in columns.items()}
    earlier = handed_over(adata)
    embedded = [_spread_out(part, rows, adata.n_obs) for part in (z, stream.velocity(z, t))]
    adata.obsm[EMBEDDING], adata.obsm[VELOCITY] = embedded
    for name in (GROWTH, VELOCITY_UNCERTAINTY, GROWTH_UNCERTAINTY):
        if name in columns:
            adata.obs[name] = columns[name]
        elif name in adata.obs:  # an earlier result's, which had an ensemble
            del adata.obs[name]
    for slot, name in earlier:  # true of the earlier result alone
        if name in getattr(adata, slot):
            del getattr(adata, slot)[name]
    adata.uns[KEY] = kept
    _announce(adata)
    if recipe and TEXT in recipe.get("fixes", ()):
        adata.obs, adata.var = as_text(adata.obs), as_text(adata.var)


def read_result(adata: AnnData) -> tuple[CellStream, Snapshots, dict[str, Any]]:
    """The model, the snapshots and the recipe in an AnnData that :func:`annotate` has written to.

    The snapshots are made anew from the file's own matrix by the recipe, where it has fixes of the cells that have a
    place in the embedding, and checked: what the model says of them has to be the embedding in the file. Their masses
    are those of the training, also where the file now holds only some of the cells; ``report`` then says so.

    Raises:
        UserError: there is no result, or the cells or their values were changed since.
    """
    kept = adata.uns.get(KEY)
    if not is_ours(kept):
        raise UserError(
            "Expected a result of CellStream, but the file has no uns['cellstream'] with a model: "
            "choose a file that 'cellstream fit' or the app has written."
        )
    try:
        header, recipe = json.loads(kept["model"]["header"]), json.loads(kept["recipe"])
        weights = {name: torch.from_numpy(np.array(value)) for name, value in kept["model"]["weights"].items()}
        stream = CellStream.from_header(header, weights)
        made = dict(
            input=recipe.get("input", "X"),
            time_map=recipe.get("time_map"),
            real_times=recipe.get("real_times", False),
            masses=recipe.get("masses"),
            preprocess=_preprocess(recipe, stream),
            fixes=recipe.get("fixes", ()),
        )
        counted = json.loads(kept.get("snapshots", "{}"))
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"The result in uns['cellstream'] is damaged ({error}): take an earlier copy of the file."
        ) from error
    if "time_key" not in recipe:
        raise UserError(
            "The result does not say how it was made from the file (no recipe in uns['cellstream']): "
            "write it again with the recipe given to annotate."
        )
    # which cells a fix leaves out depends on which others are there, and some may have been drawn at random
    if (made["fixes"] or recipe.get("some_cells")) and EMBEDDING in adata.obsm:
        made["rows"] = np.flatnonzero(np.isfinite(np.asarray(adata.obsm[EMBEDDING])).all(axis=1))
    snapshots = replace(from_anndata(adata, recipe["time_key"], **made), unit=stream.clock.unit)
    _require_same(stream, adata, snapshots)
    snapshots = replace(snapshots, labels=stream.clock.labels)  # of an earlier version they are not shortened
    if stream.genes is None:  # of an earlier version: the same cells and values have the same components
        stream = replace(stream, genes=snapshots.genes)
    return stream, _as_counted(snapshots, counted), recipe


def result_in(adata: AnnData, path: Path | None = None) -> CellStream:
    """The result in an AnnData, which knows its cells; ``path`` is where that was read from. Raises as
    :func:`read_result`."""
    stream, snapshots, recipe = read_result(adata)
    kept = adata.uns[KEY]
    metrics, losses = json.loads(kept.get("metrics", "{}")), kept.get("losses") or {}
    # of a training that was stopped nothing is measured
    state = "finished" if metrics or not len(losses) else "cancelled"
    version = str(kept.get("version", ""))
    record = Record(
        adata, snapshots, recipe, metrics, losses, snapshots.report, state, version=version, path=path
    )  # fmt: skip
    return replace(stream, record=record)


def require_same_cells(adata: AnnData, snapshots: Snapshots, recipe: Mapping[str, Any] | None = None) -> None:
    """``adata`` must hold, row by row, the cells that ``snapshots`` were made from: by their names and their times.

    Quick, since values are not looked at. ``recipe`` says in which column the times are; without it they are not
    compared. Snapshots of an earlier version do not know the cells' names.

    Raises:
        UserError: there are other cells, they are in another order, or at other times.
    """
    rows = rows_of(adata, snapshots)
    again = "give the data as they were then, or train again"
    if snapshots.fingerprint not in ("", fingerprint(adata.obs_names)):
        raise UserError(f"The cells of the data, or their order, are not those that the result was made from: {again}.")
    if recipe and recipe.get("time_key"):
        read = read_times(adata.obs, recipe["time_key"], recipe.get("time_map"))
        timed = np.flatnonzero(read.index >= 0)
        fewer = recipe.get("fixes") or recipe.get("some_cells")
        here = np.isin(rows, timed).all() if fewer else np.array_equal(timed, rows)
        # a fix may have left out whole time points
        points, index = np.unique(read.index[rows], return_inverse=True)
        same = shortened([read.labels[i] for i in points]) == shortened(snapshots.labels)
        if not (here and same and np.array_equal(index, snapshots.index.cpu().numpy())):
            key = recipe["time_key"]
            raise UserError(f"The times of the cells in '{key}' are not those that the result was made from: {again}.")


def expression(adata: AnnData, stream: CellStream, snapshots: Snapshots, recipe: Mapping[str, Any]) -> Any:
    """What the file holds of ``stream.genes`` in the cells of the snapshots: (n, m), sparse where the file is.

    Normalised and logged as for training, but before any principal components.
    """
    cells = cells_of(adata, rows_of(adata, snapshots))
    return expressed(cells, recipe.get("input", "X"), _preprocess(recipe, stream), recipe.get("fixes", ()))


def _preprocess(recipe: Mapping[str, Any], stream: CellStream) -> Preprocess:
    return Preprocess(**recipe["preprocess"]) if recipe.get("preprocess") else stream.config.preprocess


def simulated_velocity(adata: AnnData, snapshots: Snapshots, recipe: Mapping[str, Any]) -> np.ndarray | None:
    """The true velocity (n, p) of the snapshots' features, where a simulation left it in ``layers["velocity_true"]``.

    None where there is none, or where the features are not the genes themselves.
    """
    if recipe.get("input", "X") != "X" or "velocity_true" not in adata.layers:
        return None
    at = adata.var_names.get_indexer(list(snapshots.features))
    if (at < 0).any():
        return None
    layer = adata.layers["velocity_true"]
    layer = layer.toarray() if hasattr(layer, "toarray") else np.asarray(layer)
    return layer[np.ix_(rows_of(adata, snapshots), at)]


def column(adata: AnnData, snapshots: Snapshots, key: str) -> np.ndarray:
    """``obs[key]`` of the snapshots' cells, in their order. Raises :class:`UserError` where there is no such column."""
    if key not in adata.obs:
        there = ", ".join(f"'{name}'" for name in adata.obs.columns[:12]) or "none"
        raise UserError(f"There is no column '{key}' in obs; there are: {there}.")
    return adata.obs[key].to_numpy(dtype=object)[rows_of(adata, snapshots)]


def lineages(adata: AnnData, snapshots: Snapshots, key: str) -> np.ndarray:
    """Like :func:`column`, of labels that can be lineages: kinds of cells, not a quantity and not the time once more.

    Raises:
        UserError: there is no such column, or it holds something else.
    """
    values = column(adata, snapshots, key)
    kinds = pd.Series(values).where(labelled(values))
    n, different = int(kinds.count()), kinds.nunique()
    if different < 2:
        found = f"'{kinds.dropna().iloc[0]}' for all cells that have one" if n else "none"
        raise UserError(f"Expected kinds of cells as labels, at least two, but '{key}' has {found}.")
    wanted = "choose a column with the cells' types, lineages or clusters"
    if different > max(MOST_KINDS, n / 5):
        raise UserError(
            f"Expected kinds of cells as labels, but '{key}' has {different:,} of them for {counted(n, 'cell')}: "
            f"{wanted}."
        )
    numbers = pd.to_numeric(kinds.dropna(), errors="coerce")
    fractions = numbers[numbers % 1 > 0]
    if len(fractions):
        raise UserError(
            f"Expected kinds of cells as labels, but '{key}' holds fractions, as in {fractions.iloc[0]:.4g}: {wanted}."
        )
    if kinds.groupby(snapshots.index.cpu().numpy()).nunique().max() == 1:
        raise UserError(f"Expected kinds of cells as labels, but '{key}' has one for each time point: {wanted}.")
    return values


def is_ours(kept: Any) -> bool:
    """Whether what stands in ``uns["cellstream"]`` is a result of ours."""
    return isinstance(kept, Mapping) and isinstance(kept.get("model"), Mapping) and "header" in kept["model"]


def handed_over(adata: AnnData) -> list[tuple[str, str]]:
    """Slot and name of what :mod:`cellstream.handover` has written beside the result."""
    kept = adata.uns.get(KEY)
    if not is_ours(kept) or HANDOVER not in kept:
        return []
    return [(str(slot), str(name)) for slot, name in json.loads(kept[HANDOVER])]


def require_free(adata: AnnData) -> None:
    """Names may be taken by an earlier result of ours, not by anything of the user's; else a :class:`UserError`."""
    if is_ours(adata.uns.get(KEY)):
        return
    ours = dict(obsm=(EMBEDDING, VELOCITY), obs=(GROWTH, VELOCITY_UNCERTAINTY, GROWTH_UNCERTAINTY), uns=(KEY,))
    names = [(slot, name) for slot, of in ours.items() for name in of]
    taken = [f"{slot}['{name}']" for slot, name in names if name in getattr(adata, slot)]
    if taken:
        raise UserError(
            f"The data already has {' and '.join(taken)}, which CellStream did not write and will not overwrite: "
            "rename or remove it first."
        )


def rows_of(adata: AnnData, snapshots: Snapshots) -> np.ndarray:
    """Row in ``adata`` of each cell of the snapshots."""
    n = len(snapshots.index)
    rows = np.arange(n) if snapshots.rows is None else np.asarray(snapshots.rows)
    if (snapshots.rows is None and n != adata.n_obs) or rows.max() >= adata.n_obs:
        raise UserError(
            f"The result is of {n:,} cells, which are not those of the data with {adata.n_obs:,}: "
            "give the AnnData from which the snapshots were made."
        )
    return rows


def _counted(snapshots: Snapshots) -> dict[str, Any]:
    """Cells and relative mass at each time point."""
    return dict(labels=snapshots.labels, counts=snapshots.counts.tolist(), mass=snapshots.mass.tolist())


def _as_counted(snapshots: Snapshots, counted: Mapping[str, Any]) -> Snapshots:
    """The snapshots with the masses of the training, which the cells that are left may no longer show."""
    if tuple(counted.get("labels", ())) != snapshots.labels:
        return snapshots  # of an earlier version
    here, then = len(snapshots.index), sum(counted["counts"])
    less = f"The file holds {here:,} of the {then:,} cells that the result was made from; its masses are those of all."
    report = (*snapshots.report, less) if here != then else snapshots.report
    return replace(snapshots, mass=torch.tensor(counted["mass"]).to(snapshots.mass), report=report)


def _spread_out(values: np.ndarray, rows: np.ndarray, n_obs: int) -> np.ndarray:
    """``values`` at their rows of the whole table, NaN elsewhere."""
    if not np.isfinite(values).all():
        raise UserError("The model gives values that are not finite numbers: train it again with lower learning rates.")
    out = np.full((n_obs, *values.shape[1:]), np.nan, dtype=np.float32)
    out[rows] = values
    return out


def losses_of(history: History | None) -> dict[str, np.ndarray]:
    """Step by step: ``step``, ``stage`` and every loss, NaN where a stage does not have it."""
    if history is None or not history.steps:
        return {}
    steps = history.steps
    terms = sorted({term for said in steps.values() for term in said} - {"stage"})
    return dict(
        step=np.fromiter(steps, dtype=np.int64),
        stage=np.array([said["stage"] for said in steps.values()], dtype=str),
        **{term: np.array([said.get(term, np.nan) for said in steps.values()], dtype=np.float64) for term in terms},
    )


def _announce(adata: AnnData) -> None:
    """scVelo looks in ``uns["velocity_params"]["embeddings"]`` for the bases that have a velocity; it keeps its own."""
    params = adata.uns.get("velocity_params", {})
    if not isinstance(params, Mapping):
        return
    known = params.get("embeddings", [])
    known = [known] if isinstance(known, str) else [str(name) for name in np.asarray(known).ravel()]
    if KEY not in known:
        adata.uns["velocity_params"] = {**params, "embeddings": [*known, KEY]}


def _require_same(stream: CellStream, adata: AnnData, snapshots: Snapshots) -> None:
    """What the model says of the cells must be what the file holds, or one of the two has been changed."""
    again = "take the file as it was written, or train again"
    if snapshots.labels != shortened(stream.clock.labels):
        raise UserError(
            f"The result is of the time points {', '.join(stream.clock.labels)}, but the file now has "
            f"{', '.join(snapshots.labels)}: {again}."
        )
    if snapshots.x.shape[1] != stream.autoencoder.shift.shape[0] - 1 or EMBEDDING not in adata.obsm:
        raise UserError(f"The features of the cells are not those that the result was made from: {again}.")
    rows = rows_of(adata, snapshots)
    index = snapshots.index.cpu().numpy()
    z = stream.encode(snapshots.x.cpu().numpy(), snapshots.times.cpu().numpy().astype(np.float64)[index])
    written = np.asarray(adata.obsm[EMBEDDING])[rows]
    if z.shape != written.shape or not (np.abs(z - written) <= SAME * np.linalg.norm(z.std(0))).all():
        raise UserError(f"The values of the cells are not those that the result was made from: {again}.")

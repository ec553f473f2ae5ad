"""From the matrix in an AnnData to the features that the encoder reads, doing only what is missing and saying so.

Raw counts -> the same total per cell and log(1 + x) -> highly variable genes -> principal components; scanpy does the
work. Each step is reported in a sentence. A sparse matrix stays sparse until the last, small one, and what is left in
its file (:mod:`cellstream.by_parts`) stays there until then.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from anndata import AnnData
from scipy import sparse

from cellstream import by_parts, fixes, memory
from cellstream.config import Preprocess
from cellstream.cores import torch_threads
from cellstream.errors import UserError
from cellstream.gene_space import GeneSpace
from cellstream.survey import Survey, survey

TARGET_SUM = 10_000
"""Counts per cell after normalisation, scanpy's and Seurat's convention."""
WIDE = 200
"""More features than this are reduced to principal components."""
LOG_MAX = 25.0
"""No log(1 + x) of a count is above this: exp(25) is 7e10."""

Matrix = Any
"""np.ndarray, scipy.sparse.csr_matrix or a dask array of one of them, (n, p); scipy ships no types."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What the encoder reads.

    ``x`` (n, p) float32, C-contiguous, shares no memory with the AnnData; ``features`` its p names; ``report`` what was
    found and done, in sentences. ``genes`` leads back to genes, None where the input was an embedding.
    """

    x: np.ndarray
    features: tuple[str, ...]
    report: tuple[str, ...]
    genes: GeneSpace | None = None


def inputs(adata: AnnData) -> tuple[str, ...]:
    """What :func:`prepare` can take as ``input``: "X" where there is one, "layer:NAME" and "obsm:NAME"."""
    x = ("X",) if adata.X is not None and adata.n_vars else ()
    return (*x, *(f"layer:{name}" for name in adata.layers), *(f"obsm:{name}" for name in adata.obsm))


def features_in(adata: AnnData, input: str) -> int:
    """How many features an input has before any of them is chosen; 0 where there is no such input."""
    name = input.removeprefix("obsm:")
    if name == input:
        return adata.n_vars
    return int(np.shape(adata.obsm[name])[1]) if name in adata.obsm else 0


@torch_threads()
def prepare(
    adata: AnnData, input: str = "X", settings: Preprocess | None = None, mends: Collection[str] = ()
) -> Prepared:
    """The features of ``adata`` (n cells), which is not changed.

    ``input`` is one of :func:`inputs`. An ``obsm`` is used as it is, unless it is wider than 200. ``mends`` are names
    in :data:`cellstream.fixes.FIXES`; those that mend values and features are applied here. Raises
    :class:`UserError` where there is no such input, or its values are not finite, all zero, or too many for memory.
    """
    settings = settings or Preprocess()
    report: list[str] = []
    matrix, features, found = _expressed(adata, input, settings, report, mends)
    genes, p = not input.startswith("obsm:"), len(features)
    if not 0 < settings.n_pcs < p or p <= WIDE:
        report.append(f"{p:,} features: kept all.")
        return Prepared(_dense(matrix), features, tuple(report), GeneSpace(features) if genes else None)
    x, loadings, mean = _components(matrix, found, settings.n_pcs, report)
    names = tuple(f"PC{i + 1}" for i in range(x.shape[1]))
    return Prepared(x, names, tuple(report), GeneSpace(features, loadings, mean) if genes else None)


def cells_of(adata: AnnData, rows: np.ndarray) -> AnnData:
    """These cells, in this order; ``adata`` itself where that is all of them, which saves a copy."""
    return adata if len(rows) == adata.n_obs else adata[rows]


@torch_threads()
def expressed(
    adata: AnnData, input: str = "X", settings: Preprocess | None = None, mends: Collection[str] = ()
) -> Matrix:
    """The genes of :attr:`Prepared.genes` (n, m) before any principal components; sparse where they were."""
    return by_parts.gathered(_expressed(adata, input, settings or Preprocess(), [], mends)[0])


def matrix_of(adata: AnnData, input: str, mends: Collection[str] = ()) -> tuple[Matrix, tuple[str, ...]]:
    """The input as it is in the file, with missing values filled where that is asked for, and the features' names.

    An array, a csr matrix without stored zeros, or a dask array of either. Raises :class:`UserError` where there is no
    such input or it holds no numbers.
    """
    source, features = _select(adata, input)
    matrix = _numbers(source, input)
    if fixes.FILL not in mends:
        return matrix, features
    return (matrix.map_blocks(filled) if by_parts.is_lazy(matrix) else filled(matrix)), features


def filled(matrix: Matrix) -> Matrix:
    """A matrix in memory with 0 for NaN; a copy where there is any."""
    values = matrix.data if sparse.issparse(matrix) else matrix
    if values.dtype.kind != "f" or not (missing := np.isnan(values)).any():
        return matrix
    if not sparse.issparse(matrix):
        return np.where(missing, matrix.dtype.type(0), matrix)
    matrix = matrix.copy()
    matrix.data[missing] = 0
    matrix.eliminate_zeros()
    return matrix


@torch_threads()
def every_gene(
    adata: AnnData, input: str, settings: Preprocess, mends: Collection[str] = ()
) -> tuple[Matrix, tuple[str, ...]]:
    """All genes, not the variable ones alone, normalised and logged in the same way, (n, m) and their m names; without
    those that are zero in every cell or that the fixes ``mends`` leave out."""
    matrix, names, _ = _expressed(adata, input, replace(settings, n_top_genes=0), [], mends)
    return by_parts.gathered(matrix), names


def _expressed(
    adata: AnnData, input: str, settings: Preprocess, report: list[str], mends: Collection[str] = ()
) -> tuple[Matrix, tuple[str, ...], Survey]:
    matrix, features = matrix_of(adata, input, mends)
    if fixes.FILL in mends:
        report.append("Missing values (NaN) count as 0, as asked for.")
    found = survey(matrix)
    if fixes.NONFINITE in mends and not found.finite:
        matrix, features, found = _drop_nonfinite(matrix, features, found, input, report)
    _require_finite(found, features, input)
    if input.startswith("obsm:"):
        report.append(f"{input.removeprefix('obsm:')} is used as it is.")
        _require_variation(found, input, report)
        return matrix, features, found
    matrix, features, found = _drop_zero_genes(matrix, features, found, input, report)
    before = matrix
    matrix, logged = _normalised(matrix, found, input, settings, report)
    if matrix is not before:
        found = survey(matrix)
    _require_variation(found, input, report)
    return _variable(matrix, features, found, logged, settings.n_top_genes, report)


# --- what there is ----------------------------------------------------------------------------------------------------


def _select(adata: AnnData, input: str) -> tuple[Any, tuple[str, ...]]:
    slot, _, name = input.partition(":")
    slots = {"layer": adata.layers, "obsm": adata.obsm}
    source = adata.X if input == "X" else slots.get(slot, {}).get(name)
    if source is None:
        listed = ", ".join(f"'{there}'" for there in inputs(adata)) or "nothing"
        raise UserError(f"There is no input '{input}': this data set has {listed}, choose one of them.")
    if slot != "obsm":
        return source, tuple(map(str, adata.var_names))
    if hasattr(source, "columns"):
        return source, tuple(map(str, source.columns))
    return source, tuple(f"{name}_{i + 1}" for i in range(source.shape[1] if source.ndim > 1 else 1))


def _numbers(source: Any, input: str) -> Matrix:
    """A 2-D array or csr matrix of real numbers, without a copy where it is one already."""
    if hasattr(source, "columns"):
        kinds = [dtype for dtype in source.dtypes if getattr(dtype, "kind", "O") not in "biuf"]
        if kinds:
            raise UserError(f"'{input}' has columns of {kinds[0]}: expected numbers only.")
        source = source.to_numpy(np.float32)
    if by_parts.is_stored(source):  # of a file opened in backed mode
        source = by_parts.taken(source)
    if by_parts.is_lazy(source):
        matrix: Matrix = source
    else:
        matrix = sparse.csr_matrix(source) if sparse.issparse(source) else np.asarray(source)
    if matrix.dtype.kind not in "biuf":
        raise UserError(f"'{input}' holds {matrix.dtype}: expected real numbers.")
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise UserError(f"'{input}' has the shape {matrix.shape}: expected at least one cell and one feature.")
    if by_parts.is_lazy(matrix):
        return by_parts.in_rows(matrix, input, _canonical)
    return _canonical(matrix)


def _canonical(matrix: Matrix) -> Matrix:
    """An entry that is stored in two parts has no logarithm, and a stored zero is no count."""
    if not sparse.issparse(matrix) or (matrix.has_canonical_format and matrix.data.all()):
        return matrix
    matrix = matrix.copy()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _require_finite(found: Survey, features: tuple[str, ...], input: str) -> None:
    if found.finite:
        return
    columns = np.flatnonzero(found.nan + found.infinite)
    kinds = ((found.nan.sum(), "missing (NaN)"), (found.infinite.sum(), "infinite"))
    counted = " and ".join(f"{n:,} {what}" for n, what in kinds if n)
    more = f" and {len(columns) - 5:,} more" if len(columns) > 5 else ""
    names = ", ".join(f"'{features[i]}'" for i in columns[:5]) + more
    raise UserError(
        f"'{input}' holds {counted} values, in {len(columns):,} features ({names}): remove these features or cells, or "
        "fill in the values (for example with 0)."
    )


def _require_variation(found: Survey, input: str, report: list[str]) -> None:
    """Some features may be constant, as single precision sees them, and are told; not all."""
    if found.n == 1:
        return
    constant = found.constant
    if constant.all():
        raise UserError(
            f"In '{input}' all features are constant, every cell goes into training with the same values: choose "
            "another input, or check how the file was written."
        )
    if constant.any():
        report.append(
            f"Features that are the same in every cell, kept, but they tell nothing: {constant.sum():,} of "
            f"{len(constant):,}."
        )


def kind_of(low: float, high: float, integers: bool) -> str:
    """What values from ``low`` to ``high`` are: "counts", "logged" (or otherwise small), "unlogged" or "signed"."""
    if low < 0:
        return "signed"
    if integers:
        return "counts"
    return "logged" if high <= LOG_MAX else "unlogged"


# --- what is done -----------------------------------------------------------------------------------------------------


def _drop_nonfinite(
    matrix: Matrix, features: tuple[str, ...], found: Survey, input: str, report: list[str]
) -> tuple[Matrix, tuple[str, ...], Survey]:
    """The cells to be left out are left out by now; in those that stay, it is the features that lack values."""
    keep = np.flatnonzero(found.nan + found.infinite == 0)
    if not len(keep):
        raise UserError(
            f"In '{input}' every feature has missing or infinite values, so nothing would stay: fill in the values, or "
            "choose another input."
        )
    gone = len(features) - len(keep)
    report.append(
        f"Features left out because values are missing or infinite, as asked for: {gone:,} of {len(features):,}."
    )
    matrix = matrix[:, keep]
    return matrix, tuple(features[i] for i in keep), survey(matrix)


def _drop_zero_genes(
    matrix: Matrix, features: tuple[str, ...], found: Survey, input: str, report: list[str]
) -> tuple[Matrix, tuple[str, ...], Survey]:
    filled = found.filled > 0
    if not filled.any():
        raise UserError(f"'{input}' is zero everywhere: choose another input, or check how the file was written.")
    if found.empty:
        better = f"kept, but better left out (fix {fixes.EMPTY})"
        report.append(f"Cells that are zero in every feature, {better}: {found.empty:,}.")
    if filled.all():
        return matrix, features, found
    report.append(f"Features left out because they are zero in every cell: {(~filled).sum():,} of {len(features):,}.")
    keep = np.flatnonzero(filled)
    return matrix[:, keep], tuple(features[i] for i in keep), found.of(keep)


def _normalised(
    matrix: Matrix, found: Survey, input: str, settings: Preprocess, report: list[str]
) -> tuple[Matrix, bool]:
    """The matrix, normalised where it should be, and whether it now holds logarithms."""
    high = found.high.max()
    kind = kind_of(found.low.min(), high, found.integers)
    seen = {
        "counts": f"raw counts (integers up to {high:,.0f})",
        "logged": f"values from 0 to {high:.3g}, log-transformed already or scaled",
        "unlogged": f"values up to {high:,.4g} that are neither counts nor logarithms (CPM or TPM?)",
        "signed": "negative values, so it was scaled or centred before",
    }[kind]
    if settings.normalise == "no" or (settings.normalise == "auto" and kind != "counts"):
        unasked = settings.normalise == "auto" and kind == "unlogged"
        advice = "; set normalise to 'yes' to scale and log them" if unasked else ""
        report.append(f"{input} holds {seen}: used as they are{advice}.")
        return matrix, kind == "logged"
    if kind == "signed":
        raise UserError(
            f"'{input}' holds negative values, which have no logarithm: choose the counts, or set normalise to 'auto'."
        )
    import scanpy as sc  # costs a second to import, which the command line's help should not

    if not by_parts.is_lazy(matrix):
        _require_memory(matrix.nnz * 8 if sparse.issparse(matrix) else matrix.size * 4, "A normalised copy")
    work = AnnData(matrix.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cells without counts are in the report already
        sc.pp.normalize_total(work, target_sum=TARGET_SUM)
        sc.pp.log1p(work)
    asked = "" if kind == "counts" else "as asked for, "
    report.append(f"{input} holds {seen}: {asked}scaled each cell to {TARGET_SUM:,} counts and took log(1 + x).")
    return work.X, True


def _variable(
    matrix: Matrix, features: tuple[str, ...], found: Survey, logged: bool, most: int, report: list[str]
) -> tuple[Matrix, tuple[str, ...], Survey]:
    if not 0 < most < len(features):
        return matrix, features, found
    chosen = _by_dispersion(matrix, most) if logged else None
    if chosen is None:
        chosen = np.argsort(-found.variance, kind="stable")[:most]
    keep = np.sort(chosen)
    report.append(f"Kept the {most:,} most variable of {len(features):,} features.")
    return matrix[:, keep], tuple(features[i] for i in keep), found.of(keep)


def _by_dispersion(matrix: Matrix, most: int) -> np.ndarray | None:
    """By Seurat's normalised dispersion, which expects logarithms; None where its bins have too few cells or genes."""
    import scanpy as sc

    work = AnnData(matrix.astype(np.float32, copy=False))
    try:
        with warnings.catch_warnings(), by_parts.few_at_once():
            warnings.simplefilter("ignore")
            table = sc.pp.highly_variable_genes(work, flavor="seurat", n_top_genes=most, inplace=False)
    except (ValueError, IndexError, ZeroDivisionError):
        return None
    # Ties at the threshold, and genes without a dispersion, make scanpy return more or fewer than were asked for.
    dispersion = np.nan_to_num(table["dispersions_norm"].to_numpy(np.float64), nan=-np.inf)
    return np.argsort(-dispersion, kind="stable")[:most]


def _components(
    matrix: Matrix, found: Survey, most: int, report: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (n, k), loadings (k, m) and mean (m,), so that scores @ loadings + mean is the best rank-k matrix."""
    import scanpy as sc

    k = min(most, matrix.shape[0] - 1, matrix.shape[1] - 1)
    if k < 1:
        raise UserError(f"There is {matrix.shape[0]} cell: expected at least two to find principal components.")
    if by_parts.is_lazy(matrix):
        with contextlib.suppress(UserError):  # the variable genes alone may well fit, which saves reading them again
            matrix = by_parts.gathered(matrix)
    lazy = by_parts.is_lazy(matrix)
    if lazy:  # from the covariance, which is added up part by part
        _require_memory(matrix.shape[1] ** 2 * 8 * 3, "The covariance of the features")
    elif not sparse.issparse(matrix):
        _require_memory(matrix.size * 4, "A copy for the principal components")
    # in single precision the order of the sums shows: the same whether the matrix came whole or in parts
    single = matrix.astype(np.float32, copy=False)
    work = AnnData(single if lazy or sparse.issparse(matrix) else np.ascontiguousarray(single))
    with warnings.catch_warnings(), by_parts.few_at_once():
        warnings.simplefilter("ignore")
        sc.pp.pca(work, n_comps=k, random_state=0, svd_solver="covariance_eigh" if lazy else None)
        x = np.array(work.obsm["X_pca"], dtype=np.float32, order="C")  # of a dask array, worked out here
    share = float(work.uns["pca"]["variance_ratio"].sum())
    loadings = np.ascontiguousarray(work.varm["PCs"].T, dtype=np.float32)
    report.append(
        f"{matrix.shape[1]:,} features: reduced to {k} principal components, which hold {share:.0%} of the variance."
    )
    return x, loadings, found.mean.astype(np.float32)


def _dense(matrix: Matrix) -> np.ndarray:
    _require_memory(matrix.shape[0] * matrix.shape[1] * 4, "The matrix of features")
    matrix = by_parts.gathered(matrix)
    dense = matrix.astype(np.float32).toarray() if sparse.issparse(matrix) else matrix
    return np.array(dense, dtype=np.float32, order="C")


def _require_memory(needed: int, what: str) -> None:
    memory.require(
        needed, what, "keep fewer genes (n_top_genes), use principal components (n_pcs), or take fewer cells"
    )

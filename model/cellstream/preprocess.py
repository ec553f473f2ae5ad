"""From the matrix in an AnnData to the features that the encoder reads, doing only what is missing and saying so.

Raw counts -> the same total per cell and log(1 + x) -> highly variable genes -> principal components; scanpy does the
work. Each step is reported in a sentence. A sparse matrix stays sparse until the last, small one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from anndata import AnnData
from scipy import sparse

from cellstream.config import Preprocess
from cellstream.errors import UserError
from cellstream.gene_space import GeneSpace

TARGET_SUM = 10_000
"""Counts per cell after normalisation, scanpy's and Seurat's convention."""
WIDE = 200
"""More features than this are reduced to principal components."""
LOG_MAX = 25.0
"""No log(1 + x) of a count is above this: exp(25) is 7e10."""

Matrix = Any
"""np.ndarray or scipy.sparse.csr_matrix, (n, p); scipy ships no types."""


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


def prepare(adata: AnnData, input: str = "X", settings: Preprocess | None = None) -> Prepared:
    """The features of ``adata`` (n cells), which is not changed.

    ``input`` is one of :func:`inputs`. An ``obsm`` is used as it is, unless it is wider than 200. Raises
    :class:`UserError` where there is no such input, or its values are not finite, all zero, or too many for memory.
    """
    settings = settings or Preprocess()
    report: list[str] = []
    matrix, features = _expressed(adata, input, settings, report)
    genes, p = not input.startswith("obsm:"), len(features)
    if not 0 < settings.n_pcs < p or p <= WIDE:
        report.append(f"{p:,} features: kept all.")
        return Prepared(_dense(matrix), features, tuple(report), GeneSpace(features) if genes else None)
    x, loadings, mean = _components(matrix, settings.n_pcs, report)
    names = tuple(f"PC{i + 1}" for i in range(x.shape[1]))
    return Prepared(x, names, tuple(report), GeneSpace(features, loadings, mean) if genes else None)


def expressed(adata: AnnData, input: str = "X", settings: Preprocess | None = None) -> Matrix:
    """The genes of :attr:`Prepared.genes` (n, m) before any principal components; sparse where they were."""
    return _expressed(adata, input, settings or Preprocess(), [])[0]


def _expressed(adata: AnnData, input: str, settings: Preprocess, report: list[str]) -> tuple[Matrix, tuple[str, ...]]:
    source, features = _select(adata, input)
    matrix = _numbers(source, input)
    _require_finite(matrix, features, input)
    if input.startswith("obsm:"):
        report.append(f"{input.removeprefix('obsm:')} is used as it is.")
        _require_variation(matrix, input, report)
        return matrix, features
    matrix, features = _drop_zero_genes(matrix, features, input, report)
    matrix, logged = _normalised(matrix, _kind(matrix), input, settings, report)
    _require_variation(matrix, input, report)
    return _variable(matrix, features, logged, settings.n_top_genes, report)


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
    if hasattr(source, "to_memory"):  # a file opened in backed mode
        source = source.to_memory()
    matrix: Matrix = sparse.csr_matrix(source) if sparse.issparse(source) else np.asarray(source)
    if matrix.dtype.kind not in "biuf":
        raise UserError(f"'{input}' holds {matrix.dtype}: expected real numbers.")
    if matrix.ndim == 1:
        matrix = matrix[:, None]
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise UserError(f"'{input}' has the shape {matrix.shape}: expected at least one cell and one feature.")
    if sparse.issparse(matrix) and not (matrix.has_canonical_format and matrix.data.all()):
        matrix = matrix.copy()  # an entry stored in two parts has no logarithm, and a stored zero is no count
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    return matrix


def _blocks(matrix: Matrix, entries: int = 4_000_000) -> Any:
    """Dense rows, or stretches of the stored values of a sparse matrix, a few million numbers at a time."""
    if sparse.issparse(matrix):
        values, step = matrix.data, entries
    else:
        values, step = matrix, max(1, entries // matrix.shape[1])
    for start in range(0, len(values), step):
        yield values[start : start + step]


def _require_finite(matrix: Matrix, features: tuple[str, ...], input: str) -> None:
    if matrix.dtype.kind != "f" or all(np.isfinite(block).all() for block in _blocks(matrix)):
        return
    if sparse.issparse(matrix):
        nan, infinite = np.isnan(matrix.data).sum(), np.isinf(matrix.data).sum()
        columns = np.unique(matrix.indices[~np.isfinite(matrix.data)])
    else:
        nan = sum(np.isnan(block).sum() for block in _blocks(matrix))
        infinite = sum(np.isinf(block).sum() for block in _blocks(matrix))
        columns = np.flatnonzero(np.any([~np.isfinite(block).all(axis=0) for block in _blocks(matrix)], axis=0))
    counted = " and ".join(f"{n:,} {what}" for n, what in ((nan, "missing (NaN)"), (infinite, "infinite")) if n)
    more = f" and {len(columns) - 5:,} more" if len(columns) > 5 else ""
    names = ", ".join(f"'{features[i]}'" for i in columns[:5]) + more
    raise UserError(
        f"'{input}' holds {counted} values, in {len(columns):,} features ({names}): remove these features or cells, or "
        "fill in the values (for example with 0)."
    )


def _require_variation(matrix: Matrix, input: str, report: list[str]) -> None:
    """Some features may be constant, as single precision sees them, and are told; not all."""
    if matrix.shape[0] == 1:
        return
    low, high = matrix.min(axis=0), matrix.max(axis=0)
    if sparse.issparse(matrix):
        low, high = low.toarray().ravel(), high.toarray().ravel()
    low, high = low.astype(np.float64), high.astype(np.float64)
    constant = high - low <= 1e-6 * np.maximum(np.abs(low), np.abs(high))
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


def _kind(matrix: Matrix) -> str:
    """One of "counts", "logged" (or otherwise small), "unlogged" and "signed"."""
    low = min((block.min() for block in _blocks(matrix) if block.size), default=0)
    high = max((block.max() for block in _blocks(matrix) if block.size), default=0)
    if low < 0:
        return "signed"
    if matrix.dtype.kind in "biu" or all(_integers(block) for block in _sample(matrix)):
        return "counts"
    return "logged" if high <= LOG_MAX else "unlogged"


def _integers(values: np.ndarray) -> bool:
    return bool((values == np.rint(values)).all())


def _sample(matrix: Matrix, entries: int = 2_000_000) -> Any:
    """Values from rows all over the matrix: integers are told by some of them."""
    rows = np.random.default_rng(0).permutation(matrix.shape[0])[: max(1, entries // matrix.shape[1] + 1)]
    part = matrix[np.sort(rows)]
    yield part.data if sparse.issparse(part) else part


# --- what is done -----------------------------------------------------------------------------------------------------


def _drop_zero_genes(
    matrix: Matrix, features: tuple[str, ...], input: str, report: list[str]
) -> tuple[Matrix, tuple[str, ...]]:
    if sparse.issparse(matrix):
        filled, filled_cells = matrix.getnnz(axis=0) > 0, matrix.getnnz(axis=1) > 0
    else:
        filled, filled_cells = np.any(matrix, axis=0), np.any(matrix, axis=1)
    if not filled.any():
        raise UserError(f"'{input}' is zero everywhere: choose another input, or check how the file was written.")
    if empty := (~filled_cells).sum():
        report.append(f"Cells that are zero in every feature, kept, but better filtered out before: {empty:,}.")
    if filled.all():
        return matrix, features
    report.append(f"Features left out because they are zero in every cell: {(~filled).sum():,} of {len(features):,}.")
    keep = np.flatnonzero(filled)
    return matrix[:, keep], tuple(features[i] for i in keep)


def _normalised(matrix: Matrix, kind: str, input: str, settings: Preprocess, report: list[str]) -> tuple[Matrix, bool]:
    """The matrix, normalised where it should be, and whether it now holds logarithms."""
    high = max(block.max() for block in _blocks(matrix) if block.size)
    found = {
        "counts": f"raw counts (integers up to {high:,.0f})",
        "logged": f"values from 0 to {high:.3g}, log-transformed already or scaled",
        "unlogged": f"values up to {high:,.4g} that are neither counts nor logarithms (CPM or TPM?)",
        "signed": "negative values, so it was scaled or centred before",
    }[kind]
    if settings.normalise == "no" or (settings.normalise == "auto" and kind != "counts"):
        unasked = settings.normalise == "auto" and kind == "unlogged"
        advice = "; set normalise to 'yes' to scale and log them" if unasked else ""
        report.append(f"{input} holds {found}: used as they are{advice}.")
        return matrix, kind == "logged"
    if kind == "signed":
        raise UserError(
            f"'{input}' holds negative values, which have no logarithm: choose the counts, or set normalise to 'auto'."
        )
    import scanpy as sc  # costs a second to import, which the command line's help should not

    _require_memory(matrix.nnz * 8 if sparse.issparse(matrix) else matrix.size * 4, "A normalised copy")
    work = AnnData(matrix.astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cells without counts are in the report already
        sc.pp.normalize_total(work, target_sum=TARGET_SUM)
        sc.pp.log1p(work)
    asked = "" if kind == "counts" else "as asked for, "
    report.append(f"{input} holds {found}: {asked}scaled each cell to {TARGET_SUM:,} counts and took log(1 + x).")
    return work.X, True


def _variable(
    matrix: Matrix, features: tuple[str, ...], logged: bool, most: int, report: list[str]
) -> tuple[Matrix, tuple[str, ...]]:
    if not 0 < most < len(features):
        return matrix, features
    chosen = _by_dispersion(matrix, most) if logged else None
    if chosen is None:
        chosen = np.argsort(-_variance(matrix), kind="stable")[:most]
    keep = np.sort(chosen)
    report.append(f"Kept the {most:,} most variable of {len(features):,} features.")
    return matrix[:, keep], tuple(features[i] for i in keep)


def _by_dispersion(matrix: Matrix, most: int) -> np.ndarray | None:
    """By Seurat's normalised dispersion, which expects logarithms; None where its bins have too few cells or genes."""
    import scanpy as sc

    work = AnnData(matrix.astype(np.float32, copy=False))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = sc.pp.highly_variable_genes(work, flavor="seurat", n_top_genes=most, inplace=False)
    except (ValueError, IndexError, ZeroDivisionError):
        return None
    # Ties at the threshold, and genes without a dispersion, make scanpy return more or fewer than were asked for.
    dispersion = np.nan_to_num(table["dispersions_norm"].to_numpy(np.float64), nan=-np.inf)
    return np.argsort(-dispersion, kind="stable")[:most]


def _variance(matrix: Matrix) -> np.ndarray:
    if sparse.issparse(matrix):
        mean = np.asarray(matrix.mean(axis=0, dtype=np.float64)).ravel()
        return np.asarray(matrix.multiply(matrix).mean(axis=0, dtype=np.float64)).ravel() - mean**2
    return np.var(matrix, axis=0, dtype=np.float64)


def _components(matrix: Matrix, most: int, report: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (n, k), loadings (k, m) and mean (m,), so that scores @ loadings + mean is the best rank-k matrix."""
    import scanpy as sc

    k = min(most, matrix.shape[0] - 1, matrix.shape[1] - 1)
    if k < 1:
        raise UserError(f"There is {matrix.shape[0]} cell: expected at least two to find principal components.")
    if not sparse.issparse(matrix):
        _require_memory(matrix.size * 4, "A copy for the principal components")
    work = AnnData(matrix.astype(np.float32, copy=False))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.pp.pca(work, n_comps=k, random_state=0)
    share = float(work.uns["pca"]["variance_ratio"].sum())
    mean = np.asarray(matrix.mean(axis=0, dtype=np.float64), dtype=np.float32).ravel()
    x = np.array(work.obsm["X_pca"], dtype=np.float32, order="C")
    loadings = np.ascontiguousarray(work.varm["PCs"].T, dtype=np.float32)
    report.append(
        f"{matrix.shape[1]:,} features: reduced to {k} principal components, which hold {share:.0%} of the variance."
    )
    return x, loadings, mean


def _dense(matrix: Matrix) -> np.ndarray:
    _require_memory(matrix.shape[0] * matrix.shape[1] * 4, "The matrix of features")
    dense = matrix.astype(np.float32).toarray() if sparse.issparse(matrix) else matrix
    return np.array(dense, dtype=np.float32, order="C")


def _require_memory(needed: int, what: str) -> None:
    available = psutil.virtual_memory().available
    if needed > available:
        raise UserError(
            f"{what} needs {needed / 1e9:,.1f} GB of memory but {available / 1e9:,.1f} GB are free: keep fewer genes "
            "(n_top_genes), use principal components (n_pcs), or take fewer cells."
        )

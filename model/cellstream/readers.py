"""Any file of single cells -> AnnData, and for every file that cannot be read one sentence that says why.

What a file is, is decided by its content, not by its name; only text under a name of HDF5 is refused. HDF5 and zarr are
inspected before any value is loaded: a stranger's file of a few kilobytes can declare gigabytes, point at other files,
or (zarr) carry pickles that run code. Files are only ever opened for reading.
"""

from __future__ import annotations

import difflib
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse
import zarr
from anndata import AnnData

from cellstream import by_parts, memory, preflight
from cellstream.errors import UserError
from cellstream.tables import read_table
from cellstream.time_labels import counted


class Format(NamedTuple):
    """A kind of file: the name that :func:`sniff` gives it, its usual suffixes, and what it is, for people."""

    name: str
    suffixes: tuple[str, ...]
    what: str


FORMATS = (
    Format("h5ad", (".h5ad",), "AnnData file"),
    Format("zarr", (".zarr", ".zarr.zip"), "AnnData in zarr, a folder or a zip archive"),
    Format("loom", (".loom",), "loom file"),
    Format("10x-h5", (".h5",), "10x Genomics HDF5, Cell Ranger 2 or later"),
    Format("10x-mtx", (".mtx", ".mtx.gz"), "10x Genomics folder: matrix, barcodes and features"),
    Format("table", (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz"), "table of text with cells in rows"),
)


IN_PARTS = "which is read in parts if need be"


@dataclass(frozen=True, eq=False)
class Reading:
    """What came out of a file: the data, the name of its format, and sentences on what was noticed and done."""

    adata: AnnData
    format: str
    notes: tuple[str, ...]


def read(path: str | Path) -> AnnData:
    """The cells in the file or folder at ``path``; see :func:`open_file`."""
    return open_file(path).adata


def open_file(path: str | Path) -> Reading:
    """Read the file or folder at ``path``, of any of :data:`FORMATS`.

    Sparse matrices stay sparse. Names of cells and genes are made unique. Raises :class:`UserError`, one sentence,
    for anything that cannot be read.
    """
    path = _resolve(path)
    name = sniff(path)
    notes: list[str] = []
    with _explained(path, name):
        adata = _READERS[name](path, notes)
        require_cells(adata, path.name)
        _make_unique(adata, notes)
    return Reading(adata, name, tuple(notes))


def size_of(path: Path, adata: AnnData) -> int:
    """Bytes that the data of a file take when they are written without compression, about.

    ``adata`` is what was read from ``path``; what it left there counts with what the file says of it.
    """
    matrices = [adata.X, *adata.layers.values(), *adata.obsm.values(), adata.raw.X if adata.raw is not None else None]
    if not any(map(by_parts.is_lazy, matrices)):
        return sum(by_parts.nbytes(matrix) for matrix in matrices if matrix is not None)
    if path.is_dir():
        return sum(preflight.inspect_zarr(zarr.open_group(str(path), mode="r"), path.name).values())
    with h5py.File(path, "r") as file:
        return sum(preflight.inspect_hdf5(file, path.name).values())


def sniff(path: str | Path) -> str:
    """The name in :data:`FORMATS` of what lies at ``path``, by its content. Raises :class:`UserError` if it is none."""
    path = _resolve(path)
    with _explained(path, "a file of cells"):
        if path.is_dir():
            return preflight.sniff_folder(path)
        if path.stat().st_size == 0:
            raise UserError(f"'{path.name}' is empty: copy or download it again.")
        if h5py.is_hdf5(path) or preflight.start(path, 4) == b"\x89HDF":  # the second is cut short, and h5py says so
            with h5py.File(path, "r") as file:
                return preflight.sniff_hdf5(file, path.name)
        if zipfile.is_zipfile(path):
            return preflight.sniff_zip(path)
        return preflight.sniff_text(preflight.head(path), path.name)


# --- where is it ------------------------------------------------------------------------------------------------------


def _resolve(path: str | Path) -> Path:
    if not str(path).strip():
        raise UserError("No path was given: name a file or a folder.")
    if re.match(r"\w+://", str(path)):
        raise UserError(f"'{path}' is a web address: download the file first and give its path.")
    try:
        found = Path(path).expanduser().resolve()
        exists = found.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"'{path}' is not a path that can be opened: {_cause(error)}.") from error
    if not exists:
        close = _close_names(found)
        hint = f"; did you mean '{close[0]}'?" if close else ": check the path."
        raise UserError(f"There is no file or folder '{found}'{hint}")
    return found


def _close_names(missing: Path) -> list[str]:
    """Alike but for their endings, which would make all files of a kind alike."""
    try:
        stem = missing.name.partition(".")[0]
        there = [entry.name for entry in sorted(missing.parent.iterdir())]
        likely = [name for name in there if difflib.get_close_matches(stem, [name.partition(".")[0]])]
        return difflib.get_close_matches(missing.name, likely, n=1)
    except OSError:
        return []


# --- one reader per format --------------------------------------------------------------------------------------------


def _read_h5ad(path: Path, notes: list[str]) -> AnnData:
    with h5py.File(path, "r") as file:
        if left := _left(file, preflight.inspect_hdf5(file, path.name), path.name, notes):
            return by_parts.read(file, left)
    return anndata.read_h5ad(path)


def _left(file: h5py.File | zarr.Group, sizes: dict[str, int], name: str, notes: list[str]) -> list[str]:
    """Matrices that are left in the file, because all of it in memory would be too much."""
    size = sum(sizes.values())
    if not by_parts.too_large(size):
        return []
    left = by_parts.large(file, sizes)
    preflight.require_memory(size - sum(by_parts.size_of(part, sizes) for part in left), name)
    if left:
        notes.append(
            f"'{name}' takes {size / 1e9:,.1f} GB in memory, and working with it more than the "
            f"{memory.free() / 1e9:,.1f} GB that are free: {' and '.join(left)} "
            f"{'stays' if len(left) == 1 else 'stay'} in the file, read in parts when needed, which takes longer."
        )
    return left


def _read_zarr(path: Path, notes: list[str]) -> AnnData:
    if path.is_dir():
        group = zarr.open_group(str(path), mode="r")
        if left := _left(group, preflight.inspect_zarr(group, path.name), path.name, notes):
            return by_parts.read(group, left)
        return anndata.io.read_zarr(group)
    with zipfile.ZipFile(path) as archive:
        roots = [Path(name).parent for name in archive.namelist() if Path(name).name in ("zarr.json", ".zgroup")]
    root = min(roots, key=lambda folder: len(folder.parts))
    store = zarr.storage.ZipStore(str(path), mode="r")
    try:
        group = zarr.open_group(store, mode="r", path=str(root) if root.parts else None)
        sizes = preflight.inspect_zarr(group, path.name)
        preflight.require_memory(sum(sizes.values()), path.name, f"unpack it into a folder, {IN_PARTS}")
        return anndata.io.read_zarr(group)
    finally:
        store.close()


def _require_memory(file: h5py.File, name: str) -> None:
    """For formats that cannot be left in their file."""
    size = sum(preflight.inspect_hdf5(file, name).values())
    preflight.require_memory(size, name, f"save it as .h5ad where there is more, {IN_PARTS}")


def _read_loom(path: Path, notes: list[str]) -> AnnData:
    with h5py.File(path, "r") as file:
        _require_memory(file, path.name)
        cells, genes = list(file["col_attrs"]), list(file["row_attrs"])
    cell = next(
        (k for k in ("CellID", "obs_names", "cell_names", "cell_id", "barcode", "barcodes") if k in cells), "CellID"
    )
    gene = next((k for k in ("Gene", "var_names", "gene_names", "GeneName", "Accession") if k in genes), "Gene")
    return anndata.io.read_loom(path, sparse=True, X_name="", obs_names=cell, var_names=gene)


def _read_10x_h5(path: Path, notes: list[str]) -> AnnData:
    import scanpy  # costs a second to import, and only this format needs it here

    with h5py.File(path, "r") as file:
        _require_memory(file, path.name)
        genomes = [] if "matrix" in file else sorted(file.keys())
    if len(genomes) > 1:
        raise UserError(
            f"'{path.name}' holds {len(genomes)} genomes ({', '.join(genomes)}): save one of them as .h5ad."
        )
    return _only_expression(scanpy.read_10x_h5(path, gex_only=False), notes)


def _only_expression(adata: AnnData, notes: list[str]) -> AnnData:
    kinds = adata.var.get("feature_types")
    genes = (kinds == "Gene Expression").to_numpy() if kinds is not None else np.ones(adata.n_vars, dtype=bool)
    if genes.all() or not genes.any():
        return adata
    others = ", ".join(sorted(set(kinds[~genes].astype(str))))
    left = int((~genes).sum())
    verbs = ("is", "was") if left == 1 else ("are", "were")
    notes.append(f"{counted(left, 'feature')} that {verbs[0]} not gene expression ({others}) {verbs[1]} left out.")
    return adata[:, genes].copy()


def _read_10x_mtx(path: Path, notes: list[str]) -> AnnData:
    if path.is_dir():
        found = preflight.matrices(path)
        if len(found) > 1:
            names = ", ".join(f.name for f in found[:4])
            raise UserError(
                f"The folder '{path.name}' holds {len(found)} matrices ({names}): give the path of one of them."
            )
        path = found[0]
    prefix = re.sub(r"(matrix)?\.mtx(\.gz)?$", "", path.name)
    barcodes = _beside(path, prefix, ("barcodes.tsv",))
    features = _beside(path, prefix, ("features.tsv", "genes.tsv", "peaks.bed"))
    with preflight.binary(path) as file:
        lines = (line for line in file if not line.startswith(b"%"))
        preflight.require_memory(int(next(lines).split()[-1]) * 16, path.name)  # rows, columns, entries
    with preflight.binary(path) as file:
        matrix = scipy.sparse.csr_matrix(scipy.io.mmread(file).T)
    matrix = matrix.astype(np.float32)
    cells = pd.read_csv(barcodes, sep="\t", header=None, dtype=str, keep_default_na=False)
    genes = pd.read_csv(features, sep="\t", header=None, dtype=str, keep_default_na=False)
    if matrix.shape == (len(genes), len(cells)) and len(genes) != len(cells):
        matrix = scipy.sparse.csr_matrix(matrix.T)
        notes.append("The matrix has cells in rows, unlike 10x's own, and was read that way.")
    if matrix.shape != (len(cells), len(genes)):
        raise UserError(
            f"'{path.name}' holds {matrix.shape[0]} cells by {matrix.shape[1]} features, but {barcodes.name} names "
            f"{len(cells)} and {features.name} {len(genes)}: use files from the same run."
        )
    var = pd.DataFrame({"gene_ids": genes[0].to_numpy()}, index=genes[min(1, genes.shape[1] - 1)].to_numpy())
    if features.name.startswith(f"{prefix}features") and genes.shape[1] > 2:
        var["feature_types"] = genes[2].to_numpy()
    return _only_expression(AnnData(matrix, obs=pd.DataFrame(index=cells[0].to_numpy()), var=var), notes)


def _beside(matrix: Path, prefix: str, names: tuple[str, ...]) -> Path:
    for name in names:
        for candidate in (matrix.parent / f"{prefix}{name}", matrix.parent / f"{prefix}{name}.gz"):
            if candidate.is_file():
                return candidate
    raise UserError(
        f"There is no '{prefix}{names[0]}' (or .gz) beside '{matrix.name}': put the files of one run in one folder."
    )


_READERS: dict[str, Callable[[Path, list[str]], AnnData]] = {
    "h5ad": _read_h5ad,
    "zarr": _read_zarr,
    "loom": _read_loom,
    "10x-h5": _read_10x_h5,
    "10x-mtx": _read_10x_mtx,
    "table": read_table,
}


# --- what came out ----------------------------------------------------------------------------------------------------


def require_cells(adata: AnnData, name: str) -> None:
    """Raise :class:`UserError` where ``adata``, called ``name``, holds nothing that can be trained on."""
    if adata.n_obs == 0:
        raise UserError(f"'{name}' holds no cells: expected at least one row.")
    if adata.n_vars == 0 and not adata.obsm:
        raise UserError(f"'{name}' holds no genes: expected at least one feature, or an embedding in obsm.")
    if adata.X is None and not adata.layers and not adata.obsm:
        raise UserError(f"'{name}' holds no values: expected a matrix in X, in layers or in obsm.")
    if adata.X is not None and adata.X.dtype.kind not in "biuf":
        raise UserError(f"'{name}' holds {adata.X.dtype} in X: expected numbers.")


def _make_unique(adata: AnnData, notes: list[str]) -> None:
    for what, names, make in (
        ("cell", adata.obs_names, adata.obs_names_make_unique),
        ("feature", adata.var_names, adata.var_names_make_unique),
    ):
        if repeated := len(names) - names.nunique():
            make()
            notes.append(f"{counted(repeated, f'{what} name')} occurred more than once and got a number added.")


# --- why it failed ----------------------------------------------------------------------------------------------------


@contextmanager
def _explained(path: Path, name: str) -> Iterator[None]:
    """Turn whatever a parser raises into one sentence, and keep its warnings, meant for programmers, quiet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(
            f"'{path.name}' does not fit into memory: close other programs, or save a part of it."
        ) from error
    except PermissionError as error:
        raise UserError(f"'{path.name}' may not be read by you: change its permissions, or copy it.") from error
    except Exception as error:  # parsers raise anything, and none of it is a sentence for the user
        cause = _cause(error)
        if isinstance(error, EOFError) or re.search(r"truncated|end-of-stream|unexpected end", cause, re.IGNORECASE):
            raise UserError(f"'{path.name}' is cut short: copy or download it again.") from error
        raise UserError(
            f"'{path.name}' cannot be read as {name} ({cause}): check how it was saved, or save it again."
        ) from error


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".")[:160] if lines else type(error).__name__

"""Any file of single cells -> AnnData, and for every file that cannot be read one sentence that says why.

What a file is, is decided by its content, not by its name. HDF5 and zarr are inspected before any value is loaded: a
stranger's file of a few kilobytes can declare gigabytes, point at other files, or (zarr) carry pickles that run code.
Files are only ever opened for reading.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import gzip
import io
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import anndata
import h5py
import numpy as np
import pandas as pd
import psutil
import scipy.io
import scipy.sparse
import zarr
from anndata import AnnData

from cellstream.errors import UserError
from cellstream.times import looks_like_label_name, looks_like_time_name


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
_KNOWN = "h5ad, zarr, loom, 10x .h5, a 10x folder, csv, tsv"


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
        _check(adata, path.name)
        _make_unique(adata, notes)
    return Reading(adata, name, tuple(notes))


def sniff(path: str | Path) -> str:
    """The name in :data:`FORMATS` of what lies at ``path``, by its content. Raises :class:`UserError` if it is none."""
    path = _resolve(path)
    with _explained(path, "a file of cells"):
        if path.is_dir():
            return _sniff_folder(path)
        if path.stat().st_size == 0:
            raise UserError(f"'{path.name}' is empty: copy or download it again.")
        if h5py.is_hdf5(path) or _start(path, 4) == b"\x89HDF":  # the second is cut short, and h5py says so
            with h5py.File(path, "r") as file:
                return _sniff_hdf5(file, path.name)
        if zipfile.is_zipfile(path):
            return _sniff_zip(path)
        return _sniff_text(_head(path), path.name)


# --- what is it -------------------------------------------------------------------------------------------------------


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
    try:
        return difflib.get_close_matches(missing.name, [entry.name for entry in missing.parent.iterdir()], n=1)
    except OSError:
        return []


def _start(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _head(path: Path, size: int = 65536) -> bytes:
    """The first bytes of what is inside a file, gzipped or not."""
    with _binary(path) as file:
        return file.read(size)


def _sniff_folder(path: Path) -> str:
    if any((path / mark).is_file() for mark in ("zarr.json", ".zgroup", ".zattrs", ".zmetadata")):
        return "zarr"
    if _matrices(path):
        return "10x-mtx"
    raise UserError(
        f"The folder '{path.name}' is neither zarr nor 10x: expected zarr.json or .zgroup, or matrix.mtx with "
        "barcodes.tsv and features.tsv; give the path of a file in it."
    )


def _sniff_hdf5(file: h5py.File, name: str) -> str:
    _inspect_hdf5(file, name)
    keys = set(file.keys())
    if "matrix" in keys and {"row_attrs", "col_attrs"} <= keys:
        return "loom"
    groups = [group for group in map(file.get, keys) if isinstance(group, h5py.Group)]
    if any({"barcodes", "data", "indices", "indptr", "shape"} <= set(group.keys()) for group in groups):
        return "10x-h5"
    if "mod" in keys:
        raise UserError(f"'{name}' is MuData with several modalities: save one of them as .h5ad and open that.")
    if {"obs", "var"} <= keys:
        return "h5ad"
    found = ", ".join(sorted(keys)[:6]) or "nothing"
    raise UserError(f"'{name}' is HDF5 but neither h5ad, loom nor 10x (it holds {found}): save the cells as .h5ad.")


def _sniff_zip(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(Path(name).name in ("zarr.json", ".zgroup") for name in names):
        return "zarr"
    if any(name.startswith("xl/") for name in names):
        raise UserError(f"'{path.name}' is an Excel workbook: save the sheet as CSV and open that.")
    raise UserError(f"'{path.name}' is a zip archive without zarr inside: unpack it and open the file or folder in it.")


def _sniff_text(head: bytes, name: str) -> str:
    """For what is not HDF5, zip or a folder; ``head`` is unpacked already."""
    if head.startswith(b"%%MatrixMarket"):
        return "10x-mtx"
    if head.startswith((b"RDX", b"X\n\x00", b"B\n\x00")):
        raise UserError(f"'{name}' is an R object: convert it to .h5ad (for example with zellkonverter).")
    if head.startswith(b"\x89HDF") or head[257:262] == b"ustar":
        raise UserError(f"'{name}' is a packed file or archive: unpack it first and open what is inside.")
    if not head.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\x00" in head:
        raise UserError(f"'{name}' is no format that can be read: expected {_KNOWN}.")
    if not head.strip():
        raise UserError(f"'{name}' is empty: copy or download it again.")
    return "table"


# --- is it safe to load -----------------------------------------------------------------------------------------------


def _inspect_hdf5(file: h5py.File, name: str) -> None:
    """Walk the metadata: refuse what points outside the file, and more than memory holds."""
    declared, seen, todo = 0, set(), [file["/"]]
    while todo:
        group = todo.pop()
        for key in group:
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise UserError(f"'{name}' links to another file at '{key}': save a copy with the values inside.")
            if isinstance(link, h5py.SoftLink):
                continue  # its target is in this file and is visited, or is missing
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:  # hard links may form a circle
                continue
            seen.add(address)
            if isinstance(item, h5py.Group):
                todo.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise UserError(f"'{name}' keeps '{item.name}' in other files: save a copy with the values inside.")
                declared += int(item.size or 0) * item.dtype.itemsize
    _require_memory(declared, name)


def _inspect_zarr(group: zarr.Group, name: str) -> None:
    declared, todo = 0, [group]
    while todo:
        here = todo.pop()
        todo += [child for _, child in here.groups()]
        for _, array in here.arrays():
            codecs = [*(array.filters or ()), *_compressors(array)]
            if any(getattr(codec, "codec_id", "") == "pickle" for codec in codecs):
                raise UserError(
                    f"'{name}' holds pickles at '{array.path}', which could run code: save it with a recent anndata."
                )
            declared += int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize
    _require_memory(declared, name)


def _compressors(array: zarr.Array) -> tuple[object, ...]:
    # zarr 3 has a tuple, zarr 2 one object
    return tuple(array.compressors) if hasattr(array, "compressors") else (array.compressor,)


def _require_memory(needed: float, name: str) -> None:
    available = psutil.virtual_memory().available
    if needed > available:
        raise UserError(
            f"'{name}' needs {needed / 1e9:,.1f} GB of memory but {available / 1e9:,.1f} GB are free: close other "
            "programs, or save a part of the cells or genes, or the matrix as sparse."
        )


# --- one reader per format --------------------------------------------------------------------------------------------


def _read_h5ad(path: Path, notes: list[str]) -> AnnData:
    return anndata.read_h5ad(path)


def _read_zarr(path: Path, notes: list[str]) -> AnnData:
    if path.is_dir():
        group = zarr.open_group(str(path), mode="r")
        _inspect_zarr(group, path.name)
        return anndata.io.read_zarr(group)
    with zipfile.ZipFile(path) as archive:
        roots = [Path(name).parent for name in archive.namelist() if Path(name).name in ("zarr.json", ".zgroup")]
    root = min(roots, key=lambda folder: len(folder.parts))
    store = zarr.storage.ZipStore(str(path), mode="r")
    try:
        group = zarr.open_group(store, mode="r", path=str(root) if root.parts else None)
        _inspect_zarr(group, path.name)
        return anndata.io.read_zarr(group)
    finally:
        store.close()


def _read_loom(path: Path, notes: list[str]) -> AnnData:
    with h5py.File(path, "r") as file:
        cells, genes = list(file["col_attrs"]), list(file["row_attrs"])
    cell = next(
        (k for k in ("CellID", "obs_names", "cell_names", "cell_id", "barcode", "barcodes") if k in cells), "CellID"
    )
    gene = next((k for k in ("Gene", "var_names", "gene_names", "GeneName", "Accession") if k in genes), "Gene")
    return anndata.io.read_loom(path, sparse=True, X_name="", obs_names=cell, var_names=gene)


def _read_10x_h5(path: Path, notes: list[str]) -> AnnData:
    import scanpy  # costs a second to import, and only this format needs it here

    with h5py.File(path, "r") as file:
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
    notes.append(f"{(~genes).sum():,} features that are not gene expression ({others}) were left out.")
    return adata[:, genes].copy()


def _matrices(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_file() and re.search(r"(^|[._-])matrix\.mtx(\.gz)?$", f.name))


def _read_10x_mtx(path: Path, notes: list[str]) -> AnnData:
    if path.is_dir():
        found = _matrices(path)
        if len(found) > 1:
            names = ", ".join(f.name for f in found[:4])
            raise UserError(
                f"The folder '{path.name}' holds {len(found)} matrices ({names}): give the path of one of them."
            )
        path = found[0]
    prefix = re.sub(r"(matrix)?\.mtx(\.gz)?$", "", path.name)
    barcodes = _beside(path, prefix, ("barcodes.tsv",))
    features = _beside(path, prefix, ("features.tsv", "genes.tsv", "peaks.bed"))
    with _binary(path) as file:
        lines = (line for line in file if not line.startswith(b"%"))
        _require_memory(int(next(lines).split()[-1]) * 16, path.name)  # rows, columns, entries
    with _binary(path) as file:
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


@contextmanager
def _binary(path: Path) -> Iterator[Any]:
    with gzip.open(path) if _start(path, 2) == b"\x1f\x8b" else path.open("rb") as file:
        yield file


# --- tables -----------------------------------------------------------------------------------------------------------

_CELL_NAMES = re.compile(r"|index|name|id|obs_names|barcodes?|cells?(_?(id|name))?", re.IGNORECASE)
_MEASURED = re.compile(r"(n_|total_|pct_|percent|ncount_|nfeature_|(.*_)?pseudotime)", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+(e[+-]?\d+)?\s*", re.IGNORECASE)


def _read_table(path: Path, notes: list[str]) -> AnnData:
    """Cells in rows. Numbers become X; text, and what its name calls a time, group or quality measure, becomes obs."""
    # As numbers a table takes up to four times its text: "0," is two bytes, a float64 eight.
    _require_memory(4 * _unpacked_size(path), path.name)
    encoding = _encoding(_head(path))
    with _text(path, encoding) as file:
        skip, lines = _first_lines(file)
    separator = _separator(lines, path.name)
    rows = list(csv.reader(lines, delimiter=separator))
    cells = [cell for row in rows[1:] for cell in row]
    comma = (
        separator != ","
        and any(map(_DECIMAL_COMMA.fullmatch, cells))
        and not any("." in c for c in cells if _NUMBER.fullmatch(c))
    )
    headless = all(_is_number(cell, comma) for cell in rows[0]) and rows[0] != [str(i) for i in range(len(rows[0]))]
    with _text(path, encoding) as file:
        frame = pd.read_csv(
            file,
            sep=separator,
            decimal="," if comma else ".",
            header=None if headless else 0,
            skiprows=skip,
            skipinitialspace=True,
            low_memory=False,  # one type per column, whatever its length
        )
    if headless:
        frame.columns = [f"feature_{i + 1}" for i in range(frame.shape[1])]
        notes.append("The first row holds numbers, so the columns were named feature_1, feature_2 and so on.")
    elif repeated := len(rows[0]) - len(set(rows[0])):
        notes.append(f"{repeated} column names occurred more than once and got a number added.")
    return _from_frame(_name_rows(frame), path.name, notes)


def _name_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Take the names of the cells from the first column, where it looks like names."""
    if not isinstance(frame.index, pd.RangeIndex) or frame.shape[1] < 2:
        return frame
    first = str(frame.columns[0])
    named = first.startswith("Unnamed:") or bool(_CELL_NAMES.fullmatch(first))
    column = frame.iloc[:, 0]
    text = not pd.api.types.is_numeric_dtype(column) and column.is_unique and not looks_like_time_name(first)
    return frame.set_index(frame.columns[0]) if (named or text) and column.notna().all() else frame


def _from_frame(frame: pd.DataFrame, name: str, notes: list[str]) -> AnnData:
    empty = [c for c in frame if str(c).startswith("Unnamed:") and frame[c].isna().all()]  # a separator ends each line
    frame = frame.drop(columns=empty)
    numeric = {c for c, dtype in frame.dtypes.items() if dtype.kind in "iuf"}
    others = [c for c in frame if c not in numeric or _belongs_in_obs(str(c))]
    features = frame.columns[~frame.columns.isin(others)]
    if frame.empty:
        raise UserError(f"'{name}' has a header but no rows: expected one row per cell.")
    if features.empty:
        raise UserError(f"'{name}' has no columns of numbers: expected cells in rows and features in columns.")
    mixed = [c for c in others if c not in numeric and pd.to_numeric(frame[c], errors="coerce").notna().mean() > 0.5]
    if mixed:
        notes.append(f"{_names(mixed)} hold text among their numbers, so they were kept in obs and not as features.")
    if others:
        notes.append(f"{_names(others)} were kept in obs; the other {len(features):,} columns are the features.")
    obs = frame[others].set_axis(frame.index.astype(str), axis=0).rename_axis(None)
    x = np.ascontiguousarray(frame[features].to_numpy(np.float32))
    return AnnData(x, obs=obs, var=pd.DataFrame(index=[str(c) for c in features]))


def _belongs_in_obs(name: str) -> bool:
    known = _CELL_NAMES.fullmatch(name) is not None or _MEASURED.match(name) is not None
    return known or looks_like_time_name(name) or looks_like_label_name(name)


def _names(columns: list[Any]) -> str:
    shown = ", ".join(f"'{c}'" for c in columns[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
    return f"{'Columns' if len(columns) > 1 else 'Column'} {shown}"


def _unpacked_size(path: Path) -> int:
    size = path.stat().st_size
    if _start(path, 2) != b"\x1f\x8b":
        return size
    with path.open("rb") as file:
        file.seek(-4, io.SEEK_END)  # gzip ends with the length of its content, modulo 4 GB
        return max(size, int.from_bytes(file.read(4), "little"))


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8-sig"


@contextmanager
def _text(path: Path, encoding: str) -> Iterator[io.TextIOWrapper]:
    with _binary(path) as file:
        yield io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="")


def _first_lines(file: io.TextIOWrapper, most: int = 30) -> tuple[int, list[str]]:
    """How many comment lines to skip, and the lines after them; a header may be megabytes long."""
    skip = 0
    lines: list[str] = []
    for line in file:
        if not lines and (line.startswith("#") or not line.strip()):
            skip += 1
        else:
            lines.append(line)
        if len(lines) == most:
            break
    return skip, lines


def _separator(lines: list[str], name: str) -> str:
    """The separator that splits all lines alike; semicolon before comma, since "1,5;2,5" has decimal commas."""
    bare = [re.sub(r'"[^"]*"', "", line) for line in lines if line.strip()]
    widths = {mark: [line.count(mark) + 1 for line in bare] for mark in "\t;, "}
    for mark, (header, *rest) in widths.items():
        # R's write.table leaves out the name of the first column
        if header > 1 and len(set(rest)) <= 1 and all(width - header in (0, 1) for width in rest):
            return mark
    mark = max(widths, key=lambda mark: widths[mark][0])
    if widths[mark][0] < 2:
        raise UserError(
            f"'{name}' has one column: expected cells in rows and columns separated by comma, semicolon or tab."
        )
    return mark


def _is_number(cell: str, comma: bool) -> bool:
    return (_DECIMAL_COMMA.fullmatch(cell) is not None and comma) or _NUMBER.fullmatch(cell) is not None


_READERS: dict[str, Callable[[Path, list[str]], AnnData]] = {
    "h5ad": _read_h5ad,
    "zarr": _read_zarr,
    "loom": _read_loom,
    "10x-h5": _read_10x_h5,
    "10x-mtx": _read_10x_mtx,
    "table": _read_table,
}


# --- what came out ----------------------------------------------------------------------------------------------------


def _check(adata: AnnData, name: str) -> None:
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
            notes.append(f"{repeated:,} {what} names occurred more than once and got a number added.")


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

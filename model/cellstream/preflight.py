"""What is known of a file before any of its values is loaded: what it is, how big, and whether it is safe to load.

A stranger's file of a few kilobytes can declare gigabytes, point at other files, or (zarr) carry pickles that run code.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import zarr

from cellstream import memory
from cellstream.errors import UserError

_KNOWN = "h5ad, zarr, loom, 10x .h5, a 10x folder, csv, tsv"
TABLES = frozenset({".csv", ".tsv", ".txt", ".tab", ".dat", ".data", ".counts", ".matrix"})
"""Endings of files of text that may hold a table of cells, beside those that are no words, as in ``cells.2``."""


# --- its bytes --------------------------------------------------------------------------------------------------------


def start(path: Path, size: int) -> bytes:
    """The first bytes of a file as they are."""
    with path.open("rb") as file:
        return file.read(size)


def head(path: Path, size: int = 65536) -> bytes:
    """The first bytes of what is inside a file, gzipped or not."""
    with binary(path) as file:
        return file.read(size)


@contextmanager
def binary(path: Path) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """The file opened for reading, unpacked where it is gzipped."""
    with gzip.open(path) if start(path, 2) == b"\x1f\x8b" else path.open("rb") as file:
        yield file


def unpacked_size(path: Path) -> int:
    """Bytes inside a file, gzipped or not."""
    size = path.stat().st_size
    if start(path, 2) != b"\x1f\x8b":
        return size
    with path.open("rb") as file:
        file.seek(-4, io.SEEK_END)  # gzip ends with the length of its content, modulo 4 GB
        return max(size, int.from_bytes(file.read(4), "little"))


# --- what is it -------------------------------------------------------------------------------------------------------


def sniff_folder(path: Path) -> str:
    if any((path / mark).is_file() for mark in ("zarr.json", ".zgroup", ".zattrs", ".zmetadata")):
        return "zarr"
    if matrices(path):
        return "10x-mtx"
    raise UserError(
        f"The folder '{path.name}' is neither zarr nor 10x: expected zarr.json or .zgroup, or matrix.mtx with "
        "barcodes.tsv and features.tsv; give the path of a file in it."
    )


def sniff_hdf5(file: h5py.File, name: str) -> str:
    inspect_hdf5(file, name)
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


def sniff_zip(path: Path) -> str:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if {"manifest.json", "run/config.json"} <= set(names):
        raise UserError(
            f"'{path.name}' is a bundle of CellStream: open it with 'cellstream app', or take it apart with "
            "'cellstream bundle FILE --unpack DIR' and name the folder DIR or the data in it."
        )
    if any(Path(name).name in ("zarr.json", ".zgroup") for name in names):
        return "zarr"
    if any(name.startswith("xl/") for name in names):
        raise UserError(f"'{path.name}' is an Excel workbook: save the sheet as CSV and open that.")
    raise UserError(f"'{path.name}' is a zip archive without zarr inside: unpack it and open the file or folder in it.")


def sniff_text(content: bytes, name: str) -> str:
    """For what is not HDF5, zip or a folder; ``content`` is its first bytes, unpacked already."""
    if content.startswith(b"%%MatrixMarket"):
        return "10x-mtx"
    if content.startswith((b"RDX", b"X\n\x00", b"B\n\x00")):
        raise UserError(f"'{name}' is an R object: convert it to .h5ad (for example with zellkonverter).")
    if content.startswith(b"\x89HDF") or content[257:262] == b"ustar":
        raise UserError(f"'{name}' is a packed file or archive: unpack it first and open what is inside.")
    if not content.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\x00" in content:
        raise UserError(f"'{name}' is no format that can be read: expected {_KNOWN}.")
    if not content.strip():
        raise UserError(f"'{name}' is empty: copy or download it again.")
    suffix = Path(name).suffix.lower()
    if suffix in (".h5ad", ".h5", ".loom"):
        raise UserError(
            f"'{name}' is not an HDF5 ({suffix}) file but text: if it is a table, rename it to .csv or .tsv, "
            "otherwise copy or download it again."
        )
    ending = Path(re.sub(r"\.(gz|bz2|xz)$", "", name.lower())).suffix
    if ending.lstrip(".").isalpha() and ending not in TABLES:
        raise UserError(
            f"'{name}' is text of a kind ({ending}) that holds no cells: expected {_KNOWN}. A table has to be "
            "renamed to .csv or .tsv."
        )
    return "table"


def matrices(folder: Path) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.is_file() and re.search(r"(^|[._-])matrix\.mtx(\.gz)?$", f.name))


# --- is it safe to load -----------------------------------------------------------------------------------------------


def inspect_hdf5(file: h5py.File, name: str) -> dict[str, int]:
    """Walk the metadata: refuse what points outside the file. Bytes that each array takes in memory, by its path."""
    sizes: dict[str, int] = {}
    seen, todo = set(), [file["/"]]
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
                sizes[item.name.lstrip("/")] = int(item.size or 0) * item.dtype.itemsize
    return sizes


def inspect_zarr(group: zarr.Group, name: str) -> dict[str, int]:
    """Walk the metadata: refuse pickles. Bytes that each array takes in memory, by its path in the group."""
    sizes: dict[str, int] = {}
    todo, above = [group], len(group.path)
    while todo:
        here = todo.pop()
        todo += [child for _, child in here.groups()]
        for _, array in here.arrays():
            codecs = [*(array.filters or ()), *_compressors(array)]
            if any(getattr(codec, "codec_id", "") == "pickle" for codec in codecs):
                raise UserError(
                    f"'{name}' holds pickles at '{array.path}', which could run code: save it with a recent anndata."
                )
            size = int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize
            sizes[array.path[above:].lstrip("/")] = size
    return sizes


def _compressors(array: zarr.Array) -> tuple[object, ...]:
    # zarr 3 has a tuple, zarr 2 one object
    return tuple(array.compressors) if hasattr(array, "compressors") else (array.compressor,)


def require_memory(
    needed: float,
    name: str,
    advice: str = "close other programs, or save a part of the cells or genes, or the matrix as sparse",
) -> None:
    """Refuse a file that takes more than the ``needed`` bytes that are free."""
    memory.require(needed, f"'{name}'", advice)

"""Matrices that are too large for memory: left in their file, and read some rows at a time when they are needed.

anndata makes them dask arrays whose blocks are numpy arrays or csr matrices, and scanpy computes with those. Only the
large matrices of a file (X, layers, raw) are left there; all else is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import h5py
import numpy as np
from anndata import AnnData
from anndata.abc import CSCDataset, CSRDataset
from anndata.experimental import read_elem_lazy
from anndata.io import read_elem
from scipy import sparse

from cellstream import memory
from cellstream.errors import UserError

ENTRIES = 10_000_000
"""Numbers in a block, about: 40 to 160 MB."""
WORTH = 10_000_000
"""Bytes of a matrix from which on it is worth leaving in its file."""
ROOM = 2.5
"""Times the size of a matrix that working with it takes: itself, its normalised copy and its variable genes."""
BLOCKS = 8
"""Blocks, with what is made of them, that have to fit into memory."""
AT_ONCE = 2
"""Blocks that dask works on at once; with more, more lie in memory."""
PACKED = 200
"""A matrix that takes so many times less in the file than in memory holds next to nothing, or is meant to do harm."""

_SLOTS = ("obs", "var", "obsm", "varm", "obsp", "varp", "uns")


def is_lazy(matrix: Any) -> bool:
    """Whether this is an array that is still in its file."""
    return hasattr(matrix, "dask")


def holds_sparse(matrix: Any) -> bool:
    """Whether a matrix, or the blocks of one that is in its file, are sparse."""
    return sparse.issparse(matrix._meta if is_lazy(matrix) else matrix)


def nbytes(matrix: Any) -> int:
    """Bytes of a matrix in memory."""
    if sparse.issparse(matrix):
        return matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    return int(getattr(matrix, "nbytes", 0))


def too_large(size: float) -> bool:
    """Whether arrays of so many bytes would not leave room to work with them."""
    return ROOM * size > memory.free()


def large(file: Any, sizes: Mapping[str, int]) -> list[str]:
    """Paths of the matrices of ``file`` (a group of h5py or zarr) that can be left there and are worth it.

    ``sizes`` are those of all arrays in bytes, by their paths.
    """
    names = ["X", "raw/X", *(f"layers/{name}" for name in file.get("layers", ()))]
    return [name for name in names if name in file and size_of(name, sizes) > WORTH and _readable(file[name])]


def _readable(element: Any) -> bool:
    """Whether it can be read in rows, and holds something: a few bytes can declare any size."""
    return _declared(element) <= PACKED * sum(map(_stored, _arrays(element))) and _rows(element) > 0


def _arrays(element: Any) -> list[Any]:
    """The large arrays of a stored matrix: itself, or the two of a sparse one."""
    return [element] if hasattr(element, "shape") else [element[key] for key in ("data", "indices") if key in element]


def _declared(element: Any) -> int:
    """Bytes of a stored matrix in memory."""
    return sum(int(array.size) * array.dtype.itemsize for array in _arrays(element))


def _stored(array: Any) -> int:
    """Bytes of an array in its file."""
    if isinstance(array, h5py.Dataset):
        return int(array.id.get_storage_size())
    return int(array.nbytes_stored() if callable(array.nbytes_stored) else array.nbytes_stored)  # zarr 3, zarr 2


def size_of(name: str, sizes: Mapping[str, int]) -> int:
    """Bytes of an element of a file, with all that is below it."""
    return sum(size for path, size in sizes.items() if path == name or path.startswith(f"{name}/"))


def read(file: Any, left: list[str]) -> AnnData:
    """What is in ``file`` (a group of h5py or zarr that stays where it is), with the matrices ``left`` in it."""

    def part(name: str) -> Any:
        return opened(file[name]) if name in left else read_elem(file[name])

    made = {slot: read_elem(file[slot]) for slot in _SLOTS if slot in file}
    if "X" in file:
        made["X"] = part("X")
    if "layers" in file:
        made["layers"] = {name: part(f"layers/{name}") for name in file["layers"]}
    if "raw/X" in file:
        made["raw"] = {name: part(f"raw/{name}") for name in ("X", "var", "varm") if f"raw/{name}" in file}
    return AnnData(**made)


def opened(element: Any) -> Any:
    """A dask array of a stored matrix, in blocks of rows."""
    return read_elem_lazy(element, chunks=(_rows(element), -1))


def is_stored(source: Any) -> bool:
    """Whether this is a matrix of an AnnData that was opened in backed mode."""
    return isinstance(source, h5py.Dataset | CSRDataset | CSCDataset)


def taken(source: Any) -> Any:
    """A stored matrix in memory where there is room to work with it, else a dask array."""
    dense = isinstance(source, h5py.Dataset)
    element = source if dense else source.group
    if too_large(_declared(element)) and _rows(element):
        return opened(element)
    return source[:] if dense else source.to_memory()


def in_rows(matrix: Any, name: str, made: Callable[[Any], Any]) -> Any:
    """A dask array whose blocks hold whole rows, csr where they are sparse, each ``made`` of what it was."""
    if matrix.numblocks[1] > 1:
        if holds_sparse(matrix):
            raise UserError(
                f"'{name}' is larger than memory and stored by columns (CSC), which cannot be read in rows: save it "
                "as CSR, by adata.X.tocsr() where there is more memory."
            )
        matrix = matrix.rechunk({1: -1})
    if not holds_sparse(matrix):
        return matrix
    return matrix.map_blocks(lambda block: made(sparse.csr_matrix(block)), dtype=matrix.dtype, meta=matrix._meta)


def _rows(element: Any) -> int:
    """Rows of a block; 0 for what cannot be read in rows, such as a matrix stored by columns, or is not to be."""
    kind = element.attrs.get("encoding-type")
    if kind == "csr_matrix":
        n, _ = element.attrs["shape"]
        starts = element["indptr"][:]
        if len(starts) != n + 1 or n == 0:
            return 0
        rows = int(np.clip(ENTRIES * n // max(int(starts[-1]), 1), 1, n))
        most = int(np.diff(starts[np.r_[0:n:rows, n]]).max())
        return rows if most <= 20 * ENTRIES else 0  # nearly all in a few rows, which no data has
    if kind == "array" and len(element.shape) == 2 and 0 not in element.shape:
        n, m = element.shape
        rows = int(np.clip(ENTRIES // m, 1, n))
        stored = (element.chunks or (1,))[0]  # whole chunks, or each is unpacked several times
        rows = min(-(-rows // stored) * stored, n)
        return rows if BLOCKS * rows * m * element.dtype.itemsize <= memory.free() else 0
    return 0


@contextmanager
def few_at_once() -> Iterator[None]:
    """dask works on few blocks at a time, however many cores there are."""
    import dask

    with dask.config.set(scheduler="threads", num_workers=AT_ONCE):
        yield


def blocks(matrix: Any) -> Iterator[Any]:
    """The rows of a matrix, some at a time, in order; of one that is in its file the next are read in the meantime."""
    if is_lazy(matrix):
        yield from _ahead([matrix.blocks[i].compute for i in range(matrix.numblocks[0])])
        return
    step = max(1, ENTRIES * matrix.shape[0] // max(matrix.nnz if sparse.issparse(matrix) else matrix.size, 1))
    for start in range(0, matrix.shape[0], step):
        yield matrix[start : start + step]


def _ahead(reads: list[Callable[..., Any]]) -> Iterator[Any]:
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(reads[0], scheduler="synchronous")
        for following in reads[1:]:
            block = coming.result()
            coming = pool.submit(following, scheduler="synchronous")
            yield block
        yield coming.result()


def gathered(matrix: Any, advice: str = "keep fewer genes (n_top_genes)") -> Any:
    """The whole matrix in memory. Raises :class:`~cellstream.errors.UserError` where it turns out not to fit."""
    if not is_lazy(matrix):
        return matrix
    found: list[Any] = []
    size = 0
    for block in blocks(matrix):
        found.append(block)
        size += nbytes(block)
        # joining them takes as much again, and the blocks to come are like those so far
        share = sum(part.shape[0] for part in found) / matrix.shape[0]
        memory.require(size / share * 2 - size, f"Keeping {matrix.shape[1]:,} features of all cells", advice)
    return sparse.vstack(found, format="csr") if sparse.issparse(found[0]) else np.concatenate(found)

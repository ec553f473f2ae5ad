"""A result as a file that holds its cells too, and an AnnData as a file, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cellstream.errors import UserError
from cellstream.files import new_file, new_folder, whole, whole_folder

if TYPE_CHECKING:
    from anndata import AnnData

    from cellstream.stream import CellStream

SUFFIXES = (".h5ad", ".zarr", ".safetensors")


def place_for(out: Path | str, overwrite: bool) -> Path:
    """A place for a result that can be written to: an h5ad, a zarr folder, or safetensors for the model alone.

    Raises:
        UserError: the name ends otherwise, something is there already, or nothing can be written there.
    """
    suffix = Path(out).suffix
    if suffix not in SUFFIXES:
        raise UserError(f"Expected a name that ends in {', '.join(SUFFIXES)} to write to, but got '{out}'.")
    again = "choose another name, or say overwrite=True"
    if suffix == ".zarr":
        marks = (".zgroup", "zarr.json")
        return new_folder(str(out), overwrite, lambda path: any((path / at).exists() for at in marks), "zarr", again)
    return new_file(str(out), overwrite, suffix, again)


def save(result: CellStream, out: Path) -> None:
    """A copy of a result's cells with the result in it, as ``.h5ad`` or ``.zarr``; the cells themselves stay as they
    are. Raises :class:`UserError` where only the model is known, or a name is taken in the data."""
    adata = result.known.adata.copy()
    result.annotate(adata)
    write(adata, out, "choose another place")


def write(adata: AnnData, out: Path, instead: str = "choose another place with --out") -> None:
    """``adata`` as a whole ``.h5ad`` or ``.zarr``, or none; :class:`UserError` says what to do ``instead``."""
    try:
        if out.suffix == ".zarr":
            with whole_folder(out) as path:
                adata.write_zarr(path)
        else:
            with whole(out) as path:
                adata.write_h5ad(path)
    except Exception as error:  # anndata raises anything, and what was learned must not go with it
        raise UserError(f"{out} could not be written ({reason(error)}): {instead}.") from error


def reason(error: Exception) -> str:
    """What another library says went wrong, in brackets of a sentence."""
    return " ".join(str(error).split()).rstrip(".")[:160] or type(error).__name__

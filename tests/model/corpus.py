"""Small data sets and files for the tests of reading, made on the spot; nothing here is read from elsewhere."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse

from cellstream.errors import UserError


def counts(n: int = 60, genes: int = 40, seed: int = 0, density: float = 0.4) -> np.ndarray:
    """Raw counts (n, genes) float32: negative binomial with about ``density`` of the entries above zero."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(1.0, 3.0, size=genes)
    return (rng.poisson(rate, size=(n, genes)) * (rng.random((n, genes)) < density)).astype(np.float32)


def cells(n: int = 60, genes: int = 40, seed: int = 0, sparse: bool = True) -> anndata.AnnData:
    """Counts with a text time, a cell type, an embedding and a layer."""
    x = counts(n, genes, seed)
    obs = pd.DataFrame(
        {"day": pd.Categorical([f"day {i % 3}" for i in range(n)]), "cell_type": pd.Categorical(["A", "B"] * (n // 2))},
        index=[f"cell{i}" for i in range(n)],
    )
    var = pd.DataFrame(index=[f"gene{i}" for i in range(genes)])
    adata = anndata.AnnData(scipy.sparse.csr_matrix(x) if sparse else x, obs=obs, var=var)
    adata.layers["log"] = adata.X.log1p() if sparse else np.log1p(x)
    adata.obsm["X_pca"] = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    return adata


def dense(matrix: object) -> np.ndarray:
    return matrix.toarray() if scipy.sparse.issparse(matrix) else np.asarray(matrix)


def write_10x_mtx(folder: Path, x: np.ndarray, *, version: int = 3, packed: bool = True, prefix: str = "") -> Path:
    """A Cell Ranger folder, features by barcodes; version 2 names the features genes.tsv."""
    folder.mkdir(parents=True, exist_ok=True)
    n, p = x.shape
    third = "\tGene Expression" if version == 3 else ""
    texts = {
        "barcodes.tsv": "".join(f"cell{i}-1\n" for i in range(n)),
        "features.tsv" if version == 3 else "genes.tsv": "".join(f"ENS{j}\tgene{j}{third}\n" for j in range(p)),
    }
    plain = folder / "plain.mtx"
    scipy.io.mmwrite(plain, scipy.sparse.coo_matrix(x.T.astype(int)))
    texts["matrix.mtx"] = plain.read_text()
    plain.unlink()
    for name, text in texts.items():
        if packed:
            (folder / f"{prefix}{name}.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / f"{prefix}{name}").write_text(text)
    return folder


def write_10x_h5(path: Path, x: np.ndarray, *, version: int = 3, kinds: list[str] | None = None) -> Path:
    """A Cell Ranger HDF5 file, features by barcodes in compressed columns, as 10x describes it."""
    n, p = x.shape
    by_cell = scipy.sparse.csr_matrix(x.astype(np.int32))
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else "GRCh38")
        for key in ("data", "indices", "indptr"):
            group[key] = getattr(by_cell, key)
        group["shape"] = np.array([p, n], dtype=np.int32)
        group["barcodes"] = np.array([f"cell{i}-1" for i in range(n)], dtype="S")
        names = np.array([f"gene{j}" for j in range(p)], dtype="S")
        ids = np.array([f"ENS{j}" for j in range(p)], dtype="S")
        if version == 3:
            features = group.create_group("features")
            features["name"], features["id"] = names, ids
            features["feature_type"] = np.array(kinds or ["Gene Expression"] * p, dtype="S")
            features["genome"] = np.array(["GRCh38"] * p, dtype="S")
            features["_all_tag_keys"] = np.array(["genome"], dtype="S")
        else:
            group["gene_names"], group["genes"] = names, ids
    return path


@contextmanager
def one_sentence(*words: str) -> Iterator[None]:
    """The block raises a UserError of one readable line that says each of ``words``."""
    with pytest.raises(UserError) as caught:
        yield
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith((".", "?"))
    assert 20 < len(text) < 420
    assert "Traceback" not in text
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"

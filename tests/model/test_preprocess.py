from __future__ import annotations

import os
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import psutil
import pytest
import scanpy as sc
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cellstream.config import Preprocess
from cellstream.preprocess import every_gene, expressed, inputs, prepare
from tests.model.corpus import cells, counts, dense, one_sentence

AS_IT_IS = Preprocess(normalise="no", n_top_genes=0, n_pcs=0)


def data(x, **slots):
    x = x if scipy.sparse.issparse(x) else np.asarray(x)
    return anndata.AnnData(x, var=pd.DataFrame(index=[f"g{j}" for j in range(x.shape[1])]), **slots)


def log_normalised(x):
    """The closed form, in float64."""
    total = x.sum(axis=1, keepdims=True, dtype=np.float64)
    return np.log1p(x / np.where(total > 0, total, 1) * 1e4)


# --- counts to logarithms ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint16])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix, scipy.sparse.csc_matrix, scipy.sparse.csr_array])
def test_counts_become_log_normalised(form, dtype):
    x = counts()
    x[:, 3] = 0
    x[5] = 0
    prepared = prepare(data(form(x.astype(dtype))))
    kept = x.any(axis=0)
    np.testing.assert_allclose(prepared.x, log_normalised(x)[:, kept], rtol=1e-5)
    assert prepared.features == prepared.genes.names == tuple(f"g{j}" for j in np.flatnonzero(kept))
    assert prepared.x.dtype == np.float32
    assert prepared.x.flags.c_contiguous
    told = " ".join(prepared.report)
    assert "zero in every feature, kept, but better left out (fix drop-empty-cells): 1." in told
    assert f"zero in every cell: {(~kept).sum()} of 40." in told
    assert f"raw counts (integers up to {x.max():.0f}): scaled each cell to 10,000 counts" in told


def test_an_entry_stored_in_two_parts_and_stored_zeros():
    x = counts(8, 6)
    whole = scipy.sparse.coo_matrix(x)
    parts = scipy.sparse.csr_matrix(x.shape, dtype=np.float32)
    parts.data = np.repeat(whole.data, 2) * np.tile([1.0, 0.0], whole.nnz) + np.tile([-1.0, 1.0], whole.nnz)
    parts.indices = np.repeat(whole.col, 2).astype(np.int32)
    parts.indptr = np.append(0, np.cumsum(2 * (x != 0).sum(axis=1))).astype(np.int32)
    np.testing.assert_array_equal(parts.toarray(), x)
    np.testing.assert_allclose(prepare(data(parts)).x, log_normalised(x)[:, x.any(axis=0)], rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.log1p(counts()), "log-transformed already"),
        (np.random.default_rng(0).random((20, 5)), "from 0 to"),
        (counts() * 7.7, "neither counts nor logarithms"),
        (np.random.default_rng(0).normal(size=(20, 5)), "negative values"),
        (-counts(), "negative values"),
    ],
)
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_what_is_not_counts_is_left_alone(x, said, form):
    prepared = prepare(data(form(x.astype(np.float32))))
    np.testing.assert_array_equal(prepared.x, x.astype(np.float32)[:, x.any(axis=0)])
    assert said in " ".join(prepared.report)


def test_normalisation_can_be_asked_for_and_refused():
    x = counts()
    kept = x.any(axis=0)
    tpm = x * np.float32(7.7)
    np.testing.assert_allclose(prepare(data(tpm), settings=Preprocess("yes")).x, log_normalised(x)[:, kept], rtol=1e-5)
    np.testing.assert_array_equal(prepare(data(x), settings=Preprocess("no")).x, x[:, kept])
    with one_sentence("'X' holds negative values", "'auto'"):
        prepare(data(-x), settings=Preprocess("yes"))


@settings(deadline=None)  # the machine may be busy
@given(st.integers(0, 10_000), st.booleans())
def test_counts_are_told_from_other_values(seed, sparse):
    x = counts(10, 7, seed)
    x[0, 0] += 1
    form = scipy.sparse.csr_matrix if sparse else np.asarray
    assert "raw counts" in " ".join(prepare(data(form(x))).report)
    assert "raw counts" not in " ".join(prepare(data(form(x + (x > 0) * 0.25))).report)


# --- highly variable genes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [True, False])
def test_highly_variable_genes_are_scanpys(sparse):
    adata = cells(300, 150, sparse=sparse)
    prepared = prepare(adata, settings=Preprocess(n_top_genes=40, n_pcs=0))
    reference = adata[:, dense(adata.X).any(axis=0)].copy()
    sc.pp.normalize_total(reference, target_sum=1e4)
    sc.pp.log1p(reference)
    sc.pp.highly_variable_genes(reference, n_top_genes=40, flavor="seurat")
    chosen = reference[:, reference.var["highly_variable"]]
    assert prepared.features == tuple(chosen.var_names)
    np.testing.assert_allclose(prepared.x, dense(chosen.X), rtol=1e-5)
    assert "Kept the 40 most variable" in " ".join(prepared.report)


@pytest.mark.parametrize("sparse", [True, False])
def test_values_that_are_no_logarithms_are_chosen_by_variance(sparse):
    x = np.random.default_rng(0).normal(size=(50, 12)) * np.arange(1, 13)
    form = scipy.sparse.csr_matrix if sparse else np.asarray
    prepared = prepare(data(form(x)), settings=Preprocess(n_top_genes=4))
    assert prepared.features == tuple(f"g{j}" for j in np.sort(np.argsort(x.var(axis=0))[-4:]))


@settings(deadline=None)  # the machine may be busy
@given(st.integers(1, 6), st.integers(2, 8), st.integers(1, 5), st.integers(0, 50))
def test_tiny_sets_give_the_number_of_genes_asked_for(n, genes, most, seed):
    x = counts(n, genes, seed) + 1
    x[:, 0] += 100 * np.arange(n)  # so that no two cells have the same shares
    prepared = prepare(data(x), settings=Preprocess(n_top_genes=most))
    assert prepared.x.shape == (n, min(most, genes))
    assert np.isfinite(prepared.x).all()


# --- principal components ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sparse", [True, False])
def test_components_are_the_best_of_their_rank(sparse):
    adata = cells(120, 260, sparse=sparse)
    prepared = prepare(adata, settings=Preprocess(n_pcs=10))
    log = log_normalised(dense(adata.X))[:, dense(adata.X).any(axis=0)]
    centred = log - log.mean(axis=0)
    u, s, vt = np.linalg.svd(centred, full_matrices=False)
    best = (u[:, :10] * s[:10]) @ vt[:10] + log.mean(axis=0)
    assert prepared.x.shape == (120, 10)
    assert prepared.features == tuple(f"PC{i}" for i in range(1, 11))
    np.testing.assert_allclose(prepared.genes.expression(prepared.x), best, atol=2e-3)
    np.testing.assert_allclose((prepared.x.astype(np.float64) ** 2).sum(axis=0), s[:10] ** 2, rtol=1e-4)
    np.testing.assert_allclose(prepared.genes.loadings @ prepared.genes.loadings.T, np.eye(10), atol=1e-4)
    np.testing.assert_allclose(prepared.genes.mean, log.mean(axis=0), rtol=1e-4)
    assert prepared.genes.names == tuple(adata.var_names[dense(adata.X).any(axis=0)])
    share = (s[:10] ** 2).sum() / (s**2).sum()
    assert f"10 principal components, which hold {share:.0%} of the variance." in prepared.report[-1]


@pytest.mark.parametrize("sparse", [True, False])
def test_the_genes_before_their_components_are_those_that_the_components_are_of(sparse):
    adata, settings = cells(120, 260, sparse=sparse), Preprocess(n_top_genes=230, n_pcs=10)
    genes = dense(expressed(adata, settings=settings))
    prepared = prepare(adata, settings=settings)
    at = adata.var_names.get_indexer(prepared.genes.names)
    np.testing.assert_allclose(genes, log_normalised(dense(adata.X))[:, at], rtol=1e-4, atol=1e-6)
    scores = (genes - prepared.genes.mean) @ prepared.genes.loadings.T
    np.testing.assert_allclose(scores, prepared.x, atol=2e-3)


def test_components_are_the_same_every_time():
    adata = cells(80, 250)
    np.testing.assert_array_equal(prepare(adata).x, prepare(adata).x)


@pytest.mark.parametrize(
    ("n", "genes", "settings", "p"),
    [
        (60, 200, Preprocess(), 200),  # not more than 200: no components
        (60, 201, Preprocess(), 50),
        (60, 250, Preprocess(n_pcs=0), 250),
        (60, 250, Preprocess(n_pcs=300), 250),
        (60, 250, Preprocess(n_top_genes=100), 100),
        (10, 250, Preprocess(), 9),  # ten cells span nine dimensions
    ],
)
def test_components_only_where_there_are_many_features(n, genes, settings, p):
    x = np.random.default_rng(0).poisson(3, size=(n, genes)).astype(np.float32)
    x[0] += 1  # so that no gene is zero in every cell
    prepared = prepare(data(x), settings=settings)
    assert prepared.x.shape == (n, p)
    assert (prepared.genes.loadings is None) == (p == len(prepared.genes.names))
    assert prepared.genes.expression(prepared.x).shape == (n, len(prepared.genes.names))


# --- layers and embeddings --------------------------------------------------------------------------------------------


def framed(x):
    return pd.DataFrame(x, columns=["u", "v"], index=[f"cell{i}" for i in range(len(x))])


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix, framed])
def test_an_embedding_is_used_as_it_is(form):
    adata = cells()
    x = np.random.default_rng(0).integers(0, 9, size=(60, 2)).astype(np.float64)
    x[:, 1] = 0
    adata.obsm["E"] = form(x)
    prepared = prepare(adata, "obsm:E", Preprocess("yes", n_top_genes=1))
    np.testing.assert_array_equal(prepared.x, x)
    assert prepared.features == (("u", "v") if isinstance(adata.obsm["E"], pd.DataFrame) else ("E_1", "E_2"))
    assert prepared.genes is None


def test_a_wide_embedding_is_reduced():
    adata = cells()
    adata.obsm["E"] = np.random.default_rng(0).normal(size=(60, 300))
    prepared = prepare(adata, "obsm:E", Preprocess(n_pcs=7))
    assert prepared.x.shape == (60, 7)
    assert prepared.genes is None


def test_what_can_be_chosen_can_be_prepared():
    adata = cells()
    assert inputs(adata) == ("X", "layer:log", "obsm:X_pca")
    for input in inputs(adata):
        assert len(prepare(adata, input).x) == 60
    assert inputs(anndata.AnnData(obsm={"E": np.ones((3, 2))})) == ("obsm:E",)


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("input", ["X", "layer:log", "obsm:X_pca"])
@pytest.mark.parametrize("settings", [Preprocess(), Preprocess("yes", 20, 0), Preprocess("yes", 220, 5), AS_IT_IS])
def test_the_data_stay_as_they_were(sparse, input, settings):
    adata = cells(60, 240, sparse=sparse)
    if input == "obsm:X_pca":
        adata.obsm["X_pca"] = np.random.default_rng(0).normal(size=(60, 240)).astype(np.float32)
    before = adata.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepared = prepare(adata, input, settings)
    prepared.x[:] += 1  # shares no memory
    for mine, theirs in ((adata.X, before.X), (adata.layers["log"], before.layers["log"])):
        np.testing.assert_array_equal(dense(mine), dense(theirs))
    np.testing.assert_array_equal(adata.obsm["X_pca"], before.obsm["X_pca"])
    pd.testing.assert_frame_equal(adata.var, before.var)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    assert dict(adata.uns) == {}
    assert list(adata.obsm) == ["X_pca"]


def test_some_of_the_cells_give_the_same_as_a_copy_of_them():
    adata = cells(60, 40)
    np.testing.assert_array_equal(prepare(adata[10:30]).x, prepare(adata[10:30].copy()).x)


@pytest.mark.filterwarnings("ignore")
def test_a_file_opened_in_backed_mode(tmp_path):
    adata = cells()
    adata.write_h5ad(tmp_path / "x.h5ad")
    backed = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    np.testing.assert_array_equal(prepare(backed).x, prepare(adata).x)


# --- bad input --------------------------------------------------------------------------------------------------------


def holed(sparse=False):
    x = counts()
    x[0, 2], x[3, 2], x[4, 7] = np.nan, np.nan, np.inf
    return data(scipy.sparse.csr_matrix(x) if sparse else x)


TEXT = pd.DataFrame({"a": ["x", "y"]}, index=["0", "1"])
BAD = {
    "no layer": (cells(), "layer:counts", ["'layer:counts'", "'X', 'layer:log', 'obsm:X_pca'"]),
    "no obsm": (cells(), "obsm:X_umap", ["'obsm:X_umap'"]),
    "no such slot": (cells(), "varm:PCs", ["'varm:PCs'"]),
    "nothing": (anndata.AnnData(obs=pd.DataFrame(index=["a"])), "X", ["has nothing"]),
    "holes": (holed(), "X", ["2 missing (NaN) and 1 infinite values", "2 features ('g2', 'g7')", "fill in"]),
    "holes, sparse": (holed(sparse=True), "X", ["2 missing (NaN) and 1 infinite values", "('g2', 'g7')"]),
    "zero": (data(np.zeros((3, 2))), "X", ["zero everywhere"]),
    "zero, sparse": (data(scipy.sparse.csr_matrix((3, 2))), "X", ["zero everywhere"]),
    "one cell": (data(np.arange(300.0)[None]), "X", ["1 cell"]),
    "all the same": (data(np.ones((5, 300)) * 0.5), "X", ["the same values"]),
    "all the same, few": (data(np.full((5, 3), 0.5)), "X", ["the same values", "all features are constant"]),
    "all the same counts": (data(scipy.sparse.csr_matrix(np.ones((5, 3)))), "X", ["all features are constant"]),
    "the same shares of each cell": (data(np.outer([1, 2, 7], [3, 1, 5])), "X", ["all features are constant"]),
    "all the same, obsm": (data(np.eye(3), obsm={"E": np.ones((3, 2))}), "obsm:E", ["all features are constant"]),
    "complex": (data(np.ones((3, 2), dtype=complex)), "X", ["complex128"]),
    "text": (data(np.ones((2, 2)), obsm={"E": TEXT}), "obsm:E", ["numbers only"]),
    "no columns": (data(np.ones((2, 2)), obsm={"E": np.ones((2, 0))}), "obsm:E", ["shape (2, 0)"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence(case):
    adata, input, words = BAD[case]
    with one_sentence(*words):
        prepare(adata, input)


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_some_constant_features_are_told(form):
    x = np.random.default_rng(0).random((20, 6)).astype(np.float32)
    x[:, 2], x[:, 4] = 0.7, 1.1
    adata = data(form(x))
    prepared = prepare(adata)
    assert prepared.x.shape == (20, 6)
    assert "Features that are the same in every cell, kept, but they tell nothing: 2 of 6." in prepared.report
    assert "tell nothing" not in " ".join(prepare(data(form(x[:, [0, 1, 3, 5]]))).report)


def test_more_than_memory_is_refused_before_it_is_made(monkeypatch):
    wide = data(scipy.sparse.csr_matrix(np.eye(1000, dtype=np.float32)))
    little = psutil.virtual_memory()._replace(available=1_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    with one_sentence("MB are free", "n_pcs"):
        prepare(wide, settings=Preprocess(n_pcs=0))


# --- real data --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif("CELLSTREAM_DATA_DIR" not in os.environ, reason="CELLSTREAM_DATA_DIR is not set")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "input", "shape", "said"),
    [
        ("ipsc_bargaje2017", "X", (1081, 96), "log-transformed already"),
        ("emt_cook2020_ae10", "X", (3133, 10), "from 0 to 1"),
        ("a549_dex_cao2018", "X", (2641, 50), "log-transformed already"),
        ("sim_dyngen_bifurcating", "layer:counts", (1000, 50), "raw counts"),
    ],
)
def test_real_data(name, input, shape, said):
    from cellstream.readers import read

    adata = read(Path(os.environ["CELLSTREAM_DATA_DIR"]) / f"{name}.h5ad")
    prepared = prepare(adata, input)
    assert prepared.x.shape == shape
    assert said in " ".join(prepared.report)


def test_torch_keeps_its_threads_when_counts_are_normalised():
    """numba, inside scanpy, takes all processors and would leave them to torch, whose small networks then crawl."""
    adata = data(scipy.sparse.csr_matrix(np.random.default_rng(0).poisson(1.0, (200, 30)).astype(np.float32)))
    before = torch.get_num_threads()
    for make in (prepare, expressed, lambda adata: every_gene(adata, "X", Preprocess())):
        make(adata)
        assert torch.get_num_threads() == before

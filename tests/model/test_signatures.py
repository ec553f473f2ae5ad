"""Scores of published genes: against scanpy, and against cells in which the genes were raised by hand."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse, stats

from cellstream import signatures
from cellstream.errors import UserError
from cellstream.signatures import APOPTOSIS, PROLIFERATION


@pytest.fixture
def measured() -> tuple[np.ndarray, list[str]]:
    """60 cells, 40 of the cell cycle's genes in the letters of mouse genes and 260 others; half of the cells divide."""
    rng = np.random.default_rng(0)
    cycle = [gene.capitalize() for gene in PROLIFERATION.genes[:40]]
    names = [f"Other{i}" for i in range(260)] + cycle
    x = rng.gamma(8.0, 0.2, size=(60, 300)).astype(np.float32)
    x[:30, 260:] += 1.5
    return x, names


def test_the_lists_are_as_long_as_published():
    """Tirosh et al. 2016: 43 genes of the S phase, 54 of G2 and M; MSigDB: 161; no gene twice."""
    assert len(PROLIFERATION.genes) == len(set(PROLIFERATION.genes)) == 43 + 54
    assert len(APOPTOSIS.genes) == len(set(APOPTOSIS.genes)) == 161
    assert {"MKI67", "PCNA", "TOP2A", "MCM2", "CDK1"} <= set(PROLIFERATION.genes)
    assert {"CASP3", "BAX", "FAS", "BID", "TP53"} & set(APOPTOSIS.genes) == {"CASP3", "BAX", "FAS", "BID"}


def test_genes_are_found_in_letters_of_any_case_and_by_their_newer_symbols():
    assert signatures.found(PROLIFERATION, ["Actb", "mki67", "Pcna", "MKI67"]) == [2, 1]
    assert signatures.found(PROLIFERATION, ["CENPU", "PIMREG", "JPT1"]) == [0, 1, 2]
    assert signatures.found(APOPTOSIS, ["H1F0", "SC5DL", "LPPR4"]) == [2, 0, 1]


def test_a_score_is_that_of_scanpy_and_higher_where_the_genes_are(measured):
    x, names = measured
    score = signatures.score(PROLIFERATION, x, names)
    adata = anndata.AnnData(x.copy())
    sc.tl.score_genes(adata, list(adata.var_names[260:]), score_name="s", random_state=0)
    np.testing.assert_allclose(score, adata.obs["s"], rtol=1e-5)
    assert score[:30].min() > score[30:].max()
    again = signatures.score(PROLIFERATION, sparse.csr_matrix(x), names)
    np.testing.assert_allclose(again, score, rtol=1e-4, atol=1e-5)


def test_too_few_genes_are_a_sentence(measured):
    x, names = measured
    with pytest.raises(UserError, match="at least 5 of the 161 genes of 'Apoptosis', but the data has 0"):
        signatures.score(
            APOPTOSIS, x, [name.replace("Casp", "X") for name in names[:260]] + [f"Y{i}" for i in range(40)]
        )
    with pytest.raises(UserError, match="no genes beside"):
        signatures.score(PROLIFERATION, x[:, 260:], names[260:])


def test_correlations_are_scipys_within_each_time_point_and_over_all():
    rng = np.random.default_rng(0)
    a, index = rng.normal(size=200), rng.integers(0, 3, 200)
    b = np.exp(a) + 5 * index + 0.1 * rng.normal(size=200)
    index[index == 2] = 1
    index[:2] = 2  # two cells have no correlation
    found = signatures.correlations(a, b, index, 3)
    for i in (0, 1):
        assert found[i] == pytest.approx(stats.spearmanr(a[index == i], b[index == i]).statistic)
    assert np.isnan(found[2])
    assert found[3] == pytest.approx(stats.spearmanr(a, b).statistic)
    assert np.isnan(signatures.correlations(np.ones(200), b, index, 3)).all()

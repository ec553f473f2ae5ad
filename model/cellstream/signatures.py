"""Published sets of genes that tell of division and of death, and how strongly each cell expresses them.

Scores are scanpy's ``tl.score_genes``: the mean of the set less the mean of control genes of like expression (Tirosh et
al. 2016; Satija et al. 2015). Symbols are those of human genes; mouse genes have the same ones in other letters.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData
from jaxtyping import Float, Int
from scipy import sparse, stats

from cellstream.cores import torch_threads
from cellstream.errors import UserError

FEWEST = 5
"""Genes of a set that the data must have: the mean of fewer is the noise of single genes."""


@dataclass(frozen=True)
class Signature:
    """A set of genes, and who published it."""

    name: str
    genes: tuple[str, ...]
    source: str


RENAMED = {"MLF1IP": "CENPU", "FAM64A": "PIMREG", "HN1": "JPT1", "PLPPR4": "LPPR4", "H1-0": "H1F0", "SC5D": "SC5DL"}
"""Other symbols of the same genes, older or newer ones."""

_S = """
MCM5 PCNA TYMS FEN1 MCM2 MCM4 RRM1 UNG GINS2 MCM6 CDCA7 DTL PRIM1 UHRF1 MLF1IP HELLS RFC2 RPA2 NASP RAD51AP1 GMNN WDR76
SLBP CCNE2 UBR7 POLD3 MSH2 ATAD2 RAD51 RRM2 CDC45 CDC6 EXO1 TIPIN DSCC1 BLM CASP8AP2 USP1 CLSPN POLA1 CHAF1B BRIP1 E2F8
"""
_G2M = """
HMGB2 CDK1 NUSAP1 UBE2C BIRC5 TPX2 TOP2A NDC80 CKS2 NUF2 CKS1B MKI67 TMPO CENPF TACC3 FAM64A SMC4 CCNB2 CKAP2L CKAP2
AURKB BUB1 KIF11 ANP32E TUBB4B GTSE1 KIF20B HJURP CDCA3 HN1 CDC20 TTK CDC25C KIF2C RANGAP1 NCAPD2 DLGAP5 CDCA2 CDCA8
ECT2 KIF23 HMMR AURKA PSRC1 ANLN LBR CKAP5 CENPE CTCF NEK2 G2E3 GAS2L3 CBX5 CENPA
"""
_APOPTOSIS = """
CASP3 CASP9 DFFA CASP7 CFLAR BIRC3 PMAIP1 CASP8 JUN BCL2L11 MCL1 IL1B SPTAN1 DIABLO BAX BIK IL1A BID CDKN1A GADD45A
DDIT3 CDKN1B TNF GSN TNFSF10 CASP6 SQSTM1 FASLG EGR3 CD44 FAS IL18 IGFBP6 PRF1 DAP CCND1 BTG3 F2R SATB1 BNIP3L CASP4
TNFRSF12A CREBBP RHOB GPX3 PDGFRB TSPO CCND2 XIAP TIMP1 CTNNB1 IRF1 HSPB1 ADD1 TIMP2 BTG2 TIMP3 LEF1 CASP1 GPX1 BCL10
IGF2R CDC25B AIFM3 CD38 PPP3R1 HGF CLU ATF3 LGALS3 LUM LMNA GADD45B CDK2 IFNB1 RETSAT SMAD7 SOD1 PTK2 ENO2 HMOX1 IER3
BCL2L10 CD2 GCH1 MMP2 VDAC2 TAP1 PLAT IFNGR1 APP BRCA1 ROCK1 PSEN1 DCN PSEN2 SOD2 BMF EREG KRT18 TGFB2 RELA WEE1 RARA
CD14 CD69 PEA15 DNAJC3 CASP2 CTH PLCB2 BMP2 HMGB2 PLPPR4 H1-0 TGFBR3 EBP TXNIP ANKH RHOT2 CYLD GSTM1 GSR BGN BCL2L1
GNA15 MGMT PPT1 F2 IL6 SC5D IFITM3 RNASEL EMP1 CAV1 DNM1L ANXA1 TOP2A ISG20 SLC20A1 MADD PPP2R5B BCAP31 ERBB3 NEDD9 SAT1
PDCD4 BCL2L2 FEZ1 ERBB2 DNAJA1 DAP3 DPYD NEFH PAK1 FDXR GPX4 ETF1 CCNA1 GUCY2D AVPR1A
"""
_TIROSH = "Tirosh et al., Science 352:189 (2016)"

PROLIFERATION = Signature("Proliferation (S, G2 and M phase)", (*_S.split(), *_G2M.split()), _TIROSH)
APOPTOSIS = Signature(
    "Apoptosis", tuple(_APOPTOSIS.split()), "MSigDB HALLMARK_APOPTOSIS (M5902, CC BY 4.0), Liberzon et al., "
    "Cell Systems 1:417 (2015)",
)  # fmt: skip
SIGNATURES = (PROLIFERATION, APOPTOSIS)


def found(signature: Signature, names: Sequence[str]) -> list[int]:
    """Positions in ``names`` of the set's genes, each gene once; by symbol, whatever the case of its letters."""
    where: dict[str, int] = {}
    for position, name in enumerate(names):
        where.setdefault(str(name).casefold(), position)
    either = ((gene, RENAMED.get(gene, gene)) for gene in signature.genes)
    positions = (next((where[n.casefold()] for n in both if n.casefold() in where), -1) for both in either)
    return [position for position in positions if position >= 0]


@torch_threads()
def score(signature: Signature, expression: Any, names: Sequence[str]) -> Float[np.ndarray, " n"]:
    """How strongly each cell expresses the set, by scanpy's ``tl.score_genes``; 0: as its control genes.

    ``expression`` (n, m), dense or csr, is log-normalised; ``names`` are its m genes, best all that were measured,
    since the control genes are drawn from them. Raises :class:`UserError` where fewer than :data:`FEWEST` of the set
    are there, or no others of like expression.
    """
    import scanpy as sc  # costs a second to import, which the command line's help should not

    positions = found(signature, names)
    if len(positions) < FEWEST:
        raise UserError(
            f"Expected at least {FEWEST} of the {len(signature.genes)} genes of '{signature.name}', but the data has "
            f"{len(positions)}: the genes have to be named by symbol, as in MKI67 or Mki67."
        )
    # by number: names of genes may be there twice
    adata = AnnData(sparse.csr_matrix(expression) if sparse.issparse(expression) else np.asarray(expression))
    genes = adata.var_names[positions]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            sc.tl.score_genes(adata, list(genes), score_name="score", random_state=0)
        except RuntimeError as error:
            raise UserError(
                f"The data has no genes beside those of '{signature.name}' to compare them with: a score needs some."
            ) from error
    return adata.obs["score"].to_numpy(np.float32)


def correlations(
    a: Float[np.ndarray, " n"], b: Float[np.ndarray, " n"], index: Int[np.ndarray, " n"], times: int
) -> Float[np.ndarray, " k"]:
    """Spearman's rank correlation of two values of the cells within each of the T time points, and last over all cells,
    (T + 1,).

    Not a number where fewer than three cells are, or one of the values is the same for all.
    """
    groups = [*(index == i for i in range(times)), np.ones(len(index), bool)]
    return np.array([_spearman(a[group], b[group]) for group in groups])


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 3 or not np.ptp(a) or not np.ptp(b):
        return float("nan")
    return float(stats.spearmanr(a, b).statistic)

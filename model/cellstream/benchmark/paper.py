"""The paper's own numbers: Ling et al., AAAI 2026, arXiv 2511.13786, tables 1 to 3 and what it says of 4 and 5."""

from __future__ import annotations

_METHODS = ("CellStream", "VeloViz", "MIOFlow", "TIGON + PCA", "TIGON + t-SNE", "TIGON + UMAP", "TIGON + diffusion map")
_TABLE1 = {
    "emt": ((0.97, 0.99), (0.88, 0.70), (0.96, 0.77), (0.66, 0.59), (0.70, 0.94), (0.67, 0.91), (0.68, 0.57)),
    "ipsc": ((0.97, 0.91), (0.41, 0.92), (0.98, 0.92), (0.32, 0.94), (0.74, 0.95), (0.82, 0.93), (0.78, 0.84)),
}
TABLE1 = {
    (data, method): dict(vc_paper=vc, tc_paper=tc)
    for data, pairs in _TABLE1.items()
    for method, (vc, tc) in zip(_METHODS, pairs, strict=True)
}
"""By data and method."""

_TABLE2 = {
    0.3: ((0.740, 0.993), (0.738, 0.920), (0.713, 0.977), (0.737, 0.972)),
    0.4: ((0.735, 0.983), (0.731, 0.872), (0.711, 0.920), (0.729, 0.927)),
    0.5: ((0.726, 0.969), (0.692, 0.800), (0.670, 0.834), (0.719, 0.853)),
    0.6: ((0.717, 0.932), (0.662, 0.755), (0.664, 0.780), (0.718, 0.784)),
    0.7: ((0.741, 0.941), (0.643, 0.736), (0.634, 0.713), (0.697, 0.709)),
}
SIGMAS = tuple(_TABLE2)
TABLE2 = {
    (sigma, method): dict(va=va, tc_paper=tc)
    for sigma, pairs in _TABLE2.items()
    for method, (va, tc) in zip(("CellStream", "MIOFlow", "TIGON + PCA", "TIGON + diffusion map"), pairs, strict=True)
}
"""By σ_main and method; means of six runs."""

_TABLE3 = {"emt": ((0.97, 0.99), (0.57, 0.98), (0.91, 0.73)), "ipsc": ((0.97, 0.91), (0.70, 0.88), (0.80, 0.87))}
TABLE3 = {
    (data, setting): dict(vc_paper=vc, tc_paper=tc)
    for data, pairs in _TABLE3.items()
    for setting, (vc, tc) in zip(("whole", "decoupled", "no growth"), pairs, strict=True)
}
"""By data and ablation."""

WEIGHTS = "In the paper's tables 4 and 5, EMT and iPSC stay at VC ≥ 0.84 and TC ≥ 0.83 throughout."

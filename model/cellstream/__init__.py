"""CellStream: embeddings and continuous dynamics of time-series single-cell data (Ling et al., AAAI 2026)."""

__version__ = "0.1.0"

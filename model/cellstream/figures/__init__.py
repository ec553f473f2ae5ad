"""Figures for papers, drawn from the same arrays as the screen: sizes in millimetres, text that stays text, cells as
pixels where the rest is vectors, and inside each file where it came from."""

from cellstream.figures.drawings import (
    Drawn,
    embedding,
    gene_trends,
    lineage,
    losses,
    match,
    time_panels,
)
from cellstream.figures.paper import Sheet, write

__all__ = ["Drawn", "Sheet", "embedding", "gene_trends", "lineage", "losses", "match", "time_panels", "write"]

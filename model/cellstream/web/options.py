"""The options of ``cellstream page``; light, since every help text reads them."""

from __future__ import annotations

import argparse

MOST_CELLS = 50_000
"""Cells that a page shows if nobody asks for more: such a page stays below ten megabytes."""


def add(to: argparse.ArgumentParser) -> None:
    """All that a page can be asked for."""
    to.add_argument("result", metavar="RESULT.h5ad")
    to.add_argument("--out", required=True, metavar="FILE.html", help="where the page goes")
    to.add_argument("--title", default="", metavar="WORDS", help="its title (default: the name of the data)")
    to.add_argument("--genes", default="", metavar="A,B", help="genes that cells can be coloured by")
    colour = "what cells are coloured by at first: time (default), growth, speed, gene:NAME or a column of obs"
    to.add_argument("--colour", default="time", metavar="NAME", help=colour)
    components = "principal components, of more than two dimensions (default 1,2)"
    to.add_argument("--axes", default="1,2", metavar="1,2", help=components)
    to.add_argument("--names", action="store_true", help="the cells' names as well, for the pointer to read")
    most = f"cells to show; of more, an even random part (default {MOST_CELLS:,})"
    to.add_argument("--cells", type=int, default=MOST_CELLS, metavar="N", help=most)
    to.add_argument("--overwrite", action="store_true", help="replace FILE.html where it exists")

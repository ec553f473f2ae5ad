"""The options of ``cellstream figure``; light, since every help text reads them."""

from __future__ import annotations

import argparse

from cellstream.figures import KINDS, LAYERS, LEGENDS, WIDTHS


def add(to: argparse.ArgumentParser) -> None:
    """All that a figure can be asked for."""
    to.add_argument("result", metavar="RESULT.h5ad")
    to.add_argument("--out", required=True, metavar="FILE", help="a name that ends in .png, .pdf or .svg")
    to.add_argument("--kind", default="embedding", choices=KINDS, help="what it shows (default embedding)")
    colours = "time (default), growth, speed, gene:NAME or a column of obs"
    unsure = "direction-uncertainty and growth-uncertainty of an ensemble"
    to.add_argument("--colour", metavar="NAME", help=f"{colours}; {unsure}")
    layers = f"some of {', '.join(LAYERS)}, with commas between them (kind embedding; default cells)"
    to.add_argument("--layers", metavar="A,B", help=layers)
    to.add_argument("--time", type=float, metavar="T", help="moment of streams and growth (default: the whole course)")
    to.add_argument("--view", metavar="X0,X1,Y0,Y1", help="part of the plane that is seen (default: all cells)")
    to.add_argument("--axes", metavar="1,2", help="principal components, of more than two dimensions (default 1,2)")
    to.add_argument("--genes", metavar="A,B", help="genes to draw (kind genes)")
    cells = "cells whose kin is drawn (kind lineage), which are not faint (embedding) or whose course it is (genes)"
    to.add_argument("--select", metavar="KEY=VALUE", help=cells)
    to.add_argument("--labels", metavar="KEY", help="column of obs with kinds of cells (kind lineage)")
    columns = ", ".join(f"{name} ({size:.0f})" for name, size in WIDTHS.items())
    to.add_argument("--width", default="single", metavar="MM", help=f"in mm, or a journal's column: {columns}")
    to.add_argument("--height", type=float, metavar="MM", help="in mm (default: as the drawing asks for)")
    to.add_argument("--font", default="", metavar="NAME", help="typeface (default: Arial, or what is like it)")
    to.add_argument("--text", type=float, default=7.0, metavar="PT", help="size of text in points (default 7)")
    to.add_argument("--point", type=float, metavar="PT", help="diameter of a cell in points (default: by their number)")
    to.add_argument("--legend", default="right", choices=LEGENDS, help="where it stands (default right)")
    to.add_argument("--transparent", action="store_true", help="no white ground")
    to.add_argument("--letter", default="", metavar="A", help="letter of the panel")
    to.add_argument("--dpi", type=int, default=300, metavar="N", help="of pixels, also in pdf and svg (default 300)")
    to.add_argument("--numbers", metavar="FILE.csv", help="write the numbers behind it; those of its layers beside")
    to.add_argument("--overwrite", action="store_true", help="replace files that exist")

"""Figures for papers, drawn from the same arrays as the screen: sizes in millimetres, text that stays text, cells as
pixels where the rest is vectors, and inside each file where it came from.

command    the command line's words -> a file        charts     genes, losses, match, metrics: arrays ->
options    which words there are                                figure and numbers
of_result  a result -> arrays                        keys       legends and scales
drawings   embedding, times, lineage: arrays ->      marks      cells, streamlines, ribbons on axes
           figure and numbers                        page       who takes which room, in millimetres
                                                     paper      the sheet: size and type; the file

shown      a result in memory -> a figure in a notebook, one function for each kind

In a notebook ``cs.figures.embedding(result)`` and so on each give a :class:`~cellstream.figures.page.ResultFigure`.

Only words stand here, since the command line's help has to come at once; the functions come when they are asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellstream.figures.shown import embedding, genes, lineage, losses, match, metrics, times

__all__ = ["embedding", "genes", "lineage", "losses", "match", "metrics", "times"]

KINDS = ("embedding", "times", "lineage", "genes", "losses", "match", "metrics")
CELLS, STREAMS, GROWTH, ARROWS = LAYERS = ("cells", "streams", "growth", "arrows")
LEGENDS = ("right", "below", "none")
WIDTHS = {"single": 88.0, "one-and-a-half": 120.0, "double": 180.0}
"""Millimetres of the columns that journals ask for."""
SUFFIXES = (".png", ".pdf", ".svg")


def __getattr__(name: str) -> Any:
    if name in KINDS:
        return getattr(import_module("cellstream.figures.shown"), name)
    raise AttributeError(f"module 'cellstream.figures' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *KINDS})

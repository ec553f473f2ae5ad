"""Figures of a result in memory, one function for each kind: ``cs.figures.embedding(result)`` and so on.

Each takes a :class:`cellstream.CellStream` that knows its cells, as :func:`cellstream.fit` and :func:`cellstream.load`
give it, and any field of :class:`cellstream.figures.paper.Sheet` by its name: ``width="double"`` or in millimetres,
``height``, ``text``, ``point``, ``legend``, ``letter``, ``dpi`` and so on. What is drawn, and what is written by
:meth:`~cellstream.figures.page.ResultFigure.save`, is what ``cellstream figure`` draws and writes.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from cellstream.errors import UserError
from cellstream.figures import CELLS, GROWTH, STREAMS, WIDTHS
from cellstream.figures.marks import View
from cellstream.figures.of_result import Source, Wish
from cellstream.figures.page import ResultFigure
from cellstream.figures.paper import Sheet
from cellstream.painting import TIME
from cellstream.stream import CellStream


def embedding(
    result: CellStream,
    colour: str = TIME,
    layers: Sequence[str] = (CELLS,),
    time: float | None = None,
    *,
    select: str = "",
    view: View | None = None,
    axes: tuple[int, int] = (1, 2),
    **sheet: Any,
) -> ResultFigure:
    """The cells in the plane, with what lies over them.

    Parameters
    ----------
    result
        Of :func:`cellstream.fit` or :func:`cellstream.load`.
    colour
        ``"time"``, ``"growth"``, ``"speed"``, ``"gene:NAME"``, or a column of ``obs``; of an ensemble
        ``"direction-uncertainty"`` and ``"growth-uncertainty"``, too.
    layers
        Some of ``"cells"``, ``"streams"``, ``"growth"`` and ``"arrows"``.
    time
        The moment of streamlines and growth; by default they are those of each cell at its own time.
    select
        ``"KEY=VALUE"``: these cells, while the others are faint.
    view
        Part of the plane that is seen: x0, x1, y0, y1; by default all cells.
    axes
        Principal components of the plane, 1 the first, of an embedding of more than two dimensions.
    **sheet
        Size and type, see :class:`cellstream.figures.paper.Sheet`.

    Raises
    ------
    UserError
        There is no such column, gene, layer or time.
    """
    layers = _several(layers)
    if time is not None and not {STREAMS, GROWTH} & set(layers):
        raise UserError(f'time is the moment of streams and growth: add them, as in layers=["{CELLS}", "{STREAMS}"].')
    seen = _seen(view, axes)
    return _drawn(result, Wish("embedding", colour=colour, layers=layers, time=time, select=select, **seen), sheet)


def times(
    result: CellStream, colour: str = TIME, *, view: View | None = None, axes: tuple[int, int] = (1, 2), **sheet: Any
) -> ResultFigure:
    """A panel for each time point: its cells in colour, all others grey behind them. See :func:`embedding`."""
    return _drawn(result, Wish("times", colour=colour, **_seen(view, axes)), sheet)


def lineage(
    result: CellStream,
    select: str,
    labels: str = "",
    *,
    view: View | None = None,
    axes: tuple[int, int] = (1, 2),
    **sheet: Any,
) -> ResultFigure:
    """Ribbons from selected cells to their ancestors and descendants; below them who these are at each time point.

    Parameters
    ----------
    result
        Of :func:`cellstream.fit` or :func:`cellstream.load`.
    select
        ``"KEY=VALUE"``: the cells whose kin is drawn, as in ``"lineage=erythroid"``.
    labels
        Column of ``obs`` with the kinds of cells by which kin are told apart; by default their number is told.
    view, axes
        See :func:`embedding`.
    **sheet
        Size and type, see :class:`cellstream.figures.paper.Sheet`.
    """
    return _drawn(result, Wish("lineage", select=select, labels=labels, **_seen(view, axes)), sheet)


def genes(result: CellStream, genes: Sequence[str] | str, *, select: str = "", **sheet: Any) -> ResultFigure:
    """The course of each gene along the flow of the first time point's cells, or of those with ``select``
    (``"KEY=VALUE"``), beside what was observed."""
    names = _several(genes)
    if not names:
        raise UserError('Expected at least one gene to draw, as in genes=["SOX2", "TBXT"], but got none.')
    return _drawn(result, Wish("genes", genes=names, select=select), sheet)


def losses(result: CellStream, **sheet: Any) -> ResultFigure:
    """A panel for each stage of the training, a line for each of its losses."""
    return _drawn(result, Wish("losses"), sheet)


def match(result: CellStream, **sheet: Any) -> ResultFigure:
    """How well the flow meets each time point, beside its yardsticks, and the predicted size of the population."""
    return _drawn(result, Wish("match"), sheet)


def metrics(result: CellStream, **sheet: Any) -> ResultFigure:
    """Metrics of 0 to 1, each beside its yardstick; see :mod:`cellstream.evaluation`."""
    return _drawn(result, Wish("metrics"), sheet)


def _drawn(result: CellStream, wish: Wish, given: dict[str, Any]) -> ResultFigure:
    if not isinstance(result, CellStream):
        raise UserError(f"Expected a result of cs.fit or cs.load, but got {type(result).__name__}.")
    sheet = _sheet(given)
    source = Source.of(result)
    drawn = source.drawn(wish, sheet)
    figure = drawn.figure
    figure.numbers, figure.provenance = drawn.numbers, source.provenance(wish, sheet)
    return figure


def _seen(view: View | None, axes: tuple[int, int]) -> dict[str, Any]:
    """The part of a plane, with axes that are counted from 0."""
    try:
        first, second = (int(axis) - 1 for axis in axes)
        part = None if view is None else tuple(map(float, view))
    except (TypeError, ValueError):
        raise UserError(f"Expected axes as (1, 2) and a view as (x0, x1, y0, y1), but got {axes} and {view}.") from None
    if part is not None and not (len(part) == 4 and part[0] < part[1] and part[2] < part[3]):
        raise UserError(f"Expected a view as (x0, x1, y0, y1), from left to right and from below, but got {view}.")
    return dict(view=part, axes=(first, second))


def _sheet(given: dict[str, Any]) -> Sheet:
    known = [item.name for item in fields(Sheet)]
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}."
            raise UserError(f"A figure has no '{name}': {hint}")
    width = given.get("width", WIDTHS["single"])
    if isinstance(width, str):
        if width not in WIDTHS:
            raise UserError(f"Expected a width in mm or one of {', '.join(WIDTHS)}, but got '{width}'.")
        width = WIDTHS[width]
    return Sheet(**{**given, "width": width})


def _several(words: Sequence[str] | str) -> tuple[str, ...]:
    """Words, each once; one alone may be given as it is."""
    return tuple(dict.fromkeys([words] if isinstance(words, str) else words))

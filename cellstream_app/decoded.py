"""What a result says of genes, and what its file says of them, as arrays to draw. It knows no screen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse

from cellstream import evaluation, genes, scverse, signatures
from cellstream.errors import UserError
from cellstream.genes import Course, Trend
from cellstream.painting import holds_counts
from cellstream.preprocess import TARGET_SUM, cells_of, every_gene, matrix_of
from cellstream.signatures import Signature
from cellstream.stream import Flow
from cellstream_app import colouring
from cellstream_app.results import Result
from cellstream_app.search import Names
from cellstream_app.sources import Source

FLOWS = 3
"""Selections whose way through time is kept."""
SYMBOLS = ("gene_symbols", "gene_symbol", "symbol", "gene_name", "gene_names", "gene_short_name", "feature_name")
"""Columns of ``var`` in which the symbols may stand where the genes are named by their identifiers."""


@dataclass(frozen=True)
class Scores:
    """A signature in the cells: how many of its genes were found, the score of each cell (n,) or why there is none, and
    its rank correlation with growth at each time point, and last over all cells (T+1,)."""

    signature: Signature
    found: int
    values: np.ndarray | None = None
    problem: str = ""
    rho: np.ndarray | None = None


class Decoded:
    """The genes of a result. Everything costly is computed once, when asked for: ask in a thread."""

    def __init__(self, result: Result, source: Source | None):
        self.result, self.source = result, source
        self.stream, self.snapshots = result.stream, result.snapshots
        self._flows: OrderedDict[bytes, tuple[Flow, np.ndarray]] = OrderedDict()

    # names

    @cached_property
    def names(self) -> list[str]:
        """Every gene that can be shown: those of the file, or where it is gone those that can be decoded."""
        if self.source is None and self.stream.genes is not None:
            return list(self.stream.genes.names)
        return colouring.genes(self.result, self.source)

    @cached_property
    def _search(self) -> Names:
        return Names(self.names)

    @cached_property
    def _decodable(self) -> dict[str, int]:
        names = () if self.stream.genes is None else self.stream.genes.names
        return {name: position for position, name in reversed(list(enumerate(names)))}

    def matches(self, typed: str) -> list[str]:
        """Genes to choose from while a name is typed."""
        return self._search.matches(typed)

    def called(self, typed: str) -> str:
        """The gene of this name, whatever its case. Raises :class:`UserError`."""
        found = self._search.called(typed)
        if found is None:
            raise UserError(
                f"There is no gene '{typed.strip()}': type the beginning of a name and choose from the list."
            )
        return found

    # what is in the file

    @cached_property
    def expression(self) -> Any:
        """The decodable genes in the cells, (n, m), as the training saw them; None where the file is gone."""
        if self.stream.genes is None:
            return None
        if self.stream.genes.loadings is None:
            return self.snapshots.x.numpy()
        if self.source is None:
            return None
        found = scverse.expression(self.source.adata, self.stream, self.snapshots, self.result.run.recipe)
        if found.shape[1] != len(self.stream.genes.names):
            return None  # the file has other genes by now
        return found.tocsc() if issparse(found) else found

    @cached_property
    def unit(self) -> str:
        """What expression is measured in, as far as it is known."""
        recipe = self.result.run.recipe
        asked = (recipe.get("preprocess") or {}).get("normalise", "auto")
        matrix = str(recipe.get("input", "X"))
        if matrix.startswith("obsm:"):
            return "as in the file"
        if asked == "auto" and self.source is not None:
            with suppress(UserError):  # the file may have lost the layer, and its cells are still the same
                asked = "yes" if holds_counts(matrix_of(self.source.adata, matrix)[0]) else "no"
        if asked == "yes":
            return f"log(1 + counts per {TARGET_SUM:,})"
        return "as in the file"

    def values(self, name: str) -> np.ndarray:
        """A gene in each cell, (n,): as measured; decoded from the cell's place on the map where the file is gone."""
        position = self._decodable.get(name)
        if position is None:
            return colouring.expression(self.result, self.source, name)
        if self.expression is None:
            return self.stream.decode_genes(self.result.z)[:, position]
        return _column(self.expression, position)

    @cached_property
    def r2(self) -> pd.Series | None:
        """How much of each decodable gene the map returns; None where that cannot be told."""
        if self.stream.genes is None or self.expression is None:
            return None
        expression = self.expression.tocsr() if issparse(self.expression) else self.expression
        return evaluation.returned(self.stream, self.snapshots, expression)

    @cached_property
    def spread(self) -> np.ndarray:
        """Standard deviation of each decodable gene over all cells, (m,)."""
        return genes.spread_of(self.snapshots, self.expression)

    # along the flow

    def carried(self, selection: np.ndarray | None) -> tuple[Flow, np.ndarray]:
        """The selected cells through all times, and weights (n,) of the observed cells beside them.

        Without a selection: the cells of the first time point, beside all observed cells.
        """
        key = b"" if selection is None else np.asarray(selection, np.int64).tobytes()
        if key not in self._flows:
            result = self.result
            cells = genes.some(self.snapshots, selection)
            flow = self.stream.carry(result.z[cells], result.t[cells], result.moments)
            weights = (
                np.ones(len(result.z))
                if selection is None
                else genes.nearest(flow, result.z, result.index, result.times)
            )
            self._flows[key] = flow, weights
            while len(self._flows) > FLOWS:
                self._flows.popitem(last=False)
        return self._flows[key]

    def courses(self, names: Sequence[str], selection: np.ndarray | None, learned: bool = True) -> list[Course]:
        """Each gene along the flow of the selected cells, where one has been ``learned``, and as it was observed."""
        positions = [self._decodable[name] for name in names if learned and name in self._decodable]
        flow, weights = self.carried(selection)
        told = genes.trend(self.stream, flow, positions) if positions else None
        found = []
        for name in names:
            trend = observed = None
            if told is not None and self._decodable.get(name) in positions:
                k = positions.index(self._decodable[name])
                trend = Trend(told.times, told.mean[:, k : k + 1], told.spread[:, k : k + 1])
            if self.source is not None or self.expression is not None:
                values = self.values(name)[:, None].astype(np.float64)
                observed = genes.observed_trend(values, self.result.index, weights, self.result.times)
            found.append(Course(name, trend, observed, self.returned(name)))
        return found

    def returned(self, name: str) -> float:
        """How much of a gene the map returns, not a number where that is not known."""
        if self.r2 is None or name not in self.r2.index:
            return float("nan")
        return float(np.atleast_1d(self.r2[name])[0])

    def ranking(self, t: float, selection: np.ndarray | None) -> pd.DataFrame:
        """All decodable genes by how strongly the flow changes them at time ``t``: :func:`cellstream.genes.ranking`."""
        return genes.ranking(self.stream, self.snapshots, t, self.spread, self.r2, selection)

    # growth beside what the genes say

    @cached_property
    def scores(self) -> list[Scores]:
        """Proliferation and apoptosis in each cell."""
        if self.source is None or not self.source.adata.n_vars:
            return [Scores(s, 0, problem="The file with the genes is not there.") for s in signatures.SIGNATURES]
        names = symbols(self.source)
        counts = [len(signatures.found(s, names)) for s in signatures.SIGNATURES]
        try:
            matrix = self._every_gene() if max(counts) >= signatures.FEWEST else None
        except UserError as error:
            return [Scores(s, n, problem=str(error)) for s, n in zip(signatures.SIGNATURES, counts, strict=True)]
        return [self._score(s, n, matrix) for s, n in zip(signatures.SIGNATURES, counts, strict=True)]

    def _score(self, signature: Signature, found: int, matrix: Any) -> Scores:
        if matrix is None or found < signatures.FEWEST:
            return Scores(signature, found)
        expression, names = matrix
        try:
            values = signatures.score(signature, expression, names)
        except UserError as error:
            return Scores(signature, found, problem=str(error))
        result = self.result
        rho = signatures.correlations(values, result.g, result.index, len(result.times))
        return Scores(signature, found, values, rho=rho)

    def _every_gene(self) -> tuple[Any, list[str]]:
        """The file's genes in the cells, (n, m), normalised as for training, and their symbols."""
        recipe, adata = self.result.run.recipe, self.source.adata
        asked = str(recipe.get("input", "X"))
        settings = self.stream.config.preprocess
        settings = replace(settings, **(recipe.get("preprocess") or {}))
        cells = cells_of(adata, self.result.rows)
        asked = "X" if asked.startswith("obsm:") else asked
        matrix, names = every_gene(cells, asked, settings, recipe.get("fixes", ()))
        symbol = dict(zip(map(str, adata.var_names), symbols(self.source), strict=True))
        return matrix, [symbol[name] for name in names]


@lru_cache(maxsize=2)
def decoded(result: Result, source: Source | None) -> Decoded:
    """The genes of a result, shared by all browser sessions."""
    return Decoded(result, source)


def symbols(source: Source) -> list[str]:
    """The genes' symbols: their names, or the column of ``var`` that has more of the genes we look for."""
    var = source.adata.var
    choices = [list(map(str, source.adata.var_names))]
    choices += [list(map(str, var[key])) for key in SYMBOLS if key in var]
    return max(choices, key=lambda names: sum(len(signatures.found(s, names)) for s in signatures.SIGNATURES))


def _column(matrix: Any, j: int) -> np.ndarray:
    column = matrix[:, [j]].toarray() if issparse(matrix) else np.asarray(matrix[:, j])
    return column.ravel().astype(np.float32)

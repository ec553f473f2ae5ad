"""Growth beside what genes tell of division and death: a chart per set of genes, with the rank correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import panel as pn
import panel_material_ui as pmui

from cellstream import signatures
from cellstream.colours import time_colours
from cellstream_app import gene_charts, ui
from cellstream_app.decoded import Scores
from cellstream_app.results import Result
from cellstream_app.style import Theme, dot
from cellstream_app.ui import WIDE

HINT = (
    "The growth rate g, learned from the sizes of the population, beside scores of published genes, which it was not "
    "told of: dividing cells should grow, dying ones shrink"
)
RHO = (
    "Spearman's rank correlation ρ of growth and score: 1, the more of one the more of the other; 0, nothing; −1, the "
    "less. Within a time point it is the stricter test."
)


class Scoring(pn.viewable.Viewer):
    """The card; :meth:`show` fills it."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = ui.row(gap=24, styles={"align-items": "flex-start"})
        self.waiting = ui.text("Scoring the cells …", muted=True)
        self.view = ui.card(self.waiting, self.parts, title="Growth beside proliferation and apoptosis", hint=HINT)

    def __panel__(self) -> pmui.Paper:
        return self.view

    def wait(self) -> None:
        """Another result: nothing to show yet."""
        self.parts[:] = []
        self.waiting.visible = True

    def show(self, scores: Sequence[Scores], result: Result, theme: Theme) -> None:
        """The scores of the cells. To be called by who holds the document."""
        self.waiting.visible = False
        self.parts[:] = [ui.column(*self._part(s, result, theme), gap=8) for s in scores]

    def _part(self, scores: Scores, result: Result, theme: Theme) -> list[pn.viewable.Viewable]:
        signature = scores.signature
        title = ui.text(f"<b style='font-weight:600'>{ui.escaped(signature.name)}</b>")
        counted = f"{scores.found} of its {len(signature.genes)} genes are in the file"
        source = ui.text(f"Genes: {ui.escaped(signature.source)}.", size="11px", muted=True)
        if scores.values is None:
            why = scores.problem or (
                f"At least {signatures.FEWEST} are needed for a score. They are looked for by symbol, as in MKI67 or "
                "Mki67: if the file has them under other names, put the symbols into var_names."
            )
            return [title, ui.text(f"No score: {counted}. {ui.escaped(why)}"), source]
        if not result.stream.config.networks.growth:
            return [title, ui.text("Growth was not learned in this run, so there is nothing to compare."), source]
        labels = [str(label) for label in result.snapshots.labels]
        colours = time_colours(len(labels))
        chart = gene_charts.score_chart(
            scores.values, result.g, result.index, labels, colours, theme,
            "score, 0: as control genes of like expression", f"growth, doublings per {result.stream.clock.rate_unit}",
        )  # fmt: skip
        drawn = min(len(scores.values), gene_charts.DOTS)
        said = "" if drawn == len(scores.values) else f" {drawn:,} of {len(scores.values):,} cells are drawn."
        return [
            title,
            pn.pane.Bokeh(chart, margin=0, height=280, **WIDE),
            ui.text(_correlations(labels, colours, scores.rho)),
            ui.text(f"{RHO} {counted}.{said}", size="11px", muted=True),
            source,
        ]


def _correlations(labels: Sequence[str], colours: Sequence[str], rho: np.ndarray) -> str:
    bold = "<b style='font-weight:600;font-variant-numeric:tabular-nums'>{}</b>"
    one = f"<span style='white-space:nowrap'>{{}} {{}} {bold}</span>"
    shown = [one.format(dot(c), ui.escaped(name), _number(r)) for c, name, r in zip(colours, labels, rho, strict=False)]
    every = f"<span>all cells <b style='font-weight:600'>ρ = {_number(rho[-1])}</b></span>"
    return f"<div style='display:flex;flex-wrap:wrap;gap:4px 14px'>{every}{''.join(shown)}</div>"


def _number(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if np.isfinite(value) else "–"

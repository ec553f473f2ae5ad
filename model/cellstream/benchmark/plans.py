"""The tables: how their fits become rows, and how they are laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from cellstream.benchmark import fits, holdout, paper
from cellstream.benchmark.fits import Options
from cellstream.benchmark.measures import RADII
from cellstream.benchmark.records import Job, Record


@dataclass(frozen=True)
class Row:
    """A line of the long table: the metrics of one fit, or the sentence of why there are none."""

    data: str
    method: str
    setting: str
    seed: int
    metrics: Mapping[str, float | None]
    failed: str = ""
    value: float | None = None
    """The setting, where it is a number."""
    paper: Mapping[str, float] = field(default_factory=dict)
    """The paper's numbers, by metric."""


@dataclass(frozen=True)
class Column:
    """A metric as a table shows it."""

    key: str
    title: str
    better: str = ""
    """↑ or ↓, where more or less is better."""
    digits: int = 3

    @property
    def head(self) -> str:
        return f"{self.title} {self.better}".strip()


@dataclass(frozen=True)
class Table:
    """A table: its fits, its rows and its columns."""

    name: str
    title: str
    text: str
    """What is compared and how, in a sentence or two."""
    seeds: int
    jobs: Callable[[Options, int], list[Job]]
    """``(options, seeds) -> fits``."""
    columns: tuple[Column, ...]
    drawn: tuple[str, ...]
    """Keys of the columns in the figure."""
    detail: tuple[Column, ...] = ()
    """Of a second table of the same rows."""
    rows: Callable[[Record], list[Row]] = field(default=lambda record: [row_of(record)])
    paper_digits: int = 2
    """With which the paper prints its numbers."""
    by_setting: bool = False
    """Settings are the table's columns, and each metric has a table of its own."""
    over: str = ""
    """Settings are values of this quantity: the figure has lines over them."""
    note: str = ""


def row_of(record: Record) -> Row:
    r = record
    return Row(r.data, r.method, r.setting, r.seed, r.metrics, r.failed, r.value, r.paper)


# --- the rows ---------------------------------------------------------------------------------------------------------


def by_radius(record: Record) -> list[Row]:
    """One fit, judged with balls of several radii."""
    rows = []
    for r in RADII:
        end = f" r={r:g}"
        at = {key.removesuffix(end): value for key, value in record.metrics.items() if key.endswith(end)}
        rows.append(replace(row_of(record), setting=f"{record.setting}, r = {r:g}", metrics=at))
    return rows


def by_prediction(record: Record) -> list[Row]:
    """One row per prediction that was made from a fit, or would have been; and one per yardstick."""
    found: dict[str, dict[str, float | None]] = {name: {} for name in holdout.PREDICTIONS if record.failed}
    for key, value in record.metrics.items():
        what, _, name = key.partition(" ")
        found.setdefault(name, {})[what] = value
    names = {name: f"{record.method}, {name}" if name in holdout.PREDICTIONS else name for name in found}
    return [replace(row_of(record), method=names[name], metrics=values) for name, values in found.items()]


# --- the tables -------------------------------------------------------------------------------------------------------

VC, TC = Column("vc", "VC strict", "↑"), Column("tc", "TC strict", "↑")
IN_PAPER = (Column("vc_paper", "VC", "↑"), Column("tc_paper", "TC", "↑"))
TRUST, DIRECTION = Column("trust", "trust", "↑"), Column("direction", "direction", "↑")
R2 = (Column("r2_new", "R², new cells", "↑"), Column("r2_seen", "R², cells seen", "↑"))
R2_PCA = Column("r2_pca", "R² of PCA", "↑")
MATCH, MASS = Column("match", "W₂ / floor", "↓", 2), Column("mass", "mass error", "↓")
CONSISTENCY = (*IN_PAPER, VC, TC)
KEPT = (TRUST, DIRECTION, *R2, MATCH, MASS)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "table1",
            "Methods compared",
            "What each method's picture and dynamics are worth, beside what needs no model. VC and TC are strict (the "
            "cell itself does not count); in the paper's form (it does) they stand in the second table beside the "
            "paper's numbers. Of time points the worst one counts; trust is the mean over time points.",
            3,
            fits.compared,
            (
                VC,
                TC,
                Column("tc_pca", "TC strict of PCA", "↑"),
                TRUST,
                Column("trust_pca", "trust of PCA", "↑"),
                DIRECTION,
                Column("direction_constant", "direction, constant field", "↑"),
                MATCH,
                MASS,
                Column("branch_accuracy", "branch accuracy", "↑"),
                Column("lineages", "lineage error", "↓"),
            ),
            ("vc", "tc", "trust", "direction"),
            detail=(
                *IN_PAPER,
                *R2,
                R2_PCA,
                MATCH,
                Column("match_shift", "the same, all move alike", "↓", 2),
                Column("match_stays", "the same, nothing moves", "↓", 2),
                Column("below_shift", "below shift", "↑", 2),
            ),
            note="TIGON (Sha, Qiu, Zhou & Nie, Nature Machine Intelligence 2024), VeloViz (Atta, Sahoo & Fan, "
            "Bioinformatics 2022) and CytoBridge (Zhang, Li & Zhou, ICLR 2025; Zhang et al., NeurIPS 2025) are our own "
            "implementations from the papers; MIOFlow (Huguet et al., NeurIPS 2022) is its authors' package. "
            "“CellStream paper” has a warm start and an embedding of unit scale, which the paper does not mention. "
            "Velocities of both presets of CellStream start from a regression on optimal couplings, which is close to "
            "what direction scores. Results of more dimensions than two (CytoBridge) are judged in the plane of their "
            "principal components; their R² is that of all dimensions.",
        ),
        Table(
            "table2",
            "Simulated populations: alignment with the true velocity",
            "VA is the distance correlation between learned and true velocity in the embedding. The data of each seed "
            "are simulated anew.",
            6,
            fits.simulated,
            (Column("va", "VA", "↑"), IN_PAPER[1], TC),
            ("va", "tc_paper"),
            paper_digits=3,
            over="σ_main",
            note="The true velocity is pushed into the embedding by the encoder's Jacobian; where cells are looked up "
            "(diffusion map) by a linear regression of the embedding on the features over each cell's nearest cells.",
        ),
        Table(
            "fates",
            "Simulated lineages that part: true fates and growth",
            "Of the cells of a day, the share that the model carries to cells of their own true fate; and the "
            "correlation of their growth rates with the true ones, within a day, with the slope (1 where differences "
            "of growth have their true size). The lineages part at about day 1.5 and day 2.8, and before that nothing "
            "in a cell tells its fate. The data of each seed are simulated anew.",
            3,
            fits.parting,
            (
                *(Column(f"fate day {day}", f"fate, day {day}", "↑") for day in (2, 3, 5)),
                *(Column(f"growth day {day}", f"growth, day {day}", "↑") for day in (2, 3, 5)),
                *(Column(f"slope day {day}", f"slope, day {day}", "→ 1") for day in (3, 5)),
                TC,
                Column("trust", "trust", "↑"),
            ),
            ("fate day 3", "fate day 5", "growth day 3", "growth day 5"),
            note="Couplings of the input are chained from each day to the next, without any picture: exact plans "
            "between all cells, and between cells weighted by how many descendants an unbalanced coupling gives them "
            "(Schiebinger et al., Cell 2019), from which “CellStream best” learns.",
        ),
        Table(
            "table3",
            "Ablations",
            "Decoupled: the embedding stays as it is before the rounds, and the dynamics are learned on it. No growth: "
            "every cell keeps its weight.",
            3,
            partial(fits.varied, "table3", fits.ABLATIONS),
            (*CONSISTENCY, *KEPT),
            ("vc_paper", "tc_paper", "trust"),
        ),
        Table(
            "table4",
            "Weights of the loss, changed one at a time",
            "Everything else is as in the preset.",
            3,
            partial(fits.varied, "table4", fits.LAMBDAS),
            (*CONSISTENCY, *KEPT),
            ("vc_paper", "tc_paper", "trust"),
            note=paper.WEIGHTS,
        ),
        Table(
            "table5",
            "Price of growth α, and radius r of the balls of VC and TC",
            "0.8, 1 and 1.2 times the α of each preset. The radius belongs to the metric: the fits of one α are the "
            "same.",
            3,
            fits.priced,
            CONSISTENCY,
            ("vc_paper", "tc_paper"),
            rows=by_radius,
            note=paper.WEIGHTS,
        ),
        Table(
            "dimensions",
            "More dimensions than two",
            "What the decoder returns, beside principal components of the same number, on cells that training has not "
            "seen; and W₂ of the decoded particles in the input space, as a multiple of the noise floor.",
            3,
            fits.dimensions,
            (
                *R2,
                R2_PCA,
                Column("match_input", "W₂ / floor, input", "↓", 2),
                VC,
                TC,
                TRUST,
                DIRECTION,
                MASS,
            ),
            ("r2_new", "r2_pca", "match_input"),
            over="d",
            note="VC, TC, trust and direction are those of the plane of the two leading principal components of the "
            "embedding.",
        ),
        Table(
            "holdout",
            "A time point that was left out",
            "W₂ in the input space between predicted and observed cells of the time point in the column, which the "
            "model has not seen. All are compared in the same way: m points of the prediction against m of the "
            "observed cells, and as the noise floor m others of these against them; m is half the observed cells, or "
            "fewer where a neighbouring time point has fewer, and at most 2000. Means over five such splits. Models of "
            "more dimensions than the data have features are left out.",
            3,
            fits.left_out,
            (Column("w2", "W₂", "↓"), Column("spread", "spread / observed (best near 1)", digits=2)),
            ("w2", "spread"),
            rows=by_prediction,
            by_setting=True,
            note="Decoded: cells of the time point before, carried on and decoded. Residual: these cells in the input "
            "space, plus what the decoder says of their way. Both sides: that, and from the time point after "
            "backwards, mixed by closeness in time; coupled: interpolated along an exact plan between these two. "
            "Linear OT interpolation: along an exact plan between the neighbours. Between finite samples W₂ is kind to "
            "clouds of too little spread, which in many dimensions can fall below the noise floor: read it beside the "
            "spread. Variable genes and principal components of a file were chosen with all of its cells: they have "
            "seen the held-out ones.",
        ),
    )
}

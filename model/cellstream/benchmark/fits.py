"""Which fits each table is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cellstream.benchmark import cases, fates, holdout, measures, methods, paper
from cellstream.benchmark.cases import Case
from cellstream.benchmark.measures import Measure
from cellstream.benchmark.methods import Entry, Fit
from cellstream.benchmark.records import Job
from cellstream.errors import UserError
from cellstream.events import Progress
from cellstream.presets import preset
from cellstream.stream import CellStream

PRESETS = {"CellStream best": "best", "CellStream paper": "paper"}
"""Ours by name: the preset to use, and the paper's networks and losses."""


@dataclass(frozen=True)
class Options:
    """What the user chose."""

    data: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int | None = None
    quick: bool = False
    time_key: str | None = None
    lineages: str | None = None


def data_of(options: Options, default: Sequence[str] = ("emt", "ipsc")) -> list[Case]:
    """The data asked for, in a quick run a few cells of them."""
    sources = options.data or default
    made = cases.distinct([cases.load(source, options.time_key, options.lineages) for source in sources])
    return [case.few() for case in made] if options.quick else made


def entry_of(name: str, quick: bool) -> Entry:
    return methods.ours(PRESETS[name], quick) if name in PRESETS else methods.baseline(name, quick)


def fit_job(
    table: str, case: Case, entry: Entry, seed: int, measure: Measure = measures.everything, **more: Any
) -> Job:
    """Fit ``entry`` to the case, and measure the result; ``more`` are fields of the job."""
    identity = dict(data=case.digest, **entry.identity)
    said = f"{measure.__name__} {measures.VERSION}"
    score, fit = partial(_measured, measure, case), partial(entry.fit, case.snapshots, seed)
    return Job(table, case.name, entry.name, seed, identity, said, score, fit, **more)


def _measured(measure: Measure, case: Case, stream: CellStream | None) -> dict[str, Any]:
    assert stream is not None
    return measure(stream, case)


def compared(options: Options, seeds: int) -> list[Job]:
    """Every method on every data set."""
    every = (*PRESETS, *methods.registry())
    entries = [entry_of(name, options.quick) for name in methods.chosen(every, options.methods)]
    return [
        fit_job("table1", case, entry, seed, paper=paper.TABLE1.get((case.dataset, entry.in_paper), {}))
        for case in data_of(options)
        for entry in entries
        for seed in range(seeds)
    ]


def simulated(options: Options, seeds: int) -> list[Job]:
    """Known velocities at growing noise; the data of each seed are simulated with it."""
    if options.data:
        raise UserError("Expected no --data for table2, which simulates its own: leave it out.")
    every = (*PRESETS, "TIGON + PCA", "TIGON + diffusion map", "MIOFlow")
    entries = [entry_of(name, options.quick) for name in methods.chosen(every, options.methods)]
    jobs = []
    for sigma in paper.SIGMAS:
        for seed in range(seeds):
            case = cases.populations(sigma, seed)
            case = case.few() if options.quick else case
            for entry in entries:
                told = paper.TABLE2.get((sigma, entry.in_paper), {})
                more = dict(setting=f"σ = {sigma:g}", value=sigma, paper=told)
                jobs.append(fit_job("table2", case, entry, seed, measures.alignment, **more))
    return jobs


def parting(options: Options, seeds: int) -> list[Job]:
    """Known fates and growth rates of lineages that part; the data of each seed are simulated with it."""
    if options.data:
        raise UserError("Expected no --data for fates, which simulates its own: leave it out.")
    every = (*PRESETS, "TIGON + PCA", "TIGON + UMAP")
    entries = [entry_of(name, options.quick) for name in methods.chosen(every, options.methods)]
    jobs = []
    for seed in range(seeds):
        case = cases.branching(seed)
        case = case.few() if options.quick else case
        jobs += [fit_job("fates", case, entry, seed, fates.measured) for entry in entries]
        jobs += [couplings_job(case, name, grow, seed) for name, grow in COUPLINGS.items()]
    return jobs


COUPLINGS = {"balanced couplings of the input": False, "unbalanced couplings of the input": True}


def couplings_job(case: Case, name: str, grow: bool, seed: int) -> Job:
    """What couplings of the input say of fates and growth, without a model."""
    identity = dict(data=case.digest, grow=grow)
    score = partial(_couplings, case, grow)
    return Job("fates", case.name, name, seed, identity, f"couplings {measures.VERSION}", score)


def _couplings(case: Case, grow: bool, _: CellStream | None) -> dict[str, Any]:
    return fates.yardsticks(case, grow)


def varied(table: str, settings: Mapping[str, Mapping[str, Any]], options: Options, seeds: int) -> list[Job]:
    """CellStream with some settings changed."""
    return [
        fit_job(
            table,
            case,
            methods.ours(PRESETS[name], options.quick, **changes),
            seed,
            setting=setting,
            paper=paper.TABLE3.get((case.dataset, setting), {}),
        )
        for case in data_of(options)
        for name in methods.chosen(tuple(PRESETS), options.methods)
        for setting, changes in settings.items()
        for seed in range(seeds)
    ]


ABLATIONS: dict[str, dict[str, Any]] = {
    "whole": {},
    "decoupled": dict(autoencoder_steps=0),
    "no growth": dict(growth=False),
}
LAMBDAS: dict[str, dict[str, Any]] = {
    "as in the preset": {},
    "λ_AE = 8": dict(lambda_ae=8),
    "λ_Match = 4": dict(lambda_match=4),
    "λ_WFR = 0.8": dict(lambda_wfr=0.8),
    "λ_OT = 1.5": dict(lambda_ot=1.5),
    "λ_Mass = 1.5": dict(lambda_mass=1.5),
}
ALPHAS = (0.8, 1.0, 1.2)
"""The paper's; of another preset, these multiples of its own α."""


def priced(options: Options, seeds: int) -> list[Job]:
    """CellStream with growth somewhat cheaper and dearer than its preset has it."""
    jobs = []
    for name in methods.chosen(tuple(PRESETS), options.methods):
        alpha = preset(PRESETS[name]).weights.alpha
        prices = [round(factor * alpha, 6) for factor in ALPHAS]
        settings = {f"α = {price:g}": dict(alpha=price) for price in prices}
        jobs += varied("table5", settings, replace(options, methods=(name,)), seeds)
    return jobs


DIMENSIONS = (2, 5, 10)


def dimensions(options: Options, seeds: int) -> list[Job]:
    """CellStream with embeddings of more dimensions; of more than the features none is taken."""
    entries = [
        methods.ours(PRESETS[name], options.quick, latent_dim=d)
        for name in methods.chosen(tuple(PRESETS), options.methods or tuple(PRESETS)[:1])
        for d in DIMENSIONS
    ]
    jobs = [
        fit_job("dimensions", case, entry, seed, setting=f"d = {entry.d}", value=float(entry.d))
        for case in data_of(options)
        for entry in entries
        if entry.d <= case.snapshots.x.shape[1]
        for seed in range(seeds)
    ]
    if not jobs:
        raise UserError(
            f"Expected data of at least {min(DIMENSIONS)} features to compare dimensions, but found one: choose a "
            "table that needs no more, such as table1."
        )
    return jobs


HELD_OUT: dict[str, Callable[[bool], Entry]] = {
    "CellStream best d=2": lambda quick: methods.ours("best", quick, "CellStream best d=2", latent_dim=2),
    "CellStream best d=10": lambda quick: methods.ours("best", quick, "CellStream best d=10", latent_dim=10),
    "TIGON + PCA d=10": lambda quick: methods.tigon_in_components(quick, d=10),
}
"""What predicts a held-out time point."""


def left_out(options: Options, seeds: int) -> list[Job]:
    """Every interior time point of every data set left out in turn.

    What has more dimensions than two is left out where there are fewer features.
    """
    entries = [HELD_OUT[name](options.quick) for name in methods.chosen(tuple(HELD_OUT), options.methods)]
    jobs: list[Job] = []
    for case in data_of(options):
        interior = range(1, len(case.snapshots.times) - 1)
        if not interior:
            raise UserError(f"Expected at least three time points to leave one out, but '{case.name}' has two.")
        fitting = [entry for entry in entries if entry.d <= max(case.snapshots.x.shape[1], 2)]
        for i in interior:
            for seed in range(seeds):
                jobs.append(yardstick_job(case, i, seed))
                jobs += [unseen_job(case, i, entry, seed) for entry in fitting]
    return jobs


def yardstick_job(case: Case, i: int, seed: int) -> Job:
    """What is said of time point ``i`` without a model."""
    score = partial(_yardsticks, case, i, seed)
    identity = dict(data=case.digest, without=i)
    said = f"yardsticks {measures.VERSION}"
    return Job("holdout", case.name, "yardsticks", seed, identity, said, score, setting=case.snapshots.labels[i])


def _yardsticks(case: Case, i: int, seed: int, _: CellStream | None) -> dict[str, Any]:
    gap = holdout.Gap(case, i)
    return gap.score(holdout.yardsticks(gap), seed)


def unseen_job(case: Case, i: int, entry: Entry, seed: int) -> Job:
    """What a model that has not seen time point ``i`` says of it."""
    score, fit = partial(_judged, case, i, seed), partial(_unseen, entry.fit, case, i, seed)
    identity = dict(data=case.digest, without=i, **entry.identity)
    said = f"held out {measures.VERSION}"
    return Job("holdout", case.name, entry.name, seed, identity, said, score, fit, setting=case.snapshots.labels[i])


def _unseen(fit: Fit, case: Case, i: int, seed: int, on_progress: Progress) -> CellStream:
    return fit(case.without(i).snapshots, seed, on_progress)


def _judged(case: Case, i: int, seed: int, stream: CellStream | None) -> dict[str, Any]:
    assert stream is not None
    return holdout.judged(stream, case, i, seed)

"""Which fits each table is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellstream.benchmark import cases, holdout, measures, methods, paper
from cellstream.benchmark.cases import Case
from cellstream.benchmark.measures import Measure
from cellstream.benchmark.methods import Method
from cellstream.benchmark.records import Job
from cellstream.errors import UserError
from cellstream.events import Progress

PRESETS = ("CellStream best", "CellStream paper")
"""Ours: the preset to use, and the paper's networks and losses."""


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


def method_of(name: str, quick: bool) -> Method:
    return methods.ours(name, quick) if name in PRESETS else methods.baseline(name, quick)


def fit_job(table: str, case: Case, method: Method, setting: str, seed: int, measure: Measure) -> Job:
    """Fit ``method`` to the case, and measure the result."""

    def work(on_progress: Progress) -> dict[str, Any]:
        return measure(method.fit(case.snapshots, seed, on_progress), case)

    identity = dict(data=case.digest, measure=f"{measure.__name__} {measures.VERSION}", **method.identity)
    return Job(table, case.name, method.name, setting, seed, identity, work)


def compared(options: Options, seeds: int) -> list[Job]:
    """Every method on every data set."""
    every = (*PRESETS, *methods.registry())
    entries = [method_of(name, options.quick) for name in methods.chosen(every, options.methods)]
    return [
        fit_job("table1", case, method, "", seed, measures.everything)
        for case in data_of(options)
        for method in entries
        for seed in range(seeds)
    ]


def simulated(options: Options, seeds: int) -> list[Job]:
    """Known velocities at growing noise; the data of each seed are simulated with it."""
    if options.data:
        raise UserError("Expected no --data for table2, which simulates its own: leave it out.")
    every = (*PRESETS, "TIGON + PCA", "TIGON + diffusion map", "MIOFlow")
    entries = [method_of(name, options.quick) for name in methods.chosen(every, options.methods)]
    jobs = []
    for sigma in paper.SIGMAS:
        for seed in range(seeds):
            case = cases.populations(sigma, seed)
            case = case.few() if options.quick else case
            jobs += [fit_job("table2", case, method, f"σ = {sigma:g}", seed, measures.alignment) for method in entries]
    return jobs


def varied(table: str, settings: Mapping[str, Mapping[str, Any]], options: Options, seeds: int) -> list[Job]:
    """CellStream with some settings changed."""
    names = methods.chosen(PRESETS, options.methods)
    return [
        fit_job(table, case, methods.ours(name, options.quick, **changes), setting, seed, measures.everything)
        for case in data_of(options)
        for name in names
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
ALPHAS: dict[str, dict[str, Any]] = {f"α = {alpha:g}": dict(alpha=alpha) for alpha in (0.8, 1.0, 1.2)}


DIMENSIONS = (2, 5, 10)


def dimensions(options: Options, seeds: int) -> list[Job]:
    """CellStream with embeddings of more dimensions; of more than the features none is taken."""
    entries = [
        (d, methods.ours(name, options.quick, latent_dim=d))
        for name in methods.chosen(PRESETS, options.methods or PRESETS[:1])
        for d in DIMENSIONS
    ]
    return [
        fit_job("dimensions", case, method, f"d = {d}", seed, measures.everything)
        for case in data_of(options)
        for d, method in entries
        if d <= case.snapshots.x.shape[1]
        for seed in range(seeds)
    ]


def left_out(options: Options, seeds: int) -> list[Job]:
    """Every interior time point of every data set left out in turn."""
    every = ("CellStream best d=2", "CellStream best d=10", "TIGON + PCA d=10")
    names = methods.chosen(every, options.methods)
    jobs: list[Job] = []
    for case in data_of(options):
        width = case.snapshots.x.shape[1]
        interior = range(1, len(case.snapshots.times) - 1)
        if not interior:
            raise UserError(f"Expected at least three time points to leave one out, but '{case.name}' has two.")
        for i in interior:
            label = case.snapshots.labels[i]
            for seed in range(seeds):
                jobs.append(yardstick_job(case, i, label, seed))
                for name in names:
                    jobs.append(unseen_job(case, i, label, deep(name, width, options.quick), seed))
    return jobs


def deep(name: str, width: int, quick: bool) -> Method:
    """A method of the table of held-out time points; of ``width`` features no more dimensions are taken."""
    if name.startswith("TIGON"):
        return methods.tigon_in_components(quick)
    method = methods.ours("CellStream best", quick, latent_dim=min(int(name.rpartition("=")[2]), width))
    return Method(name, method.identity, method.fit)


def yardstick_job(case: Case, i: int, label: str, seed: int) -> Job:
    def work(on_progress: Progress) -> dict[str, Any]:
        gap = holdout.Gap(case, i)
        return gap.score(holdout.yardsticks(gap), seed)

    identity = dict(data=case.digest, without=i, measure=f"yardsticks {measures.VERSION}")
    return Job("holdout", case.name, "yardsticks", label, seed, identity, work)


def unseen_job(case: Case, i: int, label: str, method: Method, seed: int) -> Job:
    def work(on_progress: Progress) -> dict[str, Any]:
        stream = method.fit(case.without(i).snapshots, seed, on_progress)
        found = holdout.judged(stream, case, i, seed)
        # a frozen plane of all components has no residual
        alone = method.name.startswith("TIGON")
        return {key: value for key, value in found.items() if key.endswith(" decoded") or not alone}

    identity = dict(data=case.digest, without=i, measure=f"held out {measures.VERSION}", **method.identity)
    return Job("holdout", case.name, method.name, label, seed, identity, work)

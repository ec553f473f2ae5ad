"""CellStream's presets and the baselines as one kind of thing: a name, what decides the outcome, and a fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cellstream.benchmark import sources
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.events import Progress, Step
from cellstream.presets import preset
from cellstream.snapshots import Snapshots
from cellstream.state import State
from cellstream.stream import CellStream
from cellstream.training import train

QUICK: dict[str, Any] = dict(
    start_steps=20,
    rounds=2,
    autoencoder_steps=2,
    dynamics_steps=3,
    updates_per_batch=1,
    batch_size=32,
    steps_per_interval=2,
)
"""A fit of half a second, which shows that all works and is not to be quoted."""
QUICK_START: dict[str, Any] = dict(embedding_steps=15, warm_steps=10)
"""The same for parts that a preset may do without."""

Fit = Callable[[Snapshots, int, Progress], CellStream]


@dataclass(frozen=True)
class Entry:
    """One row of a table."""

    name: str
    identity: dict[str, Any]
    """What decides the outcome beside data and seed, as JSON values."""
    fit: Fit
    """A function of a module with its first arguments, so that it can be sent to another machine."""
    preset: str = ""
    """Of CellStream; empty for a baseline."""
    d: int = 2
    """Dimensions that its embedding was asked to have."""

    @property
    def in_paper(self) -> str:
        """What the paper calls it."""
        return "CellStream" if self.preset else self.name


def ours(name: str, quick: bool = False, called: str = "", **changes: Any) -> Entry:
    """A preset with some settings changed."""
    config = preset(name, **changes)
    if quick:
        start = {key: n for key, n in QUICK_START.items() if getattr(config.schedule, key)}
        shorter = {key: n for key, n in (QUICK | start).items() if getattr(config.schedule, key, 1)}
        config = config.with_settings(**shorter)

    identity = dict(method=f"CellStream {name}", config=config.to_dict(), code=sources.word(sources.TRAINING))
    return Entry(called or f"CellStream {name}", identity, partial(_ours, config), name, config.networks.latent_dim)


def _ours(config: Config, snapshots: Snapshots, seed: int, on_progress: Progress) -> CellStream:
    return trained(snapshots, config.with_settings(seed=seed), on_progress)


def trained(snapshots: Snapshots, config: Config, on_progress: Progress) -> CellStream:
    """Train to the end in this process. Raises :class:`~cellstream.errors.Diverged`."""
    state = State.initial(snapshots, config)
    for event in train(state):
        if isinstance(event, Step):
            on_progress(event.step, event.total)
    return state.result()


def baseline(name: str, quick: bool = False) -> Entry:
    """A method of :data:`cellstream.baselines.METHODS`."""
    return Entry(name, _identity(name, quick), partial(_baseline, name, quick))


def _baseline(name: str, quick: bool, snapshots: Snapshots, seed: int, on_progress: Progress) -> CellStream:
    return registry()[name].fit(snapshots, seed=seed, quick=quick, on_progress=on_progress)


def tigon_in_components(quick: bool = False, d: int = 10) -> Entry:
    """TIGON in ``d`` principal components."""
    name = f"TIGON + PCA d={d}"
    return Entry(name, _identity(name, quick), partial(_in_components, name, d, quick), d=d)


def _in_components(
    name: str, d: int, quick: bool, snapshots: Snapshots, seed: int, on_progress: Progress
) -> CellStream:
    from cellstream.baselines.tigon_dynamics import fit_pca

    return fit_pca(snapshots, seed, quick, on_progress, d=d, name=name)


def _identity(name: str, quick: bool) -> dict[str, Any]:
    """Of a baseline: its settings are in its code."""
    return dict(method=name, quick=quick, code=sources.word(sources.ROUNDS + sources.BASELINES))


def registry() -> dict[str, Any]:
    """The baselines by name."""
    from cellstream.baselines import METHODS

    return METHODS


def chosen(known: Sequence[str], asked: Sequence[str]) -> list[str]:
    """The ``known`` names that were ``asked`` for, in any case; all, where none were.

    Raises:
        UserError: a name is not known.
    """
    by_name = {name.lower(): name for name in known}
    for name in asked:
        if name.lower() not in by_name:
            raise UserError(f"This table has no method '{name}'; it has: {', '.join(known)}.")
    wanted = {by_name[name.lower()] for name in asked} or set(known)
    return [name for name in known if name in wanted]

"""CellStream's presets and the baselines as one kind of thing: a name, what decides the outcome, and a fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellstream import __version__
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


@dataclass(frozen=True)
class Method:
    """One row of a table."""

    name: str
    identity: dict[str, Any]
    """What decides the outcome beside data and seed, as JSON values."""
    fit: Callable[[Snapshots, int, Progress], CellStream]


def ours(name: str, quick: bool = False, **changes: Any) -> Method:
    """``"CellStream best"`` or another preset, with some settings changed."""
    config = preset(name.split()[-1], **changes)
    if quick:
        start = {key: n for key, n in QUICK_START.items() if getattr(config.schedule, key)}
        shorter = {key: n for key, n in (QUICK | start).items() if getattr(config.schedule, key, 1)}
        config = config.with_settings(**shorter)

    def fit(snapshots: Snapshots, seed: int, on_progress: Progress) -> CellStream:
        return trained(snapshots, config.with_settings(seed=seed), on_progress)

    return Method(name, dict(method=name, config=config.to_dict()), fit)


def trained(snapshots: Snapshots, config: Config, on_progress: Progress) -> CellStream:
    """Train to the end in this process. Raises :class:`~cellstream.errors.Diverged`."""
    state = State.initial(snapshots, config)
    for event in train(state):
        if isinstance(event, Step):
            on_progress(event.step, event.total)
    return state.result()


def baseline(name: str, quick: bool = False) -> Method:
    """A method of :data:`cellstream.baselines.METHODS`."""
    method = registry()[name]

    def fit(snapshots: Snapshots, seed: int, on_progress: Progress) -> CellStream:
        return method.fit(snapshots, seed=seed, quick=quick, on_progress=on_progress)

    return Method(name, dict(method=name, quick=quick, code=_baselines_code()), fit)


def tigon_in_components(quick: bool = False, d: int = 10) -> Method:
    """TIGON in ``d`` principal components, or all where there are fewer."""

    def fit(snapshots: Snapshots, seed: int, on_progress: Progress) -> CellStream:
        from cellstream.baselines.tigon_dynamics import fit_pca

        return fit_pca(snapshots, seed, quick, on_progress, d=min(d, snapshots.x.shape[1]), name=name)

    name = f"TIGON + PCA d={d}"
    return Method(name, dict(method=name, quick=quick, code=_baselines_code()), fit)


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


def _baselines_code() -> str:
    """A short word for the baselines' code, in which their settings are."""
    import cellstream.baselines as package

    said = hashlib.sha256(__version__.encode())
    for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
        said.update(path.read_bytes())
    return said.hexdigest()[:16]

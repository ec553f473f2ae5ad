"""From an AnnData to what is trained on: the column of time, the fixes, the snapshots, and what to know before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from anndata import AnnData

from cellstream import doctor, fixes
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.snapshots import Snapshots, cautions, from_anndata
from cellstream.times import UnclearTimes, guess_time_keys, one_time

PLAUSIBLE = 0.5
"""Score from which a column counts as one that may hold the time."""


@dataclass(frozen=True)
class Door:
    """How a person says something where they have come in."""

    time_key: str
    time_map: str
    """A sentence."""
    masses: str
    """With a place for numbers with commas between them."""
    real_times: str
    fix: str
    """With a place for the name of a fix."""


COMMAND = Door(
    "--time-key",
    "--time-map takes a CSV file of two columns, label and time.",
    "--masses {}",
    "--real-times",
    "--fix {}",
)
PYTHON = Door(
    "time_key",
    "time_map takes a dictionary from label to time.",
    "masses=[{}]",
    "real_times=True",
    'fixes=["{}"]',
)


@dataclass(frozen=True)
class Intake:
    """What is trained on, and with what."""

    snapshots: Snapshots
    config: Config
    """The settings, and what the fixes have changed of them."""
    recipe: dict[str, Any]
    """By which the snapshots are made of the same AnnData again."""
    notes: tuple[str, ...]
    """What should be known before training, a sentence each."""


def take_in(
    adata: AnnData,
    config: Config,
    door: Door,
    *,
    time_key: str | None = None,
    input: str = "X",
    time_map: Mapping[Any, float] | None = None,
    real_times: bool = False,
    masses: Sequence[float] | None = None,
    asked: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Intake:
    """Prepare the cells of ``adata``; the arguments are those of :func:`cellstream.snapshots.from_anndata`.

    ``asked`` are its fixes, and ``notes`` what was noticed when the file was read. Raises :class:`UserError`, with what
    to say at the ``door``.
    """
    asked = fixes.ordered(asked)
    said: list[str] = []
    if time_key is None:
        time_key = guessed_time_key(adata, door)
        said.append(f"Time is read from the column '{time_key}'; choose another with {door.time_key}.")
    chosen = doctor.choices(asked, adata.obs, time_key)
    if "normalise" in chosen:
        config = config.with_settings(normalise=chosen["normalise"])
    arguments: dict[str, Any] = dict(
        input=input, time_map=chosen.get("time_map", time_map), real_times=real_times, masses=masses, fixes=asked
    )
    try:
        snapshots = from_anndata(adata, time_key, **arguments, preprocess=config.preprocess)
    except UserError as error:
        raise UserError(f"{error}{_ways_out(error, adata, time_key, arguments, config, door)}") from error
    if config.compute.devices > 1:
        said.append(togetherness(config))
    counts = snapshots.counts.tolist()
    cells = ", ".join(f"{label}: {n:,}" for label, n in zip(snapshots.labels, counts, strict=True))
    said += [*notes, *snapshots.report, f"Cells at the {len(counts)} time points: {cells}."]
    ones = door.masses.format(",".join("1" * len(counts)))
    said += cautions(
        snapshots,
        sizes=f"give the true sizes, or 1 everywhere, as in {ones}",
        gaps=f"{door.real_times} follows the real ones",
        masses=masses,
        growth=config.networks.growth,
    )
    recipe = dict(time_key=time_key, **arguments, preprocess=asdict(config.preprocess))
    return Intake(snapshots, config, recipe, tuple(said))


def _ways_out(
    error: UserError, adata: AnnData, time_key: str, arguments: Mapping[str, Any], config: Config, door: Door
) -> str:
    """What helps where a data set was refused, as sentences to be added to the reason."""
    said = f" {door.time_map}" if isinstance(error, UnclearTimes) else ""
    asked = arguments["fixes"]
    look = dict(input=arguments["input"], time_map=arguments["time_map"], preprocess=config.preprocess)
    found = doctor.examine(adata, time_key, **look, asked=asked).of(doctor.STOP)
    names = [finding.remedy.name for finding in found if finding.remedy and finding.remedy.name]
    return said + "".join(f" {door.fix.format(name)} {fixes.FIXES[name].doc}." for name in names)


def togetherness(config: Config) -> str:
    """What training by several processes means for the work and for its time, in a sentence or two."""
    devices, batches = config.compute.devices, config.schedule.batches
    if devices <= batches:
        return f"{devices} processes train together, and share the {batches} batches of each step."
    fewer = "one process" if batches == 1 else f"{batches} processes"
    return (
        f"{devices} processes train together: each step follows {devices} batches of cells instead of {batches}. The "
        f"number of steps stays, so the fit does not end sooner than with {fewer}."
    )


def guessed_time_key(adata: AnnData, door: Door = COMMAND) -> str:
    """The one column that may hold the time; a sentence where there is none, or more than one."""
    guesses = guess_time_keys(adata.obs)
    plausible = [guess for guess in guesses if guess.score >= PLAUSIBLE]
    if len(plausible) == 1:
        return plausible[0].key
    if guesses:
        listed = "; ".join(f"'{guess.key}' ({guess.reason})" for guess in plausible or guesses)
        raise UserError(
            f"Expected {door.time_key}, the column with the time of each cell. Columns that may be it: {listed}."
        )
    if one := one_time(adata.obs):
        raise UserError(f"{one}, or say with {door.time_key} which other column has them.")
    there = ", ".join(f"'{name}'" for name in adata.obs.columns[:12]) or "none"
    raise UserError(
        f"Expected {door.time_key}, the column with the time of each cell, and no column looks like it: {there}."
    )

"""How a data set is to be read: everything that the Data page asks, and what comes of it."""

from __future__ import annotations

import dataclasses

from cellstream import doctor, times
from cellstream.config import Preprocess
from cellstream.doctor import Diagnosis
from cellstream.preprocess import inputs
from cellstream.snapshots import Snapshots, from_anndata
from cellstream_app.sources import Source


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a data set is to be read: everything that the Data page asks. ``time_map`` None: the labels say it."""

    time_key: str = ""
    input: str = "X"
    time_map: dict[str, float] | None = None
    unit: str | None = None
    """The unit that the user chose; None takes the one in the file."""
    real_times: bool = False
    masses: tuple[float, ...] | None = None
    preprocess: Preprocess = dataclasses.field(default_factory=Preprocess)
    fixes: tuple[str, ...] = ()
    """What is mended, by the names in :data:`cellstream.fixes.FIXES`."""


def guess_reading(source: Source) -> Reading:
    """How a data set is probably to be read."""
    obs = source.adata.obs
    guesses = [guess.key for guess in times.guess_time_keys(obs)]
    key = source.time_key if source.time_key in obs else next(iter(guesses), "")
    there = inputs(source.adata)
    return Reading(time_key=str(key), input=there[0] if there else "X")


def read_snapshots(source: Source, reading: Reading) -> Snapshots:
    """The data set as the method takes it. Takes a while; raises :class:`UserError`."""
    snapshots = from_anndata(
        source.adata,
        reading.time_key,
        input=reading.input,
        time_map=reading.time_map,
        real_times=reading.real_times,
        masses=reading.masses,
        preprocess=reading.preprocess,
        fixes=reading.fixes,
        checked_by=lambda: source.checkup(reading.input, reading.fixes),
        prepared_by=lambda rows: source.prepared(rows, reading.input, reading.preprocess, reading.fixes),
    )
    return snapshots if reading.unit is None else dataclasses.replace(snapshots, unit=reading.unit)


def examined(source: Source, reading: Reading) -> Diagnosis:
    """What the file doctor says of the data set, read in this way. Takes a while."""
    return doctor.examine(
        source.adata,
        reading.time_key,
        input=reading.input,
        time_map=reading.time_map,
        preprocess=reading.preprocess,
        asked=reading.fixes,
        notes=source.notes,
        checked_by=lambda: source.checkup(reading.input, reading.fixes),
    )

"""CellStream, the trained result: arrays in, arrays out, time in the data's own unit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Module

from cellstream.config import Config, Integration
from cellstream.dynamics import integrate
from cellstream.errors import UserError
from cellstream.files import whole
from cellstream.gene_space import GeneSpace
from cellstream.lookup import Lookup
from cellstream.metrics import direction_spread
from cellstream.networks import Autoencoder, Growth, Velocity, within
from cellstream.snapshots import Snapshots
from cellstream.time_labels import number_label

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from cellstream.record import Record

Net = TypeVar("Net", bound=Module)

FORMAT = 2
"""2: the encoder may be a lookup of known cells. What does not need it is written as 1, for earlier versions."""
METHOD = "CellStream"
STEP = 0.05
"""Longest step of the result's flow, in the networks' time, by the Runge-Kutta method of order 4. Training may
take coarse steps, but where cells go must not depend on them, nor on which times are asked for."""
FRAMES = 60
"""Times at which what flows is looked at, at least."""
CHUNK = 65_536
"""Cells that pass through a network at once."""


@dataclass(frozen=True)
class Flow:
    """Particles in time: positions ``z (T, n, d)`` and log masses ``log_w (T, n)`` at ``times (T,)``."""

    times: Float[np.ndarray, " T"]
    z: Float[np.ndarray, "T n d"]
    log_w: Float[np.ndarray, "T n"]


def frames(times: Float[np.ndarray, " M"], least: int = FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """Times at which what flows is looked at: ``least`` of them or more, evenly in each gap between the M measured
    ones, which are among them; and which of them are the measured ones."""
    gaps = len(times) - 1
    parts = int(np.clip(np.ceil(least / gaps), 5, 30))
    return np.interp(np.arange(gaps * parts + 1) / parts, np.arange(gaps + 1), times), np.arange(gaps + 1) * parts


@dataclass(frozen=True)
class Clock:
    """The data's time and the networks' time, and the way between them."""

    times: tuple[float, ...]
    tau: tuple[float, ...]
    labels: tuple[str, ...]
    unit: str
    even: bool

    @classmethod
    def of(cls, snapshots: Snapshots) -> Clock:
        """That of snapshots."""
        s = snapshots
        return cls(tuple(s.times.tolist()), tuple(s.tau.tolist()), s.labels, s.unit, s.even)

    def to_tau(self, t: Any) -> Float[np.ndarray, ...]:
        """The networks' time at the data's time ``t``; linear between time points, and nothing is known beyond them."""
        t = np.asarray(t, np.float64)
        first, last = self.times[0], self.times[-1]
        slack = 1e-5 * (last - first)
        if t.size and not (t.min() >= first - slack and t.max() <= last + slack):
            span, asked = (" to ".join(map(number_label, pair)) for pair in ((first, last), (t.min(), t.max())))
            raise UserError(f"Expected times from {span}, but got {asked}.")
        return np.interp(t, self.times, self.tau)

    @property
    def rate(self) -> float:
        """dτ/dt: turns a rate per networks' time into one per ``rate_unit``."""
        return 1.0 if self.even else self.tau[-1] / (self.times[-1] - self.times[0])

    @property
    def rate_unit(self) -> str:
        """What velocities and growth rates are per."""
        return "time step" if self.even else self.unit or "unit of time"


@dataclass(frozen=True)
class Member:
    """A further velocity and growth in the embedding of a :class:`CellStream`, trained on cells drawn anew."""

    velocity_net: Velocity
    growth_net: Growth


@dataclass(frozen=True)
class Uncertainty:
    """How far the models of an ensemble disagree at n places."""

    direction: Float[np.ndarray, " n"]
    """Circular variance of the velocities' directions: 0 where all agree, up to 1. See
    :func:`cellstream.metrics.direction_spread`."""
    growth: Float[np.ndarray, " n"]
    """Standard deviation of the growth rates, per ``clock.rate_unit``."""

    @cached_property
    def scatter(self) -> Float[np.ndarray, " n"]:
        """Circular standard deviation √(−2 log R) of the directions in degrees, R = 1 − ``direction``, at most 180.

        Source: Mardia & Jupp, Directional Statistics, 2000, section 2.3.
        """
        resultant = np.maximum(1 - self.direction.astype(np.float64), 1e-9)
        return np.degrees(np.sqrt(-2 * np.log(resultant))).clip(0, 180).astype(np.float32)


@dataclass(frozen=True)
class CellStream:
    """An embedding with its velocity and growth field. Made by :func:`cellstream.fit`, by training, by
    :mod:`cellstream.baselines` or by :meth:`load`; never changed.

    A result of :func:`cellstream.fit` or :func:`cellstream.load` knows its cells (``record``): asked without points and
    times, :meth:`encode`, :meth:`velocity` and so on tell of each of these, in the order of ``record.snapshots``, which
    is the file's without the cells that have no time or were left out (``record.snapshots.rows``).
    """

    autoencoder: Autoencoder
    velocity_net: Velocity
    growth_net: Growth
    clock: Clock
    features: tuple[str, ...]
    config: Config
    method: str = METHOD
    """What made it, as tables name it: ``"CellStream"``, ``"TIGON + PCA"``, …"""
    members: tuple[Member, ...] = ()
    """The ensemble beside the model itself; empty where none was trained."""
    genes: GeneSpace | None = None
    """The way from features back to genes; None where the input was an embedding."""
    record: Record | None = field(default=None, compare=False)
    """The cells it was trained on, how training went and what it is worth; None where only the model is known."""

    @classmethod
    def from_weights(
        cls, weights: Mapping[str, Tensor], snapshots: Snapshots, config: Config, method: str = METHOD
    ) -> CellStream:
        """The networks with copies of these weights (named ``network.parameter``)."""
        p, clock = snapshots.x.shape[1], Clock.of(snapshots)
        return cls._build(weights, p, clock, snapshots.features, config, snapshots.genes, method)

    @classmethod
    def _build(
        cls,
        weights: Mapping[str, Tensor],
        p: int,
        clock: Clock,
        features: tuple,
        config: Config,
        genes: GeneSpace | None,
        method: str,
    ) -> CellStream:
        s, times = config.networks, len(clock.times)
        like = next(iter(weights.values()))

        def filled(net: Net, name: str) -> Net:
            part = within(weights, f"{name}.")
            net.to(like.device, like.dtype).load_state_dict({k: v.detach().clone() for k, v in part.items()})
            net.eval().requires_grad_(False)
            return net

        names = {name.partition(".")[0] for name in weights if name.startswith("member")}
        members = tuple(
            Member(filled(Velocity(s, times), f"{name}.velocity"), filled(Growth(s, times), f"{name}.growth"))
            for name in sorted(names, key=lambda name: int(name.removeprefix("member")))
        )
        known = [weights[k] for k in ("autoencoder.encoder.cells", "autoencoder.encoder.places") if k in weights]
        lookup = Lookup(*(torch.zeros_like(part) for part in known)) if known else None
        autoencoder = filled(Autoencoder(p, s, lookup), "autoencoder")
        velocity, growth = filled(Velocity(s, times), "velocity"), filled(Growth(s, times), "growth")
        return cls(autoencoder, velocity, growth, clock, features, config, method, members, genes)

    @property
    def latent_dim(self) -> int:
        """Dimensions of the embedding, d."""
        return self.config.networks.latent_dim

    # what is known beside the networks

    @property
    def known(self) -> Record:
        """The ``record``; a :class:`UserError` where there is none."""
        if self.record is None:
            raise UserError(
                "Only the model of this result is known, not its cells: give points and times, or open the file with "
                "the cells, as in cs.load('result.h5ad')."
            )
        return self.record

    @property
    def metrics(self) -> dict[str, Any]:
        """What the result is worth, by the names of :mod:`cellstream.evaluation`; empty where it was not measured."""
        return dict(self.known.metrics)

    @property
    def losses(self) -> pd.DataFrame:
        """A row for each step of the training: its stage, and each loss, NaN where the stage does not have it."""
        import pandas as pd

        losses = self.known.losses
        steps = pd.Index(losses.get("step", ()), name="step")
        names = sorted(set(losses) - {"step"}, key=lambda name: (name != "stage", name))
        return pd.DataFrame({name: losses[name] for name in names}, index=steps)

    def summary(self) -> pd.DataFrame:
        """The metrics as a table, each with what it is read beside."""
        from cellstream.portrait import summary

        return summary(self)

    def __repr__(self) -> str:
        from cellstream.portrait import text

        return text(self)

    def _repr_html_(self) -> str:
        from cellstream.portrait import as_html

        return as_html(self)

    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Features (n, p) and times (n,) of the cells that are known."""
        snapshots = self.known.snapshots
        times = snapshots.times.cpu().numpy().astype(np.float64)
        return snapshots.x.cpu().numpy(), times[snapshots.index.cpu().numpy()]

    def _places(self, z: np.ndarray | None, t: Any) -> tuple[np.ndarray, Any]:
        """Points of the embedding with their times; those of the known cells where neither is given."""
        if z is None and t is None:
            x, t = self._cells()
            return self.encode(x, t), t
        if z is None or t is None:
            raise UserError("Expected points with their times, or neither for the result's own cells, but got one.")
        return z, t

    def weights(self) -> dict[str, Tensor]:
        """Every parameter, named ``network.parameter``.

        Those of the ensemble begin with ``member1.``, ``member2.`` and so on; the way from principal components back to
        genes is along as ``genes.loadings`` (p, m) and ``genes.mean`` (m,).
        """
        nets: dict[str, Module] = dict(autoencoder=self.autoencoder, velocity=self.velocity_net, growth=self.growth_net)
        for k, member in enumerate(self.members, 1):
            nets |= {f"member{k}.velocity": member.velocity_net, f"member{k}.growth": member.growth_net}
        found = {f"{name}.{k}": v.contiguous() for name, net in nets.items() for k, v in net.state_dict().items()}
        if self.genes is not None and self.genes.loadings is not None:
            components = dict(loadings=self.genes.loadings, mean=self.genes.mean)
            found |= {f"genes.{name}": torch.from_numpy(values) for name, values in components.items()}
        return found

    # what the networks say, at cells or anywhere

    def encode(self, x: Float[np.ndarray, "n p"] | None = None, t: Any = None) -> Float[np.ndarray, "n d"]:
        """Embedding of cells with features ``x`` measured at ``t`` (a number, or one per cell); of the result's own
        cells where neither is given."""
        if x is None and t is None:
            x, t = self._cells()
        if x is None or t is None:
            raise UserError("Expected features with their times, or neither for the result's own cells, but got one.")
        return self._chunks(lambda tau, x: self.autoencoder.encode(tau, x), t, x)

    def decode(self, z: Float[np.ndarray, "n d"] | None = None) -> Float[np.ndarray, "n p"]:
        """Features at points of the embedding, by default of the result's own cells."""
        z = self.encode() if z is None else z
        return self._chunks(lambda tau, z: self.autoencoder.decode(z)[1], self.clock.times[0], z)

    def decode_genes(self, z: Float[np.ndarray, "n d"] | None = None) -> Float[np.ndarray, "n m"]:
        """Genes ``genes.names`` at points of the embedding, as the preprocessing left them (log-normalised); by default
        of the result's own cells.

        Where the input was reduced to principal components, the decoded ones are turned back by their loadings. Raises
        :class:`UserError` where the features do not lead back to genes.
        """
        if self.genes is None:
            raise UserError(
                "The features of this result do not lead back to genes, since they were an embedding or the result is "
                "of an earlier version: train again with X or a layer as the input."
            )
        return self.genes.expression(self.decode(z))

    def velocity(self, z: Float[np.ndarray, "n d"] | None = None, t: Any = None) -> Float[np.ndarray, "n d"]:
        """``v_phi`` at points of the embedding, in embedding units per ``clock.rate_unit``; by default of the result's
        own cells, each at its own time."""
        z, t = self._places(z, t)
        return self._chunks(self.velocity_net, t, z) * np.float32(self.clock.rate)

    def growth(self, z: Float[np.ndarray, "n d"] | None = None, t: Any = None) -> Float[np.ndarray, " n"]:
        """``g_psi``, d log(mass)/dt, at points of the embedding, per ``clock.rate_unit``: a natural logarithm, which
        divided by log 2 is in doublings. By default of the result's own cells, each at its own time."""
        z, t = self._places(z, t)
        return self._chunks(self.growth_net, t, z) * np.float32(self.clock.rate)

    def uncertainty(self, z: Float[np.ndarray, "n d"] | None = None, t: Any = None) -> Uncertainty:
        """How far the models of the ensemble, this one among them, disagree at points of the embedding, by default at
        the result's own cells.

        All share the embedding, so this is the uncertainty of the dynamics given the map. Raises :class:`UserError`
        where no ensemble was trained.
        """
        if not self.members:
            raise UserError(
                "Expected an ensemble, but this result has one model only: train it with the setting ensemble=5."
            )
        z, t = self._places(z, t)
        every = (Member(self.velocity_net, self.growth_net), *self.members)
        velocities = np.stack([self._chunks(model.velocity_net, t, z) for model in every])
        growths = np.stack([self._chunks(model.growth_net, t, z) for model in every]) * np.float32(self.clock.rate)
        # about the first: of equal ones the spread is zero to the last bit
        return Uncertainty(direction_spread(velocities), (growths - growths[0]).std(0, ddof=1))

    def _chunks(self, function: Any, t: Any, points: np.ndarray) -> np.ndarray:
        like = self.autoencoder.shift
        points = np.asarray(points)
        tau = np.broadcast_to(self.clock.to_tau(t), len(points))
        out = []
        with torch.no_grad():
            for i in range(0, max(len(points), 1), CHUNK):
                at = torch.as_tensor(tau[i : i + CHUNK].copy(), device=like.device, dtype=like.dtype)
                part = torch.as_tensor(points[i : i + CHUNK], device=like.device, dtype=like.dtype)
                out.append(function(at, part).cpu().numpy())
        return np.concatenate(out).astype(np.float32)

    # where cells go and where they came from

    def push(self, z: Float[np.ndarray, "n d"], start: float, times: Any, log_w: np.ndarray | None = None) -> Flow:
        """Carry particles at ``z`` from time ``start`` forwards to each of ``times`` (increasing, not before start)."""
        times = np.atleast_1d(np.asarray(times, np.float64))
        if (np.diff(times) <= 0).any() or times[0] < start:
            raise UserError(f"Expected increasing times from {start} on, but got {times.tolist()}.")
        return self._carry(z, start, times, log_w)

    def pull(self, z: Float[np.ndarray, "n d"], start: float, times: Any, log_w: np.ndarray | None = None) -> Flow:
        """Carry particles at ``z`` from time ``start`` back to each of ``times`` (decreasing, not after start)."""
        times = np.atleast_1d(np.asarray(times, np.float64))
        if (np.diff(times) >= 0).any() or times[0] > start:
            raise UserError(f"Expected decreasing times from {start} back, but got {times.tolist()}.")
        return self._carry(z, start, times, log_w)

    def carry(self, z: Float[np.ndarray, "n d"], t: Float[np.ndarray, " n"], times: Float[np.ndarray, " T"]) -> Flow:
        """Cells at ``z``, each measured at its own time ``t``, at all of ``times`` (increasing), before and after.

        ``log_w`` is 0 at a cell's own time: after it the mass of its descendants, before it that of its ancestors.
        """
        at = np.zeros((len(times), *z.shape), np.float32)
        log_w = np.zeros(at.shape[:2], np.float32)
        for sign, go in ((1, self.push), (-1, self.pull)):
            place, mass = np.array(z, np.float32), np.zeros(len(z), np.float32)
            starts, asked = np.unique(sign * t), sign * np.asarray(times, np.float64)
            for start, end in pairwise([*starts, max(starts[-1], asked.max())]):
                # those that have started move together: one call from each time point to the next
                moving = np.flatnonzero(sign * t <= start)
                here = np.flatnonzero((asked >= start) & (asked <= end))
                stops = np.unique([start, *asked[here], end])
                flow = go(place[moving], sign * start, sign * stops, mass[moving])
                written, read = np.ix_(here, moving), np.searchsorted(stops, asked[here])
                at[written], log_w[written] = flow.z[read], flow.log_w[read]
                place[moving], mass[moving] = flow.z[-1], flow.log_w[-1]
        return Flow(np.asarray(times, np.float64), at, log_w)

    def _carry(self, z: np.ndarray, start: float, times: np.ndarray, log_w: np.ndarray | None) -> Flow:
        like = self.autoencoder.shift
        stops = times if times[0] == start else np.concatenate([[start], times])
        z0 = torch.as_tensor(np.asarray(z), device=like.device, dtype=like.dtype)
        log_w0 = np.zeros(len(z0)) if log_w is None else np.asarray(log_w)
        if len(stops) == 1:
            return Flow(times, z0[None].cpu().numpy(), log_w0[None].astype(np.float32))
        asked = self.clock.to_tau(stops)
        # through the measured times too, where a moving frame changes its pace
        passed = [t for t in self.clock.tau if min(asked[0], asked[-1]) < t < max(asked[0], asked[-1])]
        stations = np.unique(np.concatenate([asked, passed]))
        stations = stations if asked[-1] > asked[0] else stations[::-1]
        at = torch.from_numpy(np.isin(stations, asked).nonzero()[0][-len(times) :])
        tau = torch.as_tensor(stations.copy(), device=like.device, dtype=like.dtype)
        with torch.no_grad():
            path = integrate(
                self.velocity_net,
                self.growth_net,
                z0,
                torch.as_tensor(log_w0, device=like.device, dtype=like.dtype),
                tau,
                self.config.weights.alpha,
                Integration(method="rk4", steps_per_interval=math.ceil(float(tau.diff().abs().max()) / STEP)),
            )
        return Flow(
            times,
            path.z[at].cpu().numpy().astype(np.float32),
            path.log_w[at].cpu().numpy().astype(np.float32),
        )

    # keeping it

    def header(self) -> dict[str, Any]:
        """All but the weights, as plain JSON values."""
        from dataclasses import asdict

        from cellstream import __version__

        looked_up = isinstance(self.autoencoder.encoder, Lookup)
        return dict(
            format=FORMAT if looked_up else 1,
            version=__version__,
            method=self.method,
            encoder="lookup" if looked_up else "network",
            config=self.config.to_dict(),
            clock=asdict(self.clock),
            features=list(self.features),
            n_features=int(self.autoencoder.shift.shape[0]) - 1,
            genes=None if self.genes is None else list(self.genes.names),
        )

    @classmethod
    def from_header(cls, header: Mapping[str, Any], weights: Mapping[str, Tensor]) -> CellStream:
        """The inverse of :meth:`header` and :meth:`weights`."""
        if header["format"] > FORMAT:
            raise UserError(
                f"Expected a result of format {FORMAT} or older, but this one is of format {header['format']}. "
                "Update cellstream to open it."
            )
        clock: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in header["clock"].items()}
        config = Config.from_dict(header["config"])
        method = header.get("method", METHOD)  # of an earlier version there was no other
        genes = None
        if header.get("genes") is not None:  # not there in results of earlier versions
            loadings, mean = (weights.get(f"genes.{name}") for name in ("loadings", "mean"))
            components = () if loadings is None or mean is None else (loadings.numpy(), mean.numpy())
            genes = GeneSpace(tuple(header["genes"]), *components)
        features = tuple(header["features"])
        return cls._build(weights, header["n_features"], Clock(**clock), features, config, genes, method)

    def save(self, path: File | str, overwrite: bool = False) -> None:
        """Write the result with its cells as ``.h5ad`` or ``.zarr``, as ``cellstream fit`` does; or the model alone as
        ``.safetensors``: weights, and everything else as JSON in its header.

        The cells are written from a copy: ``record.adata`` stays as it is. Raises :class:`UserError` where nothing can
        be written there, or where something is there and ``overwrite`` is not said.
        """
        from cellstream.keeping import place_for, save

        path = place_for(path, overwrite)
        if path.suffix != ".safetensors":
            return save(self, path)
        with whole(path) as temporary:
            weights = {key: value.cpu() for key, value in self.weights().items()}
            save_file(weights, temporary, metadata={"cellstream": json.dumps(self.header())})

    @classmethod
    def load(cls, path: File | str) -> CellStream:
        """Read what :meth:`save` wrote; on the CPU."""
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads(file.metadata()["cellstream"])
                return cls.from_header(header, {key: file.get_tensor(key) for key in file.keys()})
        except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError, RuntimeError) as error:
            raise UserError(f"Expected a CellStream model in {path}, but could not read it ({error}).") from error

    def annotate(
        self,
        adata: AnnData | None = None,
        snapshots: Snapshots | None = None,
        recipe: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Write embedding, velocity, growth and the model into ``adata``, in place, under names that scanpy, scVelo and
        CellRank know: see :func:`cellstream.scverse.annotate`.

        By default into the AnnData that the result was trained on; any other has to hold the same cells. ``snapshots``
        and ``recipe`` are given where the result has no ``record``.
        """
        from cellstream.scverse import annotate

        if snapshots is None:
            known = self.known
            adata, snapshots, recipe = known.adata if adata is None else adata, known.snapshots, known.recipe
            more = {"metrics": known.metrics, "losses": known.losses, **more}
        elif adata is None:
            raise UserError("Expected the AnnData that the snapshots were made from, but got none.")
        annotate(self, adata, snapshots, recipe, **more)

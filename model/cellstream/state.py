"""The state of training: snapshots, networks, optimisers and counters. Whole between any two steps; saved and loaded.

Everything random is drawn from the seed and the step's number, so a loaded state goes on to the same result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as File

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cellstream import affinities, partners
from cellstream.affinities import Affinities
from cellstream.config import Config
from cellstream.errors import UserError
from cellstream.held_out import held_out
from cellstream.networks import Autoencoder, Growth, Magnification, Velocity, within
from cellstream.partners import Partners
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream
from cellstream.team import ALONE, Team

CELLS, PAIRS, PLACES, NEAR, KEPT, LINEAGES = range(6)
"""Uses of random numbers, for :meth:`State.generator`."""
APART = 2_654_435_769
"""Between the random numbers of two uses. torch reads the lower 32 bits: multiples of 2³² / golden ratio lie far apart
in them."""


@dataclass(frozen=True)
class Batch:
    """Cells drawn from every time point, as one list entry per time point; each may have a length of its own."""

    key: int
    """What it was drawn by; see :meth:`State.draw`."""
    cells: list[Int64[Tensor, " _"]]
    """Positions in the snapshots."""
    tau: list[Float[Tensor, " _"]]
    x: list[Float[Tensor, "_ p"]]

    def encode(self, autoencoder: Autoencoder) -> list[Float[Tensor, "_ d"]]:
        """Encoded cells, by one call of the encoder."""
        z = autoencoder.encode(torch.cat(self.tau), torch.cat(self.x))
        return list(z.split([len(t) for t in self.tau]))


@dataclass
class State:
    """Everything that training reads and changes."""

    snapshots: Snapshots
    config: Config
    autoencoder: Autoencoder
    velocity: Velocity
    growth: Growth
    magnification: Magnification | None
    """Only where the neighbour term is on."""
    optimisers: dict[str, torch.optim.Optimizer]
    step: int = 0
    round: int = 0
    best: dict[str, Tensor] | None = None
    """A copy of the weights after the round of lowest loss."""
    best_loss: float = math.inf
    rounds_without_gain: int = 0
    seconds: float = 0.0
    members: list[dict[str, Tensor]] = field(default_factory=list)
    """Weights of the further velocities and growths of the ensemble, as far as they are trained."""
    team: Team = ALONE
    """The processes that train it together. Each has a state of its own, and all are alike after every step."""

    @classmethod
    def initial(cls, snapshots: Snapshots, config: Config) -> State:
        """Fresh networks from the seed, on the configured device and in the configured precision."""
        device, dtype = device_of(config), getattr(torch, config.compute.precision)
        snapshots = snapshots.to(device, dtype)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.compute.seed)
            autoencoder = Autoencoder(snapshots.x.shape[1], config.networks)
            times = len(snapshots.times)
            velocity, growth = Velocity(config.networks, times), Growth(config.networks, times)
        magnification = Magnification(10.0) if config.weights.lambda_neighbours else None
        for net in (autoencoder, velocity, growth, magnification):
            if net is not None:
                net.to(device, dtype)
        seen = ~held_out(snapshots, config)
        autoencoder.set_scaling(snapshots.tau[snapshots.index[seen]], snapshots.x[seen], config.networks)
        dynamics = [*velocity.parameters(), *growth.parameters()]
        embedding = [*autoencoder.parameters(), *(magnification.parameters() if magnification else [])]
        rates = config.schedule
        optimisers: dict[str, torch.optim.Optimizer] = dict(
            start=torch.optim.Adam(embedding, lr=rates.start_rate, fused=True),
            warm=torch.optim.Adam(dynamics, lr=rates.start_rate, fused=True),
            autoencoder=torch.optim.Adam(embedding, lr=rates.autoencoder_rate, fused=True),
            dynamics=torch.optim.Adam(dynamics, lr=rates.dynamics_rate, fused=True),
        )
        return cls(snapshots, config, autoencoder, velocity, growth, magnification, optimisers)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Those that are trained, by name."""
        every = dict(
            autoencoder=self.autoencoder, velocity=self.velocity, growth=self.growth, magnification=self.magnification
        )
        return {name: net for name, net in every.items() if net is not None}

    def weights(self) -> dict[str, Tensor]:
        """A copy of every parameter and buffer, named ``network.parameter``."""
        return {
            f"{name}.{key}": value.detach().clone()
            for name, net in self.networks.items()
            for key, value in net.state_dict().items()
        }

    def result(self) -> CellStream:
        """The model of the best round so far; before the first round has ended, the present one."""
        members = {f"member{k}.{name}": w for k, part in enumerate(self.members, 1) for name, w in part.items()}
        return CellStream.from_weights((self.best or self.weights()) | members, self.snapshots, self.config)

    @property
    def fitted(self) -> bool:
        """Whether velocity and growth have been fitted at all; before, they are random."""
        return any(self.optimisers[name].state for name in ("warm", "dynamics"))

    def present(self) -> CellStream:
        """The model as it is now."""
        return CellStream.from_weights(self.weights(), self.snapshots, self.config)

    def encode(self, cells: Int64[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Embedding of the cells at these positions."""
        s = self.snapshots
        return self.autoencoder.encode(s.tau[s.index[cells]], s.x[cells])

    def generator(self, key: int, use: int) -> torch.Generator:
        """Random numbers from the seed and ``key``, the step's number; each ``use`` within a step has its own, or
        their draws would be alike."""
        return torch.Generator().manual_seed(self.config.compute.seed * 1_000_003 + key + use * APART)

    @property
    def n_batches(self) -> int:
        """Batches in a step, those of all processes."""
        return max(self.config.schedule.batches, self.config.compute.devices)

    @property
    def keys(self) -> list[int]:
        """What the batches of the present step are drawn by that are this process's own; see :meth:`draw`.

        They are eight uses apart, or one batch's second use would be the next one's first.
        """
        return [self.step + 8 * APART * b for b in self.team.share(self.n_batches)]

    def batches(self) -> Iterator[Batch]:
        """The batches of the present step that are this process's own, each drawn when it is asked for."""
        return (self.draw(key, self.config.schedule.batch_size) for key in self.keys)

    def draw(self, key: int, size: int) -> Batch:
        """At most ``size`` cells of each time point without replacement; the same for the same ``key`` and seed.

        One from each of ``size`` groups of cells that are alike (stratified sampling): every kind of cell comes in its
        own proportion. Were they drawn one by one, a lineage would have a few percent more or fewer cells in each
        batch, and matching would learn to hedge (branching data: W_2 1.4 instead of 1.0 × floor).
        """
        generator = self.generator(key, CELLS)
        s, tau = self.snapshots, self.snapshots.tau
        cells = [at[_one_of_each(len(at), size, generator).to(at.device)] for at in self.ordered]
        return Batch(key, cells, [tau[i].expand(len(c)) for i, c in enumerate(cells)], [s.x[c] for c in cells])

    def draw_pairs(self, key: int) -> tuple[Int64[Tensor, "i b"], Int64[Tensor, "i b"]]:
        """Positions of coupled cells of neighbouring time points, :attr:`pairs` for each interval; the same for the
        same ``key`` and seed."""
        return self.partners.draw(self.pairs, self.generator(key, PAIRS))

    @property
    def pairs(self) -> int:
        """Pairs of cells drawn for an interval: half as many as a batch has cells of a time point, being two each."""
        return self.config.schedule.batch_size // 2

    @cached_property
    def seen(self) -> list[Int64[Tensor, " _"]]:
        """Positions of the cells of each time point that training may see."""
        seen = ~held_out(self.snapshots, self.config)
        return [cells[seen[cells]] for cells in map(self.snapshots.cells, range(len(self.snapshots.times)))]

    @cached_property
    def ordered(self) -> list[Int64[Tensor, " _"]]:
        """The same cells in an order in which neighbours are alike."""
        return [at[_bisected(self.autoencoder.features(self.snapshots.x[at]))] for at in self.seen]

    @cached_property
    def kept(self) -> list[Int64[Tensor, " _"]]:
        """Positions of the cells whose neighbours are to be kept: at most :data:`affinities.MOST` of a time point."""
        generator = self.generator(0, KEPT)
        return [at[_some(len(at), affinities.MOST, generator).sort().values.to(at.device)] for at in self.seen]

    def near(self, batch: Batch) -> list[Int64[Tensor, " _"]]:
        """Cells with known affinities, as many as in the batch; at small time points these are the batch's own."""
        generator = self.generator(batch.key, NEAR)
        return [
            own if len(kept) == len(at) else kept[_some(len(kept), len(own), generator).to(kept.device)]
            for own, kept, at in zip(batch.cells, self.kept, self.seen, strict=True)
        ]

    @cached_property
    def affinities(self) -> Affinities:
        """Who is near whom within each time point, in the autoencoder's units of the input."""
        return Affinities([self.autoencoder.features(self.snapshots.x[at]) for at in self.kept], self.kept)

    @cached_property
    def partners(self) -> Partners:
        """Cells coupled with cells of the next time point, in the autoencoder's units of the input."""
        batch = self.draw(-3, partners.MOST)
        growing = bool(self.config.weights.lambda_lineages) and self.config.networks.growth
        return Partners.of([self.autoencoder.features(x) for x in batch.x], batch.cells, growing)

    @cached_property
    def principal(self) -> PrincipalComponents:
        """Principal components of the autoencoder's input, from at most 20,000 cells of each time point."""
        batch = self.draw(-1, 20_000)
        joined = self.autoencoder.joined(torch.cat(batch.tau), torch.cat(batch.x))
        return PrincipalComponents.of(joined, self.config.networks.latent_dim, self.config.networks.latent_scale)

    def save(self, path: File) -> None:
        """Write networks, optimisers, best model and counters as safetensors with a JSON header."""
        tensors = {f"net/{k}": v for k, v in self.weights().items()}
        tensors |= {f"best/{k}": v for k, v in (self.best or {}).items()}
        tensors |= {f"member/{k}/{name}": w for k, part in enumerate(self.members) for name, w in part.items()}
        for name, optimiser in self.optimisers.items():
            for key, entry in optimiser.state_dict()["state"].items():
                tensors |= {f"adam/{name}/{key}/{k}": v.contiguous() for k, v in entry.items()}
        counters = {k: getattr(self, k) for k in ("step", "round", "rounds_without_gain", "seconds")}
        counters["best_loss"] = self.best_loss if math.isfinite(self.best_loss) else None
        save_file(tensors, path, metadata={"counters": json.dumps(counters)})

    def restore(self, path: File) -> None:
        """Go on from what :meth:`save` wrote for the same snapshots and settings."""
        try:
            with safe_open(path, framework="pt") as file:
                counters = json.loads(file.metadata()["counters"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise UserError(f"Expected a checkpoint in {path}, but could not read it ({error}).") from error
        for name, net in self.networks.items():
            net.load_state_dict(within(tensors, f"net/{name}."))
        for name, optimiser in self.optimisers.items():
            entries: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(f"adam/{name}/"):
                    number, part = key.split("/")[2:]
                    entries.setdefault(int(number), {})[part] = value
            optimiser.load_state_dict({**optimiser.state_dict(), "state": entries})
        device = self.snapshots.x.device
        self.best = {k: v.to(device) for k, v in within(tensors, "best/").items()} or None
        members: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("member/"):
                number, name = key.split("/")[1:]
                members.setdefault(int(number), {})[name] = value.to(device)
        self.members = [members[k] for k in sorted(members)]
        best_loss = counters.pop("best_loss")
        self.best_loss = math.inf if best_loss is None else best_loss
        for key, value in counters.items():
            setattr(self, key, value)


@dataclass(frozen=True)
class PrincipalComponents:
    """A linear map onto leading principal components."""

    mean: Float[Tensor, " q"]
    axes: Float[Tensor, "q d"]

    @classmethod
    def of(cls, data: Float[Tensor, "n q"], d: int, scale: str) -> PrincipalComponents:
        """The ``d`` leading components; with ``scale="unit"`` the first has variance 1."""
        mean = data.mean(0)
        centred = (data - mean).double()
        variances, axes = torch.linalg.eigh(centred.T @ centred / (len(data) - 1))
        axes = axes.flip(1)[:, :d]
        # the sign of an eigenvector is arbitrary: make its largest entry positive
        largest = axes.abs().argmax(0, keepdim=True)
        axes = axes * axes.gather(0, largest).sign()
        if axes.shape[1] < d:
            axes = nn.functional.pad(axes, (0, d - axes.shape[1]))
        if scale == "unit":
            axes = axes / variances[-1].clamp_min(1e-12).sqrt()
        return cls(mean, axes.to(data.dtype))

    def project(self, data: Float[Tensor, "n q"]) -> Float[Tensor, "n d"]:
        """The components (n, d) of data (n, q)."""
        return (data - self.mean) @ self.axes


def device_of(config: Config) -> torch.device:
    """The device that ``config`` asks for."""
    wanted = config.compute.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("Expected a CUDA device, but torch finds none on this machine. Choose the device cpu or auto.")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def require_devices(config: Config) -> torch.device:
    """The kind of the devices that ``config`` asks for; :class:`UserError` where there are fewer GPUs than it wants."""
    device, size = device_of(config), config.compute.devices
    if device.type == "cuda" and (there := torch.cuda.device_count()) < size:
        raise UserError(f"Expected {size} GPUs, one for each of the devices, but torch finds {there}: choose fewer.")
    return device


def _some(n: int, size: int, generator: torch.Generator) -> Int64[Tensor, " b"]:
    """At most ``size`` of ``0 .. n-1``; the work does not grow with n where few are drawn from many."""
    if n <= 8 * size:
        return torch.randperm(n, generator=generator)[:size]
    # few repeats in so large a draw: unique ones of a slightly larger draw, in random order
    drawn = torch.randint(n, (size + size // 4 + 16,), generator=generator).unique()
    return drawn[torch.randperm(len(drawn), generator=generator)[:size]]


def _bisected(x: Float[Tensor, "n p"], groups: int = 1024) -> Int64[Tensor, " n"]:
    """An order in which neighbours are alike: cut in half along the feature of largest variance, and each half again,
    down to two cells, or to about ``groups`` groups where there are more."""
    most, parts = max(len(x) // groups, 2), []
    halves = [torch.arange(len(x), device=x.device)]
    while halves:
        part = halves.pop()
        if len(part) <= most:
            parts.append(part)
            continue
        widest = x[part].var(0).argmax()
        part = part[x[part, widest].argsort(stable=True)]
        middle = len(part) // 2
        halves += [part[middle:], part[:middle]]
    return torch.cat(parts)


def _one_of_each(n: int, size: int, generator: torch.Generator) -> Int64[Tensor, " b"]:
    """One of each of ``size`` equal runs of ``0 .. n-1``, which begin anywhere, so that every number is as likely; all
    in random order where ``n`` is no larger."""
    if n <= size:
        return torch.randperm(n, generator=generator)
    begin, places = torch.rand(2, size, generator=generator, dtype=torch.float64)
    edges = (torch.arange(size + 1, dtype=torch.float64) * (n / size) + begin[0] * n).long()
    return (edges[:-1] + (places * edges.diff()).long()) % n

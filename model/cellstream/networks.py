"""The four networks: autoencoder, velocity and growth. All take time in the networks' own unit, tau = 0, 1, 2, …"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cellstream import config
from cellstream.lookup import Lookup

Clouds = Sequence[Float[Tensor, "_ d"]]
"""Embedded cells, one entry per time point."""
ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh, "softplus": nn.Softplus}


def within(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries whose names begin with ``prefix``, without it."""
    return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}


def mlp(n_in: int, n_out: int, layers: int, width: int, activation: str) -> nn.Sequential:
    """A plain multilayer perceptron with a linear last layer."""
    sizes = [n_in] + [width] * layers
    hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), ACTIVATIONS[activation]())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], n_out))


class TimeAdded(nn.Module):
    """``(t, x) -> h(x) + t u``: one map of the features for all times, and a direction ``u`` for time (ours).

    How the map bends does not depend on the time, so that the same change of a cell looks the same at any time, and
    time itself moves all cells alike. A network of ``(t, x)`` is free to turn and fold each time point by itself, and
    what its embedding moves by is in part the turning.
    """

    def __init__(self, features: nn.Module, d: int):
        super().__init__()
        self.features = features
        self.time = nn.Linear(1, d, bias=False)

    def forward(self, tx: Float[Tensor, "n q"]) -> Float[Tensor, "n d"]:
        return self.features(tx[:, 1:]) + self.time(tx[:, :1])


class Autoencoder(nn.Module):
    """``f_enc: (t, x) -> z`` and ``f_dec: z -> (t, x)``; p features, d latent dimensions.

    Inside, ``(t, x)`` is shifted and scaled by constants fixed at the start (:meth:`set_scaling`), so that the
    losses weigh time against features as the user chose. An embedding that comes from elsewhere has a
    :class:`Lookup` in the place of the encoder's network.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, p: int, settings: config.Networks, lookup: Lookup | None = None):
        super().__init__()
        s = settings
        d = s.latent_dim
        hidden = (s.encoder_layers, s.encoder_width, s.autoencoder_activation)
        self.encoder: nn.Module
        if lookup is not None:
            self.encoder = lookup
        elif s.time_input == "added":
            self.encoder = TimeAdded(mlp(p, d, *hidden), d)
        else:
            self.encoder = mlp(1 + p, d, *hidden)
        self.decoder = mlp(d, 1 + p, s.decoder_layers, s.decoder_width, s.autoencoder_activation)
        self.register_buffer("shift", torch.zeros(1 + p))
        self.register_buffer("scale", torch.ones(1 + p))

    @torch.no_grad()
    def set_scaling(self, tau: Float[Tensor, " n"], x: Float[Tensor, "n p"], settings: config.Networks) -> None:
        """Choose the units of ``(t, x)`` inside the network from the data, as ``settings.input_scaling`` says."""
        weight = max(settings.time_separation, 1e-6)
        if settings.input_scaling == "none":
            self.scale[0] = 1 / weight
            return
        sd = x.std(0).clamp_min(1e-6 * x.std().clamp_min(1e-6))
        self.shift[1:] = x.mean(0)
        self.scale[1:] = sd if settings.input_scaling == "standardise" else sd.square().mean().sqrt()
        # the first to the last time point span [-weight, weight], two standard deviations of a feature at weight 1
        self.shift[0] = tau.max() / 2
        self.scale[0] = tau.max() / 2 / weight

    def joined(self, tau: Float[Tensor, " n"], x: Float[Tensor, "n p"]) -> Float[Tensor, "n 1+p"]:
        """``(t, x)`` side by side in the units of the network."""
        return (torch.cat([tau[:, None], x], 1) - self.shift) / self.scale

    def features(self, x: Float[Tensor, "n p"]) -> Float[Tensor, "n p"]:
        """``x`` alone in the units of the network."""
        return (x - self.shift[1:]) / self.scale[1:]

    def encode(self, tau: Float[Tensor, " n"], x: Float[Tensor, "n p"]) -> Float[Tensor, "n d"]:
        return self.encoder(self.joined(tau, x))

    def decode(self, z: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n p"]]:
        tx = self.decoder(z) * self.scale + self.shift
        return tx[:, 0], tx[:, 1:]

    def push_velocity(
        self, tau: Float[Tensor, " n"], x: Float[Tensor, "n p"], v: Float[Tensor, "n p"]
    ) -> Float[Tensor, "n d"]:
        """J_enc(x) · v: velocities of the features as the embedding shows them, at fixed time."""
        if isinstance(self.encoder, Lookup):
            return self.encoder.push(self.joined(tau, x), v / self.scale[1:])
        return torch.func.jvp(partial(self.encode, tau), (x,), (v,))[1]


class Course(nn.Module):
    """A path through one point per time point, at an even pace from each to the next, as optimal transport moves a
    population as a whole. Its rate jumps at the time points; there it is that of the interval which begins.
    """

    tau: Tensor
    value: Tensor

    def __init__(self, times: int, d: int):
        super().__init__()
        self.register_buffer("tau", torch.arange(float(times)))
        self.register_buffer("value", torch.zeros(times, d))

    @torch.no_grad()
    def set(self, tau: Float[Tensor, " T"], value: Float[Tensor, "T d"]) -> None:
        """Lead the path through ``value`` at the times ``tau``."""
        self.tau.copy_(tau)
        self.value.copy_(value)

    def forward(self, tau: Float[Tensor, ...]) -> tuple[Float[Tensor, "... d"], Float[Tensor, "... d"]]:
        """Place and rate at ``tau``, which is one number or one per particle."""
        i = torch.searchsorted(self.tau, tau.detach(), right=True).clamp(1, len(self.tau) - 1)
        start, a, b = self.tau[i - 1], self.value[i - 1], self.value[i]
        rate = (b - a) / (self.tau[i] - start)[..., None]
        return a + (tau - start)[..., None] * rate, rate


class Dynamics(nn.Module):
    """A field on the embedding. It sees ``(z - centre) / length``, so that its activations do not saturate where the
    embedding is large; centre 0 and length 1 unless set.

    In a moving frame the centre follows the mean of the cells, and the network learns what departs from the movement
    and growth of the population as a whole.
    """

    centre: Tensor
    length: Tensor

    def __init__(self, settings: config.Networks, times: int):
        super().__init__()
        self.register_buffer("centre", torch.zeros(settings.latent_dim))
        self.register_buffer("length", torch.ones(()))
        self.course = Course(times, settings.latent_dim) if settings.frame == "moving" else None

    @torch.no_grad()
    def set_scaling(self, z: Clouds, tau: Float[Tensor, " T"], mass: Float[Tensor, " T"]) -> None:
        """Take centre and length from the cells of each time point: their mean and the root of their mean variance per
        axis; in a moving frame those of each time point."""
        if self.course is None:
            every = torch.cat(list(z))
            self.centre.copy_(every.mean(0))
            self.length.copy_(every.var(0).mean().sqrt())
        else:
            self.length.copy_(torch.stack([part.var(0).mean() for part in z]).mean().sqrt())
            self.follow(z, tau, mass)

    def follow(self, z: Clouds, tau: Float[Tensor, " T"], mass: Float[Tensor, " T"]) -> None:
        """Lead the moving frame through the cells as they lie now; a frame that is still stays."""
        if self.course is not None:
            self.course.set(tau, torch.stack([part.mean(0) for part in z]))

    def input(self, tau: Float[Tensor, ...], z: Float[Tensor, "n d"], centre: Tensor) -> Float[Tensor, "n 1+d"]:
        """Time and scaled position side by side; ``tau`` is one number or one per particle."""
        return torch.cat([tau.expand(len(z))[:, None], (z - centre) / self.length], 1)


class Velocity(Dynamics):
    """``v_phi: (t, z) -> dz/dt``."""

    def __init__(self, settings: config.Networks, times: int):
        super().__init__(settings, times)
        s = settings
        self.net = mlp(1 + s.latent_dim, s.latent_dim, s.velocity_layers, s.velocity_width, s.dynamics_activation)

    def forward(self, tau: Float[Tensor, ...], z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        if self.course is None:
            return self.net(self.input(tau, z, self.centre)) * self.length
        centre, rate = self.course(tau)
        return self.net(self.input(tau, z, centre)) * self.length + rate

    def at_times(self, tau: Float[Tensor, " k"]) -> list[Callable[[Float[Tensor, "n d"]], Float[Tensor, "n d"]]]:
        """The field at each of k times: what depends on time alone, worked out for all of them, goes into the constant
        of the first and of the last layer. A solver that knows its times spends a third of its own on that."""
        if len(self.net) == 1:  # no hidden layer, so the first is the last
            return [partial(self, t) for t in tau]
        first, last = (cast(nn.Linear, self.net[i]) for i in (0, -1))
        between = self.net[1:-1]
        still = (self.centre.expand(len(tau), -1), torch.zeros_like(self.centre).expand(len(tau), -1))
        centre, rate = still if self.course is None else self.course(tau)
        inwards, outwards = (first.weight[:, 1:] / self.length).T, (last.weight * self.length).T
        before = torch.addmm(first.bias, tau[:, None], first.weight[:, :1].T) - centre @ inwards
        after = last.bias * self.length + rate

        def at(before: Tensor, after: Tensor, z: Tensor) -> Tensor:
            return torch.addmm(after, between(torch.addmm(before, z, inwards)), outwards)

        return [partial(at, *constants) for constants in zip(before.unbind(0), after.unbind(0), strict=True)]


class Growth(Dynamics):
    """``g_psi: (t, z) -> d log w / dt``; zero everywhere, and without parameters, where growth is not learned."""

    def __init__(self, settings: config.Networks, times: int):
        super().__init__(settings, times)
        s = settings
        self.learned = s.growth
        layers = (s.growth_layers, s.growth_width, s.dynamics_activation)
        self.net = mlp(1 + s.latent_dim, 1, *layers) if self.learned else nn.Sequential()
        moving = settings.frame == "moving" and self.learned
        self.log_mass = Course(times, 1) if moving else None

    def follow(self, z: Clouds, tau: Float[Tensor, " T"], mass: Float[Tensor, " T"]) -> None:
        super().follow(z, tau, mass)
        if self.log_mass is not None:
            self.log_mass.set(tau, mass.log()[:, None])

    def forward(self, tau: Float[Tensor, ...], z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        if not self.learned:
            return torch.zeros_like(z[:, 0])
        if self.course is None or self.log_mass is None:
            return self.net(self.input(tau, z, self.centre)).squeeze(1)
        return self.net(self.input(tau, z, self.course(tau)[0])).squeeze(1) + self.log_mass(tau)[1].squeeze(-1)


class Magnification(nn.Module):
    """The size at which the neighbour term sees the embedding: t-SNE's kernel has a length of its own, so the cells are
    brought to a size that is learned; the embedding's own size makes no difference (ours)."""

    def __init__(self, initial: float):
        super().__init__()
        self.log_factor = nn.Parameter(torch.tensor(initial).log())

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return z / z.var(0).sum().sqrt() * self.log_factor.exp()

"""The four networks: autoencoder, velocity and growth. All take time in the networks' own unit, tau = 0, 1, 2, …"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cellstream import config

ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh, "softplus": nn.Softplus}


def mlp(n_in: int, n_out: int, layers: int, width: int, activation: str) -> nn.Sequential:
    """A plain multilayer perceptron with a linear last layer."""
    sizes = [n_in] + [width] * layers
    hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), ACTIVATIONS[activation]())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], n_out))


class Autoencoder(nn.Module):
    """``f_enc: (t, x) -> z`` and ``f_dec: z -> (t, x)``; p features, d latent dimensions.

    Inside, ``(t, x)`` is shifted and scaled by constants fixed at the start (:meth:`set_scaling`), so that the
    losses weigh time against features as the user chose.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, p: int, settings: config.Networks):
        super().__init__()
        s = settings
        d = s.latent_dim
        self.encoder = mlp(1 + p, d, s.encoder_layers, s.encoder_width, s.autoencoder_activation)
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


class Dynamics(nn.Module):
    """A field on the embedding. It sees ``(z - centre) / length``, so that its activations do not saturate where the
    embedding is large; centre 0 and length 1 unless set."""

    centre: Tensor
    length: Tensor

    def __init__(self, settings: config.Networks):
        super().__init__()
        self.register_buffer("centre", torch.zeros(settings.latent_dim))
        self.register_buffer("length", torch.ones(()))

    @torch.no_grad()
    def set_scaling(self, z: Float[Tensor, "n d"]) -> None:
        """Take centre and length from the cells: their mean and the root of their mean variance per axis."""
        self.centre.copy_(z.mean(0))
        self.length.copy_(z.var(0).mean().sqrt())

    def input(self, tau: Float[Tensor, ...], z: Float[Tensor, "n d"]) -> Float[Tensor, "n 1+d"]:
        """Time and scaled position side by side; ``tau`` is one number or one per particle."""
        return torch.cat([tau.expand(len(z))[:, None], (z - self.centre) / self.length], 1)


class Velocity(Dynamics):
    """``v_phi: (t, z) -> dz/dt``."""

    def __init__(self, settings: config.Networks):
        super().__init__(settings)
        s = settings
        self.net = mlp(1 + s.latent_dim, s.latent_dim, s.velocity_layers, s.velocity_width, s.dynamics_activation)

    def forward(self, tau: Float[Tensor, ...], z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self.net(self.input(tau, z)) * self.length


class Growth(Dynamics):
    """``g_psi: (t, z) -> d log w / dt``; zero everywhere, and without parameters, where growth is not learned."""

    def __init__(self, settings: config.Networks):
        super().__init__(settings)
        s = settings
        self.learned = s.growth
        self.net = mlp(1 + s.latent_dim, 1, s.growth_layers, s.growth_width, s.dynamics_activation)
        if not self.learned:
            self.net = nn.Sequential()

    def forward(self, tau: Float[Tensor, ...], z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        if not self.learned:
            return torch.zeros_like(z[:, 0])
        return self.net(self.input(tau, z)).squeeze(1)


class Magnification(nn.Module):
    """The size at which the neighbour term sees the embedding: t-SNE's kernel has a length of its own, so the cells are
    brought to a size that is learned; the embedding's own size makes no difference (ours)."""

    def __init__(self, initial: float):
        super().__init__()
        self.log_factor = nn.Parameter(torch.tensor(initial).log())

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return z / z.var(0).sum().sqrt() * self.log_factor.exp()

"""MIOFlow by its authors' package: a geodesic autoencoder and a balanced neural ODE in its latent space.

Huguet et al., NeurIPS 2022; package ``mioflow`` (0.1.14 is what this was written for), which needs ``phate`` and
``torchsde``: ``pip install 'cellstream[mioflow]'``. MIOFlow is for non-commercial use (Yale's licence) and PHATE under
the GPL: nothing of either is part of CellStream. The numbers of the fit are the package's own defaults.

The trained weights become our own networks, exactly, so that a result opens without the package: the autoencoder,
which is not told the time, gets weights 0 for it and in place of its narrower layers; the ODE's standard units go into
its first and its last layer; growth is 0 everywhere.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from cellstream.baselines import embeddings, fitting
from cellstream.config import Config
from cellstream.cores import torch_threads
from cellstream.errors import UserError
from cellstream.events import Progress
from cellstream.networks import Autoencoder, Growth, Velocity
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream

HIDDEN = (128, 64)
"""Hidden layers of the encoder, and backwards of the decoder."""
FIELD_WIDTH = 64
AUTOENCODER_EPOCHS, FLOW_EPOCHS = 300, 100
QUICK_AUTOENCODER_EPOCHS, QUICK_FLOW_EPOCHS = 30, 3
MOST = 5000
"""Cells that the autoencoder is fitted to: it needs all their distances."""
SAMPLE = 2000
"""Cells of each time point that the flow is fitted to: it takes all of them in every step."""
KNN = 5
"""Neighbours in PHATE (its default), where there are as many."""

_NETWORKS = dict(
    latent_dim=2,
    encoder_layers=2,
    decoder_layers=2,
    encoder_width=max(HIDDEN),
    decoder_width=max(HIDDEN),
    autoencoder_activation="relu",
    velocity_layers=2,
    velocity_width=FIELD_WIDTH,
    growth_layers=0,
    dynamics_activation="silu",
    input_scaling="none",
)


def fit_mioflow(
    snapshots: Snapshots, seed: int = 0, quick: bool = False, on_progress: Progress | None = None
) -> CellStream:
    """MIOFlow with its geodesic autoencoder, in two dimensions.

    Raises:
        UserError: the package is not installed.
    """
    try:
        # the packages write to the terminal, also when they are imported
        with _quiet():
            import phate
            from mioflow.core.datasets import TimeSeriesDataset
            from mioflow.core.models.ode_model import ODEFunc
            from mioflow.gaga import fit_gaga
            from mioflow.mioflow import train_mioflow
    except ImportError as error:
        raise UserError(
            f"Expected the package mioflow for the method MIOFlow, but it cannot be imported ({error}): "
            "install it with pip install 'cellstream[mioflow]', or leave this method out."
        ) from error
    x, index, tau = embeddings.features(snapshots), snapshots.index.cpu().numpy(), snapshots.tau.cpu()
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(x))[:MOST]
    encoding, flowing = (QUICK_AUTOENCODER_EPOCHS, QUICK_FLOW_EPOCHS) if quick else (AUTOENCODER_EPOCHS, FLOW_EPOCHS)
    config = Config().with_settings(**_NETWORKS, seed=seed, device="cpu")
    with _quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        knn = min(KNN, len(chosen) - 2)
        with torch_threads():
            graph = phate.PHATE(n_components=2, knn=knn, random_state=seed, verbose=0, n_jobs=1)
            shape = graph.fit_transform(x[chosen])
        epochs = dict(encoder_epochs=encoding, decoder_epochs=encoding)
        gaga = fit_gaga(x[chosen], shape, latent_dim=2, hidden_dims=list(HIDDEN), device="cpu", **epochs)
        if on_progress:
            on_progress(encoding, encoding + flowing)
        autoencoder = _autoencoder(gaga, config)
        z = fitting.coordinates(autoencoder, snapshots.to("cpu", torch.float32))
        mean, sd = z.mean(0), z.std(0).clip(1e-12)
        clouds = [(z[rng.permutation(np.flatnonzero(index == i))[:SAMPLE]] - mean) / sd for i in range(len(tau))]
        field = ODEFunc(input_dim=2, hidden_dim=FIELD_WIDTH)
        data = TimeSeriesDataset(list(zip(clouds, tau.tolist(), strict=True)))
        train_mioflow(field, data, flowing, device="cpu", lambda_density=0.0)  # the class MIOFlow has no density loss
        if on_progress:
            on_progress(encoding + flowing, encoding + flowing)
    autoencoder.shift[0] = tau[index].mean()
    weights = _fields(field.model, torch.as_tensor(mean), torch.as_tensor(sd), config, len(tau))
    return fitting.assembled(autoencoder, weights, snapshots, config, "MIOFlow")


def _autoencoder(gaga: Any, config: Config) -> Autoencoder:
    """Their autoencoder, which scales each feature to variance 1, in our shape."""
    scaler = gaga.input_scaler
    ours = Autoencoder(len(scaler.mean_), config.networks)
    ours.shift[1:] = torch.as_tensor(scaler.mean_)
    ours.scale[1:] = torch.as_tensor(scaler.scale_)
    _copy(gaga.encoder, ours.encoder, first_input=1)
    _copy(gaga.decoder, ours.decoder, first_output=1)
    return ours.requires_grad_(False)


@torch.no_grad()
def _fields(
    theirs: nn.Module, mean: torch.Tensor, sd: torch.Tensor, config: Config, times: int
) -> dict[str, torch.Tensor]:
    """Their field, dy/dt = f(t, y) at y = (z − mean) / sd, as ours in z; and no growth."""
    velocity, growth = Velocity(config.networks, times), Growth(config.networks, times)
    _copy(theirs, velocity.net)
    velocity.centre.copy_(mean)
    first, last = _layers(velocity.net)[0], _layers(velocity.net)[-1]
    first.weight[:, 1:].div_(sd)
    last.weight.mul_(sd[:, None])
    last.bias.mul_(sd)
    for part in growth.net.parameters():
        part.zero_()
    return fitting.fields_of(velocity, growth)


@torch.no_grad()
def _copy(theirs: nn.Module, ours: nn.Module, first_input: int = 0, first_output: int = 0) -> None:
    """The same function in layers that may be wider: what is not theirs gets weight 0.

    Inputs before ``first_input`` are not heeded; outputs before ``first_output`` are 0.
    """
    pairs = list(zip(_layers(theirs), _layers(ours), strict=True))
    for i, (there, here) in enumerate(pairs):
        row = first_output if i == len(pairs) - 1 else 0
        column = first_input if i == 0 else 0
        here.weight.zero_()
        here.bias.zero_()
        rows = slice(row, row + there.out_features)
        here.weight[rows, column : column + there.in_features] = there.weight
        here.bias[rows] = there.bias


def _layers(network: nn.Module) -> list[nn.Linear]:
    return [part for part in network.children() if isinstance(part, nn.Linear)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The packages print, and draw bars of progress."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield

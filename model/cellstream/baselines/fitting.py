"""Dynamics on an embedding that stays as it is: our training without the autoencoder's part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from cellstream.baselines.embeddings import linear
from cellstream.config import Config
from cellstream.events import Progress, Step
from cellstream.networks import Autoencoder, Growth, Velocity
from cellstream.snapshots import Snapshots
from cellstream.state import State
from cellstream.stream import CellStream
from cellstream.training import train

STEPS_PER_ROUND = 25
"""Between two judgements; the best model is kept."""


def schedule(config: Config, steps: int) -> Config:
    """``config`` with rounds of dynamics alone, ``steps`` in all, that do not stop early."""
    return config.with_settings(
        start_steps=0,
        embedding_steps=0,
        warm_steps=0,
        autoencoder_steps=0,
        dynamics_steps=min(STEPS_PER_ROUND, steps),
        rounds=-(-steps // STEPS_PER_ROUND),
        patience=10_000,
    )


def prepared(snapshots: Snapshots, z: Float[np.ndarray, "n d"], config: Config) -> State:
    """A state whose cells are at ``z`` and whose autoencoder leaves them there."""
    there = replace(snapshots, x=torch.as_tensor(z, dtype=torch.float32))
    settings = dict(encoder_layers=0, decoder_layers=0, input_scaling="none", lambda_neighbours=0, lambda_ae=0)
    state = State.initial(there, config.with_settings(latent_dim=z.shape[1], **settings))
    with torch.no_grad():
        for part in state.autoencoder.parameters():
            part.zero_()
        linear(state.autoencoder.encoder).weight[:, 1:].fill_diagonal_(1)
        linear(state.autoencoder.decoder).weight[1:].fill_diagonal_(1)
    return state


def run(state: State, rate: Callable[[float], float], on_progress: Progress | None = None) -> None:
    """Train to the end; ``rate`` gives the factor on the learning rate at the share of the steps that is done."""
    for event in train(state):
        if isinstance(event, Step):
            for group in state.optimisers["dynamics"].param_groups:
                group["lr"] = state.config.schedule.dynamics_rate * rate(event.step / event.total)
            if on_progress:
                on_progress(event.step, event.total)


def result(state: State, autoencoder: Autoencoder, snapshots: Snapshots, config: Config, method: str) -> CellStream:
    """The best dynamics of ``state`` on the embedding of ``autoencoder``."""
    fields = {k: v for k, v in (state.best or state.weights()).items() if not k.startswith("autoencoder.")}
    return assembled(autoencoder, fields, snapshots, config, method)


def assembled(
    autoencoder: Autoencoder, fields: dict[str, torch.Tensor], snapshots: Snapshots, config: Config, method: str
) -> CellStream:
    """A result from an autoencoder and the weights of velocity and growth."""
    like = next(iter(fields.values()))
    coder = {f"autoencoder.{k}": v.to(like) for k, v in autoencoder.state_dict().items()}
    return CellStream.from_weights({**coder, **fields}, snapshots, config, method)


def fields_of(velocity: Velocity, growth: Growth) -> dict[str, torch.Tensor]:
    """Their weights, named as in a result."""
    nets: dict[str, nn.Module] = dict(velocity=velocity, growth=growth)
    return {f"{name}.{k}": v for name, net in nets.items() for k, v in net.state_dict().items()}


def coordinates(autoencoder: Autoencoder, snapshots: Snapshots) -> Float[np.ndarray, "n d"]:
    """Where the autoencoder puts the cells."""
    with torch.no_grad():
        return autoencoder.encode(snapshots.tau[snapshots.index].float(), snapshots.x.float()).numpy()

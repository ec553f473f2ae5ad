"""TIGON on a frozen embedding: unbalanced dynamical optimal transport where the picture is given.

Sha, Qiu, Zhou & Nie, Nature Machine Intelligence 2024. From the authors' public code (yutongo/TIGON): v with four
hidden layers of 16 and g with three, Tanh, Xavier start; Adam at rate 3e-3 with weight decay 0.01, halved at 92 % and
at 96 % of the steps; loss = WFR action (α = 1) + 1e4 × matching. No warm start.

What is not TIGON's, so that all methods meet the cells in the same way: matching is our L_OT + L_Mass in place of the
squared difference of kernel densities carried backwards, and the ODE is solved by our integrator. The fields see the
embedding in units of its own size, since t-SNE spans a hundred units and a diffusion map a tenth. 5 % of the cells are
held out, as in our preset. Of the rounds the best is kept.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from cellstream.baselines import embeddings, fitting
from cellstream.config import Config
from cellstream.events import Progress
from cellstream.networks import Autoencoder
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream

STEPS, QUICK_STEPS = 5000, 25
"""Steps of a fit, as many as TIGON's, and of a quick one, which is not to be quoted."""
DECODER_STEPS, QUICK_DECODER_STEPS = 1000, 150
WEIGHT_DECAY = 0.01

_TIGON = dict(
    velocity_layers=4,
    velocity_width=16,
    growth_layers=3,
    growth_width=16,
    dynamics_activation="tanh",
    latent_scale="unit",
    lambda_wfr=1.0,
    lambda_match=1e4,
    lambda_ot=1.0,
    lambda_mass=1.0,
    alpha=1.0,
    dynamics_rate=3e-3,
    decay=False,
    batch_size=128,  # TIGON: 100
    steps_per_interval=3,
    clip=1e12,  # weight decay is weighed against the whole gradient
    held_out=embeddings.HELD_OUT,
)


def tigon(
    snapshots: Snapshots,
    z: np.ndarray,
    name: str = "TIGON",
    seed: int = 0,
    quick: bool = False,
    on_progress: Progress | None = None,
) -> CellStream:
    """TIGON on any embedding ``z (n, d)`` of the cells, such as an ``obsm`` array of their file.

    The result has no encoder network: known cells are looked up; see :class:`cellstream.lookup.Lookup`.

    Raises:
        UserError: ``z`` does not fit the cells, or does not tell them apart.
    """
    z = embeddings.checked(snapshots, z, name)
    steps = QUICK_DECODER_STEPS if quick else DECODER_STEPS
    autoencoder, config = embeddings.looked_up(snapshots, z, settings(seed, quick), steps)
    return on(autoencoder, config, snapshots, name, on_progress)


def fit_pca(
    snapshots: Snapshots,
    seed: int = 0,
    quick: bool = False,
    on_progress: Progress | None = None,
    d: int = 2,
    name: str = "TIGON + PCA",
) -> CellStream:
    """TIGON on ``d`` principal components; encoder and decoder are the linear maps of PCA."""
    autoencoder, config = embeddings.principal(snapshots, d, settings(seed, quick))
    return on(autoencoder, config, snapshots, name, on_progress)


def settings(seed: int, quick: bool) -> Config:
    config = Config().with_settings(**_TIGON, seed=seed, device="cpu")
    return fitting.schedule(config, QUICK_STEPS if quick else STEPS)


def on(
    autoencoder: Autoencoder, config: Config, snapshots: Snapshots, name: str, on_progress: Progress | None
) -> CellStream:
    """TIGON's dynamics on the embedding of ``autoencoder``, which stays as it is."""
    snapshots = snapshots.to("cpu", torch.float32)
    state = fitting.prepared(snapshots, fitting.coordinates(autoencoder, snapshots), config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.compute.seed)
        for net in (state.velocity, state.growth):
            for layer in net.net:
                if isinstance(layer, nn.Linear):
                    nn.init.xavier_uniform_(layer.weight)
    for group in state.optimisers["dynamics"].param_groups:
        group["weight_decay"] = WEIGHT_DECAY
    fitting.run(state, _rate, on_progress)
    return fitting.result(state, autoencoder, snapshots, config, name)


def _rate(done: float) -> float:
    """1, a half from 92 % on, a quarter from 96 % on: steps 4600 and 4800 of TIGON's 5000."""
    return math.prod(0.5 for share in (0.92, 0.96) if done >= share)

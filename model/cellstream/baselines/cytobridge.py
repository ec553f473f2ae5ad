"""CytoBridge: velocity and growth in the input space, without an embedding.

Zhang, Li & Zhou, ICLR 2025 (DeepRUOT) and Zhang et al., NeurIPS 2025 (CytoBridge): our implementation of the stage that
learns velocity and growth, from the description; the score network of the stochastic stage is left out. From the
authors' public configuration: v and g with two hidden layers of 400, SiLU; a first stage of matching alone (weights
1 for transport, 0.01 for mass), a second one with transport 10, mass 10 and energy 0.01.

What is not theirs, so that all methods meet the cells in the same way: our L_OT, L_Mass and action, by exact transport
instead of Sinkhorn divergences; particles are carried through all time points, not from each to the next; distances in
units of the cells' spread; as many steps (500 + 500, each of which goes through every interval, of 128 cells) at a rate
of 1e-3 instead of 1e-4.

The coordinates are all principal components, which are the input space turned: distances, and with them the method, are
the same, decoding is exact, and the first two axes are the plane of PCA.
"""

from __future__ import annotations

import torch

from cellstream.baselines import embeddings, fitting
from cellstream.config import Config
from cellstream.events import Progress
from cellstream.snapshots import Snapshots
from cellstream.stream import CellStream

STEPS, QUICK_STEPS = (500, 500), (5, 10)
"""Steps of the two stages, as many as the authors'; and of quick ones."""
MOST_COMPONENTS = 100
"""Of inputs of more features the leading principal components are taken, as the authors do themselves."""

_NETWORKS = dict(
    velocity_layers=2,
    velocity_width=400,
    growth_layers=2,
    growth_width=400,
    dynamics_activation="silu",
    latent_scale="unit",
    dynamics_rate=1e-3,
    batch_size=128,
    steps_per_interval=2,
    lambda_match=1.0,
    alpha=1.0,
    held_out=embeddings.HELD_OUT,
)
_STAGES = (
    dict(lambda_ot=1.0, lambda_mass=0.01, lambda_wfr=0.0),
    dict(lambda_ot=10.0, lambda_mass=10.0, lambda_wfr=0.01),
)


def fit_cytobridge(
    snapshots: Snapshots, seed: int = 0, quick: bool = False, on_progress: Progress | None = None
) -> CellStream:
    """Velocity and growth in the input space; ``latent_dim`` is the number of features, at most 100."""
    config = Config().with_settings(**_NETWORKS, seed=seed, device="cpu")
    d = min(snapshots.x.shape[1], MOST_COMPONENTS)
    autoencoder, config = embeddings.principal(snapshots, d, config)
    snapshots = snapshots.to("cpu", torch.float32)
    z = fitting.coordinates(autoencoder, snapshots)
    before, lengths = 0, QUICK_STEPS if quick else STEPS
    weights = None
    for stage, steps in zip(_STAGES, lengths, strict=True):
        config = fitting.schedule(config.with_settings(**stage), steps)
        state = fitting.prepared(snapshots, z, config)
        if weights is not None:
            state.velocity.load_state_dict(weights[0])
            state.growth.load_state_dict(weights[1])
        fitting.run(state, lambda done: 1.0, _shifted(on_progress, before, sum(lengths)))
        weights = state.velocity.state_dict(), state.growth.state_dict()
        before += steps
    return fitting.result(state, autoencoder, snapshots, config, "CytoBridge")


def _shifted(on_progress: Progress | None, before: int, total: int) -> Progress | None:
    if on_progress is None:
        return None
    return lambda done, _: on_progress(before + done, total)

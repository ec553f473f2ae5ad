"""The further models of an ensemble: velocity and growth learned anew in a trained embedding, to see where they differ.

A member has a seed of its own and a bootstrap of its own of the cells of each time point (Efron, Annals of Statistics
1979; Osband et al., NeurIPS 2016, for networks); the autoencoder is that of the trained model. Its velocities are thus
vectors of the same plane and can be compared as they are. What the spread captures: which cells happened to be sampled,
and where training ends up from another start. What it does not: another embedding, another kind of model, wrong times
or wrong population sizes. Far from all cells it is too small, since all members extrapolate alike.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cellstream.config import Config
from cellstream.networks import within
from cellstream.snapshots import Snapshots
from cellstream.state import State
from cellstream.stream import CellStream

MEMBER = ("velocity", "growth")
"""The networks that a member has of its own."""
SCATTERED = 45.0
"""Degrees of scatter from which a direction is not to be believed."""
AGREEMENT = (
    "Where the models agree, the dynamics are well determined given this map; it does not say that a fate is right."
)
"""What may be concluded from it, for a person."""


def member_config(config: Config, k: int) -> Config:
    """The settings of member ``k`` = 1, 2, …: those of the model, for its velocity and growth alone."""
    return config.with_settings(
        seed=(config.compute.seed + k) % 2**31,
        ensemble=1,
        start_steps=0,
        embedding_steps=0,
        autoencoder_steps=0,
        lambda_neighbours=0,
        lambda_between=0,
        held_out=0,  # the cells held out are not among those drawn
    )


def begin(state: State, k: int) -> State:
    """Member ``k`` before its training: the best model's embedding, a fresh velocity and growth, cells drawn anew."""
    member = State.initial(bootstrap(state, k), member_config(state.config, k))
    member.team = state.team
    member.autoencoder.load_state_dict(within(state.best or state.weights(), "autoencoder."))
    return member


def bootstrap(state: State, k: int) -> Snapshots:
    """As many cells of each time point as training may see, drawn from them with replacement."""
    random = np.random.default_rng((state.config.compute.seed, k))
    cells = torch.cat([at[torch.from_numpy(random.integers(len(at), size=len(at))).to(at.device)] for at in state.seen])
    s = state.snapshots
    return replace(s, x=s.x[cells], index=s.index[cells], rows=None)


def weights_of(member: State) -> dict[str, Tensor]:
    """What a trained member adds to the result: the weights of its velocity and growth."""
    best = member.best or member.weights()
    return {name: w for name, w in best.items() if name.partition(".")[0] in MEMBER}


def disagreement(stream: CellStream, snapshots: Snapshots) -> dict[str, float]:
    """How far the directions of an ensemble scatter at the cells, each at its own time (:attr:`Uncertainty.scatter`).

    Returns:
        ``models``, how many there are; ``median``, in degrees; ``scattered``, share of cells beyond :data:`SCATTERED`;
        ``growth``, the standard deviation of a cell's growth rate among the models, and ``growth_cells``, that of the
        model's growth rate among the cells of a time point, both root mean squares, per ``clock.rate_unit``.

    Raises:
        UserError: there is no ensemble.
    """
    t = snapshots.times.cpu().numpy().astype(np.float64)[snapshots.index.cpu().numpy()]
    z = stream.encode(snapshots.x.cpu().numpy(), t)
    spread = stream.uncertainty(z, t)
    among = pd.Series(stream.growth(z, t)).groupby(t).transform(lambda rates: rates - rates.mean())
    return dict(
        models=len(stream.members) + 1,
        median=float(np.median(spread.scatter)),
        scattered=float((spread.scatter > SCATTERED).mean()),
        growth=float(np.sqrt(np.square(spread.growth).mean())),
        growth_cells=float(np.sqrt(np.square(among).mean())),
    )

"""Named settings: where the numbers of :mod:`cellstream.config` differ from the paper's defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cellstream.config import Config
from cellstream.errors import UserError


@dataclass(frozen=True)
class Preset:
    """A name, a sentence for the person who chooses, and what it changes."""

    name: str
    text: str
    changes: dict[str, Any]


# The paper gives neither the size of its latent nor the schedule beyond EMT: 300 epochs of the autoencoder, 3000 of the
# dynamics. In raw principal components the action shrinks the embedding until little is left of it (iPSC: TC 0.69,
# R² 0.15), so it starts at variance 1 and distances are relative to it. Time weighs half as much again as a feature of
# the same spread, without which cells of neighbouring days lie over each other. Each batch serves three updates, and
# steps are coarse: several times faster.
_PAPER: dict[str, Any] = dict(
    latent_scale="unit",
    time_separation=1.5,
    warm_steps=200,
    rounds=20,
    autoencoder_steps=5,
    dynamics_steps=25,
    updates_per_batch=3,
    autoencoder_rate=1e-3,
    dynamics_rate=1e-3,
    decay=True,
    steps_per_interval=4,
)

# Time is added to one map of the features, in which the same change looks the same at any time. Dynamics are learned
# against the movement and growth of the population as a whole, which the data tell: what the networks can do then goes
# into how cells part. Features share one unit: that keeps the distances of the input, which the neighbours come from.
_OURS: dict[str, Any] = dict(
    latent_scale="unit",
    input_scaling="common",
    time_input="added",
    frame="moving",
    encoder_width=64,
    decoder_width=64,
    autoencoder_activation="silu",
    velocity_layers=3,
    velocity_width=32,
    growth_layers=2,
    growth_width=32,
    lambda_neighbours=10.0,
    lambda_between=10.0,
    lambda_lineages=2.0,
    alpha=0.1,
    lambda_steps=0.02,
    start_steps=200,
    start_rate=5e-3,
    embedding_steps=400,
    warm_steps=300,
    rounds=12,
    autoencoder_steps=5,
    dynamics_steps=20,
    updates_per_batch=2,
    dynamics_rate=3e-3,
    decay=True,
    held_out=0.05,
    steps_per_interval=2,
)

_QUICK = {**_OURS, "rounds": 8}

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("quick", "For a first look: the settings of Best, with 8 rounds of training instead of 12.", _QUICK),
        Preset("paper", "The paper's networks, losses and weights.", _PAPER),
        Preset("best", "Keeps the cells' differences as well as their order in time; about a minute.", _OURS),
    )
}


def preset(name: str, **changes: Any) -> Config:
    """The settings of a preset, with further ``changes``."""
    if name not in PRESETS:
        raise UserError(f"No preset is called {name!r}. Presets: {', '.join(PRESETS)}.")
    return Config().with_settings(**{**PRESETS[name].changes, **changes})

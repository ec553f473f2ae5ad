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


_OURS = dict(
    latent_scale="unit",
    input_scaling="standardise",
    encoder_width=64,
    decoder_width=64,
    autoencoder_activation="silu",
    velocity_layers=3,
    velocity_width=32,
    growth_layers=2,
    growth_width=32,
    lambda_neighbours=10.0,
    start_steps=200,
    embedding_steps=400,
    start_rate=3e-3,
    warm_steps=200,
    dynamics_rate=1e-3,
    steps_per_interval=2,
    autoencoder_steps=8,
    dynamics_steps=25,
    rounds=8,
)

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("quick", "A first look in under a minute.", {**_OURS, "embedding_steps": 200, "rounds": 3}),
        Preset("paper", "The paper's networks, losses and weights as published.", {}),
        Preset("best", "Keeps the cells' differences as well as the order in time; a few minutes.", _OURS),
    )
}


def preset(name: str, **changes: Any) -> Config:
    """The settings of a preset, with further ``changes``."""
    if name not in PRESETS:
        raise UserError(f"No preset is called {name!r}. Presets: {', '.join(PRESETS)}.")
    return Config().with_settings(**{**PRESETS[name].changes, **changes})

"""Every number of the method, once: its default, meaning, symbol, unit and bounds.

Forms in the app, ``--set`` on the command line and their help texts are derived from the field metadata here.
Values that the paper gives are its defaults; ours are marked "(ours)". Source: Ling et al., AAAI 2026,
arXiv 2511.13786, "Experiments" and appendix.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from cellstream.errors import UserError
from cellstream.setting import checked, setting


@dataclass(frozen=True)
class Preprocess:
    """From the matrix in the file to the features that the encoder reads. Each step runs only where needed."""

    normalise: str = setting(
        "auto",
        "Scale each cell to the same total and take log(1 + x). 'auto' does so only where raw counts are found.",
        label="Normalise and log",
        choices=("auto", "yes", "no"),
    )
    n_top_genes: int = setting(
        3000,
        "Keep this many highly variable genes where the input has more features. 0 keeps all.",
        label="Highly variable genes",
        unit="genes",
        bounds=(0, None),
    )
    n_pcs: int = setting(
        50,
        "Reduce the input to this many principal components where it has more than 200 features. 0 keeps the features.",
        label="Principal components",
        unit="components",
        bounds=(0, 500),
    )


@dataclass(frozen=True)
class Networks:
    """Sizes and activations of the four networks, and the units in which they see their input."""

    latent_dim: int = setting(
        2, "Dimension d of the embedding.", label="Embedding dimensions", symbol="d", bounds=(1, 100)
    )
    encoder_layers: int = setting(3, "Hidden layers of the encoder.", symbol="f_enc", bounds=(0, 12))
    encoder_width: int = setting(10, "Units in each hidden layer of the encoder.", symbol="f_enc", bounds=(1, 2048))
    decoder_layers: int = setting(3, "Hidden layers of the decoder.", symbol="f_dec", bounds=(0, 12))
    decoder_width: int = setting(10, "Units in each hidden layer of the decoder.", symbol="f_dec", bounds=(1, 2048))
    autoencoder_activation: str = setting(
        "relu", "Activation of encoder and decoder.", choices=("relu", "silu", "tanh", "softplus")
    )
    velocity_layers: int = setting(4, "Hidden layers of the velocity network.", symbol="v_φ", bounds=(0, 12))
    velocity_width: int = setting(10, "Units in each of its hidden layers.", symbol="v_φ", bounds=(1, 2048))
    growth_layers: int = setting(3, "Hidden layers of the growth network.", symbol="g_ψ", bounds=(0, 12))
    growth_width: int = setting(10, "Units in each of its hidden layers.", symbol="g_ψ", bounds=(1, 2048))
    growth: bool = setting(
        True,
        "Learn growth. Without it every cell keeps its weight, and populations of any size are matched as if they were "
        "of one (ours, for the paper's ablation).",
        label="Learn growth",
        symbol="g_ψ",
    )
    dynamics_activation: str = setting(
        "tanh", "Activation of the velocity and growth networks.", choices=("tanh", "silu", "softplus", "relu")
    )
    frame: str = setting(
        "still",
        "What velocity and growth are learned against: nothing, as in the paper; or the movement and growth of the "
        "population as a whole, which the time points' means and sizes tell, so that the networks learn only how cells "
        "depart from it (ours).",
        label="Frame of the dynamics",
        choices=("still", "moving"),
    )
    input_scaling: str = setting(
        "none",
        "Units of the input inside the autoencoder: as they are, every feature to variance 1, or all features by one "
        "common factor to mean variance 1 (ours).",
        label="Input scaling",
        choices=("none", "standardise", "common"),
    )
    time_input: str = setting(
        "joined",
        "How time enters the encoder: joined to the features, as in the paper; or added to one map of the features for "
        "all times, as a direction of its own, so that the same change of a cell looks the same at any time (ours).",
        label="Time in the encoder",
        choices=("joined", "added"),
    )
    latent_scale: str = setting(
        "pca",
        "Size of the embedding at the start: that of the principal components, or variance 1 along the longest axis; "
        "in the second case all distances in the losses are measured in units of the embedding's spread, so that "
        "shrinking it gains nothing (ours).",
        label="Embedding scale",
        choices=("pca", "unit"),
    )
    time_separation: float = setting(
        1.0,
        "Weight of time against the features in the autoencoder: 1 is the paper's; smaller lets the cells' "
        "differences shape the picture, larger pulls the time points apart (ours).",
        label="Time separation",
        symbol="s_t",
        bounds=(0.0, 20.0),
    )


@dataclass(frozen=True)
class Integration:
    """How the ordinary differential equation of the particles is solved (torchdiffeq)."""

    method: str = setting(
        "midpoint",
        "Solver. Fixed steps: euler, midpoint, rk4. Adaptive: dopri5, bosh3, adaptive_heun.",
        label="Solver",
        choices=("euler", "midpoint", "rk4", "dopri5", "bosh3", "adaptive_heun"),
    )
    steps_per_interval: int = setting(
        4, "Steps of a fixed-step solver between two neighbouring time points.", unit="steps", bounds=(1, 200)
    )
    rtol: float = setting(1e-4, "Relative tolerance of an adaptive solver.", bounds=(1e-9, 1e-1))
    atol: float = setting(1e-4, "Absolute tolerance of an adaptive solver.", bounds=(1e-9, 1e-1))


@dataclass(frozen=True)
class Weights:
    """The weights in L = λ_AE L_AE + λ_WFR L_WFR + λ_Match (λ_Mass L_Mass + λ_OT L_OT)."""

    lambda_ae: float = setting(
        10.0, "Reconstruction: how well the decoder returns the cells.", symbol="λ_AE", bounds=(0, None)
    )
    lambda_wfr: float = setting(
        1.0,
        "Action: how short and even the paths and the growth are (Wasserstein–Fisher–Rao).",
        symbol="λ_WFR",
        bounds=(0, None),
    )
    lambda_match: float = setting(
        5.0, "Matching: how well particles meet the observed cells.", symbol="λ_Match", bounds=(0, None)
    )
    lambda_ot: float = setting(
        1.0,
        "Within matching: positions (optimal transport).",
        label="Match positions",
        symbol="λ_OT",
        bounds=(0, None),
    )
    lambda_mass: float = setting(
        1.0,
        "Within matching: population size.",
        label="Match population sizes",
        symbol="λ_Mass",
        bounds=(0, None),
    )
    alpha: float = setting(1.0, "Price of growth against movement in the action.", symbol="α", bounds=(0, None))
    lambda_neighbours: float = setting(
        0.0,
        "Keep each cell's neighbours within its time point near it, so that the picture cannot buy order in time by "
        "throwing the cells' differences away (t-SNE divergence within time points; ours, 0 in the paper).",
        label="Keep neighbours",
        symbol="λ_Nbr",
        bounds=(0, None),
    )
    lambda_between: float = setting(
        0.0,
        "Reconstruct between the time points too: where the way of a cell to its partner lies in the embedding, the "
        "decoder shall return what lies between the two in the input, so that moving cells decode to cells (ours, 0 in "
        "the paper).",
        label="Decode between times",
        symbol="λ_Btw",
        bounds=(0, None),
    )
    lambda_lineages: float = setting(
        0.0,
        "Keep who becomes whom, as an unbalanced coupling of the cells in the input tells it, without any labels: "
        "lineages that have parted grow and die where they are. At 0 cells cross from one to another where that is "
        "shorter; more follows the coupling, and its errors, more closely (ours, 0 in the paper).",
        label="Keep lineages",
        symbol="λ_Lin",
        bounds=(0, None),
    )
    lambda_steps: float = setting(
        0.1,
        "While the embedding is shaped: even steps between cells that are coupled in the input (ours).",
        label="Even steps at the start",
        symbol="λ_Step",
        bounds=(0, None),
    )
    lambda_separation: float = setting(
        5.0,
        "While the embedding is shaped: time points as far apart as the time separation asks for (ours).",
        label="Separate time points at the start",
        symbol="λ_Sep",
        bounds=(0, None),
    )


@dataclass(frozen=True)
class Schedule:
    """How long, in what order and with what steps the networks are fitted."""

    start_steps: int = setting(
        600, "Steps that fit the autoencoder to principal components.", unit="steps", bounds=(0, 100_000)
    )
    embedding_steps: int = setting(
        0,
        "Steps that shape the embedding before there are dynamics: reconstruction, neighbours within time points and "
        "short couplings between them (ours).",
        unit="steps",
        bounds=(0, 100_000),
    )
    warm_steps: int = setting(
        0,
        "Steps that regress velocity and growth on optimal couplings before the ODE is solved (ours).",
        unit="steps",
        bounds=(0, 100_000),
    )
    rounds: int = setting(30, "Most rounds of block coordinate descent.", unit="rounds", bounds=(0, 10_000))
    autoencoder_steps: int = setting(10, "Autoencoder steps in a round.", unit="steps", bounds=(0, 10_000))
    dynamics_steps: int = setting(100, "Dynamics steps in a round.", unit="steps", bounds=(0, 10_000))
    start_rate: float = setting(1e-2, "Learning rate of the start (ours).", bounds=(1e-7, 1.0))
    autoencoder_rate: float = setting(1e-3, "Learning rate of the autoencoder block.", bounds=(1e-7, 1.0))
    dynamics_rate: float = setting(3e-4, "Learning rate of the dynamics block.", bounds=(1e-7, 1.0))
    decay: bool = setting(False, "Let the learning rates of the rounds fall to a tenth along a cosine (ours).")
    batch_size: int = setting(
        256,
        "Cells of each time point in a step (ours; the cost of a step does not grow with the data).",
        unit="cells",
        bounds=(8, 16_384),
    )
    batches: int = setting(
        1,
        "Batches in a step. Their gradients are averaged: a step takes so many times longer, or is shared among as "
        "many devices, and follows the cells of all of them (ours).",
        label="Batches in a step",
        unit="batches",
        bounds=(1, 1024),
    )
    held_out: float = setting(
        0.0,
        "Share of the cells of each time point that training never sees, to judge the reconstruction on; none of time "
        "points of fewer than 40 cells (ours).",
        label="Held-out cells",
        bounds=(0, 0.5),
    )
    updates_per_batch: int = setting(
        1,
        "Updates made with one batch and its transport plans: the gradient at a fixed plan is exact to first "
        "order (ours).",
        unit="updates",
        bounds=(1, 50),
    )
    patience: int = setting(
        8, "Stop after so many rounds without a lower loss; the best model is kept.", unit="rounds", bounds=(1, 10_000)
    )
    clip: float = setting(
        10.0, "Largest norm of a gradient; larger ones are scaled down to it (ours).", bounds=(1e-3, None)
    )
    ensemble: int = setting(
        1,
        "How many models of velocity and growth are trained in the same embedding, each on cells drawn anew, to show "
        "where they disagree. 1 is off; 5 is a good number. Each further one adds the time of the warm start and of "
        "the rounds' dynamics steps (ours).",
        label="Models for uncertainty",
        unit="models",
        bounds=(1, 50),
    )


@dataclass(frozen=True)
class Compute:
    """Where and how exactly the numbers are computed."""

    seed: int = setting(0, "Same seed, same machine, same result.", label="Seed", bounds=(0, 2**31 - 1))
    device: str = setting("auto", "auto takes a CUDA device where there is one.", choices=("auto", "cpu", "cuda"))
    precision: str = setting("float32", "Floating-point precision.", choices=("float32", "float64"))
    threads: int = setting(
        1, "Processor threads: these small networks run faster on one than on two.", unit="threads", bounds=(1, 256)
    )
    devices: int = setting(
        1,
        "Processes that train one model together: one for each GPU, or so many on the processor. They share the "
        "batches of a step, and each has at least one.",
        unit="processes",
        bounds=(1, 256),
    )


@dataclass(frozen=True)
class Config:
    """All settings of a run.

    ``Config()`` is the paper to the letter, with the plainest choice where the paper is silent; it is what the presets
    start from. The preset "paper" is what to train with: the same networks and loss weights, but an embedding of a
    size of its own and a schedule that serve other data as well; see :mod:`cellstream.presets`.
    """

    preprocess: Preprocess = field(default_factory=Preprocess)
    networks: Networks = field(default_factory=Networks)
    integration: Integration = field(default_factory=Integration)
    weights: Weights = field(default_factory=Weights)
    schedule: Schedule = field(default_factory=Schedule)
    compute: Compute = field(default_factory=Compute)

    def __post_init__(self) -> None:
        for section in fields(self):
            group = getattr(self, section.name)
            for item in fields(group):
                object.__setattr__(group, item.name, checked(item, getattr(group, item.name)))

    def with_settings(self, **values: Any) -> Config:
        """A copy with some settings changed, named as in ``lambda_ae=8`` (names are unique across sections)."""
        groups: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            section, item = find(name)
            groups.setdefault(section, {})[item.name] = checked(item, value)
        return replace(self, **{name: replace(getattr(self, name), **group) for name, group in groups.items()})

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Nested plain dictionary, JSON-serialisable."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Config:
        """The inverse of :meth:`to_dict`; unknown names are refused, missing ones take their default."""
        values: dict[str, Any] = {}
        for section, group in data.items():
            if not isinstance(group, Mapping):
                raise UserError(
                    f"Expected names and values in the section {section!r} of the settings, but got {group!r}."
                )
            values |= {f"{section}.{name}": value for name, value in group.items()}
        return cls().with_settings(**values)

    def to_json(self) -> str:
        """:meth:`to_dict` as JSON, for people to read."""
        return json.dumps(self.to_dict(), indent=2)


@cache
def settings() -> tuple[tuple[str, dataclasses.Field], ...]:
    """Every setting as ``(section, field)``, in the order of this file."""
    hints = typing.get_type_hints(Config)
    return tuple((section.name, item) for section in fields(Config) for item in fields(hints[section.name]))


def find(name: str) -> tuple[str, dataclasses.Field]:
    """The setting of this name: ``lambda_ae``, ``weights.lambda_ae`` or its symbol ``λ_AE``."""
    group, _, last = name.rpartition(".")
    there = [(section, item) for section, item in settings() if group in ("", section)]
    wanted = last.replace("λ", "lambda").lower()
    by_name = [(section, item) for section, item in there if item.name == wanted]
    # a symbol such as f_enc, which several settings share, names none of them
    by_symbol = [(section, item) for section, item in there if item.metadata["symbol"] == last]
    for found in (by_name, by_symbol):
        if len(found) == 1:
            return found[0]
    known = [item.name for _, item in settings()]
    if close := difflib.get_close_matches(wanted, known, n=3):
        raise UserError(f"No setting is called {name!r}; did you mean {' or '.join(close)}?")
    raise UserError(f"No setting is called {name!r}. Known settings: {', '.join(known)}.")

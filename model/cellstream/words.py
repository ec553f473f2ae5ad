"""The Methods section of a paper, as far as a result can write it: sentences with the result's own numbers, and the
papers that they cite.

Everything is plain text. Names out of files stand in it as they are, without what cannot be printed: who shows it
where markup counts escapes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from cellstream.account import Account
from cellstream.affinities import PERPLEXITY
from cellstream.baselines import METHODS
from cellstream.baselines.tigon_dynamics import WEIGHT_DECAY
from cellstream.config import Config
from cellstream.dynamics import FIXED_STEP
from cellstream.errors import UserError
from cellstream.held_out import FEWEST
from cellstream.literature import REFERENCES, bibtex_of
from cellstream.metrics import NEAREST, RADIUS
from cellstream.presets import PRESETS, preset
from cellstream.stream import METHOD
from cellstream.time_labels import counted, number_label
from cellstream.versions import versions

MOST_POINTS = 12
"""Time points that are told one by one; of more, the first and the last."""
MOST_CHANGES = 12
"""Settings that are told as changes of a preset; of more, it is no longer that preset."""
LONGEST = 80
"""Letters of a name."""
ACTIVATIONS = dict(relu="ReLU", silu="SiLU", tanh="tanh", softplus="softplus")
SOFTWARE = dict(
    torch=("PyTorch", "paszke2019pytorch"),
    torchdiffeq=("torchdiffeq", "chen2018neural"),
    POT=("POT", "flamary2021pot"),
    scanpy=("scanpy", "wolf2018scanpy"),
    anndata=("anndata", "virshup2024anndata"),
    openTSNE=("openTSNE", "policar2024opentsne"),
)
"""What it is called, and the paper, by its name in :func:`cellstream.versions.versions`."""


def methods_paragraph(account: Account) -> str:
    """The paragraph, in one line. Raises :class:`UserError` where there is no result to write about."""
    return " ".join(_told(account).sentences)


def cited(account: Account) -> tuple[str, ...]:
    """Keys in :data:`cellstream.literature.REFERENCES` of what the paragraph cites, in its order."""
    return tuple(_told(account).keys)


def bibtex(account: Account) -> str:
    """BibTeX entries of exactly what the paragraph cites, in its order."""
    return bibtex_of(cited(account))


@dataclass
class _Writer:
    """Sentences, and what they have cited."""

    sentences: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)

    def cite(self, *keys: str) -> str:
        """As it stands in brackets."""
        self.keys += [key for key in dict.fromkeys(keys) if key not in self.keys]
        return "; ".join(REFERENCES[key].short for key in keys)


def _told(account: Account) -> _Writer:
    if not account.trained:
        raise UserError("The run has no model yet, so there is nothing to describe: wait until it has been trained.")
    w = _Writer()
    _data(w, account)
    _prepared(w, account)
    _masses(w, account)
    if account.method == METHOD:
        _networks(w, account.config)
        _losses(w, account)
        _training(w, account)
    else:
        _other_method(w, account)
    _computed(w, account)
    _quality(w, account)
    return w


# --- the cells --------------------------------------------------------------------------------------------------------


def _data(w: _Writer, account: Account) -> None:
    s, recipe = account.snapshots, account.recipe
    source = recipe.get("source")
    where = f" of the file {_name(Path(str(source)).name)}" if source else ""
    by = f"with CellStream ({w.cite('ling2026cellstream')})"
    if account.method != METHOD:
        by = f"with {_plain(account.method)}, as it comes with CellStream ({w.cite('ling2026cellstream')})"
    w.say(f"Time-series single-cell data{where} were analysed {by}.")
    points, counts = len(s.labels), s.counts.tolist()
    if points <= MOST_POINTS:
        sizes = "; ".join(f"{_plain(label)}: {counted(n, 'cell')}" for label, n in zip(s.labels, counts, strict=True))
    else:
        low, high = min(counts), max(counts)
        each = counted(high, "cell") if low == high else f"{low:,} to {counted(high, 'cell')}"
        sizes = f"{_plain(s.labels[0])} to {_plain(s.labels[-1])}, with {each} each"
    key = recipe.get("time_key")
    by_column = f", taken from the column {_name(str(key))} of the cells' metadata" if key else ""
    w.say(f"They comprised {counted(len(s.index), 'cell')} from {points} time points ({sizes}){by_column}.")
    if recipe.get("time_map"):
        given = [v for v in recipe["time_map"].values() if not math.isnan(v)]
        values = _listed([number_label(v) for v in sorted(set(given))])
        w.say(f"The labels of that column were assigned the times {_with_unit(values, s.unit)} by hand.")
    if s.even:
        w.say("For the dynamics, the time points counted as equally spaced.")
    elif points <= MOST_POINTS:
        values = _listed([number_label(v) for v in s.times.tolist()])
        w.say(f"The dynamics followed the times at which the cells were taken ({_with_unit(values, s.unit)}).")
    else:
        ends = f"{number_label(float(s.times[0]))} to {number_label(float(s.times[-1]))}"
        w.say(f"The dynamics followed the times at which the cells were taken ({_with_unit(ends, s.unit)}).")


def _with_unit(words: str, unit: str) -> str:
    return f"{words} {_plain(unit)}" if unit else words


REPORTED: tuple[tuple[str, str | Callable[[re.Match], str]], ...] = (
    # times are told from the time points themselves
    (r"(Read '|Column '|The values of ').*\.", ""),
    # of what was left as it is nothing is said
    (r"[\d,]+ features: kept all\.", ""),
    (r"Cells that are zero in every feature, kept, but .*", ""),
    (r"Features that are the same in every cell, kept, but .*", ""),
    (r"[\d,]+ cells? (?:is a copy|are copies) of another one .*", ""),
    (r"No cell of .* takes part\.", ""),
    (r".* is used as it is\.", ""),
    (r"The file holds [\d,]+ of the [\d,]+ cells that the result was made from; .*", ""),
    (
        r"([\d,]+ cells?) (?:has no time and is|have no time and are) left out\.",
        lambda m: f"{m[1]} without a time {_was(m[1])} left out.",
    ),
    (r"([\d,]+ cells?) left out, as asked for: (.*)\.", lambda m: f"{m[1]} {_was(m[1])} left out ({m[2]})."),
    (r"Missing values \(NaN\) count as 0, as asked for\.", "Missing values counted as 0."),
    (
        r"Features left out because values are missing or infinite, as asked for: ([\d,]+) of ([\d,]+)\.",
        r"Of \2 features, those with missing or infinite values (\1) were left out.",
    ),
    (
        r"Features left out because they are zero in every cell: ([\d,]+) of ([\d,]+)\.",
        r"Of \2 features, those that were zero in every cell (\1) were left out.",
    ),
    (
        r".* holds (?:.*): (?:as asked for, )?scaled each cell to ([\d,]+) counts and took log\(1 \+ x\)\.",
        r"Each cell was scaled to \1 counts in total, and log(1 + x) was taken.",
    ),
    (r".* holds .*: used as they are(?:; .*)?\.", "The values were used as they were, without normalisation."),
    (r"Kept the ([\d,]+) most variable of ([\d,]+) features\.", r"The \1 most variable of \2 features were kept."),
    (
        r"([\d,]+) features: reduced to (\d+) principal components, which hold (\d+)% of the variance\.",
        r"The \1 features were reduced to \2 principal components, which held \3 % of their variance.",
    ),
)
"""What :mod:`cellstream.snapshots` and :mod:`cellstream.preprocess` report, and what of it belongs into a paper."""


def _was(cells: str) -> str:
    return "was" if cells == "1 cell" else "were"


def retold(sentence: str) -> str:
    """A sentence of a report, in the past tense of a paper; nothing where it is told otherwise, or as it stands where
    it is none of :data:`REPORTED`."""
    for pattern, told in REPORTED:
        if found := re.fullmatch(pattern, sentence, re.DOTALL):
            return told(found) if callable(told) else found.expand(told)
    return _plain(sentence)


def _prepared(w: _Writer, account: Account) -> None:
    chosen = str(account.recipe.get("input", "X"))
    slot, _, name = chosen.partition(":")
    matrix = {"layer": f"the layer {_name(name)}", "obsm": f"the embedding {_name(name)} in obsm"}.get(slot, "matrix X")
    w.say(f"Features were read from {matrix}.")
    for sentence in filter(None, map(retold, account.snapshots.report)):
        w.say(sentence)
    w.say(f"Each cell was thus described by {counted(account.snapshots.x.shape[1], 'feature')}.")


def _masses(w: _Writer, account: Account) -> None:
    s = account.snapshots
    if not account.config.networks.growth:
        w.say("Growth was not learned, and populations were matched whatever their sizes.")
        return
    given = account.recipe.get("masses") is not None
    source = "given by hand" if given else "taken from the numbers of cells"
    if len(s.labels) <= MOST_POINTS:
        values = f": {_listed([f'{m:.4g}' for m in s.mass.tolist()])}"
    else:
        values = f", from {min(s.mass.tolist()):.4g} to {max(s.mass.tolist()):.4g}"
    w.say(f"The sizes of the population relative to the first time point were {source}{values}.")


# --- the method -------------------------------------------------------------------------------------------------------


def _layers(n: int, width: int) -> str:
    if not n:
        return "linear"
    return f"{n} hidden {'layer' if n == 1 else 'layers'} of {width} {'unit' if width == 1 else 'units'}"


def _networks(w: _Writer, config: Config) -> None:
    n = config.networks
    dimensions = f"{n.latent_dim} {'dimension' if n.latent_dim == 1 else 'dimensions'}"
    w.say(
        f"An autoencoder embedded the cells in {dimensions} (encoder: {_layers(n.encoder_layers, n.encoder_width)}; "
        f"decoder: {_layers(n.decoder_layers, n.decoder_width)}; activation: {ACTIVATIONS[n.autoencoder_activation]})."
    )
    if n.time_input == "added":
        w.say("The encoder added time, as a direction of its own, to one map of the features for all times.")
    else:
        w.say("The encoder was given the time together with the features.")
    scaling = dict(
        standardise="each feature was scaled to variance 1", common="all features were scaled by one common factor"
    )
    units = [scaling[n.input_scaling]] if n.input_scaling in scaling else []
    if n.time_separation != 1:
        units.append(f"time was weighted by {n.time_separation:g} against the features")
    if units:
        w.say(f"In the autoencoder, {' and '.join(units)}.")
    also = f" and the growth rate ({_layers(n.growth_layers, n.growth_width)})" if n.growth else ""
    w.say(
        f"In the embedding, {'networks' if n.growth else 'a network'} of time and place gave the velocity "
        f"({_layers(n.velocity_layers, n.velocity_width)}){also} of cells, with the activation "
        f"{ACTIVATIONS[n.dynamics_activation]}."
    )
    if n.frame == "moving":
        what = "velocity and growth" if n.growth else "velocity"
        w.say(f"The networks learned how {what} depart from those of the population as a whole.")
    _solver(w, config)


def _solver(w: _Writer, config: Config) -> None:
    i = config.integration
    if i.method in FIXED_STEP:
        steps = f"{i.steps_per_interval} {'step' if i.steps_per_interval == 1 else 'steps'}"
        how = f"the {i.method} method in {steps} between neighbouring time points"
    else:
        how = f"the adaptive method {i.method} of torchdiffeq (tolerances: relative {i.rtol:g}, absolute {i.atol:g})"
    w.say(
        "Cells of the first time point were carried through all others by the resulting ordinary differential equation "
        f"({w.cite('chen2018neural')}), solved by {how}."
    )


def _matching(w: _Writer, config: Config, many: str) -> list[str]:
    """The losses of the dynamics, each with its weight."""
    terms, weights, grows = [], config.weights, config.networks.growth
    if weights.lambda_wfr:
        if grows:
            terms.append(
                "the Wasserstein–Fisher–Rao action of the paths, with growth weighted by α = "
                f"{weights.alpha:g} against movement ({w.cite('chizat2018interpolating')}; weight "
                f"{weights.lambda_wfr:g})"
            )
        else:
            terms.append(f"the kinetic action of the paths (weight {weights.lambda_wfr:g})")
    if weights.lambda_match and weights.lambda_ot:
        weight = weights.lambda_match * weights.lambda_ot
        terms.append(
            f"the 2-Wasserstein distance between predicted and observed {many} at each time point, by exact optimal "
            f"transport ({w.cite('flamary2021pot')}; weight {weight:g})"
        )
    if weights.lambda_match and weights.lambda_mass and grows:
        weight = weights.lambda_match * weights.lambda_mass
        terms.append(f"the deviation of predicted from observed population sizes (weight {weight:g})")
    return terms


def _losses(w: _Writer, account: Account) -> None:
    config, least = account.config, int(account.snapshots.counts.min())
    weights, schedule = config.weights, config.schedule
    terms = []
    if weights.lambda_ae:
        terms.append(f"the mean squared error of the decoded time and features (weight {weights.lambda_ae:g})")
    terms += _matching(w, config, "cells")
    if weights.lambda_neighbours:
        fewer = ", or a third of the cells where there were fewer" if least <= 3 * PERPLEXITY else ""
        terms.append(
            f"t-SNE's divergence within each time point ({w.cite('vandermaaten2008visualizing')}; perplexity "
            f"{PERPLEXITY}{fewer}; affinities by openTSNE, {w.cite('policar2024opentsne')}; weight "
            f"{weights.lambda_neighbours:g})"
        )
    if weights.lambda_between:
        terms.append(
            "the error of decoding what lies between cells coupled across neighbouring time points (weight "
            f"{weights.lambda_between:g})"
        )
    if weights.lambda_lineages:
        kind = "unbalanced " if config.networks.growth else ""
        also = f", after {w.cite('schiebinger2019optimal')}" if config.networks.growth else ""
        what = "velocity and growth" if config.networks.growth else "velocity"
        terms.append(
            f"the deviation of {what} from an {kind or 'optimal '}coupling of the cells in the input{also} (weight "
            f"{weights.lambda_lineages:g})"
        )
    if terms:
        w.say(f"The loss was the weighted sum of {_listed(terms)}.")
    if config.networks.latent_scale == "unit":
        w.say("Distances in the embedding were measured in units of its spread.")
    shaped = [
        name
        for name, weight in (
            (f"even steps between coupled cells (weight {weights.lambda_steps:g})", weights.lambda_steps),
            (f"the separation of the time points (weight {weights.lambda_separation:g})", weights.lambda_separation),
        )
        if weight
    ]
    if schedule.embedding_steps and shaped:
        w.say(f"Before there were dynamics, {_listed(shaped)} stood in the place of action and matching.")


def _training(w: _Writer, account: Account) -> None:
    config, name = account.config, str(account.recipe.get("preset") or "")
    s = config.schedule
    _preset(w, config, name)
    begun = []
    if s.start_steps:
        begun.append(f"{s.start_steps:,} steps that fitted the autoencoder to principal components")
    if s.embedding_steps:
        begun.append(f"{s.embedding_steps:,} steps that shaped the embedding")
    if s.warm_steps:
        what = "velocity and growth" if config.networks.growth else "velocity"
        begun.append(f"{s.warm_steps:,} steps that regressed {what} on couplings of neighbouring time points")
    adam = f"Adam ({w.cite('kingma2015adam')})"
    if begun:
        w.say(f"Training by {adam} began with {_listed(begun)} (learning rate {s.start_rate:g}).")
    if s.rounds:
        most = f"at most {counted(s.rounds, 'round')}"
        if account.rounds:
            most += f", of which {account.rounds:,} {'was' if account.rounds == 1 else 'were'} made"
        by = "" if begun else f" by {adam}"
        decay = ", falling to a tenth along a cosine" if s.decay else ""
        w.say(
            f"Block coordinate descent{by} followed, in {most}, each of "
            f"{counted(s.autoencoder_steps, 'step')} on the autoencoder with the dynamics fixed (learning rate "
            f"{s.autoencoder_rate:g}) and {counted(s.dynamics_steps, 'step')} on the dynamics with the embedding fixed "
            f"({s.dynamics_rate:g}){decay}; the model of the round of lowest loss was kept."
        )
    if account.stopped:
        w.say("Training was stopped before its end.")
    _batches(w, config)
    if s.held_out:
        w.say(
            f"A share of {s.held_out:g} of the cells of each time point that had at least {FEWEST} was held out from "
            "training."
        )
    if account.members:
        w.say(
            f"To see where velocity and growth are uncertain, {counted(account.members, 'further model')} of them "
            f"{'was' if account.members == 1 else 'were'} trained in the same embedding, each from another seed and on "
            f"a bootstrap sample of the cells of each time point ({w.cite('efron1979bootstrap')})."
        )


def _batches(w: _Writer, config: Config) -> None:
    s, compute = config.schedule, config.compute
    batches = max(s.batches, compute.devices)
    several = f"; the gradients of {batches:,} batches were averaged" if batches > 1 else ""
    reused = f", which served {s.updates_per_batch} updates" if s.updates_per_batch > 1 else ""
    w.say(f"A batch held at most {counted(s.batch_size, 'cell')} of each time point{reused}{several}.")


def changes(config: Config, name: str) -> dict[str, Any]:
    """The settings of the method that are other than in this preset: not those of the data and of the machine."""
    like = preset(name)
    return {
        item.name: getattr(getattr(config, section.name), item.name)
        for section in fields(config)
        if section.name not in ("preprocess", "compute")
        for item in fields(getattr(config, section.name))
        if getattr(getattr(config, section.name), item.name) != getattr(getattr(like, section.name), item.name)
        and item.name != "ensemble"
    }


def _preset(w: _Writer, config: Config, name: str) -> None:
    changed = changes(config, name) if name in PRESETS else {}
    if name not in PRESETS or len(changed) > MOST_CHANGES:
        w.say("Settings were chosen for this analysis.")
    elif changed:
        listed = _listed([f"{key} = {_value(value)}" for key, value in changed.items()])
        w.say(f"Settings were those of CellStream's preset ‘{name}’, but for {listed}.")
    else:
        w.say(f"Settings were those of CellStream's preset ‘{name}’.")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


# --- other methods ----------------------------------------------------------------------------------------------------

EMBEDDINGS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "PCA": ("principal components", ()),
    "t-SNE": ("a t-SNE embedding", ("vandermaaten2008visualizing",)),
    "UMAP": ("a UMAP embedding", ("mcinnes2018umap",)),
    "diffusion map": ("a diffusion map", ("coifman2006diffusion",)),
}
PAPERS = {"VeloViz": "atta2022veloviz", "MIOFlow": "huguet2022mioflow", "CytoBridge": "zhang2025deepruot"}


def _other_method(w: _Writer, account: Account) -> None:
    _, tigon, embedding = account.method.partition("TIGON + ")
    if tigon:
        _tigon(w, account, embedding)
    elif account.method in PAPERS:
        also = f"; {w.cite('sha2024tigon')}" if account.method == "VeloViz" else ""
        w.say(
            f"The method was {account.method} ({w.cite(PAPERS[account.method])}{also}): "
            f"{METHODS[account.method].text[0].lower()}{METHODS[account.method].text[1:]}"
        )
        w.say("Its settings were those with which CellStream compares it, and are not told here.")
    else:
        w.say(f"Of the method {_plain(account.method)} no more than its name is known to CellStream.")
    if account.recipe.get("quick"):
        w.say("This was a quick fit, which shows that all works; it is not to be quoted.")


def _tigon(w: _Writer, account: Account, embedding: str) -> None:
    config = account.config
    n, s = config.networks, config.schedule
    what, keys = EMBEDDINGS.get(embedding, (f"the embedding {_name(embedding)}", ()))
    known = f" ({w.cite(*keys)})" if keys else ""
    dimensions = f"{n.latent_dim} {'dimension' if n.latent_dim == 1 else 'dimensions'}"
    w.say(
        f"Velocity and growth were learned by the dynamics of TIGON ({w.cite('sha2024tigon')}), in CellStream's "
        f"implementation, in {what}{known} of {dimensions}, which was left as it was."
    )
    w.say(
        f"The networks for velocity ({_layers(n.velocity_layers, n.velocity_width)}) and growth "
        f"({_layers(n.growth_layers, n.growth_width)}) had the activation {ACTIVATIONS[n.dynamics_activation]}."
    )
    _solver(w, config)
    w.say(
        f"The loss was the weighted sum of {_listed(_matching(w, config, 'cells'))}; TIGON itself compares kernel "
        "densities instead."
    )
    w.say(
        f"They were fitted in {s.rounds * s.dynamics_steps:,} steps of Adam ({w.cite('kingma2015adam')}; learning rate "
        f"{s.dynamics_rate:g}, weight decay {WEIGHT_DECAY:g}), of at most {counted(s.batch_size, 'cell')} of each time "
        "point."
    )


# --- software and quality ---------------------------------------------------------------------------------------------


def _computed(w: _Writer, account: Account) -> None:
    c = account.config.compute
    exactness = "single" if c.precision == "float32" else "double"
    w.say(f"Computations were in {exactness} precision, with the random seed {c.seed}.")
    kept = account.recipe.get("versions")
    known = kept if isinstance(kept, Mapping) and kept else {}
    used = {**versions(), **known}
    own = known.get("cellstream") or account.version
    software = [f"CellStream {_plain(str(own or used['cellstream']))}", f"Python {_plain(str(used['Python']))}"]
    software += [
        f"{name} {_plain(str(used[key]))} ({w.cite(paper)})"
        for key, (name, paper) in SOFTWARE.items()
        if key != "openTSNE" or (account.method == METHOD and account.config.weights.lambda_neighbours)
    ]
    if known:
        w.say(f"The software was {_listed(software)}.")
    else:
        # of an earlier version of CellStream
        w.say(
            f"The software was {_listed(software)}; except for CellStream's own, these versions are those installed "
            "when this text was written, since the result does not tell its own."
        )


def _quality(w: _Writer, account: Account) -> None:
    m = account.metrics or {}

    def number(key: str, of: Mapping[str, Any] = m) -> str:
        value = of.get(key)
        return f"{value:.3f}" if isinstance(value, float | int) and math.isfinite(value) else ""

    def beside(key: str) -> str:
        return f" (plain PCA: {number(key)})" if number(key) else ""

    if number("vc") and number("tc"):
        w.say(
            f"In the embedding, scaled to a bounding box of longer side 1, with neighbourhoods of radius {RADIUS:g} "
            "that leave out the cell itself "
            f"({w.cite('ling2026cellstream')}), velocity consistency was {number('vc')} and time consistency "
            f"{number('tc')}{beside('tc_pca')}."
        )
    match = {label: at for label, at in (m.get("match") or {}).items() if number("w2", at) and number("floor", at)}
    if match:
        _matched(w, match)
    errors = [
        abs(at["predicted"] / at["observed"] - 1) for at in (m.get("mass") or {}).values() if at.get("observed", 0) > 0
    ]
    if errors and account.config.networks.growth and all(map(math.isfinite, errors)):
        w.say(f"Predicted population sizes were off the observed ones by at most {100 * max(errors):.1f} %.")
    if number("trust"):
        w.say(
            f"Trustworthiness within time points ({w.cite('venna2001neighborhood')}; {NEAREST} neighbours) was "
            f"{number('trust')}{beside('trust_pca')}."
        )
    if number("r2"):
        on = f", on {counted(m['r2_cells'], 'cell')} held out from training" if m.get("r2_unseen") else ""
        w.say(f"The decoder returned the features with R² = {number('r2')}{beside('r2_pca')}{on}.")


def _matched(w: _Writer, match: Mapping[str, Mapping[str, float]]) -> None:
    """Each distance beside that of two halves of the observed cells."""
    floor = "two random halves of the observed cells"
    if len(match) <= MOST_POINTS:
        each = "; ".join(f"{_plain(label)}: {at['w2']:.4f}, {at['floor']:.4f}" for label, at in match.items())
        w.say(
            "In units of that box, the 2-Wasserstein distances between predicted and observed cells, each followed by "
            f"that of {floor}, were ({each})."
        )
        return
    ratios = [at["w2"] / at["floor"] for at in match.values() if at["floor"] > 0]
    w.say(
        f"In units of that box, the 2-Wasserstein distances of predicted from observed cells were {min(ratios):.2f} to "
        f"{max(ratios):.2f} times those of {floor}."
    )


# --- words ------------------------------------------------------------------------------------------------------------


def _listed(parts: Iterable[str]) -> str:
    """a; a and b; a, b and c. Parts that hold commas are parted by semicolons."""
    parts = list(parts)
    mark = "; " if any(", " in part for part in parts) else ", "
    return _joined(parts, mark)


def _joined(parts: Sequence[str], mark: str) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{mark.join(parts[:-1])}{';' if mark == '; ' else ''} and {parts[-1]}"


def _plain(text: str) -> str:
    """A stranger's text in a sentence: one line of printable letters, and not too many."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return text if len(text) <= 4 * LONGEST else f"{text[: 4 * LONGEST - 1]}…"


def _name(text: str) -> str:
    """A stranger's name in a sentence."""
    text = _plain(text)
    return f"‘{text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'}’"

"""What two embeddings are worth, side by side: each number with its yardstick, and which is better where that can be
said. Most metrics can be bought by giving something else up, so none is judged alone."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from cellstream import metrics
from cellstream.benchmark.measures import worst_match
from cellstream.snapshots import Snapshots

Scores = Mapping[str, float]
LEFT, RIGHT, ALIKE, OPEN = "left", "right", "alike", ""
"""Which is better; OPEN where it cannot be said."""
PAID = 0.02
"""Trust that may be lost before a gain in VC or TC counts as bought by it."""
LONELY = 0.05
"""Share of cells without neighbours from which it is told."""
SAMPLED = 20_000
"""Cells, at most, whose neighbours vote for their label."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    name: str
    question: str
    """What it says, in plain words."""
    noise: float
    """Differences below it do not count."""
    higher: bool = True
    """Whether more is better."""
    bought: bool = False
    """Whether it can be bought by losing neighbours."""
    yardstick: Callable[[Scores], str] = lambda scores: ""
    """What stands beside the number."""
    form: str = "{:.2f}"
    caution: str = ""


def _beside(text: str, key: str, form: str = "{:.2f}") -> Callable[[Scores], str]:
    return lambda scores: text.format(form.format(scores[key])) if known(scores, key) else ""


def _match(scores: Scores) -> str:
    if not known(scores, "match_shift"):
        return ""
    return f"all move alike {scores['match_shift']:.1f}, nothing moves {scores['match_stays']:.1f}"


def _lonely(scores: Scores) -> str:
    return f"{scores['lonely']:.0%} of the cells have no neighbours" if scores.get("lonely", 0) > LONELY else ""


ROWS = (
    Row("trust", "Trust", "Are neighbours in the picture neighbours in the data, within a time point? 1 is best.", 0.01,
        yardstick=_beside("plain PCA {}", "trust_pca")),
    Row("tc", "TC", "Do neighbours share a time point? 1 is best.", 0.01, bought=True,
        yardstick=_beside("plain PCA {}", "tc_pca"),
        caution="It depends on the picture alone, and pulling time points apart raises it: read it with Trust."),
    Row("vc", "VC", "Do neighbours move alike? 1 is best.", 0.01, bought=True,
        yardstick=_lonely,
        caution="The same arrow everywhere scores 1 too: read it with Direction."),
    Row("direction", "Direction", "Do arrows point to where the next time point's cells are? 1 is best.", 0.02,
        yardstick=_beside("one arrow for all {}", "direction_constant"),
        caution="What counts is how far it is above one and the same arrow for all cells."),
    Row("match", "W₂ / floor", "How far are predicted cells from observed ones in the picture, in multiples of the "
        "noise between two halves of the observed cells? 1 is best.", 0.1, higher=False, yardstick=_match,
        caution="Of the worst time point. At about 1, the prediction cannot be told from the data."),
    Row("match_input", "W₂ / floor, features", "The same, decoded back to the features of the data.", 0.1, higher=False,
        yardstick=_beside("decoding alone {}", "match_decoded"),
        caution="Decoding alone already costs what stands beside it. What is decoded is smoother than the data, so it "
        "can fall below 1."),
    Row("mass", "Size error", "By how much is the predicted population size off, at the worst time point? 0 is best.",
        0.02, higher=False, form="{:.1%}"),
    Row("r2", "R²", "How much of the features does the decoder give back? 1 is best.", 0.02,
        yardstick=_beside("plain PCA {}", "r2_pca")),
    Row("label", "Labels apart", "How often do a cell's 15 nearest neighbours vote for its own label? 1 is best.", 0.01,
        yardstick=_beside("the commonest label has {}", "label_chance", "{:.0%}"), form="{:.0%}"),
)  # fmt: skip


def known(scores: Scores, key: str) -> bool:
    """Whether there is such a number."""
    value = scores.get(key)
    return value is not None and math.isfinite(value)


@dataclass(frozen=True)
class Verdict:
    """Which side is better in a row, and what is to be said about it."""

    side: str
    why: str = ""


def verdict(row: Row, left: Scores, right: Scores) -> Verdict:
    """Which side is better, where that can be said honestly."""
    if not (known(left, row.key) and known(right, row.key)):
        return Verdict(OPEN)
    a, b = (max(s[row.key], 1.0) if row.key.startswith("match") else s[row.key] for s in (left, right))
    if abs(a - b) < row.noise:
        return Verdict(ALIKE, "No difference that counts.")
    side = LEFT if (a > b) == row.higher else RIGHT
    better, other = (left, right) if side == LEFT else (right, left)
    if row.bought and known(better, "trust") and known(other, "trust"):
        name, kept = max(
            (("the other side", other["trust"]), ("plain PCA", better.get("trust_pca", -math.inf))), key=itemgetter(1)
        )
        if kept - better["trust"] > PAID:
            said = f"Trust {better['trust']:.2f}; {name} {kept:.2f}"
            return Verdict(OPEN, f"Higher on the {side}, but bought: fewer neighbours kept ({said}).")
    if row.key == "vc" and known(better, "direction") and better["direction"] < better["direction_constant"]:
        return Verdict(OPEN, f"Higher on the {side}, but one arrow for all would point better.")
    if row.key == "match" and known(better, "match_shift") and better["match_shift"] <= better["match"]:
        return Verdict(OPEN, f"Lower on the {side}, but no better than moving all cells alike.")
    if row.key == "r2" and left.get("r2_unseen") != right.get("r2_unseen"):
        return Verdict(OPEN, "One is of cells that training has seen, the other of new ones.")
    return Verdict(side)


def flat(found: Mapping[str, Any]) -> dict[str, float]:
    """What the table needs of :func:`cellstream.evaluation.evaluate`; W₂ of the worst time point, over its floor."""
    scores = {key: float(value) for key, value in found.items() if isinstance(value, int | float)}
    if points := list(found.get("match", {}).values()):
        worst = worst_match(points)
        scores |= _numbers(match=worst["w2"], match_stays=worst["stays"], match_shift=worst["shift"])
        inputs = [point["input"] for point in points if "input" in point]
        if inputs and (ratio := worst_match(inputs)["w2"]) is not None:
            at = max(inputs, key=lambda p: p["w2"] / p["floor"])
            scores |= _numbers(match_input=ratio, match_decoded=at["autoencoder"] / at["floor"])
    if masses := list(found.get("mass", {}).values()):
        scores["mass"] = max(abs(p["predicted"] / p["observed"] - 1) for p in masses)
    return scores


def of_embedding(z: np.ndarray, snapshots: Snapshots) -> dict[str, float]:
    """What can be said of an embedding ``z (n, d)`` without dynamics. Takes seconds."""
    x, index = snapshots.x.numpy(), snapshots.index.numpy()
    pca = metrics.principal_components(x, z.shape[1])
    found = metrics.consistency(z, np.zeros_like(z), index)
    return dict(
        tc=found.tc,
        lonely=found.lonely,
        tc_pca=metrics.consistency(pca, np.zeros_like(pca), index).tc,
        trust=metrics.trust_within(x, z, index),
        trust_pca=metrics.trust_within(x, pca, index),
    )


def of_labels(z: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Whether the labels (n,) are apart in the embedding ``z (n, d)``, and the share of the commonest one."""
    if len(z) > SAMPLED:
        some = np.random.default_rng(0).choice(len(z), SAMPLED, replace=False)
        z, labels = z[some], labels[some]
    names, counts = np.unique(labels[metrics.labelled(labels)].astype(str), return_counts=True)
    if len(names) < 2:
        return {}
    return dict(label=metrics.label_accuracy(z, labels), label_chance=float(counts.max() / counts.sum()))


def verdicts(left: Scores, right: Scores, same: bool) -> dict[str, Verdict]:
    """The verdict of each row by its key; of different data none: what is hard in one may be easy in the other."""
    return {row.key: verdict(row, left, right) if same else Verdict(OPEN) for row in ROWS}


def as_csv(left: Scores, right: Scores, names: tuple[str, str], same: bool = True) -> str:
    """The table as a file: one line per metric."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["metric", *names, *(f"yardstick, {name}" for name in names), "better", "remark", "meaning"])
    judged = verdicts(left, right, same)
    for row in ROWS:
        found = judged[row.key]
        values = [f"{s[row.key]:.6g}" if known(s, row.key) else "" for s in (left, right)]
        better = {LEFT: names[0], RIGHT: names[1], ALIKE: "alike"}.get(found.side, "")
        beside = [row.yardstick(s) if known(s, row.key) else "" for s in (left, right)]
        remark = " ".join(filter(None, (found.why, row.caution)))
        writer.writerow([row.name, *values, *beside, better, remark, row.question])
    return out.getvalue()


def _numbers(**values: float | None) -> dict[str, float]:
    return {key: float(value) for key, value in values.items() if value is not None}

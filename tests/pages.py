"""Pages that stand alone, as tests need them: scenes whose cells and particles are known, and what is in a file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import anndata
import numpy as np
import pandas as pd
import torch

from cellstream.config import Config
from cellstream.scene import Scene
from cellstream.snapshots import Snapshots
from cellstream.state import State
from cellstream.stream import Flow, frames
from cellstream.web.packing import unpacked


def known_scene(config: Config, counts: tuple[int, ...] = (40, 60, 90), particles: int = 6) -> Scene:
    """Time points at 0, 1, 3, … d, whose cells lie around (4 i, i), in a plane; and particles that start at the first
    one's middle and go with time to the right, one above the other. Each doubles its mass per day, but the first one
    loses it."""
    rng = np.random.default_rng(5)
    index = np.repeat(np.arange(len(counts)), counts)
    times = np.array([i * (i + 1) / 2 for i in range(len(counts))])
    made = Snapshots(
        x=torch.tensor(rng.normal(size=(len(index), 5)), dtype=torch.float32),
        index=torch.tensor(index),
        times=torch.tensor(times),
        mass=torch.tensor(np.array(counts, np.float32) / counts[0]),
        labels=tuple(f"day {t:g}" for t in times),
        unit="d",
        features=tuple(f"gene {i}" for i in range(5)),
    )
    scene = Scene(State.initial(made, config).present(), made)
    scene.z = (rng.normal(size=(len(index), 2)) * 0.5 + index[:, None] * [4.0, 1.0]).astype(np.float32)
    moments, _ = frames(times)
    z = np.zeros((len(moments), particles, 2), np.float32)
    z[..., 0] = (8.0 * moments / times[-1])[:, None]
    z[..., 1] = np.linspace(-3, -2, particles)
    log_w = np.log(2.0) * np.repeat(moments[:, None], particles, 1)
    log_w[:, 0] *= -3
    scene.flow = Flow(moments, z, log_w.astype(np.float32))
    return scene


def known_data(scene: Scene) -> anndata.AnnData:
    """Cells of a known scene with a label, two numbers (one with gaps), the time, and genes."""
    n = len(scene.index)
    obs = pd.DataFrame(
        {
            "day": pd.Categorical([f"day {t:g}" for t in scene.t]),
            "kind": pd.Categorical(np.array(["alpha", "beta", "gamma"])[np.arange(n) % 3]),
            "depth": np.linspace(-2.5, 7.5, n),
            "gaps": np.where(np.arange(n) % 5 == 0, np.nan, np.arange(n) / 10),
        },
        index=[f"cell {i}" for i in range(n)],
    )
    var = pd.DataFrame(index=[f"gene {i}" for i in range(5)])
    return anndata.AnnData(scene.snapshots.x.numpy(), obs=obs, var=var)


@dataclass
class Read(HTMLParser):
    """What is in a page's file, by an html parser and not by patterns."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    inside: dict[str, str] = field(default_factory=dict)
    """Text of the elements ``script`` (by id or type), ``style`` and ``title``."""

    def __post_init__(self) -> None:
        super().__init__()
        self._in = ""

    @classmethod
    def of(cls, page: str) -> Read:
        found = cls()
        found.feed(page)
        found.close()
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        self._in = str(given.get("id") or given.get("type") or tag) if tag in ("script", "style", "title") else ""

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in:
            self.inside[self._in] = self.inside.get(self._in, "") + data

    @property
    def told(self) -> dict[str, Any]:
        return json.loads(self.inside["told"])

    def array(self, where: dict[str, Any]) -> np.ndarray:
        return unpacked(self.inside["arrays"], where)

    def points(self, where: dict[str, Any]) -> np.ndarray:
        """Columns x and y of something as (…, 2)."""
        return np.stack([self.array(where[axis]) for axis in "xy"], -1)

    def colour(self, label: str) -> dict[str, Any]:
        return next(colour for colour in self.told["colours"] if colour["label"] == label)

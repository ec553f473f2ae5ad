"""What every run of the comparison writes, and how it is started: NumPy alone, for each method has its own environment.

A run is one ``.npz``: ``points`` (times, n, features) and ``weights`` (times, n), where the cells of the first time
point are at each later one and how many each has become; what :class:`Clock` holds; ``version``; and ``settings``,
JSON. More clouds of the same run have names of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Made = TypeVar("Made")


@dataclass
class Clock:
    """What the functions cost that it was put around."""

    seconds: float = 0.0
    cpu: float = 0.0
    """Seconds of all threads: other work on the machine changes these less."""
    megabytes: float = 0.0
    """Peak of the whole process, imports included."""
    load: float = field(default_factory=lambda: os.getloadavg()[0])
    """The machine's, in the minute before this was made."""

    def around(self, function: Callable[..., Made]) -> Callable[..., Made]:
        """``function``, timed whenever it is called."""

        def timed(*args: Any, **kwargs: Any) -> Made:
            began, worked = time.perf_counter(), time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began
                self.cpu += time.process_time() - worked
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes on Linux, bytes on macOS
                self.megabytes = peak / (2**20 if sys.platform == "darwin" else 2**10)

        return timed


def asked(text: str) -> argparse.Namespace:
    """The arguments that all runs take."""
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument("--data", type=Path, required=True, help="an .h5ad, with the input in X and obs['time']")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="of each stage, instead of the method's own number")
    parser.add_argument("--latent-dim", type=int, help="of CellStream's embedding, instead of the preset's")
    return parser.parse_args()


def write(out: Path, clock: Clock, version: str, settings: dict[str, Any], **arrays: np.ndarray) -> None:
    """The run's file."""
    told = dict(**vars(clock), version=version, settings=json.dumps(settings))
    np.savez_compressed(out, **told, **{name: np.asarray(array, np.float64) for name, array in arrays.items()})

"""Arrays as text inside an html file: numbers of 8 and 16 bits one behind the other, deflated, in base64.

What a reader's page needs to find an array again stands beside it as plain JSON: its type, where it begins and how many
numbers it has. Numbers that stand for a scale come with the scale's ends.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np

STEPS = 65_534
"""Of a scale; the number above it stands for what is missing."""
MISSING = 65_535
NAMES = {"uint8": "u8", "uint16": "u16", "uint32": "u32"}
ALIGNED = 4
"""Bytes; an array of wider numbers may not begin anywhere."""


class Pack:
    """Arrays that become one text."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, array: np.ndarray) -> dict[str, Any]:
        """Keep an array of bytes or whole numbers without a sign; how to find it again."""
        array = np.ascontiguousarray(array)
        return self._add(array.astype(array.dtype.newbyteorder("<")).tobytes(), NAMES[array.dtype.name], array.size)

    def add_scale(self, values: np.ndarray, low: float, high: float) -> dict[str, Any]:
        """Keep numbers in 65,535 even steps from ``low`` to ``high``, its ends among them.

        What lies beyond is put at the end it lies beyond; what is no number stays none.
        """
        return self.add(steps(values, low, high)) | {"low": float(low), "high": float(high)}

    def add_json(self, value: Any) -> dict[str, Any]:
        """Keep any plain value."""
        words = json.dumps(value).encode()
        return self._add(words, "json", len(words))

    def _add(self, data: bytes, kind: str, n: int) -> dict[str, Any]:
        found = {"type": kind, "at": self._size, "n": n}
        data += bytes(-len(data) % ALIGNED)
        self._parts.append(data)
        self._size += len(data)
        return found

    def text(self) -> str:
        """All arrays, deflated (gzip), in base64; the same arrays are the same text."""
        return base64.b64encode(gzip.compress(b"".join(self._parts), compresslevel=9, mtime=0)).decode("ascii")


def steps(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers as 16 bits: 0 at ``low``, :data:`STEPS` at ``high``, :data:`MISSING` for what is no number."""
    values = np.asarray(values, np.float64)
    share = (values - low) / max(high - low, 1e-300)
    whole = np.round(np.clip(np.nan_to_num(share, posinf=1, neginf=0), 0, 1) * STEPS).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(MISSING), whole)


def unpacked(text: str, where: dict[str, Any]) -> np.ndarray:
    """An array out of :meth:`Pack.text` again, float64 where it stands for a scale: what a page's script reads."""
    data = gzip.decompress(base64.b64decode(text))
    kind = next(name for name, short in NAMES.items() if short == where["type"])
    array = np.frombuffer(data, np.dtype(kind).newbyteorder("<"), where["n"], where["at"])
    if "low" not in where:
        return array
    share = np.where(array == MISSING, np.nan, array.astype(np.float64) / STEPS)
    return where["low"] + share * (where["high"] - where["low"])

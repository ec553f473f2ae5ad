"""What a setting is: a dataclass field that explains itself, and the check of a value against it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import field
from typing import Any

from cellstream.errors import UserError


def setting(
    default: Any,
    doc: str,
    *,
    label: str = "",
    symbol: str = "",
    unit: str = "",
    bounds: tuple[float | None, float | None] | None = None,
    choices: tuple[Any, ...] = (),
) -> Any:
    """A dataclass field that explains itself.

    ``bounds`` are inclusive, ``None`` on a side that is open; ``choices`` lists the valid values of a string.
    """
    metadata = dict(doc=doc, label=label, symbol=symbol, unit=unit, bounds=bounds, choices=choices)
    return field(default=default, metadata=metadata)


def checked(item: dataclasses.Field, value: Any) -> Any:
    """``value`` as the field's type and within its bounds, or a sentence."""
    kind: type = type(item.default)
    name, meta = item.name, item.metadata
    try:
        if kind is bool and isinstance(value, str):
            value = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[value.lower()]
        elif kind is int and float(value) != int(float(value)):
            raise ValueError
        else:
            value = int(float(value)) if kind is int else kind(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise UserError(f"{name} expects {described(kind)}, but got {value!r}.") from None
    if meta["choices"] and value not in meta["choices"]:
        raise UserError(f"{name} expects one of {', '.join(map(str, meta['choices']))}, but got {value!r}.")
    if meta["bounds"]:
        low, high = meta["bounds"]
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            span = f"at least {low}" if high is None else f"at most {high}" if low is None else f"{low} to {high}"
            finite = "" if math.isfinite(value) else " and finite"
            raise UserError(f"{name} expects {span}{finite}, but got {value}.")
    return value


def described(kind: type) -> str:
    """What a value of this type is, in words for people."""
    return {int: "a whole number", float: "a number", bool: "yes or no", str: "a word"}[kind]

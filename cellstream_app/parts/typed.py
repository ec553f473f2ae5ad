"""What was typed into a field, as numbers and names."""

from __future__ import annotations

import math

import panel_material_ui as pmui

from cellstream.errors import UserError


def number_in(field: pmui.TextInput) -> float | None:
    """The number that was typed; None where nothing was. Raises :class:`UserError`."""
    typed = field.value.strip().replace(",", ".")
    try:
        number = float(typed) if typed else None
        if number is None or math.isfinite(number):
            return number
        raise ValueError
    except ValueError:
        raise UserError(f"Expected a number for “{field.label}”, but got '{field.value}'.") from None


def names_in(field: pmui.TextInput) -> tuple[str, ...]:
    """The names that were typed with commas between them, each once."""
    return tuple(dict.fromkeys(name.strip() for name in field.value.split(",") if name.strip()))

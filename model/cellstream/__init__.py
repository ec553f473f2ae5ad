"""CellStream: embeddings and continuous dynamics of time-series single-cell data (Ling et al., AAAI 2026).

>>> import cellstream as cs
>>> result = cs.fit(adata, time_key="day")
>>> cs.figures.embedding(result)

What is named here is imported when it is first asked for, so that ``import cellstream`` and the command line's help
come at once.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own takes longer to import than all the rest here
if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

_NAMES = {
    "fit": "cellstream.api",
    "load": "cellstream.api",
    "export": "cellstream.api",
    "settings": "cellstream.api",
    "CellStream": "cellstream.stream",
    "UserError": "cellstream.errors",
}
"""Where each public name comes from."""
_MODULES = ("datasets", "figures", "presets")
"""Modules that are there without an import of their own."""

__all__ = ["__version__", *_NAMES, *_MODULES]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"cellstream.{name}")
    if name in _NAMES:
        found = globals()[name] = getattr(import_module(_NAMES[name]), name)
        return found
    raise AttributeError(f"module 'cellstream' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""The screen of CellStream: an app, ``panel serve cellstream_app``, and its explorer for a cell of a notebook.

>>> from cellstream_app import explore
>>> explore(result)
"""

from __future__ import annotations

from typing import Any

__all__ = ["explore"]


def __getattr__(name: str) -> Any:
    if name == "explore":  # it imports the whole screen, which nobody else who imports the package needs at once
        from cellstream_app.notebook import explore

        return explore
    raise AttributeError(f"module 'cellstream_app' has no attribute '{name}'")

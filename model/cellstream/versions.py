"""The software that a result depends on, by its versions; a run keeps those that it was made with."""

from __future__ import annotations

import platform
from importlib import metadata

from cellstream import __version__

PACKAGES = ("torch", "torchdiffeq", "POT", "scanpy", "anndata", "openTSNE")
"""By the names by which they are known and installed, which differ in case at most."""


def versions() -> dict[str, str]:
    """Versions by name: CellStream, Python and :data:`PACKAGES`, as they are installed here."""
    return {
        "cellstream": __version__,
        "Python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
    }

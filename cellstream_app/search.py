"""Names out of thousands, found while they are typed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

MOST = 40
"""Names that are offered at once."""


class Names:
    """Names to be searched, of either case."""

    def __init__(self, names: Sequence[str]):
        self.names = list(names)

    @cached_property
    def _folded(self) -> list[str]:
        return [name.casefold() for name in self.names]

    def matches(self, typed: str) -> list[str]:
        """The name that is typed, then those that begin with it, then those that have it elsewhere."""
        words = typed.strip().casefold()
        starts = [i for i, name in enumerate(self._folded) if name.startswith(words)]
        starts.sort(key=lambda i: self._folded[i] != words)
        if len(starts) < MOST:
            starts += [i for i, name in enumerate(self._folded) if words in name and not name.startswith(words)]
        return [self.names[i] for i in starts[:MOST]]

    def called(self, typed: str) -> str | None:
        """The name of these letters, whatever its case; None where there is none."""
        words = typed.strip()
        if words in self.names:
            return words
        return self.names[self._folded.index(words.casefold())] if words.casefold() in self._folded else None

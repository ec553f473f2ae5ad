"""What depends on the time is drawn when it has changed, and never more than the server bears."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

BREATH = 2.0
"""While time plays, drawing rests so many times as long as it took: others want the server too."""


class Pacer:
    """Calls ``draw`` where something is ``stale``, at one of the session's beats; one picture at a time.

    ``cost`` tells the seconds that the last one took.
    """

    def __init__(self, draw: Callable[[], Awaitable[None]], cost: Callable[[], float]):
        self.draw, self.cost = draw, cost
        self.stale = False
        """Whether what is drawn is no longer what is to be seen."""
        self._drawing, self._drawn_at = False, float("-inf")

    async def beat(self, playing: bool) -> None:
        """Draw, if it is time to; ``playing``: whether the time runs, so that the next change is near."""
        resting = playing and time.monotonic() - self._drawn_at < BREATH * self.cost()
        if self._drawing or not self.stale or resting:
            return
        self.stale, self._drawing = False, True
        try:
            await self.draw()
        finally:
            self._drawing, self._drawn_at = False, time.monotonic()

"""Work side by side on the processor's cores, for functions that let go of Python's lock, as POT's solvers do."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def side_by_side(function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """``function`` of each item, in their order. It must not call this itself: all threads might come to wait."""
    return list(_threads().map(function, items))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="cellstream")

"""Work side by side on the processor's cores, for functions that let go of Python's lock, as POT's solvers do; and
torch's share of the cores, kept from others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Found = TypeVar("Found")


def side_by_side(function: Callable[[Item], Found], items: Iterable[Item]) -> list[Found]:
    """``function`` of each item, in their order. It must not call this itself: all threads might come to wait."""
    return list(_threads().map(function, items))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="cellstream")


@contextmanager
def torch_threads() -> Iterator[None]:
    """Leave torch as many threads as it has; also a decorator.

    numba, and so scanpy, sets them to all processors, in the thread that it runs in: the fields, which are small, are
    then trained four times slower, and on a machine that does other things as well they stand nearly still.
    """
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)

"""Processes that train one model together, each on batches of its own (torch.distributed; data parallel).

All take the same update, from the mean of their gradients. Not torch's DistributedDataParallel, which wraps the forward
call of one module: our losses call four networks any number of times, within the solution of an ODE.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import torch
import torch.distributed as group
from torch import Tensor

from cellstream.errors import UserError

CPU = torch.device("cpu")
PATIENCE = timedelta(days=365)
"""How long a process waits for the others: a run may be paused."""
LOST = (
    "One of the {n} processes that train together was lost: it was killed, or ran out of memory. Resume goes on from "
    "the last checkpoint."
)


@dataclass(frozen=True)
class Team:
    """This process's place among those that train together."""

    rank: int = 0
    size: int = 1
    device: torch.device = CPU
    """Where what they tell each other has to lie."""

    def share(self, n: int) -> range:
        """Which of ``n`` batches are this process's own."""
        return range(self.rank, n, self.size)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Put in the place of each tensor its sum over all processes."""
        if self.size == 1:
            return
        joined = torch.cat([t.detach().flatten() for t in tensors])
        self._together(lambda: group.all_reduce(joined))
        for tensor, part in zip(tensors, joined.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def of_first(self, value: float) -> float:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=self.device)
        self._together(lambda: group.broadcast(told, 0))
        return told.item()

    def _together(self, talk: Callable[[], object]) -> None:
        try:
            talk()
        except RuntimeError as error:  # the other end of a connection is gone
            raise UserError(LOST.format(n=self.size)) from error


ALONE = Team()


@contextmanager
def joined(place: Path, rank: int, size: int, device: torch.device) -> Iterator[Team]:
    """Be one of ``size`` processes of this machine, which meet at a file in ``place``; all must come.

    Each GPU is for one process. Connections are made within this machine alone.
    """
    loopback = _loopback()
    if loopback:
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", loopback)
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = group.FileStore(str(place / "store"), size)
    group.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield Team(rank, size, device)
    finally:
        group.destroy_process_group()


def _loopback() -> str | None:
    """Name of the network interface that leads nowhere but to this machine."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.address == "127.0.0.1" for one in addresses):
            return name
    return None

"""How much memory may be taken, and the sentence for those who ask for more."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from cellstream.errors import UserError
from cellstream.files import size_in_words

_GROUPS, _MINE = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def free() -> int:
    """Bytes that this process may still take.

    What the machine has, what a container or a cluster's job leaves (Linux control groups, which the machine's own
    number does not show), and what the variable ``CELLSTREAM_MEMORY`` allows the process in all, in gigabytes.
    """
    limits = [psutil.virtual_memory().available, *_group_limits()]
    if allowed := os.environ.get("CELLSTREAM_MEMORY"):
        limits.append(int(_gigabytes(allowed)) - psutil.Process().memory_info().rss)
    return max(min(limits), 0)


def require(needed: float, what: str, advice: str) -> None:
    """Refuse, before it is made, ``what`` takes more than the ``needed`` bytes that are free."""
    if needed > (available := free()):
        limit = ", and CELLSTREAM_MEMORY allows no more" if "CELLSTREAM_MEMORY" in os.environ else ""
        raise UserError(
            f"{what} needs {size_in_words(needed)} of memory but {size_in_words(available)} are free{limit}: {advice}."
        )


def _gigabytes(words: str) -> float:
    try:
        size = float(words) * 1e9
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise UserError(f"Expected a number of gigabytes in CELLSTREAM_MEMORY, such as 8, but found {words!r}.")
    return size


def _group_limits() -> list[int]:
    """What is left in each control group (version 2) that the process is in; files kept in memory can be let go."""
    try:
        line = next(line for line in _MINE.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return []
    here, found = _GROUPS / line[3:].lstrip("/"), []
    for group in (here, *here.parents):
        if not group.is_relative_to(_GROUPS):
            break
        try:
            limit = (group / "memory.max").read_text().strip()
            if limit != "max":
                said = dict(row.split() for row in (group / "memory.stat").read_text().splitlines())
                used = int((group / "memory.current").read_text())
                found.append(int(limit) - used + int(said.get("inactive_file", 0)))
        except (OSError, ValueError):
            continue
    return found

"""How many connections each web process has, in memory that they share: the one with the fewest accepts the next.

All of them wait for connections at one socket, and the first to wake up would accept most of a burst, which then share its
interpreter for as long as they are kept open.
"""

from __future__ import annotations

import mmap
import os

SLOTS = 64
"""Processes with counts of their own; more than that share some, which costs nothing but balance."""


class ConnectionCounts:
    """Process ID and number of connections of each process; created before they are forked."""

    def __init__(self) -> None:
        self._values = memoryview(mmap.mmap(-1, 2 * 4 * SLOTS)).cast("i")

    def record(self, process: int, pid: int, count: int) -> None:
        """Set the count of a process, which the ``process``-th fork started; with the ID 0 it has ended."""
        slot = 2 * (process % SLOTS)
        self._values[slot], self._values[slot + 1] = pid, count

    def is_exceeded_by(self, count: int) -> bool:
        """Return whether a running process has fewer connections than ``count``."""
        values = self._values.tolist()
        return any(pid and other < count and _is_running(pid) for pid, other in zip(*[iter(values)] * 2, strict=True))


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:  # it was killed
        return False
    return True

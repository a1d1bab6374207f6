"""Start programs that end with their starter, know them again by number and time of start, and end just those."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 10.0
"""What a program has to end by itself [s]."""
PAUSE = 0.05


@dataclass(frozen=True)
class Program:
    """A running program: a number alone may be another program's by now."""

    name: str
    pid: int
    started: int
    """In ticks since the machine started, as the kernel counts."""

    @classmethod
    def of(cls, name: str, pid: int) -> Program:
        """Take note of a program that runs."""
        return cls(name, pid, _started(pid))

    @property
    def runs(self) -> bool:
        """Whether it is still there, and no zombie."""
        with contextlib.suppress(OSError):
            return _started(self.pid) == self.started and _fields(self.pid)[0] != "Z"
        return False

    @property
    def memory(self) -> int:
        """What it holds in memory [MiB]."""
        with contextlib.suppress(OSError):
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
        return 0


def start(name: str, command: Sequence[object], environment: Mapping[str, str], log: Path) -> Program:
    """Start a program that gets SIGTERM when this thread ends, so start it from the main one."""
    words = [sys.executable, "-m", "stargaze.system.die_with_parent", str(os.getpid()), *map(str, command)]
    with log.open("ab") as file:
        # waited for in `end`, or by nobody when this process ends
        process = subprocess.Popen(
            words, env=dict(environment), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    _CHILDREN[process.pid] = process
    return Program.of(name, process.pid)


def end(programs: Sequence[Program]) -> None:
    """End them all at once: politely, then not."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        for one in programs:
            if one.runs:
                os.kill(one.pid, how)
        limit = time.monotonic() + PATIENCE
        while any(one.runs for one in programs) and time.monotonic() < limit:
            time.sleep(PAUSE)
    for one in programs:
        if child := _CHILDREN.pop(one.pid, None):
            child.wait()


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


def _fields(pid: int) -> list[str]:
    """Return what the kernel says of a process from its state on: the name before it may hold anything."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _started(pid: int) -> int:
    return int(_fields(pid)[19])

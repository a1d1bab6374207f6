"""Start programs that end with their parent, recognize them by pid and start time, and stop only those."""

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

TIMEOUT = 10.0
"""Time for a program to stop after SIGTERM [s]."""
PAUSE = 0.05


@dataclass(frozen=True)
class Program:
    """A running program; its start time distinguishes it from a later program with the same pid."""

    name: str
    pid: int
    started: int
    """Clock ticks between the boot of the machine and the start."""

    @classmethod
    def from_pid(cls, name: str, pid: int) -> Program:
        """Describe a running program."""
        return cls(name, pid, _started(pid))

    @property
    def is_running(self) -> bool:
        """Whether it is running and not a zombie."""
        with contextlib.suppress(OSError):
            return _started(self.pid) == self.started and _fields(self.pid)[0] != "Z"
        return False

    @property
    def memory(self) -> int:
        """Resident memory [MiB]."""
        with contextlib.suppress(OSError):
            pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") // 2**20
        return 0


def start_program(name: str, command: Sequence[object], environment: Mapping[str, str], log: Path) -> Program:
    """Start a program that gets SIGTERM when this thread ends; call this from the main thread."""
    argv = [sys.executable, "-m", "stargaze.system.die_with_parent", str(os.getpid()), *map(str, command)]
    with log.open("ab") as file:
        # `stop_programs` waits for it
        process = subprocess.Popen(
            argv, env=dict(environment), stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    _CHILDREN[process.pid] = process
    return Program.from_pid(name, process.pid)


def stop_programs(programs: Sequence[Program]) -> None:
    """Stop all programs at the same time: by SIGTERM, then by SIGKILL."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        for program in programs:
            if program.is_running:
                os.kill(program.pid, signal_number)
        limit = time.monotonic() + TIMEOUT
        while any(program.is_running for program in programs) and time.monotonic() < limit:
            time.sleep(PAUSE)
    for program in programs:
        if child := _CHILDREN.pop(program.pid, None):
            child.wait()


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


def _fields(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat after the name, which may contain any character."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _started(pid: int) -> int:
    return int(_fields(pid)[19])

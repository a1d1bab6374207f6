"""A process a family, on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from stargaze.system.text import last_line
from stargaze.tuning.executors.executor import ONE_THREAD, Executor, Job


class Process:
    """A family in a process; what it complains of goes to a file."""

    def __init__(self, job: Job) -> None:
        program = ["stargaze.tuning.executors.run_family", job.family, str(job.folder), str(job.folder), str(job.seed)]
        command = [sys.executable, "-m", "stargaze.system.die_with_parent", str(os.getpid())]  # it ends with this one
        self._log = job.folder / f"{job.family}.log"
        with self._log.open("wb") as stream:
            self._process = subprocess.Popen(
                [*command, sys.executable, "-m", *program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                env={**os.environ, **ONE_THREAD},
            )

    def ended(self) -> bool:
        """Tell whether the process is over."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End the process at once and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def complaint(self) -> str:
        """Return the last line that it wrote, or how it ended."""
        return _last_line(self._log) or _describe_exit(self._process.returncode)


class _Processes:
    def __init__(self) -> None:
        self.at_once = len(os.sched_getaffinity(0))
        self.started: list[Process] = []

    def start(self, job: Job) -> Process:
        self.started.append(Process(job))
        return self.started[-1]


@contextlib.contextmanager
def processes() -> Iterator[Executor]:
    """Run families in processes of this machine; those that are at work at the end are ended."""
    here = _Processes()
    try:
        yield here
    finally:
        for one in here.started:
            one.kill()


def _last_line(log: Path) -> str:
    """Return the last line that a program wrote, where Python says what ended it."""
    return last_line(log.read_text(encoding="utf-8", errors="replace"), "")


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"ended with {code}"
    out_of_memory = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
    return f"ended by signal {-code} ({signal.Signals(-code).name}){out_of_memory}"

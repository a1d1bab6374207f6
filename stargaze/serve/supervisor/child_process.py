"""One process that the supervisor started: its log and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stargaze.system.files import convert_disk_errors
from stargaze.system.isolated_python import PYTHON, python_path

STOP_TIMEOUT = 10.0
"""Time between SIGTERM and SIGKILL [s]."""
MAX_LOG = 10_000_000
"""A larger log is renamed to ``.old`` at the next start [bytes]."""
TAIL_LINES = 15
"""Lines of the log that an error shows."""


@dataclass(frozen=True)
class ChildProcess:
    """A process, and where the log of this run starts."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    log_start: int

    def has_ended(self) -> bool:
        """Return whether it ended by itself."""
        return self.process.poll() is not None

    def describe_exit(self) -> str:
        """Return how it ended, with its last lines."""
        code = self.process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"the {self.name} process {how}\n{self.log_tail()}"

    def log_tail(self) -> str:
        """Return the last lines that it wrote in this run."""
        with contextlib.suppress(OSError), self.log.open("rb") as stream:
            stream.seek(self.log_start)
            lines = stream.read().decode("utf-8", errors="replace").splitlines()
            return "\n".join(f"  {self.name}: {line}" for line in lines[-TAIL_LINES:])
        return ""

    def terminate(self) -> None:
        """Let it finish its work and end."""
        if not self.has_ended():
            self.process.terminate()

    def wait_or_kill(self) -> None:
        """Wait for its end; after a timeout kill it and its own children."""
        try:
            self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:  # not reaped, so the process group of its pid is still its own
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def start_child(
    name: str,
    command: list[str],
    environment: Mapping[str, str],
    log: Path,
    folder: Path,
    *,
    pass_fds: tuple[int, ...] = (),
) -> ChildProcess:
    """Start a Python module that ends with this process; ``pass_fds`` are the file descriptors that it inherits.

    It gets its own process group: Ctrl-C in the terminal reaches only the supervisor, which then stops all in order.
    """
    with convert_disk_errors(log):
        if log.exists() and log.stat().st_size > MAX_LOG:
            log.replace(log.with_suffix(".old"))
        with log.open("ab") as stream:
            log_start = stream.tell()
            process = subprocess.Popen(
                [*PYTHON, "stargaze.system.die_with_parent", str(os.getpid()), *PYTHON, *command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, "PYTHONPATH": python_path(os.environ)},
                cwd=folder,
                pass_fds=pass_fds,
                start_new_session=True,
            )
    return ChildProcess(name, process, log, log_start)

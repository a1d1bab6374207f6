"""One process that the supervisor started: its log and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
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
        """Return whether it ended by itself. It is not reaped yet, so its process group remains its own."""
        if self.process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def describe_exit(self) -> str:
        """Return how it ended, with its last lines."""
        code = self.process.wait()
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
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """Kill it and its own children, also those that outlived it."""
        if self.process.returncode is None:  # not reaped, so the process group of its pid is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def kill_children(self) -> None:
        """Kill the rest of its process group after its own end, before it is reaped."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def find_stopped(self) -> set[int]:
        """Return the processes of its tree that a signal has stopped."""
        return {pid for pid in _tree(self.process.pid) if _is_stopped(pid)}


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


def _tree(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            yield from _tree(int(child))


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "T"
        )
    return False

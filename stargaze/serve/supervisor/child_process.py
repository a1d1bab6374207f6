"""One process that the supervisor started: its log and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stargaze.serve.supervisor import rotate_log
from stargaze.system.files import convert_disk_errors
from stargaze.system.isolated_python import PYTHON, python_path
from stargaze.system.process import without_secrets
from stargaze.system.signals import signal_name

STOP_TIMEOUT = 10.0
"""Time between SIGTERM and SIGKILL [s]."""
MAX_LOG = 10_000_000
"""A log of this size is renamed to ``.old`` [bytes]."""
LOG_TIMEOUT = 5.0
"""How long the last lines of an ended process take to reach its log [s]."""
TAIL_LINES = 15
"""Lines of the log that an error shows."""


class LogFile:
    """The log of a process: a pipe, and the process that copies it to a file of limited size."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start = path.stat().st_size if path.exists() else 0
        """Where the log of this run starts."""
        with path.open("ab"):  # the error of a disk is raised here
            path.chmod(rotate_log.MODE)

    def start(self) -> int:
        """Start to copy; return the descriptor to write to."""
        self._pipe, output = os.pipe()
        self._start_copying()
        return output

    @property
    def pid(self) -> int:
        """The process that copies."""
        return self._copying.pid

    def check(self) -> None:
        """Continue if the process that copies was killed; the pipe keeps what was written meanwhile."""
        if self._copying.poll() is not None:
            self._start_copying()

    def finish(self) -> None:
        """Wait for the last lines of a process that has ended."""
        if self._pipe >= 0:
            with contextlib.suppress(subprocess.TimeoutExpired):  # something else still writes
                self._copying.wait(LOG_TIMEOUT)
            os.close(self._pipe)
            self._pipe = -1

    def read(self) -> bytes:
        """Return what was logged in this run, or since the log was renamed."""
        with contextlib.suppress(OSError), self.path.open("rb") as stream:
            if stream.seek(0, os.SEEK_END) >= self._start:
                stream.seek(self._start)
            else:
                stream.seek(0)
            return stream.read()
        return b""

    def _start_copying(self) -> None:
        program = [sys.executable, "-I", "-S", rotate_log.__file__, str(self.path.resolve()), str(MAX_LOG)]
        self._copying = subprocess.Popen(program, stdin=self._pipe, start_new_session=True, cwd="/", env={})


@dataclass(frozen=True)
class ChildProcess:
    """A process, and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: LogFile

    def has_ended(self) -> bool:
        """Return whether it ended by itself. It is not reaped yet, so its process group remains its own."""
        if self.process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def describe_exit(self) -> str:
        """Return how it ended, with its last lines."""
        code = self.process.wait()
        how = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return f"the {self.name} process {how}\n{self.log_tail()}"

    def log_tail(self) -> str:
        """Return the last lines that it wrote in this run."""
        if self.has_ended():
            self.log.finish()
        lines = self.log.read().decode("utf-8", errors="replace").splitlines()
        return "\n".join(f"  {self.name}: {line}" for line in lines[-TAIL_LINES:])

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
        self.log.finish()

    def kill(self) -> None:
        """Kill it and its own children, also those that outlived it."""
        self.kill_children()
        self.process.wait()
        self.log.finish()

    def kill_children(self) -> None:
        """Kill the rest of its process group after its own end, before it is reaped."""
        if self.process.returncode is None:  # not reaped, so the process group of its pid is still its own
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def find_stopped(self) -> set[int]:
        """Return the processes of its tree, and of its log, that a signal has stopped."""
        return {pid for pid in (*_tree(self.process.pid), self.log.pid) if _is_stopped(pid)}


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
        log_file = LogFile(log)
        with os.fdopen(log_file.start(), "wb") as output:
            process = subprocess.Popen(
                [*PYTHON, "stargaze.system.die_with_parent", str(os.getpid()), *PYTHON, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**without_secrets(os.environ), **environment, "PYTHONPATH": python_path(os.environ)},
                cwd=folder,
                pass_fds=pass_fds,
                start_new_session=True,
            )
    return ChildProcess(name, process, log_file)


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

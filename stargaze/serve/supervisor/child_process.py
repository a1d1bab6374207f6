"""One process that the supervisor started: its log, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import stargaze
from stargaze.system.files import convert_disk_errors

PATIENCE = 10.0
"""How long a process may finish what it does before it is killed [s]."""
LARGEST_LOG = 10_000_000
"""A larger log becomes ``.old`` at the next start [bytes]."""
TAIL = 15
"""Lines of the log that an error shows."""

PYTHON = (sys.executable, "-P", "-m")
"""-P: the folder it runs in is data, nothing is imported from it."""


@dataclass(frozen=True)
class Child:
    """A running process and where its log of this run begins."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    begin: int

    def ended(self) -> bool:
        """Notify whether it ended by itself."""
        return self.process.poll() is not None

    def death(self) -> str:
        """Notify how it ended, with the last lines that it wrote."""
        code = self.process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"the {self.name} process {how}\n{self.tail()}"

    def tail(self) -> str:
        """Return the last lines that it wrote in this run."""
        with contextlib.suppress(OSError), self.log.open("rb") as stream:
            stream.seek(self.begin)
            lines = stream.read().decode("utf-8", errors="replace").splitlines()
            return "\n".join(f"  {self.name}: {line}" for line in lines[-TAIL:])
        return ""

    def ask_to_end(self) -> None:
        """Let it finish what it does."""
        if not self.ended():
            self.process.terminate()

    def insist(self) -> None:
        """Wait for its end; kill it and its own children if that takes too long."""
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:  # so it was not reaped, and the group of its number is still its own
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def start_child(
    name: str,
    command: list[str],
    environment: Mapping[str, str],
    log: Path,
    folder: Path,
    *,
    keep: tuple[int, ...] = (),
) -> Child:
    """Start a Python module that ends with this one; ``keep`` are the file descriptors that it inherits.

    It gets a group of its own: Ctrl-C in the terminal reaches the supervisor only, which then ends all in order.
    """
    with convert_disk_errors(log):
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_suffix(".old"))
        with log.open("ab") as stream:
            begin = stream.tell()
            process = subprocess.Popen(
                [*PYTHON, "stargaze.system.die_with_parent", str(os.getpid()), *PYTHON, *command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, "PYTHONPATH": _python_path(os.environ)},
                cwd=folder,
                pass_fds=keep,
                start_new_session=True,
            )
    return Child(name, process, log, begin)


def _python_path(environ: Mapping[str, str]) -> str:
    """Let a checkout that is not installed find itself from the folder of the store."""
    paths = [str(Path(stargaze.__file__).parent.parent), environ.get("PYTHONPATH", "")]
    return os.pathsep.join(path for path in paths if path)

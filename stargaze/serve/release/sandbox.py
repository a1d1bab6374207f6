"""The sandbox: a process with limited memory and time, in which the models of a bundle are loaded first.

``python -m stargaze.serve.release.sandbox PARENT SECONDS MEGABYTES COMMAND…`` sets the limits and executes the command.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import stargaze
from stargaze.errors import ExternalError
from stargaze.system.signals import die_with_parent, signal_name
from stargaze.system.text import last_line, replace_unprintable

MAX_FILE = 1_000_000  # [byte] that the process may write to a file, including its stdout and stderr
PACKAGE_ROOT = Path(stargaze.__file__).resolve().parent.parent
# One thread and one arena: libraries and malloc reserve address space for each. No .pyc: nothing is to be written.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class SandboxError(ExternalError):
    """The command failed or exceeded a limit; the message says how."""

    code = "sandbox_error"


def clean_environment() -> dict[str, str]:
    """Return an environment without anything of the caller's but the search path: no token, password or setting."""
    return {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(PACKAGE_ROOT)}


def run_in_sandbox(command: Sequence[str], *, seconds: float, megabytes: int) -> bytes:
    """Return what a command writes to stdout; raise SandboxError if it fails or exceeds the time or the address space.

    A signal that ends the caller ends the command at once.
    """
    limits = [str(os.getpid()), f"{seconds:g}", str(megabytes)]
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "stargaze.serve.release.sandbox", *limits, *command],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd="/",
            env=clean_environment() | _ENVIRONMENT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise SandboxError(f"it did not end within {seconds:g} s") from error
        finally:
            # A command that sudo runs has rights of its own; the program that it runs has a time limit.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if code:
            raise SandboxError(_describe_failure(code, stderr))
        stdout.seek(0)
        return stdout.read()


def _describe_failure(code: int, stderr: IO[bytes]) -> str:
    """Return the last line of stderr, or the signal or exit code."""
    if code < 0:
        return f"the process that loads it was killed by {signal_name(-code)}"
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - 4096))
    line = last_line(stderr.read(), f"exit code {code}")
    return replace_unprintable(line, replacement=" ")[:300].strip()


def main(arguments: Sequence[str]) -> None:
    """Set the limits of this process and execute the command."""
    parent, seconds, megabytes, *command = arguments
    die_with_parent(int(parent), signal.SIGKILL)  # a killed caller leaves no process behind
    memory, cpu = int(megabytes) * 1_000_000, int(float(seconds)) + 1
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE, MAX_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.execv(command[0], command)  # noqa: S606 - a list of our own, no shell


if __name__ == "__main__":
    main(sys.argv[1:])

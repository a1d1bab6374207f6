"""Load an untrusted model once, in a process of its own with limited memory and time."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from stargaze.serve.release.commit_tree import RefusedError
from stargaze.serve.release.record import printable
from stargaze.serve.release.repository import HookPolicy, hook_environment
from stargaze.system.signals import die_with_parent
from stargaze.system.text import last_line

MAX_FILE = 1_000_000  # [byte] that the process may write to a file, including its stderr
# One thread and one arena: libraries and malloc reserve address space for each. No .pyc: nothing is to be written.
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def load_in_sandbox(folder: Path, policy: HookPolicy) -> None:
    """Run the policy's ``verify_command`` on the bundle; refuse the release if it fails or exceeds a limit."""
    with tempfile.TemporaryFile() as stderr:
        code = _run_limited([*policy.verify_command, str(folder)], policy, stderr)
        if code:
            reason = _describe_failure(code, stderr).replace(str(folder), folder.name[:12])  # not a temporary path
            raise RefusedError(f"the bundle does not load: {reason}")


def _run_limited(command: list[str], policy: HookPolicy, stderr: IO[bytes]) -> int:
    parent = os.getpid()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        cwd="/",
        env=hook_environment() | _ENVIRONMENT,
        start_new_session=True,
        preexec_fn=lambda: _set_limits(policy, parent),  # noqa: PLW1509 - one thread, so nothing can deadlock
    )
    try:
        return process.wait(timeout=policy.load_timeout)
    except subprocess.TimeoutExpired as error:
        raise RefusedError(f"the bundle did not load within {policy.load_timeout:g} s") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _set_limits(policy: HookPolicy, parent: int) -> None:
    die_with_parent(parent, signal.SIGKILL)  # a killed hook leaves no process behind
    memory = policy.load_megabytes * 1_000_000
    seconds = int(policy.load_timeout) + 1
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE, MAX_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _describe_failure(code: int, stderr: IO[bytes]) -> str:
    """Return the last line of stderr, or the signal or exit code."""
    if code < 0:
        return f"the process that loads it was killed by {signal.Signals(-code).name}"
    stderr.seek(max(0, stderr.seek(0, os.SEEK_END) - 4096))
    return printable(last_line(stderr.read(), f"exit code {code}"), 300)

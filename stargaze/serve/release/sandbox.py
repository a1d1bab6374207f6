"""Load a model that nobody has loaded yet: once, in a process of its own that may crash, hang or swell without harm."""

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
from stargaze.serve.release.repository import HookPolicy, command_environment
from stargaze.system.signals import end_with

MOST_SAID = 1_000_000  # [byte] that the process may write to any file, its complaint among them


def load_in_sandbox(folder: Path, rules: HookPolicy) -> None:
    """Run the rules' ``verify`` command on the bundle and refuse the release if it does not end well in time."""
    with tempfile.TemporaryFile() as said:
        code = _run([*rules.verify, str(folder)], rules, said)
        if code:
            reason = _reason(code, said).replace(str(folder), folder.name[:12])  # a temporary path would tell nothing
            raise RefusedError(f"the bundle does not load: {reason}")


def _run(command: list[str], rules: HookPolicy, said: IO[bytes]) -> int:
    # One thread and one arena: libraries and malloc reserve address space for each. No .pyc: nothing is to be written.
    frugal = {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    parent = os.getpid()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=said,
        cwd="/",
        env=command_environment() | frugal,
        start_new_session=True,
        preexec_fn=lambda: _limit(rules, parent),  # noqa: PLW1509 - this process has one thread, so nothing can deadlock
    )
    try:
        return process.wait(timeout=rules.seconds)
    except subprocess.TimeoutExpired as error:
        raise RefusedError(f"the bundle did not load within {rules.seconds:g} s") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _limit(rules: HookPolicy, parent: int) -> None:
    end_with(parent, signal.SIGKILL)  # a hook that is killed leaves nobody behind
    memory = rules.megabytes * 1_000_000
    seconds = int(rules.seconds) + 1
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_SAID, MOST_SAID))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _reason(code: int, said: IO[bytes]) -> str:
    """Return the last line that the process wrote, or what ended it."""
    if code < 0:
        return f"it ended the process that loads it ({signal.Signals(-code).name})"
    said.seek(max(0, said.seek(0, os.SEEK_END) - 4096))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    return printable(lines[-1], 300) if lines else f"exit code {code}"

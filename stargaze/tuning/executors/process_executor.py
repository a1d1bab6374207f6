"""Run each family in a process of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

from stargaze.system.isolated_python import PYTHON, python_path
from stargaze.system.process import without_secrets
from stargaze.system.signals import signal_name
from stargaze.system.text import last_line
from stargaze.tuning.executors.executor import ONE_THREAD, Executor, FamilyJob


class FamilyProcess:
    """A family in a process, which ends with this one; its stderr goes to a file."""

    def __init__(self, job: FamilyJob) -> None:
        program = ["stargaze.tuning.executors.run_family", job.family, str(job.folder), str(job.folder), *job.options]
        command = [*PYTHON, "stargaze.system.die_with_parent", str(os.getpid())]
        self._log = job.folder / f"{job.family}.log"
        with self._log.open("wb") as stream:
            self._process = subprocess.Popen(
                [*command, *PYTHON, *program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stream,
                env={**without_secrets(os.environ), **ONE_THREAD, "PYTHONPATH": python_path(os.environ)},
            )

    def has_ended(self) -> bool:
        """Return whether the process has ended."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        self._process.kill()
        self._process.wait()

    def failure_reason(self) -> str:
        """Return the last line of its stderr, where Python names the exception, or else its exit code."""
        return last_line(self._log.read_bytes(), "") or _describe_exit(self._process.returncode)


class _ProcessExecutor:
    def __init__(self) -> None:
        self.max_concurrent = len(os.sched_getaffinity(0))
        self.started: list[FamilyProcess] = []

    def start(self, job: FamilyJob) -> FamilyProcess:
        self.started.append(FamilyProcess(job))
        return self.started[-1]


@contextlib.contextmanager
def process_executor() -> Iterator[Executor]:
    """Run families in processes of this machine; kill those that still run at the end."""
    executor = _ProcessExecutor()
    try:
        yield executor
    finally:
        for process in executor.started:
            process.kill()


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    out_of_memory = ", perhaps out of memory" if code == -signal.SIGKILL else ""
    return f"killed by signal {-code} ({signal_name(-code)}){out_of_memory}"

"""Run test suites, which are targets of the Makefile, on all cores, and end with a table of minutes per suite.

python3 tools/run_suites.py SUITE...

Suites start in the given order, as soon as the cores that they need are free and the suites that they depend on have passed.
The output of a suite is printed when it ends. One that exceeds the time limit is stopped and has failed. The exit code is 1 if
a suite failed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

CORES = 2
"""Cores that the suites share. With more suites at a time all take as long together, and a Swarm exceeds its time limits."""
NEEDS = {"tests": 2, "unit": 2, "thorough": 2, "real": 2, "cluster": 2}
"""Cores that a suite keeps busy; 1 unless it is listed here."""
AFTER = {"install": (), "debian": ()}
"""Suites that a suite depends on, where they run as well; ("install",) unless it is listed here."""
LIMIT = 30 * 60.0
"""Time limit of a suite [s], about twice what the slowest takes. A test that hangs fails earlier, where pytest can end it."""
LIMITS = {"hosts-and-swarm": 60 * 60.0}
"""Time limits of slower suites [s]."""
STOPPED = 124
"""Exit code of a suite that was stopped."""
PAUSE = 0.1
"""Time between two checks of the running suites [s]."""
SIGNALS = ((signal.SIGINT, 30.0), (signal.SIGABRT, 5.0), (signal.SIGKILL, 5.0))
"""Signals that stop a suite, and the time until the next [s]: it cleans up after the first and prints stacks after the second."""


@dataclass
class Run:
    """One suite: its process while it runs, then its result."""

    suite: str
    log: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    seconds: float = 0.0
    code: int | None = None
    """Exit code; None while it runs, and if it was not started."""

    @property
    def cores(self) -> int:
        """Cores that it keeps busy."""
        return NEEDS.get(self.suite, 1)

    @property
    def is_running(self) -> bool:
        """Whether it has started and not ended."""
        return self.process is not None and self.code is None

    @property
    def last_line(self) -> str:
        """The last line of its output that is not empty."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").splitlines()
        return next((line.strip(" =") for line in reversed(lines) if line.strip(" =")), "")

    def start(self) -> None:
        """Start `make SUITE` in a process group of its own."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [os.environ.get("MAKE", "make"), "--no-print-directory", self.suite],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def check(self) -> bool:
        """Return whether it has just ended; stop it if it exceeds the time limit."""
        if self.process is None or self.code is not None:
            return False
        self.seconds = time.monotonic() - self.started
        limit = LIMITS.get(self.suite, LIMIT)
        if self.process.poll() is None and self.seconds > limit:
            report(f"{self.suite}: stopped, because it exceeds the time limit of {limit / 60:g} minutes")
            stop([self])
            self.code = STOPPED
        else:
            self.code = self.process.returncode
        return self.code is not None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the processes of its group, also to those that its first process left."""
        if self.process and self.code is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)


def main(suites: Sequence[str]) -> int:
    """Run the suites and print the table; return the exit code."""
    runs = [Run(suite) for suite in suites]
    start = time.monotonic()
    with stopping(runs):
        while ready := startable(runs) or [run for run in runs if run.is_running]:
            for run in ready:
                if run.process is None:
                    report(f"{run.suite}: started")
                    run.start()
            time.sleep(PAUSE)
            for run in runs:
                if run.check():
                    print_log(run)
    print_table(runs, time.monotonic() - start)
    for run in runs:
        run.log.close()
    return 0 if all(run.code == 0 for run in runs) else 1


def startable(runs: Sequence[Run]) -> list[Run]:
    """Return the suites that can start now, in their order: no suite starts before an earlier one that waits for cores."""
    free = CORES - sum(run.cores for run in runs if run.is_running)
    codes = {run.suite: run.code for run in runs}
    ready = []
    for run in runs:
        dependencies = [codes[name] for name in AFTER.get(run.suite, ("install",)) if name in codes]
        if run.process is not None or any(dependencies):  # started, or a dependency failed
            continue
        if None in dependencies or run.cores > free:
            break
        free -= run.cores
        ready.append(run)
    return ready


@contextlib.contextmanager
def stopping(runs: Sequence[Run]) -> Iterator[None]:
    """On SIGINT and SIGTERM, stop the running suites."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    handlers = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number in handlers:
            signal.signal(number, signal.SIG_IGN)  # later signals do not interrupt the cleanup
        stop(runs)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def stop(runs: Sequence[Run]) -> None:
    """Stop the suites that run; each signal is for those that the one before did not end in time."""
    for number, seconds in SIGNALS:
        for run in runs:
            run.send(number)
        deadline = time.monotonic() + seconds
        while any(run.process and run.process.poll() is None for run in runs) and time.monotonic() < deadline:
            time.sleep(PAUSE)


def print_log(run: Run) -> None:
    """Print all that a suite wrote."""
    report(f"{run.suite}: {'passed' if run.code == 0 else f'FAILED with exit code {run.code}'}; its output:")
    run.log.seek(0)
    sys.stdout.flush()
    sys.stdout.buffer.write(run.log.read())
    sys.stdout.flush()


def print_table(runs: Sequence[Run], seconds: float) -> None:
    """Print start and duration in minutes, and the last line of each suite."""
    width = max(len(run.suite) for run in runs)
    begin = min((run.started for run in runs if run.process), default=0.0)
    report(f"\n{'suite':{width}}  {'start':>7}  minutes  result")
    for run in runs:
        result = "not run" if run.code is None else "passed" if run.code == 0 else f"FAILED ({run.code})"
        start = f"{(run.started - begin) / 60:.1f}" if run.process else ""
        minutes = "" if run.code is None else f"{run.seconds / 60:.1f}"
        report(f"{run.suite:{width}}  {start:>7}  {minutes:>7}  {result:11} {run.last_line[:100]}".rstrip())
    report(f"{'total':{width}}  {'':7}  {seconds / 60:>7.1f}")


def report(line: str) -> None:
    """Print a line and flush it, because the output may be a file."""
    print(line, flush=True)


if __name__ == "__main__":
    os.chdir(Path(__file__).parent.parent)
    raise SystemExit(main(sys.argv[1:]))

"""Run a program that ends when its parent dies (PR_SET_PDEATHSIG): ``python -m … [--group] PARENT COMMAND…``.

With ``--group``, this process stays and also ends the children of the command, which are in its process group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from stargaze.system.signals import die_with_parent

GRACE_PERIOD = 5.0
"""Time between SIGTERM and SIGKILL [s]."""
POLL_INTERVAL = 0.05
"""Time between two looks for the processes of the group [s]."""


def main(argv: list[str]) -> int:
    """Request SIGTERM at the parent's death, then run the command."""
    if argv[0] != "--group":
        parent, *command = argv
        die_with_parent(int(parent), signal.SIGTERM)
        os.execv(command[0], command)  # noqa: S606 - a list of our own, no shell
    return run_group(int(argv[1]), argv[2:])


def run_group(parent: int, command: list[str]) -> int:
    """Run the command as a child; return its exit code. This process is the leader of its process group."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: _end_group())
    die_with_parent(parent, signal.SIGTERM)
    with subprocess.Popen(command) as process:
        code = process.wait()
    while signal.getitimer(signal.ITIMER_REAL)[0] and _has_others():  # SIGALRM ends those that ignore SIGTERM
        time.sleep(POLL_INTERVAL)
    return code if code >= 0 else 128 - code


def _end_group() -> None:
    """End all processes of this group, with time for cleanup."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda _number, _frame: os.killpg(0, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, GRACE_PERIOD)
    os.killpg(0, signal.SIGTERM)


def _has_others() -> bool:
    """Return whether this group has other processes."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError):
            if int(folder.name) != os.getpid() and os.getpgid(int(folder.name)) == os.getpgrp():
                return True
    return False


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

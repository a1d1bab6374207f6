"""Run a stargaze command that is killed before its n-th change of a file or start of a program.

``python -P kill_at.py N COMMAND…``; with N = 0 it is not killed, and the last line of stderr is the number of these operations.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.truncate", "os.chmod", "subprocess.Popen"}
WRITING = os.O_WRONLY | os.O_RDWR


class Killer:
    """Counts operations and kills this process before one of them."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Receive an audit event of Python."""
        if event in EVENTS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
            self.count += 1
            if self.count == self.number:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    from stargaze.cli import main

    killer = Killer(int(sys.argv[1]))
    sys.addaudithook(killer)
    try:
        main(sys.argv[2:])
    finally:
        if not killer.number:
            sys.stderr.write(f"operations: {killer.count}\n")

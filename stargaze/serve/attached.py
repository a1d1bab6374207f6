"""Become another program that ends when its starter ends, however that happened: ``python -m … PARENT COMMAND…``."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From Linux' ``prctl.h``; the setting outlives ``exec``."""


def main(argv: list[str]) -> None:
    """Ask the kernel for SIGTERM at the parent's death, then replace this program by the command."""
    parent, *command = argv
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):  # it died before the line above: nobody would ever tell us
        raise SystemExit(1)
    os.execv(command[0], command)  # noqa: S606 - a list of our own, no shell


if __name__ == "__main__":
    main(sys.argv[1:])

"""Become another program that ends when its starter ends, however that happened: ``python -m … PARENT COMMAND…``."""

from __future__ import annotations

import os
import signal
import sys

from stargaze.system.signals import end_with


def main(argv: list[str]) -> None:
    """Ask the kernel for SIGTERM at the parent's death, then replace this program by the command."""
    parent, *command = argv
    end_with(int(parent), signal.SIGTERM)
    os.execv(command[0], command)  # noqa: S606 - a list of our own, no shell


if __name__ == "__main__":
    main(sys.argv[1:])

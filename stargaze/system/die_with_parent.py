"""Exec a program that is killed when its parent dies (PR_SET_PDEATHSIG): ``python -m … PARENT COMMAND…``."""

from __future__ import annotations

import os
import signal
import sys

from stargaze.system.signals import die_with_parent


def main(argv: list[str]) -> None:
    """Request SIGTERM at the parent's death, then exec the command."""
    parent, *command = argv
    die_with_parent(int(parent), signal.SIGTERM)
    os.execv(command[0], command)  # noqa: S606 - a list of our own, no shell


if __name__ == "__main__":
    main(sys.argv[1:])

"""A program that a killed command started ends with all its children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.waiting import wait_for

pytestmark = pytest.mark.real


def processes_with(tag: str) -> list[str]:
    """Return the command lines of the processes that have this text in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"TAG={tag}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    "script",
    [
        "sleep 1000 & sleep 1000",
        "trap '' TERM; sleep 1000 & sleep 1000",
        "(trap '' TERM; exec sleep 1000) & exec sleep 1000",
    ],
)
def test_the_children_of_a_program_end_when_the_command_is_killed(script: str) -> None:
    """Also those that ignore SIGTERM, and live longer than the program."""
    tag = uuid.uuid4().hex
    code = f"""from stargaze.system.process import run_program
run_program("sh", "-c", "{script}", dies_with_caller=True)"""
    command = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TAG": tag})
    wait_for(lambda: sum(line.startswith("sleep\0") for line in processes_with(tag)) >= 2, 60)

    command.send_signal(signal.SIGKILL)
    command.wait()

    wait_for(lambda: processes_with(tag) == [], 60)

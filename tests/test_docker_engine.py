"""The Docker engine of the tests is stopped by its pid, and no other process that has this pid later."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.real
SCRIPT = Path(__file__).parent.parent / "tools" / "docker-engine.sh"


@contextlib.contextmanager
def started(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program that waits and ignores its arguments."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *argv])
    try:
        yield program
    finally:
        program.kill()
        program.wait()


def stop(folder: Path) -> str:
    """Stop the engine of a folder and return the error output."""
    argv = ["sh", SCRIPT, "stop", folder]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stderr


def test_the_engine_is_stopped_even_if_it_stays_a_zombie(tmp_path: Path) -> None:
    """Without a process that waits for orphans it stays a zombie, to which signals can still be sent."""
    with started("--host", f"unix://{tmp_path}/docker.sock") as engine:
        (tmp_path / "pid").write_text(str(engine.pid))

        assert stop(tmp_path) == ""
        assert engine.wait(30) == -15


def test_another_program_with_the_same_pid_is_not_stopped(tmp_path: Path) -> None:
    with started() as other:
        (tmp_path / "pid").write_text(str(other.pid))

        assert stop(tmp_path) == ""
        assert other.poll() is None


@pytest.mark.parametrize("pid", ["", "4194305"])  # larger than any pid of Linux
def test_stopping_without_an_engine_does_nothing(tmp_path: Path, pid: str) -> None:
    (tmp_path / "pid").write_text(pid)

    assert stop(tmp_path) == ""
    assert stop(tmp_path / "nowhere") == ""

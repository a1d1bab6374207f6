"""The tests' Docker engine is ended by its own number, and by nothing else that may go by that number later."""

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
def begun(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program that waits, with words that it does not look at."""
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)", *words])
    try:
        yield program
    finally:
        program.kill()
        program.wait()


def stop(folder: Path) -> str:
    """Stop the engine of a folder and return the complaints."""
    words = ["sh", SCRIPT, "stop", folder]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stderr


def test_what_listens_on_its_socket_is_ended_though_nobody_buries_it(tmp_path: Path) -> None:
    """Where nobody waits for orphans it stays a zombie, which signals reach for ever."""
    with begun("--host", f"unix://{tmp_path}/docker.sock") as engine:
        (tmp_path / "pid").write_text(str(engine.pid))

        assert stop(tmp_path) == ""
        assert engine.wait(30) == -15


def test_another_program_that_has_its_number_now_is_left_alone(tmp_path: Path) -> None:
    with begun() as other:
        (tmp_path / "pid").write_text(str(other.pid))

        assert stop(tmp_path) == ""
        assert other.poll() is None


@pytest.mark.parametrize("number", ["", "4194305"])  # none that Linux gives
def test_where_no_engine_is_there_is_nothing_to_do(tmp_path: Path, number: str) -> None:
    (tmp_path / "pid").write_text(number)

    assert stop(tmp_path) == ""
    assert stop(tmp_path / "nowhere") == ""

"""One process under the supervisor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stargaze.serve.supervisor.child_process import LARGEST_LOG, start_child

pytestmark = pytest.mark.real


def test_its_last_lines_are_those_of_this_run(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("of the run before\n")

    child = start_child("a", ["platform"], {}, log, tmp_path)
    child.insist()

    assert child.tail().startswith("  a: Linux" if sys.platform == "linux" else "  a: ")
    assert "of the run before" not in child.tail()
    assert "ended with exit code 0" in child.death()


def test_it_is_asked_to_end_before_it_is_killed(tmp_path: Path) -> None:
    child = start_child("a", ["http.server", "--bind", "127.0.0.1", "0"], {}, tmp_path / "a.log", tmp_path)

    child.ask_to_end()
    child.insist()

    assert "was killed by SIGTERM" in child.death()


def test_a_log_that_grew_too_large_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * (LARGEST_LOG + 1))

    start_child("a", ["platform"], {}, log, tmp_path).insist()

    assert log.stat().st_size < LARGEST_LOG
    assert (tmp_path / "a.old").exists()

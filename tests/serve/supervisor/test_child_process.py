"""One process of the supervisor."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from stargaze.serve.supervisor.child_process import MAX_LOG, start_child

pytestmark = pytest.mark.real


def test_the_log_tail_has_only_lines_of_this_run(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("of the previous run\n")

    child = start_child("a", ["platform"], {}, log, tmp_path)
    child.wait_or_kill()

    assert child.log_tail().startswith("  a: Linux" if sys.platform == "linux" else "  a: ")
    assert "of the previous run" not in child.log_tail()
    assert "ended with exit code 0" in child.describe_exit()


def test_a_process_gets_sigterm_before_sigkill(tmp_path: Path) -> None:
    child = start_child("a", ["http.server", "--bind", "127.0.0.1", "0"], {}, tmp_path / "a.log", tmp_path)

    child.terminate()
    child.wait_or_kill()

    assert "was killed by SIGTERM" in child.describe_exit()


def test_a_large_log_is_renamed(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"x" * (MAX_LOG + 1))

    start_child("a", ["platform"], {}, log, tmp_path).wait_or_kill()

    assert log.stat().st_size < MAX_LOG
    assert (tmp_path / "a.old").exists()

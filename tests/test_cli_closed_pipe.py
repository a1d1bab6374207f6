"""The exit codes of commands whose output is not read to its end, as by ``head``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough
SIGPIPE = 141
SIGNAL = """
import os
from stargaze import cli
from stargaze.commands import options

options.load = lambda *_arguments, **_options: os.kill(os.getpid(), {number})
cli.main(["tune"])
"""


def run_unread(*arguments: str, folder: Path, stdout: bool = False, stderr: bool = False) -> int:
    """Run Python with closed pipes as standard streams; return its exit code."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, "-P", *arguments],
            check=False,
            cwd=folder,
            stdout=writer if stdout else subprocess.DEVNULL,
            stderr=writer if stderr else subprocess.DEVNULL,
        ).returncode
    finally:
        os.close(writer)


@pytest.mark.parametrize("argv", [["status"], ["status", "--json"], ["--help"], ["fetch", "-h"]], ids=" ".join)
def test_an_answer_that_nobody_reads_is_no_difference_that_a_check_found(tmp_path: Path, argv: list[str]) -> None:
    assert run_unread("-m", "stargaze", *argv, folder=tmp_path, stdout=True) == SIGPIPE


def test_a_step_that_ends_because_nobody_reads_its_progress_has_not_succeeded(tmp_path: Path) -> None:
    assert run_unread("-m", "stargaze", "fetch", folder=tmp_path, stdout=True, stderr=True) == SIGPIPE

    assert not (tmp_path / "store" / "repositories.parquet").exists()


def test_an_error_or_an_interrupt_that_nobody_reads_keeps_its_code(tmp_path: Path) -> None:
    assert run_unread("-m", "stargaze", "fetsh", folder=tmp_path, stderr=True) == 2
    assert run_unread("-m", "stargaze", "status", "--config", "none.toml", folder=tmp_path, stderr=True) == 3
    assert run_unread("-c", SIGNAL.format(number=2), folder=tmp_path, stderr=True) == 130
    assert run_unread("-c", SIGNAL.format(number=15), folder=tmp_path, stderr=True) == 143


def test_a_full_disk_has_its_code_also_where_nothing_can_be_printed(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-P", "-m", "stargaze", "fetch"]
        assert subprocess.run(command, check=False, cwd=tmp_path, stdout=full, stderr=full).returncode == 5

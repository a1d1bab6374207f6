"""The table at the end of the run. ``STARGAZE_FAULT_ROUNDS`` repeats every fault."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

from tests.faults.live_page import LivePage
from tests.faults.outcomes import OUTCOMES, table
from tests.isolation import FIXTURE_PROCESSES


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the table of all faults."""
    if OUTCOMES:
        terminalreporter.section("faults")
        for line in table():
            terminalreporter.write_line(line)


@pytest.fixture
def serve_page(bundle_folder: Path) -> Iterator[Callable[..., LivePage]]:
    """Return a function that serves the page in a folder with the real command; all of them are stopped after the test."""
    with contextlib.ExitStack() as stack:

        def start(folder: Path, **variables: str) -> LivePage:
            page = LivePage(folder, bundle_folder, variables)
            stack.callback(page.stop)
            page.start()
            return page

        yield start
    FIXTURE_PROCESSES.clear()


@pytest.fixture
def small_file_system(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)

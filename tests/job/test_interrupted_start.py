"""Signals while Ray starts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.job.project import TIMEOUT, Project, read_process_file, wait

pytestmark = pytest.mark.job


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_ray_starts_ends_all_processes(
    quick_project: Project, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    project = quick_project.copy(tmp_path)

    with project.started("tune", "--trials", "500") as process:
        wait(lambda: any(b"gcs_server" in read_process_file(pid, "cmdline") for pid in project.processes()), process)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=TIMEOUT)
        wait(lambda: not project.processes())

    assert process.returncode == code
    assert "Traceback" not in stderr
    assert "is kept" in stderr

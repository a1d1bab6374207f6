"""Files with the names of modules, programs and config files, in the working directory and the store, are not executed."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.job.project import Project, wait

pytestmark = pytest.mark.job
CONFIG_FILES = ("gunicorn.conf", "celeryconfig", "conftest", "setup", "sitecustomize", "usercustomize", "evil_backend")
PROGRAMS = ("git", "ssh", "ssh-keygen", "docker", "sh", "ray", "ansible-playbook", "python", "python3", "nproc", "ip")
COMMANDS = (
    ("config",),
    ("status",),
    ("screen", "--families", "lightgbm,dummy", "--max-rows", "400"),
    ("deploy", "--force", "why"),
)
LONG_COMMANDS = (
    ("fetch", "--sample", "electron"),
    ("select-features",),
    COMMANDS[2],
    ("tune", "--trials", "1"),
    ("report",),
    ("doctor",),
)
"""What STARGAZE_FAULT_ROUNDS adds."""


def plant(folder: Path, marker: Path) -> None:
    """Write modules of every name that Python or a package has, programs and config files, each of which writes to the marker."""
    modules = {*sys.stdlib_module_names, *importlib.metadata.packages_distributions(), *CONFIG_FILES} - {
        "stargaze",
        "tests",
    }
    for name in modules:
        if name.replace(".", "").isidentifier():
            text = f"import os\nos.write(os.open({str(marker)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND), b'{name}.py ')\n"
            (folder / f"{name}.py").write_text(text)
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/bash\necho {name} >> '{marker}'\nexit 1\n")
        (folder / name).chmod(0o755)
    (folder / "matplotlibrc").write_text("backend: module://evil_backend\nfont.size: 40\n")
    (folder / "ansible.cfg").write_text("[defaults]\nfilter_plugins = .\ncallback_plugins = .\n")
    (folder / ".env").write_text("STARGAZE_TUNING_TRIALS=7\nFLASK_DEBUG=1\n")
    git = ["git", "init", "--quiet", str(folder)]
    subprocess.run(git, check=True)
    for key in ("core.fsmonitor", "core.sshCommand", "gpg.ssh.program", "core.hooksPath"):
        subprocess.run(["git", "-C", str(folder), "config", key, str(folder / "git")], check=True)


def test_nothing_in_the_working_directory_or_the_store_is_executed(quick_project: Project, tmp_path: Path) -> None:
    project, marker = quick_project.copy(tmp_path), tmp_path / "executed"
    plant(project.folder, marker)
    plant(project.store, marker)
    variables = {"PATH": f".:{os.environ['PATH']}:"}

    for argv in [*COMMANDS, *(LONG_COMMANDS if "STARGAZE_FAULT_ROUNDS" in os.environ else [])]:
        project.run(*argv, **variables)
        assert not marker.exists(), (argv, marker.read_text())
    board = pd.read_csv(project.store / "leaderboard.csv")
    assert set(board["status"]) == {"ok"}, board

    with project.started("serve", "--port", "0") as server:
        assert server.stdout is not None
        assert "serving at" in server.stdout.readline()
        server.send_signal(signal.SIGINT)
        wait(lambda: server.poll() is not None)
    assert not marker.exists(), marker.read_text()

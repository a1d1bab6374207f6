"""A copy of the project with two model families that misbehave, and workspaces in which it screens on the tests' engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.features import schema
from stargaze.store import Store
from stargaze.tuning.executors.docker_executor import store_id
from tests.integration.cluster_workspace import ray_cluster  # noqa: F401 - a fixture of the tests
from tests.integration.commands import CommandResult
from tests.integration.hosts_lab import cluster_lab  # noqa: F401 - a fixture of the tests in subfolders
from tests.integration.openstack_lab import cloud_lab, cloud_project, faults  # noqa: F401 - fixtures of the tests
from tests.tuning.conftest import fill

PROJECT = Path(__file__).parent.parent.parent
BAD_FAMILIES = """

class _Glutton:
    def fit(self, inputs: Any, target: Any) -> Any:
        return bytearray(b"x") * 4_000_000_000


class _Sleeper:
    def fit(self, inputs: Any, target: Any) -> Any:
        import time

        time.sleep(600)


for _name, _kind in (("glutton", _Glutton), ("sleeper", _Sleeper)):
    FAMILIES[_name] = Family(_name, "for tests", lambda *_given, kind=_kind: kind(), extra="catboost")
"""
"""Both need the packages of the optional families, so that all tests use one image."""


@pytest.fixture(autouse=True)
def check_isolation() -> None:
    """Check nothing here: tests share machines that outlive them, and some restart a part of one."""


@dataclass(frozen=True)
class Workspace:
    """A folder with a small store, which stargaze screens on the Docker engine of the tests."""

    project: Path
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start a screening in containers, as a user does."""
        command = [sys.executable, "-m", "stargaze", "screen", "--executor", "docker", "--json", *argv]
        # The engine of the tests has only the network of this machine.
        own = {"PYTHONPATH": str(self.project), "STARGAZE_SCREENING_BUILD_OPTIONS": "--network=host"}
        environment = {**os.environ, **own, **self.environment}
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def screen(self, *argv: str) -> CommandResult:
        """Run a screening until it ends."""
        return wait_for_result(self.start(*argv))

    @property
    def store(self) -> Store:
        """The store in the folder."""
        return Store(self.folder / "store")


def wait_for_result(process: subprocess.Popen[str]) -> CommandResult:
    """Wait until a command ends."""
    out, err = process.communicate(timeout=600)
    return CommandResult(process.returncode, out, err)


def docker(*argv: str) -> str:
    """Run a Docker command and return its output."""
    return subprocess.run(["docker", *argv], capture_output=True, text=True, check=True).stdout.strip()


def leaderboard(result: CommandResult) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the printed leaderboard by family and policy."""
    return {(row["family"], row["policy"]): row for row in result.json}


def remaining(workspace: Workspace) -> list[str]:
    """Return the containers and volumes of a workspace's screenings that exist on the engine."""
    label = f"--filter=label=stargaze.store={store_id(workspace.store.root)}"
    listings = (["ps", "--all", "--quiet", "--no-trunc"], ["volume", "ls", "--quiet"])
    return [item for listing in listings for item in docker(*listing, label).split()]


def running(workspace: Workspace, family: str) -> str:
    """Return the container in which a family is being screened; empty while there is none."""
    name = f"--filter=name=stargaze-{store_id(workspace.store.root)}-{family}"
    return docker("ps", "--quiet", "--no-trunc", name, "--filter=status=running")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with two more families."""
    copy = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "stargaze", copy / "stargaze", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", "requirements.lock", "requirements-optional.lock"):
        shutil.copy(PROJECT / name, copy / name)
    with (copy / "stargaze" / "tuning" / "families.py").open("a") as families:
        families.write(BAD_FAMILIES)
    return copy


@pytest.fixture(scope="session")
def part() -> pd.DataFrame:
    """A part of the sample, from many stars to none."""
    sample = schema.conform(pd.read_parquet(PROJECT / "stargaze" / "data" / "electron.parquet"))
    return sample.iloc[::15].reset_index(drop=True)


@pytest.fixture
def workspace(project: Path, part: pd.DataFrame, tmp_path: Path) -> Workspace:
    """A workspace before a screening."""
    return create_workspace(project, part, tmp_path)


def create_workspace(project: Path, part: pd.DataFrame, folder: Path) -> Workspace:
    """Create a workspace with a filled store."""
    fill(Store(folder / "store"), part)
    return Workspace(project, folder)

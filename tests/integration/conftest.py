"""A copy of the project with two families that no project should have, and the engine that its image is built on."""

from __future__ import annotations

import json
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
from stargaze.tuning.executors.docker_executor import owner_of
from tests.integration.openstack_lab import cloud_lab, cloud_project, faults  # noqa: F401 - for the tests beside it
from tests.tuning.conftest import fill

PROJECT = Path(__file__).parent.parent.parent
TWO_MORE = """

class _Glutton:
    def fit(self, inputs: Any, target: Any) -> Any:
        return bytearray(b"x") * 4_000_000_000


class _Sleeper:
    def fit(self, inputs: Any, target: Any) -> Any:
        import time

        time.sleep(600)


for _name, _kind in (("glutton", _Glutton), ("sleeper", _Sleeper)):
    FAMILIES[_name] = Family(_name, "for tests", lambda *_given, kind=_kind: kind(), extra="xgboost")
"""
"""Both want what the optional families want, so that one image does for all tests."""


@pytest.fixture(autouse=True)
def check_isolation() -> None:
    """Check nothing here: tests share machines that outlive them, and some restart a part of one."""


@dataclass(frozen=True)
class Ended:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The leaderboard by family and policy."""
        return {(row["family"], row["policy"]): row for row in json.loads(self.out)}


@dataclass(frozen=True)
class Desk:
    """A folder of its own in which stargaze screens a small store on the tests' engine."""

    project: Path
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a screening in containers, as a user does."""
        command = [sys.executable, "-m", "stargaze", "screen", "--executor", "docker", "--json", *words]
        # The tests' engine has no network but that of its machine.
        ours = {"PYTHONPATH": str(self.project), "STARGAZE_SCREENING_BUILD_OPTIONS": "--network=host"}
        environment = {**os.environ, **ours, **self.environment}
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def screen(self, *words: str) -> Ended:
        """Screen and wait."""
        return told(self.begin(*words))

    @property
    def store(self) -> Store:
        """Where it keeps what it makes."""
        return Store(self.folder / "store")


def told(process: subprocess.Popen[str]) -> Ended:
    """Wait for a command."""
    out, err = process.communicate(timeout=600)
    return Ended(process.returncode, out, err)


def docker(*words: str) -> str:
    """Ask the engine itself."""
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


def left(desk: Desk) -> list[str]:
    """Return the containers and volumes of a desk's screenings that the engine holds."""
    mark = f"--filter=label=stargaze.store={owner_of(desk.store.root)}"
    listings = (["ps", "--all", "--quiet", "--no-trunc"], ["volume", "ls", "--quiet"])
    return [one for listing in listings for one in docker(*listing, mark).split()]


def running(desk: Desk, family: str) -> str:
    """Return the container in which a desk's family is at work; empty while there is none."""
    name = f"--filter=name=stargaze-{owner_of(desk.store.root)}-{family}"
    return docker("ps", "--quiet", "--no-trunc", name, "--filter=status=running")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, with the two families more."""
    copy = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "stargaze", copy / "stargaze", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", "requirements.lock", "requirements-optional.lock"):
        shutil.copy(PROJECT / name, copy / name)
    with (copy / "stargaze" / "tuning" / "families.py").open("a") as families:
        families.write(TWO_MORE)
    return copy


@pytest.fixture(scope="session")
def part() -> pd.DataFrame:
    """A part of the sample, from many stars to none."""
    sample = schema.conform(pd.read_parquet(PROJECT / "stargaze" / "data" / "sample.parquet"))
    return sample.iloc[::15].reset_index(drop=True)


@pytest.fixture
def desk(project: Path, part: pd.DataFrame, tmp_path: Path) -> Desk:
    """A store as it is before a screening."""
    return seated(project, part, tmp_path)


def seated(project: Path, part: pd.DataFrame, folder: Path) -> Desk:
    """Fill a store."""
    fill(Store(folder / "store"), part)
    return Desk(project, folder)

"""Workspaces whose stages run on the cluster of the tests: two Ray nodes on loopback, the head behind a real ssh server."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.features import schema
from stargaze.store import Store
from tests.integration.commands import CommandResult
from tests.labs.cluster import Cluster, cluster
from tests.tuning.conftest import fill, write_leaderboard
from tests.waiting import wait_for

TIMEOUT = 400.0
"""A job starts in 5 s on two idle cores, and in a minute on busy ones [s]."""


@dataclass(frozen=True)
class Workspace:
    """A folder with a config and a store, in which commands run as a user types them."""

    folder: Path
    cluster: Cluster

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    def run(self, *argv: str, **more: str) -> CommandResult:
        """Run a command until it ends."""
        with self.started(*argv, **more) as process:
            out, err = process.communicate(timeout=TIMEOUT)
        return CommandResult(process.returncode, out, err)

    def run_json(self, *argv: str) -> Any:
        """Run a command that succeeds, and return the JSON that it prints."""
        result = self.run(*argv, "--json")
        assert result.code == 0, result.err
        return result.json

    @contextlib.contextmanager
    def started(self, *argv: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command; kill it at the end if it still runs."""
        process = subprocess.Popen(
            [sys.executable, "-m", "stargaze", *argv],
            cwd=self.folder,
            env={**self.cluster.environment, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def trials(self) -> list[tuple[str, str, float]]:
        """Return all trials of the finished tuning, sorted."""
        table = pd.read_parquet(self.store.trials)
        return sorted(zip(table["family"], table["parameters"], table["rmsle"].round(12), strict=True))

    def remote_journal(self) -> list[str]:
        """Return the finished trials of the tuning that runs on the head."""
        journal = self.cluster.root / "ray" / "jobs" / self.job() / "store" / "trials.jsonl"
        return journal.read_text().splitlines()[1:] if journal.exists() else []

    def wait_for_trials(self, number: int) -> None:
        """Wait until the tuning that runs on the head has finished so many trials."""
        wait_for(lambda: (self.store.root / "job.json").exists() and len(self.remote_journal()) >= number, TIMEOUT)

    def job(self) -> str:
        """Return the id of the job that was started from here."""
        return str(json.loads((self.store.root / "job.json").read_text())["id"])


def ray_status(cluster: Cluster, job: str) -> str:
    """Return the status of a job as Ray reports it."""
    return str(ask_ray(cluster, f"/api/jobs/{job}")["status"])


def ask_ray(cluster: Cluster, path: str, method: str = "GET") -> Any:
    """Return the answer of Ray's dashboard, which a person may use too."""
    token = (cluster.root / "etc/stargaze/ray_token").read_text()
    request = urllib.request.Request(
        f"http://127.0.0.1:{cluster.dashboard}{path}", headers={"Authorization": f"Bearer {token}"}, method=method
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Cluster]:
    """A head and a worker, for all tests of the cluster."""
    with cluster() as nodes:
        nodes.start_worker()
        yield nodes


def create_workspace(nodes: Cluster, sample: pd.DataFrame, folder: Path) -> Workspace:
    """Create a store before tuning, with two families that are fitted quickly."""
    folder.mkdir(exist_ok=True)
    workspace = Workspace(folder, nodes)
    (folder / "stargaze.toml").write_text(nodes.config)
    few = schema.conform(sample.iloc[::2].reset_index(drop=True))
    few.loc[few.index[::3], "stars"] = 0.0
    _, feature_set = fill(workspace.store, few)
    board = [("all", "ridge", "ok", 0.5), ("all", "elastic-net", "ok", 0.6)]
    write_leaderboard(workspace.store, feature_set, board)
    return workspace

"""Stages on a cluster, as a user types them: a Ray of two nodes, the head behind a real ssh server, all on loopback."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.bundle.manifest import verify_files
from stargaze.features import schema
from stargaze.store import Store
from stargaze.tuning.screen import COLUMNS
from tests.labs.cluster import HEAD, WORKER, Cluster, cluster
from tests.simulated.server import running
from tests.simulated.world import World
from tests.tuning.conftest import fill
from tests.waiting import wait_for

pytestmark = pytest.mark.cluster

ROW = {"r2": 0.5, "mdape": 0.5, "rho": 0.5, "fit_time": 1.0, "size_mb": 1.0, "rows": 600, "note": "", "spread": 0.1}
PATIENCE = 400.0
"""A job begins in 5 s on two idle cores, and in a minute on busy ones [s]."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class User:
    """A folder with a config and a store, and the program as it is typed there."""

    folder: Path
    cluster: Cluster

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    def type(self, *words: str, **more: str) -> Ended:
        """Run a command to its end."""
        with self.begun(*words, **more) as process:
            out, err = process.communicate(timeout=PATIENCE)
        return Ended(process.returncode, out, err)

    def ask(self, *words: str) -> Any:
        """Run a command that ends well, and return its JSON."""
        ended = self.type(*words, "--json")
        assert ended.code == 0, ended.err
        return json.loads(ended.out)

    @contextlib.contextmanager
    def begun(self, *words: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command; whatever is left of it at the end is killed."""
        process = subprocess.Popen(
            [sys.executable, "-m", "stargaze", *words],
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
        """Return all trials of the finished tuning, in an order of their own."""
        table = pd.read_parquet(self.store.trials)
        return sorted(zip(table["family"], table["parameters"], table["rmsle"].round(12), strict=True))

    def journal_there(self) -> list[str]:
        """Return the finished trials of the tuning that runs on the head."""
        paths = list((self.cluster.root / "ray" / "errands").glob("*/store/trials.jsonl"))
        mine = [path for path in paths if json.loads((path.parent.parent / "job.json").read_text())["id"] == self.job()]
        return mine[0].read_text().splitlines()[1:] if mine else []

    def job(self) -> str:
        """Return the name of the job that was begun from here."""
        return str(json.loads((self.store.root / "errand.json").read_text())["id"])


def status(there: Cluster, job: str) -> str:
    """Ask Ray itself how a job is."""
    token = (there.root / "etc/stargaze/ray_token").read_text()
    request = urllib.request.Request(
        f"http://127.0.0.1:{there.dashboard}/api/jobs/{job}", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["status"])


@pytest.fixture(scope="module")
def there() -> Iterator[Cluster]:
    """A head and a worker."""
    with cluster() as made:
        made.start_worker()
        yield made


@pytest.fixture
def user(there: Cluster, sample: pd.DataFrame, tmp_path: Path) -> User:
    """A store as it is before tuning, with two families that are fitted in no time."""
    made = User(tmp_path, there)
    (tmp_path / "stargaze.toml").write_text(there.config)
    few = schema.conform(sample.iloc[::2].reset_index(drop=True))
    few.loc[few.index[::3], "stars"] = 0.0
    _, feature_set = fill(made.store, few)
    board = [("all", "ridge", 0.5), ("all", "elastic-net", 0.6)]
    rows = [
        {**ROW, "policy": policy, "family": family, "status": "ok", "rmsle": rmsle, "feature_set": feature_set.digest}
        for policy, family, rmsle in board
    ]
    pd.DataFrame(rows)[COLUMNS].to_csv(made.store.leaderboard, index=False)
    return made


def test_a_tuning_there_finds_what_one_here_finds(user: User) -> None:
    tuned = user.ask("tune", "--trials", "24", "--on", "cluster")
    found, bundle = user.trials(), Path(tuned["bundle"])

    assert verify_files(user.folder / bundle) == bundle.name == user.store.latest.read_text().strip()
    assert (user.folder / bundle).parent == user.store.bundles
    assert not user.store.journal.exists()
    assert not (user.store.root / "errand.json").exists()

    here = user.ask("tune", "--trials", "24")

    assert user.trials() == found
    assert {name: tuned[name] for name in ("best", "scores", "trials", "failed")}.keys() <= here.keys()
    assert here["scores"] == tuned["scores"]


def test_progress_is_shown_as_here(user: User) -> None:
    ended = user.type("tune", "--trials", "12", "--on", "cluster")

    assert ended.code == 0, ended.err
    assert "tune:   0% looking at development" in ended.err
    assert "trial 12 of 12, best " in ended.err
    assert ended.out.startswith("bundle ")
    assert "(0 failed)" in ended.out


def test_ctrl_c_stops_the_job_and_brings_back_what_was_found(user: User) -> None:
    with user.begun("tune", "--trials", "2000", "--on", "cluster") as process:
        wait_for(lambda: (user.store.root / "errand.json").exists() and len(user.journal_there()) >= 5, PATIENCE)
        job = user.job()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)

    assert (process.returncode, status(user.cluster, job)) == (130, "STOPPED"), err
    assert "hint:  stargaze tune --resume goes on" in err
    assert not (user.store.root / "errand.json").exists()
    kept = [json.loads(line) for line in user.store.journal.read_text().splitlines()[1:]]
    assert len(kept) >= 5

    tuned = user.ask("tune", "--resume", "--trials", str(len(kept) + 3), "--on", "cluster")

    assert tuned["trials"] == len(set(user.trials())) == len(kept) + 3
    assert {json.dumps(one["parameters"], sort_keys=True) for one in kept} <= {one for _, one, _ in user.trials()}
    assert not user.store.journal.exists()


def test_a_job_outlives_the_command_that_began_it(user: User) -> None:
    with user.begun("tune", "--trials", "150", "--on", "cluster") as process:
        wait_for(lambda: (user.store.root / "errand.json").exists() and user.journal_there(), PATIENCE)
        process.kill()
    job = user.job()

    second = user.type("tune", "--on", "cluster")

    assert second.code == 5
    assert "error: tune of this store " in second.err
    assert "hint:  stargaze tune --attach" in second.err
    tuned = user.ask("tune", "--attach")
    assert (tuned["trials"], status(user.cluster, job)) == (150, "SUCCEEDED")
    assert user.type("tune", "--attach").code == 3


def test_a_detached_job_is_met_again(user: User) -> None:
    begun = user.type("tune", "--trials", "12", "--detach")

    assert begun.code == 0, begun.err
    assert begun.out == "tune runs on development\n"
    assert "next: stargaze tune --attach" in begun.err
    assert user.type("screen", "--attach").code == 2
    assert user.ask("tune", "--attach")["trials"] == 12


def test_an_error_there_is_the_error_here(user: User) -> None:
    user.store.leaderboard.write_text(user.store.leaderboard.read_text().replace(",ok,", ",failed,"))

    ended = user.type("tune", "--on", "cluster")

    assert ended.code == 5
    assert ended.err.splitlines()[-2:] == [
        "error: the leaderboard has no family that was fitted",
        "hint:  stargaze screen",
    ]
    assert not (user.store.root / "errand.json").exists()


def test_what_is_missing_here_is_said_before_anything_is_sent(user: User) -> None:
    user.store.leaderboard.unlink()

    ended = user.type("tune", "--on", "cluster")

    assert (ended.code, ended.err.splitlines()[-1]) == (3, "hint:  stargaze screen")


def test_features_are_selected_and_families_screened_there(user: User) -> None:
    rows = user.ask("select-features", "--on", "cluster")
    there = {name: (user.store.root / name).read_bytes() for name in ("features.json", "selection.csv")}
    assert rows == user.ask("select-features")
    assert there == {name: (user.store.root / name).read_bytes() for name in there}

    board = user.ask("screen", "--families", "ridge,dummy", "--on", "cluster")

    timeless = [{name: value for name, value in row.items() if name != "fit_time"} for row in board]
    again = user.ask("screen", "--families", "ridge,dummy")
    assert timeless == [{name: value for name, value in row.items() if name != "fit_time"} for row in again]
    assert {row["status"] for row in board} == {"ok"}


def test_repositories_are_gathered_there_and_the_token_is_left_nowhere(user: User) -> None:
    token = "ghp_a-token-of-nobody"
    with running(World(200, tokens={token: "good"})) as url:
        words = ("fetch", "--stars", ">=1", "--limit", "20", "--on", "cluster")
        ended = user.type(*words, GITHUB_TOKEN=token, STARGAZE_GITHUB_API_URL=url)

    assert ended.code == 0, ended.err
    found = pd.read_parquet(user.store.repositories)
    assert len(found) == 20
    assert found["commits"].notna().all()  # asked by GraphQL, which wants the token
    assert "requests" in ended.out
    files = [path for folder in (user.cluster.root, user.folder) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if token.encode() in path.read_bytes()] == []


def test_files_of_records_travel_to_fetch(user: User) -> None:
    record = {"id": 7, "full_name": "a/b", "stargazers_count": 3, "created_at": "2015-01-01T00:00:00Z"}
    (user.folder / "some records.json").write_text(json.dumps([record]))

    found = user.ask("fetch", "some records.json", "--on", "cluster")

    assert found["repositories"] == 1
    assert pd.read_parquet(user.store.repositories)["full_name"].tolist() == ["a/b"]


def test_a_node_that_dies_gives_its_trials_to_the_other(user: User) -> None:
    """All two hundred are done, none twice, and they are those of an undisturbed tuning."""
    undisturbed = user.ask("tune", "--trials", "200", "--on", "cluster")
    found = user.trials()
    node = user.cluster.nodes[WORKER]
    try:
        with user.begun("tune", "--trials", "200", "--on", "cluster", "--json") as process:
            wait_for(lambda: (user.store.root / "errand.json").exists() and len(user.journal_there()) >= 100, PATIENCE)
            node.kill()
            out, err = process.communicate(timeout=PATIENCE)
    finally:
        wait_for(lambda: user.cluster.alive() == [HEAD], PATIENCE)
        user.cluster.start_worker()

    assert process.returncode == 0, err
    tuned = json.loads(out)
    assert (tuned["trials"], tuned["failed"]) == (200, 0)
    assert user.trials() == found
    assert tuned["scores"] == undisturbed["scores"]
    assert Path(tuned["bundle"]).name == user.store.latest.read_text().strip()

"""Stages on a cluster, as a user runs them: two Ray nodes on loopback, the head behind a real ssh server."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pandas as pd
import pytest

from stargaze.bundle.manifest import verify_files
from tests.integration.cluster_workspace import TIMEOUT, Workspace, create_workspace, ray_status
from tests.labs.cluster import HEAD, WORKER, Cluster
from tests.simulated.server import running
from tests.simulated.world import World
from tests.waiting import wait_for

pytestmark = pytest.mark.cluster


@pytest.fixture
def workspace(ray_cluster: Cluster, sample: pd.DataFrame, tmp_path: Path) -> Workspace:
    """A store before tuning."""
    return create_workspace(ray_cluster, sample, tmp_path)


def test_tuning_on_the_cluster_shows_progress_and_finds_the_same_trials_as_locally(workspace: Workspace) -> None:
    result = workspace.run("tune", "--trials", "24", "--on", "cluster", "--json")
    assert result.code == 0, result.err
    assert "tune:   0% inspecting development" in result.err
    assert "trial 24 of 24, best " in result.err
    tuned = result.json
    trials, bundle = workspace.trials(), Path(tuned["bundle"])

    assert verify_files(workspace.folder / bundle) == bundle.name == workspace.store.latest.read_text().strip()
    assert (workspace.folder / bundle).parent == workspace.store.bundles
    assert not workspace.store.journal.exists()
    assert not (workspace.store.root / "job.json").exists()

    local = workspace.run_json("tune", "--trials", "24")

    assert workspace.trials() == trials
    assert {name: tuned[name] for name in ("best_trial", "scores", "trials", "failed")}.keys() <= local.keys()
    assert local["scores"] == tuned["scores"]


def test_ctrl_c_stops_the_job_and_downloads_the_finished_trials(workspace: Workspace) -> None:
    with workspace.started("tune", "--trials", "2000", "--on", "cluster") as process:
        workspace.wait_for_trials(5)
        job = workspace.job()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT)

    assert (process.returncode, ray_status(workspace.cluster, job)) == (130, "STOPPED"), err
    assert "hint:  stargaze tune --on cluster --resume continues" in err
    assert not (workspace.store.root / "job.json").exists()
    trials = [json.loads(line) for line in workspace.store.journal.read_text().splitlines()[1:]]
    assert len(trials) >= 5

    tuned = workspace.run_json("tune", "--resume", "--trials", str(len(trials) + 3), "--on", "cluster")

    assert tuned["trials"] == len(set(workspace.trials())) == len(trials) + 3
    assert {json.dumps(trial["parameters"], sort_keys=True) for trial in trials} <= {
        parameters for _, parameters, _ in workspace.trials()
    }
    assert not workspace.store.journal.exists()


def test_a_job_continues_after_its_command_is_killed(workspace: Workspace) -> None:
    with workspace.started("tune", "--trials", "150", "--on", "cluster") as process:
        wait_for(lambda: (workspace.store.root / "job.json").exists() and workspace.remote_journal(), TIMEOUT)
        process.kill()
    job = workspace.job()

    second = workspace.run("tune", "--on", "cluster")

    assert second.code == 5
    assert "error: tune of this store " in second.err
    assert "hint:  stargaze tune --attach" in second.err
    tuned = workspace.run_json("tune", "--attach")
    assert (tuned["trials"], ray_status(workspace.cluster, job)) == (150, "SUCCEEDED")
    assert workspace.run("tune", "--attach").code == 3


def test_a_detached_job_can_be_attached_to(workspace: Workspace) -> None:
    begun = workspace.run("tune", "--trials", "12", "--detach")

    assert begun.code == 0, begun.err
    assert begun.out == f"tune runs on development as job {workspace.job()}\n"
    assert "next: stargaze tune --attach" in begun.err
    assert workspace.run("screen", "--attach").code == 2
    attached = workspace.run("tune", "--attach")
    assert attached.code == 0, attached.err
    assert attached.out.startswith("bundle ")
    assert "(0 failed)" in attached.out
    assert len(workspace.trials()) == 12


def test_an_error_of_the_job_is_the_error_of_the_command(workspace: Workspace) -> None:
    workspace.store.leaderboard.write_text(workspace.store.leaderboard.read_text().replace(",ok,", ",failed,"))

    result = workspace.run("tune", "--on", "cluster")

    assert result.code == 5
    assert result.err.splitlines()[-2:] == [
        "error: the leaderboard has no family that succeeded",
        "hint:  stargaze screen",
    ]
    assert not (workspace.store.root / "job.json").exists()


def test_missing_input_is_reported_before_anything_is_sent(workspace: Workspace) -> None:
    workspace.store.leaderboard.unlink()

    result = workspace.run("tune", "--on", "cluster")

    assert (result.code, result.err.splitlines()[-1]) == (3, "hint:  stargaze screen")


def test_features_are_selected_and_families_screened_on_the_cluster(workspace: Workspace) -> None:
    rows = workspace.run_json("select-features", "--on", "cluster")
    remote = {name: (workspace.store.root / name).read_bytes() for name in ("features.json", "selection.csv")}
    assert rows == workspace.run_json("select-features")
    assert remote == {name: (workspace.store.root / name).read_bytes() for name in remote}

    board = workspace.run_json("screen", "--families", "ridge,dummy", "--on", "cluster")

    timeless = [{name: value for name, value in row.items() if name != "fit_time"} for row in board]
    again = workspace.run_json("screen", "--families", "ridge,dummy")
    assert timeless == [{name: value for name, value in row.items() if name != "fit_time"} for row in again]
    assert {row["status"] for row in board} == {"ok"}


def test_repositories_are_fetched_on_the_cluster_and_the_token_is_stored_nowhere(workspace: Workspace) -> None:
    token = "ghp_a-token-of-nobody"
    with running(World(200, tokens={token: "good"})) as url:
        argv = ("fetch", "--stars", ">=1", "--limit", "20", "--on", "cluster")
        result = workspace.run(*argv, GITHUB_TOKEN=token, STARGAZE_GITHUB_API_URL=url)

    assert result.code == 0, result.err
    repositories = pd.read_parquet(workspace.store.repositories)
    assert len(repositories) == 20
    assert repositories["commits"].notna().all()  # requested by GraphQL, which needs the token
    assert "requests" in result.out
    files = [
        path for folder in (workspace.cluster.root, workspace.folder) for path in folder.rglob("*") if path.is_file()
    ]
    assert [path for path in files if token.encode() in path.read_bytes()] == []


def test_files_of_records_are_sent_to_the_cluster(workspace: Workspace) -> None:
    record = {"id": 7, "full_name": "a/b", "stargazers_count": 3, "created_at": "2015-01-01T00:00:00Z"}
    (workspace.folder / "some records.json").write_text(json.dumps([record]))

    summary = workspace.run_json("fetch", "some records.json", "--on", "cluster")

    assert summary["repositories"] == 1
    assert pd.read_parquet(workspace.store.repositories)["full_name"].tolist() == ["a/b"]


def test_trials_of_a_failed_node_run_on_the_other_node(workspace: Workspace) -> None:
    """All two hundred trials finish once, and they equal those of an undisturbed tuning."""
    undisturbed = workspace.run_json("tune", "--trials", "200", "--on", "cluster")
    trials = workspace.trials()
    node = workspace.cluster.nodes[WORKER]
    try:
        with workspace.started("tune", "--trials", "200", "--on", "cluster", "--json") as process:
            wait_for(
                lambda: (workspace.store.root / "job.json").exists() and len(workspace.remote_journal()) >= 100,
                TIMEOUT,
            )
            node.kill()
            out, err = process.communicate(timeout=TIMEOUT)
    finally:
        wait_for(lambda: workspace.cluster.alive() == [HEAD], TIMEOUT)
        workspace.cluster.start_worker()

    assert process.returncode == 0, err
    tuned = json.loads(out)
    assert (tuned["trials"], tuned["failed"]) == (200, 0)
    assert workspace.trials() == trials
    assert tuned["scores"] == undisturbed["scores"]
    assert Path(tuned["bundle"]).name == workspace.store.latest.read_text().strip()

"""Jobs that wait, are stopped by others, or meet nodes with other software, on a real cluster."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

import pandas as pd
import pytest

from tests.integration.cluster_workspace import TIMEOUT, Workspace, ask_ray, create_workspace
from tests.labs.cluster import HEAD, THIRD, WORKER, Cluster, other_software
from tests.waiting import wait_for

pytestmark = pytest.mark.cluster
STARTUP = """
echo 'Welcome to the head'
printf 'a line without an end'
echo '{"exit_code": 0}'
echo 'bash: warning: setlocale: LC_ALL: cannot change locale' >&2
"""
"""What the start-up file of a login shell may print."""


@pytest.fixture
def workspace(ray_cluster: Cluster, sample: pd.DataFrame, tmp_path: Path) -> Workspace:
    """A store before tuning, on a head whose shell prints lines of its own."""
    ray_cluster.startup.write_text(STARTUP)
    return create_workspace(ray_cluster, sample, tmp_path)


def test_a_job_waits_for_a_core_and_another_one_is_found_from_another_folder(
    workspace: Workspace, sample: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The other job holds all cores; its folder was renamed, and somebody stops it through Ray."""
    folder = tmp_path_factory.mktemp("other") / "before"
    other = create_workspace(workspace.cluster, sample, folder)
    job = other.run_json("tune", "--trials", "3000", "--detach")["id"]
    other.wait_for_trials(3)
    with workspace.started("tune", "--trials", "4", "--on", "cluster", "--json") as process:
        assert process.stderr
        for line in process.stderr:
            if "waiting for a core: " in line:
                break
        # Between two trials a core of the other job is free for a moment.
        assert re.search(rf"[12] of 2 are in use by tune {job} \(started 20", line)
        other = Workspace(folder.rename(folder.with_name("after")), workspace.cluster)
        assert [row["here"] for row in other.run_json("jobs") if row["id"] == job] == ["yes"]
        ask_ray(workspace.cluster, f"/api/jobs/{job}/stop", "POST")
        out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, err
    assert json.loads(out)["trials"] == 4

    ended = other.run("tune", "--attach")

    assert (ended.code, ended.err.splitlines()[-2:]) == (
        5,
        [f"error: tune was stopped on development (job {job})", "hint:  stargaze tune --on cluster --resume"],
    )
    found = workspace.run("tune", "--attach", job)
    assert (found.code, found.err.splitlines()[-1]) == (5, "hint:  stargaze tune --on cluster --resume")
    assert other.store.journal.read_text() == workspace.store.journal.read_text()


def test_a_head_without_cores_waits_for_a_worker_and_one_with_other_code_runs_no_trial(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The other one joins after all nodes were checked."""
    nodes = workspace.cluster
    for node in (WORKER, HEAD):
        nodes.nodes[node].kill()
    nodes.start_head(cpus=0)
    try:
        with workspace.started("tune", "--trials", "3000", "--on", "cluster") as process:
            assert process.stderr
            for line in process.stderr:
                if "waiting for a core: " in line:
                    break
            nodes.start_worker()
            workspace.wait_for_trials(1)
            nodes.start_worker(THIRD, other_software(tmp_path))
            nodes.nodes[WORKER].kill()  # its trials would run on the third node
            _, err = process.communicate(timeout=TIMEOUT)
    finally:
        for node in nodes.nodes.values():
            node.kill()
        nodes.nodes.pop(THIRD, None)
        nodes.start_head()
        nodes.start_worker()

    assert "no node of the cluster has one; the job continues when a node joins" in line
    assert process.returncode == 5
    error, hint = err.splitlines()[-2:]
    assert error.startswith("error: another version of stargaze, Python or Ray is installed on ")
    assert hint.startswith("hint:  stargaze infra configure --tags ray; ")
    trials = [json.loads(line) for line in workspace.store.journal.read_text().splitlines()]
    assert len(trials) > 1


def test_ctrl_c_before_the_first_trial_does_not_promise_to_resume(workspace: Workspace) -> None:
    """Whatever its hint names works."""
    with workspace.started("tune", "--trials", "3000", "--on", "cluster") as process:
        wait_for((workspace.store.root / "job.json").exists, TIMEOUT)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT)

    assert process.returncode == 130
    assert err.splitlines()[-1] == "hint:  stargaze tune --on cluster starts this step again"
    assert not (workspace.store.root / "job.json").exists()
    assert {row["state"] for row in workspace.run_json("jobs")} <= {"done", "failed", "stopped", "lost", "not started"}

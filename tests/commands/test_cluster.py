"""Stages on the cluster by their options, with a job server in memory; invalid combinations are one clear line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import ExternalError
from stargaze.infra.jobs import client as job_client
from stargaze.infra.jobs import remote_stage
from stargaze.infra.jobs.server import JobServer
from stargaze.store import Store, lock_store
from tests.conftest import Ended
from tests.infra.jobs.conftest import FakeJobs, FakeJobService, RemoteSide

Run = Callable[..., Ended]
STAGES = ("fetch", "select-features", "screen", "tune")
CLUSTER = """
[infra]
provider = "static"
key_file = "key"
[infra.hosts]
development = "debian@10.20.0.11"
parameter1 = "debian@10.20.0.12"
"""


@pytest.fixture
def place(run: Run) -> Store:
    """A store with the inputs of every stage; their contents do not matter."""
    Path("key").touch(0o600)
    store = Store(Path("store"))
    store.root.mkdir()
    for path in (store.repositories, store.features, store.leaderboard):
        path.write_text(path.name)
    return store


@pytest.fixture
def cluster(place: Store) -> None:
    """A config of a cluster."""
    Path("stargaze.toml").write_text(CLUSTER)


@pytest.fixture
def remote(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteSide:
    """The head node of that cluster: a job server in this process, whose jobs end at once."""
    monkeypatch.setattr("stargaze.infra.jobs.server.POLL_INTERVAL", 0.01)
    monkeypatch.setattr("stargaze.infra.jobs.server.STATUS_INTERVAL", 0.01)
    monkeypatch.setattr(job_client, "RETRY_PAUSES", (0.0,))
    folder = tmp_path / "there"
    folder.mkdir()
    jobs: Any = FakeJobs()
    remote_side = RemoteSide(JobServer(folder, jobs), jobs)
    remote_side.job_does({"exit_code": 0}, result=[{"family": "ridge"}], creates={"leaderboard.csv": "made there"})
    monkeypatch.setattr(remote_stage, "connect_cluster", lambda *_: FakeJobService(remote_side.server))
    return remote_side


def job_record() -> Path:
    return Path("store/job.json")


# ---- start, attach, download ------------------------------------------------------------------------------------------


def test_a_detached_job_is_attached_later_with_the_same_result(run: Run, remote: RemoteSide, place: Store) -> None:
    detached = run("screen", "--detach", "--json")
    assert detached.code == 0
    started = json.loads(detached.out)
    assert detached.err.splitlines()[-1] == "next: stargaze screen --attach"
    assert started == {
        name: json.loads(job_record().read_text())[name] for name in ("id", "stage", "machine", "started_at")
    }

    attached = run("screen", "--attach", "--json")

    assert (attached.code, json.loads(attached.out)) == (0, [{"family": "ridge"}])
    assert place.leaderboard.read_text() == "made there"
    assert not job_record().exists()
    again = run("screen", "--attach")
    assert (again.code, again.error) == (3, "this store has no screen job on the cluster")
    assert again.hint.startswith("stargaze screen --on cluster; ")


@pytest.mark.parametrize(
    ("code", "hint"), [(1, "look"), (2, "type it right"), (3, "stargaze fetch"), (4, "a token"), (5, "df -h")]
)
def test_an_error_of_the_job_ends_the_command_with_the_same_exit_code(
    run: Run, remote: RemoteSide, code: int, hint: str
) -> None:
    remote.job_does({"error": "what is wrong", "hint": hint, "code": code}, {"exit_code": code})

    ended = run("screen", "--on", "cluster", "--json")

    assert (ended.code, ended.out, ended.error, ended.hint) == (code, "", "what is wrong", hint)
    assert not job_record().exists()


def test_ctrl_c_prints_how_to_resume(run: Run, remote: RemoteSide, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeJobService, "follow", pressed)

    ended = run("tune", "--on", "cluster")

    assert (ended.code, ended.out) == (130, "")
    assert (
        ended.err.splitlines()[-1] == "hint:  stargaze tune --on cluster starts this step again"
    )  # there is no trial to resume
    assert not job_record().exists()


def test_after_a_lost_connection_the_job_can_be_attached(
    run: Run, remote: RemoteSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> Any:
        raise ExternalError("lost the connection to development: no answer")

    monkeypatch.setattr(FakeJobService, "follow", lost)

    ended = run("screen", "--on", "cluster")

    assert (ended.code, ended.error) == (5, "lost the connection to development: no answer")
    assert ended.hint == "the job continues; stargaze screen --attach follows it"
    assert job_record().exists()


# ---- rejected combinations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_attach_without_a_job_is_an_error(run: Run, place: Store, stage: str) -> None:
    """Whether there is a cluster or not."""
    for config in ("", CLUSTER):
        Path("stargaze.toml").write_text(config)

        ended = run(stage, "--attach", "--json")

        assert (ended.code, ended.out) == (3, "")
        assert (ended.error, ended.hint) == (
            f"this store has no {stage} job on the cluster",
            f"stargaze {stage} --on cluster; or stargaze jobs, and stargaze {stage} --attach ID",
        )


@pytest.mark.parametrize("stage", ["fetch", "select-features", "tune"])
def test_another_stage_is_neither_attached_nor_started(run: Run, remote: RemoteSide, stage: str) -> None:
    run("screen", "--detach")

    attached, started = run(stage, "--attach"), run(stage, "--on", "cluster")

    job = json.loads(job_record().read_text())["id"]
    assert (attached.code, attached.error, attached.hint) == (
        2,
        f"job {job} is screen, not {stage}",
        f"stargaze screen --attach {job}",
    )
    assert started.code == 5
    assert "screen of this store " in started.error
    assert started.hint == "stargaze screen --attach"
    assert json.loads(job_record().read_text())["stage"] == "screen"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("argv", "late"),
    [
        (["tune", "--trials", "9"], "trials"),
        (["tune", "--resume"], "resume"),
        (["tune", "--no-racing"], "racing"),
        (["screen", "--time-limit", "9"], "time-limit"),
        (["fetch", "records.json"], "file"),
        (["fetch", "--update"], "update"),
        (["fetch", "--details"], "details"),
        (["fetch", "--name", "pallets/flask"], "name"),
    ],
    ids=lambda argv: " ".join(argv) if isinstance(argv, list) else argv,
)
def test_attach_cannot_be_combined_with_options_of_the_stage(
    run: Run, remote: RemoteSide, argv: list[str], late: str
) -> None:
    run(argv[0], "--detach")

    attached = run(*argv, "--attach")

    assert attached.code == 2
    assert attached.error == f"--{late} cannot be combined with --attach, which follows a job that is already running"
    assert job_record().exists()


@pytest.mark.parametrize("argv", [["--on", "cluster"], ["--detach"]], ids=" ".join)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("config", "code", "message", "hint"),
    [
        ("", 3, "no machines have been created from this store", "stargaze infra up"),
        ('[infra]\nprovider = "static"\n', 2, "infra.hosts is empty", "[infra.hosts]"),
        (CLUSTER.replace("development", "production1"), 3, "the cluster has no development machine", "infra up"),
    ],
    ids=["none", "without hosts", "without a head"],
)
def test_a_missing_cluster_is_an_error_with_a_hint(
    run: Run, place: Store, stage: str, argv: list[str], config: str, code: int, message: str, hint: str
) -> None:
    Path("stargaze.toml").write_text(config)

    ended = run(stage, *argv, "--json")

    assert (ended.code, ended.out) == (code, "")
    assert message in ended.error
    assert hint in ended.hint
    assert not job_record().exists()


@pytest.mark.parametrize(
    ("script", "message", "hint"),
    [
        (
            "echo 'ssh: No route to host' >&2; exit 255",
            "ssh login to development failed: ssh: No route",
            "infra status",
        ),
        (
            "echo 'python: No module named stargaze.errands' >&2; exit 1",
            "development has no stargaze",
            "configure --tags ray",
        ),
        (
            "echo 'sudo: a password is required' >&2; exit 1",
            "development: sudo: a password is required",
            "stargaze infra status",
        ),
    ],
    ids=["away", "without stargaze", "without rights"],
)
def test_an_unusable_head_node_is_an_error_and_leaves_no_record(
    run: Run, cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str, hint: str
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    ended = run("screen", "--on", "cluster")

    assert ended.code == 5
    assert message in ended.error
    assert hint in ended.hint
    assert not job_record().exists()


# ---- jobs of other folders and machines ------------------------------------------------------------------------------


def test_a_job_is_listed_and_attached_from_another_folder(
    run: Run, remote: RemoteSide, place: Store, tmp_path: Path
) -> None:
    job = json.loads(run("screen", "--detach", "--json").out)["id"]
    place.root.rename(tmp_path / "moved")

    assert [(row["id"], row["here"]) for row in json.loads(run("jobs", "--json").out)] == [(job, "")]
    attached = run("screen", "--attach", job, "--json")

    assert (attached.code, json.loads(attached.out)) == (0, [{"family": "ridge"}])
    assert place.leaderboard.read_text() == "made there"
    assert run("screen", "--attach", "--store", str(tmp_path / "moved")).code == 0  # also from there
    wrong = run("tune", "--attach", job)
    assert (wrong.code, wrong.hint) == (2, f"stargaze screen --attach {job}")


def test_a_job_is_stopped_by_its_id(run: Run, remote: RemoteSide, place: Store) -> None:
    remote.job_does()
    remote.job_runs_on()
    job = json.loads(run("screen", "--detach", "--json").out)["id"]

    stopped = run("jobs", "--stop", job)

    assert (stopped.code, stopped.out) == (0, f"job {job}: stopped\n")
    attached = run("screen", "--attach")
    assert (attached.code, attached.error) == (5, f"screen was stopped on development (job {job})")
    assert attached.hint == "stargaze screen --on cluster"


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (["screen", "--attach", "stargaze-aaaaaaaaaaaa"], 3, "development knows no job stargaze-aaaaaaaaaaaa"),
        (["jobs", "--stop", "stargaze-aaaaaaaaaaaa"], 3, "development knows no job stargaze-aaaaaaaaaaaa"),
        (["screen", "--attach", "latest"], 2, "'latest' is not the id of a job"),
        (["fetch", "--attach", "records.json"], 2, "'records.json' is not the id of a job"),
        (["jobs", "--stop", "../x"], 2, "'../x' is not the id of a job"),
        (["jobs", "--stop", ""], 2, "'' is not the id of a job"),
    ],
)
def test_an_unknown_job_is_one_line(run: Run, remote: RemoteSide, argv: list[str], code: int, message: str) -> None:
    ended = run(*argv)

    assert (ended.code, ended.error) == (code, message)
    assert "stargaze jobs" in ended.hint


def test_a_job_that_the_cluster_does_not_know_stays_noted(run: Run, remote: RemoteSide) -> None:
    """It may be another cluster, or the head node was set up again."""
    run("screen", "--detach")
    job = json.loads(job_record().read_text())["id"]
    shutil.rmtree(remote.server.folder / job)

    ended = run("screen", "--attach")

    assert (ended.code, ended.hint) == (3, "start it again: stargaze screen --on cluster")
    assert [(row["id"], row["state"]) for row in json.loads(run("jobs", "--json").out)] == [(job, "unknown")]
    assert run("screen", "--on", "cluster").code == 0
    assert json.loads(Path("store/job.before.json").read_text())["id"] == job


# ---- further rejected combinations -----------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["--on", "cluster"], ["--detach"], ["--attach"]], ids=" ".join)
def test_a_second_command_in_a_store_is_rejected(run: Run, remote: RemoteSide, place: Store, argv: list[str]) -> None:
    with lock_store(place):
        ended = run("screen", *argv)

    assert (ended.code, ended.hint) == (5, "wait for it, or stargaze status")
    assert remote.jobs.known == {}


def test_a_tuning_that_was_not_stopped_is_not_resumed(run: Run, remote: RemoteSide) -> None:
    ended = run("tune", "--resume", "--on", "cluster")

    assert (ended.code, ended.error) == (3, "there is no stopped tuning to resume")
    assert ended.hint == "stargaze tune --on cluster"


def test_options_about_trials_are_rejected_for_growth(
    run: Run, remote: RemoteSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARGAZE_TUNING_TARGET", "growth")

    ended = run("tune", "--on", "cluster", "--time-budget", "60")

    assert (ended.code, ended.error) == (2, '--time-budget has no effect when tuning.target is "growth"')
    assert remote.jobs.known == {}


def test_a_corrupt_job_record_is_one_line(run: Run, remote: RemoteSide) -> None:
    job_record().write_text("{")

    for argv in (["screen", "--attach"], ["screen", "--on", "cluster"], ["jobs"]):
        ended = run(*argv)
        assert ended.code == 5
        assert ended.error.startswith("store/job.json: cannot be read")


@pytest.mark.parametrize(
    ("argv", "option"),
    [
        (["screen", "--on", "cluster", "--max-rows", "-1"], "screening.max_rows"),
        (["tune", "--detach", "--trials", "0"], "tuning.trials"),
        (["fetch", "--on", "cluster", "--sampling", "best"], "github.sampling"),
        (["tune", "--on", "Cluster"], "tuning.on"),
    ],
    ids=" ".join,
)
def test_options_are_checked_before_the_upload(run: Run, remote: RemoteSide, argv: list[str], option: str) -> None:
    ended = run(*argv)

    assert ended.code == 2
    assert ended.error.startswith(f"option: {option} should be ")
    assert remote.jobs.known == {}

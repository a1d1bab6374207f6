"""The whole pipeline on the shipped sample, as a user types it, with signals in the middle of a tuning (minutes).

Two processes share the work (`-n 2 --dist loadgroup`): one of them runs the pipeline once for both, then each takes one group
of tests at a time. Tests that use the store of the pipeline itself are one group.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stargaze.tuning.families import select_families

pytestmark = pytest.mark.job

POLICIES = ("static", "activity", "all")
TAG = "STARGAZE_TEST_TAG"
"""Environment variable by which the processes of a test are found."""
LOOPBACK = {
    "0100007F",  # 127.0.0.1
    "0000000000000000FFFF00000100007F",  # the same, as IPv6 writes it
    "00000000000000000000000001000000",  # ::1
}
AGENTS = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")
"""Processes of Ray that compute nothing, and that notice after a minute that their Ray was killed."""
TIMEOUT = 120.0
"""Ray starts in 5 s on two idle cores, and in a minute on busy ones [s]."""


@dataclass(frozen=True)
class Project:
    """A folder with a store, in which stargaze commands run as a user types them."""

    folder: Path
    tag: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    """Value of TAG in the environment of all processes that are started here, which finds them whatever their parent is."""

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def run(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command until it exits, and compare its exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "stargaze", *words],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def run_json(self, *words: str) -> Any:
        """Run a command and return the JSON that it prints."""
        return json.loads(self.run(*words, "--json").stdout)

    @contextlib.contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command; at the end, kill every process that it left."""
        process = subprocess.Popen(
            [sys.executable, "-m", "stargaze", *words],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate()

    def processes(self) -> list[int]:
        """Return the pids of all processes that were started here and still run."""
        tag = f"{TAG}={self.tag}".encode()
        return [pid for pid in _pids() if tag in _read(pid, "environ").split(b"\0")]

    def computing_processes(self) -> list[int]:
        """Return the pids without those that only wait for a Ray that was killed."""
        return [pid for pid in self.processes() if not _read(pid, "cmdline").startswith(AGENTS)]

    def trials(self) -> list[dict[str, Any]]:
        """Return the finished trials in the journal."""
        path = self.store / "trials.jsonl"
        lines = path.read_text().split("\n")[1:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def copy(self, folder: Path) -> Project:
        """Copy the store to another folder."""
        shutil.copytree(self.store, folder / "store", symlinks=True)
        return Project(folder)

    def environment(self) -> dict[str, str]:
        """Return the environment of the commands."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("STARGAZE_", "RAY_"))}
        # One permutation instead of two, as in the demo, which saves twenty seconds.
        return {**own, TAG: self.tag, "XDG_CONFIG_HOME": str(self.folder), "STARGAZE_FEATURES_IMPORTANCE_REPEATS": "1"}


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    """Return a file in /proc of a process; empty if the process has ended or belongs to another user."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def listen_addresses(pids: list[int]) -> set[str]:
    """Return the addresses, as the kernel writes them, on which these processes listen."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            inodes |= {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                found.add(words[1].split(":")[0])
    return found


def wait(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until a condition holds; fail after the timeout, or when the process has ended."""
    limit = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < limit, f"not within {TIMEOUT:g} s"
        assert process is None or process.poll() is None, "the command has ended"
        time.sleep(0.05)


@dataclass(frozen=True)
class Pipeline:
    """The project after the whole pipeline, and the JSON that each command printed."""

    project: Project
    output: dict[str, Any]
    quick: Project
    """A copy whose leaderboard holds only families that are fitted in a moment; it is only copied, never changed."""


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Pipeline:
    """Run the pipeline from the sample to a release, command by command: one test process runs it, the other waits."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "pipeline"
    project, quick, output = Project(folder / "full"), Project(folder / "quick"), folder / "output.json"
    project.folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            outputs = {
                "fetch": project.run_json("fetch"),
                "select-features": project.run_json("select-features"),
                "screen": project.run_json("screen", "--max-rows", "1200"),
                "tune": project.run_json("tune", "--trials", "3"),
                "deploy": project.run_json("deploy"),
            }
            project.copy(quick.folder)
            board = pd.read_csv(quick.store / "leaderboard.csv")
            board = board[board["family"].isin(["dummy", "ridge", "elastic-net"])]
            board.to_csv(quick.store / "leaderboard.csv", index=False)
            output.write_text(json.dumps(outputs))
    return Pipeline(project, json.loads(output.read_text()), quick)


@pytest.fixture(scope="session")
def quick(job: Pipeline) -> Project:
    """A project that is only copied, whose tuning takes seconds."""
    return job.quick


@pytest.mark.xdist_group("pipeline")
def test_every_artifact_is_in_its_place(job: Pipeline) -> None:
    store = job.project.store

    for name in ("repositories.parquet", "features.json", "selection.csv", "selection.svg", "leaderboard.csv"):
        assert (store / name).stat().st_size > 0
    digest = (store / "bundles" / "latest").read_text().strip()
    assert (store / "bundles" / digest / "manifest.json").is_file()
    assert (store / "serving" / "current").resolve().name == digest
    assert len(pd.read_parquet(store / "trials.parquet")) == 3
    assert not (store / "trials.jsonl").exists()


@pytest.mark.xdist_group("pipeline")
def test_no_temporary_file_is_left_in_the_store(job: Pipeline) -> None:
    assert not [path for path in job.project.store.rglob(".*") if path.name != ".lock"]


@pytest.mark.xdist_group("pipeline")
def test_the_sample_is_complete(job: Pipeline) -> None:
    assert job.output["fetch"]["repositories"] > 13_000


@pytest.mark.xdist_group("pipeline")
def test_the_star_count_under_another_name_is_not_selected_as_a_feature(job: Pipeline) -> None:
    row = next(row for row in job.output["select-features"] if row["feature"] == "watchers")

    assert row["all"].startswith("holds the stars")
    kept = json.loads((job.project.store / "features.json").read_text())["kept"]
    assert all("watchers" not in names for names in kept.values())


@pytest.mark.xdist_group("pipeline")
def test_every_family_is_screened_under_every_policy_and_beats_the_dummy(job: Pipeline) -> None:
    board = pd.DataFrame(job.output["screen"])

    assert len(board) == 3 * len(select_families([]))
    assert (board["status"] == "ok").all()
    for _, rows in board.groupby("policy"):
        dummy = rows.loc[rows["family"] == "dummy", "rmsle"].item()
        assert (rows.loc[rows["family"] != "dummy", "rmsle"] < dummy).all()


@pytest.mark.xdist_group("pipeline")
def test_policies_that_read_more_features_predict_better_and_all_beat_the_dummy(job: Pipeline) -> None:
    scores = job.output["tune"]["scores"]
    board = pd.DataFrame(job.output["screen"])

    static, activity, everything = (scores[policy]["rmsle"] for policy in POLICIES)

    assert everything < activity < static < board.loc[board["family"] == "dummy", "rmsle"].min()
    assert everything < 0.55
    assert activity < 0.85


@pytest.mark.xdist_group("pipeline")
def test_no_score_suggests_a_leak(job: Pipeline) -> None:
    """An R² of 0.97 or more is considered a leak."""
    assert all(of["r2"] < 0.97 for of in job.output["tune"]["scores"].values())


@pytest.mark.xdist_group("pipeline")
def test_the_coverage_of_prediction_intervals_on_held_out_repositories_is_close_to_90_percent(job: Pipeline) -> None:
    for of in job.output["tune"]["scores"].values():
        assert 0.85 <= of["coverage"] <= 0.95


@pytest.mark.xdist_group("pipeline")
def test_a_second_deploy_of_the_same_bundle_changes_nothing(job: Pipeline) -> None:
    again = job.project.run_json("deploy")

    assert job.output["deploy"]["changed"]
    assert not again["changed"]
    assert len(job.project.run_json("releases")) == 1


@pytest.mark.xdist_group("pipeline")
def test_rollback_fails_after_only_one_release(job: Pipeline) -> None:
    failed = job.project.run("rollback", expect=3)

    assert "to roll back to" in failed.stderr


@pytest.mark.xdist_group("pipeline")
def test_known_repositories_are_predicted_in_the_terminal(job: Pipeline) -> None:
    answers = job.project.run_json("predict", "connors/photon", "https://github.com/feross/webtorrent", "Zeit/Hyper")

    assert {answer["full_name"] for answer in answers} == {"connors/photon", "feross/webtorrent", "zeit/hyper"}
    assert answers == sorted(answers, key=lambda answer: -answer["stars"])
    for answer in answers:
        assert answer["low"] <= answer["stars"] <= answer["high"]
        assert answer["stars"] > 500  # each has more than five thousand; most of the sample have none


@pytest.mark.xdist_group("pipeline")
@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("predict", "../etc"), 2, "../etc"),
        (("predict", "no/such-repository"), 3, "no/such-repository"),
        (("screen", "--families", "lightgmb"), 2, "lightgmb"),
        (("tune", "--resume"), 3, "no stopped tuning"),
        (("deploy", "0123456789"), 3, "0123456789"),
    ],
)
def test_an_invalid_command_prints_an_error_and_a_hint_and_sets_the_exit_code(
    job: Pipeline, words: tuple[str, ...], code: int, text: str
) -> None:
    failed = job.project.run(*words, expect=code)

    assert text in failed.stderr
    assert "hint:" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert failed.stdout == ""


@pytest.mark.xdist_group("pipeline")
def test_run_skips_finished_stages_and_the_page_predicts_the_same_as_the_terminal(job: Pipeline) -> None:
    done = job.project.run("run", "--once", "--trials", "3", "--port", "0", "--json")

    over_http = json.loads(done.stdout)

    assert done.stderr.count("done already") == 5
    assert len(over_http) == 5
    in_terminal = job.project.run_json("predict", *(answer["full_name"] for answer in over_http))
    assert [answer["rank"] for answer in over_http] == [1, 2, 3, 4, 5]
    assert [
        {name: page[name] for name in terminal} for page, terminal in zip(over_http, in_terminal, strict=True)
    ] == in_terminal
    assert not any(answer["in_training_data"] for answer in over_http)


@pytest.mark.xdist_group("pipeline")
def test_the_page_leaves_no_process_running(job: Pipeline) -> None:
    assert job.project.processes() == []


@pytest.fixture(scope="module")
def second(quick: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Any]:
    """A store with a second bundle, tuned with a seed and one trial at a time."""
    project = quick.copy(tmp_path_factory.mktemp("second"))
    return project, project.run_json("tune", "--trials", "3", "--max-concurrent", "1", "--seed", "5")


@pytest.mark.xdist_group("second")
def test_a_second_release_is_served_and_a_rollback_restores_the_first(
    job: Pipeline, second: tuple[Project, Any]
) -> None:
    project, tuned = second
    first = job.output["deploy"]["digest"]

    failed = project.run("deploy", expect=1)
    unchanged = (project.store / "serving" / "current").resolve().name
    project.run("deploy", "--force", "it answers faster")
    deployed = (project.store / "serving" / "current").resolve().name
    project.run("rollback")
    restored = (project.store / "serving" / "current").resolve().name

    assert "predicts worse than" in failed.stderr  # three linear models, where the first release had all families
    assert unchanged == first
    assert deployed == Path(tuned["bundle"]).name != first
    assert restored == first
    assert [release["forced"] for release in project.run_json("releases")] == ["", "it answers faster", ""]
    assert [release["kind"] for release in project.run_json("releases")] == ["rollback", "deploy", "deploy"]


def test_a_commit_is_trained_in_the_background_and_not_released_if_it_is_worse(quick: Project, tmp_path: Path) -> None:
    project = quick.copy(tmp_path)
    before = (project.store / "serving" / "current").resolve()
    (project.folder / "stargaze.toml").write_text("[tuning]\ntrials = 4\n")
    git = ("git", "-c", "user.name=a tester", "-c", "user.email=tester@stargaze.invalid")
    subprocess.run([*git, "init", "--quiet"], cwd=project.folder, check=True)
    project.run("hook", "install")

    commit = [*git, "commit", "--quiet", "--allow-empty", "--message", "more trials"]
    subprocess.run(commit, cwd=project.folder, env=project.environment(), check=True)
    wait(lambda: (project.store / "commit.json").is_file() and not project.run_json("hook", "status")["running"])

    ended = project.run_json("hook", "status")
    assert (ended["well"], "predicts worse than" in ended["said"]) == (False, True), ended
    assert (project.store / "serving" / "current").resolve() == before
    assert (project.store / "bundles" / "latest").read_text().strip() != before.name


@pytest.mark.xdist_group("second")
def test_the_same_seed_with_one_trial_at_a_time_finds_the_same_best_trial(
    quick: Project, second: tuple[Project, Any], tmp_path: Path
) -> None:
    project, tuned = second
    other = quick.copy(tmp_path)

    again = other.run_json("tune", "--trials", "3", "--max-concurrent", "1", "--seed", "5")

    assert _without_times(again["best"]) == _without_times(tuned["best"])
    assert again["scores"] == tuned["scores"]
    tables = [
        pd.read_parquet(each.store / "trials.parquet").drop(columns=["seconds", "at"]) for each in (project, other)
    ]
    pd.testing.assert_frame_equal(*tables)


def _without_times(trial: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in trial.items() if name not in ("seconds", "at")}


@dataclass(frozen=True)
class Interrupted:
    """A tuning that was ended by a signal: its finished trials, exit code and output."""

    project: Project
    trials: list[dict[str, Any]]
    code: int
    stderr: str
    addresses: set[str]


def interrupt(project: Project, number: signal.Signals, trials: int, *words: str) -> Interrupted:
    """Start a long tuning and send it a signal as soon as `trials` trials have finished."""
    with project.started("tune", "--trials", "500", "--max-concurrent", "1", *words) as process:
        wait(lambda: len(project.trials()) >= trials, process)
        addresses = listen_addresses(project.processes())
        process.send_signal(number)
        _, stderr = process.communicate(timeout=TIMEOUT)
        wait(lambda: not (project.computing_processes() if number == signal.SIGKILL else project.processes()))
    return Interrupted(project, project.trials(), process.returncode, stderr, addresses)


@pytest.fixture(scope="module")
def stopped(quick: Project, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """Press Ctrl-C after two trials, and wait until every process of the run has ended, including Ray."""
    return interrupt(quick.copy(tmp_path_factory.mktemp("stopped")), signal.SIGINT, 2)


@pytest.fixture(scope="module")
def killed(stopped: Interrupted, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """Resume the stopped tuning, kill it two trials later, and wait until no process computes."""
    project = stopped.project.copy(tmp_path_factory.mktemp("killed"))
    return interrupt(project, signal.SIGKILL, len(stopped.trials) + 2, "--resume")


@pytest.mark.xdist_group("interrupted")
def test_ray_listens_on_loopback_only(stopped: Interrupted) -> None:
    """Whoever reaches a port of Ray can run code on this machine (CVE-2023-48022)."""
    assert stopped.addresses
    assert stopped.addresses <= LOOPBACK


@pytest.mark.xdist_group("interrupted")
def test_ctrl_c_exits_with_130_and_keeps_finished_trials(stopped: Interrupted) -> None:
    assert stopped.code == 130
    assert len(stopped.trials) >= 2
    assert "interrupted" in stopped.stderr


@pytest.mark.xdist_group("interrupted")
def test_ctrl_c_prints_no_traceback_and_no_warning_of_ray(stopped: Interrupted) -> None:
    assert "Traceback" not in stopped.stderr
    assert "ERROR" not in stopped.stderr
    assert "Warning" not in stopped.stderr


def test_ctrl_c_while_ray_starts_ends_all_processes(quick: Project, tmp_path: Path) -> None:
    project = quick.copy(tmp_path)

    with project.started("tune", "--trials", "500") as process:
        wait(lambda: any(b"gcs_server" in _read(pid, "cmdline") for pid in project.processes()), process)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=TIMEOUT)
        wait(lambda: not project.processes())

    assert process.returncode == 130
    assert "Traceback" not in stderr


@pytest.mark.xdist_group("interrupted")
def test_a_stopped_tuning_does_not_change_the_served_bundle(job: Pipeline, stopped: Interrupted) -> None:
    digest = (stopped.project.store / "serving" / "current").resolve().name

    assert digest == job.output["deploy"]["digest"]


@pytest.mark.xdist_group("interrupted")
def test_a_resumed_tuning_continues_after_the_last_trial_of_the_journal(
    stopped: Interrupted, killed: Interrupted
) -> None:
    assert killed.code == -signal.SIGKILL
    assert killed.trials[: len(stopped.trials)] == stopped.trials
    assert len(killed.trials) >= len(stopped.trials) + 2


@pytest.mark.xdist_group("interrupted")
def test_no_finished_trial_is_repeated_after_a_kill(killed: Interrupted) -> None:
    """The journal holds four or more trials; one more is run, and each is in the table once."""
    project, number = killed.project, len(killed.trials) + 1

    tuned = project.run_json("tune", "--trials", str(number), "--resume")

    table = pd.read_parquet(project.store / "trials.parquet")
    tried = list(zip(table["family"], table["parameters"], strict=True))
    before = [(trial["family"], json.dumps(trial["parameters"], sort_keys=True)) for trial in killed.trials]
    assert tuned["trials"] == len(tried) == len(set(tried)) == number
    assert set(before) <= set(tried)
    assert not (project.store / "trials.jsonl").exists()

"""The whole job on the shipped sample, as a user types it, and what Ray must not do on the way (minutes)."""

from __future__ import annotations

import contextlib
import dataclasses
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
MARK = "STARGAZE_TEST_MARK"
LOOPBACK = {
    "0100007F",  # 127.0.0.1
    "0000000000000000FFFF00000100007F",  # the same, as IPv6 writes it
    "00000000000000000000000001000000",  # ::1
}
AGENTS = (b"ray::DashboardAgent", b"ray::RuntimeEnvAgent")
"""They compute nothing, and notice after a minute that their Ray was killed."""
PATIENCE = 120.0
"""Ray starts in 5 s on two idle cores, and in a minute on busy ones [s]."""


@dataclass(frozen=True)
class Machine:
    """A folder with a store, and the program as a user calls it there."""

    folder: Path
    mark: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    """In the environment of all that is started here, so that it is found again whoever its parent is."""

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def type(self, *words: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
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

    def ask(self, *words: str) -> Any:
        """Run a command and return its JSON."""
        return json.loads(self.type(*words, "--json").stdout)

    @contextlib.contextmanager
    def begun(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command; whatever is left of it at the end is killed."""
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
            for pid in self.running():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate()

    def running(self) -> list[int]:
        """Return all living processes that were started here."""
        marked = f"{MARK}={self.mark}".encode()
        return [pid for pid in _processes() if marked in _read(pid, "environ").split(b"\0")]

    def computing(self) -> list[int]:
        """Return those that do more than wait for a Ray that was killed."""
        return [pid for pid in self.running() if not _read(pid, "cmdline").startswith(AGENTS)]

    def trials(self) -> list[dict[str, Any]]:
        """Return the finished trials of the journal."""
        path = self.store / "trials.jsonl"
        lines = path.read_text().split("\n")[1:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def copied(self, folder: Path) -> Machine:
        """Return a machine with a copy of the store."""
        shutil.copytree(self.store, folder / "store", symlinks=True)
        return Machine(folder)

    def environment(self) -> dict[str, str]:
        """Return what a command here is started with."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("STARGAZE_", "RAY_"))}
        # One permutation instead of two, as in the demo: twenty seconds less.
        return {
            **own,
            MARK: self.mark,
            "XDG_CONFIG_HOME": str(self.folder),
            "STARGAZE_FEATURES_IMPORTANCE_REPEATS": "1",
        }


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    """Return a file of a process; nothing if it has ended or is not ours."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def listening(pids: list[int]) -> set[str]:
    """Return the addresses, as the kernel writes them, on which these processes take connections."""
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


def wait(until: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> None:
    """Look again and again until it is so, or until there is no more hope."""
    limit = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < limit, f"not within {PATIENCE:g} s"
        assert process is None or process.poll() is None, "the command ended before"
        time.sleep(0.05)


@dataclass(frozen=True)
class Job:
    """The machine after the whole job, and what the commands answered."""

    machine: Machine
    said: dict[str, Any]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Walk from the sample to a release, command by command."""
    machine = Machine(tmp_path_factory.mktemp("job"))
    said = {
        "fetch": machine.ask("fetch"),
        "select-features": machine.ask("select-features"),
        "screen": machine.ask("screen", "--max-rows", "1200"),
        "tune": machine.ask("tune", "--trials", "3"),
        "deploy": machine.ask("deploy"),
    }
    return Job(machine, said)


@pytest.fixture(scope="module")
def quick(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A copy on whose leaderboard only families stand that are fitted in a moment; only copied, never changed."""
    machine = job.machine.copied(tmp_path_factory.mktemp("quick"))
    board = pd.read_csv(machine.store / "leaderboard.csv")
    board[board["family"].isin(["dummy", "ridge", "elastic-net"])].to_csv(
        machine.store / "leaderboard.csv", index=False
    )
    return machine


def test_every_noun_is_where_it_should_be(job: Job) -> None:
    store = job.machine.store

    for name in ("repositories.parquet", "features.json", "selection.csv", "selection.svg", "leaderboard.csv"):
        assert (store / name).stat().st_size > 0
    digest = (store / "bundles" / "latest").read_text().strip()
    assert (store / "bundles" / digest / "manifest.json").is_file()
    assert (store / "serving" / "current").resolve().name == digest
    assert len(pd.read_parquet(store / "trials.parquet")) == 3
    assert not (store / "trials.jsonl").exists()


def test_nothing_half_made_is_left_in_the_store(job: Job) -> None:
    assert not [path for path in job.machine.store.rglob(".*") if path.name != ".lock"]


def test_the_sample_is_whole(job: Job) -> None:
    assert job.said["fetch"]["repositories"] > 13_000


def test_the_stars_under_another_name_are_refused_as_a_feature(job: Job) -> None:
    row = next(row for row in job.said["select-features"] if row["feature"] == "watchers")

    assert row["all"].startswith("leaks the target")
    kept = json.loads((job.machine.store / "features.json").read_text())["selected"]
    assert all("watchers" not in names for names in kept.values())


def test_every_family_is_screened_under_every_policy_and_beats_the_dummy(job: Job) -> None:
    board = pd.DataFrame(job.said["screen"])

    assert len(board) == 3 * len(select_families([]))
    assert (board["status"] == "ok").all()
    for _, rows in board.groupby("policy"):
        dummy = rows.loc[rows["family"] == "dummy", "rmsle"].item()
        assert (rows.loc[rows["family"] != "dummy", "rmsle"] < dummy).all()


def test_the_more_a_policy_may_see_the_better_it_is_and_all_beat_the_dummy(job: Job) -> None:
    scores = job.said["tune"]["scores"]
    board = pd.DataFrame(job.said["screen"])

    static, activity, everything = (scores[policy]["rmsle"] for policy in POLICIES)

    assert everything < activity < static < board.loc[board["family"] == "dummy", "rmsle"].min()
    assert everything < 0.55
    assert activity < 0.85


def test_no_score_is_too_good_to_be_true(job: Job) -> None:
    """R² of 0.97 or more is a leak until shown otherwise."""
    assert all(of["r2"] < 0.97 for of in job.said["tune"]["scores"].values())


def test_intervals_cover_held_out_repositories_about_as_often_as_they_say(job: Job) -> None:
    for of in job.said["tune"]["scores"].values():
        assert 0.85 <= of["coverage"] <= 0.95


def test_the_same_bundle_twice_is_nothing_to_do(job: Job) -> None:
    again = job.machine.ask("deploy")

    assert job.said["deploy"]["changed"]
    assert not again["changed"]
    assert len(job.machine.ask("releases")) == 1


def test_there_is_nothing_to_return_to_after_one_release(job: Job) -> None:
    refused = job.machine.type("rollback", expect=3)

    assert "to roll back to" in refused.stderr


def test_known_repositories_are_predicted_in_the_terminal(job: Job) -> None:
    answers = job.machine.ask("predict", "connors/photon", "https://github.com/feross/webtorrent", "Zeit/Hyper")

    assert {answer["full_name"] for answer in answers} == {"connors/photon", "feross/webtorrent", "zeit/hyper"}
    assert answers == sorted(answers, key=lambda answer: -answer["stars"])
    for answer in answers:
        assert answer["low"] <= answer["stars"] <= answer["high"]
        assert answer["stars"] > 500  # each has more than five thousand; most of the sample have none


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("predict", "../etc"), 2, "../etc"),
        (("predict", "no/such-repository"), 3, "no/such-repository"),
        (("screen", "--families", "lightgmb"), 2, "lightgmb"),
        (("tune", "--resume"), 3, "no stopped tuning"),
        (("deploy", "0123456789"), 3, "0123456789"),
    ],
)
def test_what_cannot_be_is_one_line_a_hint_and_a_code(job: Job, words: tuple[str, ...], code: int, said: str) -> None:
    refused = job.machine.type(*words, expect=code)

    assert said in refused.stderr
    assert "hint:" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert refused.stdout == ""


def test_a_run_skips_what_is_done_and_its_page_answers_what_the_terminal_does(job: Job) -> None:
    """The figures on the page are those that were tested."""
    done = job.machine.type("run", "--once", "--trials", "3", "--port", "0", "--json")

    over_http = json.loads(done.stdout)

    assert done.stderr.count("done already") == 5
    assert len(over_http) == 5
    in_terminal = job.machine.ask("predict", *(answer["full_name"] for answer in over_http))
    assert [answer["rank"] for answer in over_http] == [1, 2, 3, 4, 5]
    assert [
        {name: paged[name] for name in told} for paged, told in zip(over_http, in_terminal, strict=True)
    ] == in_terminal
    assert not any(answer["in_training_data"] for answer in over_http)


def test_the_page_leaves_no_process_behind(job: Job) -> None:
    assert job.machine.running() == []


@pytest.fixture(scope="module")
def second(quick: Machine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Machine, Any]:
    """A store with a second bundle, tuned with a seed and one trial at a time."""
    machine = quick.copied(tmp_path_factory.mktemp("second"))
    return machine, machine.ask("tune", "--trials", "3", "--max-concurrent", "1", "--seed", "5")


def test_a_second_release_serves_and_a_rollback_returns_to_the_first(job: Job, second: tuple[Machine, Any]) -> None:
    machine, tuned = second
    first = job.said["deploy"]["digest"]

    refused = machine.type("deploy", expect=1)
    still = (machine.store / "serving" / "current").resolve().name
    machine.type("deploy", "--force", "it answers faster")
    deployed = (machine.store / "serving" / "current").resolve().name
    machine.type("rollback")
    returned = (machine.store / "serving" / "current").resolve().name

    assert "predicts worse than" in refused.stderr  # three linear models, where the first release had all families
    assert still == first
    assert deployed == Path(tuned["bundle"]).name != first
    assert returned == first
    assert [release["forced"] for release in machine.ask("releases")] == ["", "it answers faster", ""]
    assert [release["kind"] for release in machine.ask("releases")] == ["rollback", "deploy", "deploy"]


def test_a_commit_is_trained_in_the_background_and_kept_back_where_it_is_worse(quick: Machine, tmp_path: Path) -> None:
    machine = quick.copied(tmp_path)
    before = (machine.store / "serving" / "current").resolve()
    (machine.folder / "stargaze.toml").write_text("[tuning]\ntrials = 4\n")
    git = ("git", "-c", "user.name=a tester", "-c", "user.email=tester@stargaze.invalid")
    subprocess.run([*git, "init", "--quiet"], cwd=machine.folder, check=True)
    machine.type("hook", "install")

    commit = [*git, "commit", "--quiet", "--allow-empty", "--message", "more trials"]
    subprocess.run(commit, cwd=machine.folder, env=machine.environment(), check=True)
    wait(lambda: (machine.store / "commit.json").is_file() and not machine.ask("hook", "status")["running"])

    ended = machine.ask("hook", "status")
    assert (ended["well"], "predicts worse than" in ended["said"]) == (False, True), ended
    assert (machine.store / "serving" / "current").resolve() == before
    assert (machine.store / "bundles" / "latest").read_text().strip() != before.name


def test_the_same_seed_one_trial_at_a_time_finds_the_same_best(
    quick: Machine, second: tuple[Machine, Any], tmp_path: Path
) -> None:
    machine, tuned = second
    other = quick.copied(tmp_path)

    again = other.ask("tune", "--trials", "3", "--max-concurrent", "1", "--seed", "5")

    assert _timeless(again["best"]) == _timeless(tuned["best"])
    assert again["scores"] == tuned["scores"]
    tables = [
        pd.read_parquet(each.store / "trials.parquet").drop(columns=["seconds", "at"]) for each in (machine, other)
    ]
    pd.testing.assert_frame_equal(*tables)


def _timeless(trial: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in trial.items() if name not in ("seconds", "at")}


@dataclass(frozen=True)
class Interrupted:
    """A tuning that was ended in mid-run: what there was before and what is there now."""

    machine: Machine
    before: list[dict[str, Any]]
    code: int
    said: str
    listened: set[str]


def end(machine: Machine, number: signal.Signals, trials: int, *words: str) -> Interrupted:
    """Begin a long tuning, end it by a signal once so many trials are done."""
    with machine.begun("tune", "--trials", "500", "--max-concurrent", "1", *words) as process:
        wait(lambda: len(machine.trials()) >= trials, process)
        listened = listening(machine.running())
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
        wait(lambda: not (machine.computing() if number == signal.SIGKILL else machine.running()))
    return Interrupted(machine, machine.trials(), process.returncode, said, listened)


@pytest.fixture(scope="module")
def stopped(quick: Machine, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """Ctrl-C after two trials; the end of every process of the run is awaited, Ray's too."""
    return end(quick.copied(tmp_path_factory.mktemp("stopped")), signal.SIGINT, 2)


@pytest.fixture(scope="module")
def killed(stopped: Interrupted, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """The stopped tuning, resumed and then killed two trials later; what still computes after that is awaited."""
    machine = stopped.machine.copied(tmp_path_factory.mktemp("killed"))
    return end(machine, signal.SIGKILL, len(stopped.before) + 2, "--resume")


def test_ray_listens_on_loopback_only(stopped: Interrupted) -> None:
    """Whoever reaches one of its ports runs code here (CVE-2023-48022)."""
    assert stopped.listened
    assert stopped.listened <= LOOPBACK


def test_ctrl_c_ends_with_130_and_keeps_what_was_found(stopped: Interrupted) -> None:
    assert stopped.code == 130
    assert len(stopped.before) >= 2
    assert "interrupted" in stopped.said


def test_ctrl_c_says_so_in_lines_that_people_read(stopped: Interrupted) -> None:
    assert "Traceback" not in stopped.said
    assert "ERROR" not in stopped.said
    assert "Warning" not in stopped.said


def test_ctrl_c_while_ray_starts_ends_all_of_it(quick: Machine, tmp_path: Path) -> None:
    machine = quick.copied(tmp_path)

    with machine.begun("tune", "--trials", "500") as process:
        wait(lambda: any(b"gcs_server" in _read(pid, "cmdline") for pid in machine.running()), process)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
        wait(lambda: not machine.running())

    assert process.returncode == 130
    assert "Traceback" not in said


def test_the_bundle_that_serves_is_untouched_by_a_stopped_tuning(job: Job, stopped: Interrupted) -> None:
    digest = (stopped.machine.store / "serving" / "current").resolve().name

    assert digest == job.said["deploy"]["digest"]


def test_a_resumed_tuning_goes_on_where_the_journal_ends(stopped: Interrupted, killed: Interrupted) -> None:
    assert killed.code == -signal.SIGKILL
    assert killed.before[: len(stopped.before)] == stopped.before
    assert len(killed.before) >= len(stopped.before) + 2


def test_after_a_kill_no_finished_trial_is_repeated(killed: Interrupted) -> None:
    """Four and more are in the journal: one is left to try, and all are in the table once."""
    machine, wanted = killed.machine, len(killed.before) + 1

    tuned = machine.ask("tune", "--trials", str(wanted), "--resume")

    table = pd.read_parquet(machine.store / "trials.parquet")
    tried = list(zip(table["family"], table["parameters"], strict=True))
    before = [(trial["family"], json.dumps(trial["parameters"], sort_keys=True)) for trial in killed.before]
    assert tuned["trials"] == len(tried) == len(set(tried)) == wanted
    assert set(before) <= set(tried)
    assert not (machine.store / "trials.jsonl").exists()

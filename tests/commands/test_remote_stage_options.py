"""Stages on the cluster as they are typed: a desk in memory stands in for the head, and what cannot be is one clear line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import ExternalError
from stargaze.infra.jobs import client as carry
from stargaze.infra.jobs import remote_stage as elsewhere
from stargaze.infra.jobs.server import Desk
from stargaze.store import Store, lock_store
from stargaze.system.ssh import SSH_FAILED
from tests.conftest import Ended
from tests.infra.jobs.conftest import FakeHead, FakeJobs, There

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
    """A store with what every stage takes along; nobody here looks inside."""
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
def there(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> There:
    """The head of that cluster: a desk in this process, whose jobs end at once."""
    monkeypatch.setattr("stargaze.infra.jobs.server.LOOK", 0.01)
    monkeypatch.setattr("stargaze.infra.jobs.server.ASK", 0.01)
    monkeypatch.setattr(carry, "AGAIN", (0.0,))
    folder = tmp_path / "there"
    folder.mkdir()
    jobs: Any = FakeJobs()
    made = There(Desk(folder, jobs), jobs)
    made.does({"ended": 0}, answer=[{"family": "ridge"}], makes={"leaderboard.csv": "made there"})
    monkeypatch.setattr(elsewhere, "head", lambda *_: FakeHead(made.desk))
    return made


def errand() -> Path:
    return Path("store/errand.json")


# ---- the way there and back -----------------------------------------------------------------------------------------


def test_what_is_left_there_is_met_later_and_its_answer_is_the_same(run: Run, there: There, place: Store) -> None:
    left = run("screen", "--detach", "--json")
    assert left.code == 0
    begun = json.loads(left.out)
    assert left.err.splitlines()[-1] == "next: stargaze screen --attach"
    assert begun == {name: json.loads(errand().read_text())[name] for name in ("id", "stage", "machine", "began")}

    met = run("screen", "--attach", "--json")

    assert (met.code, json.loads(met.out)) == (0, [{"family": "ridge"}])
    assert place.leaderboard.read_text() == "made there"
    assert not errand().exists()
    again = run("screen", "--attach")
    assert (again.code, again.error) == (3, "no screen of this store is on the cluster")
    assert again.hint == "stargaze screen --on cluster"


@pytest.mark.parametrize(
    ("code", "hint"), [(1, "look"), (2, "type it right"), (3, "stargaze fetch"), (4, "a token"), (5, "df -h")]
)
def test_an_error_there_ends_the_command_here_as_it_would_have_there(
    run: Run, there: There, code: int, hint: str
) -> None:
    there.does({"error": "what is wrong", "hint": hint, "code": code}, {"ended": code})

    ended = run("screen", "--on", "cluster", "--json")

    assert (ended.code, ended.out, ended.error, ended.hint) == (code, "", "what is wrong", hint)
    assert not errand().exists()


def test_ctrl_c_says_what_goes_on(run: Run, there: There, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeHead, "follow", pressed)

    ended = run("tune", "--on", "cluster")

    assert (ended.code, ended.out) == (130, "")
    assert ended.err.splitlines()[-1] == "hint:  stargaze tune --resume continues"
    assert not errand().exists()


def test_a_head_that_is_lost_leaves_the_stage_to_be_met(
    run: Run, there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: Any) -> Any:
        raise ExternalError("development is out of reach: no answer")

    monkeypatch.setattr(FakeHead, "follow", lost)

    ended = run("screen", "--on", "cluster")

    assert (ended.code, ended.error) == (5, "development is out of reach: no answer")
    assert ended.hint == "it goes on there; stargaze screen --attach follows it again"
    assert errand().exists()


# ---- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_met_where_nothing_was_begun(run: Run, place: Store, stage: str) -> None:
    """Whether there is a cluster or not."""
    for config in ("", CLUSTER):
        Path("stargaze.toml").write_text(config)

        ended = run(stage, "--attach", "--json")

        assert (ended.code, ended.out) == (3, "")
        assert (ended.error, ended.hint) == (
            f"no {stage} of this store is on the cluster",
            f"stargaze {stage} --on cluster",
        )


@pytest.mark.parametrize("stage", ["fetch", "select-features", "tune"])
def test_another_stage_than_the_one_that_is_there_is_neither_met_nor_begun(run: Run, there: There, stage: str) -> None:
    run("screen", "--detach")

    met, begun = run(stage, "--attach"), run(stage, "--on", "cluster")

    assert (met.code, met.error, met.hint) == (2, "it is screen that is on the cluster", "stargaze screen --attach")
    assert begun.code == 5
    assert "screen of this store " in begun.error
    assert begun.hint == "stargaze screen --attach"
    assert json.loads(errand().read_text())["stage"] == "screen"


@pytest.mark.parametrize(
    ("words", "late"),
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
    ids=lambda words: " ".join(words) if isinstance(words, list) else words,
)
def test_who_meets_a_stage_cannot_ask_for_another_one(run: Run, there: There, words: list[str], late: str) -> None:
    run(words[0], "--detach")

    met = run(*words, "--attach")

    assert met.code == 2
    assert met.error == f"--{late} cannot be combined with --attach, which follows a job that is already running"
    assert errand().exists()


@pytest.mark.parametrize("words", [["--on", "cluster"], ["--detach"]], ids=" ".join)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("config", "code", "said", "hint"),
    [
        ("", 3, "no machines have been created from this store", "stargaze infra up"),
        ('[infra]\nprovider = "static"\n', 2, "infra.hosts is empty", "[infra.hosts]"),
        (CLUSTER.replace("development", "production1"), 3, "the cluster has no development machine", "infra up"),
    ],
    ids=["none", "without hosts", "without a head"],
)
def test_a_cluster_that_is_not_there_is_said(
    run: Run, place: Store, stage: str, words: list[str], config: str, code: int, said: str, hint: str
) -> None:
    Path("stargaze.toml").write_text(config)

    ended = run(stage, *words, "--json")

    assert (ended.code, ended.out) == (code, "")
    assert said in ended.error
    assert hint in ended.hint
    assert not errand().exists()


@pytest.mark.parametrize(
    ("code", "out", "err", "said", "hint"),
    [
        (
            SSH_FAILED,
            "",
            "ssh: No route to host",
            "ssh login to development failed: ssh: No route",
            "infra status",
        ),
        (1, "", "python: No module named stargaze.errands", "development has no stargaze", "configure --tags ray"),
        (0, '{"code": "other"}', "", "development has another stargaze than this machine", "configure --tags ray"),
        (1, "", "sudo: a password is required", "development: sudo: a password is required", "stargaze infra status"),
    ],
    ids=["away", "without stargaze", "with another", "without rights"],
)
def test_a_head_that_cannot_take_it_is_said_and_nothing_is_left_behind(
    run: Run, cluster: None, monkeypatch: pytest.MonkeyPatch, code: int, out: str, err: str, said: str, hint: str
) -> None:
    answered = subprocess.CompletedProcess("ssh", code, out.encode(), err.encode())
    monkeypatch.setattr("stargaze.system.ssh.run_program", lambda *_, **__: answered)

    ended = run("screen", "--on", "cluster")

    assert ended.code == 5
    assert said in ended.error
    assert hint in ended.hint
    assert not errand().exists()


@pytest.mark.parametrize("words", [["--on", "cluster"], ["--detach"], ["--attach"]], ids=" ".join)
def test_two_commands_at_once_in_a_store_are_one_too_many(
    run: Run, there: There, place: Store, words: list[str]
) -> None:
    with lock_store(place):
        ended = run("screen", *words)

    assert (ended.code, ended.hint) == (5, "wait for it, or stargaze status")
    assert there.jobs.known == {}


def test_a_tuning_that_was_not_stopped_is_not_gone_on_with(run: Run, there: There) -> None:
    ended = run("tune", "--resume", "--on", "cluster")

    assert (ended.code, ended.error) == (3, "there is no stopped tuning to go on with")
    assert ended.hint == "stargaze tune --on cluster"


def test_what_is_about_trials_says_nothing_of_growth_there_either(
    run: Run, there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARGAZE_TUNING_TARGET", "growth")

    ended = run("tune", "--on", "cluster", "--time-budget", "60")

    assert (ended.code, ended.error) == (2, '--time-budget has no effect when tuning.target is "growth"')
    assert there.jobs.known == {}


def test_a_note_of_an_errand_that_cannot_be_read_is_one_line(run: Run, there: There) -> None:
    errand().write_text("{")

    for words in (["--attach"], ["--on", "cluster"]):
        ended = run("screen", *words)
        assert ended.code == 5
        assert ended.error.startswith("store/errand.json: cannot be read")


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["screen", "--on", "cluster", "--max-rows", "-1"], "screening.max_rows"),
        (["tune", "--detach", "--trials", "0"], "tuning.trials"),
        (["fetch", "--on", "cluster", "--sampling", "best"], "github.sampling"),
        (["tune", "--on", "Cluster"], "tuning.on"),
    ],
    ids=" ".join,
)
def test_options_are_checked_here_before_anything_travels(
    run: Run, there: There, words: list[str], option: str
) -> None:
    ended = run(*words)

    assert ended.code == 2
    assert ended.error.startswith(f"option: {option} should be ")
    assert there.jobs.known == {}

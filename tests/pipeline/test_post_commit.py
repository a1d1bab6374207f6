"""The post-commit hook: git calls it, and a commit during a run starts another run afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stargaze.cli import main
from stargaze.errors import DifferenceFoundError, MissingInputError
from stargaze.pipeline import post_commit
from stargaze.pipeline.commit_hook import install_hook
from stargaze.pipeline.post_commit import read_outcome, run_files, run_requested
from stargaze.store import Store
from stargaze.system.files import write_json
from tests.waiting import wait_for

pytestmark = pytest.mark.real


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "work")
    return tmp_path / "work"


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a tester", "-c", "user.email=tester@stargaze.invalid"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def clock() -> datetime:
    return datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_a_commit_starts_the_stages_in_the_background(folder: Path, store: Store) -> None:
    """An invalid config ends the stages at once; the error is in the log."""
    config = folder / "stargaze.toml"
    config.write_text("[tuning]\ntarget = 'growth'\n")
    install_hook(folder, store, config)

    output = git(folder, "commit", "--quiet", "--allow-empty", "--message", "a change")

    assert "training the committed state" in output
    wait_for(lambda: run_files(store).outcome.is_file() and bool(read_outcome(store)["finished"]), 60)
    assert read_outcome(store)["succeeded"] is False
    assert "tuning.target = \"stars\", not 'growth'" in read_outcome(store)["message"]
    wait_for(lambda: "error: " in run_files(store).log.read_text(), 60)


def test_a_config_in_a_subfolder_of_the_repository_is_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Git calls the hook in the root of the repository, which has no config and where relative paths differ."""
    inner = folder / "a model"
    inner.mkdir()
    (inner / "stargaze.toml").write_text("[tuning]\ntarget = 'growth'\n")
    monkeypatch.chdir(inner)
    with pytest.raises(SystemExit):
        main(["hook", "install"])
    hook = folder / ".git" / "hooks" / "post-commit"
    assert capsys.readouterr().out.startswith(f"wrote {hook}")

    git(folder, "commit", "--quiet", "--allow-empty", "--message", "a change")

    store = Store(inner / "store")
    wait_for(lambda: run_files(store).outcome.is_file() and bool(read_outcome(store)["finished"]), 60)
    assert "tuning.target = \"stars\", not 'growth'" in read_outcome(store)["message"]
    assert hook.read_text().splitlines()[-1].startswith(f"cd '{inner}' && exec ")
    assert hook.read_text().endswith(f" --config '{inner / 'stargaze.toml'}'\n")


def test_a_commit_during_a_run_starts_one_more_run_afterwards(store: Store) -> None:
    store.root.mkdir(parents=True)
    request, go_on, at_once, rounds = run_files(store).request, threading.Event(), [0, 0], []

    def stages() -> None:
        at_once[0] += 1
        at_once[1] = max(at_once)
        rounds.append(len(rounds))
        go_on.wait(30)
        at_once[0] -= 1

    request.touch()
    first = threading.Thread(target=run_requested, args=(store, stages, clock))
    first.start()
    wait_for(lambda: len(rounds) == 1, 30)
    for _ in range(3):
        request.touch()
        run_requested(store, stages, clock)  # returns at once
    go_on.set()
    first.join(30)

    assert (len(rounds), at_once[1]) == (2, 1)
    assert read_outcome(store) == {
        "started": "2026-03-01T12:00:00+00:00",
        "finished": "2026-03-01T12:00:00+00:00",
        "succeeded": True,
        "message": "released",
        "running": False,
    }


def test_the_outcome_of_a_failed_run_is_recorded_and_raised(store: Store) -> None:
    def stages() -> None:
        raise DifferenceFoundError("predicts worse", hint="stargaze deploy --force")

    store.root.mkdir(parents=True)
    run_files(store).request.touch()

    with pytest.raises(DifferenceFoundError):
        run_requested(store, stages, clock)

    assert read_outcome(store)["message"] == "predicts worse (stargaze deploy --force)"


@pytest.mark.parametrize("raised", [KeyError("stars"), KeyboardInterrupt()], ids=lambda raised: type(raised).__name__)
def test_an_unexpected_exception_is_recorded_and_raised(store: Store, raised: BaseException) -> None:
    def stages() -> None:
        raise raised

    post_commit.request_run(store)

    with pytest.raises(type(raised)):
        run_requested(store, stages, clock)

    ended = read_outcome(store)
    assert (ended["running"], ended["succeeded"], bool(ended["finished"])) == (False, False, True)
    assert ended["message"].startswith(f"{type(raised).__name__}: ")


def test_a_waiting_commit_runs_after_an_unexpected_exception(store: Store) -> None:
    rounds: list[int] = []

    def stages() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            post_commit.request_run(store)
            raise KeyError("stars")

    post_commit.request_run(store)
    run_requested(store, stages, clock)

    assert (len(rounds), read_outcome(store)["message"]) == (2, "released")


SCRIPT = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from stargaze.pipeline import post_commit
from stargaze.store import Store

store = Store(Path(sys.argv[1]))

def stages():
    print(post_commit.read_outcome(store)["running"], flush=True)
    {more}
    os.kill(os.getpid(), signal.SIGKILL)

post_commit.request_run(store)
post_commit.run_requested(store, stages, lambda: datetime.now(UTC))
"""


@pytest.mark.parametrize("more", ["", "post_commit.request_run(store)"], ids=["alone", "while a commit waits"])
def test_a_killed_run_is_not_reported_as_running(store: Store, more: str) -> None:
    script = SCRIPT.format(more=more)
    done = subprocess.run([sys.executable, "-c", script, store.root], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "True\n"), done.stderr
    ended = read_outcome(store)
    assert (ended["running"], ended["succeeded"]) == (False, False)
    assert ended["message"] == post_commit.KILLED
    run_requested(store, lambda: None, clock)
    assert read_outcome(store)["message"] == ("released" if more else post_commit.KILLED)


def test_a_reused_process_id_is_not_reported_as_running(store: Store) -> None:
    """As after a restart of the machine, where process ids start again."""
    post_commit.request_run(store)
    run_requested(store, lambda: None, clock)
    files = run_files(store)
    write_json(
        files.outcome, {"started": "2026-03-01T12:00:00+00:00", "finished": "", "succeeded": False, "message": ""}
    )
    files.lock.write_text(f"{os.getpid()}\n")
    assert read_outcome(store)["running"]

    os.utime(files.lock, (1_000_000_000, 1_000_000_000))

    assert not read_outcome(store)["running"]


def test_the_status_before_the_first_run_is_a_missing_input(store: Store) -> None:
    with pytest.raises(MissingInputError, match=r"commit\.json does not exist yet"):
        post_commit.read_outcome(store)


def test_an_outcome_of_an_older_version_is_one_clear_error(store: Store) -> None:
    write_json(run_files(store).outcome, {"began": "2026-03-01T12:00:00+00:00", "ended": "", "well": True, "said": ""})

    with pytest.raises(MissingInputError, match="was written by an older version") as caught:
        read_outcome(store)

    assert caught.value.hint == "stargaze hook start"

"""What a commit sets off: a real git calls the hook, and no commit is forgotten while another's stages run."""

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
from stargaze.errors import DifferenceFoundError, MissingInputError, UsageError
from stargaze.pipeline import post_commit as on_commit
from stargaze.pipeline.post_commit import files_of, install, outcome, remove, run
from stargaze.store import Store
from stargaze.system.files import write_json
from tests.waiting import wait_for

pytestmark = pytest.mark.real


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "work")
    return tmp_path / "work"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a tester", "-c", "user.email=tester@stargaze.invalid"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def clock() -> datetime:
    return datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_a_commit_begins_the_stages_and_does_not_wait_for_them(folder: Path, store: Store) -> None:
    """What the stages are is not this test's matter: a config with a slip ends them at once, in the log."""
    config = folder / "stargaze.toml"
    config.write_text("[tuning]\ntarget = 'growth'\n")
    install(folder, store, config)

    said = git(folder, "commit", "--quiet", "--allow-empty", "--message", "a change")

    assert "is being trained" in said
    wait_for(lambda: files_of(store).outcome.is_file() and bool(outcome(store)["ended"]), 60)
    assert outcome(store)["well"] is False
    assert "shows stars; tuning.target is 'growth'" in outcome(store)["said"]
    wait_for(lambda: "error: " in files_of(store).log.read_text(), 60)


def test_a_config_in_a_folder_of_the_repository_is_heeded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Git calls the hook where the repository begins: there is no config there, and paths in it mean other files."""
    inner = folder / "a model"
    inner.mkdir()
    (inner / "stargaze.toml").write_text("[tuning]\ntarget = 'growth'\n")
    monkeypatch.chdir(inner)
    with pytest.raises(SystemExit):
        main(["hook", "install"])
    hook = folder / ".git" / "hooks" / "post-commit"
    assert capsys.readouterr().out.startswith(f"{hook} is written")

    git(folder, "commit", "--quiet", "--allow-empty", "--message", "a change")

    store = Store(inner / "store")
    wait_for(lambda: files_of(store).outcome.is_file() and bool(outcome(store)["ended"]), 60)
    assert "tuning.target is 'growth'" in outcome(store)["said"]
    assert hook.read_text().splitlines()[-1].startswith(f"cd '{inner}' && exec ")
    assert hook.read_text().endswith(f" --config '{inner / 'stargaze.toml'}'\n")


def test_a_hook_of_somebody_else_stays(folder: Path, store: Store) -> None:
    path = folder / ".git" / "hooks" / "post-commit"
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\necho theirs\n")

    with pytest.raises(UsageError, match="was not written by stargaze") as caught:
        install(folder, store, None)
    with pytest.raises(MissingInputError):
        remove(folder)

    assert "stargaze hook begin --store" in caught.value.hint
    assert "theirs" in path.read_text()


def test_what_is_installed_twice_is_one_and_can_be_removed(folder: Path, store: Store) -> None:
    path = install(folder, store, None)
    once = path.read_text()

    assert install(folder, store, None).read_text() == once
    assert remove(folder) == path
    assert not path.exists()


def test_no_hook_without_a_repository(tmp_path: Path, store: Store) -> None:
    with pytest.raises(UsageError, match="is in no git repository"):
        install(tmp_path, store, None)


def test_a_commit_while_the_stages_run_has_them_run_once_more_and_never_beside(store: Store) -> None:
    store.root.mkdir(parents=True)
    asked, go_on, at_once, rounds = files_of(store).asked, threading.Event(), [0, 0], []

    def stages() -> None:
        at_once[0] += 1
        at_once[1] = max(at_once)
        rounds.append(len(rounds))
        go_on.wait(30)
        at_once[0] -= 1

    asked.touch()
    first = threading.Thread(target=run, args=(store, stages, clock))
    first.start()
    wait_for(lambda: len(rounds) == 1, 30)
    for _ in range(3):
        asked.touch()
        run(store, stages, clock)  # answers at once
    go_on.set()
    first.join(30)

    assert (len(rounds), at_once[1]) == (2, 1)
    assert outcome(store) == {
        "began": "2026-03-01T12:00:00+00:00",
        "ended": "2026-03-01T12:00:00+00:00",
        "well": True,
        "said": "released",
        "under way": False,
    }


def test_how_it_ended_is_kept_and_raised(store: Store) -> None:
    def stages() -> None:
        raise DifferenceFoundError("predicts worse", hint="stargaze deploy --force")

    store.root.mkdir(parents=True)
    files_of(store).asked.touch()

    with pytest.raises(DifferenceFoundError):
        run(store, stages, clock)

    assert outcome(store)["said"] == "predicts worse (stargaze deploy --force)"


@pytest.mark.parametrize("raised", [KeyError("stars"), KeyboardInterrupt()], ids=lambda raised: type(raised).__name__)
def test_what_no_stage_should_raise_is_kept_and_raised_too(store: Store, raised: BaseException) -> None:
    def stages() -> None:
        raise raised

    on_commit.ask(store)

    with pytest.raises(type(raised)):
        run(store, stages, clock)

    ended = outcome(store)
    assert (ended["under way"], ended["well"], bool(ended["ended"])) == (False, False, True)
    assert ended["said"].startswith(f"{type(raised).__name__}: ")


def test_a_commit_that_waits_has_its_turn_also_after_what_no_stage_should_raise(store: Store) -> None:
    rounds: list[int] = []

    def stages() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            on_commit.ask(store)
            raise KeyError("stars")

    on_commit.ask(store)
    run(store, stages, clock)

    assert (len(rounds), outcome(store)["said"]) == (2, "released")


KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from stargaze.pipeline import post_commit as on_commit
from stargaze.store import Store

store = Store(Path(sys.argv[1]))

def stages():
    print(on_commit.outcome(store)["under way"], flush=True)
    {more}
    os.kill(os.getpid(), signal.SIGKILL)

on_commit.ask(store)
on_commit.run(store, stages, lambda: datetime.now(UTC))
"""


@pytest.mark.parametrize("more", ["", "on_commit.ask(store)"], ids=["alone", "while a commit waits"])
def test_stages_that_were_killed_are_not_under_way(store: Store, more: str) -> None:
    script = KILLED.format(more=more)
    done = subprocess.run([sys.executable, "-c", script, store.root], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "True\n"), done.stderr
    ended = outcome(store)
    assert (ended["under way"], ended["well"]) == (False, False)
    assert ended["said"] == on_commit.CUT_SHORT
    run(store, lambda: None, clock)
    assert outcome(store)["said"] == ("released" if more else on_commit.CUT_SHORT)


def test_another_process_that_has_the_number_of_one_that_was_killed_is_not_at_work(store: Store) -> None:
    """As after the machine went down, where numbers begin anew."""
    on_commit.ask(store)
    run(store, lambda: None, clock)
    files = files_of(store)
    write_json(files.outcome, {"began": "2026-03-01T12:00:00+00:00", "ended": "", "well": False, "said": ""})
    files.lock.write_text(f"{os.getpid()}\n")
    assert outcome(store)["under way"]

    os.utime(files.lock, (1_000_000_000, 1_000_000_000))

    assert not outcome(store)["under way"]


def test_before_the_first_commit_there_is_nothing_to_say(store: Store) -> None:
    with pytest.raises(MissingInputError, match=r"commit\.json is not there yet"):
        on_commit.outcome(store)

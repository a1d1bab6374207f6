"""An errand from its beginning to what it leaves here."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from stargaze.bundle.manifest import BadBundleError, write_manifest
from stargaze.config import Config
from stargaze.errors import CredentialsError, ExternalError, MissingInputError, StargazeError, UsageError
from stargaze.infra.jobs import client as carry
from stargaze.infra.jobs.client import JobRecord, check_inputs, follow, send
from stargaze.infra.jobs.spec import errand
from stargaze.store import Store
from tests.infra.jobs.conftest import NOW, FakeHead, There
from tests.waiting import wait_for

TOLD = list[tuple[str, float]]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing."""
    monkeypatch.setattr(carry, "AGAIN", (0.0, 0.0))
    monkeypatch.setattr("stargaze.infra.jobs.server.LOOK", 0.01)
    monkeypatch.setattr("stargaze.infra.jobs.server.ASK", 0.01)


def begun(head: FakeHead, store: Store, stage: str = "tune", *, resume: bool = False, **secrets: str) -> None:
    send(errand(stage, Config(), store, resume=resume), head, store, NOW, secrets, lambda *_: None)


def bundle(folder: Path) -> dict[str, str]:
    """Make the files of a bundle, by the names that they have in a store."""
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    digest = write_manifest(folder)
    return {f"bundles/{digest}/{path.name}": path.read_text() for path in folder.iterdir()} | {
        "bundles/latest": f"{digest}\n"
    }


def test_what_was_made_there_is_here_as_if_it_were_made_here(
    there: There, head: FakeHead, filled: Store, tmp_path: Path
) -> None:
    files, told = bundle(tmp_path / "made"), TOLD()
    answer = {"bundle": "store/bundles/x"}
    there.does(
        {"what": "trial 1 of 2", "done": 0.5}, {"ended": 0},
        answer=answer, makes={**files, "trials.parquet": "trials", "trials.jsonl": ""},
    )  # fmt: skip
    begun(head, filled)

    found = follow("tune", head, filled, lambda *one: told.append(one))

    assert (found.value, found.text) == (answer, "in words")
    assert ("trial 1 of 2", 0.5) in told
    assert {name: (filled.root / name).read_text() for name in files} == files
    assert filled.trials.read_text() == "trials"
    assert not filled.journal.exists()
    assert not JobRecord(filled).path.exists()
    assert [path.name for path in filled.root.iterdir() if path.name.startswith(".")] == []


def test_only_what_the_head_has_not_travels(there: There, head: FakeHead, filled: Store) -> None:
    lacking = list[list[str]]()
    begun(head, filled)
    JobRecord(filled).path.unlink()
    filled.leaderboard.write_text("another")

    class Watched(FakeHead):
        def look(self, wanted: Any) -> dict[str, Any]:
            found = super().look(wanted)
            lacking.append(found["lacks"])
            return found

    begun(Watched(there.desk), filled)

    assert lacking == [["leaderboard.csv"]]
    assert (there.desk.store / "leaderboard.csv").read_text() == "another"


def test_a_bundle_that_is_not_whole_is_refused_and_nothing_is_put_in_place(
    there: There, head: FakeHead, filled: Store, tmp_path: Path
) -> None:
    files = bundle(tmp_path / "made")
    files = {name: "[]" if name.endswith("bundle.json") else text for name, text in files.items()}
    there.does({"ended": 0}, answer={}, makes={**files, "trials.parquet": "trials"})
    begun(head, filled)

    with pytest.raises(BadBundleError):
        follow("tune", head, filled, lambda *_: None)

    assert not filled.bundles.exists()
    assert not filled.trials.exists()
    assert JobRecord(filled).path.exists()  # it can be tried again


def test_ctrl_c_stops_the_job_and_brings_the_journal(there: There, head: FakeHead, filled: Store) -> None:
    there.does({"what": "trial 1 of 9", "done": 0.1}, makes={"trials.jsonl": "a journal"})
    there.jobs.work = _and_then_runs_on(there)
    begun(head, filled)

    def pressed(what: str, _done: float) -> None:
        if what.startswith("trial"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow("tune", head, filled, pressed)

    assert list(there.jobs.known.values()) == ["STOPPED"]
    assert filled.journal.read_text() == "a journal"
    assert not JobRecord(filled).path.exists()


def _and_then_runs_on(there: There) -> Any:
    before = there.jobs.work

    def work() -> None:
        before()
        while "RUNNING" in there.jobs.known.values():
            pass

    return work


def test_a_connection_that_breaks_is_made_again_where_it_broke(there: There, head: FakeHead, filled: Store) -> None:
    told = TOLD()
    there.does(*({"what": f"trial {number}", "done": 0.1} for number in range(4)), {"ended": 0}, answer={})
    begun(head, filled)
    head.breaks = 4

    follow("tune", head, filled, lambda *one: told.append(one))

    assert [what for what, _ in told] == [f"trial {number}" for number in range(4)]


def test_a_head_that_stays_out_of_reach_leaves_the_job_to_itself(there: There, head: FakeHead, filled: Store) -> None:
    begun(head, filled)

    class Gone(FakeHead):
        def follow(self, offset: int) -> Any:
            raise ExternalError("development is out of reach: no answer")

    with pytest.raises(ExternalError, match="out of reach") as raised:
        follow("tune", Gone(there.desk), filled, lambda *_: None)

    assert "stargaze tune --attach" in raised.value.hint
    assert JobRecord(filled).path.exists()


def test_a_desk_that_refuses_to_be_followed_is_not_asked_for_ever(there: There, head: FakeHead, filled: Store) -> None:
    asked = list[int]()
    begun(head, filled)

    class Refusing(FakeHead):
        def follow(self, offset: int) -> Any:
            asked.append(offset)
            raise CredentialsError("development: Ray refuses the token", hint="stargaze infra configure")

    with pytest.raises(CredentialsError, match="Ray refuses the token"):
        follow("tune", Refusing(there.desk), filled, lambda *_: None)

    assert asked == [0]
    assert JobRecord(filled).path.exists()  # it goes on there


def test_an_error_there_is_the_same_error_here(there: There, head: FakeHead, filled: Store) -> None:
    there.does({"error": "no leaderboard", "hint": "stargaze screen", "code": 3}, {"ended": 3})
    begun(head, filled)

    with pytest.raises(MissingInputError, match="no leaderboard") as raised:
        follow("tune", head, filled, lambda *_: None)

    assert raised.value.hint == "stargaze screen"
    assert not JobRecord(filled).path.exists()


def test_a_job_that_died_without_a_word_says_its_last_and_how_to_go_on(
    there: There, head: FakeHead, filled: Store
) -> None:
    there.does({"said": "MemoryError"}, {"ended": -9}, makes={"trials.jsonl": "a journal"})
    begun(head, filled)

    with pytest.raises(ExternalError, match="tune was ended on development: MemoryError") as raised:
        follow("tune", head, filled, lambda *_: None)

    assert raised.value.hint == "stargaze tune --on cluster --resume"
    assert filled.journal.read_text() == "a journal"


def test_a_second_errand_of_a_store_is_told_of_the_first(there: There, head: FakeHead, filled: Store) -> None:
    begun(head, filled)

    with pytest.raises(ExternalError, match=r"tune of this store .* on development") as raised:
        begun(head, filled, "screen")

    assert raised.value.hint == "stargaze tune --attach"


def test_what_runs_and_was_begun_elsewhere_is_not_disturbed(there: There, head: FakeHead, filled: Store) -> None:
    there.jobs.work = _and_then_runs_on(there)
    begun(head, filled)
    JobRecord(filled).path.unlink()

    with pytest.raises(ExternalError, match="was not begun from here"):
        begun(head, filled)

    there.desk.stop()


def test_a_stage_that_was_not_sent_is_not_followed(head: FakeHead, filled: Store) -> None:
    with pytest.raises(MissingInputError, match="no tune of this store is on the cluster"):
        follow("tune", head, filled, lambda *_: None)
    begun(head, filled)
    with pytest.raises(UsageError, match="it is tune") as raised:
        follow("screen", head, filled, lambda *_: None)
    assert raised.value.hint == "stargaze tune --attach"


def test_what_is_not_there_is_named_with_what_makes_it(filled: Store, tmp_path: Path) -> None:
    check_inputs(errand("tune", Config(), filled), filled)
    filled.leaderboard.unlink()
    missing = {
        "stargaze screen": errand("tune", Config(), filled),
        "is the name right?": errand("fetch", Config(), filled, files=[tmp_path / "gone.json"]),
    }

    for hint, one in missing.items():
        with pytest.raises(MissingInputError) as raised:
            check_inputs(one, filled)
        assert raised.value.hint == hint


def test_a_tuning_that_was_never_stopped_cannot_be_gone_on_with(filled: Store) -> None:
    with pytest.raises(MissingInputError, match="no stopped tuning to go on with") as raised:
        check_inputs(errand("tune", Config(), filled, resume=True), filled)

    assert raised.value.hint == "stargaze tune --on cluster"


def test_a_beginning_that_fails_leaves_no_trace_here(there: There, head: FakeHead, filled: Store) -> None:
    class Full(FakeHead):
        def begin(self, asked: Any, parcel: bytes) -> None:
            raise ExternalError("development: the disk is full")

    with pytest.raises(StargazeError, match="disk is full"):
        begun(Full(there.desk), filled)

    assert not JobRecord(filled).path.exists()


def test_secrets_reach_the_job_and_no_file(there: There, head: FakeHead, filled: Store) -> None:
    begun(head, filled, "fetch", GITHUB_TOKEN="ghp_secret")

    assert wait_for(lambda: there.secrets) == {"GITHUB_TOKEN": "ghp_secret"}
    files = [path for folder in (there.desk.folder, filled.root) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if b"ghp_secret" in path.read_bytes()] == []
    assert not there.desk.secrets.exists()


def test_an_older_journal_is_left_as_a_tuning_here_leaves_it(there: There, head: FakeHead, filled: Store) -> None:
    filled.journal.write_text("older")
    there.does({"ended": 0}, answer={})
    begun(head, filled)
    follow("tune", head, filled, lambda *_: None)
    before = filled.journal.with_suffix(".before.jsonl")
    assert (before.read_text(), filled.journal.exists()) == ("older", False)

    filled.journal.write_text("gone on with")
    begun(head, filled, resume=True)
    assert json.loads(JobRecord(filled).path.read_text())["sent"][-1] == "trials.jsonl"
    follow("tune", head, filled, lambda *_: None)
    assert (before.read_text(), filled.journal.exists()) == ("older", False)


def test_an_outcome_is_a_plain_record() -> None:
    assert dataclasses.asdict(carry.Outcome([1], "one")) == {"value": [1], "text": "one"}

"""A job from its submission to its downloaded results."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from stargaze.bundle.manifest import BadBundleError, write_manifest
from stargaze.config import Config
from stargaze.errors import CredentialsError, ExternalError, MissingInputError, StargazeError, UsageError
from stargaze.infra.jobs import client as job_client
from stargaze.infra.jobs.client import check_inputs, follow_job, submit_job
from stargaze.infra.jobs.spec import build_spec
from stargaze.output import CommandResult
from stargaze.store import Store
from tests.infra.jobs.conftest import NOW, FakeJobService, RemoteSide
from tests.waiting import wait_for

Reports = list[tuple[str, float]]


@pytest.fixture
def store(filled_store: Store) -> Store:
    return filled_store


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all pauses."""
    monkeypatch.setattr(job_client, "RETRY_PAUSES", (0.0, 0.0))
    monkeypatch.setattr("stargaze.infra.jobs.server.POLL_INTERVAL", 0.01)
    monkeypatch.setattr("stargaze.infra.jobs.server.STATUS_INTERVAL", 0.01)


def submit(service: FakeJobService, store: Store, stage: str = "tune", *, resume: bool = False, **secrets: str) -> None:
    submit_job(build_spec(stage, Config(), store, resume=resume), service, store, NOW, secrets, lambda *_: None)


def bundle(folder: Path) -> dict[str, str]:
    """Return the files of a bundle by their names in a store."""
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    digest = write_manifest(folder)
    return {f"bundles/{digest}/{path.name}": path.read_text() for path in folder.iterdir()} | {
        "bundles/latest": f"{digest}\n"
    }


def test_results_are_downloaded_as_if_they_were_created_here(
    remote: RemoteSide, service: FakeJobService, store: Store, tmp_path: Path
) -> None:
    files, reports = bundle(tmp_path / "made"), Reports()
    answer = {"bundle": "store/bundles/x"}
    remote.job_does(
        {"activity": "trial 1 of 2", "fraction": 0.5}, {"exit_code": 0},
        result=answer, creates={**files, "trials.parquet": "trials", "trials.jsonl": ""},
    )  # fmt: skip
    submit(service, store)

    result = follow_job("tune", service, store, lambda *report: reports.append(report))

    assert (result.value, result.text) == (answer, "in words")
    assert ("trial 1 of 2", 0.5) in reports
    assert {name: (store.root / name).read_text() for name in files} == files
    assert store.trials.read_text() == "trials"
    assert not store.journal.exists()
    assert not store.job.exists()
    assert [path.name for path in store.root.iterdir() if path.name.startswith(".")] == []


def test_only_missing_files_are_uploaded(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    missing_files = list[list[str]]()
    submit(service, store)
    store.job.unlink()
    store.leaderboard.write_text("another")

    class Watched(FakeJobService):
        def inspect(self, checksums: Any) -> dict[str, Any]:
            result = super().inspect(checksums)
            missing_files.append(result["missing"])
            return result

    submit(Watched(remote.server), store)

    assert missing_files == [["leaderboard.csv"]]
    assert (remote.server.store / "leaderboard.csv").read_text() == "another"


def test_an_incomplete_bundle_is_rejected_and_nothing_is_moved_into_place(
    remote: RemoteSide, service: FakeJobService, store: Store, tmp_path: Path
) -> None:
    files = bundle(tmp_path / "made")
    files = {name: "[]" if name.endswith("bundle.json") else text for name, text in files.items()}
    remote.job_does({"exit_code": 0}, result={}, creates={**files, "trials.parquet": "trials"})
    submit(service, store)

    with pytest.raises(BadBundleError):
        follow_job("tune", service, store, lambda *_: None)

    assert not store.bundles.exists()
    assert not store.trials.exists()
    assert store.job.exists()  # it can be tried again


def test_ctrl_c_stops_the_job_and_downloads_the_journal(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    remote.job_does({"activity": "trial 1 of 9", "fraction": 0.1}, creates={"trials.jsonl": "a journal"})
    remote.jobs.work = _and_then_runs_on(remote)
    submit(service, store)

    def pressed(what: str, _done: float) -> None:
        if what.startswith("trial"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow_job("tune", service, store, pressed)

    assert list(remote.jobs.known.values()) == ["STOPPED"]
    assert store.journal.read_text() == "a journal"
    assert not store.job.exists()


def _and_then_runs_on(remote: RemoteSide) -> Any:
    before = remote.jobs.work

    def work() -> None:
        before()
        while "RUNNING" in remote.jobs.known.values():
            pass

    return work


def test_a_lost_connection_is_opened_again_at_the_same_offset(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    reports = Reports()
    remote.job_does(
        *({"activity": f"trial {number}", "fraction": 0.1} for number in range(4)), {"exit_code": 0}, result={}
    )
    submit(service, store)
    service.breaks = 4

    follow_job("tune", service, store, lambda *report: reports.append(report))

    assert [what for what, _ in reports] == [f"trial {number}" for number in range(4)]


def test_without_a_connection_the_job_continues(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    submit(service, store)

    class Gone(FakeJobService):
        def follow(self, offset: int) -> Any:
            raise ExternalError("lost the connection to development: no answer")

    with pytest.raises(ExternalError, match="lost the connection") as raised:
        follow_job("tune", Gone(remote.server), store, lambda *_: None)

    assert "stargaze tune --attach" in raised.value.hint
    assert store.job.exists()


def test_a_rejected_follow_is_not_retried(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    offsets = list[int]()
    submit(service, store)

    class Refusing(FakeJobService):
        def follow(self, offset: int) -> Any:
            offsets.append(offset)
            raise CredentialsError("development: Ray refuses the token", hint="stargaze infra configure")

    with pytest.raises(CredentialsError, match="Ray refuses the token"):
        follow_job("tune", Refusing(remote.server), store, lambda *_: None)

    assert offsets == [0]
    assert store.job.exists()  # the job continues


def test_an_error_of_the_job_is_raised_with_hint_and_class(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    remote.job_does({"error": "no leaderboard", "hint": "stargaze screen", "code": 3}, {"exit_code": 3})
    submit(service, store)

    with pytest.raises(MissingInputError, match="no leaderboard") as raised:
        follow_job("tune", service, store, lambda *_: None)

    assert raised.value.hint == "stargaze screen"
    assert not store.job.exists()


def test_a_crashed_job_reports_its_last_line_and_how_to_resume(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    remote.job_does({"output": "MemoryError"}, {"exit_code": -9}, creates={"trials.jsonl": "a journal"})
    submit(service, store)

    with pytest.raises(ExternalError, match="tune ended on development: MemoryError") as raised:
        follow_job("tune", service, store, lambda *_: None)

    assert raised.value.hint == "stargaze tune --on cluster --resume"
    assert store.journal.read_text() == "a journal"


def test_a_second_job_of_a_store_is_rejected(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    submit(service, store)

    with pytest.raises(ExternalError, match=r"tune of this store .* on development") as raised:
        submit(service, store, "screen")

    assert raised.value.hint == "stargaze tune --attach"


def test_a_running_job_that_was_started_elsewhere_is_left_alone(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    remote.jobs.work = _and_then_runs_on(remote)
    submit(service, store)
    store.job.unlink()

    with pytest.raises(ExternalError, match="was not started from this machine"):
        submit(service, store)

    remote.server.stop()


def test_a_stage_that_was_not_submitted_is_not_followed(service: FakeJobService, store: Store) -> None:
    with pytest.raises(MissingInputError, match="this store has no tune job on the cluster"):
        follow_job("tune", service, store, lambda *_: None)
    submit(service, store)
    with pytest.raises(UsageError, match="the job on the cluster is tune, not screen") as raised:
        follow_job("screen", service, store, lambda *_: None)
    assert raised.value.hint == "stargaze tune --attach"


def test_a_missing_input_names_the_command_that_creates_it(store: Store, tmp_path: Path) -> None:
    check_inputs(build_spec("tune", Config(), store), store)
    store.leaderboard.unlink()
    missing = {
        "stargaze screen": build_spec("tune", Config(), store),
        "check the name": build_spec("fetch", Config(), store, files=[tmp_path / "gone.json"]),
    }

    for hint, spec in missing.items():
        with pytest.raises(MissingInputError) as raised:
            check_inputs(spec, store)
        assert raised.value.hint == hint


def test_a_tuning_that_was_never_stopped_cannot_be_resumed(store: Store) -> None:
    with pytest.raises(MissingInputError, match="no stopped tuning to resume") as raised:
        check_inputs(build_spec("tune", Config(), store, resume=True), store)

    assert raised.value.hint == "stargaze tune --on cluster"


def test_a_failed_submission_leaves_no_record(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    class Full(FakeJobService):
        def submit(self, offsets: Any, archive: bytes) -> None:
            raise ExternalError("development: the disk is full")

    with pytest.raises(StargazeError, match="disk is full"):
        submit(Full(remote.server), store)

    assert not store.job.exists()


def test_secrets_reach_the_job_and_no_file(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    submit(service, store, "fetch", GITHUB_TOKEN="ghp_secret")

    assert wait_for(lambda: remote.secrets) == {"GITHUB_TOKEN": "ghp_secret"}
    files = [path for folder in (remote.server.folder, store.root) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if b"ghp_secret" in path.read_bytes()] == []
    assert not remote.server.secrets.exists()


def test_an_older_journal_is_handled_as_by_a_local_tuning(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    older = '{"seed": 0}\n{"number": 0}\n'
    store.journal.write_text(older)
    remote.job_does({"exit_code": 0}, result={})
    submit(service, store)
    follow_job("tune", service, store, lambda *_: None)
    assert not store.journal.exists()
    assert [path.read_text() for path in store.root.glob("trials-*.jsonl")] == [older]

    store.journal.write_text("gone on with")
    submit(service, store, resume=True)
    assert json.loads(store.job.read_text())["inputs"][-1] == "trials.jsonl"
    follow_job("tune", service, store, lambda *_: None)
    assert not store.journal.exists()
    assert [path.read_text() for path in store.root.glob("trials-*.jsonl")] == [older]


def test_the_journal_of_a_stopped_job_does_not_replace_local_trials(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    local = '{"seed": 0}\n' + "".join(f'{{"number": {number}}}\n' for number in range(109))
    store.journal.write_text(local)
    remote.job_does(
        {"output": "MemoryError"}, {"exit_code": -9}, creates={"trials.jsonl": '{"seed": 1}\n{"number": 0}\n'}
    )
    submit(service, store)

    with pytest.raises(ExternalError):
        follow_job("tune", service, store, lambda *_: None)

    assert [path.read_text() for path in store.root.glob("trials-*.jsonl")] == [local]
    assert store.journal.read_text() == '{"seed": 1}\n{"number": 0}\n'


def test_a_command_result_converts_to_a_dict() -> None:
    assert dataclasses.asdict(CommandResult([1], "one")) == {"value": [1], "text": "one"}

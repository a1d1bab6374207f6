"""A job from its submission to its downloaded results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import Config
from stargaze.errors import CredentialsError, ExternalError, MissingInputError, StargazeError, UsageError
from stargaze.infra.jobs import client as job_client
from stargaze.infra.jobs.client import check_inputs, follow_job, submit_job
from stargaze.infra.jobs.job_note import JobNote, read_note, require_note
from stargaze.infra.jobs.spec import build_spec
from stargaze.infra.jobs.ssh_client import ConnectionLostError
from stargaze.output import CommandResult
from stargaze.store import Store
from tests.infra.jobs.conftest import JOB, NOW, OTHER_JOB, FakeJobService, RemoteSide
from tests.waiting import wait_for

Reports = list[tuple[str, float]]
JOURNAL = '{"seed": 1}\n{"number": 0}\n'


@pytest.fixture
def store(filled_store: Store) -> Store:
    return filled_store


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove all pauses."""
    monkeypatch.setattr(job_client, "RETRY_PAUSES", (0.0, 0.0))


def submit(
    service: Any, store: Store, stage: str = "tune", *, resume: bool = False, job: str = JOB, **secrets: str
) -> JobNote:
    return submit_job(
        build_spec(stage, Config(), store, resume=resume), service, store, NOW, job, secrets, lambda *_: None
    )


def follow(service: Any, store: Store, report: Any = lambda *_: None) -> CommandResult:
    note = read_note(store)
    assert note is not None
    return follow_job(note, service, store, report)


def named_bundle(folder: Path) -> dict[str, bytes]:
    """Return the files of a bundle by their names in a store."""
    files = {f"bundles/{folder.name}/{path.name}": path.read_bytes() for path in folder.iterdir()}
    return files | {"bundles/latest": f"{folder.name}\n".encode()}


def test_results_are_downloaded_as_if_they_were_created_here(
    remote: RemoteSide, service: FakeJobService, store: Store, bundle_folder: Path
) -> None:
    files, reports = named_bundle(bundle_folder), Reports()
    answer = {"bundle": "store/bundles/x"}
    remote.job_does(
        {"activity": "trial 1 of 2", "fraction": 0.5}, {"exit_code": 0},
        result=answer, creates={**files, "trials.parquet": "trials", "trials.jsonl": ""},
    )  # fmt: skip
    submit(service, store)

    result = follow(service, store, lambda *report: reports.append(report))

    assert (result.value, result.text) == (answer, "in words")
    assert ("trial 1 of 2", 0.5) in reports
    assert {name: (store.root / name).read_bytes() for name in files} == files
    assert store.trials.read_text() == "trials"
    assert not store.journal.exists()
    assert not store.job.exists()
    assert [path.name for path in store.root.iterdir() if path.name.startswith(".")] == []


def test_only_missing_files_are_uploaded(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    missing_files = list[list[str]]()
    submit(service, store)
    wait_for(lambda: remote.jobs.known[JOB] == "SUCCEEDED")
    store.job.unlink()
    store.leaderboard.write_text("another")

    class Watched(FakeJobService):
        def inspect(self, checksums: Any, origin: str) -> dict[str, Any]:
            result = super().inspect(checksums, origin)
            missing_files.append(result["missing"])
            return result

    submit(Watched(remote.server), store, job=OTHER_JOB)

    assert missing_files == [["leaderboard.csv"]]
    assert (remote.server.place(OTHER_JOB).store / "leaderboard.csv").read_text() == "another"


def test_ctrl_c_stops_the_job_and_downloads_the_journal(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    remote.job_does({"activity": "trial 1 of 9", "fraction": 0.1}, creates={"trials.jsonl": JOURNAL})
    remote.job_runs_on()
    submit(service, store)

    def pressed(what: str, _done: float) -> None:
        if what.startswith("trial"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="stargaze tune --on cluster --resume continues"):
        follow(service, store, pressed)

    assert list(remote.jobs.known.values()) == ["STOPPED"]
    assert store.journal.read_text() == JOURNAL
    assert not store.job.exists()


def test_a_lost_connection_is_opened_again_at_the_same_offset(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    reports = Reports()
    remote.job_does(
        *({"activity": f"trial {number}", "fraction": 0.1} for number in range(4)), {"exit_code": 0}, result=[],
        creates={"features.json": "{}"},
    )  # fmt: skip
    submit(service, store, "select-features")
    service.breaks = 4

    follow(service, store, lambda *report: reports.append(report))

    assert [what for what, _ in reports][:-1] == [f"trial {number}" for number in range(4)]


def test_without_a_connection_the_job_continues(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    submit(service, store)

    class Gone(FakeJobService):
        def follow(self, job: str, offset: int) -> Any:
            raise ConnectionLostError("lost the connection to development: no answer")

    with pytest.raises(ExternalError, match="lost the connection") as raised:
        follow(Gone(remote.server), store)

    assert "stargaze tune --attach" in raised.value.hint
    assert store.job.exists()


def test_a_rejected_follow_is_not_retried(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    offsets = list[int]()
    submit(service, store)

    class Refusing(FakeJobService):
        def follow(self, job: str, offset: int) -> Any:
            offsets.append(offset)
            raise CredentialsError("development: Ray refuses the token", hint="stargaze infra configure")

    with pytest.raises(CredentialsError, match="Ray refuses the token"):
        follow(Refusing(remote.server), store)

    assert offsets == [0]
    assert store.job.exists()  # the job continues


def test_an_error_of_the_job_is_raised_with_hint_and_class(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    remote.job_does({"error": "no leaderboard", "hint": "stargaze screen", "code": 3}, {"exit_code": 3})
    submit(service, store)

    with pytest.raises(MissingInputError, match="no leaderboard") as raised:
        follow(service, store)

    assert raised.value.hint == "stargaze screen"
    assert not store.job.exists()


def test_a_crashed_job_reports_its_last_line_and_how_to_resume(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    remote.job_does({"output": "MemoryError"}, {"exit_code": -9}, creates={"trials.jsonl": JOURNAL})
    submit(service, store)

    with pytest.raises(ExternalError, match="tune ended on development: MemoryError") as raised:
        follow(service, store)

    assert raised.value.hint == "stargaze tune --on cluster --resume"
    assert store.journal.read_text() == JOURNAL


def test_a_second_job_of_a_store_is_rejected(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    submit(service, store)

    with pytest.raises(ExternalError, match=r"tune of this store .* on development") as raised:
        submit(service, store, "screen")

    assert raised.value.hint == "stargaze tune --attach"


def test_a_running_job_that_was_started_elsewhere_is_left_alone(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    remote.job_does()
    remote.job_runs_on()
    submit(service, store)
    store.job.unlink()

    with pytest.raises(ExternalError, match=r"tune of this store is running .*job stargaze-0123456789ab") as raised:
        submit(service, store, job=OTHER_JOB)

    assert raised.value.hint == f"stargaze tune --attach {JOB}, or stargaze jobs --stop {JOB}"
    service.stop(JOB)


def test_a_stage_that_was_not_submitted_is_not_followed(service: FakeJobService, store: Store) -> None:
    with pytest.raises(MissingInputError, match="this store has no tune job on the cluster"):
        require_note("tune", store)
    submit(service, store)
    with pytest.raises(UsageError, match=f"job {JOB} is tune, not screen") as raised:
        require_note("screen", store)
    assert raised.value.hint == f"stargaze tune --attach {JOB}"


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
        def begin(self, job: str, request: Any, archive: Any) -> None:
            raise ExternalError("development: the disk is full")

    with pytest.raises(StargazeError, match="disk is full"):
        submit(Full(remote.server), store)

    assert not store.job.exists()


def test_secrets_reach_the_job_and_no_file(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    submit(service, store, "fetch", GITHUB_TOKEN="ghp_secret")

    assert wait_for(lambda: remote.secrets) == {"GITHUB_TOKEN": "ghp_secret"}
    files = [path for folder in (remote.server.folder, store.root) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if b"ghp_secret" in path.read_bytes()] == []
    assert not remote.server.place(JOB).secrets.exists()


def test_an_older_journal_is_handled_as_by_a_local_tuning(
    remote: RemoteSide, service: FakeJobService, store: Store, bundle_folder: Path
) -> None:
    older = '{"seed": 0}\n{"number": 0}\n'
    store.journal.write_text(older)
    remote.job_does({"exit_code": 0}, result={}, creates=named_bundle(bundle_folder))
    submit(service, store)
    follow(service, store)
    assert not store.journal.exists()
    assert [path.read_text() for path in store.root.glob("trials-*.jsonl")] == [older]

    store.journal.write_text(JOURNAL)
    submit(service, store, resume=True, job=OTHER_JOB)
    assert {"trials.jsonl"} < json.loads(store.job.read_text())["inputs"].keys()
    follow(service, store)
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
        follow(service, store)

    assert [path.read_text() for path in store.root.glob("trials-*.jsonl")] == [local]
    assert store.journal.read_text() == '{"seed": 1}\n{"number": 0}\n'


# ---- ids: never the result of another job ---------------------------------------------------------------------------


class Killed(BaseException):
    """The command is killed here."""


def test_a_command_killed_while_it_sends_is_told_that_the_job_never_began(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    """Before that, another job of the store has finished, whose result must not be taken."""
    remote.job_does({"exit_code": 0}, result=[{"of": "the previous job"}], creates={"leaderboard.csv": "previous"})
    submit(service, store, "screen", job=OTHER_JOB)
    follow(service, store)

    class Unreached(FakeJobService):
        def begin(self, job: str, request: Any, archive: Any) -> None:
            raise Killed

    with pytest.raises(Killed):
        submit(Unreached(remote.server), store, "screen")
    with pytest.raises(MissingInputError, match=f"development never received job {JOB}") as raised:
        follow(service, store)

    assert raised.value.hint == "start it again: stargaze screen --on cluster"
    assert read_note(store) is not None
    again = "stargaze-aaaaaaaaaaaa"
    submit(service, store, "screen", job=again)  # as the hint says
    assert follow(service, store).value == [{"of": "the previous job"}]
    assert set(remote.jobs.commands) == {OTHER_JOB, again}
    assert json.loads(store.job.with_suffix(".before.json").read_text())["id"] == JOB


def test_a_command_killed_after_it_has_sent_can_attach(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    remote.job_does({"exit_code": 0}, result=[{"of": JOB}], creates={"leaderboard.csv": "mine"})

    class Cut(FakeJobService):
        def begin(self, job: str, request: Any, archive: Any) -> None:
            super().begin(job, request, archive)
            raise Killed

    with pytest.raises(Killed):
        submit(Cut(remote.server), store, "screen")

    assert follow(service, store).value == [{"of": JOB}]
    assert store.leaderboard.read_text() == "mine"


@pytest.mark.parametrize("arrives", [False, True])
def test_a_connection_lost_while_sending_is_resolved_at_once(
    remote: RemoteSide, store: Store, *, arrives: bool
) -> None:
    class Cut(FakeJobService):
        def begin(self, job: str, request: Any, archive: Any) -> None:
            if arrives:
                super().begin(job, request, archive)
            raise ConnectionLostError("lost the connection to development")

    if arrives:
        assert submit(Cut(remote.server), store, "screen") == read_note(store)
    else:
        with pytest.raises(ExternalError, match="lost the connection"):
            submit(Cut(remote.server), store, "screen")
        assert read_note(store) is None


def test_ctrl_c_while_sending_stops_the_job(remote: RemoteSide, store: Store) -> None:
    remote.job_does()
    remote.job_runs_on()

    class Pressed(FakeJobService):
        def begin(self, job: str, request: Any, archive: Any) -> None:
            super().begin(job, request, archive)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="stargaze screen --on cluster starts this step again"):
        submit(Pressed(remote.server), store, "screen")

    assert remote.jobs.known == {JOB: "STOPPED"}
    assert read_note(store) is None


def test_a_job_that_cannot_be_stopped_keeps_its_note(remote: RemoteSide, service: FakeJobService, store: Store) -> None:
    """Then only --attach helps, and the hint says so."""
    submit(service, store)

    class Away(FakeJobService):
        def follow(self, job: str, offset: int) -> Any:
            raise KeyboardInterrupt

        def stop(self, job: str) -> Any:
            raise ConnectionLostError("lost the connection to development")

    with pytest.raises(ExternalError) as raised:
        follow(Away(remote.server), store)

    assert raised.value.hint == "stargaze tune --attach"
    assert read_note(store) is not None


# ---- the end of a job -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "events", "message"),
    [
        ("STOPPED", [], f"tune was stopped on development (job {JOB})"),
        ("SUCCEEDED", [{"exit_code": 143, "stopped": True}], f"tune was stopped on development (job {JOB})"),
        ("", [], "tune was lost: Ray or its head node development was restarted"),
        ("FAILED", [], "tune ended on development: ValueError: why"),
        ("SUCCEEDED", [{"exit_code": -9}], "tune ended on development: ValueError: why"),
    ],
)
@pytest.mark.parametrize("journal", ["", '{"seed": 1}\n', JOURNAL])
def test_the_reason_of_an_end_is_no_log_line_and_the_hint_can_be_followed(
    remote: RemoteSide, service: FakeJobService, store: Store, status: str, events: Any, message: str, journal: str
) -> None:
    lines = [
        "ValueError: why",
        "[2026-11-29 08:00:00,123 E 77 88] (python) logging.cc:118: *** SIGTERM received at time=1 ***",
        "*** SIGTERM received at time=1780041600 on cpu 0 ***",
        "PC: @     0x7f0a  (unknown)  epoll_wait",
        "    @     0x7f0a  (unknown)  (unknown)",
    ]
    remote.job_does(
        *({"output": line} for line in lines), *events, creates={"trials.jsonl": journal} if journal else {}
    )
    submit(service, store)
    wait_for(lambda: remote.jobs.known[JOB] == "SUCCEEDED")
    remote.jobs.known[JOB] = status

    with pytest.raises(ExternalError) as raised:
        follow(service, store)

    assert raised.value.message == message
    assert raised.value.hint == f"stargaze tune --on cluster{' --resume' if journal == JOURNAL else ''}"
    assert read_note(store) is None


def test_a_full_disk_of_the_cluster_is_not_reported_as_the_local_one(
    remote: RemoteSide, service: FakeJobService, store: Store
) -> None:
    error = {
        "error": "store/trials.jsonl: the disk is full",
        "hint": "free some space, or point store.path elsewhere",
        "code": 5,
    }
    remote.job_does(error, {"exit_code": 5})
    submit(service, store)

    with pytest.raises(ExternalError) as raised:
        follow(service, store)

    assert raised.value.message == "development: store/trials.jsonl: the disk is full"
    assert raised.value.hint == "stargaze infra ssh development -- df -h"


# ---- notes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"id": "stargaze-0123456789ab", "stage": "tune", "started": "", "machine": "", "inputs": [], "outputs": []}',
        '{"format": 2}',
        '{"format": 2, "id": "../x", "stage": "tune", "target": "stars"}',
        '{"format": 2, "id": "stargaze-0123456789ab", "stage": "dance"}',
        '{"format": 2, "id": "stargaze-0123456789ab", "stage": "tune", "target": "moon"}',
        '{"format": 2, "id": 7, "stage": "screen"}',
    ],
)
def test_a_note_of_an_earlier_version_or_a_broken_one_is_one_line(store: Store, content: str) -> None:
    store.job.write_text(content)

    with pytest.raises(ExternalError, match=r"job\.json: ") as raised:
        read_note(store)

    assert raised.value.hint == f"stargaze jobs lists the jobs of the cluster; remove {store.job} to start another one"

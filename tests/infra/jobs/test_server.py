"""The job server: uploads, events and downloads, and the program around it."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import ExternalError, UsageError
from stargaze.infra.jobs import receive
from stargaze.infra.jobs import server as job_server
from stargaze.infra.jobs.archive import checksums, pack_files, unpack_files
from stargaze.infra.jobs.framing import create_mark, parse_answer
from stargaze.system.locks import file_lock
from stargaze.system.progress import WAITING
from stargaze.system.source_package import code_digest
from tests.infra.jobs.conftest import JOB, OTHER_JOB, RemoteSide
from tests.waiting import wait_for

REQUEST = {
    "id": JOB,
    "stage": "tune",
    "started_at": "2026-03-01T12:00:00+00:00",
    "origin": "here",
    "target": "stars",
    "argv": ["tune"],
    "config": "[tuning]\n",
}


def build_request(files: dict[str, Path], **more: Any) -> dict[str, Any]:
    return {**REQUEST, "checksums": checksums(files), "environment": {}, **more}


def begin(remote: RemoteSide, files: dict[str, Path] | None = None, **more: Any) -> dict[str, Any]:
    return remote.server.begin(build_request(files or {}, **more), pack(files or {}))


def pack(files: dict[str, Path]) -> io.BytesIO:
    return io.BytesIO(b"".join(pack_files(files)))


def answers(remote: RemoteSide, offset: int = 0, job: str = JOB) -> Iterator[dict[str, Any]]:
    return filter(None, remote.server.follow(job, offset))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "repositories.parquet"
    path.write_text("repositories")
    return path


def test_inspect_returns_the_code_digest_and_the_missing_files(remote: RemoteSide, file: Path) -> None:
    files = {"repositories.parquet": file}

    assert remote.server.inspect(checksums(files), "here") == {
        "code": code_digest(),
        "running": [],
        "missing": ["repositories.parquet"],
    }
    begin(remote, files)
    assert remote.server.inspect(checksums(files), "here")["missing"] == []
    assert remote.server.inspect({"repositories.parquet": "0"}, "here")["missing"] == ["repositories.parquet"]


def test_a_job_has_the_uploaded_files_and_nothing_of_another_job(remote: RemoteSide, file: Path) -> None:
    files = {"repositories.parquet": file}
    remote.job_does({"exit_code": 0}, creates={"github.sqlite": "responses", "repositories.parquet": "fetched"})
    begin(remote, stage="fetch", id=OTHER_JOB)
    wait_for(lambda: remote.jobs.known[OTHER_JOB] == "SUCCEEDED")
    remote.job_does({"exit_code": 0})

    begin(remote, files, stage="fetch")

    store = remote.server.place(JOB).store
    names = sorted(path.relative_to(store).as_posix() for path in store.rglob("*"))
    assert names == ["github.sqlite", "repositories.parquet"]  # the responses of GitHub are taken over
    assert (store / "repositories.parquet").read_text() == "repositories"
    assert (remote.server.place(OTHER_JOB).store / "repositories.parquet").read_text() == "fetched"
    assert (remote.server.place(JOB).root / "stargaze.toml").read_text() == "[tuning]\n"


def test_a_job_with_a_missing_or_damaged_file_is_not_started(remote: RemoteSide, file: Path) -> None:
    files = {"repositories.parquet": file}
    with pytest.raises(ExternalError, match="checksum mismatch"):
        remote.server.begin(build_request(files), pack({}))
    with pytest.raises(ExternalError, match="was not requested"):
        remote.server.begin(build_request(files), pack({"other.csv": file}))
    assert remote.jobs.known == {}
    assert remote.server.describe(JOB)["state"] == "unknown"

    begin(remote, files)
    receive.uploaded_file(remote.server.folder, checksums(files)["repositories.parquet"]).write_text("damaged")
    with pytest.raises(ExternalError, match="checksum mismatch"):
        remote.server.begin(build_request(files, id=OTHER_JOB), pack({}))
    begin(remote, files, id=OTHER_JOB)  # it is uploaded again


def test_ray_receives_no_secret(remote: RemoteSide) -> None:
    begin(remote, environment={"GITHUB_TOKEN": "ghp_secret"})

    assert wait_for(lambda: remote.secrets) == {"GITHUB_TOKEN": "ghp_secret"}
    assert "ghp_secret" not in remote.jobs.commands[JOB]
    assert "ghp_secret" not in remote.server.place(JOB).record.read_text()


def test_a_job_that_ends_before_it_reads_its_secrets_is_an_error(remote: RemoteSide) -> None:
    remote.jobs.work = lambda _place: None  # it ends without reading its secrets

    with pytest.raises(ExternalError, match="Ray did not start the job"):
        begin(remote)

    assert not remote.server.place(JOB).secrets.exists()
    assert remote.server.describe(JOB)["state"] == "not started"


# ---- ids -----------------------------------------------------------------------------------------------------------


def test_the_same_request_again_starts_no_second_job(remote: RemoteSide) -> None:
    first = begin(remote)
    remote.jobs.work = lambda _place: pytest.fail("a second job")

    second = begin(remote)

    assert first["id"] == second["id"] == JOB
    assert list(remote.jobs.commands) == [JOB]
    with pytest.raises(ExternalError, match="is another job"):
        begin(remote, argv=["tune", "--resume"])


@pytest.mark.parametrize("is_known", [False, True])
def test_a_start_that_was_interrupted_is_completed_by_the_same_request(remote: RemoteSide, *, is_known: bool) -> None:
    """The job server is killed before or after Ray has received the job."""
    place = remote.server.place(JOB)
    remote.jobs.work = lambda _place: None
    with pytest.raises(ExternalError, match="Ray did not start"):
        begin(remote)
    remote.job_does({"exit_code": 0}, result=7)
    remote.jobs.known.clear()
    if is_known:
        os.mkfifo(place.secrets)
        remote.jobs.submit(JOB, str(place.root))

    assert begin(remote)["id"] == JOB
    assert [answer.get("exit_code") for answer in answers(remote)] == [None, 0]


def test_a_job_that_is_unknown_once_cannot_begin_later(remote: RemoteSide) -> None:
    """Its client has told the user that it never began."""
    assert list(remote.server.settle(JOB)) == []
    assert remote.server.describe(JOB) == {"id": JOB, "state": "unknown"}

    with pytest.raises(ExternalError, match="was given up"):
        begin(remote)
    assert remote.jobs.known == {}
    assert remote.server.list_jobs() == []


def test_a_question_about_a_job_that_is_beginning_waits(remote: RemoteSide) -> None:
    with file_lock(remote.server.folder / "locks" / JOB):
        settling = remote.server.settle(JOB)
        assert [next(settling), next(settling)] == [{}, {}]
    assert list(settling) == []


@pytest.mark.parametrize("job", ["..", "stargaze-", "a/b", "stargaze-0123456789AB", "stargaze-0123456789ab\n", ""])
def test_a_name_that_is_no_id_is_rejected(remote: RemoteSide, job: str) -> None:
    with pytest.raises(UsageError, match="is not the id of a job"):
        remote.server.describe(job)
    with pytest.raises(UsageError, match="is not the id of a job"):
        begin(remote, id=job)


def test_all_jobs_are_listed_with_their_states(remote: RemoteSide) -> None:
    begin(remote, started_at="2026-03-01T12:00:00+00:00")
    remote.job_does({"exit_code": 3})
    begin(remote, id=OTHER_JOB, started_at="2026-03-02T12:00:00+00:00")
    wait_for(lambda: set(remote.jobs.known.values()) == {"SUCCEEDED"})

    listed = [(job["id"], job["stage"], job["state"]) for job in remote.server.list_jobs()]

    assert listed == [(OTHER_JOB, "tune", "failed"), (JOB, "tune", "done")]


def test_jobs_and_files_are_deleted_after_their_retention(remote: RemoteSide, file: Path) -> None:
    begin(remote, {"repositories.parquet": file})
    wait_for(lambda: remote.jobs.known[JOB] == "SUCCEEDED")
    old = time.time() - receive.RETENTION - 60
    for path in (*remote.server.folder.glob("*/*"), *remote.server.folder.iterdir()):
        os.utime(path, (old, old))

    begin(remote, id=OTHER_JOB)

    assert [job["id"] for job in remote.server.list_jobs()] == [OTHER_JOB]
    assert list((remote.server.folder / "files").iterdir()) == []


# ---- events --------------------------------------------------------------------------------------------------------


def test_events_are_followed_from_any_offset(remote: RemoteSide) -> None:
    remote.job_does({"activity": "a", "fraction": 0.1}, {"activity": "b", "fraction": 0.2}, {"exit_code": 0})
    begin(remote)

    first, second, end = answers(remote)

    assert [first["event"]["activity"], second["event"]["activity"]] == ["a", "b"]
    assert end == {"exit_code": 0, "state": "done", "reason": ""}
    assert list(answers(remote, first["next"])) == [second, end]


def test_lines_that_are_no_events_are_skipped(remote: RemoteSide) -> None:
    begin(remote)
    wait_for(lambda: remote.jobs.known[JOB] == "SUCCEEDED")
    place = remote.server.place(JOB)
    place.events.write_bytes(b'\xff\n[1]\n{"a\n' + b"x" * 3_000_000 + b'\n{"activity": "a"}\n{"exit_code": 1}\n')

    assert [answer["event"] for answer in answers(remote) if "event" in answer][-1] == {"activity": "a"}
    assert list(answers(remote))[-1]["exit_code"] == 1


@pytest.mark.parametrize(
    ("status", "state"), [("SUCCEEDED", "failed"), ("FAILED", "failed"), ("STOPPED", "stopped"), ("", "lost")]
)
def test_a_job_that_ended_without_an_exit_code_has_a_clear_state(remote: RemoteSide, status: str, state: str) -> None:
    """It crashed, was stopped through Ray, or its head node was restarted."""
    remote.job_does({"activity": "a", "fraction": 0.1})
    begin(remote)
    wait_for(lambda: remote.jobs.known[JOB] == "SUCCEEDED")
    remote.jobs.known[JOB] = status

    assert list(answers(remote))[-1] == {"exit_code": None, "state": state, "reason": ""}


def test_a_new_head_node_has_no_job(remote: RemoteSide) -> None:
    assert list(answers(remote)) == [{"exit_code": None, "state": "unknown", "reason": ""}]
    assert list(remote.server.stop(JOB)) == []


def test_heartbeats_are_sent_while_a_job_is_silent(remote: RemoteSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_server, "HEARTBEAT", 0.05)
    remote.job_does()
    remote.job_runs_on()
    begin(remote)
    lines = remote.server.follow(JOB, 0)

    assert [next(lines), next(lines)] == [{}, {}]
    assert not [answer for answer in remote.server.stop(JOB) if answer]


@pytest.mark.parametrize(
    ("used", "described"),
    [
        ((2.0, 2.0), f"2 of 2 are in use by screen {OTHER_JOB} (started 2026-03-01T12:00:00+00:00)"),
        ((0.0, 0.0), "no node of the cluster has one; the job continues when a node joins"),
    ],
)
def test_a_job_that_waits_for_a_core_says_for_what(
    remote: RemoteSide, monkeypatch: pytest.MonkeyPatch, used: tuple[float, float], described: str
) -> None:
    monkeypatch.setattr(job_server, "WAIT_INTERVAL", 0.05)
    remote.jobs.used = used
    remote.job_does({"activity": WAITING, "fraction": 0.0})
    remote.job_runs_on()
    begin(remote, id=OTHER_JOB, stage="screen")
    begin(remote)
    lines = answers(remote)

    told = [next(lines)["event"]["activity"] for _ in range(3)]

    assert told == [WAITING, *[f"{WAITING}: {described}"] * 2]  # again and again
    for job in (JOB, OTHER_JOB):
        assert not [answer for answer in remote.server.stop(job) if answer]


def test_stop_waits_until_the_job_has_ended(remote: RemoteSide) -> None:
    remote.job_runs_on()
    begin(remote)

    assert not [answer for answer in remote.server.stop(JOB) if answer]

    assert remote.jobs.known[JOB] == "STOPPED"


def test_the_download_contains_the_named_bundle(remote: RemoteSide, tmp_path: Path) -> None:
    digest = "ab" * 32
    remote.job_does(
        {"exit_code": 0},
        creates={f"bundles/{digest}/model.txt": "m", "bundles/latest": f"{digest}\n", "trials.parquet": "t"},
    )  # fmt: skip
    begin(remote)
    wait_for(lambda: remote.jobs.known[JOB] == "SUCCEEDED")
    requested = ["trials.parquet", "bundles/latest", "selection.csv", "../stargaze.toml"]

    packed = b"".join(remote.server.download(JOB, requested))

    names = unpack_files(io.BytesIO(packed), tmp_path / "here", lambda _name: True)
    assert names == ["trials.parquet", f"bundles/{digest}/model.txt", "bundles/latest"]


# ---- the program, as ssh calls it ----------------------------------------------------------------------------------


def call(folder: Path, *argv: str, stdin: bytes = b"{}", limit: str = ":") -> subprocess.CompletedProcess[bytes]:
    shell = ["sh", "-c", f'{limit}; exec "$@"', "sh"]
    command = [sys.executable, "-I", "-m", "stargaze.infra.jobs.server", folder / "jobs", folder / "ray.env"]
    argv = ("http://127.0.0.1:1", "17", *argv)
    return subprocess.run([*shell, *command, *argv], input=stdin, capture_output=True, check=False)


def parsed(done: subprocess.CompletedProcess[bytes], job: str) -> list[dict[str, Any]]:
    lines = (parse_answer(line, create_mark("17"), job) for line in done.stdout.splitlines())
    return [answer for answer in lines if answer is not None]


@pytest.mark.parametrize("argv", [["inspect", "-", "here"], ["follow", JOB, "0"]], ids=" ".join)
def test_an_error_is_one_answer_and_an_exit_code(tmp_path: Path, argv: list[str]) -> None:
    done = call(tmp_path, *argv)

    rejected = parsed(done, argv[1])[-1]["rejected"]
    assert (done.returncode, rejected["code"], rejected["hint"]) == (5, 5, "stargaze infra configure --tags ray")
    assert "Ray is not configured here" in rejected["error"]


@pytest.mark.thorough
def test_the_folder_is_private_and_an_unknown_method_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("good")
    (tmp_path / "ray.env").write_text(f"RAY_AUTH_TOKEN_PATH={tmp_path}/token\n")

    done = call(tmp_path, "inspect", "-", "here", stdin=b'{"repositories.parquet": "0"}\n')

    begun, state, ended = parsed(done, "-")
    assert (begun["begin"], state["missing"], ended["end"]) == ("inspect", ["repositories.parquet"], "inspect")
    assert stat.S_IMODE((tmp_path / "jobs").stat().st_mode) == 0o700
    assert call(tmp_path, "dance", "-").returncode == 2


@pytest.mark.thorough
def test_a_truncated_upload_leaves_nothing(tmp_path: Path, file: Path) -> None:
    """The client or its connection is killed while it sends."""
    (tmp_path / "token").write_text("good")
    (tmp_path / "ray.env").write_text(f"RAY_AUTH_TOKEN_PATH={tmp_path}/token\n")
    files = {"repositories.parquet": file}
    sent = json.dumps(build_request(files)).encode() + b"\n" + pack(files).getvalue()

    for length in (0, 40, len(sent) - 3):
        done = call(tmp_path, "begin", JOB, stdin=sent[:length])
        assert (done.returncode, done.stderr) == (5, b"")
    assert not (tmp_path / "jobs" / JOB).exists()


def test_a_full_disk_is_one_answer(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("good")
    (tmp_path / "ray.env").write_text(f"RAY_AUTH_TOKEN_PATH={tmp_path}/token\n")
    (tmp_path / "big").write_bytes(b"x" * 100_000)
    files = {"repositories.parquet": tmp_path / "big"}
    sent = json.dumps(build_request(files)).encode() + b"\n" + pack(files).getvalue()

    done = call(tmp_path, "begin", JOB, stdin=sent, limit="ulimit -f 20")

    rejected = parsed(done, JOB)[-1]["rejected"]
    assert (done.returncode, rejected["code"]) == (5, 5)
    assert "the disk is full" in rejected["error"]
    assert "store.path" in rejected["hint"]  # the client replaces this hint: it is about the disk of the head
    assert not (tmp_path / "jobs" / JOB).exists()

"""The job server: uploads, events and downloads, and the program around it."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stargaze.errors import ExternalError
from stargaze.infra.jobs import server as job_server
from stargaze.infra.jobs.archive import checksums, pack_files, unpack_files
from stargaze.system.source_package import code_digest
from tests.infra.jobs.conftest import RemoteSide
from tests.waiting import wait_for

REQUEST = {
    "id": "job-1",
    "stage": "tune",
    "started": "2026-03-01T12:00:00+00:00",
    "argv": ["tune"],
    "config": "[tuning]\n",
}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_server, "POLL_INTERVAL", 0.01)
    monkeypatch.setattr(job_server, "STATUS_INTERVAL", 0.01)


def build_request(files: dict[str, Path], **more: Any) -> dict[str, Any]:
    return {**REQUEST, "checksums": checksums(files), "environment": {}, **more}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "repositories.parquet"
    path.write_text("repositories")
    return path


def test_inspect_returns_the_code_digest_and_the_missing_files(remote: RemoteSide, file: Path) -> None:
    files = {"repositories.parquet": file}

    assert remote.server.inspect(checksums(files)) == {
        "code": code_digest(),
        "job": None,
        "missing": ["repositories.parquet"],
    }
    remote.server.submit(build_request(files), io.BytesIO(pack_files(files)))
    assert remote.server.inspect(checksums(files))["missing"] == []
    assert remote.server.inspect({"repositories.parquet": "0"})["missing"] == ["repositories.parquet"]


def test_the_store_contains_the_uploaded_files_and_nothing_of_a_previous_job(remote: RemoteSide, file: Path) -> None:
    for name in ("trials.jsonl", "bundles/latest", "github.sqlite"):
        (remote.server.store / name).parent.mkdir(parents=True, exist_ok=True)
        (remote.server.store / name).write_text("before")
    files = {"repositories.parquet": file}

    remote.server.submit(build_request(files), io.BytesIO(pack_files(files)))

    names = sorted(path.relative_to(remote.server.store).as_posix() for path in remote.server.store.rglob("*"))
    assert names == ["github.sqlite", "repositories.parquet"]  # the responses of GitHub stay
    assert (remote.server.folder / "stargaze.toml").read_text() == "[tuning]\n"


def test_a_job_with_a_missing_file_is_not_started(remote: RemoteSide, file: Path) -> None:
    with pytest.raises(ExternalError, match="checksum mismatch"):
        remote.server.submit(build_request({"repositories.parquet": file}), io.BytesIO(pack_files({})))

    assert remote.jobs.known == {}


def test_ray_receives_no_secret(remote: RemoteSide) -> None:
    remote.server.submit(build_request({}, environment={"GITHUB_TOKEN": "ghp_secret"}), io.BytesIO(pack_files({})))

    assert wait_for(lambda: remote.secrets) == {"GITHUB_TOKEN": "ghp_secret"}
    assert "ghp_secret" not in remote.jobs.commands["job-1"]
    assert "ghp_secret" not in (remote.server.folder / "job.json").read_text()


def test_a_job_that_ends_before_it_reads_its_secrets_is_an_error(remote: RemoteSide) -> None:
    remote.jobs.work = lambda: None  # it ends without reading its secrets

    with pytest.raises(ExternalError, match="Ray did not start the job"):
        remote.server.submit(build_request({}), io.BytesIO(pack_files({})))

    assert not remote.server.secrets.exists()


def test_one_job_runs_at_a_time(remote: RemoteSide) -> None:
    remote.server.submit(build_request({}), io.BytesIO(pack_files({})))
    wait_for(lambda: remote.jobs.known["job-1"] == "SUCCEEDED")
    remote.jobs.known["job-1"] = "RUNNING"

    with pytest.raises(ExternalError, match=r"tune of this store is already running \(started 2026"):
        remote.server.submit(build_request({}, id="job-2"), io.BytesIO(pack_files({})))


def test_events_are_followed_from_any_offset(remote: RemoteSide) -> None:
    remote.job_does({"activity": "a", "fraction": 0.1}, {"activity": "b", "fraction": 0.2}, {"exit_code": 0})
    remote.server.submit(build_request({}), io.BytesIO(pack_files({})))

    lines = [line for line in remote.server.follow(0) if line]

    assert [json.loads(line).get("activity") for line in lines] == ["a", "b", None]
    assert [line for line in remote.server.follow(len(lines[0]) + 1) if line] == lines[1:]


def test_a_crashed_job_has_an_unknown_exit_code(remote: RemoteSide) -> None:
    remote.job_does({"activity": "a", "fraction": 0.1})
    remote.server.submit(build_request({}), io.BytesIO(pack_files({})))

    lines = [json.loads(line) for line in remote.server.follow(0) if line]

    assert lines == [{"activity": "a", "fraction": 0.1}, {"exit_code": None, "reason": ""}]


def test_a_new_head_node_has_no_job(remote: RemoteSide) -> None:
    assert [json.loads(line)["exit_code"] for line in remote.server.follow(0)] == [None]
    remote.server.stop()


def test_heartbeats_are_sent_while_a_job_is_silent(remote: RemoteSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_server, "HEARTBEAT", 0.05)
    remote.job_does()
    remote.server.submit(build_request({}), io.BytesIO(pack_files({})))
    wait_for(lambda: remote.jobs.known["job-1"] == "SUCCEEDED")
    remote.jobs.known["job-1"] = "RUNNING"
    lines = remote.server.follow(0)

    assert [next(lines), next(lines)] == ["", ""]


def test_stop_waits_until_the_job_has_ended(remote: RemoteSide) -> None:
    remote.server.submit(build_request({}), io.BytesIO(pack_files({})))
    wait_for(lambda: remote.jobs.known["job-1"] == "SUCCEEDED")
    remote.jobs.known["job-1"] = "RUNNING"

    remote.server.stop()

    assert remote.jobs.known["job-1"] == "STOPPED"


def test_the_download_contains_the_named_bundle(remote: RemoteSide, tmp_path: Path) -> None:
    digest = "ab" * 32
    remote.job_does(
        {"exit_code": 0},
        creates={f"bundles/{digest}/model.txt": "m", "bundles/latest": f"{digest}\n", "trials.parquet": "t"},
    )  # fmt: skip
    remote.server.submit(build_request({}), io.BytesIO(pack_files({})))
    wait_for(lambda: remote.jobs.known["job-1"] == "SUCCEEDED")

    names = unpack_files(
        io.BytesIO(remote.server.download(["trials.parquet", "bundles/latest", "selection.csv"])), tmp_path / "here"
    )

    assert names == ["trials.parquet", f"bundles/{digest}/model.txt", "bundles/latest"]


# ---- the program, as ssh calls it ----------------------------------------------------------------------------------


def call(folder: Path, *argv: str, stdin: bytes = b"{}") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-m", "stargaze.infra.jobs.server", folder / "jobs", folder / "ray.env"]
    return subprocess.run([*command, "http://127.0.0.1:1", *argv], input=stdin, capture_output=True, check=False)


@pytest.mark.parametrize("argv", [["inspect"], ["follow", "0"]], ids=" ".join)
def test_an_error_is_one_line_of_json_and_an_exit_code(tmp_path: Path, argv: list[str]) -> None:
    done = call(tmp_path, *argv)

    rejected = json.loads(done.stdout)["rejected"]
    assert (done.returncode, rejected["code"], rejected["hint"]) == (5, 5, "stargaze infra configure --tags ray")
    assert "Ray is not configured here" in rejected["error"]


def test_the_folder_is_private_and_an_unknown_method_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("good")
    (tmp_path / "ray.env").write_text(f"RAY_AUTH_TOKEN_PATH={tmp_path}/token\n")

    done = call(tmp_path, "inspect", stdin=b'{"repositories.parquet": "0"}')

    assert json.loads(done.stdout)["missing"] == ["repositories.parquet"]
    assert stat.S_IMODE((tmp_path / "jobs").stat().st_mode) == 0o700
    assert call(tmp_path, "dance").returncode == 2

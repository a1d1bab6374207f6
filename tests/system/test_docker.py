"""A docker command that is missing, whose engine is away, or that says odd things: one clear line each."""

from __future__ import annotations

from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.system.docker import DockerEngine, EngineCapacity, error_line


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program of that name, alone on the path with the shell's."""
    program = tmp_path / "docker"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return program


def says(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_without_the_command_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ExternalError, match="docker is not installed") as raised:
        DockerEngine(alternative="stargaze screen --executor process").capacity()
    assert "--executor process" in raised.value.hint


def test_an_engine_tells_what_it_has(docker: Path) -> None:
    says(docker, """echo '{"NCPU": 8, "MemTotal": 16000000000}'""")

    assert DockerEngine().capacity() == EngineCapacity(8, 16_000_000_000)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Cannot connect to the daemon' >&2; exit 1", "Cannot connect to the daemon"),
        ("""echo '{"ServerErrors": ["permission denied"], "NCPU": 0}'""", "permission denied"),
        ("echo '{}'", "no reason given"),
        ("echo not json", "no reason given"),
    ],
)
def test_an_engine_that_is_away_is_named_with_the_reason(
    docker: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    says(docker, script)
    monkeypatch.setenv("DOCKER_HOST", "ssh://dev")

    with pytest.raises(ExternalError, match=f"the Docker engine ssh://dev does not answer: {reason}") as raised:
        DockerEngine().capacity()
    assert "DOCKER_HOST=ssh://" in raised.value.hint


def test_what_is_refused_is_an_error_with_the_last_words(docker: Path) -> None:
    says(docker, "echo 'no such volume' >&2; echo >&2; echo \"See 'docker volume rm --help'.\" >&2; exit 1")

    with pytest.raises(ExternalError, match="docker volume rm failed: no such volume"):
        DockerEngine().run(["volume", "rm", "x"])


def test_content_is_what_the_command_reads(docker: Path) -> None:
    says(docker, "cat")

    assert DockerEngine().run(["cp", "-", "x:/"], b"content") == b"content"
    assert DockerEngine().run(["cp", "x:/", "-"]) == b""


def test_what_is_attached_writes_its_complaints_to_the_log(docker: Path, tmp_path: Path) -> None:
    says(docker, 'echo "$@" >&2; exit 4')

    with (tmp_path / "log").open("wb") as log:
        process = DockerEngine().start(["run", "image"], log)

    assert process.wait(60) == 4
    assert (tmp_path / "log").read_text() == "run image\n"


def test_an_empty_complaint_is_said_to_be_one() -> None:
    assert error_line(b"\n \n") == "no reason given"

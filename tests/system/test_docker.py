"""The docker command: missing, without an engine, or with unexpected output."""

from __future__ import annotations

from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.system.docker import DockerEngine, EngineCapacity, error_line


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a fake docker on PATH."""
    program = tmp_path / "docker"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return program


def write_script(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_missing_docker_command_has_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ExternalError, match="docker is not installed") as raised:
        DockerEngine(alternative="stargaze screen --executor process").capacity()
    assert "--executor process" in raised.value.hint


def test_the_capacity_of_an_engine(docker: Path) -> None:
    write_script(docker, """echo '{"NCPU": 8, "MemTotal": 16000000000}'""")

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
def test_an_unreachable_engine_is_named_with_the_reason(
    docker: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    write_script(docker, script)
    monkeypatch.setenv("DOCKER_HOST", "ssh://dev")

    with pytest.raises(ExternalError, match=f"the Docker engine ssh://dev does not answer: {reason}") as raised:
        DockerEngine().capacity()
    assert "DOCKER_HOST=ssh://" in raised.value.hint


def test_a_failed_command_is_an_error_with_its_last_line(docker: Path) -> None:
    write_script(docker, "echo 'no such volume' >&2; echo >&2; echo \"See 'docker volume rm --help'.\" >&2; exit 1")

    with pytest.raises(ExternalError, match="docker volume rm failed: no such volume"):
        DockerEngine().run(["volume", "rm", "x"])


def test_standard_input_is_passed_to_the_command(docker: Path) -> None:
    write_script(docker, "cat")

    assert DockerEngine().run(["cp", "-", "x:/"], b"content") == b"content"
    assert DockerEngine().run(["cp", "x:/", "-"]) == b""


def test_a_started_command_writes_stderr_to_the_log(docker: Path, tmp_path: Path) -> None:
    write_script(docker, 'echo "$@" >&2; exit 4')

    with (tmp_path / "log").open("wb") as log:
        process = DockerEngine().start(["run", "image"], log)

    assert process.wait(60) == 4
    assert (tmp_path / "log").read_text() == "run image\n"


def test_empty_stderr_has_a_default_reason() -> None:
    assert error_line(b"\n \n") == "no reason given"

"""Commands by ssh; a fake ``ssh`` program replaces the network."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.system.ssh import SSH_FAILED, SshHost

MACHINE = SshHost("production1", "production", "10.20.0.13", "10.20.0.13", "debian", ("-o", "BatchMode=yes"))
SSH = """#!/bin/sh
# As sshd does, run the last argument in a shell.
for last; do :; done
[ -n "$REFUSES" ] && { echo "debian@10.20.0.13: Permission denied (publickey)." >&2; exit 255; }
exec sh -c "$last"
"""


@pytest.fixture(autouse=True)
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ssh"
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def test_arguments_are_quoted_for_the_remote_shell() -> None:
    assert MACHINE.run("printf", "%s|", "a b", "$HOME", "it's", ";id") == b"a b|$HOME|it's|;id|"
    assert MACHINE.run("cat", stdin=b"\0piped") == b"\0piped"


def test_sudo_is_used_only_by_users_other_than_root() -> None:
    root = SshHost("production1", "production", "", "10.20.0.13", "root", ())

    assert MACHINE.argv(["docker", "ps"], root=True)[-1] == "sudo -n docker ps"
    assert MACHINE.argv(["docker", "ps"])[-2:] == ["debian@10.20.0.13", "docker ps"]
    assert root.argv(["docker", "ps"], root=True)[-1] == "docker ps"


def test_the_error_of_a_failed_command_names_the_machine() -> None:
    with pytest.raises(ExternalError, match="production1: sh -c failed: no such thing"):
        MACHINE.run("sh", "-c", "echo no such thing >&2; exit 3")
    assert MACHINE.try_run("false").returncode == 1


def test_a_failed_login_differs_from_a_failed_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSES", "1")

    with pytest.raises(ExternalError, match=r"ssh login to production1 failed.*Permission denied"):
        MACHINE.try_run("true")


def test_a_successful_login_has_no_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MACHINE.connection_error(seconds=30) == ""
    monkeypatch.setenv("REFUSES", "1")
    assert MACHINE.connection_error(seconds=30) == "debian@10.20.0.13: Permission denied (publickey)."


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (b"", "no answer"),
        (b"ssh: No route to host\r\n", "ssh: No route to host"),
        (b"a banner\nConnection closed by UNKNOWN port 65535\n", "Connection closed by UNKNOWN port 65535"),
        (
            b"@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@\nConnection closed by UNKNOWN\n",
            "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!",
        ),
        (b"me@10.0.0.1: Permission denied (publickey).\nkex: Connection closed\n", "me@10.0.0.1: Permission denied (publickey)."),
    ],
)  # fmt: skip
def test_the_reason_is_the_most_specific_line_of_ssh(
    monkeypatch: pytest.MonkeyPatch, output: bytes, reason: str
) -> None:
    """connection_error and try_run give the same reason; a jump host adds lines of its own."""
    lost = subprocess.CompletedProcess("ssh", SSH_FAILED, b"", output)
    monkeypatch.setattr("stargaze.system.ssh.run_program", lambda *_, **__: lost)

    assert MACHINE.connection_error(seconds=30) == reason
    with pytest.raises(ExternalError) as caught:
        MACHINE.try_run("true")
    assert caught.value.message == f"ssh login to production1 failed: {reason}"


def test_a_timeout_is_reported_as_no_answer(tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\nexec sleep 60\n")

    assert MACHINE.connection_error(seconds=0.05) == "no answer"


def test_a_missing_ssh_program_is_not_a_connection_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))

    with pytest.raises(ExternalError, match="ssh is not installed"):
        MACHINE.connection_error(seconds=30)

"""A machine that is entered by ssh; a program of the name ``ssh`` stands in for the network."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stargaze.errors import ExternalError
from stargaze.system.ssh import SSH_FAILED, SshHost

MACHINE = SshHost("production1", "production", "10.20.0.13", "10.20.0.13", "debian", ("-o", "BatchMode=yes"))
SSH = """#!/bin/sh
# What sshd does with it: the last word is a line for a shell.
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


def test_every_word_of_a_command_arrives_as_it_is() -> None:
    assert MACHINE.run("printf", "%s|", "a b", "$HOME", "it's", ";id") == b"a b|$HOME|it's|;id|"
    assert MACHINE.run("cat", stdin=b"\0piped") == b"\0piped"


def test_root_is_asked_for_only_by_who_is_not_root() -> None:
    root = SshHost("production1", "production", "", "10.20.0.13", "root", ())

    assert MACHINE.argv(["docker", "ps"], root=True)[-1] == "sudo -n docker ps"
    assert MACHINE.argv(["docker", "ps"])[-2:] == ["debian@10.20.0.13", "docker ps"]
    assert root.argv(["docker", "ps"], root=True)[-1] == "docker ps"


def test_a_command_that_fails_is_named_with_its_machine() -> None:
    with pytest.raises(ExternalError, match="production1: sh -c failed: no such thing"):
        MACHINE.run("sh", "-c", "echo no such thing >&2; exit 3")
    assert MACHINE.try_run("false").returncode == 1


def test_a_machine_that_lets_nobody_in_is_another_failure_than_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSES", "1")

    with pytest.raises(ExternalError, match=r"ssh login to production1 failed.*Permission denied"):
        MACHINE.try_run("true")


def test_nothing_is_in_the_way_of_who_is_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MACHINE.connection_error(seconds=30) == ""
    monkeypatch.setenv("REFUSES", "1")
    assert MACHINE.connection_error(seconds=30) == "debian@10.20.0.13: Permission denied (publickey)."


@pytest.mark.parametrize(
    ("said", "reason"),
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
def test_of_all_that_ssh_says_the_line_that_tells_most_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, said: bytes, reason: str
) -> None:
    """Whoever looks whether a machine answers hears the same as who has work for it; a jump host adds lines of its own."""
    lost = subprocess.CompletedProcess("ssh", SSH_FAILED, b"", said)
    monkeypatch.setattr("stargaze.system.ssh.run_program", lambda *_, **__: lost)

    assert MACHINE.connection_error(seconds=30) == reason
    with pytest.raises(ExternalError) as caught:
        MACHINE.try_run("true")
    assert caught.value.message == f"ssh login to production1 failed: {reason}"


def test_a_machine_that_takes_too_long_does_not_answer(tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text("#!/bin/sh\nexec sleep 60\n")

    assert MACHINE.connection_error(seconds=0.05) == "no answer"


def test_without_ssh_here_no_machine_is_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))

    with pytest.raises(ExternalError, match="ssh is not installed"):
        MACHINE.connection_error(seconds=30)

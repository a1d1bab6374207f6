"""A machine that is entered by ssh; a program of the name ``ssh`` stands in for the network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stargaze.errors import OutsideError
from stargaze.remote import Remote

MACHINE = Remote("production1", "production", "10.20.0.13", "10.20.0.13", "debian", ("-o", "BatchMode=yes"))
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
    root = Remote("production1", "production", "", "10.20.0.13", "root", ())

    assert MACHINE.words(["docker", "ps"], root=True)[-1] == "sudo -n docker ps"
    assert MACHINE.words(["docker", "ps"])[-2:] == ["debian@10.20.0.13", "docker ps"]
    assert root.words(["docker", "ps"], root=True)[-1] == "docker ps"


def test_a_command_that_fails_is_named_with_its_machine() -> None:
    with pytest.raises(OutsideError, match="production1: sh -c failed: no such thing"):
        MACHINE.run("sh", "-c", "echo no such thing >&2; exit 3")
    assert MACHINE.ask("false").returncode == 1


def test_a_machine_that_lets_nobody_in_is_another_failure_than_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFUSES", "1")

    with pytest.raises(OutsideError, match=r"production1 does not let us in by ssh.*Permission denied"):
        MACHINE.ask("true")

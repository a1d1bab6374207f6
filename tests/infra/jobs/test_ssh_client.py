"""The head by ssh; a program of the name ``ssh`` stands in for the network, and another for the desk's Python."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stargaze.errors import CredentialsError, ExternalError, MissingInputError
from stargaze.infra.jobs import ssh_client as module
from stargaze.infra.jobs.ssh_client import HeadLayout, SshHead, head_of, place_of, raised
from stargaze.system.source_package import code_digest
from stargaze.system.ssh import SshHost

MACHINE = SshHost("development", "development", "10.20.0.11", "10.20.0.11", "debian", ("-o", "BatchMode=yes"))
SSH = """#!/bin/sh
# What sshd does with it: the last word is a line for a shell. There is no sudo here, and nobody else to be.
for last; do :; done
[ -n "$REFUSES" ] && { echo "debian@10.20.0.11: Permission denied (publickey)." >&2; exit 255; }
exec sh -c "$(printf %s "$last" | sed 's#^sudo -n runuser -u ray -- ##')"
"""
Desk = Callable[[str], SshHead]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A head whose desk is a shell script; its verb and the words after it are ``$1`` and on."""
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def made(script: str) -> SshHead:
        (tmp_path / "python").write_text(f"#!/bin/sh\nshift 6\n{script}\n")
        (tmp_path / "python").chmod(0o755)
        return SshHead(MACHINE, HeadLayout(python=str(tmp_path / "python")), "abc")

    return made


def test_the_desk_is_entered_as_rays_account_in_a_folder_of_the_store() -> None:
    words = MACHINE.argv(SshHead(MACHINE, HeadLayout(), "abc")._command("follow", "7"), root=True)[-1]

    assert words == (
        "sudo -n runuser -u ray -- /opt/stargaze/bin/python -I -m stargaze.infra.jobs.server /var/lib/ray/errands/abc "
        "/etc/stargaze/ray.env http://127.0.0.1:8265 follow 7"
    )


def test_the_playbooks_variables_are_heeded() -> None:
    place = place_of({"ray_user": "worker", "ray_folder": "/srv/ray", "base_journal_size": "900"})

    assert (place.user, place.folder, place.jobs) == ("worker", "/srv/ray", "http://127.0.0.1:8265")


def test_two_stores_have_two_folders_there(tmp_path: Path) -> None:
    names = {head_of(MACHINE, HeadLayout(), tmp_path / name).store for name in ("a", "b", "a")}

    assert len(names) == 2
    assert all(len(name) == 12 for name in names)


def test_the_same_code_is_asked_for_and_another_refused(desk: Desk) -> None:
    told = {"code": code_digest(), "job": None, "lacks": ["a"]}

    assert desk(f"cat >/dev/null; echo '{json.dumps(told)}'").look({"a": "0"}) == told
    with pytest.raises(ExternalError, match="has another stargaze than this machine") as raised:
        desk('echo \'{"code": "other"}\'').look({})
    assert raised.value.hint == "stargaze infra configure --tags ray"


@pytest.mark.parametrize(
    "complaint", ["/opt/stargaze/bin/python: No module named stargaze.errands", "runuser: x: No such file or directory"]
)
def test_a_head_without_our_program_says_what_to_type(desk: Desk, complaint: str) -> None:
    with pytest.raises(ExternalError, match="has no stargaze, or an older one") as raised:
        desk(f"echo '{complaint}' >&2; exit 1").look({})
    assert raised.value.hint == "stargaze infra configure --tags ray"


def test_an_error_of_the_desk_is_raised_as_what_it_is(desk: Desk) -> None:
    error = {"error": "Ray refuses the token", "hint": "stargaze infra configure", "code": 4}

    told = json.dumps({"refused": error})
    with pytest.raises(CredentialsError, match="development: Ray refuses") as raised:
        desk(f"cat >/dev/null; echo '{told}'; exit 4").begin({}, b"")
    assert raised.value.hint == "stargaze infra configure"
    with pytest.raises(CredentialsError, match="development: Ray refuses"):
        list(desk(f"echo '{told}'; exit 4").follow(0))


def test_what_is_neither_is_told_in_a_line(desk: Desk) -> None:
    with pytest.raises(ExternalError, match="development: sudo: a password is required"):
        desk("echo 'sudo: a password is required' >&2; exit 1").stop()


def test_a_machine_that_lets_nobody_in_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    head = desk("true")
    monkeypatch.setenv("REFUSES", "1")

    with pytest.raises(ExternalError, match="ssh login to development failed"):
        head.look({})
    with pytest.raises(ExternalError, match=r"out of reach: .*Permission denied"):
        list(head.follow(0))


def test_the_errand_is_the_first_line_and_the_files_follow(desk: Desk, tmp_path: Path) -> None:
    desk(f"cat > {tmp_path}/sent; echo '{{}}'").begin({"id": "a\nb"}, b"\0tar")

    line, _, parcel = (tmp_path / "sent").read_bytes().partition(b"\n")
    assert (json.loads(line), parcel) == ({"id": "a\nb"}, b"\0tar")


def test_lines_are_yielded_as_they_come_and_heartbeats_are_not(desk: Desk) -> None:
    head = desk('echo "{\\"verb\\": \\"$1 $2\\"}"; echo; echo \'{"ended": 0}\'; exec sleep 60')
    begun, lines = time.monotonic(), head.follow(12)

    assert [next(lines), next(lines)] == ['{"verb": "follow 12"}', '{"ended": 0}']
    lines.close()  # type: ignore[attr-defined]
    assert time.monotonic() - begun < 30


def test_a_head_that_is_silent_is_out_of_reach(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.2)

    with pytest.raises(ExternalError, match=r"out of reach: nothing in 0\.2 s"):
        next(desk("exec sleep 60").follow(0))


def test_a_connection_that_is_closed_before_the_end_is_out_of_reach(desk: Desk) -> None:
    with pytest.raises(ExternalError, match="development is out of reach"):
        list(desk("echo '{}'").follow(0))


def test_half_a_line_of_a_connection_that_breaks_is_not_heard(desk: Desk) -> None:
    """It is told again, whole, to who follows from there on."""
    lines = desk("""echo '{"what": "trial 1", "done": 0.1}'; printf '{"what": "tri'""").follow(0)

    assert next(lines) == '{"what": "trial 1", "done": 0.1}'
    with pytest.raises(ExternalError, match="development is out of reach"):
        next(lines)


def test_an_exit_code_that_nobody_knows_is_an_outside_matter() -> None:
    assert isinstance(raised("a", "b", 3), MissingInputError)
    assert isinstance(raised("a", "b", 77), ExternalError)

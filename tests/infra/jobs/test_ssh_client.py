"""The SSH client; fake ``ssh`` and ``python`` programs replace the network and the job server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stargaze.errors import CredentialsError, ExternalError, MissingInputError, error_from_code
from stargaze.infra.jobs import ssh_client
from stargaze.infra.jobs.ssh_client import HeadLayout, SshJobService, store_id
from stargaze.system.source_package import code_digest
from stargaze.system.ssh import SshHost

MACHINE = SshHost("development", "development", "10.20.0.11", "10.20.0.11", "debian", ("-o", "BatchMode=yes"))
SSH = """#!/bin/sh
# As sshd does, run the last argument in a shell, without sudo and runuser.
for last; do :; done
[ -n "$REFUSES" ] && { echo "debian@10.20.0.11: Permission denied (publickey)." >&2; exit 255; }
exec sh -c "$(printf %s "$last" | sed 's#^sudo -n runuser -u ray -- ##')"
"""
ServiceFactory = Callable[[str], SshJobService]


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceFactory:
    """A head node whose job server is a shell script; ``$1`` is the method."""
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def create_service(script: str) -> SshJobService:
        (tmp_path / "python").write_text(f"#!/bin/sh\nshift 6\n{script}\n")
        (tmp_path / "python").chmod(0o755)
        return SshJobService(MACHINE, HeadLayout(python=str(tmp_path / "python")), "abc")

    return create_service


def test_the_server_runs_under_rays_account_in_a_folder_of_the_store() -> None:
    command = MACHINE.argv(SshJobService(MACHINE, HeadLayout(), "abc")._command("follow", "7"), root=True)[-1]

    assert command == (
        "sudo -n runuser -u ray -- /opt/stargaze/bin/python -I -m stargaze.infra.jobs.server /var/lib/ray/jobs/abc "
        "/etc/stargaze/ray.env http://127.0.0.1:8265 follow 7"
    )


def test_the_layout_follows_the_ansible_variables() -> None:
    place = HeadLayout.from_variables({"ray_user": "worker", "ray_folder": "/srv/ray", "base_journal_size": "900"})

    assert (place.user, place.folder, place.ray_address) == ("worker", "/srv/ray", "http://127.0.0.1:8265")


def test_two_stores_have_different_ids(tmp_path: Path) -> None:
    names = {store_id(tmp_path / name) for name in ("a", "b", "a")}

    assert len(names) == 2
    assert all(len(name) == 12 for name in names)


def test_a_head_node_with_different_code_is_rejected(service: ServiceFactory) -> None:
    state = {"code": code_digest(), "job": None, "missing": ["a"]}

    assert service(f"cat >/dev/null; echo '{json.dumps(state)}'").inspect({"a": "0"}) == state
    with pytest.raises(ExternalError, match="has a different version of stargaze than this machine") as raised:
        service('echo \'{"code": "other"}\'').inspect({})
    assert raised.value.hint == "stargaze infra configure --tags ray"


@pytest.mark.parametrize(
    "complaint", ["/opt/stargaze/bin/python: No module named stargaze.errands", "runuser: x: No such file or directory"]
)
def test_without_stargaze_on_the_head_node_the_hint_is_infra_configure(service: ServiceFactory, complaint: str) -> None:
    with pytest.raises(ExternalError, match="has no stargaze, or an old version") as raised:
        service(f"echo '{complaint}' >&2; exit 1").inspect({})
    assert raised.value.hint == "stargaze infra configure --tags ray"


def test_an_error_of_the_server_is_raised_with_its_class(service: ServiceFactory) -> None:
    error = {"error": "Ray refuses the token", "hint": "stargaze infra configure", "code": 4}

    rejection = json.dumps({"rejected": error})
    with pytest.raises(CredentialsError, match="development: Ray refuses") as raised:
        service(f"cat >/dev/null; echo '{rejection}'; exit 4").submit({}, b"")
    assert raised.value.hint == "stargaze infra configure"
    with pytest.raises(CredentialsError, match="development: Ray refuses"):
        list(service(f"echo '{rejection}'; exit 4").follow(0))


def test_other_failures_are_one_line(service: ServiceFactory) -> None:
    with pytest.raises(ExternalError, match="development: sudo: a password is required"):
        service("echo 'sudo: a password is required' >&2; exit 1").stop()


def test_a_failed_login_names_the_machine(service: ServiceFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    head = service("true")
    monkeypatch.setenv("REFUSES", "1")

    with pytest.raises(ExternalError, match="ssh login to development failed"):
        head.inspect({})
    with pytest.raises(ExternalError, match=r"lost the connection to development: .*Permission denied"):
        list(head.follow(0))


def test_the_request_is_the_first_line_and_the_files_follow(service: ServiceFactory, tmp_path: Path) -> None:
    service(f"cat > {tmp_path}/sent; echo '{{}}'").submit({"id": "a\nb"}, b"\0tar")

    line, _, archive = (tmp_path / "sent").read_bytes().partition(b"\n")
    assert (json.loads(line), archive) == ({"id": "a\nb"}, b"\0tar")


def test_lines_are_yielded_at_once_and_heartbeats_are_not(service: ServiceFactory) -> None:
    head = service('echo "{\\"verb\\": \\"$1 $2\\"}"; echo; echo \'{"exit_code": 0}\'; exec sleep 60')
    started, lines = time.monotonic(), head.follow(12)

    assert [next(lines), next(lines)] == ['{"verb": "follow 12"}', '{"exit_code": 0}']
    lines.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 30


def test_silence_is_a_lost_connection(service: ServiceFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_client, "SILENCE_TIMEOUT", 0.2)

    with pytest.raises(ExternalError, match=r"lost the connection to development: no output for 0\.2 s"):
        next(service("exec sleep 60").follow(0))


def test_a_connection_that_is_closed_early_is_a_lost_connection(service: ServiceFactory) -> None:
    with pytest.raises(ExternalError, match="lost the connection to development"):
        list(service("echo '{}'").follow(0))


def test_an_incomplete_last_line_is_dropped(service: ServiceFactory) -> None:
    """The next follow from this offset yields the complete line."""
    lines = service("""echo '{"activity": "trial 1", "fraction": 0.1}'; printf '{"activity": "tri'""").follow(0)

    assert next(lines) == '{"activity": "trial 1", "fraction": 0.1}'
    with pytest.raises(ExternalError, match="lost the connection to development"):
        next(lines)


def test_an_unknown_exit_code_is_an_external_error() -> None:
    assert isinstance(error_from_code("a", "b", 3), MissingInputError)
    assert isinstance(error_from_code("a", "b", 77), ExternalError)

"""The SSH client; fake ``ssh`` and ``python`` programs replace the network and the job server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stargaze.errors import CredentialsError, ExternalError, MissingInputError, StargazeError, error_from_code
from stargaze.infra.jobs import connection, ssh_client
from stargaze.infra.jobs.ssh_client import ConnectionLostError, HeadLayout, SshJobService, store_id
from stargaze.system.source_package import code_digest
from stargaze.system.ssh import SshHost
from tests.infra.jobs.conftest import JOB, OTHER_JOB
from tests.waiting import not_blocked

MACHINE = SshHost("development", "development", "10.20.0.11", "10.20.0.11", "debian", ("-o", "BatchMode=yes"))
SSH = """#!/bin/sh
# As sshd does, run the last argument in a shell, without sudo and runuser.
for last; do :; done
[ -n "$REFUSES" ] && { echo "debian@10.20.0.11: Permission denied (publickey)." >&2; exit 255; }
[ -n "$DIES" ] && kill -9 $$
exec sh -c "$(printf %s "$last" | sed 's#^sudo -n runuser -u ray -- ##')"
"""
PROGRAM = """#!/bin/sh
shift 6
request=$1 method=$2 job=$3
answer() { printf '\\n@@%s@@ {%s, "job_id": "%s"}\\n' "$request" "$1" "${2:-$job}"; }
"""
"""A job server that is a shell script: ``answer`` prints an answer."""
WHOLE = """answer '"begin": "x"'; %s; answer '"end": "'$method'"'"""
ServiceFactory = Callable[[str], SshJobService]


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ServiceFactory:
    """A head node whose job server is a shell script."""
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def create_service(script: str) -> SshJobService:
        (tmp_path / "python").write_text(f"{PROGRAM}{script}\n")
        (tmp_path / "python").chmod(0o755)
        return SshJobService(MACHINE, HeadLayout(python=str(tmp_path / "python")))

    return create_service


def test_the_server_runs_under_rays_account() -> None:
    command = MACHINE.argv(SshJobService(MACHINE, HeadLayout())._command("17", "follow", JOB, "7"), root=True)[-1]

    assert command == (
        "sudo -n runuser -u ray -- /opt/stargaze/bin/python -I -m stargaze.infra.jobs.server /var/lib/ray/jobs "
        f"/etc/stargaze/ray.env http://127.0.0.1:8265 17 follow {JOB} 7"
    )


def test_the_layout_follows_the_ansible_variables() -> None:
    place = HeadLayout.from_variables({"ray_user": "worker", "ray_folder": "/srv/ray", "base_journal_size": "900"})

    assert (place.user, place.folder, place.ray_address) == ("worker", "/srv/ray", "http://127.0.0.1:8265")


def test_two_stores_have_different_ids(tmp_path: Path) -> None:
    names = {store_id(tmp_path / name) for name in ("a", "b", "a")}

    assert len(names) == 2
    assert all(len(name) == 12 for name in names)


def test_a_head_node_with_different_code_is_rejected(service: ServiceFactory) -> None:
    state = f'"code": "{code_digest()}", "running": [], "missing": ["a"]'

    found = service(WHOLE % f"answer '{state}'").inspect({"a": "0"}, "here")
    assert found == {"running": [], "missing": ["a"]}
    with pytest.raises(ExternalError, match="has a different version of stargaze than this machine") as raised:
        service(WHOLE % """answer '"code": "other"'""").inspect({}, "here")
    assert raised.value.hint == "stargaze infra configure --tags ray"


@pytest.mark.parametrize("job", ["7", "[7]", '{"id": "x", "stage": "tune"}', f'{{"id": "{JOB}", "stage": "x; id"}}'])
def test_what_is_not_a_job_is_in_no_list_of_jobs(service: ServiceFactory, job: str) -> None:
    script = WHOLE % f"""answer '"code": "{code_digest()}", "running": [{job}], "jobs": [{job}], "missing": []'"""

    with pytest.raises(ExternalError, match="development described a job without a valid id and stage"):
        service(script).list_jobs()
    with pytest.raises(ExternalError, match="development described a job without a valid id and stage"):
        service(script).inspect({}, "here")


def test_an_answer_about_another_request_names_what_was_asked_for(service: ServiceFactory) -> None:
    with pytest.raises(ConnectionLostError, match="development did not answer about its jobs: an answer about"):
        service(f"""answer '"begin": "x"' {JOB}""").list_jobs()


@pytest.mark.parametrize(
    "complaint", ["/opt/stargaze/bin/python: No module named stargaze.errands", "runuser: x: No such file or directory"]
)
def test_without_stargaze_on_the_head_node_the_hint_is_infra_configure(service: ServiceFactory, complaint: str) -> None:
    with pytest.raises(ExternalError, match="has no stargaze, or an old version") as raised:
        service(f"echo '{complaint}' >&2; exit 1").describe(JOB)
    assert raised.value.hint == "stargaze infra configure --tags ray"


def test_an_error_of_the_server_is_raised_with_its_class(service: ServiceFactory) -> None:
    rejection = json.dumps({"error": "Ray refuses the token", "hint": "stargaze infra configure", "code": 4})
    script = f"""answer '"begin": "x"'; answer '"rejected": {rejection}'; exit 4"""

    with pytest.raises(CredentialsError, match="development: Ray refuses") as raised:
        service(f"cat >/dev/null; {script}").begin(JOB, {}, [])
    assert raised.value.hint == "stargaze infra configure"
    with pytest.raises(CredentialsError, match="development: Ray refuses"):
        list(service(script).follow(JOB, 0))


def test_an_error_with_an_invalid_code_is_one_line(service: ServiceFactory) -> None:
    with pytest.raises(ExternalError, match="development: an error without a reason"):
        service("""answer '"rejected": {"error": "a", "hint": "b", "code": 1e999}'""").describe(JOB)


def test_a_full_disk_of_the_head_is_not_that_of_this_machine(service: ServiceFactory) -> None:
    hint = "free some space, or point store.path elsewhere; df -h /var/lib/ray"
    rejection = json.dumps({"error": "/var/lib/ray/jobs: the disk is full", "hint": hint, "code": 5})

    with pytest.raises(ExternalError, match=r"^development: /var/lib/ray/jobs: the disk is full") as raised:
        service(f"""answer '"rejected": {rejection}'""").describe(JOB)

    assert raised.value.hint == "stargaze infra ssh development -- df -h"


def test_other_failures_are_one_line(service: ServiceFactory) -> None:
    with pytest.raises(ExternalError, match="development: sudo: a password is required"):
        service("echo 'sudo: a password is required' >&2; exit 1").stop(JOB)


def test_a_failed_login_names_the_machine(service: ServiceFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    head = service("true")
    monkeypatch.setenv("REFUSES", "1")

    with pytest.raises(ConnectionLostError, match=r"ssh login to development failed: .*Permission denied"):
        head.describe(JOB)
    with pytest.raises(ConnectionLostError, match=r"lost the connection to development: .*Permission denied"):
        list(head.follow(JOB, 0))


def test_the_request_is_the_first_line_and_the_files_follow(service: ServiceFactory, tmp_path: Path) -> None:
    content = b"\0" * 1_000_000
    service(WHOLE % f"cat > {tmp_path}/sent").begin(JOB, {"id": "a\nb"}, [b"", content, b"x"])

    line, _, archive = (tmp_path / "sent").read_bytes().partition(b"\n")
    assert (json.loads(line), archive) == ({"id": "a\nb"}, content + b"x")


# ---- a shell that prints, and a head that answers wrongly -----------------------------------------------------------


@pytest.mark.parametrize(
    "noise",
    [
        "echo 'Welcome!'",
        "printf 'no newline'",
        "echo '{\"exit_code\": 0}'",
        "head -c 300000 /dev/zero",
        "printf '\\377\\n'",
        "echo $request $method $job",
        "echo 'bash: warning: setlocale: cannot change locale' >&2",
    ],
)
def test_lines_of_a_start_up_file_are_ignored(service: ServiceFactory, noise: str) -> None:
    script = (
        f"""{noise}; answer '"begin": "x"'; {noise}; answer '"state": "done"'; answer '"end": "'$method'"'; {noise}"""
    )

    assert service(script).describe(JOB)["state"] == "done"
    assert [answer["state"] for answer in service(script).follow(JOB, 0)] == ["done"]


@pytest.mark.parametrize(
    "script",
    [
        f"""answer '"begin": "x"'; answer '"state": "done"' {OTHER_JOB}; answer '"end": "'$method'"'""",
        """answer '"begin": "x"'; answer '"state": "done"'""",
        """request=other; answer '"begin": "x"'; answer '"state": "done"'; answer '"end": "'$method'"'""",
        "printf '\\n@@%s@@ {\"a\": \\n' $request",
        "printf '\\n@@%s@@ [1]\\n' $request",
        "echo '{}'",
        "true",
    ],
    ids=["another job", "no end", "another request", "no JSON", "no object", "no mark", "nothing"],
)
def test_an_answer_that_is_not_the_one_asked_for_is_an_error(service: ServiceFactory, script: str) -> None:
    for call in (lambda head: head.describe(JOB), lambda head: list(head.follow(JOB, 0))):
        with pytest.raises(StargazeError, match="development"):
            call(service(script))


def test_a_line_without_end_is_an_error(service: ServiceFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_LINE", 1_000_000)

    with pytest.raises(ConnectionLostError, match="a line of more than 1000000 bytes"):
        service("cat /dev/zero").describe(JOB)


def test_a_killed_ssh_is_a_lost_connection(service: ServiceFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also before the job server has begun to answer: the call is repeated."""
    monkeypatch.setenv("DIES", "1")
    with pytest.raises(ConnectionLostError, match="lost the connection to development") as raised:
        service("true").describe(JOB)
    assert raised.value.hint == "try again; stargaze infra status"


@pytest.mark.thorough
def test_noise_without_an_answer_is_silence(service: ServiceFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_client, "SILENCE_TIMEOUT", 0.2)

    with pytest.raises(ConnectionLostError, match=r"lost the connection to development: no output for 0\.2 s"):
        list(service("yes").follow(JOB, 0))


def test_lines_are_yielded_at_once_and_heartbeats_are_not(service: ServiceFactory) -> None:
    head = service(
        """answer '"begin": "x"'; answer '"next": 12'; answer '"begin": "x"'; answer '"exit_code": 0'; exec sleep 60"""
    )
    lines = head.follow(JOB, 12)

    with not_blocked(30):  # the command runs for longer
        assert [next(lines), next(lines)] == [{"next": 12, "job_id": JOB}, {"exit_code": 0, "job_id": JOB}]
        lines.close()  # type: ignore[attr-defined]


@pytest.mark.thorough
@pytest.mark.parametrize("script", ["exec sleep 60", """answer '"begin": "x"'; exec sleep 60"""])
def test_silence_is_a_lost_connection(service: ServiceFactory, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    monkeypatch.setattr(ssh_client, "SILENCE_TIMEOUT", 0.2)

    with pytest.raises(ConnectionLostError, match=r"lost the connection to development: no output for 0\.2 s"):
        next(service(script).follow(JOB, 0))


def test_an_incomplete_last_line_is_dropped(service: ServiceFactory) -> None:
    """The next follow from this offset yields the complete line."""
    script = """answer '"begin": "x"'; answer '"next": 1'; printf '\\n@@%s@@ {"next": ' $request"""
    lines = service(script).follow(JOB, 0)

    assert next(lines)["next"] == 1
    with pytest.raises(ConnectionLostError, match="lost the connection to development"):
        next(lines)


def test_an_unknown_exit_code_is_an_external_error() -> None:
    assert isinstance(error_from_code("a", "b", 3), MissingInputError)
    assert isinstance(error_from_code("a", "b", 77), ExternalError)

"""The state of the machines and the ssh command of one of them; ssh is replaced by answers in memory."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stargaze import __version__
from stargaze.config import InfraSection
from stargaze.errors import MissingInputError
from stargaze.infra import checks
from stargaze.infra.checks import check_machines
from stargaze.infra.hosts.state_dir import StateDir, open_state_dir
from stargaze.infra.status import ssh_command, survey_machines
from stargaze.store import Store
from tests.isolation import copy_module

HOSTS = {
    "development": "debian@10.20.0.11",
    "orchestration": "debian@203.0.113.9, 10.20.0.10",
    "production1": "debian@10.20.0.13",
}
SECTION = InfraSection(provider="static", hosts=HOSTS)
HEALTHY = {"time": 1000.0, "free": 9e6, "docker": "24.0", "swarm": "active", "ray": "active", "stargaze": __version__}
HEALTHY |= {"page": "active", "swarm nodes": "1", "ray nodes": "1"}
PERMISSION_DENIED = "debian@10.20.0.13: Permission denied (publickey).\nConnection closed by UNKNOWN port 65535\n"


@pytest.fixture
def state_dir(tmp_path: Path) -> StateDir:
    return open_state_dir(SECTION, Store(tmp_path))


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The output of ssh by address; a machine without an entry denies the login."""
    outputs = {"203.0.113.9": json.dumps(HEALTHY), "10.20.0.11": json.dumps(HEALTHY), "10.20.0.13": json.dumps(HEALTHY)}

    def ssh(program: str, *arguments: str, **_: Any) -> subprocess.CompletedProcess[bytes]:
        address = arguments[-2].rpartition("@")[2]
        if address not in outputs:
            return subprocess.CompletedProcess(program, 255, b"", PERMISSION_DENIED.encode())
        return subprocess.CompletedProcess(program, 0, f"a banner\n{outputs[address]}\n".encode(), b"")

    monkeypatch.setattr("stargaze.system.ssh.run_program", ssh)
    monkeypatch.setattr(checks, "time", copy_module(time, time=lambda: 1000.5))
    return outputs


def test_every_machine_is_a_row_with_the_result_of_an_ssh_login(state_dir: StateDir, answers: dict[str, str]) -> None:
    del answers["10.20.0.13"]

    rows = survey_machines(SECTION, state_dir)

    assert [row["machine"] for row in rows] == list(HOSTS)
    assert [row["ssh"] for row in rows] == ["ok", "ok", "debian@10.20.0.13: Permission denied (publickey)."]
    assert rows[1] == {
        "machine": "orchestration",
        "state": "static",
        "address": "203.0.113.9",
        "private_ip": "10.20.0.10",
        "ssh": "ok",
    }


def test_ssh_uses_the_orchestration_machine_as_jump_host(state_dir: StateDir) -> None:
    shell, command = (ssh_command(SECTION, state_dir, "production1", terminal=terminal) for terminal in (True, False))

    assert shell == ["ssh", "-t", *command[1:]]
    assert command[-1] == "debian@10.20.0.13"
    assert [word for word in command if word.startswith("ProxyCommand=") and word.endswith("debian@203.0.113.9")]
    single_host = replace(SECTION, hosts={"production1": HOSTS["production1"]})
    assert "ProxyCommand" not in str(ssh_command(single_host, state_dir, "production1", terminal=False))


def test_an_unknown_machine_name_gets_a_suggestion_or_the_list(state_dir: StateDir) -> None:
    with pytest.raises(MissingInputError, match="prodution1: no such machine") as caught:
        ssh_command(SECTION, state_dir, "prodution1", terminal=True)
    assert caught.value.hint == "Did you mean production1?"
    with pytest.raises(MissingInputError) as caught:
        ssh_command(SECTION, state_dir, "x", terminal=True)
    assert caught.value.hint == "machines: development, orchestration, production1"


def test_the_doctor_checks_every_machine_and_only_the_public_ports(
    state_dir: StateDir, answers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    attempted: list[str] = []

    def refuse(address: tuple[str, int], _timeout: float) -> None:
        attempted.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(checks, "socket", copy_module(socket, create_connection=refuse))

    results = check_machines(SECTION, state_dir)

    assert [check.name for check in results if check.state == "error"] == []
    assert {f"{name}: ssh" for name in HOSTS} <= {check.name for check in results}
    assert set(attempted) == {"203.0.113.9"}
    assert len(attempted) == len(checks.PRIVATE_PORTS)


@pytest.mark.parametrize("output", [None, "", "a banner and no more"])
def test_a_machine_without_facts_is_an_error(
    state_dir: StateDir, answers: dict[str, str], monkeypatch: pytest.MonkeyPatch, output: str | None
) -> None:
    monkeypatch.setattr(checks, "_check_port", lambda *_: checks.Check("port", "ok", ""))
    monkeypatch.setattr(checks, "PRIVATE_PORTS", {})
    if output is None:
        del answers["10.20.0.13"]
    else:
        answers["10.20.0.13"] = output

    results = check_machines(SECTION, state_dir)

    assert [(check.name, check.result, check.fix) for check in results if check.state == "error"] == [
        ("production1: ssh", "login failed", "stargaze infra up")
    ]

"""From a shell with ``clouds.yaml`` alone to configured machines: a real control plane, whose servers are real hosts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.openstack_lab import OPENSTACK
from tests.labs.hosts.lab import FOLDER, Host, Lab
from tests.labs.hosts.wheelhouse import fill
from tests.labs.openstack import seed
from tests.labs.openstack.hypervisor import host_keys
from tests.labs.openstack.tenancy import Tenancy

pytestmark = [*OPENSTACK, pytest.mark.hosts]
INSIDE, OUTSIDE = "10.79.0", "10.79.255"
"""Addresses of the machines, and floating ones: from here only the latter are reached."""
CONFIG = f"""
[infra]
cloud = "application"
image = "debian-12"
min_disk = 10
cidr = "{INSIDE}.0/24"
external_network = "street"
page_port = 8000
timeout = 300

[infra.ansible_variables]
base_time_sync = "false"
stargaze_wheelhouse = "{FOLDER / "wheelhouse"}"
"""


@dataclass
class Machines:
    """Hosts that come and go with the servers of a project, as a hypervisor's would."""

    lab: Lab
    project: Tenancy
    hosts: dict[str, Host] = field(default_factory=dict)
    floating: dict[str, str] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def react(self, event: dict[str, Any]) -> None:
        """Do what happened."""
        does = {"spawn": self.spawn, "destroy": self.destroy, "floating": self.float}
        if act := does.get(event["event"]):
            act(event)

    def spawn(self, event: dict[str, Any]) -> None:
        """Boot a host with the server's address and key, and let its console tell the host keys."""
        address = event["ports"][0]["addresses"][0]
        name = event["name"].removeprefix("stargaze-")
        host = self.hosts[address] = self.lab.boot(name, f"{address}/24", event["public_key"])
        host.wait()
        self.project.hypervisor.say(event["id"], host_keys(host.host_keys, name))
        if outside := self.floating.get(address):
            host.add_address(f"{outside}/24")

    def destroy(self, event: dict[str, Any]) -> None:
        """Take its host away."""
        for address in [address for port in event["ports"] for address in port["addresses"]]:
            if host := self.hosts.pop(address, None):
                host.remove()

    def float(self, event: dict[str, Any]) -> None:
        """Give the host an address that is reached from here; a router would translate it."""
        inside, outside = event["fixed_ip_address"], event["floating_ip_address"]
        if inside:
            self.floating[inside] = outside
            if inside in self.hosts:
                self.hosts[inside].add_address(f"{outside}/24")


@pytest.fixture
def machines(cloud_project: Tenancy) -> Iterator[Machines]:
    lab = Lab(prefix="sgc", mine=(f"{OUTSIDE}.254/24",))
    made = Machines(lab, cloud_project)
    with lab.alone():
        lab.remove()
        lab.prepare()
        fill(FOLDER / "wheelhouse", FOLDER / "template")
        street = seed.external_network(cloud_project.admin, "street", OUTSIDE, last=99)
        try:
            with cloud_project.hypervisor.watched(made.react):
                yield made
        finally:
            lab.remove()
            cloud_project.end()  # what is on the street goes before the street
            cloud_project.admin.network.delete_network(street)


class Shell:
    """Somebody's shell, in a folder of their own."""

    def __init__(self, folder: Path, clouds: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "OS_CLIENT_CONFIG_FILE": str(clouds), "NO_COLOR": "1"}
        (folder / "stargaze.toml").write_text(CONFIG)

    def type(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "stargaze", *words],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


def test_one_command_makes_and_configures_a_cluster_and_one_takes_it_down(
    machines: Machines, cloud_project: Tenancy, tmp_path: Path
) -> None:
    folder = tmp_path / "desk"
    folder.mkdir()
    shell = Shell(folder, cloud_project.clouds())

    shell.type("infra", "up")

    rows = json.loads(shell.type("infra", "status", "--json"))
    assert [(row["machine"], row["state"], row["ssh"]) for row in rows] == [
        (name, "active", "ok") for name in ("orchestration", "development", "parameter1", "production1", "production2")
    ]
    assert shell.type("infra", "ssh", "production1", "--", "hostname").strip() == "production1"
    nodes = shell.type("infra", "ssh", "production1", "--", "sudo docker node ls --format '{{.Hostname}} {{.Status}}'")
    assert sorted(nodes.splitlines()) == ["production1 Ready", "production2 Ready"]
    again = shell.type("infra", "up")
    assert "nothing to do" in again
    assert "nothing to configure" in again
    assert set(re.findall(r" (\d+)$", shell.type("infra", "configure"), re.MULTILINE)) == {"0"}
    checks = {row["check"]: row["state"] for row in json.loads(shell.type("doctor", "--json"))}
    assert [name for name, state in checks.items() if state == "error"] == []
    assert {checks[f"{name}: docker"] for name in ("development", "production1", "production2")} == {"ok"}

    shell.type("infra", "down", "--yes")

    assert cloud_project.inventory() == []
    assert machines.hosts == {}

"""From ``clouds.yaml`` to configured machines: a real OpenStack control plane, whose servers are real hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.openstack_lab import OPENSTACK
from tests.labs.hosts.lab import Host, Lab
from tests.labs.hosts.wheelhouse import WHEELHOUSE, fill_wheelhouse, package_layer
from tests.labs.openstack import seed
from tests.labs.openstack.hypervisor import console_with_host_keys
from tests.labs.openstack.tenancy import Tenancy

pytestmark = [*OPENSTACK, pytest.mark.hosts]
INSIDE, OUTSIDE = "10.79.0", "10.79.255"
"""Addresses of the machines, and floating IPs: this machine reaches only the latter."""
CONFIG = f"""
[infra]
cloud = "application"
image = "debian-12"
min_disk = 10
cidr = "{INSIDE}.0/24"
external_network = "outside"
page_port = 8000
timeout = 300

[infra.ansible_variables]
base_time_sync = "false"
stargaze_wheelhouse = "{WHEELHOUSE}"
"""


@dataclass
class Machines:
    """Hosts that boot and vanish with the servers of a project, as on a hypervisor."""

    lab: Lab
    project: Tenancy
    hosts: dict[str, Host] = field(default_factory=dict)
    floating: dict[str, str] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def react(self, event: dict[str, Any]) -> None:
        """Repeat an event of the server on its host."""
        handlers = {"spawn": self.spawn, "destroy": self.destroy, "floating": self.float}
        if handler := handlers.get(event["event"]):
            handler(event)

    def spawn(self, event: dict[str, Any]) -> None:
        """Boot a host with address and key of the server, and print its host keys on the console.

        Its disk has the locked packages already; their installation is tested with the playbooks.
        """
        address = event["ports"][0]["addresses"][0]
        name = event["name"].removeprefix("stargaze-")
        host = self.hosts[address] = self.lab.boot(
            name, f"{address}/24", event["public_key"], layers=(package_layer(),)
        )
        host.wait()
        self.project.hypervisor.write_console(event["id"], console_with_host_keys(host.host_keys, name))
        if outside := self.floating.get(address):
            host.add_address(f"{outside}/24")

    def destroy(self, event: dict[str, Any]) -> None:
        """Delete the host."""
        for address in [address for port in event["ports"] for address in port["addresses"]]:
            if host := self.hosts.pop(address, None):
                host.remove()

    def float(self, event: dict[str, Any]) -> None:
        """Add an address that this machine reaches to the host; a router would translate it."""
        inside, outside = event["fixed_ip_address"], event["floating_ip_address"]
        if inside:
            self.floating[inside] = outside
            if inside in self.hosts:
                self.hosts[inside].add_address(f"{outside}/24")


@pytest.fixture
def machines(cloud_project: Tenancy) -> Iterator[Machines]:
    lab = Lab(prefix="sgc", own=(f"{OUTSIDE}.254/24",))
    machines = Machines(lab, cloud_project)
    with lab.exclusive():
        lab.remove()
        lab.prepare()
        fill_wheelhouse()
        package_layer()
        external = seed.create_external_network(
            cloud_project.admin, "outside", OUTSIDE, last=99, project=cloud_project.project
        )
        try:
            with cloud_project.hypervisor.watch(machines.react):
                yield machines
        finally:
            lab.remove()
            cloud_project.delete()  # its ports have to be deleted before the network
            cloud_project.admin.network.delete_network(external)


class Shell:
    """A folder with a config, in which commands run as a user types them."""

    def __init__(self, folder: Path, clouds: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "OS_CLIENT_CONFIG_FILE": str(clouds), "NO_COLOR": "1"}
        (folder / "stargaze.toml").write_text(CONFIG)

    def run(self, *argv: str, code: int = 0) -> str:
        """Run a command, compare its exit code and return its output."""
        done = subprocess.run(
            [sys.executable, "-m", "stargaze", *argv],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout


def test_one_command_creates_and_configures_a_cluster_and_one_deletes_it(
    machines: Machines, cloud_project: Tenancy, tmp_path: Path
) -> None:
    folder = tmp_path / "workspace"
    folder.mkdir()
    shell = Shell(folder, cloud_project.clouds())

    shell.run("infra", "up")

    rows = json.loads(shell.run("infra", "status", "--json"))
    assert [(row["machine"], row["state"], row["ssh"]) for row in rows] == [
        (name, "active", "ok") for name in ("orchestration", "development", "parameter1", "production1", "production2")
    ]
    assert shell.run("infra", "ssh", "production1", "--", "hostname").strip() == "production1"
    nodes = shell.run("infra", "ssh", "production1", "--", "sudo docker node ls --format '{{.Hostname}} {{.Status}}'")
    assert sorted(nodes.splitlines()) == ["production1 Ready", "production2 Ready"]
    again = shell.run("infra", "up")
    assert "nothing to do" in again
    assert "nothing to configure" in again
    checks = {row["check"]: row["state"] for row in json.loads(shell.run("doctor", "--json"))}
    assert [name for name, state in checks.items() if state == "error"] == []
    assert {checks[f"{name}: docker"] for name in ("development", "production1", "production2")} == {"ok"}

    shell.run("infra", "down", "--yes")

    assert cloud_project.inventory() == []
    assert machines.hosts == {}

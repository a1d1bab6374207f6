"""Hosts over real ssh, and the project's own playbooks run on them as they are."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import InfraSection
from stargaze.infra.ansible.configure import prepare_inventory
from stargaze.infra.ansible.runner import ansible_environment, playbook_folder
from stargaze.infra.hosts.host_list import ssh_access, to_ssh_hosts
from stargaze.infra.hosts.state_dir import (
    StateDir,
    derive_public_key,
    ensure_private_key,
    open_state_dir,
    pin_host_keys,
)
from stargaze.infra.machines import Host as Entered
from stargaze.infra.machines import Machine
from stargaze.store import Store
from stargaze.system import ssh_keys as sshkeys
from tests.labs.hosts.lab import FOLDER, Host, Lab
from tests.labs.hosts.wheelhouse import fill

MACHINE = "10.78.0.254"
"""Where the tests are: the only address outside of the cluster that may open ssh."""
MEMBERS = {
    "orchestration": "10.78.0.10",
    "development": "10.78.0.11",
    "parameter1": "10.78.0.12",
    "production1": "10.78.0.21",
    "production2": "10.78.0.22",
}
ADDRESSES = {**MEMBERS, "stranger": "10.78.0.99"}
"""The stranger stands on the same network and is no member."""
SECTION = InfraSection(
    name="lab",
    provider="static",
    hosts={name: f"debian@{address}" for name, address in MEMBERS.items()},
    ssh_from=[f"{MACHINE}/32"],
    page_port=8000,
    ansible_variables={
        "base_time_sync": "false",  # all hosts have this machine's clock, which is not theirs to set
        "ray_cpus": "1",
        "stargaze_wheelhouse": str(FOLDER / "wheelhouse"),
    },
)
KNOCK = """
import concurrent.futures
import contextlib
import socket
import sys

def knock(port):
    with contextlib.suppress(OSError), socket.create_connection((sys.argv[1], port), 2):
        return port

with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(*filter(None, pool.map(knock, map(int, sys.argv[2:]))))
"""
RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Played:
    """How a run of playbooks ended."""

    code: int
    said: str

    @property
    def changed(self) -> dict[str, int]:
        """How much was changed on each host."""
        return {host: int(changed) for host, changed, _, _ in RECAP.findall(self.said)}


@dataclass(frozen=True)
class Cluster:
    """The hosts of one cluster, which to stargaze are machines that exist, and what it keeps of them."""

    lab: Lab
    store: Store
    hosts: dict[str, Host] = field(default_factory=dict)

    @property
    def state_dir(self) -> StateDir:
        """Where stargaze keeps keys and inventory."""
        return open_state_dir(SECTION, self.store)

    @property
    def public_key(self) -> str:
        """Whose holder is let in by the hosts."""
        return derive_public_key(ensure_private_key(SECTION, self.state_dir))

    @property
    def signer(self) -> Path:
        """The key whose releases the nodes believe."""
        return self.store.keys / "signer"

    def boot(self, name: str) -> Host:
        """Boot a host on an empty disk, and believe its key."""
        host = self.hosts[name] = self.lab.boot(name, f"{ADDRESSES[name]}/24", self.public_key)
        pin_host_keys(self.state_dir, {one.name: (one.name, one.host_keys) for one in self.hosts.values()})
        host.wait()
        return host

    def ssh(self, host: Host, user: str = "debian") -> list[str]:
        """Return the words that enter a host from here, up to the command; the last names it."""
        entered = Entered(Machine(host.name, "production"), host.address, host.address, user)
        (remote,) = to_ssh_hosts([entered], ssh_access(SECTION, self.state_dir))
        return remote.way

    def play(self, playbook: str = "site.yml", *words: str, **variables: Any) -> Played:
        """Run a playbook of the project on the product's inventory, with variables beside it."""
        inventory, _ = prepare_inventory(SECTION, self.state_dir, self.store)
        command = [Path(sys.prefix, "bin", "ansible-playbook"), "-i", inventory, playbook_folder() / playbook, *words]
        command += ["--extra-vars", json.dumps(variables)]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            **ansible_environment(),
            "ANSIBLE_HOME": str(self.store.root / "ansible"),
        }
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return Played(done.returncode, done.stdout)

    def on_cluster(self, script: str, *, token: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Python on the head of the Ray cluster as whoever runs jobs there does."""
        without = "" if token else "unset RAY_AUTH_MODE RAY_AUTH_TOKEN_PATH;"
        words = f"set -a; . /etc/stargaze/ray.env; {without} exec timeout 180 /opt/stargaze/bin/python -"
        return self.hosts["development"].run("sudo", "-u", "ray", "sh", "-c", words, stdin=script, check=False)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The hosts as a cloud gives them: booted, reachable, with nothing of ours on them."""
    lab = Lab(mine=(f"{MACHINE}/24",))
    made = Cluster(lab, Store(tmp_path_factory.mktemp("cluster")))
    sshkeys.make(made.signer, "")
    (made.store.keys / "allowed_signers").write_text(f'stargaze namespaces="git" {derive_public_key(made.signer)}\n')
    with lab.alone():
        lab.remove()  # what a killed run left
        lab.prepare()
        fill(FOLDER / "wheelhouse", FOLDER / "template")
        try:
            for name in ADDRESSES:
                made.boot(name)
            yield made
        finally:
            lab.remove()


@dataclass(frozen=True)
class Configured:
    """The cluster after the first run of all playbooks, and what that and a check before it said."""

    cluster: Cluster
    checked: Played
    first: Played


@pytest.fixture(scope="session")
def configured(cluster: Cluster) -> Configured:
    """Configure the cluster once for all tests."""
    checked = cluster.play("site.yml", "--check")
    first = cluster.play()
    assert first.code == 0, first.said
    return Configured(cluster, checked, first)


@pytest.fixture(scope="session")
def reached() -> Callable[..., list[int]]:
    """Say to which of these ports one host opens a TCP connection on another; all are tried at once."""

    def reached(host: Host, to: Host, *ports: int) -> list[int]:
        done = host.run("python3", "-", to.address, *map(str, ports), stdin=KNOCK)
        return [int(word) for word in done.stdout.split()]

    return reached

"""Hosts over real ssh, and the project's own playbooks run on them as they are."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.labs.hosts.lab import FOLDER, Host, Lab
from tests.labs.hosts.wheelhouse import fill

PROJECT = Path(__file__).parent.parent.parent.parent
MACHINE = "10.78.0.254"
"""Where the tests are: the only address outside of the cluster that may open ssh."""
ADDRESSES = {
    "development": "10.78.0.11",
    "parameter1": "10.78.0.12",
    "production1": "10.78.0.21",
    "production2": "10.78.0.22",
    "stranger": "10.78.0.99",
}
"""The stranger stands on the same network and is no member."""
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
    """The hosts of one cluster and their inventory."""

    lab: Lab
    folder: Path
    public_key: str
    hosts: dict[str, Host] = field(default_factory=dict)

    @property
    def key(self) -> Path:
        """What ssh shows to be let in."""
        return self.folder / "key"

    @property
    def ssh_options(self) -> list[str]:
        """What ssh is told so that it believes the hosts that were booted, and no others."""
        known = f"UserKnownHostsFile={self.folder}/known_hosts"
        return ["-o", known, "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-i", str(self.key)]

    def boot(self, name: str) -> Host:
        """Boot a host on an empty disk, and believe its key."""
        host = self.hosts[name] = self.lab.boot(name, f"{ADDRESSES[name]}/24", self.public_key)
        lines = [f"{one.address} {key}\n" for one in self.hosts.values() for key in one.host_keys]
        (self.folder / "known_hosts").write_text("".join(lines))
        host.wait()
        return host

    def play(self, playbook: str = "site.yml", *words: str, **variables: Any) -> Played:
        """Run a playbook of the project, with variables beside those of the inventory."""
        inventory = self.folder / "inventory.json"
        inventory.write_text(json.dumps(self._inventory()))
        command = [Path(sys.prefix, "bin", "ansible-playbook"), "-i", inventory, PROJECT / "ansible" / playbook, *words]
        command += ["--extra-vars", json.dumps(variables)]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_CONFIG": str(PROJECT / "ansible" / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
            "PATH": f"{Path(sys.prefix, 'bin')}:{os.environ['PATH']}",
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

    def _inventory(self) -> dict[str, Any]:
        members = {
            name: {"ansible_host": address, "inside_address": address}
            for name, address in ADDRESSES.items()
            if name != "stranger"
        }
        members["development"]["ray_cpus"] = members["parameter1"]["ray_cpus"] = 1  # type: ignore[assignment]
        groups = {
            "development": ["development"],
            "parameter_servers": ["parameter1"],
            "production": ["production1", "production2"],
            "ray_head": ["development"],
            "ray_workers": ["parameter1"],
            "swarm_managers": ["production1"],
            "swarm_workers": ["production2"],
        }
        parents = {"ray": ["ray_head", "ray_workers"], "swarm": ["swarm_managers", "swarm_workers"]}
        children = {name: {"hosts": dict.fromkeys(hosts)} for name, hosts in groups.items()}
        children |= {name: {"children": dict.fromkeys(below)} for name, below in parents.items()}
        variables = {
            "ansible_user": "debian",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={self.folder}/known_hosts -o StrictHostKeyChecking=yes",
            "stargaze_name": "lab",
            "stargaze_wheel": str(next(self.folder.glob("*.whl"))),
            "stargaze_lock": str(PROJECT / "requirements.lock"),
            "stargaze_wheelhouse": str(FOLDER / "wheelhouse"),
            "stargaze_allowed_signers": str(self.folder / "allowed_signers"),
            "stargaze_ray_token_file": str(self.folder / "ray_token"),
            "stargaze_ssh_from": [f"{MACHINE}/32"],
            "stargaze_page_port": 8000,
            "base_time": False,  # all hosts have this machine's clock, which is not theirs to set
        }
        return {"all": {"vars": variables, "hosts": members, "children": children}}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The hosts as a cloud gives them: booted, reachable, with nothing of ours on them."""
    folder = tmp_path_factory.mktemp("cluster")
    for name in ("key", "signer"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name], check=True)
    signer = " ".join((folder / "signer.pub").read_text().split()[:2])
    (folder / "allowed_signers").write_text(f'stargaze namespaces="git" {signer}\n')
    (folder / "ray_token").write_text(secrets.token_hex(32))
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
    ]
    subprocess.run([*build, PROJECT], check=True)
    lab = Lab(mine=(f"{MACHINE}/24",))
    lab.remove()  # what a killed run left
    lab.prepare()
    fill(FOLDER / "wheelhouse", FOLDER / "template")
    made = Cluster(lab, folder, (folder / "key.pub").read_text())
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

"""Hosts for the tests of playbooks and of deliveries: both use the same hosts, which boot once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
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
from stargaze.infra.machines import Host as MachineHost
from stargaze.infra.machines import Machine
from stargaze.store import Store
from stargaze.system import ssh_keys
from tests.labs.hosts.lab import Host, Lab
from tests.labs.hosts.wheelhouse import WHEELHOUSE, fill_wheelhouse, package_layer

TEST_MACHINE = "10.78.0.254"
"""Address of the tests: the only one outside of the cluster that may open ssh."""
MEMBERS = {
    "orchestration": "10.78.0.10",
    "development": "10.78.0.11",
    "parameter1": "10.78.0.12",
    "production1": "10.78.0.21",
    "production2": "10.78.0.22",
}
ADDRESSES = {**MEMBERS, "outsider": "10.78.0.99"}
"""The outsider is on the same network and not a member of the cluster."""
PREINSTALLED = ("parameter1", "production1", "production2")
"""Hosts whose disk has the locked packages already: on `development` the playbooks install them, which is enough to test that."""
SECTION = InfraSection(
    name="lab",
    provider="static",
    hosts={name: f"debian@{address}" for name, address in MEMBERS.items()},
    ssh_from=[f"{TEST_MACHINE}/32"],
    page_port=8000,
    ansible_variables={
        "base_time_sync": "false",  # all hosts share the clock of this machine and cannot set it
        "ray_cpus": "1",
        "stargaze_wheelhouse": str(WHEELHOUSE),
    },
)
RECAP = re.compile(r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class PlaybookRun:
    """Exit code and output of one run of a playbook."""

    code: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        """Number of changed tasks by host."""
        return {host: int(changed) for host, changed, _, _ in RECAP.findall(self.output)}


@dataclass(frozen=True)
class Cluster:
    """The hosts of one cluster, and the store with its keys. To stargaze they are existing machines."""

    lab: Lab
    store: Store
    hosts: dict[str, Host] = field(default_factory=dict)

    @property
    def state_dir(self) -> StateDir:
        """The folder with keys and inventory."""
        return open_state_dir(SECTION, self.store)

    @property
    def key(self) -> Path:
        """The private key that opens ssh to the hosts."""
        return ensure_private_key(SECTION, self.state_dir)

    @property
    def signer(self) -> Path:
        """The key that signs releases."""
        return self.store.keys / "signer"

    def boot(self, *names: str) -> None:
        """Boot hosts with empty disks, and trust their keys."""
        public_key = derive_public_key(self.key)
        for name in names:
            layers = (package_layer(),) if name in PREINSTALLED else ()
            self.hosts[name] = self.lab.boot(name, f"{ADDRESSES[name]}/24", public_key, layers=layers)
        pin_host_keys(self.state_dir, {host.name: (host.name, host.host_keys) for host in self.hosts.values()})
        for name in names:
            self.hosts[name].wait()

    def ssh(self, host: Host, user: str = "debian") -> list[str]:
        """Return the ssh command to a host; its last word is the destination."""
        machine_host = MachineHost(Machine(host.name, "production"), host.address, host.address, user)
        (remote,) = to_ssh_hosts([machine_host], ssh_access(SECTION, self.state_dir))
        return remote.login_argv

    def play(self, playbook: str = "site.yml", *argv: str, **variables: Any) -> PlaybookRun:
        """Run a playbook on the inventory that stargaze writes, with extra variables."""
        with self.start_play(playbook, *argv, **variables) as run:
            output, _ = run.communicate()
        return PlaybookRun(run.returncode, output.decode())

    def start_play(self, playbook: str, *argv: str, **variables: Any) -> subprocess.Popen[bytes]:
        """Start a run of a playbook."""
        inventory, _ = prepare_inventory(SECTION, self.state_dir, self.store)
        command = [Path(sys.prefix, "bin", "ansible-playbook"), "-i", inventory, playbook_folder() / playbook, *argv]
        command += ["--extra-vars", json.dumps(variables)]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            **ansible_environment(),
            "ANSIBLE_HOME": str(self.store.root / "ansible"),
        }
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run_on_ray_head(self, script: str, *, token: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Python on the head of the Ray cluster with the account and the settings of its jobs."""
        without = "" if token else "unset RAY_AUTH_MODE RAY_AUTH_TOKEN_PATH;"
        command = f"set -a; . /etc/stargaze/ray.env; {without} exec timeout 180 /opt/stargaze/bin/python -"
        return self.hosts["development"].run("sudo", "-u", "ray", "sh", "-c", command, stdin=script, check=False)


@pytest.fixture(scope="session")
def cluster_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster without hosts: the tests boot those that they need.

    With STARGAZE_KEEP_LAB=FOLDER the hosts stay, and the next run uses them again.
    """
    folder = os.environ.get("STARGAZE_KEEP_LAB")
    lab = Lab(own=(f"{TEST_MACHINE}/24",))
    cluster = Cluster(lab, Store(Path(folder) / "cluster" if folder else tmp_path_factory.mktemp("cluster")))
    if not cluster.signer.is_file():
        ssh_keys.create_key(cluster.signer, "")
        allowed = f'stargaze namespaces="git" {derive_public_key(cluster.signer)}\n'
        (cluster.store.keys / "allowed_signers").write_text(allowed)
    with lab.exclusive():
        if folder:
            cluster.hosts.update({host.name: host for host in lab.hosts()})
        else:
            lab.remove()  # hosts of a run that was killed
        lab.prepare()
        fill_wheelhouse()
        try:
            yield cluster
        finally:
            if not folder:
                lab.remove()

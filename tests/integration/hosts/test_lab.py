"""The lab itself: the properties that other tests rely on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from stargaze.infra.hosts.state_dir import derive_public_key
from tests.integration.hosts_lab import ADDRESSES, Cluster
from tests.labs.hosts.lab import Host

pytestmark = pytest.mark.hosts


@pytest.fixture
def outsider(cluster: Cluster) -> Host:
    return cluster.hosts["outsider"]


def ssh(cluster: Cluster, host: Host, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*cluster.ssh(host), *argv], capture_output=True, text=True, check=False)


def test_a_host_is_a_complete_system_that_accepts_the_key_of_its_user(cluster: Cluster, outsider: Host) -> None:
    outsider.run("systemctl", "is-system-running", "--wait", check=False)

    assert ssh(cluster, outsider, "hostname; sudo systemctl is-system-running").stdout.split() == [
        "outsider",
        "running",
    ]


def test_the_disk_survives_a_power_cut(cluster: Cluster, outsider: Host) -> None:
    outsider.run("sh", "-c", "echo content >/root/file; sync")
    keys = outsider.host_keys

    outsider.kill()
    assert outsider.first_process is None
    outsider.start()
    outsider.wait()

    assert outsider.run("cat", "/root/file").stdout == "content\n"
    assert outsider.host_keys == keys
    assert ssh(cluster, outsider, "true").returncode == 0


def test_the_new_key_of_a_rebuilt_host_is_rejected_until_it_is_trusted(cluster: Cluster) -> None:
    lab, name, public_key = cluster.lab, "outsider", derive_public_key(cluster.key)
    host = lab.boot(name, f"{ADDRESSES[name]}/24", public_key)
    host.wait()

    rejected = ssh(cluster, host, "true")
    cluster.boot(name)

    assert rejected.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in rejected.stderr


def test_a_host_uses_the_host_key_that_it_was_given(cluster: Cluster, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", tmp_path / "chosen"], check=True)

    host = cluster.lab.boot("chosen", "10.78.0.98/24", derive_public_key(cluster.key), tmp_path / "chosen")
    host.wait()
    scan = subprocess.run(["ssh-keyscan", "-t", "ed25519", host.address], capture_output=True, text=True, check=True)
    keys = host.host_keys
    host.remove()

    assert scan.stdout.split()[1:3] == (tmp_path / "chosen.pub").read_text().split()[:2]
    assert keys == [" ".join(scan.stdout.split()[1:3])]
    assert "chosen" not in [other.name for other in cluster.lab.hosts()]


def test_a_host_has_no_route_out_of_the_lab(outsider: Host) -> None:
    assert outsider.run("ip", "route").stdout.split()[0] == "10.78.0.0/24"
    assert "default" not in outsider.run("ip", "route").stdout

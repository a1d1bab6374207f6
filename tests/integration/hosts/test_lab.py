"""The lab itself: what its other users rely on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.hosts.conftest import ADDRESSES, Cluster
from tests.labs.hosts.lab import Host

pytestmark = pytest.mark.hosts


@pytest.fixture
def stranger(cluster: Cluster) -> Host:
    return cluster.hosts["stranger"]


def ssh(cluster: Cluster, host: Host, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*cluster.ssh(host), *words], capture_output=True, text=True, check=False)


def test_a_host_is_a_whole_system_reached_by_its_key(cluster: Cluster, stranger: Host) -> None:
    stranger.run("systemctl", "is-system-running", "--wait", check=False)

    assert ssh(cluster, stranger, "hostname; sudo systemctl is-system-running").stdout.split() == [
        "stranger",
        "running",
    ]


def test_its_disk_outlives_a_power_cut(cluster: Cluster, stranger: Host) -> None:
    stranger.run("sh", "-c", "echo kept >/root/file; sync")
    keys = stranger.host_keys

    stranger.kill()
    assert stranger.first_process is None
    stranger.start()
    stranger.wait()

    assert stranger.run("cat", "/root/file").stdout == "kept\n"
    assert stranger.host_keys == keys
    assert ssh(cluster, stranger, "true").returncode == 0


def test_a_rebuilt_host_has_another_key_that_is_refused_until_it_is_believed(cluster: Cluster) -> None:
    lab, name = cluster.lab, "stranger"
    host = lab.boot(name, f"{ADDRESSES[name]}/24", cluster.public_key)
    host.wait()

    refused = ssh(cluster, host, "true")
    cluster.boot(name)

    assert refused.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stderr


def test_a_host_key_that_was_chosen_is_the_one_it_shows(cluster: Cluster, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", tmp_path / "chosen"], check=True)

    host = cluster.lab.boot("chosen", "10.78.0.98/24", cluster.public_key, tmp_path / "chosen")
    host.wait()
    shown = subprocess.run(["ssh-keyscan", "-t", "ed25519", host.address], capture_output=True, text=True, check=True)
    known = host.host_keys
    host.remove()

    assert shown.stdout.split()[1:3] == (tmp_path / "chosen.pub").read_text().split()[:2]
    assert known == [" ".join(shown.stdout.split()[1:3])]
    assert "chosen" not in [one.name for one in cluster.lab.hosts()]


def test_nothing_leaves_the_lab(stranger: Host) -> None:
    assert stranger.run("ip", "route").stdout.split()[0] == "10.78.0.0/24"
    assert "default" not in stranger.run("ip", "route").stdout

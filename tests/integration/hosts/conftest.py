"""The cluster of the tests, configured by the project's own playbooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.integration.hosts_lab import ADDRESSES, Cluster, PlaybookRun
from tests.labs.hosts.lab import Host

PORT_SCAN = """
import concurrent.futures
import contextlib
import socket
import sys

def connect(port):
    with contextlib.suppress(OSError), socket.create_connection((sys.argv[1], port), 2):
        return port

with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(*filter(None, pool.map(connect, map(int, sys.argv[2:]))))
"""


@pytest.fixture(scope="session")
def cluster(cluster_lab: Cluster) -> Cluster:
    """All hosts as a cloud provides them: booted, reachable, with nothing installed by stargaze."""
    cluster_lab.boot(*(name for name in ADDRESSES if name not in cluster_lab.hosts))
    return cluster_lab


@dataclass(frozen=True)
class Configured:
    """The cluster after all playbooks, that first run, and the dry run before it."""

    cluster: Cluster
    dry_run: PlaybookRun
    first: PlaybookRun


@pytest.fixture(scope="session")
def configured_cluster(cluster: Cluster) -> Configured:
    """Configure the cluster once for all tests."""
    dry_run = cluster.play("site.yml", "--check")
    first = cluster.play()
    assert first.code == 0, first.output
    return Configured(cluster, dry_run, first)


@pytest.fixture(scope="session")
def verbose_dry_run(configured_cluster: Configured) -> PlaybookRun:
    """A dry run on the configured hosts that prints everything that Ansible can print."""
    return configured_cluster.cluster.play("site.yml", "-vvv", "--check", "--diff")


@pytest.fixture(scope="session")
def open_ports() -> Callable[..., list[int]]:
    """Return a function that lists those ports of a host that accept a TCP connection from another host."""

    def scan(source: Host, destination: Host, *ports: int) -> list[int]:
        done = source.run("python3", "-", destination.address, *map(str, ports), stdin=PORT_SCAN)
        return [int(word) for word in done.stdout.split()]

    return scan

"""A Docker Swarm of two hosts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from stargaze.infra.hosts.host_list import find_ssh_hosts
from stargaze.infra.hosts.leave_swarm import remove_from_swarm
from tests.integration.hosts.conftest import Configured
from tests.integration.hosts_lab import SECTION, Cluster
from tests.labs.hosts.lab import Host
from tests.waiting import wait_for

pytestmark = pytest.mark.hosts


def nodes(cluster: Cluster) -> list[dict[str, Any]]:
    """Return the description of each node by the manager, sorted by hostname."""
    manager = cluster.hosts["production1"]
    ids = manager.run("docker", "node", "ls", "--quiet").stdout.split()
    return sorted(
        json.loads(manager.run("docker", "node", "inspect", *ids).stdout),
        key=lambda node: node["Description"]["Hostname"],
    )


def serves(host: Host, port: int) -> bool:
    """Return whether a host answers an HTTP request of its own at a port."""
    script = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}')"
    return host.run("python3", "-c", script, check=False).returncode == 0


def test_both_hosts_are_ready_and_one_of_two_manages(configured_cluster: Configured) -> None:
    descriptions = nodes(configured_cluster.cluster)

    assert [
        (node["Description"]["Hostname"], node["Spec"]["Role"], node["Status"]["State"]) for node in descriptions
    ] == [
        ("production1", "manager", "ready"),
        ("production2", "worker", "ready"),
    ]
    assert all(node["Spec"]["Labels"] == {"stargaze.role": "production"} for node in descriptions)
    assert [node["Status"]["Addr"] for node in descriptions] == ["10.78.0.21", "10.78.0.22"]


def test_two_managers_are_rejected_before_anything_is_changed(configured_cluster: Configured) -> None:
    cluster = configured_cluster.cluster
    more = cluster.store.root / "two-managers.json"
    more.write_text(json.dumps({"all": {"children": {"swarm_managers": {"hosts": {"production2": None}}}}}))

    run = cluster.play("swarm.yml", "--inventory", str(more))

    assert run.code != 0
    assert "2 managers tolerate no more failures than one fewer" in run.output
    assert [node["Spec"]["Role"] for node in nodes(cluster)] == ["manager", "worker"]


def test_only_production_nodes_reach_the_ports_of_swarm(
    configured_cluster: Configured, open_ports: Callable[..., list[int]]
) -> None:
    hosts = configured_cluster.cluster.hosts

    ports = (2375, 2376, 2377, 7946)
    assert open_ports(hosts["production2"], hosts["production1"], *ports) == [2377, 7946]
    for outsider in (hosts["outsider"], hosts["development"]):
        assert open_ports(outsider, hosts["production1"], *ports) == []


def test_a_published_port_is_reachable_only_if_it_is_the_port_of_the_page(
    configured_cluster: Configured, open_ports: Callable[..., list[int]]
) -> None:
    hosts = configured_cluster.cluster.hosts
    engine = hosts["production2"]
    # An image of the host's own Python: the lab has no registry.
    engine.run(
        "sh", "-c", "tar -C / -c usr/bin usr/lib usr/lib64 lib lib64 bin etc/ssl | docker import - python >/dev/null"
    )
    for port in (8000, 8001):
        argv = [
            "--detach",
            f"--name=page{port}",
            f"--publish={port}:80",
            "python",
            "python3",
            "-m",
            "http.server",
            "80",
        ]
        engine.run("docker", "run", *argv)

    try:
        wait_for(lambda: all(serves(engine, port) for port in (8000, 8001)))
        assert open_ports(hosts["orchestration"], engine, 8000, 8001) == [8000]
        assert open_ports(hosts["outsider"], engine, 8000, 8001) == []
    finally:
        engine.run("docker", "rm", "--force", "page8000", "page8001")
        engine.run("docker", "rmi", "python")


def test_a_manager_leaves_the_swarm_without_losing_the_majority_and_can_join_again(
    configured_cluster: Configured,
) -> None:
    """One of two managers leaves: if it were only switched off, the Swarm would have no majority left."""
    cluster, messages = configured_cluster.cluster, list[str]()
    stays, leaves = find_ssh_hosts(SECTION, cluster.state_dir, "production")
    cluster.hosts["production1"].run("docker", "node", "promote", "production2")
    wait_for(lambda: nodes(cluster)[1].get("ManagerStatus", {}).get("Reachability") == "reachable", 60)

    remove_from_swarm([leaves.name], [stays], messages.append)
    remaining = nodes(cluster)
    run = cluster.play("site.yml", "--limit", "production1,production2", "--tags", "swarm")

    assert messages == ["production2 has left the Swarm"]
    assert [node["Description"]["Hostname"] for node in remaining] == ["production1"]
    assert run.code == 0, run.output
    assert [(node["Spec"]["Role"], node["Status"]["State"]) for node in nodes(cluster)] == [
        ("manager", "ready"),
        ("worker", "ready"),
    ]


def test_a_rebuilt_node_joins_the_swarm_again(configured_cluster: Configured) -> None:
    cluster = configured_cluster.cluster
    before = {node["ID"] for node in nodes(cluster)}

    cluster.boot("production2")
    run = cluster.play("site.yml", "--limit", "production1,production2", "--tags", "base,swarm")

    descriptions = nodes(cluster)
    assert run.code == 0, run.output
    assert [(node["Description"]["Hostname"], node["Status"]["State"]) for node in descriptions] == [
        ("production1", "ready"),
        ("production2", "ready"),
    ]
    assert len(before & {node["ID"] for node in descriptions}) == 1

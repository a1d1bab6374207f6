"""The firewall service, on a host whose Docker engine writes its own rules."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.integration.hosts.conftest import Configured
from tests.integration.hosts_lab import MEMBERS
from tests.labs.hosts.lab import Host
from tests.waiting import wait_for

pytestmark = pytest.mark.hosts

RELOADS = 30
LISTEN = "import socket, time; s = socket.create_server(('0.0.0.0', 9999)); time.sleep(600)"
SCRIPT = f"""
churn() {{
    while :; do
        docker network create churn
        docker network rm churn
    done
}}
churn >/dev/null 2>&1 &
for number in $(seq {RELOADS}); do
    systemctl reload stargaze-firewall || echo "reload $number"
done
kill $!
docker network rm churn >/dev/null 2>&1
journalctl --unit=stargaze-firewall --no-pager --output=cat | grep --extended-regexp 'status=|[Ff]ailed'
nft list table inet stargaze >/dev/null || echo no table
"""


def reload_often(host: Host) -> str:
    """Reload the firewall many times while the engine creates and removes networks; return the errors."""
    return host.run("sh", "-s", stdin=SCRIPT, check=False).stdout


def test_the_firewall_of_all_hosts_can_be_reloaded_often_at_the_same_time(configured_cluster: Configured) -> None:
    """Hosts must not share control groups either: a service of one host deleted those of another (219/CGROUP)."""
    hosts = [configured_cluster.cluster.hosts[name] for name in MEMBERS]

    with ThreadPoolExecutor(len(hosts)) as pool:
        errors = dict(zip(MEMBERS, pool.map(reload_often, hosts), strict=True))

    assert errors == dict.fromkeys(MEMBERS, "")


def test_a_run_that_is_killed_before_it_tried_the_rules_leaves_no_port_open(
    configured_cluster: Configured, open_ports: Callable[..., list[int]]
) -> None:
    """After new rules are loaded and before a new connection is made: they are rolled back."""
    cluster = configured_cluster.cluster
    host, outsider = cluster.hosts["production2"], cluster.hosts["outsider"]
    host.run("systemd-run", "--unit=listen", "python3", "-c", LISTEN)
    other = {"stargaze_ssh_from": ["203.0.113.0/24"], "firewall_rollback_delay": 5}  # excludes this machine

    with cluster.start_play("base.yml", "--limit", "production2", **other) as run:
        wait_for(lambda: "203.0.113.0" in rules(host))
        kill_group(run)
    wait_for(lambda: "203.0.113.0" not in rules(host))

    assert open_ports(outsider, host, 9999, 22) == []
    assert cluster.play("base.yml", "--limit", "production2").changed["production2"] > 0
    assert open_ports(outsider, host, 9999, 22) == []
    host.run("systemctl", "stop", "listen")


def test_rules_that_the_kernel_does_not_accept_are_not_written(configured_cluster: Configured) -> None:
    cluster = configured_cluster.cluster
    host = cluster.hosts["production2"]
    before = host.run("cat", "/etc/stargaze/firewall.nft").stdout

    refused = cluster.play("base.yml", "--limit", "production2", stargaze_ssh_from=["not an address"])

    assert refused.code != 0
    assert host.run("cat", "/etc/stargaze/firewall.nft").stdout == before
    host.run("systemctl", "reload", "stargaze-firewall")


def rules(host: Host) -> str:
    return host.run("nft", "list", "table", "inet", "stargaze", check=False).stdout


def kill_group(run: subprocess.Popen[bytes]) -> None:
    """Kill Ansible with all of its processes, as a closed laptop does."""
    for process in [*psutil.Process(run.pid).children(recursive=True), run]:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    run.wait()

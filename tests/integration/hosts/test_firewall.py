"""The firewall service, on a host whose Docker engine writes its own rules."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.hosts.conftest import Configured
from tests.integration.hosts_lab import MEMBERS
from tests.labs.hosts.lab import Host

pytestmark = pytest.mark.hosts

RELOADS = 30
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

"""The firewall as a service, beside an engine that writes rules of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.hosts.conftest import MEMBERS, Configured
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


def reloaded(host: Host) -> str:
    """Reload a host's firewall many times while its engine makes and removes networks; return what went wrong."""
    return host.run("sh", "-s", stdin=SCRIPT, check=False).stdout


def test_it_is_reloaded_however_often_on_all_hosts_at_once(configured: Configured) -> None:
    """Hosts of one machine must not share control groups either: a service of one took away the other's (219/CGROUP)."""
    hosts = [configured.cluster.hosts[name] for name in MEMBERS]

    with ThreadPoolExecutor(len(hosts)) as pool:
        said = dict(zip(MEMBERS, pool.map(reloaded, hosts), strict=True))

    assert said == dict.fromkeys(MEMBERS, "")

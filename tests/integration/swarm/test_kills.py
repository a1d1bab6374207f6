"""What is killed comes back, and what was accepted is answered."""

from __future__ import annotations

import time

import pytest

from tests.integration.swarm.conftest import ADDRESSES, Desk, Load
from tests.labs.hosts.lab import Host
from tests.waiting import wait_for

pytestmark = pytest.mark.swarm
OF = "docker ps --quiet --filter label=com.docker.swarm.service.name=stargaze_{}"


@pytest.fixture(scope="module")
def deployed(desk: Desk) -> Desk:
    """A release on both hosts."""
    desk.type("deploy", desk.a[:12])
    return desk


def well(desk: Desk) -> bool:
    """Say whether all runs as it should."""
    return desk.type("status", code=None).code == 0


def kept(counts: dict[str, int]) -> bool:
    """Say whether every accepted question was answered."""
    return counts["lost"] == counts["unanswered"] == 0 < counts["accepted"]


def containers(host: Host, service: str) -> list[str]:
    """Return the containers of a service on a host."""
    return host.run("sh", "-c", OF.format(service)).stdout.split()


def test_a_worker_that_is_killed_in_the_middle_of_its_work(deployed: Desk, load: Load) -> None:
    time.sleep(5)
    host = next(host for host in deployed.hosts.values() if containers(host, "worker"))
    (worker, *_) = containers(host, "worker")

    host.run("docker", "kill", "--signal=KILL", worker)
    time.sleep(5)
    counts = load.end()

    assert kept(counts), counts
    assert counts["failed"] == counts["refused"] == 0, counts
    wait_for(lambda: well(deployed), 120)


def test_rabbitmq_that_is_killed_has_kept_what_it_took(deployed: Desk, load: Load) -> None:
    time.sleep(5)
    (broker,) = containers(deployed.manager, "broker")

    deployed.manager.run("docker", "kill", "--signal=KILL", broker)
    wait_for(lambda: containers(deployed.manager, "broker"), 60)
    wait_for(lambda: all(deployed.serving().values()), 120)
    time.sleep(5)
    counts = load.end()

    assert kept(counts), counts
    wait_for(lambda: well(deployed), 120)


def test_a_hosts_engine_that_is_killed_comes_back_with_all_that_ran_there(deployed: Desk, load: Load) -> None:
    """The host without queue and results: the other one answers alone meanwhile."""
    time.sleep(5)
    lost = deployed.hosts["production2"]

    lost.run("systemctl", "kill", "--signal=KILL", "docker")
    wait_for(lambda: all(deployed.serving().values()), 180)
    counts = load.end()

    assert kept(counts), counts
    wait_for(lambda: well(deployed), 180)
    assert deployed.serving() == dict.fromkeys(ADDRESSES, deployed.a)


def test_the_drill_finds_that_every_promise_holds(deployed: Desk) -> None:
    """All of the above and a deploy that is killed in its middle, as an operator has it done."""
    refused = deployed.type("drill", "another", code=2)

    done = deployed.type("drill", "stargaze", "--json")

    assert "this cluster is called stargaze, not another" in refused.err
    assert [sheet["hardship"] for sheet in done.answer] == ["worker", "web", "broker", "node", "deploy"]
    assert all(sheet["held"] for sheet in done.answer), done.answer
    assert all(sheet["counts"]["answered"] > 0 for sheet in done.answer)

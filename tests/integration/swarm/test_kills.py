"""Killed processes are restarted, and accepted requests are answered."""

from __future__ import annotations

import time

import pytest

from tests.integration.commands import kill_moments
from tests.integration.swarm.conftest import ADDRESSES, Load, Workspace
from tests.waiting import wait_for

pytestmark = pytest.mark.swarm
DELIVERY = 10.0
"""Duration of the delivery of a bundle [s]."""


@pytest.fixture(scope="module")
def deployed_release(workspace: Workspace) -> Workspace:
    """A release on both hosts."""
    workspace.run("deploy", workspace.a[:12])
    return workspace


def is_ok(workspace: Workspace) -> bool:
    """Return whether all services run as configured."""
    return workspace.run("status", code=None).code == 0


@pytest.mark.kills
def test_a_deploy_killed_at_any_moment_fails_no_request_and_the_next_deploy_succeeds(
    deployed_release: Workspace, load: Load
) -> None:
    for number, moment in enumerate(kill_moments(DELIVERY, seed=8)):
        bundle = deployed_release.a if number % 2 else deployed_release.b
        command = ("deploy", bundle[:12], "--force", "it was rolled back by another test")
        with deployed_release.started(*command):
            time.sleep(moment)
        deployed_release.run(*command)
        assert deployed_release.served_bundles() == dict.fromkeys(ADDRESSES, bundle), moment

    counts = load.end()

    assert counts["accepted"] == counts["sent"] == counts["answered"] > 0, counts
    deployed_release.run("deploy", deployed_release.a[:12])


def test_a_killed_docker_engine_restarts_with_its_containers_and_no_accepted_request_is_lost(
    deployed_release: Workspace, load: Load
) -> None:
    """The engine on the host without queue and results: meanwhile the other host answers alone."""
    time.sleep(3)  # requests are being answered
    host = deployed_release.hosts["production2"]

    host.run("systemctl", "kill", "--signal=KILL", "docker")
    wait_for(lambda: all(deployed_release.served_bundles().values()), 180)
    counts = load.end()

    assert counts["lost"] == counts["job_failed"] == 0 < counts["accepted"], counts
    wait_for(lambda: is_ok(deployed_release), 180)
    assert deployed_release.served_bundles() == dict.fromkeys(ADDRESSES, deployed_release.a)


def test_the_drill_finds_that_every_expectation_holds(deployed_release: Workspace) -> None:
    """It kills a worker, a page process, the queue and a deploy, and stops an engine, all under load."""
    rejected = deployed_release.run("drill", "another", code=2)

    completed = deployed_release.run("drill", "stargaze", "--json")

    assert "this cluster is named stargaze, not another" in rejected.err
    assert [row["fault"] for row in completed.json] == ["worker", "web", "broker", "node", "deploy"]
    assert all(row["passed"] for row in completed.json), completed.json
    assert all(row["counts"]["answered"] > 0 for row in completed.json)
    assert is_ok(deployed_release)
    assert deployed_release.served_bundles() == dict.fromkeys(ADDRESSES, deployed_release.a)

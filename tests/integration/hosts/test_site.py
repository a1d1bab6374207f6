"""All playbooks, unmodified, over ssh."""

from __future__ import annotations

import pytest

from stargaze.infra.checks import check_machines
from tests.integration.hosts.conftest import MEMBERS, SECTION, Configured
from tests.waiting import wait_for

pytestmark = pytest.mark.hosts


def test_a_check_of_fresh_hosts_finds_what_is_to_be_done_and_does_nothing(configured: Configured) -> None:
    assert configured.checked.code == 0, configured.checked.said
    assert set(configured.checked.changed) == set(MEMBERS)
    assert min(configured.checked.changed.values()) > 0


def test_a_second_run_changes_nothing(configured: Configured) -> None:
    second = configured.cluster.play()

    assert (second.code, second.changed) == (0, dict.fromkeys(MEMBERS, 0)), second.said


def test_a_check_of_configured_hosts_finds_nothing_to_do(configured: Configured) -> None:
    checked = configured.cluster.play("site.yml", "--check")

    assert (checked.code, checked.changed) == (0, dict.fromkeys(MEMBERS, 0)), checked.said


def test_the_doctor_finds_every_part_of_every_machine_well(configured: Configured) -> None:
    checks = check_machines(SECTION, configured.cluster.state_dir)

    assert [check for check in checks if check.state != "ok"] == []
    assert {check.name for check in checks} >= {
        *(f"{name}: {part}" for name in MEMBERS for part in ("ssh", "clock", "disk")),
        *(f"{name}: docker" for name in ("development", "production1", "production2")),
        *(f"{name}: ray" for name in ("development", "parameter1")),
        *(f"{name}: swarm" for name in ("production1", "production2")),
        *(f"{name}: stargaze" for name in MEMBERS if name != "orchestration"),
        *(f"{name}: ray members" for name in ("development", "parameter1")),
        "production1: swarm members",
        "orchestration: page",
    }


def test_no_secret_is_told(configured: Configured) -> None:
    token = configured.cluster.state_dir.ray_token.read_text()
    loud = configured.cluster.play("site.yml", "-vvv", "--check", "--diff", "--tags", "ray,swarm")

    for played in (configured.first, loud):
        assert token not in played.said
        assert "SWMTKN" not in played.said


def test_every_host_is_guarded_after_a_power_cut_too(configured: Configured) -> None:
    host = configured.cluster.hosts["parameter1"]

    host.power_cycle()
    host.wait()

    wait_for(lambda: "policy accept" in host.run("nft", "list", "table", "inet", "stargaze", check=False).stdout)
    assert host.run("systemctl", "is-enabled", "docker", "stargaze-ray").stdout.split() == ["enabled", "enabled"]


def test_a_firewall_that_locks_us_out_takes_itself_away(configured: Configured) -> None:
    cluster = configured.cluster
    elsewhere = {"stargaze_ssh_from": ["203.0.113.0/24"], "firewall_rollback_delay": 10}

    locked = cluster.play("base.yml", "--limit", "orchestration", **elsewhere)
    healed = cluster.play("base.yml", "--limit", "orchestration")

    assert locked.code != 0
    assert "was not rolled back because stargaze_ssh_from excludes the controller" in locked.said
    assert healed.code == 0, healed.said
    assert healed.changed["orchestration"] > 0
    assert cluster.play("base.yml", "--limit", "orchestration").changed == {"orchestration": 0}

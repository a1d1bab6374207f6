"""All playbooks, unmodified, over ssh."""

from __future__ import annotations

import re

import pytest

from stargaze.infra.checks import check_machines
from tests.integration.hosts.conftest import Configured
from tests.integration.hosts_lab import MEMBERS, SECTION, PlaybookRun
from tests.waiting import wait_for

pytestmark = pytest.mark.hosts


def test_a_dry_run_on_fresh_hosts_reports_changes_and_makes_none(configured_cluster: Configured) -> None:
    assert configured_cluster.dry_run.code == 0, configured_cluster.dry_run.output
    assert set(configured_cluster.dry_run.changed) == set(MEMBERS)
    assert min(configured_cluster.dry_run.changed.values()) > 0


def test_a_second_run_changes_nothing(configured_cluster: Configured) -> None:
    second = configured_cluster.cluster.play()

    assert (second.code, second.changed) == (0, dict.fromkeys(MEMBERS, 0)), second.output


def test_a_dry_run_on_configured_hosts_reports_no_change(verbose_dry_run: PlaybookRun) -> None:
    assert (verbose_dry_run.code, verbose_dry_run.changed) == (0, dict.fromkeys(MEMBERS, 0)), verbose_dry_run.output


def test_the_doctor_finds_every_part_of_every_machine_ok(configured_cluster: Configured) -> None:
    checks = check_machines(SECTION, configured_cluster.cluster.state_dir)

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


def test_no_secret_is_printed(configured_cluster: Configured, verbose_dry_run: PlaybookRun) -> None:
    token = configured_cluster.cluster.state_dir.ray_token.read_text()

    for run in (configured_cluster.first, verbose_dry_run):
        assert token not in run.output
        assert "SWMTKN" not in run.output


def test_the_firewall_is_active_after_a_power_cut(configured_cluster: Configured) -> None:
    host = configured_cluster.cluster.hosts["parameter1"]

    host.power_cycle()
    host.wait()

    wait_for(lambda: "policy accept" in host.run("nft", "list", "table", "inet", "stargaze", check=False).stdout)
    assert host.run("systemctl", "is-enabled", "docker", "stargaze-ray").stdout.split() == ["enabled", "enabled"]


def test_a_firewall_that_excludes_the_controller_is_rolled_back(configured_cluster: Configured) -> None:
    cluster = configured_cluster.cluster
    other_controller = {"stargaze_ssh_from": ["203.0.113.0/24"], "firewall_rollback_delay": 10}

    locked = cluster.play("base.yml", "--limit", "orchestration", **other_controller)
    repaired = cluster.play("base.yml", "--limit", "orchestration")

    assert locked.code != 0
    assert "was not rolled back because stargaze_ssh_from excludes the controller" in locked.output
    assert repaired.code == 0, repaired.output
    assert repaired.changed["orchestration"] > 0
    assert cluster.play("base.yml", "--limit", "orchestration").changed == {"orchestration": 0}


def test_no_two_hosts_restart_at_the_same_time(configured_cluster: Configured) -> None:
    times = {}
    for name in MEMBERS:
        dump = configured_cluster.cluster.hosts[name].run("apt-config", "dump").stdout
        settings = dict(re.findall(r'^Unattended-Upgrade::(Automatic-Reboot[\w-]*) "(.*)";$', dump, re.MULTILINE))
        assert settings["Automatic-Reboot"] == "true"
        times[name] = settings["Automatic-Reboot-Time"]

    assert sorted(times.values()) == ["03:00", "03:30", "04:00", "04:30", "05:00"]
    assert max(times, key=times.__getitem__) == "production1"  # the Swarm's manager is the last

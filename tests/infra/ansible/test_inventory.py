"""Ansible's inventory as data."""

from __future__ import annotations

import pytest

from stargaze.config import InfraSection
from stargaze.infra.ansible.inventory import PlaybookFiles, build_inventory
from tests.infra.conftest import SECTION
from tests.infra.hosts.test_host_list import ACCESS, hosts


@pytest.mark.parametrize(("nodes", "managers"), [(1, 1), (2, 1), (3, 3), (5, 3)])
def test_three_nodes_or_more_have_three_managers_fewer_have_one(nodes: int, managers: int) -> None:
    section = InfraSection(production_servers=nodes)

    children = build_inventory(section, hosts(section), ACCESS, PlaybookFiles())["all"]["children"]

    assert len(children["swarm_managers"]["hosts"]) == managers
    assert len(children["swarm_workers"]["hosts"]) == nodes - managers


def test_every_machine_is_in_its_groups_and_has_its_private_ip() -> None:
    value = build_inventory(SECTION, hosts(), ACCESS, PlaybookFiles(wheel="w.whl"))["all"]

    assert list(value["children"]["ray_head"]["hosts"]) == ["development"]
    assert list(value["children"]["ray_workers"]["hosts"]) == ["parameter1"]
    assert value["hosts"]["orchestration"]["ansible_host"] == "203.0.113.9"
    assert value["hosts"]["orchestration"]["private_ip"] == "10.20.0.10"
    assert value["vars"]["stargaze_wheel"] == "w.whl"
    assert "stargaze_lock" not in value["vars"]


def test_the_inventory_contains_no_secret_and_disables_no_check() -> None:
    text = str(build_inventory(SECTION, hosts(), ACCESS, PlaybookFiles(ray_token="/keys/ray_token")))

    assert "StrictHostKeyChecking=no" not in text
    assert "HOST_KEY_CHECKING" not in text
    assert "BEGIN OPENSSH" not in text


def test_the_firewall_restricts_ssh_to_the_configured_ranges_only() -> None:
    """Without ranges only the security group restricts ssh, because it can be changed without logging in."""
    configured = build_inventory(SECTION, hosts(), ACCESS, PlaybookFiles())["all"]["vars"]["stargaze_ssh_from"]
    default = build_inventory(InfraSection(), hosts(), ACCESS, PlaybookFiles())["all"]["vars"]["stargaze_ssh_from"]

    assert configured == ["192.0.2.0/24"]
    assert default == ["0.0.0.0/0", "::/0"]

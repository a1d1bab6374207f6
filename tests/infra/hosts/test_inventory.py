"""The inventory and the words of ssh: pure, so compared as data."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from stargaze.config import InfraSection
from stargaze.infra.hosts.inventory import PlaybookFiles, SshAccess, build_inventory, to_ssh_hosts
from stargaze.infra.machines import Host, list_machines
from tests.infra.conftest import SECTION

ACCESS = SshAccess(Path("/keys/id"), Path("/keys/known hosts"))


def hosts(section: InfraSection = SECTION) -> list[Host]:
    return [
        Host(
            machine,
            "203.0.113.9" if machine.role == "orchestration" else f"10.20.0.{number}",
            f"10.20.0.{number}",
            "debian",
        )
        for number, machine in enumerate(list_machines(section), start=10)
    ]


def test_all_are_entered_through_the_jump_host_with_pinned_keys() -> None:
    jump, _, _, production, _ = to_ssh_hosts(hosts(), ACCESS)

    words = production.way

    way = next(word for word in words if word.startswith("ProxyCommand=")).removeprefix("ProxyCommand=")
    assert words[-1] == "debian@10.20.0.13"
    assert {"StrictHostKeyChecking=yes", "HostKeyAlias=production1", "BatchMode=yes"} <= set(words)
    assert shlex.split(way)[-1] == "debian@203.0.113.9"
    assert {"StrictHostKeyChecking=yes", "HostKeyAlias=orchestration"} <= set(shlex.split(way))
    assert 'UserKnownHostsFile="/keys/known hosts"' in shlex.split(way)
    assert not any("ProxyCommand" in word for word in jump.way)


@pytest.mark.parametrize(("nodes", "managers"), [(1, 1), (2, 1), (3, 3), (5, 3)])
def test_a_majority_of_managers_is_asked_for_only_where_it_can_be(nodes: int, managers: int) -> None:
    section = InfraSection(production=nodes)

    children = build_inventory(section, hosts(section), ACCESS, PlaybookFiles())["all"]["children"]

    assert len(children["swarm_managers"]["hosts"]) == managers
    assert len(children["swarm_workers"]["hosts"]) == nodes - managers


def test_every_machine_is_in_its_groups_and_knows_its_private_ip() -> None:
    value = build_inventory(SECTION, hosts(), ACCESS, PlaybookFiles(wheel="w.whl"))["all"]

    assert list(value["children"]["ray_head"]["hosts"]) == ["development"]
    assert list(value["children"]["ray_workers"]["hosts"]) == ["parameter1"]
    assert value["hosts"]["orchestration"]["ansible_host"] == "203.0.113.9"
    assert value["hosts"]["orchestration"]["private_ip"] == "10.20.0.10"
    assert value["vars"]["stargaze_wheel"] == "w.whl"
    assert "stargaze_lock" not in value["vars"]


def test_no_secret_and_no_switched_off_check_stands_in_it() -> None:
    text = str(build_inventory(SECTION, hosts(), ACCESS, PlaybookFiles(ray_token="/keys/ray_token")))

    assert "StrictHostKeyChecking=no" not in text
    assert "HOST_KEY_CHECKING" not in text
    assert "BEGIN OPENSSH" not in text


def test_who_sends_work_to_a_machine_enters_it_in_the_same_way() -> None:
    found = {one.name: one for one in to_ssh_hosts(hosts(), ACCESS)}

    assert (found["production1"].role, found["production1"].private_ip) == ("production", "10.20.0.13")
    assert found["production1"].words(["true"]) == [*found["production1"].way, "true"]
    arguments = build_inventory(SECTION, hosts(), ACCESS, PlaybookFiles())["all"]["hosts"]["production1"]
    assert shlex.split(arguments["ansible_ssh_common_args"]) == list(found["production1"].options[2:])  # after the key


def test_machines_let_ssh_in_from_where_the_config_says_and_else_leave_that_to_the_cloud() -> None:
    """An address of ours that changed would else lock us out of machines whose security group has followed it."""
    told = build_inventory(SECTION, hosts(), ACCESS, PlaybookFiles())["all"]["vars"]["stargaze_ssh_from"]
    untold = build_inventory(InfraSection(), hosts(), ACCESS, PlaybookFiles())["all"]["vars"]["stargaze_ssh_from"]

    assert told == ["192.0.2.0/24"]
    assert untold == ["0.0.0.0/0", "::/0"]

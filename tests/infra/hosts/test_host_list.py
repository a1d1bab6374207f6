"""The ssh options of each machine."""

from __future__ import annotations

import shlex
from pathlib import Path

from stargaze.config import InfraSection
from stargaze.infra.ansible.inventory import PlaybookFiles, build_inventory
from stargaze.infra.hosts.host_list import SshAccess, to_ssh_hosts
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


def test_ssh_uses_the_jump_host_and_pinned_keys() -> None:
    jump, _, _, production, _ = to_ssh_hosts(hosts(), ACCESS)

    argv = production.login_argv

    proxy = next(argument for argument in argv if argument.startswith("ProxyCommand=")).removeprefix("ProxyCommand=")
    assert argv[-1] == "debian@10.20.0.13"
    assert {"StrictHostKeyChecking=yes", "HostKeyAlias=production1", "BatchMode=yes"} <= set(argv)
    assert shlex.split(proxy)[-1] == "debian@203.0.113.9"
    assert {"StrictHostKeyChecking=yes", "HostKeyAlias=orchestration"} <= set(shlex.split(proxy))
    assert 'UserKnownHostsFile="/keys/known hosts"' in shlex.split(proxy)
    assert not any("ProxyCommand" in argument for argument in jump.login_argv)


def test_ansible_uses_the_same_ssh_options() -> None:
    ssh_hosts = {host.name: host for host in to_ssh_hosts(hosts(), ACCESS)}

    assert (ssh_hosts["production1"].role, ssh_hosts["production1"].private_ip) == ("production", "10.20.0.13")
    assert ssh_hosts["production1"].argv(["true"]) == [*ssh_hosts["production1"].login_argv, "true"]
    arguments = build_inventory(SECTION, hosts(), ACCESS, PlaybookFiles())["all"]["hosts"]["production1"]
    assert shlex.split(arguments["ansible_ssh_common_args"]) == list(
        ssh_hosts["production1"].options[2:]
    )  # after the key

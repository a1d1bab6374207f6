"""The state of every machine, and the ssh command that opens one of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stargaze.config import InfraSection
from stargaze.errors import MissingInputError, did_you_mean
from stargaze.infra.hosts.host_list import read_ssh_hosts
from stargaze.infra.hosts.state_dir import StateDir
from stargaze.infra.hosts.wait_for_ssh import ATTEMPT_TIMEOUT
from stargaze.infra.machines import parse_machine_name, server_name
from stargaze.system.parallel import map_in_threads


def survey_machines(section: InfraSection, state_dir: StateDir) -> list[dict[str, Any]]:
    """Return a row per machine: its state in the cloud, its addresses, and whether it accepts ssh."""
    hosts = read_ssh_hosts(section, state_dir)
    ssh_errors = map_in_threads(lambda host: host.connection_error(seconds=ATTEMPT_TIMEOUT), hosts, 8)
    states = _read_server_states(section)
    return [
        {
            "machine": host.name,
            "state": "static"
            if states is None
            else states.get(server_name(section, parse_machine_name(host.name)), "deleted"),
            "address": host.address,
            "private_ip": host.private_ip,
            "ssh": ssh_error or "ok",
        }
        for host, ssh_error in zip(hosts, ssh_errors, strict=True)
    ]


def ssh_command(section: InfraSection, state_dir: StateDir, name: str, *, terminal: bool) -> list[str]:
    """Return the argv that connects to a machine."""
    hosts = {host.name: host for host in read_ssh_hosts(section, state_dir)}
    if name not in hosts:
        raise MissingInputError(
            f"{name}: no such machine", hint=did_you_mean(name, hosts, f"machines: {', '.join(hosts)}")
        )
    program, *arguments = hosts[name].login_argv
    return [program, *(["-t"] if terminal else []), *arguments]


def _read_server_states(section: InfraSection) -> Mapping[str, str] | None:
    if section.provider == "static":
        return None
    from stargaze.infra.openstack.client import connect

    return {server.name: server.state.lower() for server in connect(section).servers()}

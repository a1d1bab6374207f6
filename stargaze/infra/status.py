"""What stands and whether it answers; and the way into one machine."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stargaze.config import InfraSection
from stargaze.errors import MissingInputError, did_you_mean
from stargaze.infra.hosts.state_dir import StateDir
from stargaze.infra.hosts.wait_for_ssh import ONE_TRY
from stargaze.infra.machines import parse_machine_name, server_name
from stargaze.infra.provision import read_ssh_hosts


def survey_machines(section: InfraSection, state_dir: StateDir) -> list[dict[str, Any]]:
    """Return a row a machine: what the cloud says of it, its addresses, and whether it lets us in by ssh."""
    machines = read_ssh_hosts(section, state_dir)
    with ThreadPoolExecutor(8) as pool:
        reached = list(pool.map(lambda one: one.barrier(seconds=ONE_TRY), machines))
    states = _states(section)
    return [
        {
            "machine": one.name,
            "state": states.get(server_name(section, parse_machine_name(one.name)), "gone")
            if states is not None
            else "as it is",
            "address": one.address,
            "private_ip": one.private_ip,
            "ssh": why or "yes",
        }
        for one, why in zip(machines, reached, strict=True)
    ]


def ssh_command(section: InfraSection, state_dir: StateDir, name: str, *, terminal: bool) -> list[str]:
    """Return the words that enter a machine."""
    machines = {one.name: one for one in read_ssh_hosts(section, state_dir)}
    if name not in machines:
        raise MissingInputError(
            f"{name}: no such machine", hint=did_you_mean(name, machines, f"There are: {', '.join(machines)}")
        )
    program, *words = machines[name].way
    return [program, *(["-t"] if terminal else []), *words]


def _states(section: InfraSection) -> Mapping[str, str] | None:
    if section.provider == "static":
        return None
    from stargaze.infra.openstack.client import connect

    return {one.name: one.state.lower() for one in connect(section).servers()}

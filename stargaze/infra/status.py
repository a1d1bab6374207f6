"""What stands and whether it answers; and the way into one machine."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stargaze.config import InfraSection
from stargaze.errors import MissingInputError, did_you_mean
from stargaze.infra.cluster import access_of, hosts_of
from stargaze.infra.inventory import ssh
from stargaze.infra.machines import jump_of, server_name
from stargaze.infra.reach import answers
from stargaze.infra.workroom import Workroom


def status_of(section: InfraSection, room: Workroom) -> list[dict[str, Any]]:
    """Return a row a machine: what the cloud says of it, its addresses, and whether it lets us in by ssh."""
    hosts, access = hosts_of(section, room), access_of(section, room)
    jump = jump_of(hosts)
    with ThreadPoolExecutor(8) as pool:
        reached = list(pool.map(lambda host: answers(host, jump, access), hosts))
    states = _states(section)
    return [
        {
            "machine": host.machine.name,
            "state": states.get(server_name(section, host.machine), "gone") if states is not None else "as it is",
            "address": host.address,
            "inside": host.inside,
            "ssh": why or "yes",
        }
        for host, why in zip(hosts, reached, strict=True)
    ]


def way_to(section: InfraSection, room: Workroom, name: str, *, terminal: bool) -> list[str]:
    """Return the words that enter a machine."""
    hosts = hosts_of(section, room)
    host = next((one for one in hosts if one.machine.name == name), None)
    if host is None:
        names = [one.machine.name for one in hosts]
        raise MissingInputError(
            f"{name}: no such machine", hint=did_you_mean(name, names, f"There are: {', '.join(names)}")
        )
    words = ssh(host, jump_of(hosts), access_of(section, room))
    return [*words[:1], "-t", *words[1:]] if terminal else words


def _states(section: InfraSection) -> Mapping[str, str] | None:
    if section.provider == "static":
        return None
    from stargaze.infra.cloud import connect

    return {one.name: one.state.lower() for one in connect(section).servers()}

"""Ansible's inventory and the way into each machine, from those that stand. Pure: files are written elsewhere."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.config import InfraSection
from stargaze.infra.machines import Host, find_jump_host
from stargaze.infra.plan.desired import ANYWHERE
from stargaze.system.ssh import SshHost

MANAGERS = 3
"""Of a Swarm with at least so many nodes; with fewer one is, as two give no majority."""


@dataclass(frozen=True)
class SshAccess:
    """How the machines are entered."""

    key: Path
    known_hosts: Path
    first_use: bool = False
    """Whether a machine that was never met is believed; what was met once is pinned all the same."""


@dataclass(frozen=True)
class PlaybookFiles:
    """What the playbooks carry to the machines."""

    wheel: str = ""
    lock: str = ""
    allowed_signers: str = ""
    ray_token: str = ""


def to_ssh_hosts(hosts: Sequence[Host], access: SshAccess) -> tuple[SshHost, ...]:
    """Return the machines as they are entered: pinned keys, no question asked, through the jump host where there is one."""
    jump = find_jump_host(hosts)
    return tuple(
        SshHost(
            host.machine.name,
            host.machine.role,
            host.private_ip,
            host.address,
            host.user,
            tuple(_options(host, jump, access)),
        )
        for host in hosts
    )


def build_inventory(
    section: InfraSection, hosts: Sequence[Host], access: SshAccess, files: PlaybookFiles
) -> dict[str, Any]:
    """Return the inventory: groups by role, and by what runs on them."""
    jump = find_jump_host(hosts)
    names = {role: [host.machine.name for host in hosts if host.machine.role == role] for role in ROLES}
    managers = names["production"][: MANAGERS if len(names["production"]) >= MANAGERS else 1]
    children: dict[str, Any] = {
        "orchestration": _group(names["orchestration"]),
        "development": _group(names["development"]),
        "parameter_servers": _group(names["parameter"]),
        "production": _group(names["production"]),
        "ray_head": _group(names["development"]),
        "ray_workers": _group(names["parameter"]),
        "ray": {"children": {"ray_head": {}, "ray_workers": {}}},
        "swarm_managers": _group(managers),
        "swarm_workers": _group([name for name in names["production"] if name not in managers]),
        "swarm": {"children": {"swarm_managers": {}, "swarm_workers": {}}},
    }
    values = {
        "ansible_ssh_private_key_file": str(access.key),
        "stargaze_name": section.name,
        "stargaze_page_port": section.page_port,
        # Without ranges the cloud's security group lets this machine alone in, and follows it; the machines do not.
        "stargaze_ssh_from": list(section.ssh_from or ANYWHERE),
        "base_updates": section.updates,
        "stargaze_wheel": files.wheel,
        "stargaze_lock": files.lock,
        "stargaze_allowed_signers": files.allowed_signers,
        "stargaze_ray_token_file": files.ray_token,
        **{name: _value(text) for name, text in section.variables.items()},
    }
    every = {host.machine.name: _variables(host, jump, access) for host in hosts}
    return {
        "all": {
            "hosts": every,
            "vars": {name: value for name, value in values.items() if value != ""},
            "children": children,
        }
    }


ROLES = ("orchestration", "development", "parameter", "production")


def _value(text: str) -> Any:
    """Read a variable as JSON where it is some: a config holds texts, a role may want a number or a switch.

    >>> _value("false"), _value("900"), _value("/srv/wheels")
    (False, 900, '/srv/wheels')
    """
    try:
        return json.loads(text)
    except ValueError:
        return text


def _group(names: Sequence[str]) -> dict[str, Any]:
    return {"hosts": {name: {} for name in names}}


def _variables(host: Host, jump: Host | None, access: SshAccess) -> dict[str, Any]:
    return {
        "ansible_host": host.address,
        "ansible_user": host.user,
        "ansible_ssh_common_args": shlex.join(_options(host, jump, access, key=False)),
        "private_ip": host.private_ip,
    }


def _as_word(path: Path) -> str:
    """Write a path as ssh's options want it: several would be divided by spaces, and a % begins a name of ssh's own.

    >>> _as_word(Path("/home/me/my store/known_hosts"))
    '"/home/me/my store/known_hosts"'
    """
    text = str(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text


def _options(host: Host, jump: Host | None, access: SshAccess, *, key: bool = True) -> list[str]:
    """Return options: a machine's keys are looked up by its name, so that an address may change."""
    strict = "accept-new" if access.first_use else "yes"
    options = [
        f"UserKnownHostsFile={_as_word(access.known_hosts)}",
        "GlobalKnownHostsFile=/dev/null",
        f"StrictHostKeyChecking={strict}",
        f"HostKeyAlias={host.machine.name}",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=15",
    ]
    if jump is not None and jump != host:
        way = ["ssh", *_options(jump, None, access), "-W", "%h:%p", f"{jump.user}@{jump.address}"]
        options.append(f"ProxyCommand={shlex.join(way)}")
    words = [word for option in options for word in ("-o", option)]
    return ["-i", str(access.key), *words] if key else words

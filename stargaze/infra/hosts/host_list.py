"""The list of existing machines, and the ssh options that connect to each of them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stargaze.config import InfraSection
from stargaze.errors import MissingInputError
from stargaze.infra.hosts.state_dir import StateDir, ensure_private_key
from stargaze.infra.machines import Host, find_jump_host, parse_machine_name, parse_static_hosts
from stargaze.system.files import write_json
from stargaze.system.ssh import SshHost


@dataclass(frozen=True)
class SshAccess:
    """The private key and the known hosts of all ssh connections."""

    key: Path
    known_hosts: Path
    trusts_first_use: bool = False
    """Whether the host key of an unknown machine is accepted at the first connection, and pinned."""


def write_hosts(state_dir: StateDir, hosts: Sequence[Host]) -> None:
    """Store the machines and their addresses."""
    rows = [
        {"name": host.machine.name, "address": host.address, "private_ip": host.private_ip, "user": host.user}
        for host in hosts
    ]
    write_json(state_dir.hosts, rows)


def read_hosts(section: InfraSection, state_dir: StateDir) -> tuple[Host, ...]:
    """Return the machines listed in the config, or those that the last ``infra up`` created."""
    if section.provider == "static":
        return parse_static_hosts(section.hosts)
    if not state_dir.hosts.is_file():
        raise MissingInputError("no machines have been created from this store", hint="stargaze infra up")
    try:
        rows = json.loads(state_dir.hosts.read_text(encoding="utf-8"))
        return tuple(
            Host(parse_machine_name(row["name"]), row["address"], row["private_ip"], row["user"]) for row in rows
        )
    except (ValueError, KeyError, TypeError) as error:
        raise MissingInputError(
            f"{state_dir.hosts} is damaged or was written by an older version",
            hint=f"rm {state_dir.hosts}; stargaze infra up",
        ) from error


def ssh_access(section: InfraSection, state_dir: StateDir) -> SshAccess:
    """Return the key and the known hosts of a cluster."""
    return SshAccess(ensure_private_key(section, state_dir), state_dir.known_hosts, section.host_keys == "first-use")


def read_ssh_hosts(section: InfraSection, state_dir: StateDir) -> tuple[SshHost, ...]:
    """Return all machines with their ssh options."""
    return to_ssh_hosts(read_hosts(section, state_dir), ssh_access(section, state_dir))


def find_ssh_hosts(section: InfraSection, state_dir: StateDir, role: str) -> tuple[SshHost, ...]:
    """Return the machines of one role, ordered by name; raise MissingInputError if there is none."""
    hosts = tuple(host for host in read_ssh_hosts(section, state_dir) if host.role == role)
    if not hosts:
        raise MissingInputError(f"the cluster has no {role} machine", hint="stargaze infra up; stargaze infra status")
    return hosts


def to_ssh_hosts(hosts: Sequence[Host], access: SshAccess) -> tuple[SshHost, ...]:
    """Add the ssh options to each machine; the jump host, if there is one, is part of them."""
    jump = find_jump_host(hosts)
    return tuple(
        SshHost(
            host.machine.name,
            host.machine.role,
            host.private_ip,
            host.address,
            host.user,
            ("-i", str(access.key), *ssh_options(host, jump, access)),
        )
        for host in hosts
    )


def ssh_options(host: Host, jump: Host | None, access: SshAccess) -> list[str]:
    """Return the ssh options of one machine except its key; a host key belongs to the machine's name, not to its address."""
    options = [
        f"UserKnownHostsFile={_quote_path(access.known_hosts)}",
        "GlobalKnownHostsFile=/dev/null",
        f"StrictHostKeyChecking={'accept-new' if access.trusts_first_use else 'yes'}",
        f"HostKeyAlias={host.machine.name}",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "ConnectTimeout=10",
        "ServerAliveInterval=15",
    ]
    if jump is not None and jump != host:
        key = ["-i", str(access.key)]
        proxy = ["ssh", *key, *ssh_options(jump, None, access), "-W", "%h:%p", f"{jump.user}@{jump.address}"]
        options.append(f"ProxyCommand={shlex.join(proxy)}")
    return [argument for option in options for argument in ("-o", option)]


def _quote_path(path: Path) -> str:
    """Quote a path for an ssh option: a space separates two paths, and % starts a token.

    >>> _quote_path(Path("/home/me/my store/known_hosts"))
    '"/home/me/my store/known_hosts"'
    """
    text = str(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text

"""The machines of a cluster by name and role."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from stargaze.config import InfraSection
from stargaze.errors import ConfigError, did_you_mean

Role = Literal["orchestration", "development", "parameter", "production"]
NAME_PATTERN = re.compile(r"(orchestration|development)|(parameter|production)([1-9][0-9]?)")
EXAMPLE_NAMES = ("orchestration", "development", "parameter1", "production1", "production2")


@dataclass(frozen=True)
class Machine:
    """One machine. Only ``orchestration`` is reachable from outside; it is the jump host of all others."""

    name: str
    role: Role


@dataclass(frozen=True)
class Host:
    """A machine that exists: its address for ssh, and its address for the other machines."""

    machine: Machine
    address: str
    private_ip: str
    user: str


def list_machines(section: InfraSection) -> tuple[Machine, ...]:
    """List the machines that a config defines.

    >>> [machine.name for machine in list_machines(InfraSection(production_servers=1))]
    ['orchestration', 'development', 'parameter1', 'production1']
    """
    return (
        Machine("orchestration", "orchestration"),
        Machine("development", "development"),
        *(Machine(f"parameter{number}", "parameter") for number in range(1, section.parameter_servers + 1)),
        *(Machine(f"production{number}", "production") for number in range(1, section.production_servers + 1)),
    )


def server_name(section: InfraSection, machine: Machine) -> str:
    """Return the name of a machine, its port and its floating IP in the cloud.

    >>> server_name(InfraSection(name="lab"), Machine("production1", "production"))
    'lab-production1'
    """
    return f"{section.name}-{machine.name}"


def find_jump_host(hosts: Iterable[Host]) -> Host | None:
    """Return the jump host; None if ssh connects to all machines directly."""
    return next((host for host in hosts if host.machine.role == "orchestration"), None)


def parse_machine_name(name: str) -> Machine:
    """Return the machine with a name; raise ConfigError if the name is not valid."""
    match = NAME_PATTERN.fullmatch(name)
    if match is None:
        hint = did_you_mean(name, EXAMPLE_NAMES, f"valid names: {', '.join(EXAMPLE_NAMES)}, …")
        raise ConfigError(f"infra.hosts.{name}: not a machine name", hint=hint)
    return Machine(name, match[1] or match[2])  # type: ignore[arg-type]  # the pattern contains the four roles


def parse_static_hosts(hosts: Mapping[str, str]) -> tuple[Host, ...]:
    """Parse ``infra.hosts``: ``user@address``, or ``user@address,private-ip`` if the other machines use another address.

    >>> [(host.machine.role, host.user, host.private_ip) for host in parse_static_hosts({"production1": "me@10.0.0.4"})]
    [('production', 'me', '10.0.0.4')]
    """
    if not hosts:
        raise ConfigError(
            'infra.hosts is empty, but infra.provider is "static"', hint='[infra.hosts] production1 = "user@address"'
        )
    return tuple(_parse_host(name, text) for name, text in sorted(hosts.items()))


def _parse_host(name: str, text: str) -> Host:
    machine = parse_machine_name(name)
    match = re.fullmatch(r"([a-z_][a-z0-9_-]*)@([0-9A-Za-z.:-]+)(?:,\s*([0-9A-Za-z.:-]+))?", text.strip())
    if match is None:
        hint = f'{name} = "user@address", or "user@address,private-ip"'
        raise ConfigError(f"infra.hosts.{name}: {text!r} is not a machine address", hint=hint)
    return Host(machine, match[2], match[3] or match[2], match[1])

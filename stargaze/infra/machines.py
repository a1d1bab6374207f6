"""Which machines a cluster has, by name and role."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from stargaze.config import InfraSection
from stargaze.errors import ConfigError, did_you_mean

Role = Literal["orchestration", "development", "parameter", "production"]
NAME = re.compile(r"(orchestration|development)|(parameter|production)([1-9][0-9]?)")
KNOWN = ("orchestration", "development", "parameter1", "production1", "production2")


@dataclass(frozen=True)
class Machine:
    """One machine; ``orchestration`` is the only one that is reached from outside, and the way to all others."""

    name: str
    role: Role


@dataclass(frozen=True)
class Host:
    """A machine that exists: where Ansible reaches it, and where the others do."""

    machine: Machine
    address: str
    private_ip: str
    user: str


def list_machines(section: InfraSection) -> tuple[Machine, ...]:
    """List the machines that a config asks for.

    Examples
    --------
    >>> [machine.name for machine in list_machines(InfraSection(production=1))]
    ['orchestration', 'development', 'parameter1', 'production1']
    """
    return (
        Machine("orchestration", "orchestration"),
        Machine("development", "development"),
        *(Machine(f"parameter{number}", "parameter") for number in range(1, section.parameter_servers + 1)),
        *(Machine(f"production{number}", "production") for number in range(1, section.production + 1)),
    )


def server_name(section: InfraSection, machine: Machine) -> str:
    """Return what a machine, its port and its floating IP are called in the cloud.

    >>> server_name(InfraSection(name="lab"), Machine("production1", "production"))
    'lab-production1'
    """
    return f"{section.name}-{machine.name}"


def find_jump_host(hosts: Iterable[Host]) -> Host | None:
    """Return the machine that the others are entered through; None where all are entered as they are."""
    return next((host for host in hosts if host.machine.role == "orchestration"), None)


def parse_machine_name(name: str) -> Machine:
    """Read a machine's role from its name.

    Raises
    ------
    ConfigError
        If no machine has such a name.
    """
    found = NAME.fullmatch(name)
    if found is None:
        raise ConfigError(
            f"infra.hosts.{name}: not the name of a machine",
            hint=did_you_mean(name, KNOWN, "Names here: orchestration, development, parameter1…, production1…"),
        )
    return Machine(name, found[1] or found[2])  # type: ignore[arg-type]  # the pattern holds the four roles


def parse_static_hosts(hosts: Mapping[str, str]) -> tuple[Host, ...]:
    """Read the machines that exist from the config: ``user@address``, and where the others know it by another, ``,inside``.

    Raises
    ------
    ConfigError
        If there is none, or one is not written so.

    Examples
    --------
    >>> [(host.machine.role, host.user, host.private_ip) for host in parse_static_hosts({"production1": "me@10.0.0.4"})]
    [('production', 'me', '10.0.0.4')]
    """
    if not hosts:
        raise ConfigError(
            'infra.hosts is empty, and infra.provider is "static"', hint='[infra.hosts] production1 = "user@address"'
        )
    return tuple(_host(name, text) for name, text in sorted(hosts.items()))


def _host(name: str, text: str) -> Host:
    machine = parse_machine_name(name)
    found = re.fullmatch(r"([a-z_][a-z0-9_-]*)@([0-9A-Za-z.:-]+)(?:,\s*([0-9A-Za-z.:-]+))?", text.strip())
    if found is None:
        raise ConfigError(
            f"infra.hosts.{name}: {text!r} is no address of a machine",
            hint=f'{name} = "user@address", or "user@address,inside-address"',
        )
    return Host(machine, found[2], found[3] or found[2], found[1])

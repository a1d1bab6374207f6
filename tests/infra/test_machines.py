"""Machine names and roles: parsing and errors."""

from __future__ import annotations

import pytest

from stargaze.config import InfraSection
from stargaze.errors import ConfigError
from stargaze.infra.machines import list_machines, parse_static_hosts


def test_five_machines_are_the_default() -> None:
    names = [machine.name for machine in list_machines(InfraSection())]

    assert names == ["orchestration", "development", "parameter1", "production1", "production2"]


def test_the_numbers_of_parameter_and_production_machines_are_configurable() -> None:
    roles = [machine.role for machine in list_machines(InfraSection(parameter_servers=0, production_servers=3))]

    assert roles == ["orchestration", "development", "production", "production", "production"]


def test_a_host_may_have_a_separate_private_ip() -> None:
    (host,) = parse_static_hosts({"development": "ann@dev.example.org, 10.0.0.7"})

    assert (host.user, host.address, host.private_ip, host.machine.role) == (
        "ann",
        "dev.example.org",
        "10.0.0.7",
        "development",
    )


@pytest.mark.parametrize(
    ("hosts", "message", "hint"),
    [
        ({}, "infra.hosts is empty", 'production1 = "user@address"'),
        ({"prodution1": "a@b"}, "infra.hosts.prodution1: not a machine name", "Did you mean production1?"),
        ({"parameter0": "a@b"}, "infra.hosts.parameter0: not a machine name", "Did you mean parameter1?"),
        ({"production1": "10.0.0.1"}, "'10.0.0.1' is not a machine address", "user@address"),
        ({"production1": "a@b; rm -rf"}, "is not a machine address", "user@address"),
        ({"production1": "-oProxyCommand=x@b"}, "is not a machine address", "user@address"),
    ],
)
def test_an_invalid_host_is_an_error_with_a_hint(hosts: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_static_hosts(hosts)

    assert message in caught.value.message
    assert hint in caught.value.hint

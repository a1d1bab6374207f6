"""Names and roles: read as they are written, refused in words."""

from __future__ import annotations

import pytest

from stargaze.config import InfraSection
from stargaze.errors import ConfigError
from stargaze.infra.machines import list_machines, parse_static_hosts


def test_the_five_machines_are_the_default() -> None:
    names = [machine.name for machine in list_machines(InfraSection())]

    assert names == ["orchestration", "development", "parameter1", "production1", "production2"]


def test_more_of_a_kind_are_a_number() -> None:
    roles = [machine.role for machine in list_machines(InfraSection(parameter_servers=0, production=3))]

    assert roles == ["orchestration", "development", "production", "production", "production"]


def test_a_host_may_have_another_address_inside() -> None:
    (host,) = parse_static_hosts({"development": "ann@dev.example.org, 10.0.0.7"})

    assert (host.user, host.address, host.private_ip, host.machine.role) == (
        "ann",
        "dev.example.org",
        "10.0.0.7",
        "development",
    )


@pytest.mark.parametrize(
    ("hosts", "said", "hint"),
    [
        ({}, "infra.hosts is empty", 'production1 = "user@address"'),
        ({"prodution1": "a@b"}, "infra.hosts.prodution1: not the name", "Did you mean production1?"),
        ({"parameter0": "a@b"}, "infra.hosts.parameter0: not the name", "Did you mean parameter1?"),
        ({"production1": "10.0.0.1"}, "'10.0.0.1' is no address of a machine", "user@address"),
        ({"production1": "a@b; rm -rf"}, "is no address of a machine", "user@address"),
        ({"production1": "-oProxyCommand=x@b"}, "is no address of a machine", "user@address"),
    ],
)
def test_what_is_no_machine_is_refused_in_one_line(hosts: dict[str, str], said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_static_hosts(hosts)

    assert said in caught.value.message
    assert hint in caught.value.hint

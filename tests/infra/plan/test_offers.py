"""Resolving the config against the cloud's offers: by name, or the smallest that fits; otherwise all problems at once."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any, Self

import pytest

from stargaze.config import InfraSection
from stargaze.infra.plan import offers
from stargaze.infra.plan.offers import Network, detect_own_address, resolve_offers
from tests.infra.conftest import OFFERS
from tests.isolation import copy_module


def test_the_newest_image_with_the_prefix_and_the_smallest_sufficient_flavor_are_selected() -> None:
    resolved, problems = resolve_offers(InfraSection(), OFFERS)

    assert problems == ()
    assert resolved.image
    assert resolved.flavor
    assert resolved.external_network
    assert (resolved.image.id, resolved.flavor.name, resolved.external_network.name) == ("i2", "small", "public")


def test_an_exact_name_or_id_is_selected() -> None:
    section = InfraSection(
        image="debian-12-20260101", flavor="f3", network="shared", router=False, external_network="n1"
    )
    resolved, problems = resolve_offers(section, OFFERS)

    assert problems == ()
    assert resolved.image
    assert resolved.flavor
    assert resolved.network
    assert (resolved.image.id, resolved.flavor.name, resolved.network.id) == ("i1", "medium", "n2")


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        (
            {"image": "debina-12-20260801"},
            "infra.image: debina-12-20260801 was not found",
            "Did you mean debian-12-20260801?",
        ),
        ({"image": "windows"}, "infra.image: windows was not found", "the cloud offers: debian-12-20260101, debian"),
        ({"flavor": "smal"}, "infra.flavor: smal was not found", "Did you mean small?"),
        (
            {"min_memory": 64},
            "no flavor has 2 cores, 64 GB and a disk of 20 GB",
            "the largest is medium: 4 cores, 8 GB",
        ),
        ({"network": "shard"}, "infra.network: shard was not found", "Did you mean shared?"),
        ({"external_network": "outside"}, "infra.external_network: outside was not found", "the cloud offers: public"),
        ({"keypair": "yours", "key_file": "x"}, "infra.keypair: yours was not found", "mine"),
        ({"keypair": "mine"}, "infra.keypair is mine, but infra.key_file is empty", "infra.key_file"),
        ({"availability_zone": "nova2"}, "infra.availability_zone: nova2 was not found", "Did you mean nova?"),
        ({"cidr": "10.0.0.0/99"}, "infra.cidr: '10.0.0.0/99' is not an address range", "192.0.2.0/24"),
        (
            {"ssh_from": ["0.0.0.0/0"]},
            "infra.ssh_from: 0.0.0.0/0 is the whole internet",
            "networks that you connect from",
        ),
    ],
)
def test_a_problem_names_the_key_and_the_alternatives(changes: dict[str, object], message: str, hint: str) -> None:
    _, problems = resolve_offers(InfraSection(**changes), OFFERS)  # type: ignore[arg-type]

    assert message in problems[0].message
    assert hint in problems[0].hint


def test_all_problems_are_collected() -> None:
    _, problems = resolve_offers(InfraSection(image="x", flavor="y", external_network="z"), OFFERS)

    assert len(problems) == 3


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ((), "this cloud has no external network"),
        (
            (Network("a", "one", external=True), Network("b", "two", external=True)),
            "there are several external networks: one, two",
        ),
    ],
)
def test_an_ambiguous_external_network_is_a_problem(networks: tuple[Network, ...], message: str) -> None:
    _, problems = resolve_offers(InfraSection(), replace(OFFERS, networks=networks))

    assert message in problems[0].message


def test_two_networks_with_one_name_are_distinguished_by_id() -> None:
    twins = (Network("a", "lan", external=False, subnets=("s",)), Network("b", "lan", external=False, subnets=("s",)))

    _, problems = resolve_offers(
        InfraSection(network="lan", router=False, floating_ip=False), replace(OFFERS, networks=twins)
    )

    assert (problems[0].message, problems[0].hint) == (
        "infra.network: 2 networks are named lan",
        "infra.network = one of a, b",
    )


def test_no_external_network_is_needed_without_router_and_floating_ip() -> None:
    section = InfraSection(network="shared", router=False, floating_ip=False)

    _, problems = resolve_offers(section, replace(OFFERS, networks=OFFERS.networks[1:]))

    assert problems == ()


# ---- the address of this machine ------------------------------------------------------------------------------------


def test_on_the_cloud_host_the_range_contains_only_this_machine() -> None:
    assert detect_own_address("127.0.0.1") == (["127.0.0.1/32"], ())


def test_a_host_name_without_an_address_is_a_problem() -> None:
    ranges, (problem,) = detect_own_address("no-such-host.invalid")

    assert ranges == []
    assert "no-such-host.invalid has no IPv4 address" in problem.message
    assert "infra.ssh_from" in problem.hint


def test_behind_nat_the_range_must_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def connect(self, target: object) -> None:
            pass

        def getsockname(self) -> tuple[str, int]:
            return "192.168.1.7", 0

    monkeypatch.setattr(offers, "socket", copy_module(socket, socket=lambda *_: Socket()))

    ranges, (problem,) = detect_own_address("8.8.8.8")

    assert ranges == []
    assert "192.168.1.7 is private and translated on the way to the cloud" in problem.message


def test_the_ipv4_address_is_preferred_because_floating_ips_are_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(host: str, port: int, family: int = 0, type: int = 0) -> list[Any]:  # noqa: A002 - socket's own name
        answers: list[Any] = [
            (socket.AF_INET6, type, 17, "", ("::1", port, 0, 0)),
            (socket.AF_INET, type, 17, "", ("127.0.0.1", port)),
        ]
        return [answer for answer in answers if family in (0, answer[0])]

    monkeypatch.setattr(offers, "socket", copy_module(socket, getaddrinfo=both))

    assert detect_own_address("cloud.example") == (["127.0.0.1/32"], ())

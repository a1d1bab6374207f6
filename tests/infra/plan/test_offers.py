"""Resolving the config against the cloud's offers: by name, or the smallest that fits; otherwise all problems at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stargaze.config import InfraSection
from stargaze.infra.plan.offers import Network, resolve_offers
from tests.infra.conftest import OFFERS


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

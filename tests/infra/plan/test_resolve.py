"""What the cloud offers, and which of it is meant: by name, or the least that fits; else what is missing, all at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stargaze.config import InfraSection
from stargaze.infra.plan.offers import Network
from stargaze.infra.plan.resolve import resolve_offers
from tests.infra.conftest import OFFERS


def test_the_newest_image_of_a_name_and_the_least_flavor_that_fits_are_taken() -> None:
    choice, missing = resolve_offers(InfraSection(), OFFERS)

    assert missing == ()
    assert choice.image
    assert choice.flavor
    assert choice.outside
    assert (choice.image.id, choice.flavor.name, choice.outside.name) == ("i2", "small", "public")


def test_what_is_named_exactly_is_taken() -> None:
    section = InfraSection(
        image="debian-12-20260101", flavor="f3", network="shared", router=False, external_network="n1"
    )
    choice, missing = resolve_offers(section, OFFERS)

    assert missing == ()
    assert choice.image
    assert choice.flavor
    assert choice.network
    assert (choice.image.id, choice.flavor.name, choice.network.id) == ("i1", "medium", "n2")


@pytest.mark.parametrize(
    ("changes", "said", "hint"),
    [
        (
            {"image": "debina-12-20260801"},
            "infra.image: debina-12-20260801 is not there",
            "Did you mean debian-12-20260801?",
        ),
        ({"image": "windows"}, "infra.image: windows is not there", "The cloud offers: debian-12-20260101, debian"),
        ({"flavor": "smal"}, "infra.flavor: smal is not there", "Did you mean small?"),
        ({"memory": 64}, "no flavor has 2 cores, 64 GB and a disk of 20 GB", "the largest is medium: 4 cores, 8 GB"),
        ({"network": "shard"}, "infra.network: shard is not there", "Did you mean shared?"),
        ({"external_network": "outside"}, "infra.external_network: outside is not there", "The cloud offers: public"),
        ({"keypair": "yours", "key_file": "x"}, "infra.keypair: yours is not there", "mine"),
        ({"keypair": "mine"}, "its private key is not named", "infra.key_file"),
        ({"availability_zone": "nova2"}, "infra.availability_zone: nova2 is not there", "Did you mean nova?"),
        ({"cidr": "10.0.0.0/99"}, "infra.cidr: '10.0.0.0/99' is no range of addresses", "192.0.2.0/24"),
        ({"ssh_from": ["0.0.0.0/0"]}, "infra.ssh_from: 0.0.0.0/0 is the whole world", "networks that you come from"),
    ],
)
def test_what_is_missing_is_said_with_what_there_is(changes: dict[str, object], said: str, hint: str) -> None:
    _, missing = resolve_offers(InfraSection(**changes), OFFERS)  # type: ignore[arg-type]

    assert said in missing[0].what
    assert hint in missing[0].hint


def test_all_that_is_missing_is_said_at_once() -> None:
    _, missing = resolve_offers(InfraSection(image="x", flavor="y", external_network="z"), OFFERS)

    assert len(missing) == 3


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        ((), "no network of this cloud leads outside"),
        (
            (Network("a", "one", external=True), Network("b", "two", external=True)),
            "several networks lead outside: one, two",
        ),
    ],
)
def test_a_way_out_that_is_not_plain_is_asked_for(networks: tuple[Network, ...], said: str) -> None:
    _, missing = resolve_offers(InfraSection(), replace(OFFERS, networks=networks))

    assert said in missing[0].what


def test_two_networks_of_one_name_are_told_apart_by_id() -> None:
    twins = (Network("a", "lan", external=False, subnets=("s",)), Network("b", "lan", external=False, subnets=("s",)))

    _, missing = resolve_offers(
        InfraSection(network="lan", router=False, floating_ip=False), replace(OFFERS, networks=twins)
    )

    assert (missing[0].what, missing[0].hint) == (
        "infra.network: 2 networks are named lan",
        "infra.network = one of a, b",
    )


def test_where_nothing_leads_outside_and_nothing_has_to_nothing_is_missing() -> None:
    section = InfraSection(network="shared", router=False, floating_ip=False)

    _, missing = resolve_offers(section, replace(OFFERS, networks=OFFERS.networks[1:]))

    assert missing == ()

"""Which image, flavors and networks a config means, of those that the cloud offers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stargaze.config import InfraSection
from stargaze.errors import did_you_mean
from stargaze.infra.plan.offers import Flavor, Image, Network, Offers


@dataclass(frozen=True)
class Problem:
    """Something without which the machines cannot be: what, and what to type or do."""

    what: str
    hint: str


@dataclass(frozen=True)
class ResolvedOffers:
    """What was chosen; None where nothing fits (a :class:`Problem` says why) or nothing is needed."""

    image: Image | None
    flavor: Flavor | None
    network: Network | None
    """One that exists and is used; None where one is made."""
    outside: Network | None
    """Where floating IPs and the router's way out come from."""
    apart: bool = False
    """Whether machines can be asked to be kept apart."""


def resolve_offers(section: InfraSection, offers: Offers) -> tuple[ResolvedOffers, tuple[Problem, ...]]:
    """Choose, and say all that is missing at once."""
    missing: list[Problem] = []
    image = _image(section, offers, missing)
    flavor = _flavor(section, offers, image, missing)
    network = _network(section, offers, missing)
    outside = _outside(section, offers, missing)
    if section.keypair and section.keypair not in offers.keypairs:
        missing.append(_none("keypair", section.keypair, offers.keypairs))
    if section.keypair and not section.key_file:
        hint = "infra.key_file = the private key of that keypair"
        missing.append(Problem(f"infra.keypair is {section.keypair}, but its private key is not named", hint))
    if section.availability_zone and section.availability_zone not in offers.zones:
        missing.append(_none("availability_zone", section.availability_zone, offers.zones))
    _check_addresses(section, missing)
    return ResolvedOffers(image, flavor, network, outside, offers.anti_affinity), tuple(missing)


def _image(section: InfraSection, offers: Offers, missing: list[Problem]) -> Image | None:
    exact = [image for image in offers.images if section.image in (image.id, image.name)]
    begins = [image for image in offers.images if image.name.lower().startswith(section.image.lower())]
    found = max(exact or begins, key=lambda image: image.created_at, default=None)
    if found is None:
        missing.append(_none("image", section.image, [image.name for image in offers.images]))
    return found


def _flavor(section: InfraSection, offers: Offers, image: Image | None, missing: list[Problem]) -> Flavor | None:
    if section.flavor:
        named = [flavor for flavor in offers.flavors if section.flavor in (flavor.id, flavor.name)]
        if not named:
            missing.append(_none("flavor", section.flavor, [flavor.name for flavor in offers.flavors]))
        return named[0] if named else None
    memory = max(section.memory, image.min_memory if image else 0)
    disk = max(section.disk, image.min_disk if image else 0)
    fit = [
        flavor
        for flavor in offers.flavors
        if flavor.cpus >= section.cpus and flavor.memory >= memory and flavor.disk >= disk
    ]
    if not fit:
        most = max(offers.flavors, key=lambda flavor: (flavor.cpus, flavor.memory), default=None)
        said = f"the largest is {most.name}: {_size(most)}" if most else "the cloud offers none to this project"
        missing.append(
            Problem(
                f"no flavor has {section.cpus} cores, {memory:g} GB and a disk of {disk} GB",
                f"{said}; set infra.cpus, infra.memory, infra.disk or infra.flavor",
            )
        )
    return min(fit, key=lambda flavor: (flavor.memory, flavor.cpus, flavor.disk, flavor.name), default=None)


def _size(flavor: Flavor) -> str:
    return f"{flavor.cpus} cores, {flavor.memory:g} GB, disk {flavor.disk} GB"


def _network(section: InfraSection, offers: Offers, missing: list[Problem]) -> Network | None:
    if not section.network:
        return None
    inside = [network for network in offers.networks if not network.external]
    found = _named("network", section.network, inside or offers.networks, missing)
    if found and not found.subnets:
        missing.append(
            Problem(f"infra.network: {found.name} has no subnet, so no machine gets an address", "choose another")
        )
    return found


def _outside(section: InfraSection, offers: Offers, missing: list[Problem]) -> Network | None:
    if not (section.floating_ip or (section.router and not section.network)):
        return None
    outside = [network for network in offers.networks if network.external]
    if section.external_network:
        return _named("external_network", section.external_network, outside, missing)
    if len(outside) != 1:
        names = ", ".join(sorted(network.name for network in outside))
        what = f"several networks lead outside: {names}" if outside else "no network of this cloud leads outside"
        hint = "infra.external_network = one of them" if outside else "infra.router = false, infra.floating_ip = false"
        missing.append(Problem(what, hint))
        return None
    return outside[0]


def _named(key: str, name: str, offered: Sequence[Network], missing: list[Problem]) -> Network | None:
    found = [network for network in offered if name in (network.id, network.name)]
    if not found:
        missing.append(_none(key, name, [network.name for network in offered]))
    if len(found) > 1:
        ids = ", ".join(network.id for network in found)
        missing.append(Problem(f"infra.{key}: {len(found)} networks are named {name}", f"infra.{key} = one of {ids}"))
    return found[0] if len(found) == 1 else None


def _none(key: str, name: str, offered: Iterable[str]) -> Problem:
    names = sorted(set(offered))
    few = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    otherwise = f"The cloud offers: {few}" if names else "The cloud offers none to this project"
    return Problem(f"infra.{key}: {name} is not there", did_you_mean(name, names, otherwise, likeness=0.6))


def _check_addresses(section: InfraSection, missing: list[Problem]) -> None:
    for key, texts in (("cidr", [section.cidr]), ("ssh_from", section.ssh_from)):
        for text in texts:
            try:
                network = ipaddress.ip_network(text)
            except ValueError:
                missing.append(Problem(f"infra.{key}: {text!r} is no range of addresses", "as 192.0.2.0/24"))
                continue
            if key == "ssh_from" and network.prefixlen == 0:
                missing.append(
                    Problem(f"infra.ssh_from: {text} is the whole world", "name the networks that you come from")
                )

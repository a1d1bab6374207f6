"""The offers of the cloud, their selection by the config (image, flavor, networks), and the default of ssh_from."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stargaze.config import InfraSection
from stargaze.errors import did_you_mean

ANY_PORT = 9
"""Nothing is sent to it: connecting a UDP socket only selects the local address."""


@dataclass(frozen=True)
class Image:
    """A bootable image; the sizes are those of Glance."""

    id: str
    name: str
    created_at: str = ""
    """[UTC, ISO]"""
    min_memory: float = 0.0
    """[GB]"""
    min_disk: int = 0
    """[GB]"""


@dataclass(frozen=True)
class Flavor:
    """A machine size."""

    id: str
    name: str
    cpus: int
    memory: float
    """[GB]"""
    disk: int
    """[GB]; 0 means that the machine boots from a volume, which is not supported."""

    def __str__(self) -> str:
        """Return name and size."""
        return f"{self.name}: {self.cpus} cores, {self.memory:g} GB, disk {self.disk} GB"


@dataclass(frozen=True)
class Network:
    """A network that is visible to the project."""

    id: str
    name: str
    external: bool
    subnets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limit:
    """The quota of one kind of resource; -1 is unlimited."""

    maximum: float
    used: float

    @property
    def available(self) -> float:
        """The number that can still be created."""
        return float("inf") if self.maximum < 0 else max(0.0, self.maximum - self.used)


@dataclass(frozen=True)
class Offers:
    """Everything that a project can use."""

    images: tuple[Image, ...] = ()
    flavors: tuple[Flavor, ...] = ()
    networks: tuple[Network, ...] = ()
    keypairs: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    limits: Mapping[str, Limit] = field(default_factory=dict)
    """By the plural of a kind of resource, and "cores" and "memory" [GB]."""
    anti_affinity: bool = False
    """Whether the cloud can place servers on different hosts where possible."""


@dataclass(frozen=True)
class Problem:
    """Something that prevents a plan from being applied, and what to do about it."""

    message: str
    hint: str


@dataclass(frozen=True)
class ResolvedOffers:
    """The selected offers; None if nothing matches (a :class:`Problem` says why) or nothing is needed."""

    image: Image | None
    flavor: Flavor | None
    network: Network | None
    """An existing network to use; None if one is created."""
    external_network: Network | None
    """Source of the floating IPs and gateway of the router."""
    anti_affinity: bool = False


def resolve_offers(section: InfraSection, offers: Offers) -> tuple[ResolvedOffers, tuple[Problem, ...]]:
    """Select what the config names, and collect every problem."""
    problems: list[Problem] = []
    image = _find_image(section, offers, problems)
    flavor = _find_flavor(section, offers, image, problems)
    network = _find_network(section, offers, problems)
    external_network = _find_external_network(section, offers, problems)
    if section.keypair and section.keypair not in offers.keypairs:
        problems.append(_not_found("keypair", section.keypair, offers.keypairs))
    if section.keypair and not section.key_file:
        hint = "set infra.key_file to the private key of that keypair"
        problems.append(Problem(f"infra.keypair is {section.keypair}, but infra.key_file is empty", hint))
    if section.availability_zone and section.availability_zone not in offers.zones:
        problems.append(_not_found("availability_zone", section.availability_zone, offers.zones))
    problems += _check_address_ranges(section)
    return ResolvedOffers(image, flavor, network, external_network, offers.anti_affinity), tuple(problems)


def _find_image(section: InfraSection, offers: Offers, problems: list[Problem]) -> Image | None:
    exact = [image for image in offers.images if section.image in (image.id, image.name)]
    by_prefix = [image for image in offers.images if image.name.lower().startswith(section.image.lower())]
    newest = max(exact or by_prefix, key=lambda image: image.created_at, default=None)
    if newest is None:
        problems.append(_not_found("image", section.image, [image.name for image in offers.images]))
    return newest


def _find_flavor(section: InfraSection, offers: Offers, image: Image | None, problems: list[Problem]) -> Flavor | None:
    if section.flavor:
        named = [flavor for flavor in offers.flavors if section.flavor in (flavor.id, flavor.name)]
        if not named:
            problems.append(_not_found("flavor", section.flavor, [flavor.name for flavor in offers.flavors]))
        return named[0] if named else None
    memory = max(section.min_memory, image.min_memory if image else 0)
    disk = max(section.min_disk, image.min_disk if image else 0)
    sufficient = [
        flavor
        for flavor in offers.flavors
        if flavor.cpus >= section.min_cpus and flavor.memory >= memory and flavor.disk >= disk
    ]
    if not sufficient:
        largest = max(offers.flavors, key=lambda flavor: (flavor.cpus, flavor.memory), default=None)
        available = f"the largest is {largest}" if largest else "the cloud offers no flavor to this project"
        message = f"no flavor has {section.min_cpus} cores, {memory:g} GB and a disk of {disk} GB"
        problems.append(
            Problem(message, f"{available}; set infra.min_cpus, infra.min_memory, infra.min_disk or infra.flavor")
        )
    return min(sufficient, key=lambda flavor: (flavor.memory, flavor.cpus, flavor.disk, flavor.name), default=None)


def _find_network(section: InfraSection, offers: Offers, problems: list[Problem]) -> Network | None:
    if not section.network:
        return None
    internal = [network for network in offers.networks if not network.external]
    network = _find_by_name("network", section.network, internal or offers.networks, problems)
    if network and not network.subnets:
        problems.append(Problem(f"infra.network: {network.name} has no subnet", "choose a network with a subnet"))
    return network


def _find_external_network(section: InfraSection, offers: Offers, problems: list[Problem]) -> Network | None:
    if not (section.floating_ip or (section.router and not section.network)):
        return None
    external = [network for network in offers.networks if network.external]
    if section.external_network:
        return _find_by_name("external_network", section.external_network, external, problems)
    if len(external) == 1:
        return external[0]
    names = ", ".join(sorted(network.name for network in external))
    message = f"there are several external networks: {names}" if external else "this cloud has no external network"
    hint = (
        "set infra.external_network to one of them" if external else "infra.router = false, infra.floating_ip = false"
    )
    problems.append(Problem(message, hint))
    return None


def _find_by_name(key: str, name: str, networks: Sequence[Network], problems: list[Problem]) -> Network | None:
    matches = [network for network in networks if name in (network.id, network.name)]
    if not matches:
        problems.append(_not_found(key, name, [network.name for network in networks]))
    if len(matches) > 1:
        ids = ", ".join(network.id for network in matches)
        problems.append(
            Problem(f"infra.{key}: {len(matches)} networks are named {name}", f"infra.{key} = one of {ids}")
        )
    return matches[0] if len(matches) == 1 else None


def _not_found(key: str, name: str, offered: Iterable[str]) -> Problem:
    names = sorted(set(offered))
    first = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
    fallback = f"the cloud offers: {first}" if names else "the cloud offers none to this project"
    return Problem(f"infra.{key}: {name} was not found", did_you_mean(name, names, fallback, cutoff=0.6))


def _check_address_ranges(section: InfraSection) -> list[Problem]:
    problems = []
    for key, texts in (("cidr", [section.cidr]), ("ssh_from", section.ssh_from)):
        for text in texts:
            try:
                network = ipaddress.ip_network(text)
            except ValueError:
                problems.append(Problem(f"infra.{key}: {text!r} is not an address range", "for example 192.0.2.0/24"))
                continue
            if key == "ssh_from" and network.prefixlen == 0:
                message = f"infra.ssh_from: {text} is the whole internet"
                problems.append(Problem(message, "list the networks that you connect from"))
    return problems


def detect_own_address(cloud_host: str) -> tuple[list[str], tuple[Problem, ...]]:
    """Return the range with only this machine's address, or a problem if the cloud sees another address.

    Only IPv4 is used, because the floating IP is an IPv4 address.

    >>> detect_own_address("127.0.0.1")
    (['127.0.0.1/32'], ())
    """
    try:
        kind, _, _, _, target = socket.getaddrinfo(cloud_host, ANY_PORT, socket.AF_INET, socket.SOCK_DGRAM)[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect(target)
            own_address = ipaddress.ip_address(probe.getsockname()[0])
        cloud_address = ipaddress.ip_address(target[0])
    except (OSError, ValueError):
        return [], (_unknown_address(f"{cloud_host} has no IPv4 address"),)
    if own_address.is_private and cloud_address.is_global:
        return [], (_unknown_address(f"{own_address} is private and translated on the way to the cloud"),)
    return [f"{own_address}/{own_address.max_prefixlen}"], ()


def _unknown_address(reason: str) -> Problem:
    return Problem(
        f"infra.ssh_from is empty and this machine's public address could not be determined: {reason}",
        "set infra.ssh_from to the range that you connect from, for example 192.0.2.7/32",
    )

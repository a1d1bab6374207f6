"""A key of a config section: default, description, unit, allowed values, and the validators of some values.

A validator returns the normal form of a value or raises a ValueError.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stargaze.config.image_reference import parse_reference

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
DOMAIN = re.compile(r"(?:(?!-)[a-z0-9-]{1,63}(?<!-)\.)+(?![0-9]+$)(?!-)[a-z0-9-]{1,63}(?<!-)")
REPOSITORY_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,48}/(?:\*|(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100})")
LONGEST_DOMAIN = 253
RESERVED_PORTS = {22: "ssh", 2377: "Swarm", 7946: "Swarm", 4789: "Swarm", 6379: "Ray", 8265: "Ray", 10001: "Ray"}
"""Ports that the machines of the cluster use themselves."""
LONGEST_PREFIX = 28
"""Prefix length of the smallest network with enough addresses for the machines, a router and OpenStack itself."""


def key(
    default: Any,
    description: str,
    *,
    unit: str = "",
    limits: tuple[float, float | None] | None = None,
    choices: tuple[str, ...] = (),
    not_empty: bool = False,
    normalize: Callable[[Any], Any] | None = None,
) -> Any:
    """Declare one key; ``limits`` are its minimum and maximum, and ``normalize`` is its validator."""
    metadata = {
        "description": description,
        "unit": unit,
        "limits": limits,
        "choices": choices,
        "not_empty": not_empty,
        "normalize": normalize,
    }
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def valid_cluster_name(text: str) -> str:
    """Return a name that can be a folder, a tag and a part of names in OpenStack."""
    if not NAME.fullmatch(text):
        raise ValueError("should be at most 40 letters, digits, - _ and ., beginning with a letter or digit")
    return text


def network_ranges(texts: list[str]) -> list[str]:
    """Return ranges without duplicates, as Neutron writes them: otherwise each comparison would find a difference.

    >>> network_ranges(["192.0.2.7", "2001:DB8::/32", "192.0.2.7/32"])
    ['192.0.2.7/32', '2001:db8::/32']
    """
    return list(dict.fromkeys(str(_network(text)) for text in texts))


def valid_subnet(text: str) -> str:
    """Return the range of a network that can be created.

    >>> valid_subnet("10.20.0.0/255.255.255.0")
    '10.20.0.0/24'
    """
    network = _network(text)
    if "/" not in text or network.version != 4 or network.prefixlen > LONGEST_PREFIX:
        raise ValueError(f"should be an IPv4 network of /{LONGEST_PREFIX} or larger, as 10.20.0.0/24")
    return str(network)


def normalized_addresses(texts: list[str]) -> list[str]:
    """Return addresses in their normal form, without duplicates.

    >>> normalized_addresses(["2001:DB8::1", "192.0.2.1"])
    ['2001:db8::1', '192.0.2.1']
    """
    return list(dict.fromkeys(_address(text) for text in texts))


def domain_name(text: str) -> str:
    """Return a domain name in lower case; empty means none.

    >>> domain_name("Stars.Example.org")
    'stars.example.org'
    """
    name = text.lower().removesuffix(".")
    if name and not (DOMAIN.fullmatch(name) and len(name) <= LONGEST_DOMAIN):
        raise ValueError(f"should be a domain name, as stars.example.org: {text!r} is not one")
    return name


def expand_home(text: str) -> str:
    """Return a path in which ``~`` or ``~user`` is replaced by the home folder, as the shell does it on a command line."""
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError:
        raise ValueError(f"should be a path: {text.partition('/')[0]} has no home folder") from None


def expand_homes(texts: list[str]) -> list[str]:
    """Return paths with home folders in place of ``~``."""
    return [expand_home(text) for text in texts]


def host_names(texts: list[str]) -> list[str]:
    """Return host names in lower case, without duplicates: a Host header is compared with them.

    >>> host_names(["Stars.Example.org", "stars.example.org.", "192.0.2.1"])
    ['stars.example.org', '192.0.2.1']
    """
    for text in texts:
        if not text.strip().strip(".") or any(
            character.isspace() or character in "/@?#*" for character in text.strip()
        ):
            raise ValueError(f"should contain host names, as stars.example.org: {text!r} is not one")
    return list(dict.fromkeys(text.strip().lower().removesuffix(".") for text in texts))


def https_url(text: str) -> str:
    """Return the URL of a server that encrypts.

    >>> https_url("https://acme.example.org/directory")
    'https://acme.example.org/directory'
    """
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or any(character.isspace() for character in text):
        raise ValueError("should be a URL that begins with https://")
    return text


def image_reference(text: str) -> str:
    """Return the name of an image, which may end with a digest: a wrong one would be noticed by a node only."""
    parse_reference(text)
    return text


def repository_patterns(texts: list[str]) -> list[str]:
    """Return names of repositories, or of owners with all their repositories, without duplicates.

    >>> repository_patterns(["acme/secret", "Acme/Secret", "acme/*"])
    ['acme/secret', 'acme/*']
    """
    for text in texts:
        if not REPOSITORY_PATTERN.fullmatch(text):
            raise ValueError(f'should contain "owner/name" or "owner/*": {text!r} is neither')
    return list({text.lower(): text for text in reversed(texts)}.values())[::-1]


def valid_separator(text: str) -> str:
    """Return a separator of thousands, an empty text for none, or ``auto``."""
    if text not in ("auto", ".", ",", ""):
        raise ValueError(f'should be "auto", ".", "," or "" for none, not {text!r}')
    return text


def time_of_day(text: str) -> str:
    """Return a time as hours and minutes; empty if there is none.

    >>> time_of_day("3:05"), time_of_day("")
    ('03:05', '')
    """
    if not text:
        return text
    try:
        return datetime.strptime(text, "%H:%M").strftime("%H:%M")  # noqa: DTZ007 - a time without a day
    except ValueError:
        raise ValueError("should be a time of the day, as 03:00, or empty") from None


def valid_page_port(number: int) -> int:
    """Return a port that the cluster does not use itself."""
    if number in RESERVED_PORTS:
        raise ValueError(f"should be a port that the cluster does not use: this one is {RESERVED_PORTS[number]}'s")
    return number


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(_without_zone(text), strict=False)
    except ValueError:
        raise ValueError(f"should contain address ranges, as 192.0.2.0/24: {text!r} is not one") from None
    if str(ipaddress.ip_interface(text).ip) != str(network.network_address):
        raise ValueError(f"should contain ranges by their first address: {text} is in {network}")
    return network


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(_without_zone(text)))
    except ValueError:
        raise ValueError(f"should contain addresses, as 192.0.2.1: {text!r} is not one") from None


def _without_zone(text: str) -> str:
    """Reject an address with a zone, as fe80::1%eth0: it is valid on one link only."""
    if "%" in text:
        raise ValueError(text)
    return text

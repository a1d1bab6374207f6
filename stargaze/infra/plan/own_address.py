"""Detect the address from which the cloud sees this machine: the default of ``infra.ssh_from``."""

from __future__ import annotations

import ipaddress
import socket

from stargaze.infra.plan.offers import Problem

ANY_PORT = 9
"""Nothing is sent to it: connecting a UDP socket only selects the local address."""


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

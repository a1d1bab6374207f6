"""From where this machine is seen by a cloud: who may enter by ssh where the config names nobody."""

from __future__ import annotations

import ipaddress
import socket

from stargaze.infra.plan.resolve import Problem

ANY_PORT = 9
"""Nothing is sent to it."""


def detect_own_address(server: str) -> tuple[list[str], tuple[Problem, ...]]:
    """Return the range that holds this machine alone, as the host that answers for the cloud sees it; or say that it is hidden.

    By IPv4 only: the floating IP that we come to is one, whatever else that host has.

    Examples
    --------
    >>> detect_own_address("127.0.0.1")
    (['127.0.0.1/32'], ())
    """
    try:
        kind, _, _, _, target = socket.getaddrinfo(server, ANY_PORT, socket.AF_INET, socket.SOCK_DGRAM)[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as probe:
            probe.connect(target)
            ours = ipaddress.ip_address(probe.getsockname()[0])
        theirs = ipaddress.ip_address(target[0])
    except (OSError, ValueError):
        return [], (_hidden(f"{server} cannot be looked up by IPv4"),)
    if ours.is_private and theirs.is_global:
        return [], (_hidden(f"the cloud does not see {ours}"),)
    return [f"{ours}/{ours.max_prefixlen}"], ()


def _hidden(why: str) -> Problem:
    return Problem(
        f"infra.ssh_from is empty, and from where this machine comes is not known: {why}",
        "infra.ssh_from = the range that you come from, as 192.0.2.7/32",
    )

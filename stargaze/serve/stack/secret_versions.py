"""Passwords of production: made here, kept by Swarm alone, known by their version; never in an argument, a variable or a log."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from stargaze.serve.stack.backing_services import broker_secret, results_secret

NAMES = ("broker", "broker_conf", "results", "results_conf", "session")
COOKIE = "stargaze_cookie"
"""What RabbitMQ's nodes know each other by; made once."""
_VERSIONED = re.compile(rf"stargaze_({'|'.join(NAMES)})_([1-9][0-9]*)")


def versions(held: Sequence[str]) -> list[int]:
    """Return the versions of which Swarm holds every secret, newest last.

    >>> versions(["stargaze_broker_1", "other"])
    []
    >>> versions([f"stargaze_{name}_{n}" for name in NAMES for n in (2, 1)])
    [1, 2]
    """
    found: dict[int, set[str]] = {}
    for match in filter(None, map(_VERSIONED.fullmatch, held)):
        found.setdefault(int(match[2]), set()).add(match[1])
    return sorted(version for version, names in found.items() if names == set(NAMES))


def next_version(held: Sequence[str]) -> int:
    """Return a version of which nothing is there yet, not even a part that an interrupted deploy left."""
    return max([0, *(int(match[2]) for match in filter(None, map(_VERSIONED.fullmatch, held)))]) + 1


def older(held: Sequence[str], version: int) -> list[str]:
    """Return the names of all secrets before a version."""
    return sorted(match[0] for match in filter(None, map(_VERSIONED.fullmatch, held)) if int(match[2]) < version)


def made(version: int) -> Mapping[str, bytes]:
    """Return new secrets by their names."""
    broker, results = secrets.token_hex(24), secrets.token_hex(24)
    texts = {
        "broker": broker,
        "broker_conf": broker_secret(version, broker),
        "results": results,
        "results_conf": results_secret(version, hashlib.sha256(results.encode()).hexdigest()),
        "session": secrets.token_hex(32),
    }
    return {f"stargaze_{name}_{version}": text.encode() for name, text in texts.items()}


def cookie() -> bytes:
    """Return what RabbitMQ's nodes shall know each other by."""
    return secrets.token_hex(20).encode()


def in_use(services: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Return the versions that page and workers show, and that stand behind them; None before the first deploy.

    Where Swarm took one service back and not another, they disagree. The older is what all behind them know, as it is let go
    last; and queue or results that began with the newer one know no older, so they are not to begin with it again.
    """
    found: dict[str, set[int]] = {}
    for service in services:
        for secret in service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Secrets") or ():
            if match := _VERSIONED.fullmatch(secret["SecretName"]):
                found.setdefault(match[1], set()).add(int(match[2]))
    shown, behind = found.get("broker"), found.get("broker_conf", set()) | found.get("results_conf", set())
    return (min(shown), max(behind)) if shown and behind else None

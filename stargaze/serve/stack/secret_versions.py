"""Versions of production's passwords and keys: created here, stored by the Swarm only, never in an argument, variable or log."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from stargaze.serve.stack.backing_services import broker_user_config, redis_config

SECRET_NAMES = ("broker", "broker_conf", "results", "results_conf", "session")
COOKIE_SECRET = "stargaze_cookie"  # noqa: S105 - a name
"""The Erlang cookie by which RabbitMQ nodes authenticate each other; created once."""
_VERSIONED = re.compile(rf"stargaze_({'|'.join(SECRET_NAMES)})_([1-9][0-9]*)")


def complete_versions(names: Sequence[str]) -> list[int]:
    """Return the versions of which every secret exists, newest last.

    >>> complete_versions(["stargaze_broker_1", "other"])
    []
    >>> complete_versions([f"stargaze_{name}_{n}" for name in SECRET_NAMES for n in (2, 1)])
    [1, 2]
    """
    kinds: dict[int, set[str]] = {}
    for match in _match_versioned(names):
        kinds.setdefault(int(match[2]), set()).add(match[1])
    return sorted(version for version, present in kinds.items() if present == set(SECRET_NAMES))


def next_version(names: Sequence[str]) -> int:
    """Return a version of which no secret exists, not even one of an interrupted deploy."""
    return max([0, *(int(match[2]) for match in _match_versioned(names))]) + 1


def older_secrets(names: Sequence[str], version: int) -> list[str]:
    """Return the names of all secrets of earlier versions."""
    return sorted(match[0] for match in _match_versioned(names) if int(match[2]) < version)


def generate_secrets(version: int) -> Mapping[str, bytes]:
    """Return new secrets by name."""
    broker, results = secrets.token_hex(24), secrets.token_hex(24)
    texts = {
        "broker": broker,
        "broker_conf": broker_user_config(version, broker),
        "results": results,
        "results_conf": redis_config(version, hashlib.sha256(results.encode()).hexdigest()),
        "session": secrets.token_hex(32),
    }
    return {f"stargaze_{name}_{version}": text.encode() for name, text in texts.items()}


def generate_cookie() -> bytes:
    """Return a new Erlang cookie."""
    return secrets.token_hex(20).encode()


def versions_in_use(services: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Return the secret versions of web and workers, and of broker and results; None before the first deploy.

    If Swarm rolled back only some services, versions differ within a group. Web and workers then get the older version, which
    every backing service still accepts. Broker and results get the newer one: having started with it, they know no older user.
    """
    versions: dict[str, set[int]] = {}
    for service in services:
        for secret in service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Secrets") or ():
            for match in _match_versioned([secret["SecretName"]]):
                versions.setdefault(match[1], set()).add(int(match[2]))
    app = versions.get("broker")
    backing = versions.get("broker_conf", set()) | versions.get("results_conf", set())
    return (min(app), max(backing)) if app and backing else None


def _match_versioned(names: Sequence[str]) -> list[re.Match[str]]:
    return [match for match in map(_VERSIONED.fullmatch, names) if match]

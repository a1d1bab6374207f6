"""Versions of production's passwords and keys: created here, stored by the Swarm only, never in an argument, variable or log."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from stargaze.serve.stack.backing_services import BROKER_HOSTS, broker_definitions, redis_config
from stargaze.serve.stack.certificates import issue_certificates

SECRET_NAMES = (
    *("broker_cert", "broker_conf", "broker_key", "broker"),
    *("results_admin", "results_cert", "results_conf", "results_key", "results"),
    *("ca", "flower", "session"),
)
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
    broker, results, admin, flower = (secrets.token_hex(24) for _ in range(4))
    issued = issue_certificates(f"stargaze {version}", {"broker": BROKER_HOSTS, "results": ("results",)})
    contents = {
        "broker": broker.encode(),
        "broker_conf": broker_definitions(version, broker),
        "results": results.encode(),
        "results_admin": admin.encode(),
        "results_conf": redis_config(version, sha256_hex(results.encode()), sha256_hex(admin.encode())),
        "session": secrets.token_hex(32).encode(),
        "flower": flower.encode(),
        "ca": issued.ca,
        **{f"{service}_cert": certificate for service, certificate in issued.certificates.items()},
        **{f"{service}_key": key for service, key in issued.keys.items()},
    }
    return {f"stargaze_{name}_{version}": content for name, content in contents.items()}


def sha256_hex(password: bytes) -> str:
    """Return a password as Redis's users have it."""
    return hashlib.sha256(password).hexdigest()


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

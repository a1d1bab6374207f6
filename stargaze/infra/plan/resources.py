"""Resources as plain data: those that a cluster needs, and those that the cloud has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "keypair",
    "network",
    "subnet",
    "router",
    "interface",
    "security group",
    "rules",
    "anti-affinity group",
    "port",
    "server",
    "floating IP",
]
DEPENDS_ON: Mapping[Kind, tuple[Kind, ...]] = {
    "keypair": (),
    "network": (),
    "subnet": ("network",),
    "router": (),
    "interface": ("router", "subnet"),
    "security group": (),
    "rules": ("security group",),
    "anti-affinity group": (),
    "port": ("subnet", "network", "security group", "rules"),
    "server": ("port", "keypair", "anti-affinity group"),
    "floating IP": ("port", "interface"),
}
"""The kinds that are created before a kind and deleted after it."""
FAILED_STATES = ("ERROR", "DELETED", "SOFT_DELETED", "UNKNOWN")
"""A server in one of these states is replaced."""


@dataclass(frozen=True)
class DesiredResource:
    """A resource that the cluster needs; ``spec`` holds plain values, with names instead of ids."""

    kind: Kind
    name: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    """Keys of other resources."""

    @property
    def key(self) -> str:
        """Kind and name, unique among the desired resources."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class ActualResource:
    """A resource in the cloud; ``spec`` has the keys of the :class:`DesiredResource` that it is compared with."""

    kind: Kind
    name: str
    id: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""
    """Nova's state of a server."""
    fault: str = ""
    created_at: str = ""
    """[UTC, ISO]"""
    is_in_use: bool = False
    """Whether another resource is attached to it."""
    conflict: str = ""
    """Why it cannot be used although its name matches: somebody else created it."""
    is_foreign: bool = False
    """Whether it lacks the cluster's tag: it is used if it matches, and never deleted."""

    @property
    def key(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"


def preference(resource: ActualResource) -> tuple[bool, bool, bool, str, str]:
    """Sort key for duplicates, independent of their order: a working one first, then one in use, then the oldest."""
    failed = resource.state in FAILED_STATES
    return bool(resource.conflict), failed, not resource.is_in_use, resource.created_at, resource.id


def cluster_tag(name: str) -> str:
    """Return the tag of all resources of a cluster; it is also their description and part of a server's metadata."""
    return f"stargaze-infra-{name}"

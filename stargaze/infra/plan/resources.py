"""What stands in a cloud, as plain data: what a cluster needs, and what is found of it."""

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
NEEDS: Mapping[Kind, tuple[Kind, ...]] = {
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
"""What must be there before a thing of this kind, and go after it."""


@dataclass(frozen=True)
class DesiredResource:
    """One thing that a cluster needs. ``spec`` holds plain values, with names where the cloud has ids."""

    kind: Kind
    name: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    """Keys of others."""

    @property
    def key(self) -> str:
        """Name it among all kinds."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class ActualResource:
    """A resource in the cloud; ``spec`` has the keys of the :class:`DesiredResource` that it is compared with."""

    kind: Kind
    name: str
    id: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""
    """Of a server, as Nova says it."""
    fault: str = ""
    made_at: str = ""
    """[UTC, ISO]"""
    used: bool = False
    """Whether something else hangs on it."""
    unlike: str = ""
    """Why it cannot be used although it has our name: it was made by somebody else."""
    foreign: bool = False
    """Whether it lacks our mark: it may be used where it is as wanted, and is never deleted."""

    @property
    def key(self) -> str:
        """Name it among all kinds."""
        return f"{self.kind} {self.name}"


BROKEN = ("ERROR", "DELETED", "SOFT_DELETED", "UNKNOWN")
"""States of a server that is made anew."""


def preference(found: ActualResource) -> tuple[bool, bool, bool, str, str]:
    """Order doubles, the same whenever they are listed: the one that works first, then what is in use, then the older."""
    return bool(found.unlike), found.state in BROKEN, not found.used, found.made_at, found.id


def cluster_tag(name: str) -> str:
    """Return what everything of a cluster carries: as its description, its tag and a server's metadata."""
    return f"stargaze-infra-{name}"

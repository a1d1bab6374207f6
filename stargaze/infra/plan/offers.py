"""What a cloud offers and what is left of it, as plain data; ``cloud`` reads it, ``choice`` chooses from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Image:
    """An image that can be booted; sizes as Glance has them."""

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
    """A size of machine."""

    id: str
    name: str
    cpus: int
    memory: float
    """[GB]"""
    disk: int
    """[GB]; 0 means that it must boot from a volume, which we do not."""


@dataclass(frozen=True)
class Network:
    """A network that this project sees."""

    id: str
    name: str
    external: bool
    subnets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Limit:
    """How much of a thing the project may have, and has; -1 is no limit."""

    most: float
    used: float

    @property
    def left(self) -> float:
        """What can still be made."""
        return float("inf") if self.most < 0 else max(0.0, self.most - self.used)


@dataclass(frozen=True)
class Offers:
    """All of it."""

    images: tuple[Image, ...] = ()
    flavors: tuple[Flavor, ...] = ()
    networks: tuple[Network, ...] = ()
    keypairs: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    limits: Mapping[str, Limit] = field(default_factory=dict)
    """By the plural of a kind of resource, beside "cores" and "memory" [GB]."""
    anti_affinity: bool = False
    """Whether machines can be asked to be kept apart where that is possible."""

"""What all services of the stack are described with: of what they are rendered, how they are changed, what they may."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stargaze.config import DeploySection, ServeSection
from stargaze.serve.runtime.settings import Sources

NAME = "stargaze"
"""Of the stack; its services are ``stargaze_web``, ``stargaze_worker`` and so on."""
CONTENT = "stargaze.image"
"""Label of the containers of page and workers: what their image holds, as its builder saw it."""
PLACED = ["node.labels.stargaze.role == production"]
USER = "10001:10001"
LOGS = {"driver": "local", "options": {"max-size": "20m", "max-file": "5"}}
DROP = {"read_only": True, "cap_drop": ["ALL"], "logging": LOGS}


@dataclass(frozen=True)
class Node:
    """A production machine as Swarm knows it; ``addresses`` are what visitors may call it by."""

    hostname: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class StackSpec:
    """All that a stack is rendered from."""

    deploy: DeploySection
    serve: ServeSection
    sources: Sources
    image: str
    port: int
    """The page's, outside."""
    secrets: int
    """The version of the secrets that page and workers show."""
    behind: int
    """That of the secrets that queue and results know from their start; behind the other while they are rotated."""
    nodes: tuple[Node, ...]
    serving: str = "/srv/stargaze/serving"
    """Where the nodes install releases."""
    content: str = ""
    """What the image holds; empty where nobody knows."""


def ordered(*, spread: bool) -> dict[str, Any]:
    """Return how a service is changed: one replica after the other, and back again where the new one is not well."""
    way = {
        "parallelism": 1,
        "delay": "1s",
        "monitor": "15s",
        "max_failure_ratio": 0,
        "order": "start-first" if spread else "stop-first",
    }
    return {
        "update_config": {**way, "failure_action": "rollback"},
        "rollback_config": {**way, "failure_action": "pause"},
        "restart_policy": {"condition": "any", "delay": "2s"},
    }


def limits(cpus: float, memory: float) -> dict[str, Any]:
    """Return the resources of a service: cores, and GB of memory."""
    return {"resources": {"limits": {"cpus": f"{cpus:g}", "memory": f"{round(memory * 1e9)}"}}}


def secret(source: str, target: str, *, everyone: bool = False) -> dict[str, Any]:
    """Return a secret of a service, which only its own user reads, or whoever is in the container."""
    if everyone:
        return {"source": source, "target": target, "mode": 0o444}
    return {"source": source, "target": target, "uid": "10001", "gid": "10001", "mode": 0o400}

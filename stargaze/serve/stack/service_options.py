"""Compose options shared by all services: update policy, limits, permissions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stargaze.config import DeploySection, ServeSection
from stargaze.serve.runtime.settings import Sources

STACK_NAME = "stargaze"
"""The services are named ``stargaze_web``, ``stargaze_worker`` and so on."""
CONTENT_LABEL = "stargaze.image"
"""Label of web and worker containers: the content digest of their image, as the builder computed it."""
PLACEMENT_CONSTRAINTS = ["node.labels.stargaze.role == production"]
CONTAINER_USER = "10001:10001"
LOGGING = {"driver": "local", "options": {"max-size": "20m", "max-file": "5"}}
HARDENING = {"read_only": True, "cap_drop": ["ALL"], "logging": LOGGING}


@dataclass(frozen=True)
class Node:
    """A production node of the Swarm; visitors may use each of its addresses."""

    hostname: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class SecretVersions:
    """The versions of the secrets that services use."""

    app: int
    """That of web and workers."""
    backing: int
    """That with which broker and results start; older than ``app`` during a rotation."""
    retired: int = 0
    """The one whose certificates web and workers still accept, while a rotation replaces broker and results."""


@dataclass(frozen=True)
class StackSpec:
    """Everything that a stack is rendered from."""

    deploy: DeploySection
    serve: ServeSection
    sources: Sources
    image: str
    port: int
    """Published port of the page."""
    secrets: SecretVersions
    nodes: tuple[Node, ...]
    serving_folder: str = "/srv/stargaze/serving"
    """The folder in which the nodes install releases."""
    image_content: str = ""
    """Content digest of the image; empty if it is unknown."""
    page_hosts: tuple[str, ...] = ()
    """Names and addresses by which visitors know the page, besides those of the nodes."""
    has_proxy: bool = False
    """Whether the orchestration machine forwards visitors to the nodes."""


def update_policy(*, start_first: bool) -> dict[str, Any]:
    """Return how a service is updated: one replica at a time, with a rollback if a new one is unhealthy."""
    policy = {
        "parallelism": 1,
        "delay": "1s",
        "monitor": "15s",
        "max_failure_ratio": 0,
        "order": "start-first" if start_first else "stop-first",
    }
    return {
        "update_config": {**policy, "failure_action": "rollback"},
        "rollback_config": {**policy, "failure_action": "pause"},
        "restart_policy": {"condition": "any", "delay": "2s"},
    }


def resource_limits(cpus: float, memory: float) -> dict[str, Any]:
    """Return the limits of a service: cores, and memory [GB]."""
    return {"resources": {"limits": {"cpus": f"{cpus:g}", "memory": f"{round(memory * 1e9)}"}}}


def healthcheck(*command: str, interval: int, start_period: int, timeout: int = 5, retries: int = 5) -> dict[str, Any]:
    """Return a health check; all times in seconds."""
    times = {"interval": f"{interval}s", "timeout": f"{timeout}s", "start_period": f"{start_period}s"}
    return {"test": list(command), **times, "retries": retries}


def secret_mount(source: str, target: str, *, world_readable: bool = False) -> dict[str, Any]:
    """Return a secret of a service, readable for the app's user or for every user of the container."""
    if world_readable:
        return {"source": source, "target": target, "mode": 0o444}
    return {"source": source, "target": target, "uid": "10001", "gid": "10001", "mode": 0o400}


def ca_mounts(spec: StackSpec) -> list[dict[str, Any]]:
    """Return the mounts of the CAs that clients trust: during a rotation, broker and results may have either certificate."""
    versions = {spec.secrets.app, spec.secrets.backing, spec.secrets.retired} - {0}
    return [secret_mount(f"{STACK_NAME}_ca_{version}", f"ca_{version}") for version in sorted(versions)]


def page_network(spec: StackSpec) -> str:
    """Return the network with a way out; Docker never changes an existing network, so each kind has its own name."""
    return "page_encrypted" if spec.deploy.encrypt_networks else "page"


def inside_network(spec: StackSpec) -> str:
    """Return the network without a way out."""
    return "inside_encrypted" if spec.deploy.encrypt_networks else "inside"

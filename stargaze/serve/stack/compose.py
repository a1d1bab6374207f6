"""The production services as one Compose file: a pure function of config, image, secrets and nodes.

There are two networks: ``page`` connects web processes and GitHub lookups to the outside; ``inside`` has no way out and connects
the broker and the result store. Only the page's port is published.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stargaze.serve.runtime.healthcheck import WEB_PORT
from stargaze.serve.runtime.settings import (
    BROKER_PASSWORD_VARIABLE,
    CA_FILES_VARIABLE,
    LOW_MEMORY_VARIABLES,
    RESULTS_PASSWORD_VARIABLE,
    SESSION_KEY_VARIABLE,
    to_environment,
)
from stargaze.serve.runtime.status_files import RELOAD_INTERVAL_VARIABLE
from stargaze.serve.stack.backing_services import backing_services, config_files, volume_names
from stargaze.serve.stack.service_options import (
    CONTAINER_USER,
    CONTENT_LABEL,
    HARDENING,
    PLACEMENT_CONSTRAINTS,
    STACK_NAME,
    StackSpec,
    ca_mounts,
    healthcheck,
    inside_network,
    page_network,
    resource_limits,
    secret_mount,
    update_policy,
)
from stargaze.serve.supervisor.container import DRAIN_DELAY_VARIABLE
from stargaze.store import Store

STACK_LABEL = "stargaze.stack"
"""Label of every service: the digest of the whole stack."""
SERVICE_LABEL = "stargaze.service"
"""Label of every container: the digest of its service's definition."""
HEALTH_COMMAND = ("CMD", "python", "-m", "stargaze.serve.runtime.healthcheck")
STORE_FOLDER = "/store"
"""The store of a container: in memory, with the installed releases mounted read-only."""
RELOAD_INTERVAL = 1
"""Interval at which web and workers look for a new release [s]."""
DRAIN_DELAY = 6
"""Time for which ``/readyz`` fails before a web process stops [s]: a proxy that checks it every 2 s has noticed by then."""


def render_stack(spec: StackSpec) -> dict[str, Any]:
    """Return the Compose file with labels that carry digests; ``x-configs`` holds the text of each config."""
    services = {"web": _web(spec), "worker": _worker(spec), **backing_services(spec)}
    texts = config_files(spec)
    secrets = sorted({secret["source"] for service in services.values() for secret in service.get("secrets", [])})
    overlay = {"driver": "overlay", **({"driver_opts": {"encrypted": ""}} if spec.deploy.encrypt_networks else {})}
    stack: dict[str, Any] = {
        "version": "3.8",
        "services": services,
        "networks": {page_network(spec): overlay, inside_network(spec): {**overlay, "internal": True}},
        "volumes": {name: {} for name in volume_names(spec)},
        "secrets": {name: {"external": True} for name in secrets},
        "configs": {name: {"external": True} for name in texts},
        "x-configs": texts,
    }
    for service in services.values():
        # Without the number of replicas: scaling replaces no container.
        deploy = {name: value for name, value in service["deploy"].items() if name != "replicas"}
        service["labels"] = {**service.get("labels", {}), SERVICE_LABEL: _digest({**service, "deploy": deploy})}
    digest = _digest(stack)
    for service in services.values():
        service["deploy"]["labels"] = {STACK_LABEL: digest}
    return stack


def stack_digest(stack: Mapping[str, Any]) -> str:
    """Return the digest of a stack, from the label of its services."""
    labels: Mapping[str, str] = stack["services"]["web"]["deploy"]["labels"]
    return labels[STACK_LABEL]


def encode_stack(stack: Mapping[str, Any]) -> bytes:
    """Return the Compose file as it is sent and stored; JSON is YAML."""
    return (json.dumps(stack, indent=1) + "\n").encode()


def app_environment(spec: StackSpec) -> dict[str, str]:
    """Return the environment of web and workers: the ``serve`` section inside the stack, and the paths of the secrets."""
    version = spec.secrets.app
    hosts = [address for node in spec.nodes for address in (node.hostname, *node.addresses)]
    section = dataclasses.replace(
        spec.serve,
        host="0.0.0.0",  # noqa: S104 - in the container
        port=WEB_PORT,
        worker_processes=1,
        broker_url=f"amqps://{STACK_NAME}_{version}@broker:5671/{STACK_NAME}",
        results_url=f"rediss://{STACK_NAME}_{version}@results:6379/0",
        allowed_hosts=list(dict.fromkeys([*spec.serve.allowed_hosts, *spec.page_hosts, *hosts])),
        # The cluster's proxy replaces the forwarding headers, so whatever is in front of it is not counted.
        trusted_proxies=1 if spec.has_proxy else spec.serve.trusted_proxies,
        metrics_port=0,
        track_record=False,  # each node would have its own
    )
    return {
        **to_environment(section, Store(Path(STORE_FOLDER)), dataclasses.replace(spec.sources, history="")),
        BROKER_PASSWORD_VARIABLE: "/run/secrets/broker",
        RESULTS_PASSWORD_VARIABLE: "/run/secrets/results",
        SESSION_KEY_VARIABLE: "/run/secrets/session",
        CA_FILES_VARIABLE: ":".join(f"/run/secrets/{mount['target']}" for mount in ca_mounts(spec)),
        RELOAD_INTERVAL_VARIABLE: str(RELOAD_INTERVAL),
    }


def _web(spec: StackSpec) -> dict[str, Any]:
    section = spec.deploy
    host_mode = section.publish_mode == "host"
    return {
        **_app_service(
            spec, ["web"], [page_network(spec), inside_network(spec)], {DRAIN_DELAY_VARIABLE: str(DRAIN_DELAY)}
        ),
        "ports": [{"target": WEB_PORT, "published": spec.port, "protocol": "tcp", "mode": section.publish_mode}],
        "stop_grace_period": f"{DRAIN_DELAY + spec.serve.time_limit + 15:g}s",
        "deploy": {
            # Two containers cannot share a port of a node, so the old one stops first.
            **({"mode": "global"} if host_mode else {"mode": "replicated", "replicas": section.web_replicas}),
            "endpoint_mode": section.endpoint_mode,
            "placement": {"constraints": PLACEMENT_CONSTRAINTS, "preferences": [{"spread": "node.id"}]},
            **resource_limits(section.web_cpus, section.web_memory),
            **update_policy(start_first=not host_mode),
        },
    }


def _worker(spec: StackSpec) -> dict[str, Any]:
    section = spec.deploy
    networks = [*([page_network(spec)] if spec.serve.github_lookup else []), inside_network(spec)]  # for GitHub
    return {
        **_app_service(spec, ["worker"], networks, LOW_MEMORY_VARIABLES),
        "stop_grace_period": f"{spec.serve.time_limit + 15:g}s",
        "deploy": {
            "mode": "replicated",
            "replicas": section.worker_replicas,
            "endpoint_mode": "dnsrr",  # no service connects to a worker
            "placement": {"constraints": PLACEMENT_CONSTRAINTS, "preferences": [{"spread": "node.id"}]},
            **resource_limits(section.worker_cpus, section.worker_memory),
            **update_policy(start_first=True),
        },
    }


def _app_service(
    spec: StackSpec, command: Sequence[str], networks: Sequence[str], variables: Mapping[str, str]
) -> dict[str, Any]:
    """Return the common definition of web and worker."""
    return {
        "image": spec.image,
        # The same name may stand for another image; another content replaces the containers.
        **({"labels": {CONTENT_LABEL: spec.image_content}} if spec.image_content else {}),
        "command": list(command),
        "user": CONTAINER_USER,
        **HARDENING,
        "environment": {**app_environment(spec), **variables},
        "secrets": [
            *(
                secret_mount(f"{STACK_NAME}_{name}_{spec.secrets.app}", name)
                for name in ("broker", "results", "session")
            ),
            *ca_mounts(spec),
        ],
        "networks": list(networks),
        "volumes": [
            {"type": "tmpfs", "target": STORE_FOLDER, "tmpfs": {"size": 256_000_000}},
            {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": 256_000_000}},  # noqa: S108 - in the container
            {"type": "bind", "source": spec.serving_folder, "target": f"{STORE_FOLDER}/serving", "read_only": True},
        ],
        "healthcheck": healthcheck(*HEALTH_COMMAND, interval=5, timeout=10, start_period=90, retries=3),
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]

"""The services of production as one Compose file: a pure function of config, image, secrets and nodes.

Two networks lie apart: ``page`` holds what the world reaches and what reaches the world, ``inside`` has no way out and holds the
queue and the results. Nothing but the page's port is published.
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
    LOW_MEMORY_VARIABLES,
    RESULTS_PASSWORD_VARIABLE,
    SESSION_KEY_VARIABLE,
    to_environment,
)
from stargaze.serve.runtime.status_files import RELOAD_INTERVAL_VARIABLE
from stargaze.serve.stack import backing_services as backing
from stargaze.serve.stack.service_options import CONTENT, DROP, NAME, PLACED, USER, StackSpec, limits, ordered, secret
from stargaze.serve.supervisor.container import DRAIN_DELAY_VARIABLE
from stargaze.store import Store

MARK = "stargaze.stack"
"""Label of every service: the digest of the whole stack that it is a part of."""
PART = "stargaze.service"
"""Label of every container: the digest of its service's own definition, which says whether it runs what was sent."""
STORE = "/store"
"""Where the store lies in a container: in its memory, with what is released below it, read-only."""
LOOK = "1"
"""Page and workers look for a new release this often [s]."""
LEAD = 6
"""A page that is to end says so this long before it takes no more visitors [s]: a proxy that asks every 2 s has heard it."""


def stack(wanted: StackSpec) -> dict[str, Any]:
    """Return the Compose file, whose services carry its digest; ``x-configs`` holds the text of each config that it names."""
    services = {"web": _web(wanted), "worker": _worker(wanted), **backing.services(wanted)}
    texts = backing.configs(wanted)
    secrets = sorted({one["source"] for service in services.values() for one in service.get("secrets", [])})
    whole: dict[str, Any] = {
        "version": "3.8",
        "services": services,
        "networks": {
            "page": {"driver": "overlay"},
            "inside": {"driver": "overlay", "internal": True},
        },
        "volumes": {name: {} for name in backing.volumes(wanted)},
        "secrets": {name: {"external": True} for name in secrets},
        "configs": {name: {"external": True} for name in texts},
        "x-configs": texts,
    }
    for service in services.values():
        # Without the number of replicas: one more of the same changes none of those that run.
        same = {name: value for name, value in service["deploy"].items() if name != "replicas"}
        service["labels"] = {**service.get("labels", {}), PART: _digest({**service, "deploy": same})}
    mark = _digest(whole)
    for service in services.values():
        service["deploy"]["labels"] = {MARK: mark}
    return whole


def mark_of(whole: Mapping[str, Any]) -> str:
    """Return the digest that the services of a stack carry."""
    labels: Mapping[str, str] = whole["services"]["web"]["deploy"]["labels"]
    return labels[MARK]


def written(whole: Mapping[str, Any]) -> bytes:
    """Return the Compose file as it is sent and kept; JSON is YAML."""
    return (json.dumps(whole, indent=1) + "\n").encode()


def environment(wanted: StackSpec) -> dict[str, str]:
    """Return the variables of page and workers: the section as it holds inside, and files where the secrets stand."""
    version = wanted.secrets
    hosts = [address for node in wanted.nodes for address in (node.hostname, *node.addresses)]
    section = dataclasses.replace(
        wanted.serve,
        host="0.0.0.0",  # noqa: S104 - of the container
        port=WEB_PORT,
        worker_processes=1,
        broker_url=f"amqp://{NAME}_{version}@broker:5672/{NAME}",
        results_url=f"redis://{NAME}_{version}@results:6379/0",
        allowed_hosts=list(dict.fromkeys([*wanted.serve.allowed_hosts, *hosts])),
        metrics_port=0,
        track_record=False,  # a record on each node would be several that contradict each other
    )
    return {
        **to_environment(section, Store(Path(STORE)), dataclasses.replace(wanted.sources, history="")),
        BROKER_PASSWORD_VARIABLE: "/run/secrets/broker",
        RESULTS_PASSWORD_VARIABLE: "/run/secrets/results",
        SESSION_KEY_VARIABLE: "/run/secrets/session",
        RELOAD_INTERVAL_VARIABLE: LOOK,
    }


def _web(wanted: StackSpec) -> dict[str, Any]:
    section = wanted.deploy
    own = section.publish_mode == "host"
    return {
        **_ours(wanted, ["web"], ["page", "inside"], {DRAIN_DELAY_VARIABLE: str(LEAD)}),
        "ports": [{"target": WEB_PORT, "published": wanted.port, "protocol": "tcp", "mode": section.publish_mode}],
        "stop_grace_period": f"{LEAD + wanted.serve.time_limit + 15:g}s",
        "deploy": {
            # Two containers cannot have one port of a node: there the next one begins when the one before has ended.
            **({"mode": "global"} if own else {"mode": "replicated", "replicas": section.web_replicas}),
            "endpoint_mode": section.endpoint_mode,
            "placement": {"constraints": PLACED, "preferences": [{"spread": "node.id"}]},
            **limits(section.web_cpus, section.web_memory),
            **ordered(spread=not own),
        },
    }


def _worker(wanted: StackSpec) -> dict[str, Any]:
    section = wanted.deploy
    networks = ["page", "inside"] if wanted.serve.github_lookup else ["inside"]  # GitHub is outside
    return {
        **_ours(wanted, ["worker"], networks, LOW_MEMORY_VARIABLES),
        "stop_grace_period": f"{wanted.serve.time_limit + 15:g}s",
        "deploy": {
            "mode": "replicated",
            "replicas": section.worker_replicas,
            "endpoint_mode": "dnsrr",  # nobody calls a worker
            "placement": {"constraints": PLACED, "preferences": [{"spread": "node.id"}]},
            **limits(section.worker_cpus, section.worker_memory),
            **ordered(spread=True),
        },
    }


def _ours(
    wanted: StackSpec, command: Sequence[str], networks: Sequence[str], more: Mapping[str, str]
) -> dict[str, Any]:
    """Return what page and workers have in common."""
    version = wanted.secrets
    return {
        "image": wanted.image,
        # A name may come to stand for another image: where it does, the containers are made anew.
        **({"labels": {CONTENT: wanted.content}} if wanted.content else {}),
        "command": list(command),
        "user": USER,
        **DROP,
        "environment": {**environment(wanted), **more},
        "secrets": [secret(f"{NAME}_{name}_{version}", name) for name in ("broker", "results", "session")],
        "networks": list(networks),
        "volumes": [
            {"type": "tmpfs", "target": STORE, "tmpfs": {"size": 256_000_000}},
            {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": 256_000_000}},  # noqa: S108 - of the container
            {"type": "bind", "source": wanted.serving, "target": f"{STORE}/serving", "read_only": True},
        ],
        "healthcheck": {
            "test": ["CMD", "python", "-m", "stargaze.serve.runtime.healthcheck"],
            "interval": "5s",
            "timeout": "10s",
            "start_period": "90s",
            "retries": 3,
        },
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]

"""What stands behind page and workers in the stack: RabbitMQ, Redis, and, where they are wanted, Flower and Prometheus."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from stargaze.serve.stack.service_options import DROP, PLACED, USER, Node, StackSpec, limits, ordered, secret

BROKERS = 3
"""Of three nodes one may be lost: so many have a majority then. Of two none may, so that one broker is enough."""
LISTENS = "grep -qE ':1628 [0-9A-F]+:0000 0A ' /proc/net/tcp /proc/net/tcp6"
"""RabbitMQ opens port 5672 (hexadecimal 1628) last. Its own commands start a virtual machine each time: a second of a core."""
PONG = "redis-cli --no-auth-warning --user health --pass health ping | grep -q PONG"
UP = "import urllib.request as u; u.urlopen('http://127.0.0.1:5555/healthcheck', timeout=5)"
"""Flower's image has Python for certain, and no other program that asks."""
CONFIG = re.compile(r"stargaze_(broker|flower|prometheus)_[0-9a-f]{8}")
"""The name of a config of ours."""
WATCHED = "stargaze_watched"
"""The module that Flower imports."""


def services(wanted: StackSpec) -> dict[str, dict[str, Any]]:
    """Return the services by name."""
    found = {name: _broker(wanted, name, node) for name, node in _brokers(wanted).items()}
    found["results"] = _results(wanted)
    if wanted.deploy.flower:
        found["flower"] = _flower(wanted)
    if wanted.deploy.prometheus:
        found["prometheus"] = _prometheus(wanted)
    return found


def volumes(wanted: StackSpec) -> list[str]:
    """Return the volumes that outlive containers."""
    return [*_brokers(wanted), "results", *(["prometheus"] if wanted.deploy.prometheus else [])]


def configs(wanted: StackSpec) -> dict[str, str]:
    """Return the files that are no secrets, by the name under which Swarm keeps them; another text has another name."""
    texts = {"broker": _broker_conf(wanted)}
    if wanted.deploy.flower:
        texts["flower"] = _watched(wanted)
    if wanted.deploy.prometheus:
        texts["prometheus"] = _scrapes()
    return {_named(what, text): text for what, text in texts.items()}


def broker_secret(version: int, password: str) -> str:
    """Return the part of RabbitMQ's settings that makes its first user, when it begins with an empty disk."""
    lines = [f"default_user = stargaze_{version}", f"default_pass = {password}", "default_vhost = stargaze"]
    return "\n".join([*lines, ""])


def results_secret(version: int, password_digest: str) -> str:
    """Return Redis's settings: a user with all rights, known by the SHA-256 of its password, and one for the health check."""
    return "\n".join(
        [
            "protected-mode no",
            "dir /data",
            "appendonly yes",
            "maxmemory-policy noeviction",
            "user default off",
            "user health on nopass -@all +ping",
            f"user stargaze_{version} on #{password_digest} ~* &* +@all",
            "",
        ]
    )


def _brokers(wanted: StackSpec) -> dict[str, Node]:
    """Return which broker stands on which node: their queues are on the node's disk."""
    if len(wanted.nodes) < BROKERS:
        return {"broker": wanted.nodes[0]}
    return {f"broker{number}": node for number, node in enumerate(wanted.nodes[:BROKERS], 1)}


def _broker(wanted: StackSpec, name: str, node: Node) -> dict[str, Any]:
    several = len(wanted.nodes) >= BROKERS
    cookie = {"source": "stargaze_cookie", "target": "/var/lib/rabbitmq/.erlang.cookie", "mode": 0o400}
    return {
        "image": wanted.deploy.broker_image,
        "hostname": name,  # RabbitMQ keeps its data under this name
        "user": "rabbitmq",
        **DROP,
        # It writes of upgrades to a file whatever it is told, and a dump of its memory beside it.
        "environment": {"RABBITMQ_LOGS": "-", "RABBITMQ_LOG_BASE": "/tmp", "ERL_CRASH_DUMP_BYTES": "0"},  # noqa: S108
        "secrets": [
            secret(f"stargaze_broker_conf_{wanted.behind}", "/etc/rabbitmq/conf.d/30-stargaze.conf", everyone=True),
            *([{**cookie, "uid": "999", "gid": "999"}] if several else []),
        ],
        "configs": [_config(wanted, "broker", "/etc/rabbitmq/conf.d/20-stargaze.conf")],
        "networks": {"inside": {"aliases": ["broker"]}},
        "volumes": [
            {"type": "volume", "source": name, "target": "/var/lib/rabbitmq"},
            {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": 16_000_000}},  # noqa: S108 - of the container
        ],
        "stop_grace_period": "60s",
        "healthcheck": {
            "test": ["CMD-SHELL", LISTENS],
            "interval": "2s",
            "timeout": "10s",
            "start_period": "120s",
            "retries": 15,
        },
        "deploy": {
            "mode": "replicated",
            "replicas": 1,
            "endpoint_mode": "dnsrr",  # connections last, and a virtual address forgets those that are quiet for long
            "placement": {"constraints": [f"node.hostname == {node.hostname}"]},
            **limits(1, wanted.deploy.broker_memory),
            **ordered(spread=False),
        },
    }


def _broker_conf(wanted: StackSpec) -> str:
    lines = [
        f"vm_memory_high_watermark.absolute = {round(wanted.deploy.broker_memory * 0.6e9)}",
        "disk_free_limit.absolute = 1GB",
        "log.console = true",
        "log.console.level = warning",
    ]
    names = list(_brokers(wanted))
    if len(names) > 1:
        lines += ["cluster_formation.peer_discovery_backend = classic_config"]
        lines += [f"cluster_formation.classic_config.nodes.{n} = rabbit@{name}" for n, name in enumerate(names, 1)]
        lines += ["cluster_partition_handling = pause_minority"]
    return "\n".join([*lines, ""])


def _results(wanted: StackSpec) -> dict[str, Any]:
    return {
        "image": wanted.deploy.results_image,
        "command": ["redis-server", "/run/secrets/results.conf"],
        "user": "redis",
        **DROP,
        "secrets": [secret(f"stargaze_results_conf_{wanted.behind}", "results.conf", everyone=True)],
        "networks": ["inside"],
        "volumes": [{"type": "volume", "source": "results", "target": "/data"}],
        "stop_grace_period": "30s",
        "healthcheck": {
            "test": ["CMD-SHELL", PONG],
            "interval": "2s",
            "timeout": "5s",
            "start_period": "60s",
            "retries": 5,
        },
        "deploy": {
            "mode": "replicated",
            "replicas": 1,
            "endpoint_mode": "dnsrr",
            "placement": {"constraints": [f"node.hostname == {wanted.nodes[0].hostname}"]},
            **limits(1, wanted.deploy.results_memory),
            **ordered(spread=False),
        },
    }


def _flower(wanted: StackSpec) -> dict[str, Any]:
    return {
        "image": wanted.deploy.flower_image,
        "entrypoint": ["celery", f"--app={WATCHED}", "flower", "--port=5555"],
        "user": USER,
        **DROP,
        "environment": {"PYTHONPATH": "/etc/stargaze"},
        "secrets": [secret(f"stargaze_broker_{wanted.secrets}", "broker")],
        "configs": [_config(wanted, "flower", f"/etc/stargaze/{WATCHED}.py")],
        "networks": ["inside"],
        "volumes": [{"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": 16_000_000}}],  # noqa: S108 - of the container
        "healthcheck": {
            "test": ["CMD", "python", "-c", UP],
            "interval": "15s",  # each time an interpreter
            "timeout": "10s",
            "start_period": "120s",
            "retries": 5,
        },
        "deploy": {
            "mode": "replicated",
            "replicas": 1,
            "endpoint_mode": "dnsrr",
            "placement": {"constraints": PLACED},
            **limits(0.5, 0.25),
            **ordered(spread=True),
        },
    }


def _watched(wanted: StackSpec) -> str:
    """Return the module that Flower watches: it alone reads the password, which no variable and no argument holds."""
    url = f'"amqp://stargaze_{wanted.secrets}:" + password + "@broker:5672/stargaze"'
    return "\n".join(
        [
            "from pathlib import Path",
            "",
            "from celery import Celery",
            "",
            'password = Path("/run/secrets/broker").read_text(encoding="ascii").strip()',
            f'app = Celery("stargaze", broker={url})',
            "",
        ]
    )


def _prometheus(wanted: StackSpec) -> dict[str, Any]:
    return {
        "image": wanted.deploy.prometheus_image,
        "user": "nobody",
        **DROP,
        "configs": [_config(wanted, "prometheus", "/etc/prometheus/prometheus.yml")],
        "networks": ["inside"],
        "volumes": [{"type": "volume", "source": "prometheus", "target": "/prometheus"}],
        "healthcheck": {
            "test": ["CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9090/-/healthy"],
            "interval": "5s",
            "timeout": "5s",
            "start_period": "120s",  # it reads its log of the last hours first
            "retries": 5,
        },
        "deploy": {
            "mode": "replicated",
            "replicas": 1,
            "endpoint_mode": "dnsrr",
            "placement": {"constraints": [f"node.hostname == {wanted.nodes[0].hostname}"]},
            **limits(0.5, 0.5),
            **ordered(spread=False),
        },
    }


def _scrapes() -> str:
    """Return what Prometheus asks: the brokers, and itself; JSON is YAML."""
    names: list[dict[str, Any]] = [
        {"job_name": "rabbitmq", "dns_sd_configs": [{"names": ["tasks.broker"], "type": "A", "port": 15692}]},
        {"job_name": "prometheus", "static_configs": [{"targets": ["localhost:9090"]}]},
    ]
    return json.dumps({"global": {"scrape_interval": "15s"}, "scrape_configs": names}, indent=1) + "\n"


def _config(wanted: StackSpec, what: str, target: str) -> dict[str, Any]:
    (name,) = (name for name in configs(wanted) if name.startswith(f"stargaze_{what}_"))
    return {"source": name, "target": target, "mode": 0o444}


def _named(what: str, text: str) -> str:
    return f"stargaze_{what}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"

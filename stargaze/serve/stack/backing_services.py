"""The backing services of the stack: RabbitMQ, Redis, and optionally Flower and Prometheus."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from typing import Any

from stargaze.config.image_reference import local_name
from stargaze.serve.stack.service_options import (
    CONTAINER_USER,
    HARDENING,
    PLACEMENT_CONSTRAINTS,
    Node,
    StackSpec,
    ca_mounts,
    healthcheck,
    inside_network,
    resource_limits,
    secret_mount,
    update_policy,
)

BROKER_QUORUM = 3
"""Brokers of a cluster that survives the loss of one; with fewer nodes there is a single broker."""
MIN_CONSUMER_TIMEOUT = 1800.0
"""RabbitMQ's default [s]."""
BROKER_HOSTS = ("broker", *(f"broker{number}" for number in range(1, BROKER_QUORUM + 1)))
"""Host names of the brokers, which share one certificate."""
BROKER_CHECK = "grep -qE ':1627 [0-9A-F]+:0000 0A ' /proc/net/tcp /proc/net/tcp6"
"""RabbitMQ opens port 5671 (hexadecimal 1627) last. Each of its own commands takes a second of CPU time."""
REDIS_CLIENT = "redis-cli -e --no-auth-warning --tls --cacert /run/secrets/ca"
RESULTS_CHECK = f"{REDIS_CLIENT} --user health --pass health ping | grep -q PONG"
REDIS_RULES = (
    *("resetkeys", "~celery-task-meta-*", "~stargaze*", "resetchannels", "&celery-task-meta-*"),
    # What Celery's results, jobs and rate limits use: no other key, no administration, no command that lists or clears keys.
    *("nocommands", "+get", "+mget", "+set", "+setex", "+del", "+incr", "+expire", "+ttl", "+publish"),
    *("+multi", "+exec", "+discard", "+eval", "+evalsha", "+script|load", "+ping", "+select", "+client|setinfo"),
)
"""Rights of the user of web and workers."""
FLOWER_CHECK = "import urllib.request as u; u.urlopen('http://127.0.0.1:5555/healthcheck', timeout=5)"
"""Flower's image contains Python but maybe no other HTTP client."""
CONFIG_NAME = re.compile(r"stargaze_(broker|flower|prometheus)_[0-9a-f]{8}")
FLOWER_MODULE = "stargaze_flower"
"""The module that Flower imports, and its own config."""
FLOWER_FILE = f"/etc/stargaze/{FLOWER_MODULE}.py"
TMP_VOLUME = {"type": "tmpfs", "target": "/tmp", "tmpfs": {"size": 16_000_000}}  # noqa: S108 - in the container


def backing_services(spec: StackSpec) -> dict[str, dict[str, Any]]:
    """Return the services by name."""
    services = {name: _broker(spec, name, node) for name, node in _broker_nodes(spec).items()}
    services["results"] = _results(spec)
    if spec.deploy.flower:
        services["flower"] = _flower(spec)
    if spec.deploy.prometheus:
        services["prometheus"] = _prometheus(spec)
    return services


def volume_names(spec: StackSpec) -> list[str]:
    """Return the names of the volumes that outlive containers."""
    return [*_broker_nodes(spec), "results", *(["prometheus"] if spec.deploy.prometheus else [])]


def config_files(spec: StackSpec) -> dict[str, str]:
    """Return the Swarm configs: texts without secrets by name, which contains a digest of the text."""
    texts = {"broker": _broker_config(spec)}
    if spec.deploy.flower:
        texts["flower"] = _flower_module(spec)
    if spec.deploy.prometheus:
        texts["prometheus"] = _prometheus_config()
    return {f"stargaze_{kind}_{hashlib.sha256(text.encode()).hexdigest()[:8]}": text for kind, text in texts.items()}


def broker_definitions(version: int, password: str) -> bytes:
    """Return what RabbitMQ creates at each start if it is missing: a virtual host, and a user with the hash of the password."""
    name, salt = f"stargaze_{version}", secrets.token_bytes(4)
    hashed = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    user = {"name": name, "password_hash": hashed, "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": []}
    rights = {"user": name, "vhost": "stargaze", "configure": ".*", "write": ".*", "read": ".*"}
    return json.dumps({"users": [user], "vhosts": [{"name": "stargaze"}], "permissions": [rights]}).encode()


def redis_config(version: int, password_digest: str, admin_digest: str, folder: str = "/run/secrets") -> bytes:
    """Return the Redis settings: TLS only, and users by the SHA-256 of their passwords.

    ``stargaze_N`` is that of web and workers, ``health`` may only ping, ``admin`` may only create users.
    """
    lines = [
        "protected-mode no",
        "port 0",
        "tls-port 6379",
        f"tls-cert-file {folder}/results_cert",
        f"tls-key-file {folder}/results_key",
        f"tls-ca-cert-file {folder}/ca",
        "tls-auth-clients no",
        'tls-protocols "TLSv1.2 TLSv1.3"',
        "dir /data",
        "appendonly yes",
        "maxmemory-policy noeviction",
        "user default off",
        "user health on nopass -@all +ping",
        f"user admin on #{admin_digest} -@all +acl|setuser",
        f"user stargaze_{version} on #{password_digest} {' '.join(REDIS_RULES)}",
    ]
    return "\n".join([*lines, ""]).encode()


def broker_tls_config(folder: str = "/run/secrets") -> list[str]:
    """Return the RabbitMQ settings that close every port without TLS; clients verify the certificate and send a password."""
    return [
        "listeners.tcp = none",
        "listeners.ssl.default = 5671",
        f"ssl_options.cacertfile = {folder}/ca",
        f"ssl_options.certfile = {folder}/broker_cert",
        f"ssl_options.keyfile = {folder}/broker_key",
        "ssl_options.verify = verify_none",
        "ssl_options.fail_if_no_peer_cert = false",
        "ssl_options.versions.1 = tlsv1.3",
        "ssl_options.versions.2 = tlsv1.2",
        f"load_definitions = {folder}/definitions.json",
    ]


def _broker_nodes(spec: StackSpec) -> dict[str, Node]:
    """Return the node of each broker; its queues are on the node's disk."""
    if len(spec.nodes) < BROKER_QUORUM:
        return {"broker": spec.nodes[0]}
    return {f"broker{number}": node for number, node in enumerate(spec.nodes[:BROKER_QUORUM], 1)}


def _broker(spec: StackSpec, name: str, node: Node) -> dict[str, Any]:
    cookie = {"source": "stargaze_cookie", "target": "/var/lib/rabbitmq/.erlang.cookie", "mode": 0o400}
    definitions = f"stargaze_broker_conf_{spec.secrets.backing}"
    return {
        "image": local_name(spec.deploy.broker_image),
        "hostname": name,  # RabbitMQ names its data folder after it
        "user": "rabbitmq",
        **HARDENING,
        # It always logs upgrades to a file, and writes crash dumps to the same folder.
        "environment": {"RABBITMQ_LOGS": "-", "RABBITMQ_LOG_BASE": "/tmp", "ERL_CRASH_DUMP_BYTES": "0"},  # noqa: S108
        "secrets": [
            secret_mount(definitions, "definitions.json", world_readable=True),
            *_tls_mounts(spec, "broker"),
            *([{**cookie, "uid": "999", "gid": "999"}] if len(spec.nodes) >= BROKER_QUORUM else []),
        ],
        "configs": [_config_mount(spec, "broker", "/etc/rabbitmq/conf.d/20-stargaze.conf")],
        "networks": {inside_network(spec): {"aliases": ["broker"]}},
        "volumes": [{"type": "volume", "source": name, "target": "/var/lib/rabbitmq"}, TMP_VOLUME],
        "stop_grace_period": "60s",
        "healthcheck": healthcheck("CMD-SHELL", BROKER_CHECK, interval=2, timeout=10, start_period=120, retries=15),
        "deploy": _single_replica(node, 1, spec.deploy.broker_memory),
    }


def _broker_config(spec: StackSpec) -> str:
    lines = [
        f"vm_memory_high_watermark.absolute = {round(spec.deploy.broker_memory * 0.6e9)}",
        "disk_free_limit.absolute = 1GB",
        *broker_tls_config(),
        # Only a container's own programs use it.
        "management.tcp.ip = 127.0.0.1",
        *([] if spec.deploy.prometheus else ["prometheus.tcp.ip = 127.0.0.1"]),
        "log.console = true",
        "log.console.level = warning",
        # A worker that does not acknowledge a message in this time is stuck; RabbitMQ gives it to another [ms].
        f"consumer_timeout = {round(max(MIN_CONSUMER_TIMEOUT, 4 * spec.serve.time_limit) * 1000)}",
    ]
    if spec.deploy.flower:  # its image has a Celery that declares queues of a kind that RabbitMQ 4.3 denies by default
        lines += ["deprecated_features.permit.transient_nonexcl_queues = true"]
    names = list(_broker_nodes(spec))
    if len(names) > 1:
        lines += ["cluster_formation.peer_discovery_backend = classic_config"]
        lines += [f"cluster_formation.classic_config.nodes.{n} = rabbit@{name}" for n, name in enumerate(names, 1)]
        lines += ["cluster_partition_handling = pause_minority"]
    return "\n".join([*lines, ""])


def _results(spec: StackSpec) -> dict[str, Any]:
    config = f"stargaze_results_conf_{spec.secrets.backing}"
    return {
        "image": local_name(spec.deploy.results_image),
        "command": ["redis-server", "/run/secrets/results.conf"],
        "user": "redis",
        **HARDENING,
        "secrets": [
            secret_mount(config, "results.conf", world_readable=True),
            secret_mount(f"stargaze_results_admin_{spec.secrets.backing}", "admin", world_readable=True),
            *_tls_mounts(spec, "results"),
        ],
        "networks": [inside_network(spec)],
        "volumes": [{"type": "volume", "source": "results", "target": "/data"}],
        "stop_grace_period": "30s",
        "healthcheck": healthcheck("CMD-SHELL", RESULTS_CHECK, interval=2, start_period=60),
        "deploy": _single_replica(spec.nodes[0], 1, spec.deploy.results_memory),
    }


def _flower(spec: StackSpec) -> dict[str, Any]:
    return {
        "image": local_name(spec.deploy.flower_image),
        "entrypoint": ["celery", f"--app={FLOWER_MODULE}", "flower", "--port=5555", f"--conf={FLOWER_FILE}"],
        "user": CONTAINER_USER,
        **HARDENING,
        "environment": {"PYTHONPATH": "/etc/stargaze"},
        "secrets": [secret_mount(f"stargaze_{name}_{spec.secrets.app}", name) for name in ("broker", "flower")]
        + ca_mounts(spec),
        "configs": [_config_mount(spec, "flower", FLOWER_FILE)],
        "networks": [inside_network(spec)],
        "volumes": [TMP_VOLUME],
        # Each check starts an interpreter.
        "healthcheck": healthcheck("CMD", "python", "-c", FLOWER_CHECK, interval=15, timeout=10, start_period=120),
        "deploy": _single_replica(None, 0.5, 0.25),
    }


def _flower_module(spec: StackSpec) -> str:
    """Return the module that Flower imports: it reads passwords from their files, so no variable or argument contains one."""
    url = f'"amqps://stargaze_{spec.secrets.app}:" + _read("broker") + "@broker:5671/stargaze"'
    return f"""\
import pathlib
import ssl

import celery


def _read(name):
    return pathlib.Path("/run/secrets", name).read_text(encoding="ascii").strip()


_trusted = pathlib.Path("/tmp/ca.pem")
_trusted.write_text("\\n".join(map(_read, {[mount["target"] for mount in ca_mounts(spec)]!r})), encoding="ascii")
app = celery.Celery("stargaze", broker={url})
app.conf.broker_use_ssl = {{"cert_reqs": ssl.CERT_REQUIRED, "ca_certs": str(_trusted), "server_hostname": "broker"}}
basic_auth = ["stargaze:" + _read("flower")]
"""


def _prometheus(spec: StackSpec) -> dict[str, Any]:
    check = ("CMD", "wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9090/-/healthy")
    return {
        "image": local_name(spec.deploy.prometheus_image),
        "user": "nobody",
        **HARDENING,
        "configs": [_config_mount(spec, "prometheus", "/etc/prometheus/prometheus.yml")],
        "networks": [inside_network(spec)],
        "volumes": [{"type": "volume", "source": "prometheus", "target": "/prometheus"}],
        "healthcheck": healthcheck(*check, interval=5, start_period=120),  # it first reads the log of the last hours
        "deploy": _single_replica(spec.nodes[0], 0.5, 0.5),
    }


def _prometheus_config() -> str:
    """Return Prometheus's scrape configs: the brokers and itself; JSON is YAML."""
    jobs: list[dict[str, Any]] = [
        {"job_name": "rabbitmq", "dns_sd_configs": [{"names": ["tasks.broker"], "type": "A", "port": 15692}]},
        {"job_name": "prometheus", "static_configs": [{"targets": ["localhost:9090"]}]},
    ]
    return json.dumps({"global": {"scrape_interval": "15s"}, "scrape_configs": jobs}, indent=1) + "\n"


def _single_replica(node: Node | None, cpus: float, memory: float) -> dict[str, Any]:
    """Return the deploy options of a service with one replica, on the node of its data or on any node."""
    return {
        "mode": "replicated",
        "replicas": 1,
        "endpoint_mode": "dnsrr",  # connections last, and a virtual address drops those that are idle for long
        "placement": {"constraints": [f"node.hostname == {node.hostname}"] if node else PLACEMENT_CONSTRAINTS},
        **resource_limits(cpus, memory),
        **update_policy(start_first=node is None),
    }


def _tls_mounts(spec: StackSpec, service: str) -> list[dict[str, Any]]:
    names, version = (f"{service}_cert", f"{service}_key", "ca"), spec.secrets.backing
    return [secret_mount(f"stargaze_{name}_{version}", name, world_readable=True) for name in names]


def _config_mount(spec: StackSpec, kind: str, target: str) -> dict[str, Any]:
    (name,) = (name for name in config_files(spec) if name.startswith(f"stargaze_{kind}_"))
    return {"source": name, "target": target, "mode": 0o444}

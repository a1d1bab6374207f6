"""The checks of ``stargaze doctor`` for the cloud and for its machines."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_args

from stargaze import __version__
from stargaze.config import InfraSection
from stargaze.diagnostics import Check, catch_errors
from stargaze.errors import ExternalError
from stargaze.infra.hosts.host_list import read_ssh_hosts
from stargaze.infra.hosts.state_dir import StateDir
from stargaze.infra.plan.plan import Action, Plan
from stargaze.infra.plan.resources import ANYWHERE, Cloud
from stargaze.infra.provision import plan_up
from stargaze.system.ssh import SshHost

PRIVATE_PORTS = {
    6379: "Ray",
    8265: "Ray's dashboard",
    10001: "Ray's clients",
    2375: "Docker",
    2377: "the Swarm",
    5672: "RabbitMQ",
    7946: "the Swarm",
}
"""Ports that must be closed from outside."""
PORT_TIMEOUT = 3.0
"""Timeout of one connection attempt [s]."""
MAX_CLOCK_OFFSET = 2.0
"""Largest offset of a clock [s]: signatures and tokens contain times."""
MIN_FREE_DISK = 3.0
"""On a machine [GB]: an image of the page has two."""
FACTS_TIMEOUT = 60.0
ROLES = {"ray": ("development", "parameter"), "swarm": ("production",)}
"""The roles of the members of Ray and of the Swarm."""
COUNT_RAY_NODES = (
    "import sys; from ray._raylet import GcsClient; "
    "nodes = GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10); "
    "print(sum(node.state == 0 for node in nodes.values()))"
)
"""Prints the number of alive nodes of a Ray cluster; 0 is ALIVE."""
FACTS_SCRIPT = rf"""
printf '{{"free": %s, ' "$(df -k --output=avail / | tail -n 1)"
printf '"docker": "%s", ' "$(sudo -n docker version --format '{{{{.Server.Version}}}}' 2>/dev/null)"
printf '"swarm": "%s", ' "$(sudo -n docker info --format '{{{{.Swarm.LocalNodeState}}}}' 2>/dev/null)"
printf '"swarm nodes": "%s", ' "$(sudo -n docker node ls --format '{{{{.Status}}}}' 2>/dev/null | grep -c Ready)"
printf '"stargaze": "%s", ' "$(/opt/stargaze/bin/python -P -c \
  'import importlib.metadata; print(importlib.metadata.version("stargaze"))' 2>/dev/null)"
ray=$(systemctl is-active stargaze-ray 2>/dev/null)
printf '"ray": "%s", ' "$ray"
[ "$ray" = active ] && nodes=$(sudo -n sh -c \
  'set -a; . /etc/stargaze/ray.env; exec /opt/stargaze/bin/python -P -c "{COUNT_RAY_NODES}" "$RAY_ADDRESS"' 2>/dev/null)
printf '"page": "%s", ' "$(systemctl is-active haproxy 2>/dev/null)"
printf '"ray nodes": "%s", ' "$nodes"
printf '"time": %s}}\n' "$(date +%s.%N)"
"""
"""Prints the facts of a machine as one JSON object, the time last, because the other commands take seconds; changes nothing."""


def check_cloud(section: InfraSection, cloud: Cloud, state_dir: StateDir, credential: str) -> tuple[Check, ...]:
    """Check the credentials, the plan of ``infra up``, and the actual security group rules."""
    credentials = (
        Check("credentials", "ok", f"{credential}: accepted")
        if credential != "password"
        else Check(
            "credentials",
            "warning",
            "accepted, but clouds.yaml contains a password, which is not limited to this project",
            "openstack application credential create stargaze",
        )
    )

    def check() -> Iterable[Check]:
        plan = plan_up(section, cloud, state_dir)
        return (*_check_plan(plan), _check_rules(plan))

    return (credentials, *catch_errors("plan", check))


def check_machines(section: InfraSection, state_dir: StateDir) -> tuple[Check, ...]:
    """Check every machine (ssh, clock, disk, services, versions), and the ports that are open from outside."""
    hosts = read_ssh_hosts(section, state_dir)
    entry = next((host for host in hosts if host.role == "orchestration"), hosts[0])
    sizes = {name: sum(host.role in roles for host in hosts) for name, roles in ROLES.items()}
    with ThreadPoolExecutor(8) as pool:
        by_machine = pool.map(lambda host: _check_machine(host, sizes), hosts)
        ports = list(pool.map(_check_port, [entry.address] * len(PRIVATE_PORTS), PRIVATE_PORTS))
    return (*(check for checks in by_machine for check in checks), *ports)


def _check_plan(plan: Plan) -> list[Check]:
    if plan.problems:
        return [Check("plan", "error", problem.message, problem.hint) for problem in plan.problems]
    if plan.changes:
        actions = [action for action in get_args(Action) if action != "keep" and plan.count(action)]
        counts = ", ".join(f"{plan.count(action)} to {action}" for action in actions)
        return [
            Check("plan", "warning", f"image, flavor, networks and quota are available; {counts}", "stargaze infra up")
        ]
    return [Check("plan", "ok", "all resources match the config")]


def _check_rules(plan: Plan) -> Check:
    """Check that only the page is open to the internet."""
    actual = [step.actual for step in plan.steps if step.kind == "rules" and step.actual]
    rules = [(group.name, rule) for group in actual for rule in group.spec["rules"]]
    public = [(name, rule) for name, rule in rules if rule.endswith(tuple(f"from {source}" for source in ANYWHERE))]
    wrong = [f"{name}: {rule}" for name, rule in public if not name.endswith("-page")]
    if wrong:
        return Check("open to the internet", "error", "; ".join(wrong), "stargaze infra up corrects the rules")
    return Check("open to the internet", "ok", ", ".join(rule for _, rule in public) or "nothing")


def _check_machine(host: SshHost, sizes: Mapping[str, int]) -> Sequence[Check]:
    try:
        result = host.try_run("sh", "-s", stdin=FACTS_SCRIPT.encode(), seconds=FACTS_TIMEOUT)
        facts = json.loads(result.stdout.strip().splitlines()[-1])
    except (ExternalError, ValueError, IndexError):
        return [Check(f"{host.name}: ssh", "error", "login failed", "stargaze infra up")]
    return [Check(f"{host.name}: ssh", "ok", "ok"), *_check_facts(host.name, host.role, facts, time.time(), sizes)]


def _check_facts(
    name: str, role: str, facts: Mapping[str, Any], now: float, sizes: Mapping[str, int]
) -> Sequence[Check]:
    """Compare the facts of a machine with what its role needs."""
    offset, free = abs(float(facts["time"]) - now), float(facts["free"]) / 1e6
    needed = {
        "docker": role in ("development", "production"),
        "swarm": role in ROLES["swarm"],
        "ray": role in ROLES["ray"],
        "stargaze": role != "orchestration",
        "page": role == "orchestration",
    }
    expected = {"swarm": "active", "ray": "active", "stargaze": __version__, "page": "active"}
    tags = {"docker": "base", "stargaze": "ray,git"}

    def check(part: str, value: str, hint: str, *, is_ok: bool) -> Check:
        return Check(f"{name}: {part}", "ok" if is_ok else "error", value, hint)

    parts = [
        check(
            part,
            str(facts[part]) or "not found",
            f"stargaze infra configure --tags {tags.get(part, part)}",
            is_ok=bool(value) and value == expected.get(part, value),
        )
        for part in (part for part, is_needed in needed.items() if is_needed)
        for value in (str(facts[part]).partition("+")[0],)  # without the digest in the version of the wheel
    ]
    members = [
        check(
            f"{part} members",
            f"sees {facts[f'{part} nodes']} of {size}",
            f"stargaze infra status; stargaze infra configure --tags {part}",
            is_ok=int(facts[f"{part} nodes"]) >= size,
        )
        for part, size in sizes.items()
        if facts[f"{part} nodes"] not in ("", "0")  # only managers of the Swarm and members of Ray count them
    ]
    return [
        check("clock", f"{offset:.1f} s off", "stargaze infra configure --tags base", is_ok=offset < MAX_CLOCK_OFFSET),
        check(
            "disk", f"{free:.1f} GB free", "docker system prune; increase infra.min_disk", is_ok=free > MIN_FREE_DISK
        ),
        *parts,
        *members,
    ]


def _check_port(address: str, port: int) -> Check:
    """Check that a connection from here to a port fails."""
    name = f"port {port} from here"
    try:
        with socket.create_connection((address, port), PORT_TIMEOUT):
            pass
    except OSError:
        return Check(name, "ok", f"closed ({PRIVATE_PORTS[port]})")
    message = f"{address} answers: {PRIVATE_PORTS[port]} must not be reachable from outside"
    return Check(name, "error", message, "stargaze infra configure --tags base")

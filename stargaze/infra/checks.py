"""What ``stargaze doctor`` looks at in a cloud and on its machines: before they are made, and after."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stargaze import __version__
from stargaze.config import InfraSection
from stargaze.diagnostics import Check, checked
from stargaze.errors import ExternalError
from stargaze.infra.hosts.state_dir import StateDir
from stargaze.infra.plan.cloud import Cloud
from stargaze.infra.plan.desired import ANYWHERE
from stargaze.infra.plan.plan import Plan
from stargaze.infra.provision import plan_up, read_ssh_hosts
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
"""Ports that must not answer from outside."""
PORT_TIMEOUT = 3.0
"""How long a port may take to open [s]."""
LATE = 2.0
"""How far a clock may be off [s]: signatures and tokens have times."""
LEAST_FREE = 3.0
"""On a machine [GB]: an image of the page has two."""
TIME_LIMIT = 60.0
MEMBERS = (
    "import sys; from ray._raylet import GcsClient; "
    "nodes = GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10); "
    "print(sum(node.state == 0 for node in nodes.values()))"
)
"""Counts the living members of a Ray cluster; 0 is ALIVE."""
LOOK = rf"""
printf '{{"time": %s, ' "$(date +%s.%N)"
printf '"free": %s, ' "$(df -k --output=avail / | tail -n 1)"
printf '"docker": "%s", ' "$(sudo -n docker version --format '{{{{.Server.Version}}}}' 2>/dev/null)"
printf '"swarm": "%s", ' "$(sudo -n docker info --format '{{{{.Swarm.LocalNodeState}}}}' 2>/dev/null)"
printf '"swarm nodes": "%s", ' "$(sudo -n docker node ls --format '{{{{.Status}}}}' 2>/dev/null | grep -c Ready)"
printf '"stargaze": "%s", ' "$(/opt/stargaze/bin/python -P -c \
  'import importlib.metadata; print(importlib.metadata.version("stargaze"))' 2>/dev/null)"
ray=$(systemctl is-active stargaze-ray 2>/dev/null)
printf '"ray": "%s", ' "$ray"
[ "$ray" = active ] && members=$(sudo -n sh -c \
  'set -a; . /etc/stargaze/ray.env; exec /opt/stargaze/bin/python -P -c "{MEMBERS}" "$RAY_ADDRESS"' 2>/dev/null)
printf '"page": "%s", ' "$(systemctl is-active haproxy 2>/dev/null)"
printf '"ray nodes": "%s"}}\n' "$members"
"""
"""What is asked of a machine, in one go; everything here is read, nothing changed."""


def check_cloud(section: InfraSection, cloud: Cloud, state_dir: StateDir, credential: str) -> tuple[Check, ...]:
    """Check what can be had, and the rules as the cloud tells them."""
    kind = (
        Check("credentials", "well", f"{credential}: accepted")
        if credential != "password"
        else Check(
            "credentials",
            "warning",
            "accepted, but clouds.yaml holds a password, which opens more than this project",
            "openstack application credential create stargaze",
        )
    )
    return (kind, *checked("plan", lambda: _of_what_stands(plan_up(section, cloud, state_dir))))


def check_machines(section: InfraSection, state_dir: StateDir) -> tuple[Check, ...]:
    """Check every machine that was brought up: whether it lets us in, its clock, disk and versions, and what is open."""
    machines = read_ssh_hosts(section, state_dir)
    outside = next((one for one in machines if one.role == "orchestration"), machines[0])
    with ThreadPoolExecutor(8) as pool:
        inside = pool.map(lambda one: _of_machine(one, sizes_of(machines)), machines)
        doors = list(pool.map(_check_port, [outside.address] * len(PRIVATE_PORTS), PRIVATE_PORTS))
    return (*(check for checks in inside for check in checks), *doors)


def _of_what_stands(todo: Plan) -> Iterable[Check]:
    return (*_of_plan(todo), _rules(todo))


def _of_plan(todo: Plan) -> Iterable[Check]:
    if todo.missing:
        return [Check("plan", "ill", one.what, one.hint) for one in todo.missing]
    if todo.changes:
        words = ", ".join(
            f"{todo.count(verb)} to {verb}" for verb in ("create", "repair", "replace", "delete") if todo.count(verb)
        )
        return [Check("plan", "warning", f"image, flavor, networks and quota are there; {words}", "stargaze infra up")]
    return [Check("plan", "well", "all stands as the config asks for")]


def _rules(todo: Plan) -> Check:
    """Read the rules back: what the whole world may reach is the page, and nothing else."""
    stands = [step.found for step in todo.steps if step.kind == "rules" and step.found]
    found = [(one.name, rule) for one in stands for rule in one.spec["rules"]]
    wide = [(name, rule) for name, rule in found if rule.endswith(tuple(f"from {anywhere}" for anywhere in ANYWHERE))]
    wrong = [f"{name}: {rule}" for name, rule in wide if not name.endswith("-page")]
    if wrong:
        return Check("open to the world", "ill", "; ".join(wrong), "stargaze infra up puts the rules right")
    return Check("open to the world", "well", ", ".join(rule for _, rule in wide) or "nothing")


def sizes_of(machines: Iterable[SshHost]) -> Mapping[str, int]:
    """Return how many members Ray and the Swarm should have."""
    roles = [machine.role for machine in machines]
    return {name: sum(role in of for role in roles) for name, of in MEMBERS_OF.items()}


MEMBERS_OF = {"ray": ("development", "parameter"), "swarm": ("production",)}


def _of_machine(machine: SshHost, sizes: Mapping[str, int]) -> Sequence[Check]:
    name = machine.name
    try:
        done = machine.ask("sh", "-s", stdin=LOOK.encode(), seconds=TIME_LIMIT)
        told = json.loads(done.stdout.strip().splitlines()[-1])
    except (ExternalError, ValueError, IndexError):
        return [Check(f"{name}: ssh", "ill", "does not let us in", "stargaze infra up")]
    return [Check(f"{name}: ssh", "well", "lets us in"), *_check_facts(name, machine.role, told, time.time(), sizes)]


def _check_facts(
    name: str, role: str, told: Mapping[str, Any], now: float, sizes: Mapping[str, int]
) -> Sequence[Check]:
    """Judge what a machine said of itself."""
    off, free = abs(float(told["time"]) - now), float(told["free"]) / 1e6
    needs = {
        "docker": role in ("development", "production"),
        "swarm": role in MEMBERS_OF["swarm"],
        "ray": role in MEMBERS_OF["ray"],
        "stargaze": role != "orchestration",
        "page": role == "orchestration",
    }
    good = {"swarm": "active", "ray": "active", "stargaze": __version__, "page": "active"}
    tags = {"docker": "base", "stargaze": "ray,git"}
    parts = [
        Check(
            f"{name}: {part}",
            "well" if seen and seen == good.get(part, seen) else "ill",
            str(told[part]) or "is not there",
            f"stargaze infra configure --tags {tags.get(part, part)}",
        )
        for part in (part for part, needed in needs.items() if needed)
        for seen in (str(told[part]).partition("+")[0],)  # a wheel's version has the wheel's digest behind it
    ]
    return [
        Check(
            f"{name}: clock",
            "well" if off < LATE else "ill",
            f"{off:.1f} s off",
            "stargaze infra configure --tags base",
        ),
        Check(
            f"{name}: disk",
            "well" if free > LEAST_FREE else "ill",
            f"{free:.1f} GB free",
            "sudo docker system prune; a larger infra.disk",
        ),
        *parts,
        *_members(name, told, sizes),
    ]


def _members(name: str, told: Mapping[str, Any], sizes: Mapping[str, int]) -> Sequence[Check]:
    """Judge what those see who know all members: a Swarm's managers, and whoever is in Ray."""
    return [
        Check(
            f"{name}: {part} members",
            "well" if int(told[f"{part} nodes"]) >= size else "ill",
            f"sees {told[f'{part} nodes']} of {size}",
            f"stargaze infra status; stargaze infra configure --tags {part}",
        )
        for part, size in sizes.items()
        if told[f"{part} nodes"] not in ("", "0")
    ]


def _check_port(address: str, port: int) -> Check:
    """Knock at a port from here."""
    try:
        with socket.create_connection((address, port), PORT_TIMEOUT):
            pass
    except OSError:
        return Check(f"port {port} from here", "well", f"closed ({PRIVATE_PORTS[port]})")
    return Check(
        f"port {port} from here",
        "ill",
        f"{address} answers: {PRIVATE_PORTS[port]} must not face outside",
        "stargaze infra configure --tags base",
    )

"""What ``stargaze doctor`` looks at in a cloud and on its machines: before they are made, and after."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from stargaze.checks import Check, checked
from stargaze.config import InfraSection
from stargaze.infra.cluster import access_of, hosts_of, look
from stargaze.infra.inventory import Access, ssh
from stargaze.infra.machines import Host, jump_of
from stargaze.infra.plan import Plan
from stargaze.infra.port import Cloud
from stargaze.infra.wanted import ANYWHERE
from stargaze.infra.workroom import Workroom

CLOSED = {
    6379: "Ray",
    8265: "Ray's dashboard",
    10001: "Ray's clients",
    2375: "Docker",
    2377: "the Swarm",
    5672: "RabbitMQ",
    7946: "the Swarm",
}
"""Ports that must not answer from outside."""
DOOR = 3.0
"""How long a port may take to open [s]."""
LATE = 2.0
"""How far a clock may be off [s]: signatures and tokens have times."""
LEAST_FREE = 3.0
"""On a machine [GB]: an image of the page has two."""
TIME_LIMIT = 60
LOOK = r"""
printf '{"time": %s, ' "$(date +%s.%N)"
printf '"free": %s, ' "$(df -k --output=avail / | tail -n 1)"
printf '"docker": "%s", ' "$(sudo -n docker version --format '{{.Server.Version}}' 2>/dev/null)"
printf '"swarm": "%s", ' "$(sudo -n docker info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null)"
printf '"ray": "%s", ' "$(systemctl is-active stargaze-ray 2>/dev/null)"
printf '"page": "%s"}\n' "$(systemctl is-active haproxy 2>/dev/null)"
"""
"""What is asked of a machine, in one go; everything here is read, nothing changed."""


def of_the_cloud(section: InfraSection, cloud: Cloud, room: Workroom, credential: str) -> tuple[Check, ...]:
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
    return (
        kind,
        *checked("plan", lambda: _of_plan(look(section, cloud, room))),
        *checked("open to the world", lambda: _rules(cloud)),
    )


def of_the_machines(section: InfraSection, room: Workroom) -> tuple[Check, ...]:
    """Check every machine that was brought up: whether it lets us in, its clock, disk and versions, and what is open."""
    hosts, access = hosts_of(section, room), access_of(section, room)
    jump = jump_of(hosts)
    with ThreadPoolExecutor(8) as pool:
        inside = pool.map(lambda host: _of_machine(host, jump, access), hosts)
        doors = list(pool.map(_door, [(jump or hosts[0]).address] * len(CLOSED), CLOSED))
    return (*(check for checks in inside for check in checks), *doors)


def _of_plan(todo: Plan) -> Iterable[Check]:
    if todo.missing:
        return [Check("plan", "ill", one.what, one.hint) for one in todo.missing]
    if todo.changes:
        words = ", ".join(
            f"{todo.count(verb)} to {verb}" for verb in ("create", "repair", "replace", "delete") if todo.count(verb)
        )
        return [Check("plan", "warning", f"image, flavor, networks and quota are there; {words}", "stargaze infra up")]
    return [Check("plan", "well", "all stands as the config asks for")]


def _rules(cloud: Cloud) -> Iterable[Check]:
    """Read the rules back: what the whole world may reach is the page, and nothing else."""
    found = [(one.name, rule) for one in cloud.found() if one.kind == "rules" for rule in one.spec["rules"]]
    wide = [(name, rule) for name, rule in found if rule.endswith(tuple(f"from {anywhere}" for anywhere in ANYWHERE))]
    wrong = [f"{name}: {rule}" for name, rule in wide if not name.endswith("-page")]
    if wrong:
        return [Check("open to the world", "ill", "; ".join(wrong), "stargaze infra up puts the rules right")]
    return [Check("open to the world", "well", ", ".join(rule for _, rule in wide) or "nothing")]


def _of_machine(host: Host, jump: Host | None, access: Access) -> Sequence[Check]:
    name = host.machine.name
    try:
        done = subprocess.run(
            [*ssh(host, jump, access), "sh", "-s"],
            input=LOOK,
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            check=False,
        )
        told = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        return [Check(f"{name}: ssh", "ill", "does not let us in", "stargaze infra up")]
    return [Check(f"{name}: ssh", "well", "lets us in"), *_told(name, host.machine.role, told, time.time())]


def _told(name: str, role: str, told: Mapping[str, Any], now: float) -> Sequence[Check]:
    """Judge what a machine said of itself."""
    off, free = abs(float(told["time"]) - now), float(told["free"]) / 1e6
    configure = "stargaze infra configure"
    needs = {
        "docker": role in ("development", "production"),
        "swarm": role == "production",
        "ray": role in ("development", "parameter"),
        "page": role == "orchestration",
    }
    good = {"swarm": ("active",), "ray": ("active",), "page": ("active",)}
    parts = [
        Check(f"{name}: {part}", "well", str(told[part]))
        if told[part] and (part not in good or told[part] in good[part])
        else Check(
            f"{name}: {part}",
            "ill",
            str(told[part]) or "is not there",
            f"{configure} --tags {'base' if part == 'docker' else part}",
        )
        for part, needed in needs.items()
        if needed
    ]
    return [
        Check(f"{name}: clock", "well" if off < LATE else "ill", f"{off:.1f} s off", f"{configure} --tags base"),
        Check(
            f"{name}: disk",
            "well" if free > LEAST_FREE else "ill",
            f"{free:.1f} GB free",
            "sudo docker system prune; a larger infra.disk",
        ),
        *parts,
    ]


def _door(address: str, port: int) -> Check:
    """Knock at a port from here."""
    try:
        with socket.create_connection((address, port), DOOR):
            pass
    except OSError:
        return Check(f"port {port} from here", "well", f"closed ({CLOSED[port]})")
    return Check(
        f"port {port} from here",
        "ill",
        f"{address} answers: {CLOSED[port]} must not face outside",
        "stargaze infra configure --tags base",
    )

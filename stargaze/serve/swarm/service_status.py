"""Does what runs agree with what was sent? Pure functions on what Docker answers, which say the truth of every service."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.serve.stack.compose import MARK, PART, mark_of
from stargaze.serve.stack.service_options import NAME
from stargaze.serve.swarm.docker import Seen, State

Json = Mapping[str, Any]
STOPPED = ("paused", "rollback_paused")
OLD_LOGS = 5
"""Tasks that ended, newest first, among which a reason is looked for."""


@dataclass(frozen=True)
class Service:
    """How one service is: how many of its tasks run as they should, of how many, and what is in the way."""

    name: str
    running: int
    wanted: int
    image: str
    state: str
    """``well``, ``changing`` or ``failed``."""
    why: str = ""
    nodes: tuple[str, ...] = ()


def service_status(state: State, whole: Json | None) -> list[Service]:
    """Return how each service is, beside a stack that it should be (None: as it is defined now)."""
    services, tasks, nodes = state.services, state.tasks, state.nodes
    names = {node["ID"]: str(node["Description"]["Hostname"]) for node in nodes}
    up = [node["ID"] for node in nodes if node["Status"]["State"] == "ready"]
    ready = [node["ID"] for node in nodes if node["ID"] in up and _is_production(node)]
    tasks = [
        task for task in tasks if task.get("NodeID") in (None, "", *up)
    ]  # of a lost node Swarm says what it knew last
    found = {str(service["Spec"]["Name"]).removeprefix(f"{NAME}_"): service for service in services}
    wanted = whole["services"] if whole else found
    return [_service(name, found.get(name), tasks, names, ready, whole) for name in wanted]


def is_as_sent(services: Sequence[Json], whole: Json) -> bool:
    """Notify whether every service was made from this stack and has as many replicas: then there is nothing to send.

    One at which Swarm gave up wants to be sent again, though it may run: Swarm changes nothing more of it until then.
    """
    mine = {str(service["Spec"]["Name"]).removeprefix(f"{NAME}_"): service for service in services}
    return set(mine) == set(whole["services"]) and all(
        service["Spec"]["Labels"].get(MARK) == mark_of(whole)
        and _label(service["Spec"]["TaskTemplate"]) == whole["services"][name]["labels"][PART]
        and _replicas(service) == whole["services"][name]["deploy"].get("replicas")
        and (service.get("UpdateStatus") or {}).get("State") not in STOPPED
        for name, service in mine.items()
    )


def replicas_of(services: Sequence[Json]) -> dict[str, int]:
    """Return how many replicas each service has that has a number of them."""
    numbers = {str(one["Spec"]["Name"]).removeprefix(f"{NAME}_"): _replicas(one) for one in services}
    return {name: number for name, number in numbers.items() if number is not None}


def node_mismatches(seen: Seen, digest: str) -> list[str]:
    """Return what is not as it should be on one machine: what is installed, what runs, what answers."""
    found = []
    if seen.installed != digest:
        found.append(f"{seen.installed[:12] or 'no release'} is installed")
    for container in seen.containers:
        if container.service in ("web", "worker"):
            if not container.as_sent:
                found.append(f"a {container.service} runs another image")
            if not container.serves or set(container.serves) != {digest}:
                other = ", ".join(sorted({one[:12] for one in container.serves or ()})) or "nothing yet"
                found.append(f"a {container.service} answers with {other}")
    status, _, body = seen.page.partition(" ")
    if status != "200":
        found.append(f"its page says {status or 'nothing'}" + (f": {_message(body)}" if body else ""))
    elif _bundle(body) != digest:
        found.append("its page shows another release")
    return [f"{seen.name}: {what}" for what in found]


def _service(
    name: str,
    service: Json | None,
    tasks: Sequence[Json],
    names: Mapping[str, str],
    ready: Sequence[str],
    whole: Json | None,
) -> Service:
    if service is None or (whole and name not in whole["services"]):
        return Service(name, 0, 1, "", "failed", "it is not there")
    template = service["Spec"]["TaskTemplate"]
    image = str(template["ContainerSpec"]["Image"])
    part = whole["services"][name]["labels"][PART] if whole else _label(template)
    own = [task for task in tasks if task["ServiceID"] == service["ID"]]
    living = [
        task for task in own if task["DesiredState"] in ("running", "ready") or task["Status"]["State"] == "running"
    ]
    as_sent = [
        task
        for task in living
        if task["Status"]["State"] == "running" and task["DesiredState"] == "running" and _label(task["Spec"]) == part
    ]
    replicas = _replicas(service)
    wanted = len(ready) if replicas is None else replicas
    update = service.get("UpdateStatus") or {}
    where = tuple(sorted({names.get(str(task.get("NodeID")), "?") for task in as_sent}))
    if whole and _label(template) != part:
        why = f"Swarm went back to what ran before: {_reason(own) or update.get('Message', 'it was not well')}"
        return Service(name, len(as_sent), wanted, image, "failed", why, where)
    if update.get("State") in STOPPED:
        return Service(
            name, len(as_sent), wanted, image, "failed", _reason(own) or str(update.get("Message", "")), where
        )
    at_work = update.get("State") in ("updating", "rollback_started") or len(living) != len(as_sent)
    if len(as_sent) == wanted and not at_work:
        return Service(name, wanted, wanted, image, "well", "", where)
    return Service(name, len(as_sent), wanted, image, "changing", _reason(own), where)


def _is_production(node: Json) -> bool:
    spec = node["Spec"]
    return spec.get("Availability") == "active" and (spec.get("Labels") or {}).get("stargaze.role") == "production"


def _replicas(service: Json) -> int | None:
    """Return how many there shall be; None for one a node."""
    replicated = service["Spec"]["Mode"].get("Replicated")
    return int(replicated["Replicas"]) if replicated else None


def _label(template: Json) -> str:
    return str((template["ContainerSpec"].get("Labels") or {}).get(PART, ""))


def _reason(tasks: Sequence[Json]) -> str:
    """Return why the newest task that ended did so, or why one waits."""
    newest = sorted(tasks, key=lambda task: str(task["Status"]["Timestamp"]), reverse=True)[:OLD_LOGS]
    said = (str(task["Status"].get("Err", "")) for task in newest if task["Status"]["State"] != "running")
    return next(filter(None, said), "")


def _bundle(body: str) -> str:
    try:
        return str(json.loads(body)["bundle"])
    except (ValueError, KeyError, TypeError):
        return ""  # somebody else's page


def _message(body: str) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:100]

"""Compare the running services with the desired ones. Pure functions on Docker's output."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.serve.release.release_folder import short_name, split_release_name
from stargaze.serve.stack.compose import SERVICE_LABEL, STACK_LABEL, stack_digest
from stargaze.serve.stack.service_options import STACK_NAME
from stargaze.serve.swarm.docker import NodeStatus, SwarmState

Json = Mapping[str, Any]
PAUSED_STATES = ("paused", "rollback_paused")
"""Update states in which Swarm has given up."""
UPDATING_STATES = ("updating", "rollback_started")
"""Update states in which Swarm still replaces tasks."""
RECENT_TASKS = 5
"""Newest tasks that are searched for the reason of a failure."""


@dataclass(frozen=True)
class ServiceStatus:
    """The number of tasks of a service that run with the desired definition, and the reason if not all do."""

    name: str
    running: int
    desired: int
    image: str
    state: str
    """``ok``, ``updating`` or ``failed``."""
    reason: str = ""
    nodes: tuple[str, ...] = ()
    has_surplus_task: bool = False
    """Whether a further task waits although all desired ones run and no update is in progress: it would wait forever."""


@dataclass(frozen=True)
class ServiceChange:
    """The effect of deploying a stack on a service: create, update, delete or keep it."""

    name: str
    action: str
    reason: str
    running_label: str = ""
    """The digest of the definition that runs."""
    has_new_settings: bool = False


def service_status(state: SwarmState, stack: Json | None) -> list[ServiceStatus]:
    """Return the status of each service of a stack; without one, of each running service with its own definition."""
    hostnames = {node["ID"]: str(node["Description"]["Hostname"]) for node in state.nodes}
    up = [node["ID"] for node in state.nodes if node["Status"]["State"] == "ready"]
    available = [node["ID"] for node in state.nodes if node["ID"] in up and _is_available(node)]
    # Swarm shows the last known state of tasks on a lost node.
    tasks = [task for task in state.tasks if task.get("NodeID") in (None, "", *up)]
    services = _by_name(state.services)
    names = stack["services"] if stack else services
    return [_status(name, services.get(name), tasks, hostnames, len(available), stack) for name in names]


def service_changes(services: Sequence[Json], stack: Json) -> list[ServiceChange]:
    """Return what deploying a stack would do to each of its services and to other services of the stack's name."""
    running = _by_name(services)
    changes = [_change(name, running.get(name), stack) for name in stack["services"]]
    removed = [name for name in running if name not in stack["services"]]
    return changes + [ServiceChange(name, "delete", "not in the config") for name in removed]


def stack_is_deployed(services: Sequence[Json], stack: Json) -> bool:
    """Return whether every service has the definition and the replicas of a stack, and no update is paused."""
    return all(change.action == "keep" for change in service_changes(services, stack))


def replica_counts(services: Sequence[Json]) -> dict[str, int]:
    """Return the number of replicas of each service that is not global."""
    counts = {name: _replicas(service) for name, service in _by_name(services).items()}
    return {name: count for name, count in counts.items() if count is not None}


def node_mismatches(status: NodeStatus, release: str) -> list[str]:
    """Return the differences between a node and a release of this name: what is installed, containers, page."""
    mismatches = []
    if status.installed_release != release:
        mismatches.append(f"{short_name(status.installed_release) or 'no release'} is installed")
    for container in status.containers:
        if container.service in ("web", "worker"):
            if not container.has_expected_image:
                mismatches.append(f"a {container.service} container has another image")
            if not container.releases or set(container.releases) != {release}:
                others = ", ".join(sorted(map(short_name, set(container.releases or ())))) or "no release yet"
                mismatches.append(f"a {container.service} container serves {others}")
    if mismatch := page_mismatch(status.page_response, release):
        mismatches.append(f"its page {mismatch}")
    return [f"{status.name}: {mismatch}" for mismatch in mismatches]


def page_mismatch(response: str, release: str) -> str:
    """Return why a response (status and body of ``/readyz``) is not that of a page with this release; empty if it is.

    The page names its star bundle and its growth bundle; one of an earlier version does not name the latter.
    """
    code, _, body = response.partition(" ")
    if code != "200":
        message = f": {page_value(body, 'detail', default=body[:100])}" if body else ""
        return f"returns {code or 'no response'}{message}"
    digest, growth_digest = split_release_name(release)
    shown_growth = page_value(body, "growth_digest", default=str(growth_digest))
    is_shown = page_value(body, "bundle", default="") == digest and shown_growth == str(growth_digest)
    return "" if is_shown else "shows another release"


def page_value(body: str, name: str, *, default: str) -> str:
    """Return a value of the page's JSON response, for example the detail of a problem; the default if it has none."""
    try:
        return str(json.loads(body)[name])
    except (ValueError, KeyError, TypeError):
        return default


def _status(
    name: str,
    service: Json | None,
    tasks: Sequence[Json],
    hostnames: Mapping[str, str],
    available_nodes: int,
    stack: Json | None,
) -> ServiceStatus:
    if service is None:
        return ServiceStatus(name, 0, 1, "", "failed", "the service does not exist")
    template = service["Spec"]["TaskTemplate"]
    label = stack["services"][name]["labels"][SERVICE_LABEL] if stack else _label(template)
    tasks = [task for task in tasks if task["ServiceID"] == service["ID"]]
    running = [task for task in tasks if task["Status"]["State"] == "running"]
    alive = [task for task in tasks if task["DesiredState"] in ("running", "ready") or task in running]
    current = [task for task in running if task["DesiredState"] == "running" and _label(task["Spec"]) == label]
    replicas = _replicas(service)
    desired = available_nodes if replicas is None else replicas
    update = service.get("UpdateStatus") or {}
    is_changing = update.get("State") in UPDATING_STATES
    is_waiting = any(task["Status"]["State"] == "pending" for task in alive)
    has_surplus_task = is_waiting and len(current) == desired and not is_changing
    reason = _failure_reason(tasks)
    if stack and _label(template) != label:
        state = "failed"
        reason = f"Swarm rolled back to the previous definition: {reason or update.get('Message', 'it was unhealthy')}"
    elif update.get("State") in PAUSED_STATES:
        state, reason = "failed", reason or str(update.get("Message", ""))
    elif len(current) != desired or len(alive) != desired or is_changing:
        state = "updating"
    else:
        state, reason = "ok", ""
    nodes = tuple(sorted({hostnames.get(str(task.get("NodeID")), "?") for task in current}))
    image = str(template["ContainerSpec"]["Image"])
    return ServiceStatus(name, len(current), desired, image, state, reason, nodes, has_surplus_task)


def _change(name: str, service: Json | None, stack: Json) -> ServiceChange:
    desired = stack["services"][name]
    if service is None:
        return ServiceChange(name, "create", "it does not exist")
    label = _label(service["Spec"]["TaskTemplate"])
    if label != desired["labels"][SERVICE_LABEL]:
        return ServiceChange(name, "update", "its settings differ", label, has_new_settings=True)
    replicas, new_replicas = _replicas(service), desired["deploy"].get("replicas")
    if replicas != new_replicas:
        return ServiceChange(name, "update", f"replicas {replicas} -> {new_replicas}", label)
    if (service.get("UpdateStatus") or {}).get("State") in PAUSED_STATES:
        # It may run, but Swarm does not update it again before it is deployed again.
        return ServiceChange(name, "update", "its last update was paused", label)
    if service["Spec"]["Labels"].get(STACK_LABEL) != stack_digest(stack):
        return ServiceChange(name, "update", "other parts of the stack differ; its containers stay", label)
    return ServiceChange(name, "keep", "up to date", label)


def _by_name(services: Sequence[Json]) -> dict[str, Json]:
    return {str(service["Spec"]["Name"]).removeprefix(f"{STACK_NAME}_"): service for service in services}


def _is_available(node: Json) -> bool:
    spec = node["Spec"]
    return spec.get("Availability") == "active" and (spec.get("Labels") or {}).get("stargaze.role") == "production"


def _replicas(service: Json) -> int | None:
    """Return the desired number of replicas; None for a global service."""
    replicated = service["Spec"]["Mode"].get("Replicated")
    return int(replicated["Replicas"]) if replicated else None


def _label(template: Json) -> str:
    return str((template["ContainerSpec"].get("Labels") or {}).get(SERVICE_LABEL, ""))


def _failure_reason(tasks: Sequence[Json]) -> str:
    """Return why the newest task with an error ended, or why one is waiting."""
    newest = sorted(tasks, key=lambda task: str(task["Status"]["Timestamp"]), reverse=True)[:RECENT_TASKS]
    errors = (str(task["Status"].get("Err", "")) for task in newest if task["Status"]["State"] != "running")
    return next(filter(None, errors), "")

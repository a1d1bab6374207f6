"""Apply a plan: independent steps run in parallel; their failures are collected and raised together."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter

from stargaze.errors import ExternalError, StargazeError
from stargaze.infra.plan.plan import Plan, Step
from stargaze.infra.plan.resources import DEPENDS_ON, FAILED_STATES, ActualResource, Cloud, Kind, preference
from stargaze.system.progress import Notify, SetRow

MAX_PARALLEL = 8
"""Maximum number of concurrent calls; more would reach the rate limits of clouds."""
POLL_INTERVAL = 1.0
"""Time between two requests for the state of the servers [s]."""
DELETED_LAST: Kind = "security group"
"""Kinds that are deleted after all updates: an update may detach a port from them."""


def apply_plan(plan: Plan, cloud: Cloud, set_row: SetRow) -> Mapping[str, ActualResource]:
    """Apply all steps; return the resulting resources by key.

    If a step fails, only the steps that depend on it are skipped; nothing is undone, and one error names all failures.
    """
    deleted = [step for step in plan.changes if step.action == "delete"]
    _apply_deletions([step for step in deleted if step.kind != DELETED_LAST], cloud, set_row)
    others = {step.key: step for step in plan.steps if step.action != "delete"}
    order = {key: step.desired.depends_on if step.desired else () for key, step in others.items()}
    resources = _apply_in_order(others, order, cloud, set_row)
    _apply_deletions([step for step in deleted if step.kind == DELETED_LAST], cloud, set_row)
    return resources


def wait_until_active(
    names: Iterable[str], cloud: Cloud, timeout: float, notify: Notify
) -> Mapping[str, ActualResource]:
    """Wait until servers are active, polling all with one call; return all servers by name."""
    deadline, pending = time.monotonic() + timeout, set(names)
    while True:
        # Of duplicates the preferred one comes last and wins.
        servers = {server.name: server for server in sorted(cloud.servers(), key=preference, reverse=True)}
        active = {name for name in pending if name in servers and servers[name].state == "ACTIVE"}
        for name in sorted(active):
            notify(f"{name} is active")
        pending -= active
        known = [servers[name] for name in sorted(pending) if name in servers]
        failed = [server for server in known if server.state in FAILED_STATES]
        if failed:
            states = (f"{server.name} is in {server.state}{server.fault and f': {server.fault}'}" for server in failed)
            hint = "stargaze infra up replaces it; choose another flavor if no valid host was found"
            raise ExternalError("; ".join(states), hint=hint)
        if not pending:
            return servers
        if time.monotonic() > deadline:
            hint = "run stargaze infra up again to keep waiting, or increase infra.timeout"
            raise ExternalError(f"not active after {timeout:g} s: {', '.join(sorted(pending))}", hint=hint)
        time.sleep(POLL_INTERVAL)


def _apply_deletions(steps: Sequence[Step], cloud: Cloud, set_row: SetRow) -> None:
    """Delete each resource after all that depend on its kind."""
    order = {
        _unique_key(step): [_unique_key(other) for other in steps if step.kind in _all_dependencies(other.kind)]
        for step in steps
    }
    _apply_in_order({_unique_key(step): step for step in steps}, order, cloud, set_row)


def _unique_key(step: Step) -> str:
    """Return the key of a resource to delete, with its id: there may be duplicates."""
    return step.key + (step.actual.id if step.actual else "")


def _all_dependencies(kind: str) -> set[str]:
    direct = DEPENDS_ON[kind]  # type: ignore[index]  # the kind of a step is that of a resource
    return {*direct, *(indirect for dependency in direct for indirect in _all_dependencies(dependency))}


def _apply_in_order(
    steps: Mapping[str, Step], order: Mapping[str, Iterable[str]], cloud: Cloud, set_row: SetRow
) -> dict[str, ActualResource]:
    """Apply each step as soon as all its dependencies are applied; skip it if one of them failed."""
    sorter = TopologicalSorter({key: [need for need in needs if need in steps] for key, needs in order.items()})
    sorter.prepare()
    resources: dict[str, ActualResource] = {}
    failures: dict[str, StargazeError] = {}
    skipped: set[str] = set()
    running: dict[Future[ActualResource | StargazeError | None], str] = {}
    with ThreadPoolExecutor(MAX_PARALLEL) as pool:
        while sorter.is_active():
            for key in sorter.get_ready():
                if any(need in failures or need in skipped for need in order[key]):
                    skipped.add(key)
                    sorter.done(key)
                else:
                    running[pool.submit(_apply_step, steps[key], cloud, dict(resources), set_row)] = key
            if not running:
                continue
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                key, result = running.pop(future), future.result()
                if isinstance(result, StargazeError):
                    failures[key] = result
                elif result is not None:
                    resources[key] = result
                sorter.done(key)
    if failures:
        raise _combine(list(failures.values()), len(skipped))
    return resources


def _apply_step(
    step: Step, cloud: Cloud, resources: Mapping[str, ActualResource], set_row: SetRow
) -> ActualResource | StargazeError | None:
    """Return the resulting resource, None after a deletion, or the error."""
    if step.action == "keep":
        return step.actual
    started, row = time.monotonic(), f"{step.action} {step.key}"
    set_row(row, "running", "")
    try:
        resource = _call_cloud(step, cloud, {key: resource.id for key, resource in resources.items()})
    except StargazeError as error:
        set_row(row, "failed", error.message)
        return error
    set_row(row, "done", f"{time.monotonic() - started:.1f} s")
    return resource


def _call_cloud(step: Step, cloud: Cloud, ids: Mapping[str, str]) -> ActualResource | None:
    if step.action in ("delete", "replace") and step.actual:
        cloud.delete(step.actual)
    if step.desired is None:
        return None
    if step.action == "update" and step.actual:
        return cloud.update(step.desired, step.actual, ids)
    return cloud.create(step.desired, ids)


def _combine(failures: Sequence[StargazeError], skipped: int) -> StargazeError:
    """Merge failures into one error, which keeps the class of an error about credentials."""
    message = "; ".join(dict.fromkeys(error.message for error in failures))
    if skipped:
        message += f" ({skipped} dependent steps were skipped)"
    hint = next((error.hint for error in failures if error.hint), "run stargaze infra up again to continue")
    kind = next((type(error) for error in failures if error.exit_code == 4), ExternalError)
    return kind(message, hint=hint)

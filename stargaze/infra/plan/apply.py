"""Carrying out a plan: what does not wait for another is done side by side; what went wrong is told together, at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter
from typing import Literal

from stargaze.errors import ExternalError, StargazeError
from stargaze.infra.plan.cloud import Cloud
from stargaze.infra.plan.plan import Plan, Step
from stargaze.infra.plan.resources import BROKEN, NEEDS, ActualResource, Kind, preference

AT_ONCE = 8
"""Calls at the same time; more would meet the limits that clouds set."""
LOOK = 1.0
"""How often it is asked whether the machines are up [s]."""
LAST: Kind = "security group"
"""What goes after all is repaired: a port that stays may only be about to leave it."""
State = Literal["begun", "done", "failed"]
Tell = Callable[[Step, State, str], None]


def apply_plan(plan: Plan, cloud: Cloud, tell: Tell) -> Mapping[str, ActualResource]:
    """Do all steps; return what stands afterwards, by key.

    Raises
    ------
    ExternalError
        If some steps failed: all others are done that did not need them, and nothing is taken back.
    """
    gone = [step for step in plan.changes if step.verb == "delete"]
    _delete([step for step in gone if step.kind != LAST], cloud, tell)
    kept = [step for step in plan.steps if step.verb != "delete"]
    order = {step.key: step.resource.needs if step.resource else () for step in kept}
    stands = _in_order({step.key: step for step in kept}, order, cloud, tell)
    _delete([step for step in gone if step.kind == LAST], cloud, tell)
    return stands


def wait_until_active(
    names: Iterable[str], cloud: Cloud, patience: float, tell: Callable[[str], None]
) -> Mapping[str, ActualResource]:
    """Wait until all these machines are up: one call asks for all of them.

    Raises
    ------
    ExternalError
        If one broke, or was not up within ``patience`` [s].
    """
    limit, pending = time.monotonic() + patience, set(names)
    while True:
        seen = {
            one.name: one for one in sorted(cloud.servers(), key=preference, reverse=True)
        }  # of two, the better one
        up = {name for name in pending if name in seen and seen[name].state == "ACTIVE"}
        for name in sorted(up):
            tell(name)
        pending -= up
        broken = [seen[name] for name in sorted(pending) if name in seen and seen[name].state in BROKEN]
        if broken:
            said = "; ".join(f"{one.name} is in {one.state}{one.fault and f': {one.fault}'}" for one in broken)
            raise ExternalError(
                said, hint="stargaze infra up makes it anew; ask for another flavor if no host is valid"
            )
        if not pending:
            return seen
        if time.monotonic() > limit:
            names_left = ", ".join(sorted(pending))
            raise ExternalError(
                f"not up after {patience:g} s: {names_left}",
                hint="stargaze infra up waits on; infra.patience is longer",
            )
        time.sleep(LOOK)


def _delete(gone: Sequence[Step], cloud: Cloud, tell: Tell) -> None:
    _in_order({_one(step): step for step in gone}, _backwards(gone), cloud, tell)


def _backwards(gone: Sequence[Step]) -> Mapping[str, tuple[str, ...]]:
    """Report what must be gone before what: all that needs a thing of a kind goes before things of that kind."""
    return {_one(step): tuple(_one(other) for other in gone if step.kind in _all_needs(other.kind)) for step in gone}


def _one(step: Step) -> str:
    """Name a thing that goes: there may be two of one key."""
    return step.key + (step.found.id if step.found else "")


def _all_needs(kind: str) -> set[str]:
    direct = NEEDS[kind]  # type: ignore[index]  # a step's kind is one of a resource
    return {*direct, *(deeper for one in direct for deeper in _all_needs(one))}


def _in_order(
    steps: Mapping[str, Step], order: Mapping[str, Iterable[str]], cloud: Cloud, tell: Tell
) -> dict[str, ActualResource]:
    sorter = TopologicalSorter({key: [need for need in needs if need in steps] for key, needs in order.items()})
    sorter.prepare()
    stands: dict[str, ActualResource] = {}
    failures: dict[str, StargazeError] = {}
    running: dict[Future[ActualResource | None], str] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while sorter.is_active():
            for key in sorter.get_ready():
                if lacking := [need for need in order[key] if need in failures]:
                    failures[key] = ExternalError(f"{key} waits for {lacking[0]}")
                    sorter.done(key)
                else:
                    running[pool.submit(_do, steps[key], cloud, dict(stands), tell)] = key
            if not running:
                continue
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                key = running.pop(future)
                _settle(key, future, stands, failures)
                sorter.done(key)
    _check(failures)
    return stands


def _settle(
    key: str,
    future: Future[ActualResource | None],
    stands: dict[str, ActualResource],
    failures: dict[str, StargazeError],
) -> None:
    try:
        if found := future.result():
            stands[key] = found
    except StargazeError as error:
        failures[key] = error


def _do(step: Step, cloud: Cloud, stands: Mapping[str, ActualResource], tell: Tell) -> ActualResource | None:
    if step.verb == "keep":
        return step.found
    begun = time.monotonic()
    tell(step, "begun", "")
    try:
        found = _done(step, cloud, {key: one.id for key, one in stands.items()})
    except StargazeError as error:
        tell(step, "failed", error.message)
        raise
    tell(step, "done", f"{time.monotonic() - begun:.1f} s")
    return found


def _done(step: Step, cloud: Cloud, ids: Mapping[str, str]) -> ActualResource | None:
    if step.verb in ("delete", "replace") and step.found:
        cloud.remove(step.found)
    if step.resource is None:
        return None
    if step.verb == "repair" and step.found:
        return cloud.mend(step.resource, step.found, ids)
    return cloud.make(step.resource, ids)


def _check(failures: Mapping[str, StargazeError]) -> None:
    """Raise one error for all; those that only waited for another are counted."""
    causes = [error for error in failures.values() if " waits for " not in error.message]
    if not failures:
        return
    said = "; ".join(dict.fromkeys(error.message for error in causes))
    waited = len(failures) - len(causes)
    more = f" ({waited} more wait for that)" if waited else ""
    hint = next((error.hint for error in causes if error.hint), "") or "stargaze infra up goes on from here"
    worst = max(causes, key=lambda error: error.exit_code == 4)
    raise type(worst)(said + more, hint=hint) if worst.exit_code == 4 else ExternalError(said + more, hint=hint)

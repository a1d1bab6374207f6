"""The way back: how production stood before a delivery, and how a delivery that failed has it stand so again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stargaze.errors import ExternalError, StargazeError
from stargaze.serve.release.publish import ReleaseRepository, apply_release, list_releases, plan_rollback
from stargaze.serve.release.record import Release
from stargaze.serve.stack.compose import written
from stargaze.serve.swarm.delivery_state import arrived, kept, underway
from stargaze.serve.swarm.production import ProductionTarget, image_in_use, reached
from stargaze.serve.swarm.push_releases import send
from stargaze.serve.swarm.service_status import is_as_sent, replicas_of
from stargaze.serve.swarm.wait import await_serving, await_well
from stargaze.store import Store
from stargaze.system.progress import Notify

Whole = dict[str, Any]


@dataclass(frozen=True)
class PreviousState:
    """The release that was seen to serve last, and the stack with the replicas that it had.

    Neither is there before the first delivery; after deliveries from another store alone, the stack is not known here.
    """

    release: Release | None
    stack: Whole | None


def standing(store: Store, services: Sequence[Mapping[str, Any]]) -> PreviousState:
    """Return how production stands, by the record here and the services that run."""
    unseen = underway(store)
    before = list_releases(store) if services else []
    serves = next((one for one in before if one.commit not in unseen), None)
    stack = kept(store)
    return PreviousState(serves, stack and scaled(stack, replicas_of(services)))


def scaled(whole: Whole, replicas: Mapping[str, int]) -> Whole:
    """Return a stack with other numbers of replicas."""
    services = {
        name: {**one, "deploy": {**one["deploy"], "replicas": replicas.get(name, one["deploy"]["replicas"])}}
        if "replicas" in one["deploy"]
        else one
        for name, one in whole["services"].items()
    }
    return {**whole, "services": services}


def restore(
    repository: ReleaseRepository,
    site: ProductionTarget,
    before: PreviousState,
    made: Release,
    error: StargazeError,
    now: datetime,
    say: Notify,
) -> ExternalError:
    """Return services and release to how they stood, on every machine that answers.

    The error says what failed and what serves now.
    """
    section, store = repository.section, repository.store
    failed = f"release {made.digest[:12]} does not serve: {error.message}"
    if before.release is None:
        return ExternalError(f"{failed}; nothing served before it", hint=error.hint or "stargaze status")
    say(f"{error.message}; putting back what was before")
    try:
        found = reached(site.production)
        ours = {"", *(one.commit for one in list_releases(store))}
        if any(machine.tip not in ours for machine in found.machines):
            return ExternalError(f"{failed}; another release has arrived since, and stays", hint="stargaze status")
        if made.commit != before.release.commit:
            made = apply_release(repository, plan_rollback(repository, now=now, to=before.release.digest), now=now)
        send(section, store, found.machines, made.digest)
        services = found.swarm.state().services
        if before.stack and not is_as_sent(services, before.stack):
            found.swarm.keep_configs(before.stack["x-configs"])
            found.swarm.deploy(written(before.stack))
        await_well(section, found.swarm, before.stack, say)
        image = before.stack["services"]["web"]["image"] if before.stack else image_in_use(services)
        await_serving(section, [one.remote for one in found.machines], image, site.port, made.digest)
    except StargazeError as second:
        return ExternalError(f"{failed}; putting it back failed too: {second.message}", hint="stargaze status")
    serves = f"{failed}; release {made.digest[:12]} serves as before"
    if found.away:
        where = ", ".join(one.remote.name for one in found.machines)
        again = f"once it is back: stargaze deploy {made.digest[:12]}"
        return ExternalError(f"{serves} on {where}; {'; '.join(found.away)}", hint=again)
    arrived(store)
    return ExternalError(serves, hint=error.hint or "stargaze status")

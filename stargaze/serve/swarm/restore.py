"""Restore the last verified release and services after a failed deploy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, StargazeError
from stargaze.serve.release.publish import ReleaseRepository, apply_release, list_releases, plan_rollback
from stargaze.serve.release.record import Release
from stargaze.serve.stack.compose import encode_stack
from stargaze.serve.swarm.delivery_state import clear_unverified, load_verified_stack, unverified_releases
from stargaze.serve.swarm.production import ProductionTarget, Survey, image_in_use, survey_production
from stargaze.serve.swarm.release_sync import push_release
from stargaze.serve.swarm.service_status import replica_counts, stack_is_deployed
from stargaze.serve.swarm.wait import await_services, await_serving
from stargaze.store import Store
from stargaze.system.progress import Notify

Stack = dict[str, Any]


@dataclass(frozen=True)
class DeployContext:
    """One deploy or rollback: the locked release repository, the target and its survey."""

    repository: ReleaseRepository
    target: ProductionTarget
    survey: Survey
    now: datetime
    notify: Notify

    @property
    def section(self) -> DeploySection:
        """The section ``deploy`` of the config."""
        return self.repository.section

    @property
    def store(self) -> Store:
        """The store that is deployed from."""
        return self.repository.store


@dataclass(frozen=True)
class PreviousState:
    """The last verified release, and the last verified stack with the replicas that run.

    Both are None before the first deploy; the stack also if only other stores have deployed.
    """

    release: Release | None
    stack: Stack | None


def read_previous_state(store: Store, services: Sequence[Mapping[str, Any]]) -> PreviousState:
    """Return the state to restore, from the record of this store and the running services."""
    unverified = unverified_releases(store)
    releases = list_releases(store) if services else []
    verified = next((release for release in releases if release.commit not in unverified), None)
    stack = load_verified_stack(store)
    return PreviousState(verified, stack and with_replicas(stack, replica_counts(services)))


def with_replicas(stack: Stack, replicas: Mapping[str, int]) -> Stack:
    """Return a stack with other numbers of replicas."""
    services = {
        name: {
            **service,
            "deploy": {**service["deploy"], "replicas": replicas.get(name, service["deploy"]["replicas"])},
        }
        if "replicas" in service["deploy"]
        else service
        for name, service in stack["services"].items()
    }
    return {**stack, "services": services}


def restore_previous(
    context: DeployContext, previous: PreviousState, release: Release, error: StargazeError
) -> ExternalError:
    """Restore release and services on every machine that answers; return an error that tells what failed and what serves."""
    section, store, notify = context.section, context.store, context.notify
    failed, hint = f"release {release.digest[:12]} does not serve: {error.message}", error.hint or "stargaze status"
    if previous.release is None:
        return ExternalError(f"{failed}; nothing was deployed before", hint=hint)
    notify(f"{error.message}; restoring the previous release")
    try:
        survey = survey_production(context.target.hosts, require_all=False)
        known_commits = {"", *(known.commit for known in list_releases(store))}
        if any(node.release_commit not in known_commits for node in survey.nodes):
            return ExternalError(f"{failed}; somebody else deployed another release since", hint="stargaze status")
        if release.commit != previous.release.commit:
            plan = plan_rollback(context.repository, now=context.now, to=previous.release.digest)
            release = apply_release(context.repository, plan, now=context.now)
        push_release(section, store, survey.nodes, release.digest)
        services, stack = survey.state.services, previous.stack
        if stack and not stack_is_deployed(services, stack):
            survey.swarm.create_configs(stack["x-configs"])
            survey.swarm.deploy_stack(encode_stack(stack))
        await_services(section, survey.swarm, stack, notify)
        image = stack["services"]["web"]["image"] if stack else image_in_use(services)
        await_serving(section, survey.hosts, image, context.target.port, release.digest)
    except StargazeError as second:
        return ExternalError(f"{failed}; restoring failed too: {second.message}", hint="stargaze status")
    serves = f"{failed}; release {release.digest[:12]} serves as before"
    if survey.errors:
        names = ", ".join(host.name for host in survey.hosts)
        hint = f"when it is back: stargaze deploy {release.digest[:12]}"
        return ExternalError(f"{serves} on {names}; {survey.error_text}", hint=hint)
    clear_unverified(store)
    return ExternalError(serves, hint=hint)

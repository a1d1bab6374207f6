"""Deploy a bundle to the Swarm, or roll back: plan, apply, verify; a failure restores what was deployed before."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import ExternalError, StargazeError
from stargaze.serve.release.choose_bundles import choose_bundles, deploy_command
from stargaze.serve.release.publish import (
    QualityGate,
    ReleaseRepository,
    apply_release,
    list_releases,
    open_release_repository,
    plan_deploy,
)
from stargaze.serve.release.record import Release
from stargaze.serve.release.release_folder import short_name
from stargaze.serve.release.rollback import begin_rollback, finish_rollback, plan_rollback
from stargaze.serve.swarm.delivery_state import (
    clear_unverified,
    load_verified_stack,
    mark_unverified,
    save_verified_stack,
    send_stack,
    unverified_releases,
)
from stargaze.serve.swarm.image import image_fits
from stargaze.serve.swarm.plan import plan_stack, prepare_stack
from stargaze.serve.swarm.production import (
    RELOAD_TIMEOUT,
    ProductionTarget,
    Survey,
    await_services,
    await_serving,
    image_in_use,
    survey_production,
)
from stargaze.serve.swarm.prune import prune_deployments
from stargaze.serve.swarm.public_page import await_pages
from stargaze.serve.swarm.release_sync import import_missing_releases, push_release, trust_signing_key
from stargaze.serve.swarm.service_status import replica_counts, stack_is_deployed
from stargaze.store import Store
from stargaze.system.progress import Notify

Stack = dict[str, Any]


@dataclass(frozen=True)
class DeployResult:
    """The release that serves, on which machines; ``changed`` is False if there was nothing to do."""

    release: Release
    image: str
    machines: tuple[str, ...]
    changed: bool
    seconds: float
    urls: tuple[str, ...] = ()
    """The addresses of the page."""


def deploy(
    section: DeploySection,
    store: Store,
    target: ProductionTarget,
    *,
    now: datetime,
    notify: Notify,
    digest: str | None = None,
    growth: str | None = None,
    gate: QualityGate | None = None,
    force_reason: str = "",
) -> DeployResult:
    """Have every production machine serve two bundles, with the services of the config; ``force_reason`` skips the gate.

    If it does not serve, the error says so after the previous state was restored, or says why that failed too.
    """
    started = time.monotonic()
    chosen = choose_bundles(store, digest, growth)
    survey = survey_production(target.hosts)
    with open_release_repository(section, store) as repository:
        context = DeployContext(repository, target, survey, now, notify)
        import_missing_releases(repository, survey.nodes, notify)
        release_plan = plan_deploy(repository, chosen, now=now, gate=gate, force_reason=force_reason, notify=notify)
        stack_plan = plan_stack(section, target, survey, chosen.stars)
        previous = read_previous_state(store, survey.state.services)
        trust_signing_key(section, store, survey.nodes, notify)
        stack = prepare_stack(stack_plan, section, target, survey, notify)
        release = apply_release(repository, release_plan, now=now)
        mark_unverified(store, release.commit)
        try:
            changed = _apply(context, release, stack_plan.image.name, stack)
        except StargazeError as error:
            raise restore_previous(context, previous, release, error) from error
    save_verified_stack(store, stack)
    clear_unverified(store)
    finish_rollback(store)
    prune_deployments(store, target, survey.swarm, notify)
    names, changed = tuple(host.name for host in target.hosts), release.changed or changed
    return DeployResult(release, stack_plan.image.name, names, changed, time.monotonic() - started, _urls(target))


def rollback(
    section: DeploySection,
    store: Store,
    target: ProductionTarget,
    *,
    now: datetime,
    notify: Notify,
    to: str | None = None,
) -> DeployResult:
    """Return to the previous release, or to the one that ``to`` names, on every machine that answers.

    The services do not change, unless that release needs another image. A machine that did not answer is an error at the end.
    The caller announces the result and then calls :func:`finish_rollback`.
    """
    started = time.monotonic()
    survey = survey_production(target.hosts, require_all=False)
    with open_release_repository(section, store) as repository:
        context = DeployContext(repository, target, survey, now, notify)
        import_missing_releases(repository, survey.nodes, notify)
        image = image_in_use(survey.state.services)
        previous = read_previous_state(store, survey.state.services)
        rollback_plan = begin_rollback(repository, now=now, to=to, notify=notify)
        release = apply_release(repository, rollback_plan, now=now)
        mark_unverified(store, release.commit)
        bundle, stack = store.current.resolve(), None
        try:
            if not image_fits(image, bundle):
                if survey.errors:
                    raise ExternalError(f"that release needs another image; {survey.error_text}")
                plan = plan_stack(section, target, survey, bundle)
                image, stack = plan.image.name, prepare_stack(plan, section, target, survey, notify)
            changed = _apply(context, release, image, stack)
        except StargazeError as error:
            raise restore_previous(context, previous, release, error) from error
    if stack:
        save_verified_stack(store, stack)
    names = tuple(host.name for host in survey.hosts)
    if survey.errors:
        raise ExternalError(
            f"release {short_name(release.name)} serves again on {', '.join(names)}; {survey.error_text}",
            hint=f"when it is back: {deploy_command(release)}",
        )
    clear_unverified(store)
    changed = release.changed or changed
    return DeployResult(release, image, names, changed, time.monotonic() - started, _urls(target))


@dataclass(frozen=True)
class DeployContext:
    """One deploy or rollback: the locked release repository, the target and its survey."""

    repository: ReleaseRepository
    target: ProductionTarget
    survey: Survey
    now: datetime
    notify: Notify


@dataclass(frozen=True)
class PreviousState:
    """The last verified release, and the last verified stack with the replicas that run; None if this store has none."""

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
    changed = copy.deepcopy(stack)
    for name, service in changed["services"].items():
        if "replicas" in service["deploy"] and name in replicas:
            service["deploy"]["replicas"] = replicas[name]
    return changed


def restore_previous(
    context: DeployContext, previous: PreviousState, release: Release, error: StargazeError
) -> ExternalError:
    """Restore release and services on every machine that answers; return the error that says what failed and what serves."""
    section, store, notify = context.repository.section, context.repository.store, context.notify
    failed, hint = (
        f"release {short_name(release.name)} does not serve: {error.message}",
        error.hint or "stargaze status",
    )
    if previous.release is None:
        return ExternalError(f"{failed}; nothing was deployed before", hint=hint)
    notify(f"{error.message}; restoring the previous release")
    try:
        survey = survey_production(context.target.hosts, require_all=False)
        known_commits = {"", *(known.commit for known in list_releases(store))}
        if any(node.release_commit not in known_commits for node in survey.nodes):
            return ExternalError(f"{failed}; another release has been deployed since", hint="stargaze status")
        if release.commit != previous.release.commit:
            target = previous.release.commit
            plan = plan_rollback(context.repository, now=context.now, to=target, reason=failed)
            release = apply_release(context.repository, plan, now=context.now)
        push_release(section, store, survey.nodes, release.name)
        services, stack = survey.state.services, previous.stack
        if stack and not stack_is_deployed(services, stack):
            survey.swarm.deploy_stack(stack)
        await_services(section, survey.swarm, stack, notify)
        image = stack["services"]["web"]["image"] if stack else image_in_use(services)
        await_serving(section, survey.hosts, image, context.target.port, release.name)
    except StargazeError as second:
        return ExternalError(f"{failed}; restoring failed too: {second.message}", hint="stargaze status")
    serves = f"{failed}; release {short_name(release.name)} serves as before"
    if survey.errors:
        names = ", ".join(host.name for host in survey.hosts)
        hint = f"when it is back: {deploy_command(release)}"
        return ExternalError(f"{serves} on {names}; {survey.error_text}", hint=hint)
    clear_unverified(store)
    return ExternalError(serves, hint=hint)


def _urls(target: ProductionTarget) -> tuple[str, ...]:
    return tuple(page.url for page in target.pages)


def _apply(context: DeployContext, release: Release, image: str, stack: dict[str, Any] | None) -> bool:
    """Push the release, send the stack if it differs, and verify both; return whether anything was sent."""
    section, store, survey = context.repository.section, context.repository.store, context.survey
    changed = push_release(section, store, survey.nodes, release.name)
    if stack:
        if changed:
            context.notify(f"release {short_name(release.name)} is on every machine")
        if not stack_is_deployed(survey.state.services, stack):
            context.notify("deploying the services")
            send_stack(store, survey.swarm, stack)
            changed = True
        await_services(section, survey.swarm, stack, context.notify)
    await_serving(section, survey.hosts, image, context.target.port, release.name)
    await_pages(context.target.pages, release.name, min(RELOAD_TIMEOUT, section.timeout), context.notify)
    return changed

"""Plan a deploy: compare production with the config and a bundle, without changing anything, and prepare the stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.config import DeploySection
from stargaze.config.image_reference import local_name
from stargaze.errors import ExternalError, StargazeError
from stargaze.serve.release import git
from stargaze.serve.release.choose_bundles import ChosenBundles, check_not_rolled_back, choose_bundles, plan_growth
from stargaze.serve.release.publish import QualityGate, list_releases
from stargaze.serve.release.release_folder import release_name
from stargaze.serve.stack.backing_services import BROKER_QUORUM
from stargaze.serve.stack.compose import SERVICE_LABEL, render_stack
from stargaze.serve.stack.secret_versions import (
    COOKIE_SECRET,
    complete_versions,
    generate_cookie,
    generate_secrets,
    next_version,
    versions_in_use,
)
from stargaze.serve.stack.service_options import SecretVersions, StackSpec
from stargaze.serve.swarm.delivery_state import load_verified_stack
from stargaze.serve.swarm.docker import NodeInfo
from stargaze.serve.swarm.image import ImagePlan, apply_image_plan, plan_image, transfer_public_image
from stargaze.serve.swarm.production import ProductionTarget, Survey, contents_in_use, survey_production
from stargaze.serve.swarm.service_status import ServiceChange, service_changes
from stargaze.store import Store
from stargaze.system.progress import Notify


@dataclass(frozen=True)
class SecretPlan:
    """The secret versions of web and workers, and of broker and results, and which secrets must be created."""

    versions: SecretVersions
    create_version: bool
    create_cookie: bool


@dataclass(frozen=True)
class StackPlan:
    """The requirements of the services: images, with the nodes that lack them, and secrets."""

    bundle: Path
    image: ImagePlan
    backing_images: Mapping[str, Sequence[NodeInfo]]
    secrets: SecretPlan


@dataclass(frozen=True)
class PlannedChange:
    """One line of a dry run."""

    action: str
    """``build``, ``send``, ``create``, ``import``, ``update``, ``delete``, ``refuse`` or ``keep``."""
    resource: str
    reason: str


def plan_stack(section: DeploySection, target: ProductionTarget, survey: Survey, bundle: Path) -> StackPlan:
    """Return the images and secrets that a deploy of a bundle needs."""
    lacking = [node for node in survey.nodes if node.lacks_esp]
    if section.encrypt_networks and lacking and len(survey.nodes) > 1:
        message = f"{_names(lacking)}: the kernel has no ESP, so networks between nodes cannot be encrypted"
        raise ExternalError(message, hint="another image of the machines, or deploy.encrypt_networks = false")
    deployed = contents_in_use(survey.state.services)
    image = plan_image(section, target.recipe, target.engine, survey.nodes, bundle, deployed)
    names = [section.broker_image, section.results_image]
    names += [section.flower_image] * section.flower + [section.prometheus_image] * section.prometheus
    missing = {name: [node for node in survey.nodes if local_name(name) not in node.images] for name in names}
    return StackPlan(bundle, image, missing, _plan_secrets(survey))


def prepare_stack(
    plan: StackPlan, section: DeploySection, target: ProductionTarget, survey: Survey, notify: Notify
) -> dict[str, Any]:
    """Create the planned images and secrets, which changes no running service, and return the stack."""
    content = apply_image_plan(plan.image, section, target.recipe, target.engine, plan.bundle, notify)
    for name, nodes in plan.backing_images.items():
        transfer_public_image(name, target.engine, [node.host for node in nodes], notify)
    if plan.secrets.create_version:
        notify("creating secrets")
        for name, secret in generate_secrets(plan.secrets.versions.app).items():
            survey.swarm.create_secret(name, secret)
    if plan.secrets.create_cookie:
        survey.swarm.create_secret(COOKIE_SECRET, generate_cookie())
    image = plan.image.name, content
    return desired_stack(section, target, survey, image, plan.secrets.versions)


def desired_stack(
    section: DeploySection, target: ProductionTarget, survey: Survey, image: tuple[str, str], secrets: SecretVersions
) -> dict[str, Any]:
    """Return the stack of the config, with an image (name and content digest) and secret versions."""
    nodes = tuple(node.as_node() for node in survey.nodes)
    settings = section, target.serve, target.sources, image[0], target.port, secrets, nodes
    return render_stack(
        StackSpec(*settings, image_content=image[1], page_hosts=target.page_hosts, has_proxy=target.has_proxy)
    )


def plan_deploy_changes(
    section: DeploySection,
    store: Store,
    target: ProductionTarget,
    *,
    digest: str | None = None,
    growth: str | None = None,
    gate: QualityGate | None = None,
    force_reason: str = "",
) -> list[PlannedChange]:
    """Return what a deploy would change and why; nothing is changed, here or on any machine."""
    chosen = choose_bundles(store, digest, growth)
    survey = survey_production(target.hosts)
    plan = plan_stack(section, target, survey, chosen.stars)
    image = plan.image.name, plan.image.content
    stack = desired_stack(section, target, survey, image, plan.secrets.versions)
    services = service_changes(survey.state.services, stack)
    deployed = load_verified_stack(store)
    return [
        *_image_changes(plan),
        *_secret_changes(plan.secrets),
        *_release_changes(store, survey.nodes, chosen, gate, force=bool(force_reason)),
        *(_describe_service(service, stack, deployed) for service in services),
    ]


def _plan_secrets(survey: Survey) -> SecretPlan:
    """Return the versions in use, else the newest complete version, else a new one."""
    used = versions_in_use(survey.state.services)
    names = survey.swarm.list_secrets()
    create_cookie = len(survey.nodes) >= BROKER_QUORUM and COOKIE_SECRET not in names
    complete = complete_versions(names)
    if used and not set(used) <= set(complete):
        lacking = ", ".join(str(version) for version in sorted(set(used) - set(complete)))
        raise ExternalError(
            f"the services use secrets of version {lacking}, which an earlier stargaze created without certificates",
            hint="stargaze infra ssh production1 -- sudo docker stack rm stargaze; stargaze deploy",
        )
    if used:
        return SecretPlan(SecretVersions(*used), create_version=False, create_cookie=create_cookie)
    version = complete[-1] if complete else next_version(names)
    return SecretPlan(SecretVersions(version, version), create_version=not complete, create_cookie=create_cookie)


def _image_changes(plan: StackPlan) -> Iterator[PlannedChange]:
    image = plan.image
    absent = [node for node in image.missing if image.name not in node.images]
    different = [node for node in image.missing if image.name in node.images]
    reasons = ["no image of this code and bundle has been built"] if not image.content else []
    reasons += [f"missing on {_names(absent)}"] if absent else []
    reasons += [f"content differs on {_names(different)}"] if different else []
    action = "send" if image.content else "build"
    yield PlannedChange(action if reasons else "keep", f"image {image.name}", "; ".join(reasons) or "up to date")
    for name, nodes in plan.backing_images.items():
        reason = f"missing on {_names(nodes)}" if nodes else "on every node"
        yield PlannedChange("send" if nodes else "keep", f"image {name}", reason)


def _secret_changes(secrets: SecretPlan) -> Iterator[PlannedChange]:
    action, reason = ("create", "the Swarm has none") if secrets.create_version else ("keep", "they exist")
    versions = " and ".join(map(str, sorted({secrets.versions.backing, secrets.versions.app})))
    yield PlannedChange(action, f"secrets of version {versions}", reason)
    if secrets.create_cookie:
        yield PlannedChange("create", f"secret {COOKIE_SECRET}", "several brokers form a cluster")


def _release_changes(
    store: Store, nodes: Sequence[NodeInfo], chosen: ChosenBundles, gate: QualityGate | None, *, force: bool
) -> Iterator[PlannedChange]:
    releases = list_releases(store)
    commits = {"", *(release.commit for release in releases)}
    foreign = [node for node in nodes if node.release_commit not in commits]
    if foreign:
        yield PlannedChange("import", f"releases of {_names(foreign)}", "they were deployed from another store")
    resource, known, notes = f"release of bundle {chosen.stars.name[:12]}", [] if foreign else releases, list[str]()
    bare = git.Repository(store.releases)
    try:
        growth = plan_growth(bare, known, chosen, force=force, notify=notes.append).digest
        resource += f" and growth bundle {growth[:12]}" if growth else ""
        name = release_name(chosen.stars.name, growth)
        if known and known[0].name == name:
            current = (known[0].commit, name)
            missing = [node for node in nodes if (node.release_commit, node.installed_release) != current]
            reason = f"missing on {_names(missing)}" if missing else "installed on every node"
            yield PlannedChange("send" if missing else "keep", resource, "; ".join([reason, *notes]))
            return
        if known and not force:
            check_not_rolled_back(known, chosen.stars)
            champion = store.serving / "bundles" / known[0].name
            if gate and known[0].digest != chosen.stars.name and champion.is_dir():
                gate(chosen.stars, champion)
    except StargazeError as error:
        yield PlannedChange("refuse", resource, error.message)
        return
    yield PlannedChange("create", resource, "; ".join([f"missing on {_names(nodes)}", *notes]))


def _describe_service(
    change: ServiceChange, stack: Mapping[str, Any], deployed: Mapping[str, Any] | None
) -> PlannedChange:
    """Name the changed settings if the definition that runs is known in this store."""
    before = (deployed or {"services": {}})["services"].get(change.name)
    reason = change.reason
    if change.has_new_settings and before and before["labels"][SERVICE_LABEL] == change.running_label:
        old, new = _flatten(before), _flatten(stack["services"][change.name])
        keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        reason = ", ".join(_describe_setting(key, old.get(key), new.get(key)) for key in keys)
    return PlannedChange(change.action, f"service {change.name}", reason)


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted name, without labels, which are digests."""
    settings: dict[str, Any] = {}
    for key, item in value.items():
        if key != "labels":
            settings |= _flatten(item, f"{prefix}{key}.") if isinstance(item, Mapping) else {f"{prefix}{key}": item}
    return settings


def _describe_setting(key: str, old: Any, new: Any) -> str:
    return key if isinstance(old, list) or isinstance(new, list) else f"{key} {old} -> {new}"


def _names(nodes: Sequence[NodeInfo]) -> str:
    return ", ".join(node.host.name for node in nodes)

"""Production before it is changed: its machines, and all that must lie ready there before a service can begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stargaze.config import DeploySection, ServeSection
from stargaze.errors import ExternalError, MissingInputError, StargazeError
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.stack import secret_versions as vault
from stargaze.serve.stack.backing_services import BROKERS
from stargaze.serve.stack.compose import stack
from stargaze.serve.stack.service_options import CONTENT, StackSpec
from stargaze.serve.swarm.docker import NodeInfo, Swarm, survey
from stargaze.serve.swarm.image import Engine, Recipe, bring, ensured
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost


@dataclass(frozen=True)
class ProductionTarget:
    """Where to deliver to, and what the services are made from beside the section of ``deploy``."""

    production: tuple[SshHost, ...]
    engine: Engine
    recipe: Recipe
    serve: ServeSection
    sources: Sources
    port: int
    """The page's, outside."""


def survey_all(site: ProductionTarget) -> tuple[list[NodeInfo], Swarm]:
    """Return the production machines as they stand, and the Swarm behind the first that manages it.

    Raises
    ------
    ExternalError
        If one does not answer, or none manages.
    """
    machines = map_in_threads(survey, site.production)
    managers = [one.remote for one in machines if one.manages]
    if not managers:
        raise ExternalError("no production machine manages the Swarm", hint="stargaze infra configure --tags swarm")
    return machines, Swarm(managers[0])


@dataclass(frozen=True)
class Reached:
    """The production machines that answer, the Swarm behind them, and why the others do not."""

    machines: list[NodeInfo]
    swarm: Swarm
    away: list[str]


def reached(production: Sequence[SshHost]) -> Reached:
    """Return what can be reached of production now.

    Raises
    ------
    ExternalError
        If none that manages the Swarm answers.
    """
    asked = surveys(production)
    away = [one.message for one in asked if isinstance(one, StargazeError)]
    return Reached([one for one in asked if isinstance(one, NodeInfo)], manager_of(asked), away)


def surveys(production: Sequence[SshHost]) -> list[NodeInfo | StargazeError]:
    """Survey all machines at the same time; what is in the way of one is its answer."""

    def ask(remote: SshHost) -> NodeInfo | StargazeError:
        try:
            return survey(remote)
        except StargazeError as error:
            return error

    return map_in_threads(ask, production)


def manager_of(asked: Sequence[NodeInfo | StargazeError]) -> Swarm:
    """Return the Swarm behind the first machine that answered and manages it.

    Raises
    ------
    ExternalError
        If there is none.
    """
    for one in asked:
        if isinstance(one, NodeInfo) and one.manages:
            return Swarm(one.remote)
    said = "; ".join(one.message for one in asked if isinstance(one, StargazeError))
    raise ExternalError(f"no manager of the Swarm answers{f': {said}' if said else ''}", hint="stargaze infra status")


def image_in_use(services: Sequence[Mapping[str, Any]]) -> str:
    """Return the image of the pages that run.

    Raises
    ------
    MissingInputError
        If there are none.
    """
    for service in services:
        if service["Spec"]["Name"].endswith("_web"):
            return str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])
    raise MissingInputError("nothing was deployed to the Swarm yet", hint="stargaze deploy")


def contents_in_use(services: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return what each image of ours holds that runs, as whoever sent it saw it."""
    containers = (service["Spec"]["TaskTemplate"]["ContainerSpec"] for service in services)
    told = ((str(one["Image"]), str((one.get("Labels") or {}).get(CONTENT, ""))) for one in containers)
    return {image: content for image, content in told if content}


def wanted_stack(
    section: DeploySection,
    site: ProductionTarget,
    machines: list[NodeInfo],
    image: tuple[str, str],
    secrets: int,
    behind: int,
) -> dict[str, Any]:
    """Return the stack that the config asks for, of an image and what that holds."""
    nodes = tuple(one.as_node() for one in machines)
    name, content = image
    return stack(StackSpec(section, site.serve, site.sources, name, site.port, secrets, behind, nodes, content=content))


@dataclass(frozen=True)
class Prepared:
    """A stack that may be sent: its image is on every machine, its secrets are there; and the services that run now."""

    whole: dict[str, Any]
    image: str
    services: Sequence[Mapping[str, Any]]


def prepare_stack(
    section: DeploySection, site: ProductionTarget, machines: list[NodeInfo], swarm: Swarm, bundle: Path, say: Notify
) -> Prepared:
    """Have image and secrets be there, which changes nothing that serves."""
    known = contents_in_use(swarm.state().services)
    image = ensured(section, site.recipe, site.engine, machines, bundle, say, known)
    others = [section.broker_image, section.results_image]
    others += [section.flower_image] * section.flower + [section.prometheus_image] * section.prometheus
    for other in others:
        bring(other, site.engine, machines, say)
    services = swarm.state().services
    secrets, behind = _secrets(swarm, services, say)
    if len(machines) >= BROKERS and vault.COOKIE not in swarm.secrets():
        swarm.keep_secret(vault.COOKIE, vault.cookie())
    return Prepared(wanted_stack(section, site, machines, image, secrets, behind), image[0], services)


def _secrets(swarm: Swarm, services: Sequence[Mapping[str, Any]], say: Notify) -> tuple[int, int]:
    """Return the versions of the secrets in use, by page and workers and behind them; they are made before the first deploy."""
    used = vault.in_use(services)
    if used:
        return used
    held = swarm.secrets()
    whole = vault.versions(held)
    if not whole:
        say("making secrets")
        whole = [vault.next_version(held)]
        for name, content in vault.made(whole[0]).items():
            swarm.keep_secret(name, content)
    return whole[-1], whole[-1]

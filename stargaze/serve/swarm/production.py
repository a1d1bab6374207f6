"""The production target: survey nodes, Swarm and services, and wait until services run and machines serve a release."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.config import DeploySection, ServeSection
from stargaze.errors import ExternalError, MissingInputError, StargazeError
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.stack.service_options import CONTENT_LABEL
from stargaze.serve.swarm.docker import NodeInfo, Swarm, SwarmState, inspect_node, survey_node
from stargaze.serve.swarm.public_page import PublicPage
from stargaze.serve.swarm.service_status import ServiceStatus, node_mismatches, service_status
from stargaze.system.docker import DockerEngine, ImageRecipe
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

POLL_INTERVAL = 1.0
"""[s]"""
SURPLUS_TIMEOUT = 20.0
"""Time after which Swarm compares a service with its definition again if it has a task that waits forever [s]."""
RELOAD_TIMEOUT = 60.0
"""Timeout for web and workers to load an installed release [s]; they need about 5."""


@dataclass(frozen=True)
class ProductionTarget:
    """The production machines, the engine that builds the image, and what services need besides the section ``deploy``."""

    hosts: tuple[SshHost, ...]
    engine: DockerEngine
    recipe: ImageRecipe
    serve: ServeSection
    sources: Sources
    port: int
    """Published port of the page."""
    pages: tuple[PublicPage, ...] = ()
    """The addresses of the page."""
    page_hosts: tuple[str, ...] = ()
    """Names and addresses by which visitors know the page, besides those of the nodes."""
    has_proxy: bool = False
    """Whether the orchestration machine forwards visitors to the nodes."""


@dataclass(frozen=True)
class Survey:
    """The nodes that answered, the errors of the others by name, and the state of the Swarm."""

    nodes: list[NodeInfo]
    errors: Mapping[str, StargazeError]
    swarm: Swarm
    state: SwarmState

    @property
    def hosts(self) -> list[SshHost]:
        """The machines that answered."""
        return [node.host for node in self.nodes]

    @property
    def error_text(self) -> str:
        """The errors of the other machines in one line."""
        return "; ".join(error.message for error in self.errors.values())


def survey_production(hosts: Sequence[SshHost], *, require_all: bool = True) -> Survey:
    """Read the state of all production nodes at the same time, and of the Swarm through its first manager.

    Without a manager that answers, or if all are required and one does not answer, the error is raised.
    """
    failed: dict[str, StargazeError] = {}

    def try_survey(host: SshHost) -> NodeInfo | None:
        try:
            return survey_node(host)
        except StargazeError as error:
            if require_all:
                raise
            failed[host.name] = error
            return None

    nodes = [node for node in map_in_threads(try_survey, hosts) if node]
    errors = {host.name: failed[host.name] for host in hosts if host.name in failed}
    managers = [node.host for node in nodes if node.is_manager]
    if not managers and errors:
        reasons = "; ".join(error.message for error in errors.values())
        raise ExternalError(f"no Swarm manager is reachable: {reasons}", hint="stargaze infra status")
    if not managers:
        raise ExternalError("no production machine manages the Swarm", hint="stargaze infra configure --tags swarm")
    swarm = Swarm(managers[0])
    return Survey(nodes, errors, swarm, swarm.read_state())


def image_in_use(services: Sequence[Mapping[str, Any]]) -> str:
    """Return the image of the running web service; MissingInputError if nothing is deployed."""
    for service in services:
        if service["Spec"]["Name"].endswith("_web"):
            return str(service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])
    raise MissingInputError("nothing has been deployed to the Swarm", hint="stargaze deploy")


def contents_in_use(services: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the content digest of each running image of web and worker, as its deploy labeled it."""
    containers = [service["Spec"]["TaskTemplate"]["ContainerSpec"] for service in services]
    contents = {str(spec["Image"]): str((spec.get("Labels") or {}).get(CONTENT_LABEL, "")) for spec in containers}
    return {image: content for image, content in contents.items() if content}


def await_services(
    section: DeploySection, swarm: Swarm, stack: dict[str, Any] | None, notify: Notify
) -> list[ServiceStatus]:
    """Wait until every service of a stack runs; without one, every service with its own definition.

    ExternalError names services and reasons if Swarm rolled back or paused an update, or after ``deploy.timeout``.

    When Swarm restarts a failing task and rolls it back at the same time, both may create a new task on one node. The second
    waits for the port of the first, and Swarm deletes it only when it compares the service with its definition again.
    """
    deadline = time.monotonic() + section.timeout
    last_line = ""
    surplus_since: dict[str, float] = {}
    while True:
        services = service_status(swarm.read_state(), stack)
        failed = [service for service in services if service.state == "failed"]
        updating = [service for service in services if service.state == "updating"]
        if failed or (updating and time.monotonic() > deadline):
            missing = failed or updating
            raise ExternalError("; ".join(map(_describe, missing)), hint=f"stargaze logs {missing[0].name}")
        if not updating:
            return services
        line = ", ".join(f"{service.name} {service.running} of {service.desired}" for service in updating)
        if line != last_line:
            notify(f"waiting for {line}")
            last_line = line
        surplus = [service.name for service in updating if service.has_surplus_task]
        surplus_since = {name: surplus_since.get(name, time.monotonic()) for name in surplus}
        for name, since in list(surplus_since.items()):
            if time.monotonic() - since >= SURPLUS_TIMEOUT:
                notify(f"{name} has a task that waits forever; Swarm compares it with its definition again")
                swarm.reconcile_service(name)
                del surplus_since[name]
        time.sleep(POLL_INTERVAL)


def await_serving(section: DeploySection, hosts: Sequence[SshHost], image: str, port: int, release: str) -> None:
    """Wait until every process of every machine serves a release; after a minute, ExternalError names those that do not."""
    deadline = time.monotonic() + min(RELOAD_TIMEOUT, section.timeout)
    while True:
        statuses = map_in_threads(lambda host: inspect_node(host, image, port), hosts)
        mismatches = [mismatch for status in statuses for mismatch in node_mismatches(status, release)]
        if not mismatches:
            return
        if time.monotonic() > deadline:
            raise ExternalError("; ".join(mismatches), hint="stargaze status")
        time.sleep(POLL_INTERVAL)


def _describe(service: ServiceStatus) -> str:
    counts = f"{service.name}: {service.running} of {service.desired} run"
    return f"{counts}: {service.reason}" if service.reason else counts

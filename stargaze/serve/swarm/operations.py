"""Day-to-day operations in production: status, logs, scaling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import StargazeError, UsageError, did_you_mean
from stargaze.serve.release.release_folder import short_name
from stargaze.serve.stack.service_options import STACK_NAME
from stargaze.serve.swarm.delivery_state import load_verified_stack
from stargaze.serve.swarm.docker import NodeInfo, inspect_node
from stargaze.serve.swarm.production import ProductionTarget, await_services, image_in_use, survey_production
from stargaze.serve.swarm.public_page import PublicPage
from stargaze.serve.swarm.service_status import ServiceStatus, page_value, service_status
from stargaze.store import Store
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

REPLICA_KEYS = {"web": "web_replicas", "worker": "worker_replicas"}
"""Keys of ``deploy`` by the services that can be scaled."""
MAX_REPLICAS = 256


def production_status(store: Store, target: ProductionTarget) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a row for each machine, also for one that does not answer, and a row for each service."""
    survey = survey_production(target.hosts, require_all=False)
    state = survey.state
    services = service_status(state, load_verified_stack(store))
    image = image_in_use(state.services) if state.services else ""
    results: dict[str, NodeInfo | StargazeError] = {node.host.name: node for node in survey.nodes}
    results |= survey.errors
    swarm_nodes = {node["ID"]: node for node in state.nodes}

    def machine_row(host: SshHost) -> dict[str, Any]:
        return _machine_row(host, results[host.name], swarm_nodes, image, target.port)

    return map_in_threads(machine_row, target.hosts), [_service_row(service) for service in services]


def page_status(target: ProductionTarget) -> list[dict[str, Any]]:
    """Return a row for the address at the proxy, with the release that visitors get there; none without a proxy."""
    return map_in_threads(_page_row, target.pages if target.has_proxy else ())


def parse_replicas(arguments: Sequence[str], section: DeploySection) -> dict[str, int]:
    """Parse arguments such as ``web=4`` and ``worker=8``; UsageError if a service cannot be scaled to that number."""
    replicas = {}
    for argument in arguments:
        name, _, number = argument.partition("=")
        if name not in REPLICA_KEYS:
            hint = did_you_mean(name, REPLICA_KEYS, "web=4 worker=8")
            raise UsageError(f"{name}: not a service to scale", hint=hint)
        if not number.isdecimal() or not 1 <= int(number) <= MAX_REPLICAS:
            message = f"{argument}: the number must be from 1 to {MAX_REPLICAS}"
            raise UsageError(message, hint="stargaze scale web=4 worker=8")
        if name == "web" and section.publish_mode == "host":
            raise UsageError(
                'web cannot be scaled with deploy.publish_mode = "host": one replica per node',
                hint='deploy.publish_mode = "ingress" shares the port between replicas; stargaze scale worker=8',
            )
        replicas[name] = int(number)
    return replicas


def scale_production(
    section: DeploySection, target: ProductionTarget, replicas: Mapping[str, int], notify: Notify
) -> list[dict[str, Any]]:
    """Set numbers of replicas and wait until they run; return a row for each service."""
    survey = survey_production(target.hosts, require_all=False)
    image_in_use(survey.state.services)
    survey.swarm.scale_services(replicas)
    return [_service_row(service) for service in await_services(section, survey.swarm, None, notify)]


def service_log_argv(target: ProductionTarget, service: str, *, lines: int, follow: bool) -> list[str]:
    """Return the argv that prints the log of a service; UsageError if there is no such service."""
    survey = survey_production(target.hosts, require_all=False)
    names = [str(each["Spec"]["Name"]).removeprefix(f"{STACK_NAME}_") for each in survey.state.services]
    if service not in names:
        available = f"available: {', '.join(names)}" if names else "nothing is deployed: stargaze deploy"
        raise UsageError(f"{service}: no such service", hint=did_you_mean(service, names, available))
    return survey.swarm.log_argv(service, lines, follow=follow)


def _page_row(page: PublicPage) -> dict[str, Any]:
    try:
        response, reason = page.ask()
    except StargazeError as error:
        return {"page": page.url, "state": error.message, "release": "?", "reason": ""}
    code, _, body = response.partition(" ")
    release = page_value(body, "bundle", default="")[:12]
    state = "ready" if code == "200" else page_value(body, "detail", default=code or "no answer")
    return {
        "page": page.url,
        "state": state,
        "release": release,
        "reason": reason and f"not reached from here: {reason}",
    }


def _machine_row(
    host: SshHost, result: NodeInfo | StargazeError, swarm_nodes: Mapping[str, Any], image: str, port: int
) -> dict[str, Any]:
    if isinstance(result, StargazeError):
        return _error_row(host, result)
    try:
        code, _, body = inspect_node(host, image, port).page_response.partition(" ")
    except StargazeError as error:
        return _error_row(host, error)
    node = swarm_nodes.get(result.node_id)
    state = str(node["Status"]["State"]) if node else "not in this Swarm"
    if node and node["Spec"]["Availability"] != "active":
        state = str(node["Spec"]["Availability"])
    role = "manager" if result.is_manager else "worker"
    page = "ready" if code == "200" else page_value(body, "detail", default=code or "no answer")
    return {
        "machine": host.name,
        "role": role,
        "state": state,
        "release": short_name(result.installed_release),
        "page": page,
    }


def _error_row(host: SshHost, error: StargazeError) -> dict[str, Any]:
    return {"machine": host.name, "role": "?", "state": error.message, "release": "?", "page": "?"}


def _service_row(service: ServiceStatus) -> dict[str, Any]:
    return {
        "service": service.name,
        "running": service.running,
        "desired": service.desired,
        "state": service.state,
        "machines": ", ".join(service.nodes),
        "image": service.image.partition("@")[0],
        "reason": service.reason,
    }

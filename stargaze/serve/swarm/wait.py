"""Wait until services run and machines serve a release; raise with the reason when that fails."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import ExternalError
from stargaze.serve.swarm.docker import Swarm, inspect_node
from stargaze.serve.swarm.service_status import ServiceStatus, node_mismatches, service_status
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

POLL_INTERVAL = 1.0
"""[s]"""
RELOAD_TIMEOUT = 60.0
"""How long web and workers may take to load an installed release [s]; they take about 5."""


def await_services(
    section: DeploySection, swarm: Swarm, stack: dict[str, Any] | None, notify: Notify
) -> list[ServiceStatus]:
    """Wait until every service of a stack runs; without one, every service with its own definition.

    Raises
    ------
    ExternalError
        If Swarm rolled back or paused an update, or after ``deploy.timeout``; it names services and reasons.
    """
    deadline = time.monotonic() + section.timeout
    last_line = ""
    while True:
        services = service_status(swarm.read_state(), stack)
        failed = [service for service in services if service.state == "failed"]
        updating = [service for service in services if service.state == "updating"]
        if failed or (updating and time.monotonic() > deadline):
            raise ExternalError(
                "; ".join(_describe(service) for service in failed or updating),
                hint=f"stargaze logs {(failed or updating)[0].name}",
            )
        if not updating:
            return services
        line = ", ".join(f"{service.name} {service.running} of {service.desired}" for service in updating)
        if line != last_line:
            notify(f"waiting for {line}")
            last_line = line
        time.sleep(POLL_INTERVAL)


def await_serving(section: DeploySection, hosts: Sequence[SshHost], image: str, port: int, digest: str) -> None:
    """Wait until every process of every machine serves a release.

    Raises
    ------
    ExternalError
        If one does not within a minute; it tells which, and what it serves.
    """
    deadline = time.monotonic() + min(RELOAD_TIMEOUT, section.timeout)
    while True:
        statuses = map_in_threads(lambda host: inspect_node(host, image, port), hosts)
        mismatches = [mismatch for status in statuses for mismatch in node_mismatches(status, digest)]
        if not mismatches:
            return
        if time.monotonic() > deadline:
            raise ExternalError("; ".join(mismatches), hint="stargaze status")
        time.sleep(POLL_INTERVAL)


def _describe(service: ServiceStatus) -> str:
    counts = f"{service.name}: {service.running} of {service.desired} run"
    return f"{counts}: {service.reason}" if service.reason else counts

"""Waiting until services are well and machines serve, and giving up with the reason once they cannot be."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import ExternalError
from stargaze.serve.swarm.docker import Swarm, look
from stargaze.serve.swarm.service_status import Service, node_mismatches, service_status
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

PAUSE = 1.0
"""Between two looks [s]."""
SWITCH = 60.0
"""How long page and workers may take to load a release that is installed [s]; it takes about 5."""


def await_well(section: DeploySection, swarm: Swarm, whole: dict[str, Any] | None, say: Notify) -> list[Service]:
    """Wait until every service runs as it was sent; without a stack, as it is defined now.

    Raises
    ------
    ExternalError
        If Swarm went back, stopped, or ``deploy.timeout`` ended: services, and why.
    """
    limit = time.monotonic() + section.timeout
    told = ""
    while True:
        found = service_status(swarm.state(), whole)
        failed = [service for service in found if service.state == "failed"]
        waiting = [service for service in found if service.state == "changing"]
        if failed or (waiting and time.monotonic() > limit):
            raise ExternalError(
                "; ".join(_said(service) for service in failed or waiting),
                hint=f"stargaze logs {(failed or waiting)[0].name}",
            )
        if not waiting:
            return found
        now = ", ".join(f"{service.name} {service.running} of {service.wanted}" for service in waiting)
        if now != told:
            say(f"waiting for {now}")
            told = now
        time.sleep(PAUSE)


def await_serving(section: DeploySection, machines: Sequence[SshHost], image: str, port: int, digest: str) -> None:
    """Wait until every process of every machine answers with a release.

    Raises
    ------
    ExternalError
        If one does not within a minute: which, and with what it answers.
    """
    limit = time.monotonic() + min(SWITCH, section.timeout)
    while True:
        found = [
            what
            for seen in map_in_threads(lambda one: look(one, image, port), machines)
            for what in node_mismatches(seen, digest)
        ]
        if not found:
            return
        if time.monotonic() > limit:
            raise ExternalError("; ".join(found), hint="stargaze status")
        time.sleep(PAUSE)


def _said(service: Service) -> str:
    counted = f"{service.name}: {service.running} of {service.wanted} run"
    return f"{counted}: {service.why}" if service.why else counted

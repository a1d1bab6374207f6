"""What is asked of production from day to day: how it is, what it logs, how many replicas it has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from stargaze.config import DeploySection
from stargaze.errors import StargazeError, UsageError, did_you_mean
from stargaze.serve.stack.service_options import NAME
from stargaze.serve.swarm.delivery_state import kept
from stargaze.serve.swarm.docker import NodeInfo, Seen, look
from stargaze.serve.swarm.production import ProductionTarget, image_in_use, manager_of, surveys
from stargaze.serve.swarm.service_status import Service, service_status
from stargaze.serve.swarm.wait import await_well
from stargaze.store import Store
from stargaze.system.parallel import map_in_threads
from stargaze.system.progress import Notify
from stargaze.system.ssh import SshHost

KEYS = {"web": "web_replicas", "worker": "worker_replicas"}
"""Keys of ``deploy`` by the services whose number may be set."""
MOST = 256


def production_status(store: Store, site: ProductionTarget) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a row for each machine and one for each service; a machine that does not answer is a row that says so."""
    found = surveys(site.production)
    swarm = manager_of(found)
    state = swarm.state()
    shown = service_status(state, kept(store))
    image = image_in_use(state.services) if state.services else ""
    states = {node["ID"]: node for node in state.nodes}
    pairs = list(zip(site.production, found, strict=True))
    rows = map_in_threads(lambda pair: _machine(*pair, states, image, site.port), pairs)
    return rows, [_row(service) for service in shown]


def numbers(asked: Sequence[str], section: DeploySection) -> dict[str, int]:
    """Read "web=4 worker=8".

    Raises
    ------
    UsageError
        If a service is none, its number is not to be set, or is no number.
    """
    found = {}
    for words in asked:
        name, _, text = words.partition("=")
        if name not in KEYS:
            raise UsageError(f"{name}: not a service to scale", hint=did_you_mean(name, KEYS, "web=4 worker=8"))
        if not text.isdecimal() or not 1 <= int(text) <= MOST:
            raise UsageError(f"{words}: wants a number from 1 to {MOST}", hint="stargaze scale web=4 worker=8")
        if name == "web" and section.publish_mode == "host":
            raise UsageError(
                "the page has a port of each machine, so there is one on each",
                hint='deploy.publish_mode = "ingress" lets more share a port; stargaze scale worker=8',
            )
        found[name] = int(text)
    return found


def scale(
    section: DeploySection, site: ProductionTarget, wanted: Mapping[str, int], say: Notify
) -> list[dict[str, Any]]:
    """Set numbers of replicas and wait until so many run; return a row for each service."""
    swarm = manager_of(surveys(site.production))
    image_in_use(swarm.state().services)
    swarm.scale(wanted)
    return [_row(service) for service in await_well(section, swarm, None, say)]


def log_words(site: ProductionTarget, service: str, *, lines: int, follow: bool) -> list[str]:
    """Return the argv that prints the log of a service.

    Raises
    ------
    UsageError
        If there is no such service.
    """
    swarm = manager_of(surveys(site.production))
    names = [str(one["Spec"]["Name"]).removeprefix(f"{NAME}_") for one in swarm.state().services]
    if service not in names:
        hint = did_you_mean(service, names, f"there are: {', '.join(names) or 'none; stargaze deploy'}")
        raise UsageError(f"{service}: no such service", hint=hint)
    return swarm.log_words(service, lines, follow=follow)


def _machine(
    remote: SshHost, found: NodeInfo | StargazeError, nodes: Mapping[str, Any], image: str, port: int
) -> dict[str, Any]:
    if isinstance(found, StargazeError):
        return _away(remote, found)
    try:
        page = _page(look(remote, image, port))
    except StargazeError as lost:
        return _away(remote, lost)
    node = nodes.get(found.node)
    state = f"{node['Status']['State']}" if node else "not in this Swarm"
    if node and node["Spec"]["Availability"] != "active":
        state = str(node["Spec"]["Availability"])
    role = "manager" if found.manages else "worker"
    return {"machine": remote.name, "role": role, "state": state, "release": found.installed[:12], "page": page}


def _away(remote: SshHost, why: StargazeError) -> dict[str, Any]:
    return {"machine": remote.name, "role": "?", "state": why.message, "release": "?", "page": "?"}


def _page(seen: Seen) -> str:
    status, _, body = seen.page.partition(" ")
    if status == "200":
        return "ready"
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return status or "no answer"


def _row(service: Service) -> dict[str, Any]:
    return {
        "service": service.name,
        "running": service.running,
        "wanted": service.wanted,
        "state": service.state,
        "machines": ", ".join(service.nodes),
        "image": service.image.partition("@")[0],
        "why": service.why,
    }

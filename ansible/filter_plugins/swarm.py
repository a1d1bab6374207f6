"""What is to be done so that a Docker Swarm is as the inventory wants it: pure functions on what the engines answer.

An engine's answer is its ``/info``; a node list is a manager's ``/nodes``. Both as Docker's API documents them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]


def seed(engines: Mapping[str, Json], managers: Sequence[str]) -> str:
    """Return the host that the others join: a manager that has a swarm, else the first that may begin one.

    A manager that was rebuilt and stands first must not begin a second swarm while the others still have the old one.
    """
    present = [host for host in managers if host in engines]
    with_swarm = [host for host in present if engines[host]["Swarm"].get("ControlAvailable")]
    return (with_swarm or present or [""])[0]


def astray(engine: Json, nodes: Sequence[Json]) -> bool:
    """Say whether an engine believes to be in a swarm whose managers do not know it: it was removed, or they are new."""
    swarm = engine["Swarm"]
    return swarm["LocalNodeState"] != "inactive" and swarm.get("NodeID") not in {node["ID"] for node in _list(nodes)}


def alone(engine: Json, nodes: Sequence[Json]) -> bool:
    """Say whether an engine has yet to join."""
    return engine["Swarm"]["LocalNodeState"] == "inactive" or astray(engine, nodes)


def leftovers(nodes: Sequence[Json], engines: Mapping[str, Json]) -> list[Json]:
    """Return the nodes whose host is another node by now: what a host was before it was rebuilt.

    An address belongs to one host. A name may belong to two, so that its word is taken for nodes that are down only.
    A host that is merely off has not answered: nobody has its address, and its node stays.
    """
    living = [engine["Swarm"] for engine in engines.values()]
    numbers = {swarm.get("NodeID") for swarm in living}
    addresses = {swarm.get("NodeAddr") for swarm in living} - {None, ""}
    names = {engine["Name"] for engine in engines.values()}
    return [
        node
        for node in _list(nodes)
        if node["ID"] not in numbers
        and (
            _address(node) in addresses
            or (node["Status"]["State"] == "down" and node["Description"]["Hostname"] in names)
        )
    ]


def changes(
    nodes: Sequence[Json], engines: Mapping[str, Json], managers: Sequence[str], labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return what is to be changed in nodes: ``id``, ``version``, ``name`` and the whole new ``spec`` of each.

    Promotions come first, so that there is a majority of managers at every moment. Labels of others stay.
    """
    hosts = {engine["Swarm"].get("NodeID"): host for host, engine in engines.items()}
    found = []
    for node in _list(nodes):
        host = hosts.get(node["ID"])
        if host is None:
            continue
        spec = node["Spec"]
        role = "manager" if host in managers else "worker"
        wanted = {**spec, "Role": role, "Labels": {**(spec.get("Labels") or {}), **labels}}
        if wanted != {**spec, "Labels": spec.get("Labels") or {}}:
            found.append({"id": node["ID"], "name": host, "version": node["Version"]["Index"], "spec": wanted})
    return sorted(found, key=lambda change: change["spec"]["Role"])


def ready(nodes: Sequence[Json]) -> list[str]:
    """Return the numbers of the nodes that are up, and reachable if they are managers."""
    return [
        node["ID"]
        for node in _list(nodes)
        if node["Status"]["State"] == "ready"
        and node.get("ManagerStatus", {}).get("Reachability", "reachable") == "reachable"
    ]


def _list(nodes: Any) -> Sequence[Json]:
    """Return the nodes; in a check, an engine without a swarm has answered with a message instead."""
    return nodes if isinstance(nodes, list) else []


def _address(node: Json) -> str:
    """Return where a node is; a manager says it in one more place, and only there reliably."""
    manager = str(node.get("ManagerStatus", {}).get("Addr", "")).rpartition(":")[0]
    return manager or str(node["Status"].get("Addr", ""))


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by the names that the playbooks call them by."""
        named = (seed, astray, alone, leftovers, changes, ready)
        return {f"swarm_{function.__name__}": function for function in named}

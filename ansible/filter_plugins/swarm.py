"""Compute the changes that turn a Docker Swarm into the one of the inventory: pure functions on the responses of Docker's API.

An engine is the response to ``/info``; nodes are a manager's response to ``/nodes``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]


def join_target(engines: Mapping[str, Json], managers: Sequence[str]) -> str:
    """Return the host that the others join: a manager that has a Swarm, else the first one, which initializes it.

    A rebuilt manager that is listed first must not initialize a second Swarm while the others still have the old one.
    """
    reachable = [host for host in managers if host in engines]
    with_swarm = [host for host in reachable if engines[host]["Swarm"].get("ControlAvailable")]
    return (with_swarm or reachable or [""])[0]


def is_orphan(engine: Json, nodes: Sequence[Json]) -> bool:
    """Return whether an engine is in a Swarm whose managers do not list it: it was removed, or the managers are new."""
    swarm = engine["Swarm"]
    return swarm["LocalNodeState"] != "inactive" and swarm.get("NodeID") not in {node["ID"] for node in _as_list(nodes)}


def must_join(engine: Json, nodes: Sequence[Json]) -> bool:
    """Return whether an engine is not a member yet."""
    return engine["Swarm"]["LocalNodeState"] == "inactive" or is_orphan(engine, nodes)


def stale_nodes(nodes: Sequence[Json], engines: Mapping[str, Json]) -> list[Json]:
    """Return the nodes of hosts that are another node now, because they were rebuilt.

    An address belongs to one host. A name may belong to two, so it only counts for nodes that are down.
    A host that is switched off did not answer: no other host has its address, and its node stays.
    """
    members = [engine["Swarm"] for engine in engines.values()]
    ids = {member.get("NodeID") for member in members}
    addresses = {member.get("NodeAddr") for member in members} - {None, ""}
    names = {engine["Name"] for engine in engines.values()}
    return [
        node
        for node in _as_list(nodes)
        if node["ID"] not in ids
        and (
            _node_address(node) in addresses
            or (node["Status"]["State"] == "down" and node["Description"]["Hostname"] in names)
        )
    ]


def node_updates(
    nodes: Sequence[Json], engines: Mapping[str, Json], managers: Sequence[str], labels: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the updates of nodes: ``id``, ``version``, ``name`` and the complete new ``spec`` of each.

    Promotions come first, so that the managers always have a quorum. Other labels stay.
    """
    hosts = {engine["Swarm"].get("NodeID"): host for host, engine in engines.items()}
    updates = []
    for node in _as_list(nodes):
        host = hosts.get(node["ID"])
        if host is None:
            continue
        spec = node["Spec"]
        role = "manager" if host in managers else "worker"
        new_spec = {**spec, "Role": role, "Labels": {**(spec.get("Labels") or {}), **labels}}
        if new_spec != {**spec, "Labels": spec.get("Labels") or {}}:
            updates.append({"id": node["ID"], "name": host, "version": node["Version"]["Index"], "spec": new_spec})
    return sorted(updates, key=lambda update: update["spec"]["Role"])


def ready_nodes(nodes: Sequence[Json]) -> list[str]:
    """Return the ids of the nodes that are up and, if they are managers, reachable."""
    return [
        node["ID"]
        for node in _as_list(nodes)
        if node["Status"]["State"] == "ready"
        and node.get("ManagerStatus", {}).get("Reachability", "reachable") == "reachable"
    ]


def _as_list(nodes: Any) -> Sequence[Json]:
    """Return the nodes; in check mode, an engine without a Swarm responds with a message instead."""
    return nodes if isinstance(nodes, list) else []


def _node_address(node: Json) -> str:
    """Return the address of a node; only ManagerStatus is reliable for managers."""
    manager = str(node.get("ManagerStatus", {}).get("Addr", "")).rpartition(":")[0]
    return manager or str(node["Status"].get("Addr", ""))


class FilterModule:
    """The interface that Ansible expects."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by their names in the playbooks."""
        filters = (join_target, is_orphan, must_join, stale_nodes, node_updates, ready_nodes)
        return {f"swarm_{function.__name__}": function for function in filters}

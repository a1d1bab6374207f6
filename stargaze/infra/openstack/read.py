"""From what openstacksdk returns to plain data. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from stargaze.infra.plan.desired import ANYWHERE, Rule
from stargaze.infra.plan.offers import Flavor, Image, Limit, Network
from stargaze.infra.plan.resources import ActualResource, Kind, cluster_tag, preference

GIGABYTE = 1024.0
"""Nova counts memory in MiB."""
INTERFACES = (
    "network:router_interface",
    "network:ha_router_replicated_interface",
    "network:router_interface_distributed",
)
KEY = "stargaze-infra"
"""Of a server's metadata."""


def _images(connection: Any) -> tuple[Image, ...]:
    return tuple(
        Image(
            image.id,
            image.name or "",
            str(image.created_at or ""),
            (image.min_ram or 0) / GIGABYTE,
            image.min_disk or 0,
        )
        for image in connection.image.images(status="active")
    )


def _flavors(connection: Any) -> tuple[Flavor, ...]:
    return tuple(
        Flavor(flavor.id, flavor.name, flavor.vcpus, flavor.ram / GIGABYTE, flavor.disk)
        for flavor in connection.compute.flavors()
        if not flavor.is_disabled
    )


def _networks(connection: Any) -> tuple[Network, ...]:
    return tuple(
        Network(one.id, one.name or "", bool(one.is_router_external), tuple(one.subnet_ids or ()))
        for one in connection.network.networks()
    )


def _keypairs(connection: Any) -> tuple[str, ...]:
    return tuple(one.name for one in connection.compute.keypairs())


def _zones(connection: Any) -> tuple[str, ...]:
    return tuple(zone.name for zone in connection.compute.availability_zones())


def _limits(connection: Any) -> dict[str, Limit]:
    """Read both quotas: Nova's of machines, Neutron's of all that connects them."""
    compute = connection.compute.get_limits().absolute
    network = connection.network.get_quota(connection.current_project_id, details=True)
    found = {
        "servers": Limit(compute.instances, compute.instances_used),
        "cores": Limit(compute.total_cores, compute.total_cores_used),
        "memory": Limit(_gigabytes(compute.total_ram), compute.total_ram_used / GIGABYTE),
    }
    for name, attribute in NETWORK_QUOTAS.items():
        told = getattr(network, attribute)
        found[name] = Limit(told["limit"], told["used"] + told.get("reserved", 0))
    return found


NETWORK_QUOTAS = {
    "networks": "networks",
    "subnets": "subnets",
    "routers": "routers",
    "ports": "ports",
    "floating IPs": "floating_ips",
    "security groups": "security_groups",
    "security group rules": "security_group_rules",
}


def _gigabytes(megabytes: float) -> float:
    return megabytes if megabytes < 0 else megabytes / GIGABYTE


OFFERS: Mapping[str, Callable[[Any], Any]] = {
    "images": _images,
    "flavors": _flavors,
    "networks": _networks,
    "keypairs": _keypairs,
    "zones": _zones,
    "limits": _limits,
}
"""The parts of :class:`stargaze.infra.plan.offers.Offers`, each read by itself."""

LISTS: Mapping[str, Callable[[Any, str], Iterable[Any]]] = {
    "keypair": lambda connection, name: filter(None, [connection.compute.find_keypair(name)]),
    "network": lambda connection, _: connection.network.networks(project_id=connection.current_project_id),
    "subnet": lambda connection, _: connection.network.subnets(project_id=connection.current_project_id),
    "router": lambda connection, _: connection.network.routers(project_id=connection.current_project_id),
    "port": lambda connection, _: connection.network.ports(project_id=connection.current_project_id),
    "security group": lambda connection, _: connection.network.security_groups(
        project_id=connection.current_project_id
    ),
    "floating IP": lambda connection, _: connection.network.ips(project_id=connection.current_project_id),
    "server": lambda connection, _: connection.compute.servers(),
    "anti-affinity group": lambda connection, _: connection.compute.server_groups(),
}
"""How all things of a kind are listed."""


def owned_resources(listed: Mapping[str, Sequence[Any]], name: str) -> tuple[ActualResource, ...]:
    """Pick what is ours out of all lists, and say of each what it is compared by."""
    mark = cluster_tag(name)
    ours = {kind: [one for one in things if _is_ours(one, mark)] for kind, things in listed.items()}
    used = _used(listed)
    every_group = sorted((_of("security group", one, mark, {}, used) for one in ours["security group"]), key=preference)
    # Of two of one name the worse keeps its id for a name, so that what hangs on it is moved to the better.
    groups = {one.id: one.name for one in {one.name: one for one in reversed(every_group)}.values()}
    ports = {one.id: one.name for one in ours["port"]}
    routers = {one.id: one.name for one in ours["router"]}
    subnets = {one.id for one in ours["subnet"]}
    found = [
        *(_keypair(one, mark) for one in listed["keypair"]),
        *(_of("network", one, mark, {}, used) for one in ours["network"]),
        *(_of("subnet", one, mark, seen("subnet", one), used) for one in ours["subnet"]),
        *(_of("router", one, mark, seen("router", one), used) for one in ours["router"]),
        *(
            ActualResource("interface", routers[one.device_id], one.id, {"router": one.device_id})
            for one in listed["port"]
            if one.device_owner in INTERFACES and one.device_id in routers and _is_in(one, subnets)
        ),
        *every_group,
        *(
            ActualResource(
                "rules",
                one.name,
                one.id,
                {"rules": rules(one, groups)},
                made_at=str(one.created_at or ""),
                used=one.id in used,
            )
            for one in ours["security group"]
        ),
        *(_group(one) for one in listed["anti-affinity group"] if one.name == mark),
        *(_of("port", one, mark, seen("port", one) | {"groups": _names(one, groups)}, used) for one in ours["port"]),
        *servers(listed["server"], name),
        *(_floating(one, name, mark, ports) for one in ours["floating IP"]),
    ]
    return tuple(found)


def servers(listed: Iterable[Any], name: str) -> tuple[ActualResource, ...]:
    """Pick our servers."""
    return tuple(
        ActualResource(
            "server", one.name, one.id, seen("server", one), one.status, _fault(one), str(one.created_at or "")
        )
        for one in listed
        if (one.metadata or {}).get(KEY) == name
    )


def seen(kind: Kind, one: Any) -> dict[str, Any]:
    """Return what a thing is compared by, as far as it tells it itself."""
    if kind == "subnet":
        return {"cidr": one.cidr, "nameservers": sorted(one.dns_nameservers or []), "network": one.network_id}
    if kind == "router":
        return {"outside": (one.external_gateway_info or {}).get("network_id", "")}
    if kind == "port":
        addresses = [address["ip_address"] for address in one.fixed_ips or []]
        return {"address": addresses[0] if addresses else "", "network": one.network_id}
    if kind == "floating IP":
        return {"address": one.floating_ip_address}
    if kind == "server":
        image, flavor = one.image or {}, one.flavor or {}
        return {"image": image.get("id", ""), "flavor name": flavor.get("original_name") or flavor.get("name", "")}
    return {}


def rules(group: Any, groups: Mapping[str, str]) -> list[str]:
    """Write the rules that let something in, in one line each."""
    return sorted(set(rules_of(group, groups)))


def rules_of(group: Any, groups: Mapping[str, str]) -> dict[str, str]:
    """Return the rules that let something in: how each is written, and its id."""
    return {
        str(_rule(rule, groups)): rule["id"]
        for rule in group.security_group_rules or []
        if rule["direction"] == "ingress"
    }


def _rule(rule: Mapping[str, Any], groups: Mapping[str, str]) -> Rule:
    remote = rule.get("remote_group_id")
    anywhere = ANYWHERE[1] if rule.get("ethertype") == "IPv6" else ANYWHERE[0]
    source = f"group:{groups.get(remote, remote)}" if remote else rule.get("remote_ip_prefix") or anywhere
    return Rule(rule.get("protocol") or "any", rule.get("port_range_min"), rule.get("port_range_max"), source)


def _is_ours(one: Any, mark: str) -> bool:
    return getattr(one, "description", "") == mark or mark in (getattr(one, "tags", None) or [])


def _used(listed: Mapping[str, Sequence[Any]]) -> set[str]:
    """Return the ids of all that something else hangs on."""
    ports, subnets = listed["port"], listed["subnet"]
    found = {one.network_id for one in (*ports, *subnets)} | {one.device_id for one in ports}
    found |= {group for port in ports for group in port.security_group_ids or []}
    found |= {address.get("subnet_id") for port in ports for address in port.fixed_ips or []}
    return found | {port.id for port in ports if port.device_id}


def _of(kind: Kind, one: Any, mark: str, spec: Mapping[str, Any], used: set[str]) -> ActualResource:
    untagged = mark not in (one.tags or [])
    return ActualResource(
        kind,
        one.name,
        one.id,
        {**spec, "untagged": untagged},
        made_at=str(one.created_at or ""),
        used=one.id in used,
    )


def _is_in(port: Any, subnets: Collection[str]) -> bool:
    """Return whether a port is in one of these subnets; a router of ours may lead to those of others too."""
    return any(address.get("subnet_id") in subnets for address in port.fixed_ips or [])


def _keypair(one: Any, mark: str) -> ActualResource:
    kind, key, *comment = [*(one.public_key or "").split(), "", ""][:3]
    return ActualResource("keypair", one.name, one.name, {"public_key": f"{kind} {key}"}, foreign=comment != [mark])


def _group(one: Any) -> ActualResource:
    policy = one.policy or next(iter(one.policies or []), "")
    unlike = "" if "anti-affinity" in policy else f"its policy is {policy or 'none'}"
    return ActualResource("anti-affinity group", one.name, one.id, used=bool(one.member_ids), unlike=unlike)


def _floating(one: Any, name: str, mark: str, ports: Mapping[str, str]) -> ActualResource:
    spec = {**seen("floating IP", one), "port": ports.get(one.port_id, ""), "untagged": mark not in (one.tags or [])}
    return ActualResource(
        "floating IP",
        f"{name}-orchestration",
        one.id,
        spec,
        made_at=str(one.created_at or ""),
        used=bool(one.port_id),
    )


def _names(port: Any, groups: Mapping[str, str]) -> list[str]:
    return sorted(groups.get(one, one) for one in port.security_group_ids or [])


def _fault(server: Any) -> str:
    return str((server.fault or {}).get("message", "")) if server.status == "ERROR" else ""

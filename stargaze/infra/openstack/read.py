"""Convert what openstacksdk returns to plain data. Nothing here changes anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from stargaze.infra.plan.offers import Flavor, Image, Limit, Network
from stargaze.infra.plan.resources import ANYWHERE, ActualResource, Kind, Rule, cluster_tag, preference

MIB_PER_GB = 1024.0
"""Nova counts memory in MiB."""
INTERFACE_OWNERS = (
    "network:router_interface",
    "network:ha_router_replicated_interface",
    "network:router_interface_distributed",
)
METADATA_KEY = "stargaze-infra"
"""The metadata key of a server; its value is the cluster's name."""
NETWORK_QUOTAS = {
    "networks": "networks",
    "subnets": "subnets",
    "routers": "routers",
    "ports": "ports",
    "floating IPs": "floating_ips",
    "security groups": "security_groups",
    "security group rules": "security_group_rules",
}


def _read_images(connection: Any) -> tuple[Image, ...]:
    return tuple(
        Image(
            image.id,
            image.name or "",
            str(image.created_at or ""),
            (image.min_ram or 0) / MIB_PER_GB,
            image.min_disk or 0,
        )
        for image in connection.image.images(status="active")
    )


def _read_flavors(connection: Any) -> tuple[Flavor, ...]:
    return tuple(
        Flavor(flavor.id, flavor.name, flavor.vcpus, flavor.ram / MIB_PER_GB, flavor.disk)
        for flavor in connection.compute.flavors()
        if not flavor.is_disabled
    )


def _read_networks(connection: Any) -> tuple[Network, ...]:
    return tuple(
        Network(network.id, network.name or "", bool(network.is_router_external), tuple(network.subnet_ids or ()))
        for network in connection.network.networks()
    )


def _read_limits(connection: Any) -> dict[str, Limit]:
    """Read the quotas of Nova (servers) and Neutron (networks)."""
    compute = connection.compute.get_limits().absolute
    network = connection.network.get_quota(connection.current_project_id, details=True)
    memory = compute.total_ram if compute.total_ram < 0 else compute.total_ram / MIB_PER_GB
    limits = {
        "servers": Limit(compute.instances, compute.instances_used),
        "cores": Limit(compute.total_cores, compute.total_cores_used),
        "memory": Limit(memory, compute.total_ram_used / MIB_PER_GB),
    }
    for name, attribute in NETWORK_QUOTAS.items():
        quota = getattr(network, attribute)
        limits[name] = Limit(quota["limit"], quota["used"] + quota.get("reserved", 0))
    return limits


OFFERS: Mapping[str, Callable[[Any], Any]] = {
    "images": _read_images,
    "flavors": _read_flavors,
    "networks": _read_networks,
    "keypairs": lambda connection: tuple(keypair.name for keypair in connection.compute.keypairs()),
    "zones": lambda connection: tuple(zone.name for zone in connection.compute.availability_zones()),
    "limits": _read_limits,
}
"""The functions that read each field of :class:`stargaze.infra.plan.offers.Offers`."""


def _list_in_project(method: str) -> Callable[[Any, str], Iterable[Any]]:
    """Return a function that lists a kind of Neutron, also for an administrator only in the current project."""
    return lambda connection, _: getattr(connection.network, method)(project_id=connection.current_project_id)


LIST: Mapping[str, Callable[[Any, str], Iterable[Any]]] = {
    "keypair": lambda connection, name: filter(None, [connection.compute.find_keypair(name)]),
    "network": _list_in_project("networks"),
    "subnet": _list_in_project("subnets"),
    "router": _list_in_project("routers"),
    "port": _list_in_project("ports"),
    "security group": _list_in_project("security_groups"),
    "floating IP": _list_in_project("ips"),
    "server": lambda connection, _: connection.compute.servers(),
    "anti-affinity group": lambda connection, _: connection.compute.server_groups(),
}
"""The functions that list all resources of a kind."""


def owned_resources(listed: Mapping[str, Sequence[Any]], name: str) -> tuple[ActualResource, ...]:
    """Select the resources of a cluster from the lists of all kinds, with the values they are compared by."""
    tag = cluster_tag(name)
    owned = {
        kind: [resource for resource in resources if _has_tag(resource, tag)] for kind, resources in listed.items()
    }
    in_use = _ids_in_use(listed)
    raw_groups = {group.id: group for group in owned["security group"]}
    groups = sorted(
        (_to_resource("security group", group, tag, in_use) for group in raw_groups.values()), key=preference
    )
    # Of two groups with one name only the preferred one gets the name, so that ports of the other are moved to it.
    group_names = {group.id: group.name for group in {group.name: group for group in reversed(groups)}.values()}
    port_names = {port.id: port.name for port in owned["port"]}
    router_names = {router.id: router.name for router in owned["router"]}
    subnet_ids = {subnet.id for subnet in owned["subnet"]}

    def group_names_of(port: Any) -> list[str]:
        return sorted(group_names.get(group, group) for group in port.security_group_ids or [])

    return (
        *(_keypair(keypair, tag) for keypair in listed["keypair"]),
        *(_to_resource("network", network, tag, in_use) for network in owned["network"]),
        *(_to_resource("subnet", subnet, tag, in_use) for subnet in owned["subnet"]),
        *(_to_resource("router", router, tag, in_use) for router in owned["router"]),
        *(
            ActualResource("interface", router_names[port.device_id], port.id, {"router": port.device_id})
            for port in listed["port"]
            if port.device_owner in INTERFACE_OWNERS and port.device_id in router_names and _is_in(port, subnet_ids)
        ),
        *groups,
        *(
            dataclasses.replace(
                group, kind="rules", spec={"rules": sorted(ingress_rules(raw_groups[group.id], group_names))}
            )
            for group in groups
        ),
        *(_anti_affinity_group(group) for group in listed["anti-affinity group"] if group.name == tag),
        *(_to_resource("port", port, tag, in_use, groups=group_names_of(port)) for port in owned["port"]),
        *owned_servers(listed["server"], name),
        *(_floating_ip(address, name, tag, port_names) for address in owned["floating IP"]),
    )


def owned_servers(listed: Iterable[Any], name: str) -> tuple[ActualResource, ...]:
    """Select the servers of a cluster."""
    return tuple(
        ActualResource(
            "server",
            server.name,
            server.id,
            comparable_spec("server", server),
            server.status,
            str((server.fault or {}).get("message", "")) if server.status == "ERROR" else "",
            str(server.created_at or ""),
        )
        for server in listed
        if (server.metadata or {}).get(METADATA_KEY) == name
    )


def comparable_spec(kind: Kind, resource: Any) -> dict[str, Any]:
    """Return the values that a resource is compared by, as far as it contains them itself."""
    if kind == "subnet":
        nameservers = sorted(resource.dns_nameservers or [])
        return {"cidr": resource.cidr, "nameservers": nameservers, "network": resource.network_id}
    if kind == "router":
        return {"external_network": (resource.external_gateway_info or {}).get("network_id", "")}
    if kind == "port":
        addresses = [address["ip_address"] for address in resource.fixed_ips or []]
        return {"address": addresses[0] if addresses else "", "network": resource.network_id}
    if kind == "floating IP":
        return {"address": resource.floating_ip_address}
    if kind == "server":
        image, flavor = resource.image or {}, resource.flavor or {}
        return {"image": image.get("id", ""), "flavor": flavor.get("original_name") or flavor.get("name", "")}
    return {}


def ingress_rules(group: Any, group_names: Mapping[str, str]) -> dict[str, str]:
    """Return the ids of a group's rules for incoming connections by their canonical text."""
    return {
        str(_parse_rule(rule, group_names)): rule["id"]
        for rule in group.security_group_rules or []
        if rule["direction"] == "ingress"
    }


def _parse_rule(rule: Mapping[str, Any], group_names: Mapping[str, str]) -> Rule:
    group = rule.get("remote_group_id")
    anywhere = ANYWHERE[1] if rule.get("ethertype") == "IPv6" else ANYWHERE[0]
    source = f"group:{group_names.get(group, group)}" if group else rule.get("remote_ip_prefix") or anywhere
    return Rule(rule.get("protocol") or "any", rule.get("port_range_min"), rule.get("port_range_max"), source)


def _has_tag(resource: Any, tag: str) -> bool:
    return getattr(resource, "description", "") == tag or tag in (getattr(resource, "tags", None) or [])


def _ids_in_use(listed: Mapping[str, Sequence[Any]]) -> set[str]:
    """Return the ids of all resources to which another resource is attached."""
    ports, subnets = listed["port"], listed["subnet"]
    ids = {resource.network_id for resource in (*ports, *subnets)} | {port.device_id for port in ports}
    ids |= {group for port in ports for group in port.security_group_ids or []}
    ids |= {address.get("subnet_id") for port in ports for address in port.fixed_ips or []}
    return ids | {port.id for port in ports if port.device_id}


def _to_resource(kind: Kind, resource: Any, tag: str, in_use: set[str], **values: Any) -> ActualResource:
    return ActualResource(
        kind,
        resource.name,
        resource.id,
        {**comparable_spec(kind, resource), **values, "untagged": tag not in (resource.tags or [])},
        created_at=str(resource.created_at or ""),
        is_in_use=resource.id in in_use,
    )


def _is_in(port: Any, subnet_ids: Collection[str]) -> bool:
    """Return whether a port is in one of these subnets; the cluster's router may also have ports in others."""
    return any(address.get("subnet_id") in subnet_ids for address in port.fixed_ips or [])


def _keypair(keypair: Any, tag: str) -> ActualResource:
    kind, key, *comment = [*(keypair.public_key or "").split(), "", ""][:3]
    spec = {"public_key": f"{kind} {key}"}
    return ActualResource("keypair", keypair.name, keypair.name, spec, is_foreign=comment != [tag])


def _anti_affinity_group(group: Any) -> ActualResource:
    policy = group.policy or next(iter(group.policies or []), "")
    conflict = "" if "anti-affinity" in policy else f"its policy is {policy or 'none'}"
    return ActualResource(
        "anti-affinity group", group.name, group.id, is_in_use=bool(group.member_ids), conflict=conflict
    )


def _floating_ip(address: Any, name: str, tag: str, port_names: Mapping[str, str]) -> ActualResource:
    resource = _to_resource("floating IP", address, tag, set(), port=port_names.get(address.port_id, ""))
    return dataclasses.replace(resource, name=f"{name}-orchestration", is_in_use=bool(address.port_id))

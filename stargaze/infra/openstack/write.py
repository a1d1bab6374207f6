"""Create, update and delete resources with openstacksdk: one function per kind."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stargaze.errors import ExternalError
from stargaze.infra.openstack.read import METADATA_KEY, ingress_rules
from stargaze.infra.plan.resources import ActualResource, DesiredResource, Kind

RULE_PATTERN = re.compile(r"(?P<protocol>\w+)(?: (?P<first>\d+)(?:-(?P<last>\d+))?)? from (?P<source>\S+)")
TAGS_VERSION = "2.52"
"""Version of the compute API in which a server can be created with tags."""
DELETE_TIMEOUT = 300
"""Timeout for the deletion of a server [s]."""
POLL_INTERVAL = 1.0
"""Time between two checks whether a server is deleted [s]."""
WAKE_METHODS = {
    "PAUSED": "unpause_server",
    "SUSPENDED": "resume_server",
    "SHELVED": "unshelve_server",
    "SHELVED_OFFLOADED": "unshelve_server",
}
"""The method that starts a server in one of these states; in all others it is start_server."""
GROUP_PREFIX = "security group "
Ids = Mapping[str, str]


@dataclass(frozen=True)
class TaggedConnection:
    """A connection, and the name and tag of the cluster that its resources belong to."""

    connection: Any
    cluster: str
    tag: str

    @property
    def network(self) -> Any:
        """The proxy of Neutron."""
        return self.connection.network

    @property
    def compute(self) -> Any:
        """The proxy of Nova."""
        return self.connection.compute


def _create_keypair(cloud: TaggedConnection, resource: DesiredResource, _: Ids) -> Any:
    """Create a keypair with the tag as the key's comment, because a keypair has no tags."""
    return cloud.compute.create_keypair(name=resource.name, public_key=f"{resource.spec['public_key']} {cloud.tag}")


def _create_interface(cloud: TaggedConnection, resource: DesiredResource, ids: Ids) -> Any:
    subnet_id = ids[f"subnet {resource.name}"]
    interface = cloud.network.add_interface_to_router(ids[f"router {resource.name}"], subnet_id)
    return cloud.network.get_port(interface["port_id"])


def _create_rules(cloud: TaggedConnection, resource: DesiredResource, ids: Ids) -> Any:
    """Add only the missing rules, so that the call can be repeated after a lost response."""
    group = cloud.network.get_security_group(ids[f"{GROUP_PREFIX}{resource.name}"])
    _add_missing_rules(cloud, group, resource, ids)
    return group


def _create_anti_affinity_group(cloud: TaggedConnection, resource: DesiredResource, _: Ids) -> Any:
    return cloud.compute.create_server_group(name=resource.name, policy="soft-anti-affinity")


def _create_server(cloud: TaggedConnection, resource: DesiredResource, ids: Ids) -> Any:
    spec = resource.spec
    options: dict[str, Any] = {"availability_zone": spec["zone"]} if spec["zone"] else {}
    if spec["anti_affinity"] and (group := ids.get(f"anti-affinity group {cloud.tag}")):
        options["scheduler_hints"] = {"group": group}
    return cloud.compute.create_server(
        name=resource.name,
        image_id=spec["image"],
        flavor_id=spec["flavor_id"],
        networks=[{"port": ids[f"port {resource.name}"]}],
        key_name=spec["keypair"],
        user_data=base64.b64encode(spec["user_data"].encode()).decode(),
        metadata={
            METADATA_KEY: cloud.cluster,
            f"{METADATA_KEY}-role": spec["role"],
            f"{METADATA_KEY}-machine": spec["machine"],
        },
        tags=[cloud.tag],
        microversion=TAGS_VERSION,
        **options,
    )


def _create_with(kind: str, values: Callable[[DesiredResource, Ids], dict[str, Any]]) -> Callable[..., Any]:
    """Return a function that creates a resource of Neutron with these values.

    The tag is its description too, because Neutron sets tags only in a second call.
    """

    def create(cloud: TaggedConnection, resource: DesiredResource, ids: Ids) -> Any:
        created = getattr(cloud.network, f"create_{kind}")(description=cloud.tag, **values(resource, ids))
        cloud.network.set_tags(created, [cloud.tag])
        return created

    return create


def _name(resource: DesiredResource, _: Ids) -> dict[str, Any]:
    return {"name": resource.name}


def _subnet(resource: DesiredResource, ids: Ids) -> dict[str, Any]:
    network = {"network_id": ids[f"network {resource.name}"], "ip_version": 4, "cidr": resource.spec["cidr"]}
    return {"name": resource.name, **network, **_nameservers(resource, ids)}


def _nameservers(resource: DesiredResource, _: Ids) -> dict[str, Any]:
    return {"dns_nameservers": resource.spec["nameservers"]}


def _gateway(resource: DesiredResource, _: Ids) -> dict[str, Any]:
    return {"external_gateway_info": {"network_id": resource.spec["external_network"]}}


def _port(resource: DesiredResource, ids: Ids) -> dict[str, Any]:
    network_id = resource.spec["network"] or next(value for key, value in ids.items() if key.startswith("network "))
    return {"name": resource.name, "network_id": network_id, **_port_groups(resource, ids)}


def _port_groups(resource: DesiredResource, ids: Ids) -> dict[str, Any]:
    return {"security_group_ids": [ids[f"{GROUP_PREFIX}{name}"] for name in resource.spec["groups"]]}


def _floating_ip(resource: DesiredResource, ids: Ids) -> dict[str, Any]:
    return {"floating_network_id": resource.spec["external_network"], **_floating_ip_port(resource, ids)}


def _floating_ip_port(resource: DesiredResource, ids: Ids) -> dict[str, Any]:
    return {"port_id": ids[f"port {resource.spec['port']}"]}


CREATE: Mapping[Kind, Callable[[TaggedConnection, DesiredResource, Ids], Any]] = {
    "keypair": _create_keypair,
    "network": _create_with("network", _name),
    "subnet": _create_with("subnet", _subnet),
    "router": _create_with("router", lambda *arguments: _name(*arguments) | _gateway(*arguments)),
    "interface": _create_interface,
    "security group": _create_with("security_group", _name),
    "rules": _create_rules,
    "anti-affinity group": _create_anti_affinity_group,
    "port": _create_with("port", _port),
    "server": _create_server,
    "floating IP": _create_with("ip", _floating_ip),
}
"""The functions that create each kind; ``ids`` are those of its dependencies."""


def _update_rules(cloud: TaggedConnection, resource: DesiredResource, actual: ActualResource, ids: Ids) -> None:
    group = cloud.network.get_security_group(actual.id)
    for rule, rule_id in _add_missing_rules(cloud, group, resource, ids).items():
        if rule not in resource.spec["rules"]:
            cloud.network.delete_security_group_rule(rule_id)


def _start_server(cloud: TaggedConnection, _: DesiredResource, actual: ActualResource, *__: Any) -> None:
    getattr(cloud.compute, WAKE_METHODS.get(actual.state, "start_server"))(actual.id)


def _update_with(kind: str, values: Callable[[DesiredResource, Ids], dict[str, Any]]) -> Callable[..., None]:
    """Return a function that updates a resource of Neutron with these values, and its tag."""

    def update(cloud: TaggedConnection, desired: DesiredResource, actual: ActualResource, ids: Ids) -> None:
        resource = getattr(cloud.network, f"get_{kind}")(actual.id)
        if changes := values(desired, ids):
            resource = getattr(cloud.network, f"update_{kind}")(resource, **changes)
        if actual.spec.get("untagged"):
            cloud.network.set_tags(resource, sorted({*(resource.tags or []), cloud.tag}))

    return update


UPDATE: Mapping[Kind, Callable[..., None]] = {
    "network": _update_with("network", lambda *_: {}),
    "subnet": _update_with("subnet", _nameservers),
    "router": _update_with("router", _gateway),
    "security group": _update_with("security_group", lambda *_: {}),
    "rules": _update_rules,
    "port": _update_with("port", _port_groups),
    "server": _start_server,
    "floating IP": _update_with("ip", _floating_ip_port),
}
"""The functions that update each kind in place."""


def _delete_server(connection: Any, resource: ActualResource) -> None:
    connection.compute.delete_server(resource.id)
    deadline = time.monotonic() + DELETE_TIMEOUT
    while connection.compute.find_server(resource.id, details=False) is not None:
        if time.monotonic() > deadline:
            raise ExternalError(
                f"{resource.key} was not deleted within {DELETE_TIMEOUT} s", hint="run the command again"
            )
        time.sleep(POLL_INTERVAL)


DELETE: Mapping[Kind, Callable[[Any, ActualResource], None]] = {
    "floating IP": lambda connection, resource: connection.network.delete_ip(resource.id),
    "server": _delete_server,
    "port": lambda connection, resource: connection.network.delete_port(resource.id),
    "interface": lambda connection, resource: connection.network.remove_interface_from_router(
        resource.spec["router"], None, resource.id
    ),
    "router": lambda connection, resource: connection.network.delete_router(resource.id),
    "subnet": lambda connection, resource: connection.network.delete_subnet(resource.id),
    "network": lambda connection, resource: connection.network.delete_network(resource.id),
    "rules": lambda *_: None,
    "security group": lambda connection, resource: connection.network.delete_security_group(resource.id),
    "anti-affinity group": lambda connection, resource: connection.compute.delete_server_group(resource.id),
    "keypair": lambda connection, resource: connection.compute.delete_keypair(resource.id),
}
"""The functions that delete each kind; rules are deleted with their security group."""


def _add_missing_rules(cloud: TaggedConnection, group: Any, resource: DesiredResource, ids: Ids) -> dict[str, str]:
    """Add the missing rules in one call; return the existing ones with their ids."""
    names = {value: key.removeprefix(GROUP_PREFIX) for key, value in ids.items() if key.startswith(GROUP_PREFIX)}
    existing = ingress_rules(group, names)
    if missing := [_rule_body(rule, group.id, ids) for rule in resource.spec["rules"] if rule not in existing]:
        cloud.network.create_security_group_rules(missing)
    return existing


def _rule_body(rule: str, group_id: str, ids: Ids) -> dict[str, Any]:
    match = RULE_PATTERN.fullmatch(rule)
    assert match is not None  # noqa: S101 - the text comes from Rule
    source = match["source"]
    body: dict[str, Any] = {"security_group_id": group_id, "direction": "ingress", "protocol": match["protocol"]}
    if match["first"]:
        body |= {"port_range_min": int(match["first"]), "port_range_max": int(match["last"] or match["first"])}
    if source.startswith("group:"):
        return body | {"ether_type": "IPv4", "remote_group_id": ids[GROUP_PREFIX + source.removeprefix("group:")]}
    return body | {"ether_type": "IPv6" if ":" in source else "IPv4", "remote_ip_prefix": source}

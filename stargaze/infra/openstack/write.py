"""What is made, changed and deleted with openstacksdk: one short function a kind of thing."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stargaze.errors import ExternalError
from stargaze.infra.openstack.read import KEY, rules_of
from stargaze.infra.plan.resources import ActualResource, DesiredResource, Kind

RULE = re.compile(r"(?P<protocol>\w+)(?: (?P<first>\d+)(?:-(?P<last>\d+))?)? from (?P<source>\S+)")
TAGS_VERSION = "2.52"
"""Of the compute API: a server has its tags from its first moment."""
GONE_WITHIN = 300
"""How long the deletion of a server may take [s]."""
LOOK = 1.0
"""How often it is looked whether a server is gone [s]."""
AWAKE = {
    "PAUSED": "unpause_server",
    "SUSPENDED": "resume_server",
    "SHELVED": "unshelve_server",
    "SHELVED_OFFLOADED": "unshelve_server",
}
"""How a server that sleeps is woken; all others are started."""
Ids = Mapping[str, str]


@dataclass(frozen=True)
class Hand:
    """What makes things: the way to the cloud, the cluster's name and mark."""

    connection: Any
    name: str
    mark: str


def _keypair(hand: Hand, resource: DesiredResource, _: Ids) -> Any:
    """Make it with our mark as the key's comment: a keypair has no tags, and one of the same name may be another's."""
    marked = f"{resource.spec['public_key']} {hand.mark}"
    return hand.connection.compute.create_keypair(name=resource.name, public_key=marked)


def _network(hand: Hand, resource: DesiredResource, _: Ids) -> Any:
    return _tagged(hand, hand.connection.network.create_network, name=resource.name)


def _subnet(hand: Hand, resource: DesiredResource, ids: Ids) -> Any:
    return _tagged(
        hand,
        hand.connection.network.create_subnet,
        name=resource.name,
        network_id=ids[f"network {resource.name}"],
        ip_version=4,
        cidr=resource.spec["cidr"],
        dns_nameservers=resource.spec["nameservers"],
    )


def _router(hand: Hand, resource: DesiredResource, _: Ids) -> Any:
    outside = {"network_id": resource.spec["outside"]}
    return _tagged(hand, hand.connection.network.create_router, name=resource.name, external_gateway_info=outside)


def _interface(hand: Hand, resource: DesiredResource, ids: Ids) -> Any:
    subnet = ids[f"subnet {resource.name}"]
    made = hand.connection.network.add_interface_to_router(ids[f"router {resource.name}"], subnet)
    return hand.connection.network.get_port(made["port_id"])


def _group(hand: Hand, resource: DesiredResource, _: Ids) -> Any:
    return _tagged(hand, hand.connection.network.create_security_group, name=resource.name)


def _rules(hand: Hand, resource: DesiredResource, ids: Ids) -> Any:
    """Add the rules that are lacking, so that it may be done again where an answer was lost."""
    group = hand.connection.network.get_security_group(ids[f"security group {resource.name}"])
    there = rules_of(group, _names(ids))
    _add(hand.connection, group, [one for one in resource.spec["rules"] if one not in there], ids)
    return group


def _names(ids: Ids) -> dict[str, str]:
    """Return the names of our groups by their ids."""
    kind = "security group "
    return {value: key.removeprefix(kind) for key, value in ids.items() if key.startswith(kind)}


def _apart(hand: Hand, resource: DesiredResource, _: Ids) -> Any:
    return hand.connection.compute.create_server_group(name=resource.name, policy="soft-anti-affinity")


def _port(hand: Hand, resource: DesiredResource, ids: Ids) -> Any:
    return _tagged(
        hand,
        hand.connection.network.create_port,
        name=resource.name,
        network_id=resource.spec["network"] or next(found for key, found in ids.items() if key.startswith("network ")),
        security_group_ids=[ids[f"security group {name}"] for name in resource.spec["groups"]],
    )


def _server(hand: Hand, resource: DesiredResource, ids: Ids) -> Any:
    spec = resource.spec
    group = ids.get(f"anti-affinity group {hand.mark}") if spec["apart"] else None
    more: dict[str, Any] = {"availability_zone": spec["zone"]} if spec["zone"] else {}
    if group:
        more["scheduler_hints"] = {"group": group}
    return hand.connection.compute.create_server(
        name=resource.name,
        image_id=spec["image"],
        flavor_id=spec["flavor"],
        networks=[{"port": ids[f"port {resource.name}"]}],
        key_name=spec["keypair"],
        user_data=base64.b64encode(spec["user_data"].encode()).decode(),
        metadata={KEY: hand.name, f"{KEY}-role": spec["role"], f"{KEY}-machine": spec["machine"]},
        tags=[hand.mark],
        microversion=TAGS_VERSION,
        **more,
    )


def _floating(hand: Hand, resource: DesiredResource, ids: Ids) -> Any:
    return _tagged(
        hand,
        hand.connection.network.create_ip,
        floating_network_id=resource.spec["outside"],
        port_id=ids[f"port {resource.spec['port']}"],
    )


def _tagged(hand: Hand, create: Callable[..., Any], **values: Any) -> Any:
    """Make a thing with our mark: in its description from the first moment, as Neutron takes a tag only afterwards."""
    made = create(description=hand.mark, **values)
    hand.connection.network.set_tags(made, [hand.mark])
    return made


MAKE: Mapping[Kind, Callable[[Hand, DesiredResource, Ids], Any]] = {
    "keypair": _keypair,
    "network": _network,
    "subnet": _subnet,
    "router": _router,
    "interface": _interface,
    "security group": _group,
    "rules": _rules,
    "anti-affinity group": _apart,
    "port": _port,
    "server": _server,
    "floating IP": _floating,
}
"""How each kind is made; ``ids`` are of what it needs."""


def _mend_rules(connection: Any, resource: DesiredResource, found: ActualResource, ids: Ids, _: str) -> None:
    group = connection.network.get_security_group(found.id)
    there = rules_of(group, _names(ids))
    _add(connection, group, [one for one in resource.spec["rules"] if one not in there], ids)
    for line, rule_id in there.items():
        if line not in resource.spec["rules"]:
            connection.network.delete_security_group_rule(rule_id)


def _mend_server(connection: Any, _: DesiredResource, found: ActualResource, *__: Any) -> None:
    start = AWAKE.get(found.state, "start_server")
    getattr(connection.compute, start)(found.id)


def _update(update: str, get: str, values: Callable[[DesiredResource, Ids], dict[str, Any]]) -> Callable[..., None]:
    """Return how a thing of Neutron's is changed: what differs, and its tag."""

    def mend(connection: Any, resource: DesiredResource, found: ActualResource, ids: Ids, mark: str) -> None:
        one = getattr(connection.network, get)(found.id)
        if changed := values(resource, ids):
            one = getattr(connection.network, update)(one, **changed)
        if found.spec.get("untagged"):
            connection.network.set_tags(one, sorted({*(one.tags or []), mark}))

    return mend


MEND: Mapping[Kind, Callable[..., None]] = {
    "network": _update("update_network", "get_network", lambda *_: {}),
    "subnet": _update(
        "update_subnet", "get_subnet", lambda resource, _: {"dns_nameservers": resource.spec["nameservers"]}
    ),
    "router": _update(
        "update_router",
        "get_router",
        lambda resource, _: {"external_gateway_info": {"network_id": resource.spec["outside"]}},
    ),
    "security group": _update("update_security_group", "get_security_group", lambda *_: {}),
    "rules": _mend_rules,
    "port": _update(
        "update_port",
        "get_port",
        lambda resource, ids: {
            "security_group_ids": [ids[f"security group {name}"] for name in resource.spec["groups"]]
        },
    ),
    "server": _mend_server,
    "floating IP": _update(
        "update_ip", "get_ip", lambda resource, ids: {"port_id": ids[f"port {resource.spec['port']}"]}
    ),
}
"""How each kind is changed in place."""


def _delete_server(connection: Any, found: ActualResource) -> None:
    connection.compute.delete_server(found.id)
    limit = time.monotonic() + GONE_WITHIN
    while connection.compute.find_server(found.id, details=False) is not None:
        if time.monotonic() > limit:
            raise ExternalError(
                f"server {found.name} is not gone after {GONE_WITHIN} s", hint="stargaze infra up, again"
            )
        time.sleep(LOOK)


REMOVE: Mapping[Kind, Callable[[Any, ActualResource], None]] = {
    "floating IP": lambda connection, found: connection.network.delete_ip(found.id),
    "server": _delete_server,
    "port": lambda connection, found: connection.network.delete_port(found.id),
    "interface": lambda connection, found: connection.network.remove_interface_from_router(
        found.spec["router"], None, found.id
    ),
    "router": lambda connection, found: connection.network.delete_router(found.id),
    "subnet": lambda connection, found: connection.network.delete_subnet(found.id),
    "network": lambda connection, found: connection.network.delete_network(found.id),
    "rules": lambda *_: None,
    "security group": lambda connection, found: connection.network.delete_security_group(found.id),
    "anti-affinity group": lambda connection, found: connection.compute.delete_server_group(found.id),
    "keypair": lambda connection, found: connection.compute.delete_keypair(found.id),
}
"""How each kind is deleted; rules go with their group."""


def _add(connection: Any, group: Any, lines: Iterable[str], ids: Ids) -> None:
    """Add rules, all in one call."""
    made = [_as_rule(line, group.id, ids) for line in lines]
    if made:
        connection.network.create_security_group_rules(made)


def _as_rule(line: str, group_id: str, ids: Ids) -> dict[str, Any]:
    found = RULE.fullmatch(line)
    assert found is not None  # noqa: S101 - Rule wrote it
    source = found["source"]
    rule: dict[str, Any] = {"security_group_id": group_id, "direction": "ingress", "protocol": found["protocol"]}
    if found["first"]:
        rule |= {"port_range_min": int(found["first"]), "port_range_max": int(found["last"] or found["first"])}
    if source.startswith("group:"):
        return rule | {"ether_type": "IPv4", "remote_group_id": ids[f"security group {source.removeprefix('group:')}"]}
    return rule | {"ether_type": "IPv6" if ":" in source else "IPv4", "remote_ip_prefix": source}

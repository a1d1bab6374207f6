"""Resources as plain data: the actual ones in the cloud, the desired ones of a cluster; and the protocol of a cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from stargaze.config import InfraSection
from stargaze.infra.machines import Machine, Role, list_machines, server_name
from stargaze.infra.plan.offers import Offers, ResolvedOffers

Kind = Literal[
    "keypair",
    "network",
    "subnet",
    "router",
    "interface",
    "security group",
    "rules",
    "anti-affinity group",
    "port",
    "server",
    "floating IP",
]
DEPENDS_ON: Mapping[Kind, tuple[Kind, ...]] = {
    "keypair": (),
    "network": (),
    "subnet": ("network",),
    "router": (),
    "interface": ("router", "subnet"),
    "security group": (),
    "rules": ("security group",),
    "anti-affinity group": (),
    "port": ("subnet", "network", "security group", "rules"),
    "server": ("port", "keypair", "anti-affinity group"),
    "floating IP": ("port", "interface"),
}
"""The kinds that are created before a kind and deleted after it."""
FAILED_STATES = ("ERROR", "DELETED", "SOFT_DELETED", "UNKNOWN")
"""A server in one of these states is replaced."""
ANYWHERE = ("0.0.0.0/0", "::/0")
SECURITY_GROUPS: dict[Role, tuple[str, ...]] = {
    "orchestration": ("jump", "internal", "page"),
    "development": ("internal", "ray"),
    "parameter": ("internal", "ray"),
    "production": ("internal", "swarm"),
}
"""The security groups of each role."""


@dataclass(frozen=True)
class DesiredResource:
    """A resource that the cluster needs; ``spec`` holds plain values, with names instead of ids."""

    kind: Kind
    name: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    """Keys of other resources."""

    @property
    def key(self) -> str:
        """Kind and name, unique among the desired resources."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class ActualResource:
    """A resource in the cloud; ``spec`` has the keys of the :class:`DesiredResource` that it is compared with."""

    kind: Kind
    name: str
    id: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    state: str = ""
    """Nova's state of a server."""
    fault: str = ""
    created_at: str = ""
    """[UTC, ISO]"""
    is_in_use: bool = False
    """Whether another resource is attached to it."""
    conflict: str = ""
    """The reason why it cannot be used although its name matches, for example that it belongs to another project."""
    is_foreign: bool = False
    """Whether it does not have the cluster's tag: it is used if it matches, and never deleted."""

    @property
    def key(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"


class Cloud(Protocol):
    """A cloud that hosts the machines. Every method is safe to repeat and raises ExternalError or CredentialsError.

    A call that fails temporarily (429, 5xx, a dropped connection) is retried. A resource whose creation was not confirmed is
    looked up before it is created again.
    """

    @property
    def auth_host(self) -> str:
        """The host name of the cloud's identity service."""

    def offers(self) -> Offers:
        """Return the images, flavors, networks and quotas of the project."""

    def resources(self) -> tuple[ActualResource, ...]:
        """List all resources with the cluster's tag, and those that occupy a name it needs."""

    def create(self, resource: DesiredResource, ids: Mapping[str, str]) -> ActualResource:
        """Create a resource, or return the existing one; ``ids`` are those of its dependencies, by key."""

    def update(self, resource: DesiredResource, actual: ActualResource, ids: Mapping[str, str]) -> ActualResource:
        """Update a resource in place to match its spec."""

    def delete(self, resource: ActualResource) -> None:
        """Delete a resource and wait until it is gone; do nothing if it does not exist."""

    def servers(self) -> tuple[ActualResource, ...]:
        """List the cluster's servers."""

    def console_output(self, server_id: str) -> str:
        """Return the console output of a server; empty if there is none yet."""


def preference(resource: ActualResource) -> tuple[bool, bool, bool, str, str]:
    """Sort key for duplicates, independent of their order: a working one first, then one in use, then the oldest."""
    failed = resource.state in FAILED_STATES
    return bool(resource.conflict), failed, not resource.is_in_use, resource.created_at, resource.id


def cluster_tag(name: str) -> str:
    """Return the tag of all resources of a cluster; it is also their description and part of a server's metadata."""
    return f"stargaze-infra-{name}"


@dataclass(frozen=True)
class Rule:
    """Allow connections to a port from an address range or from the members of a security group."""

    protocol: str
    first: int | None
    last: int | None
    source: str
    """A CIDR, or ``group:NAME``."""

    def __str__(self) -> str:
        """Return the canonical text of the rule.

        >>> print(Rule("tcp", 22, 22, "group:stargaze-jump"))
        tcp 22 from group:stargaze-jump
        """
        ports = (
            "" if self.first is None else f" {self.first}" if self.first == self.last else f" {self.first}-{self.last}"
        )
        return f"{self.protocol}{ports} from {self.source}"


def desired_resources(
    section: InfraSection, resolved: ResolvedOffers, public_key: str, user_data: Callable[[Machine], str]
) -> tuple[DesiredResource, ...]:
    """List the resources that the cluster needs, in no particular order; each names its dependencies."""
    networks = _networks(section, resolved)
    keypair = () if section.keypair else (DesiredResource("keypair", section.name, {"public_key": public_key}),)
    anti_affinity = (
        (DesiredResource("anti-affinity group", cluster_tag(section.name)),) if resolved.anti_affinity else ()
    )
    rules = _rules(section)
    groups = [DesiredResource("security group", f"{section.name}-{name}") for name in rules]
    group_keys = tuple(group.key for group in groups)
    group_rules = [
        DesiredResource("rules", f"{section.name}-{name}", {"rules": sorted(map(str, values))}, group_keys)
        for name, values in rules.items()
    ]
    subnets = [resource.key for resource in networks if resource.kind in ("network", "subnet")]
    machines = [
        resource
        for machine in list_machines(section)
        for resource in _machine(section, resolved, machine, user_data(machine), subnets)
    ]
    jump = f"{section.name}-orchestration"
    floating_ip = DesiredResource(
        "floating IP",
        jump,
        {"port": jump, "external_network": _external_network_id(resolved)},
        (f"port {jump}", *(resource.key for resource in networks if resource.kind == "interface")),
    )
    floating_ips = (floating_ip,) if section.floating_ip else ()
    return (*keypair, *networks, *groups, *group_rules, *anti_affinity, *machines, *floating_ips)


def _networks(section: InfraSection, resolved: ResolvedOffers) -> list[DesiredResource]:
    """Return network, subnet, router and interface; none if an existing network is used."""
    if section.network:
        return []
    name = section.name
    spec = {"cidr": section.cidr, "nameservers": sorted(section.nameservers)}
    networks = [DesiredResource("network", name), DesiredResource("subnet", name, spec, (f"network {name}",))]
    if section.router:
        networks += [
            DesiredResource("router", name, {"external_network": _external_network_id(resolved)}),
            DesiredResource("interface", name, {}, (f"router {name}", f"subnet {name}")),
        ]
    return networks


def _external_network_id(resolved: ResolvedOffers) -> str:
    return resolved.external_network.id if resolved.external_network else ""


def _rules(section: InfraSection) -> dict[str, list[Rule]]:
    """Return the rules by security group; only the page's port is open to the internet."""
    jump, internal, page, ray, swarm = (
        f"group:{section.name}-{name}" for name in ("jump", "internal", "page", "ray", "swarm")
    )
    port = section.page_port
    public = [port] if section.tls == "off" else [port, section.tls_port]
    return {
        "jump": [Rule("tcp", 22, 22, source) for source in section.ssh_from],
        "internal": [Rule("tcp", 22, 22, jump), Rule("icmp", None, None, internal)],
        "page": [Rule("tcp", number, number, source) for number in public for source in ANYWHERE],
        "ray": [Rule("tcp", None, None, ray)],
        "swarm": [
            Rule("tcp", 2377, 2377, swarm),
            Rule("tcp", 7946, 7946, swarm),
            Rule("udp", 7946, 7946, swarm),
            Rule("udp", 4789, 4789, swarm),
            Rule("esp", None, None, swarm),  # encrypted overlay networks
            Rule("tcp", port, port, page),
        ],
    }


def _machine(
    section: InfraSection, resolved: ResolvedOffers, machine: Machine, user_data: str, subnets: Sequence[str]
) -> list[DesiredResource]:
    """Return the port and the server of a machine."""
    name = server_name(section, machine)
    groups = [f"{section.name}-{group}" for group in SECURITY_GROUPS[machine.role]]
    port: dict[str, Any] = {"groups": sorted(groups), "network": resolved.network.id if resolved.network else ""}
    server: dict[str, Any] = {
        "image": resolved.image.id if resolved.image else "",
        "flavor": resolved.flavor.name if resolved.flavor else "",
        "flavor_id": resolved.flavor.id if resolved.flavor else "",
        "keypair": section.keypair or section.name,
        "role": machine.role,
        "machine": machine.name,
        "zone": section.availability_zone,
        "user_data": user_data,
        "anti_affinity": resolved.anti_affinity and machine.role == "production",
    }
    needs = [f"port {name}", *([] if section.keypair else [f"keypair {section.name}"])]
    needs += [f"anti-affinity group {cluster_tag(section.name)}"] if server["anti_affinity"] else []
    return [
        DesiredResource("port", name, port, (*subnets, *(f"rules {group}" for group in groups))),
        DesiredResource("server", name, server, tuple(needs)),
    ]

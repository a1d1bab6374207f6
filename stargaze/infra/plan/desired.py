"""Everything that a cluster needs in a cloud, from the config and what was chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.config import InfraSection
from stargaze.infra.machines import Machine, Role, list_machines, server_name
from stargaze.infra.plan.resolve import ResolvedOffers
from stargaze.infra.plan.resources import DesiredResource, cluster_tag

ANYWHERE = ("0.0.0.0/0", "::/0")
GROUPS: dict[Role, tuple[str, ...]] = {
    "orchestration": ("jump", "inside", "page"),
    "development": ("inside", "ray"),
    "parameter": ("inside", "ray"),
    "production": ("inside", "swarm"),
}
"""Which security groups a machine of each role is in."""


@dataclass(frozen=True)
class Rule:
    """Who may reach a port: a range of addresses, or the members of a group."""

    protocol: str
    first: int | None
    last: int | None
    source: str
    """A CIDR, or ``group:NAME``."""

    def __str__(self) -> str:
        """Write it in one line, the same for the same rule.

        Examples
        --------
        >>> print(Rule("tcp", 22, 22, "group:stargaze-jump"))
        tcp 22 from group:stargaze-jump
        """
        ports = (
            "" if self.first is None else f" {self.first}" if self.first == self.last else f" {self.first}-{self.last}"
        )
        return f"{self.protocol}{ports} from {self.source}"


def desired_resources(
    section: InfraSection, choice: ResolvedOffers, public_key: str, user_data: Callable[[Machine], str]
) -> tuple[DesiredResource, ...]:
    """List what the cluster needs.

    Parameters
    ----------
    public_key : str
        Of the ssh key that opens the machines.
    user_data : callable
        What cloud-init does at a machine's first boot.

    Returns
    -------
    tuple of Resource
        In no order; each names what it needs.
    """
    rooms = _network(section, choice)
    keypair = () if section.keypair else (DesiredResource("keypair", section.name, {"public_key": public_key}),)
    apart = (DesiredResource("anti-affinity group", cluster_tag(section.name)),) if choice.apart else ()
    groups = [
        DesiredResource("security group", f"{section.name}-{name}")
        for name in ("jump", "inside", "page", "ray", "swarm")
    ]
    rules = [
        DesiredResource("rules", group.name, {"rules": sorted(map(str, found))}, tuple(one.key for one in groups))
        for group, found in zip(groups, _rules(section), strict=True)
    ]
    inside = [resource.key for resource in rooms if resource.kind in ("network", "subnet")]
    made: list[DesiredResource] = []
    for machine in list_machines(section):
        members = [f"{section.name}-{name}" for name in GROUPS[machine.role]]
        made += _machine(
            section, choice, machine, members, user_data(machine), [*inside, *(f"rules {name}" for name in members)]
        )
    jump = f"{section.name}-orchestration"
    outside = choice.outside.id if choice.outside else ""
    way = [resource.key for resource in rooms if resource.kind == "interface"]
    floating = (
        (DesiredResource("floating IP", jump, {"port": jump, "outside": outside}, (f"port {jump}", *way)),)
        if section.floating_ip
        else ()
    )
    return (*keypair, *rooms, *groups, *rules, *apart, *made, *floating)


def _network(section: InfraSection, choice: ResolvedOffers) -> list[DesiredResource]:
    """List network, subnet and the way out; none of them where one that exists is used."""
    if section.network:
        return []
    name = section.name
    spec = {"cidr": section.cidr, "nameservers": sorted(section.nameservers)}
    rooms = [DesiredResource("network", name), DesiredResource("subnet", name, spec, (f"network {name}",))]
    if section.router:
        outside = {"outside": choice.outside.id if choice.outside else ""}
        rooms.append(DesiredResource("router", name, outside))
        rooms.append(DesiredResource("interface", name, {}, (f"router {name}", f"subnet {name}")))
    return rooms


def _rules(section: InfraSection) -> list[list[Rule]]:
    """Return the rules of each group, in their order: the whole world reaches the page's port, and nothing else."""
    group = {name: f"group:{section.name}-{name}" for name in ("jump", "inside", "page", "ray", "swarm")}
    page = section.page_port
    return [
        [Rule("tcp", 22, 22, source) for source in section.ssh_from],
        [Rule("tcp", 22, 22, group["jump"]), Rule("icmp", None, None, group["inside"])],
        [Rule("tcp", page, page, source) for source in ANYWHERE],
        [Rule("tcp", None, None, group["ray"])],
        [
            Rule("tcp", 2377, 2377, group["swarm"]),
            Rule("tcp", 7946, 7946, group["swarm"]),
            Rule("udp", 7946, 7946, group["swarm"]),
            Rule("udp", 4789, 4789, group["swarm"]),
            Rule("tcp", page, page, group["page"]),
        ],
    ]


def _machine(
    section: InfraSection,
    choice: ResolvedOffers,
    machine: Machine,
    groups: Sequence[str],
    user_data: str,
    before: Sequence[str],
) -> list[DesiredResource]:
    name = server_name(section, machine)
    network = choice.network.id if choice.network else ""
    port: dict[str, Any] = {"groups": sorted(groups), "network": network}
    spec: dict[str, Any] = {
        "image": choice.image.id if choice.image else "",
        "flavor": choice.flavor.id if choice.flavor else "",
        "flavor name": choice.flavor.name if choice.flavor else "",
        "keypair": section.keypair or section.name,
        "role": machine.role,
        "machine": machine.name,
        "zone": section.availability_zone,
        "user_data": user_data,
        "apart": choice.apart and machine.role == "production",
    }
    needs = [f"port {name}", *([] if section.keypair else [f"keypair {section.name}"])]
    needs += [f"anti-affinity group {cluster_tag(section.name)}"] if spec["apart"] else []
    return [DesiredResource("port", name, port, tuple(before)), DesiredResource("server", name, spec, tuple(needs))]

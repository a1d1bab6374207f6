"""What is made of what a cloud lists, where a run that was killed left two of a name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from stargaze.infra.openstack.read import LISTS, owned_resources
from stargaze.infra.plan.resources import ActualResource, cluster_tag

MARK = cluster_tag("stargaze")


def group(name: str) -> Any:
    return SimpleNamespace(
        id=name, name="stargaze-page", description=MARK, tags=[MARK], created_at="2026-01-01", security_group_rules=[]
    )


def port(name: str, group_id: str) -> Any:
    return SimpleNamespace(
        id=name,
        name=name,
        description=MARK,
        tags=[MARK],
        created_at="",
        network_id="net",
        device_id="",
        device_owner="",
        fixed_ips=[{"ip_address": "10.20.0.9", "subnet_id": "sub"}],
        security_group_ids=[group_id],
    )


def read(**listed: list[Any]) -> dict[str, ActualResource]:
    every = {kind: listed.get(kind.replace(" ", "_"), []) for kind in LISTS}
    return {f"{one.kind} {one.id}": one for one in owned_resources(every, "stargaze")}


def test_what_something_hangs_on_is_known_to_be_in_use() -> None:
    found = read(security_group=[group("first"), group("second")], port=[port("a", "second")])

    assert not found["security group first"].used
    assert found["security group second"].used
    assert found["rules second"].used
    assert found["port a"].spec["groups"] == ["stargaze-page"]


def test_the_interface_of_ours_is_the_one_in_our_subnet() -> None:
    def thing(kind: str, **more: Any) -> Any:
        return SimpleNamespace(id=kind, name="stargaze", description=MARK, tags=[MARK], created_at="", **more)

    def interface(name: str, subnet: str) -> Any:
        one = port(name, "")
        one.device_owner, one.device_id, one.fixed_ips = "network:router_interface", "router", [{"subnet_id": subnet}]
        one.description, one.tags = "", []
        return one

    router = thing("router", external_gateway_info=None)
    subnet = thing("sub", cidr="10.20.0.0/24", dns_nameservers=[], network_id="net")
    ports = [interface("theirs", "another"), interface("ours", "sub")]

    found = read(router=[router], subnet=[subnet], port=ports)

    assert [key for key in found if key.startswith("interface")] == ["interface ours"]


def test_what_has_our_name_alone_is_not_ours() -> None:
    """A keypair has no tags: its comment is its mark; a group of servers has nothing but its name."""

    def key(text: str) -> Any:
        return SimpleNamespace(name="stargaze", public_key=text)

    def servers(name: str) -> Any:
        return SimpleNamespace(id=name, name=name, policy="soft-anti-affinity", policies=[], member_ids=[])

    theirs = read(keypair=[key("ssh-ed25519 AAAA somebody@else")], **{"anti-affinity_group": [servers("stargaze")]})
    ours = read(keypair=[key(f"ssh-ed25519 AAAA {MARK}")], **{"anti-affinity_group": [servers(MARK)]})

    assert {name: one.foreign for name, one in theirs.items()} == {"keypair stargaze": True}
    assert {name: one.foreign for name, one in ours.items()} == {
        "keypair stargaze": False,
        f"anti-affinity group {MARK}": False,
    }
    assert ours["keypair stargaze"].spec == theirs["keypair stargaze"].spec == {"public_key": "ssh-ed25519 AAAA"}


def test_a_port_in_the_worse_of_two_groups_is_seen_to_be_in_another() -> None:
    found = read(security_group=[group("first"), group("second")], port=[port("a", "second"), port("b", "first")])

    assert found["port b"].spec["groups"] == ["stargaze-page"]
    assert found["port a"].spec["groups"] == ["second"]

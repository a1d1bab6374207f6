"""Converting the resources that a cloud lists, also if a killed run left duplicates."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from stargaze.infra.openstack.read import LIST, owned_resources
from stargaze.infra.plan.resources import ActualResource, cluster_tag

TAG = cluster_tag("stargaze")


def group(name: str) -> Any:
    return SimpleNamespace(
        id=name, name="stargaze-page", description=TAG, tags=[TAG], created_at="2026-01-01", security_group_rules=[]
    )


def port(name: str, group_id: str) -> Any:
    return SimpleNamespace(
        id=name,
        name=name,
        description=TAG,
        tags=[TAG],
        created_at="",
        network_id="net",
        device_id="",
        device_owner="",
        fixed_ips=[{"ip_address": "10.20.0.9", "subnet_id": "sub"}],
        security_group_ids=[group_id],
    )


def read_resources(**listed: list[Any]) -> dict[str, ActualResource]:
    every = {kind: listed.get(kind.replace(" ", "_"), []) for kind in LIST}
    return {f"{resource.kind} {resource.id}": resource for resource in owned_resources(every, "stargaze")}


def test_a_resource_with_attachments_is_in_use() -> None:
    resources = read_resources(security_group=[group("first"), group("second")], port=[port("a", "second")])

    assert not resources["security group first"].is_in_use
    assert resources["security group second"].is_in_use
    assert resources["rules second"].is_in_use
    assert resources["port a"].spec["groups"] == ["stargaze-page"]


def test_only_the_interface_in_the_owned_subnet_is_owned() -> None:
    def resource(kind: str, **more: Any) -> Any:
        return SimpleNamespace(id=kind, name="stargaze", description=TAG, tags=[TAG], created_at="", **more)

    def interface(name: str, subnet: str) -> Any:
        interface_port = port(name, "")
        interface_port.device_owner, interface_port.device_id, interface_port.fixed_ips = (
            "network:router_interface",
            "router",
            [{"subnet_id": subnet}],
        )
        interface_port.description, interface_port.tags = "", []
        return interface_port

    router = resource("router", external_gateway_info=None)
    subnet = resource("sub", cidr="10.20.0.0/24", dns_nameservers=[], network_id="net")
    ports = [interface("theirs", "another"), interface("ours", "sub")]

    resources = read_resources(router=[router], subnet=[subnet], port=ports)

    assert [key for key in resources if key.startswith("interface")] == ["interface ours"]


def test_a_matching_name_without_the_tag_is_not_owned() -> None:
    """A keypair has no tags, so its comment is the tag; a server group has only its name."""

    def key(text: str) -> Any:
        return SimpleNamespace(name="stargaze", public_key=text)

    def servers(name: str) -> Any:
        return SimpleNamespace(id=name, name=name, policy="soft-anti-affinity", policies=[], member_ids=[])

    foreign = read_resources(
        keypair=[key("ssh-ed25519 AAAA somebody@else")], **{"anti-affinity_group": [servers("stargaze")]}
    )
    owned = read_resources(keypair=[key(f"ssh-ed25519 AAAA {TAG}")], **{"anti-affinity_group": [servers(TAG)]})

    assert {name: resource.is_foreign for name, resource in foreign.items()} == {"keypair stargaze": True}
    assert {name: resource.is_foreign for name, resource in owned.items()} == {
        "keypair stargaze": False,
        f"anti-affinity group {TAG}": False,
    }
    assert owned["keypair stargaze"].spec == foreign["keypair stargaze"].spec == {"public_key": "ssh-ed25519 AAAA"}


def test_a_port_in_the_duplicate_of_a_group_shows_the_id_of_that_group() -> None:
    resources = read_resources(
        security_group=[group("first"), group("second")], port=[port("a", "second"), port("b", "first")]
    )

    assert resources["port b"].spec["groups"] == ["stargaze-page"]
    assert resources["port a"].spec["groups"] == ["second"]

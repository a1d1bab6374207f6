"""What is made of what a cloud lists, where a run that was killed left two of a name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from stargaze.infra.reading import LISTS, told
from stargaze.infra.resources import Found, mark_of

MARK = mark_of("stargaze")


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


def read(**listed: list[Any]) -> dict[str, Found]:
    every = {kind: listed.get(kind.replace(" ", "_"), []) for kind in LISTS}
    return {f"{one.kind} {one.id}": one for one in told(every, "stargaze")}


def test_what_something_hangs_on_is_known_to_be_in_use() -> None:
    found = read(security_group=[group("first"), group("second")], port=[port("a", "second")])

    assert not found["security group first"].used
    assert found["security group second"].used
    assert found["rules second"].used
    assert found["port a"].spec["groups"] == ["stargaze-page"]


def test_a_port_in_the_worse_of_two_groups_is_seen_to_be_in_another() -> None:
    found = read(security_group=[group("first"), group("second")], port=[port("a", "second"), port("b", "first")])

    assert found["port b"].spec["groups"] == ["stargaze-page"]
    assert found["port a"].spec["groups"] == ["second"]

"""The filters of the Swarm playbook, on responses of Docker engines."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).parent.parent.parent / "ansible" / "filter_plugins" / "swarm.py"
spec = importlib.util.spec_from_file_location("swarm_filters", FILE)
assert spec is not None
assert spec.loader is not None
swarm = importlib.util.module_from_spec(spec)
spec.loader.exec_module(swarm)

LABELS = {"stargaze.role": "production"}


def engine(name: str, node_id: str = "", *, is_manager: bool = False, address: str = "") -> dict[str, Any]:
    state = "active" if node_id else "inactive"
    return {
        "Name": name,
        "Swarm": {"NodeID": node_id, "LocalNodeState": state, "ControlAvailable": is_manager, "NodeAddr": address},
    }


def node(name: str, node_id: str, *, role: str = "worker", state: str = "ready", **more: Any) -> dict[str, Any]:
    result = {
        "ID": node_id,
        "Version": {"Index": 7},
        "Spec": {"Role": role, "Availability": "active", "Labels": dict(LABELS)},
        "Description": {"Hostname": name},
        "Status": {"State": state, "Addr": more.get("address", f"10.0.0.{node_id[-1]}")},
    }
    return result | ({"ManagerStatus": more["manager"]} if "manager" in more else {})


def test_the_first_manager_initializes_the_swarm() -> None:
    assert swarm.join_target({"a": engine("a"), "b": engine("b")}, ["b", "a"]) == "b"


def test_a_rebuilt_first_manager_joins_the_existing_swarm() -> None:
    engines = {"a": engine("a"), "b": engine("b", "n2", is_manager=True)}

    assert swarm.join_target(engines, ["a", "b"]) == "b"


def test_an_unreachable_manager_is_not_the_join_target() -> None:
    assert swarm.join_target({"b": engine("b")}, ["a", "b"]) == "b"


@pytest.mark.parametrize(
    ("own_engine", "joins", "leaves"),
    [
        (engine("a"), True, False),
        (engine("a", "n1"), False, False),
        (engine("a", "removed"), True, True),
    ],
    ids=["new", "a member", "unknown to the managers"],
)
def test_a_host_that_is_not_a_member_joins_and_an_orphan_leaves_first(
    own_engine: dict[str, Any], joins: bool, leaves: bool
) -> None:
    nodes = [node("a", "n1")]

    assert (swarm.must_join(own_engine, nodes), swarm.is_orphan(own_engine, nodes)) == (joins, leaves)


def test_the_old_node_of_a_rebuilt_host_is_stale() -> None:
    nodes = [node("a", "n1", role="manager"), node("b", "old2", state="down"), node("b", "n3")]
    engines = {"a": engine("a", "n1"), "b": engine("b", "n3")}

    assert [node["ID"] for node in swarm.stale_nodes(nodes, engines)] == ["old2"]


@pytest.mark.parametrize("manager", [None, {"Addr": "10.0.0.9:2377", "Reachability": "unreachable"}])
def test_the_old_node_is_stale_even_before_the_swarm_marks_it_as_down(manager: dict[str, str] | None) -> None:
    more = {"manager": manager, "address": "0.0.0.0"} if manager else {"address": "10.0.0.9"}
    nodes = [node("old-name", "old2", **more), node("b", "n3", address="10.0.0.9")]

    stale = swarm.stale_nodes(nodes, {"b": engine("b", "n3", address="10.0.0.9")})

    assert [node["ID"] for node in stale] == ["old2"]


def test_a_host_that_is_switched_off_keeps_its_node() -> None:
    nodes = [node("a", "n1"), node("b", "n2", state="down")]

    assert swarm.stale_nodes(nodes, {"a": engine("a", "n1", address="10.0.0.1")}) == []


def test_two_hosts_with_one_name_keep_both_nodes() -> None:
    nodes = [node("debian", "n1"), node("debian", "n2")]
    engines = {"a": engine("debian", "n1"), "b": engine("debian", "n2")}

    assert swarm.stale_nodes(nodes, engines) == []


def test_a_correct_swarm_needs_no_update() -> None:
    nodes = [node("a", "n1", role="manager"), node("b", "n2")]
    engines = {"a": engine("a", "n1"), "b": engine("b", "n2")}

    assert swarm.node_updates(nodes, engines, ["a"], LABELS) == []


def test_promotions_come_before_demotions_and_other_labels_stay() -> None:
    nodes = [node("a", "n1", role="manager"), node("b", "n2")]
    nodes[1]["Spec"]["Labels"] = {"disk": "fast"}
    engines = {"a": engine("a", "n1"), "b": engine("b", "n2")}

    updates = swarm.node_updates(nodes, engines, ["b"], LABELS)

    assert [(update["name"], update["spec"]["Role"], update["version"]) for update in updates] == [
        ("b", "manager", 7),
        ("a", "worker", 7),
    ]
    assert updates[0]["spec"]["Labels"] == {"disk": "fast", **LABELS}


def test_unknown_nodes_are_not_updated() -> None:
    foreign = node("foreign", "n9")
    foreign["Spec"]["Labels"] = None

    assert swarm.node_updates([foreign], {"a": engine("a", "n1")}, ["a"], LABELS) == []


def test_an_unreachable_manager_is_not_ready() -> None:
    unreachable = node("b", "n2", role="manager", manager={"Addr": "10.0.0.2:2377", "Reachability": "unreachable"})

    assert swarm.ready_nodes([node("a", "n1"), unreachable, node("c", "n3", state="down")]) == ["n1"]


def test_check_mode_without_a_swarm_has_no_nodes() -> None:
    assert swarm.ready_nodes({"message": "This node is not a swarm manager."}) == []

"""What the playbook of the swarm does, decided on what engines answer."""

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


def engine(name: str, number: str = "", *, manages: bool = False, address: str = "") -> dict[str, Any]:
    state = "active" if number else "inactive"
    return {
        "Name": name,
        "Swarm": {"NodeID": number, "LocalNodeState": state, "ControlAvailable": manages, "NodeAddr": address},
    }


def node(name: str, number: str, *, role: str = "worker", state: str = "ready", **more: Any) -> dict[str, Any]:
    found = {
        "ID": number,
        "Version": {"Index": 7},
        "Spec": {"Role": role, "Availability": "active", "Labels": dict(LABELS)},
        "Description": {"Hostname": name},
        "Status": {"State": state, "Addr": more.get("address", f"10.0.0.{number[-1]}")},
    }
    return found | ({"ManagerStatus": more["manager"]} if "manager" in more else {})


def test_the_first_manager_begins_a_swarm() -> None:
    assert swarm.seed({"a": engine("a"), "b": engine("b")}, ["b", "a"]) == "b"


def test_a_rebuilt_first_manager_joins_the_swarm_that_another_one_still_has() -> None:
    engines = {"a": engine("a"), "b": engine("b", "n2", manages=True)}

    assert swarm.seed(engines, ["a", "b"]) == "b"


def test_a_manager_that_did_not_answer_is_not_asked_for_anything() -> None:
    assert swarm.seed({"b": engine("b")}, ["a", "b"]) == "b"


@pytest.mark.parametrize(
    ("here", "joins", "leaves"),
    [
        (engine("a"), True, False),
        (engine("a", "n1"), False, False),
        (engine("a", "removed"), True, True),
    ],
    ids=["new", "a member", "unknown to the managers"],
)
def test_who_is_no_member_joins_and_who_was_one_leaves_before(here: dict[str, Any], joins: bool, leaves: bool) -> None:
    nodes = [node("a", "n1")]

    assert (swarm.alone(here, nodes), swarm.astray(here, nodes)) == (joins, leaves)


def test_what_a_host_was_before_it_was_rebuilt_is_left_over() -> None:
    nodes = [node("a", "n1", role="manager"), node("b", "old2", state="down"), node("b", "n3")]
    engines = {"a": engine("a", "n1"), "b": engine("b", "n3")}

    assert [left["ID"] for left in swarm.leftovers(nodes, engines)] == ["old2"]


@pytest.mark.parametrize("manager", [None, {"Addr": "10.0.0.9:2377", "Reachability": "unreachable"}])
def test_it_is_left_over_before_the_swarm_has_noticed_too(manager: dict[str, str] | None) -> None:
    more = {"manager": manager, "address": "0.0.0.0"} if manager else {"address": "10.0.0.9"}
    nodes = [node("old-name", "old2", **more), node("b", "n3", address="10.0.0.9")]

    left = swarm.leftovers(nodes, {"b": engine("b", "n3", address="10.0.0.9")})

    assert [one["ID"] for one in left] == ["old2"]


def test_a_host_that_is_off_keeps_its_node() -> None:
    nodes = [node("a", "n1"), node("b", "n2", state="down")]

    assert swarm.leftovers(nodes, {"a": engine("a", "n1", address="10.0.0.1")}) == []


def test_two_hosts_of_one_name_keep_both_nodes() -> None:
    nodes = [node("debian", "n1"), node("debian", "n2")]
    engines = {"a": engine("debian", "n1"), "b": engine("debian", "n2")}

    assert swarm.leftovers(nodes, engines) == []


def test_nothing_is_changed_where_all_is_right() -> None:
    nodes = [node("a", "n1", role="manager"), node("b", "n2")]
    engines = {"a": engine("a", "n1"), "b": engine("b", "n2")}

    assert swarm.changes(nodes, engines, ["a"], LABELS) == []


def test_promotions_come_before_demotions_and_labels_of_others_stay() -> None:
    nodes = [node("a", "n1", role="manager"), node("b", "n2")]
    nodes[1]["Spec"]["Labels"] = {"disk": "fast"}
    engines = {"a": engine("a", "n1"), "b": engine("b", "n2")}

    changes = swarm.changes(nodes, engines, ["b"], LABELS)

    assert [(one["name"], one["spec"]["Role"], one["version"]) for one in changes] == [
        ("b", "manager", 7),
        ("a", "worker", 7),
    ]
    assert changes[0]["spec"]["Labels"] == {"disk": "fast", **LABELS}


def test_nodes_of_others_are_not_touched() -> None:
    foreign = node("foreign", "n9")
    foreign["Spec"]["Labels"] = None

    assert swarm.changes([foreign], {"a": engine("a", "n1")}, ["a"], LABELS) == []


def test_a_manager_that_others_do_not_reach_is_not_ready() -> None:
    away = node("b", "n2", role="manager", manager={"Addr": "10.0.0.2:2377", "Reachability": "unreachable"})

    assert swarm.ready([node("a", "n1"), away, node("c", "n3", state="down")]) == ["n1"]


def test_a_check_before_there_is_a_swarm_has_no_nodes() -> None:
    assert swarm.ready({"message": "This node is not a swarm manager."}) == []

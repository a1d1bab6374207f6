"""What Docker says of services, and what is made of it; the shapes are those of Docker's own answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stargaze.config import DeploySection, ServeSection
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.stack.compose import SERVICE_LABEL, STACK_LABEL, render_stack
from stargaze.serve.stack.service_options import Node, StackSpec
from stargaze.serve.swarm.docker import Container, NodeStatus, SwarmState
from stargaze.serve.swarm.service_status import ServiceStatus, node_mismatches, service_status, stack_is_deployed

NODES = (Node("production1"), Node("production2"))
WANTED = StackSpec(
    DeploySection(to="swarm", publish_mode="host", endpoint_mode="dnsrr"),
    ServeSection(),
    Sources(),
    "stargaze-serve:1",
    80,
    1,
    1,
    NODES,
)
WHOLE = render_stack(WANTED)
OLD = render_stack(dataclasses.replace(WANTED, image="stargaze-serve:0"))
TOLD = [
    {
        "ID": node.hostname,
        "Description": {"Hostname": node.hostname},
        "Status": {"State": "ready"},
        "Spec": {"Availability": "active", "Labels": {"stargaze.role": "production"}},
    }
    for node in NODES
]


def service(name: str, whole: dict[str, Any] = WHOLE, **more: Any) -> dict[str, Any]:
    given = whole["services"][name]
    replicas = given["deploy"].get("replicas")
    return {
        "ID": name,
        "Spec": {
            "Name": f"stargaze_{name}",
            "Labels": {STACK_LABEL: given["deploy"]["labels"][STACK_LABEL]},
            "TaskTemplate": template(name, whole),
            "Mode": {"Replicated": {"Replicas": replicas}} if replicas else {"Global": {}},
        },
        **more,
    }


def template(name: str, whole: dict[str, Any] = WHOLE) -> dict[str, Any]:
    given = whole["services"][name]
    return {"ContainerSpec": {"Image": given["image"], "Labels": {SERVICE_LABEL: given["labels"][SERVICE_LABEL]}}}


def task(
    name: str, node: str, state: str = "running", whole: dict[str, Any] = WHOLE, wish: str = "running", why: str = ""
) -> dict[str, Any]:
    return {
        "ServiceID": name,
        "NodeID": node,
        "Spec": template(name, whole),
        "DesiredState": wish,
        "Status": {"State": state, "Timestamp": "2026-01-01T00:00:00Z", "Err": why},
    }


def web(services: list[Any], tasks: list[Any], whole: dict[str, Any] | None = WHOLE) -> ServiceStatus:
    return next(one for one in service_status(SwarmState(TOLD, services, tasks), whole) if one.name == "web")


def test_one_page_on_each_node_is_well() -> None:
    tasks = [task("web", "production1"), task("web", "production2")]

    found = web([service("web")], tasks)

    assert (found.state, found.running, found.desired) == ("ok", 2, 2)
    assert found.nodes == ("production1", "production2")


@pytest.mark.parametrize(
    "tasks",
    [
        [task("web", "production1")],
        [task("web", "production1"), task("web", "production2", "starting")],
        [task("web", "production1"), task("web", "production2", whole=OLD)],
    ],
    ids=["one is missing", "one begins", "one is of before"],
)
def test_what_is_not_all_there_is_changing(tasks: list[Any]) -> None:
    assert web([service("web")], tasks).state == "updating"


def test_an_update_that_is_still_watched_is_not_believed() -> None:
    tasks = [task("web", "production1"), task("web", "production2")]

    assert web([service("web", UpdateStatus={"State": "updating"})], tasks).state == "updating"


def test_what_swarm_took_back_failed_with_the_tasks_own_reason() -> None:
    """Docker's own command ends well then."""
    tasks = [task("web", node.hostname, whole=OLD) for node in NODES]
    tasks += [
        task("web", "production1", "failed", wish="shutdown", why="task: non-zero exit (137): dockerexec: unhealthy")
    ]

    found = web([service("web", OLD, UpdateStatus={"State": "rollback_completed"})], tasks)

    assert found.state == "failed"
    assert "unhealthy" in found.reason


def test_a_rollback_of_long_ago_says_nothing_of_now() -> None:
    tasks = [task("web", "production1"), task("web", "production2")]

    assert web([service("web", UpdateStatus={"State": "rollback_completed"})], tasks).state == "ok"


@pytest.mark.parametrize("state", ["paused", "rollback_paused"])
def test_an_update_that_swarm_stopped_failed_though_as_many_run_as_should(state: str) -> None:
    tasks = [task("web", "production1"), task("web", "production2")]

    found = web([service("web", UpdateStatus={"State": state, "Message": "update paused due to failure"})], tasks)

    assert (found.state, found.reason) == ("failed", "update paused due to failure")


def test_the_reason_is_that_of_the_newest_task_that_has_one() -> None:
    def at(second: int, state: str, why: str) -> dict[str, Any]:
        one = task("web", "production1", state, wish="shutdown", why=why)
        one["Status"]["Timestamp"] = f"2026-01-01T00:00:0{second}Z"
        return one

    tasks = [at(1, "failed", "the oldest"), at(4, "running", "none"), at(3, "shutdown", ""), at(2, "failed", "newer")]

    assert web([service("web")], tasks).reason == "newer"


def test_a_task_that_waits_for_room_says_so() -> None:
    waits = task("worker", "", "pending", why="no suitable node (insufficient resources on 2 nodes)")

    (found,) = [
        one for one in service_status(SwarmState(TOLD, [service("worker")], [waits]), None) if one.name == "worker"
    ]

    assert (found.state, found.running, found.desired) == ("updating", 0, 2)
    assert "no suitable node" in found.reason


def test_a_node_that_takes_no_services_is_not_waited_for() -> None:
    down, drained = [{**node} for node in TOLD], [{**node} for node in TOLD]
    down[1]["Status"] = {"State": "down"}
    drained[1]["Spec"] = {**TOLD[1]["Spec"], "Availability": "drain"}

    for nodes in (down, drained):
        (found,) = service_status(SwarmState(nodes, [service("web")], [task("web", "production1")]), None)
        assert (found.state, found.running, found.desired) == ("ok", 1, 1)


def test_what_ran_on_a_node_that_was_lost_is_not_waited_for() -> None:
    """Swarm wants it ended there, and says of it what it knew last."""
    lost = {**TOLD[1], "Status": {"State": "down"}}
    tasks = [
        task("worker", "production1"),
        task("worker", "production1"),
        task("worker", "production2", wish="shutdown"),
    ]

    found = service_status(SwarmState([TOLD[0], lost], [service("worker")], tasks), WHOLE)

    assert [(one.state, one.running) for one in found if one.name == "worker"] == [("ok", 2)]


@pytest.mark.parametrize("state", ["paused", "rollback_paused"])
def test_what_swarm_gave_up_is_sent_again_though_it_runs(state: str) -> None:
    services = [service(name) for name in WHOLE["services"]]
    assert stack_is_deployed(services, WHOLE)

    services[0]["UpdateStatus"] = {"State": state}

    assert not stack_is_deployed(services, WHOLE)


def test_a_service_that_nobody_asked_for_is_not_judged_and_has_the_stack_sent() -> None:
    services = [*(service(name) for name in WHOLE["services"]), {**service("web"), "ID": "old"}]
    services[-1]["Spec"] = {**services[-1]["Spec"], "Name": "stargaze_flower"}

    assert [one.name for one in service_status(SwarmState(TOLD, services, []), WHOLE)] == list(WHOLE["services"])
    assert not stack_is_deployed(services, WHOLE)


def test_a_service_that_is_not_there_failed() -> None:
    assert web([], []).reason == "the service does not exist"


def test_without_a_stack_a_service_is_held_to_its_own_definition() -> None:
    tasks = [task("web", "production1", whole=OLD), task("web", "production2", whole=OLD)]

    assert web([service("web", OLD)], tasks, None).state == "ok"


def test_nothing_is_sent_where_all_is_as_sent() -> None:
    services = [service(name) for name in WHOLE["services"]]

    assert stack_is_deployed(services, WHOLE)
    assert not stack_is_deployed(services[1:], WHOLE)
    assert not stack_is_deployed(services, OLD)
    services[1]["Spec"]["Mode"]["Replicated"]["Replicas"] = 7
    assert not stack_is_deployed(services, WHOLE)


GOOD = NodeStatus(
    "production1",
    "a" * 64,
    (Container("web", True, ["a" * 64]), Container("worker", True, ["a" * 64]), Container("broker", False, [])),
    '200 {"status": "ready", "bundle": "' + "a" * 64 + '"}',
)


def test_a_machine_on_which_all_answers_with_the_release_is_believed() -> None:
    assert node_mismatches(GOOD, "a" * 64) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"installed_digest": ""}, "production1: no release is installed"),
        (
            {"containers": (Container("worker", True, ["b" * 64]),)},
            f"production1: a worker container serves {'b' * 12}",
        ),
        ({"containers": (Container("worker", True, None),)}, "production1: a worker container serves no bundle yet"),
        ({"containers": (Container("web", False, ["a" * 64]),)}, "production1: a web container has another image"),
        ({"page_response": ""}, "production1: its page returns no response"),
        (
            {"page_response": '503 {"error": {"message": "the queue is away"}}'},
            "production1: its page returns 503: the queue is away",
        ),
        ({"page_response": "502 Bad gateway"}, "production1: its page returns 502: Bad gateway"),
        ({"page_response": '200 {"bundle": "b"}'}, "production1: its page shows another release"),
        ({"page_response": "200 <html>"}, "production1: its page shows another release"),
        ({"page_response": "200 []"}, "production1: its page shows another release"),
    ],
)
def test_what_is_not_so_is_named(changed: dict[str, Any], said: str) -> None:
    assert node_mismatches(dataclasses.replace(GOOD, **changed), "a" * 64) == [said]

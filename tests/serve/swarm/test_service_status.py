"""The status of services from Docker's output."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stargaze.config import DeploySection, ServeSection
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.stack.compose import SERVICE_LABEL, STACK_LABEL, render_stack
from stargaze.serve.stack.service_options import Node, SecretVersions, StackSpec
from stargaze.serve.swarm.docker import Container, NodeStatus, SwarmState
from stargaze.serve.swarm.service_status import ServiceStatus, node_mismatches, service_status, stack_is_deployed

NODES = (Node("production1"), Node("production2"))
SPEC = StackSpec(
    DeploySection(to="swarm", publish_mode="host", endpoint_mode="dnsrr"),
    ServeSection(),
    Sources(),
    "stargaze-serve:1",
    80,
    SecretVersions(1, 1),
    NODES,
)
STACK = render_stack(SPEC)
OLD = render_stack(dataclasses.replace(SPEC, image="stargaze-serve:0"))
SWARM_NODES = [
    {
        "ID": node.hostname,
        "Description": {"Hostname": node.hostname},
        "Status": {"State": "ready"},
        "Spec": {"Availability": "active", "Labels": {"stargaze.role": "production"}},
    }
    for node in NODES
]


def service(name: str, stack: dict[str, Any] = STACK, **more: Any) -> dict[str, Any]:
    definition = stack["services"][name]
    replicas = definition["deploy"].get("replicas")
    return {
        "ID": name,
        "Spec": {
            "Name": f"stargaze_{name}",
            "Labels": {STACK_LABEL: definition["deploy"]["labels"][STACK_LABEL]},
            "TaskTemplate": template(name, stack),
            "Mode": {"Replicated": {"Replicas": replicas}} if replicas else {"Global": {}},
        },
        **more,
    }


def template(name: str, stack: dict[str, Any] = STACK) -> dict[str, Any]:
    definition = stack["services"][name]
    return {
        "ContainerSpec": {"Image": definition["image"], "Labels": {SERVICE_LABEL: definition["labels"][SERVICE_LABEL]}}
    }


def task(
    name: str, node: str, state: str = "running", stack: dict[str, Any] = STACK, desired: str = "running", why: str = ""
) -> dict[str, Any]:
    return {
        "ServiceID": name,
        "NodeID": node,
        "Spec": template(name, stack),
        "DesiredState": desired,
        "Status": {"State": state, "Timestamp": "2026-01-01T00:00:00Z", "Err": why},
    }


def web(services: list[Any], tasks: list[Any], stack: dict[str, Any] | None = STACK) -> ServiceStatus:
    return next(
        status for status in service_status(SwarmState(SWARM_NODES, services, tasks), stack) if status.name == "web"
    )


def test_one_web_task_per_node_is_ok() -> None:
    tasks = [task("web", "production1"), task("web", "production2")]

    result = web([service("web")], tasks)

    assert (result.state, result.running, result.desired) == ("ok", 2, 2)
    assert result.nodes == ("production1", "production2")


@pytest.mark.parametrize(
    "tasks",
    [
        [task("web", "production1")],
        [task("web", "production1"), task("web", "production2", "starting")],
        [task("web", "production1"), task("web", "production2", stack=OLD)],
    ],
    ids=["missing", "starting", "old"],
)
def test_missing_starting_or_old_tasks_are_updating(tasks: list[Any]) -> None:
    assert web([service("web")], tasks).state == "updating"


def test_an_update_that_is_still_monitored_is_updating() -> None:
    tasks = [task("web", "production1"), task("web", "production2")]

    assert web([service("web", UpdateStatus={"State": "updating"})], tasks).state == "updating"


@pytest.mark.parametrize(
    ("update", "more", "expected"),
    [
        ({}, task("web", "production1", "pending", desired="ready", why="host-mode port already in use"), True),
        ({"State": "rollback_completed"}, task("web", "production1", "pending"), True),
        ({"State": "updating"}, task("web", "production1", "pending", desired="ready"), False),
        ({"State": "rollback_started"}, task("web", "production1", "pending", desired="ready"), False),
        ({}, task("web", "production1", "running", desired="shutdown"), False),
    ],
    ids=["pending", "after-rollback", "updating", "rolling-back", "stopping"],
)
def test_a_waiting_task_besides_the_desired_ones_is_surplus(
    update: dict[str, str], more: dict[str, Any], expected: bool
) -> None:
    tasks = [task("web", "production1"), task("web", "production2"), more]

    result = web([service("web", UpdateStatus=update)], tasks)

    assert (result.state, result.running, result.has_surplus_task) == ("updating", 2, expected)


def test_a_waiting_task_in_place_of_a_running_one_is_not_surplus() -> None:
    result = web([service("web")], [task("web", "production1"), task("web", "production2", "pending")])

    assert (result.state, result.has_surplus_task) == ("updating", False)


def test_a_rollback_by_swarm_is_failed_with_the_reason_of_the_task() -> None:
    """The exit code of docker is 0 then."""
    tasks = [task("web", node.hostname, stack=OLD) for node in NODES]
    tasks += [
        task("web", "production1", "failed", desired="shutdown", why="task: non-zero exit (137): dockerexec: unhealthy")
    ]

    result = web([service("web", OLD, UpdateStatus={"State": "rollback_completed"})], tasks)

    assert result.state == "failed"
    assert "unhealthy" in result.reason


def test_an_earlier_rollback_does_not_matter() -> None:
    tasks = [task("web", "production1"), task("web", "production2")]

    assert web([service("web", UpdateStatus={"State": "rollback_completed"})], tasks).state == "ok"


@pytest.mark.parametrize("state", ["paused", "rollback_paused"])
def test_a_paused_update_is_failed_although_all_tasks_run(state: str) -> None:
    tasks = [task("web", "production1"), task("web", "production2")]

    result = web([service("web", UpdateStatus={"State": state, "Message": "update paused due to failure"})], tasks)

    assert (result.state, result.reason) == ("failed", "update paused due to failure")


def test_the_reason_is_that_of_the_newest_failed_task() -> None:
    def at(second: int, state: str, why: str) -> dict[str, Any]:
        item = task("web", "production1", state, desired="shutdown", why=why)
        item["Status"]["Timestamp"] = f"2026-01-01T00:00:0{second}Z"
        return item

    tasks = [at(1, "failed", "the oldest"), at(4, "running", "none"), at(3, "shutdown", ""), at(2, "failed", "newer")]

    assert web([service("web")], tasks).reason == "newer"


def test_a_task_that_waits_for_resources_has_a_reason() -> None:
    waits = task("worker", "", "pending", why="no suitable node (insufficient resources on 2 nodes)")

    (result,) = [
        status
        for status in service_status(SwarmState(SWARM_NODES, [service("worker")], [waits]), None)
        if status.name == "worker"
    ]

    assert (result.state, result.running, result.desired) == ("updating", 0, 2)
    assert "no suitable node" in result.reason


def test_unavailable_nodes_are_not_counted() -> None:
    down, drained = [{**node} for node in SWARM_NODES], [{**node} for node in SWARM_NODES]
    down[1]["Status"] = {"State": "down"}
    drained[1]["Spec"] = {**SWARM_NODES[1]["Spec"], "Availability": "drain"}

    for nodes in (down, drained):
        (result,) = service_status(SwarmState(nodes, [service("web")], [task("web", "production1")]), None)
        assert (result.state, result.running, result.desired) == ("ok", 1, 1)


def test_tasks_of_a_lost_node_are_not_counted() -> None:
    """Swarm shows their last known state."""
    lost_node = {**SWARM_NODES[1], "Status": {"State": "down"}}
    tasks = [
        task("worker", "production1"),
        task("worker", "production1"),
        task("worker", "production2", desired="shutdown"),
    ]

    result = service_status(SwarmState([SWARM_NODES[0], lost_node], [service("worker")], tasks), STACK)

    assert [(item.state, item.running) for item in result if item.name == "worker"] == [("ok", 2)]


@pytest.mark.parametrize("state", ["paused", "rollback_paused"])
def test_a_paused_service_is_deployed_again_although_it_runs(state: str) -> None:
    services = [service(name) for name in STACK["services"]]
    assert stack_is_deployed(services, STACK)

    services[0]["UpdateStatus"] = {"State": state}

    assert not stack_is_deployed(services, STACK)


def test_an_additional_service_has_no_status_and_requires_a_deploy() -> None:
    services = [*(service(name) for name in STACK["services"]), {**service("web"), "ID": "old"}]
    services[-1]["Spec"] = {**services[-1]["Spec"], "Name": "stargaze_flower"}

    assert [status.name for status in service_status(SwarmState(SWARM_NODES, services, []), STACK)] == list(
        STACK["services"]
    )
    assert not stack_is_deployed(services, STACK)


def test_a_missing_service_is_failed() -> None:
    assert web([], []).reason == "the service does not exist"


def test_without_a_stack_a_service_is_compared_with_its_own_definition() -> None:
    tasks = [task("web", "production1", stack=OLD), task("web", "production2", stack=OLD)]

    assert web([service("web", OLD)], tasks, None).state == "ok"


def test_an_unchanged_stack_is_deployed() -> None:
    services = [service(name) for name in STACK["services"]]

    assert stack_is_deployed(services, STACK)
    assert not stack_is_deployed(services[1:], STACK)
    assert not stack_is_deployed(services, OLD)
    services[1]["Spec"]["Mode"]["Replicated"]["Replicas"] = 7
    assert not stack_is_deployed(services, STACK)


GOOD = NodeStatus(
    "production1",
    "a" * 64,
    (Container("web", True, ["a" * 64]), Container("worker", True, ["a" * 64]), Container("broker", False, [])),
    '200 {"status": "ready", "bundle": "' + "a" * 64 + '"}',
)


def test_a_node_that_serves_the_release_has_no_mismatches() -> None:
    assert node_mismatches(GOOD, "a" * 64) == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"installed_release": ""}, "production1: no release is installed"),
        (
            {"containers": (Container("worker", True, ["b" * 64]),)},
            f"production1: a worker container serves {'b' * 12}",
        ),
        ({"containers": (Container("worker", True, None),)}, "production1: a worker container serves no release yet"),
        ({"containers": (Container("web", False, ["a" * 64]),)}, "production1: a web container has another image"),
        ({"page_response": ""}, "production1: its page returns no response"),
        (
            {"page_response": '503 {"detail": "the queue is away"}'},
            "production1: its page returns 503: the queue is away",
        ),
        ({"page_response": "502 Bad gateway"}, "production1: its page returns 502: Bad gateway"),
        ({"page_response": '200 {"bundle": "b"}'}, "production1: its page shows another release"),
        (
            {"page_response": GOOD.page_response.replace("}", ', "growth_digest": "c"}')},
            "production1: its page shows another release",
        ),
        ({"page_response": "200 <html>"}, "production1: its page shows another release"),
        ({"page_response": "200 []"}, "production1: its page shows another release"),
    ],
)
def test_each_mismatch_is_named(changed: dict[str, Any], message: str) -> None:
    assert node_mismatches(dataclasses.replace(GOOD, **changed), "a" * 64) == [message]

"""Status, logs and scaling of production."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import DeploySection, ServeSection
from stargaze.errors import ExternalError, MissingInputError, UsageError
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.swarm import operations, production
from stargaze.serve.swarm.delivery_state import save_verified_stack, send_stack
from stargaze.serve.swarm.docker import NodeInfo, NodeStatus, Swarm, SwarmState
from stargaze.serve.swarm.plan import plan_stack, prepare_stack
from stargaze.serve.swarm.production import ProductionTarget, survey_production
from stargaze.store import Store
from stargaze.system.docker import DockerEngine, ImageRecipe
from stargaze.system.ssh import SshHost
from tests.serve.swarm.fake_swarm import FakeSwarm

MACHINES = tuple(SshHost(f"production{n}", "production", f"10.0.0.{n}", f"10.0.0.{n}", "me", ()) for n in (1, 2))
SITE = ProductionTarget(MACHINES, DockerEngine(), ImageRecipe("base"), ServeSection(), Sources(), 80)
SWARM = DeploySection(to="swarm", registry="registry.example", timeout=0)


def test_replicas_are_parsed() -> None:
    assert operations.parse_replicas(["web=4", "worker=8"], DeploySection()) == {"web": 4, "worker": 8}


@pytest.mark.parametrize(
    ("arguments", "keys", "message"),
    [
        ("wroker=2", {}, "not a service to scale"),
        ("broker=2", {}, "not a service to scale"),
        ("worker", {}, "the number must be"),
        ("worker=0", {}, "the number must be"),
        ("worker=-1", {}, "the number must be"),
        ("worker=257", {}, "the number must be from 1 to 256"),
        ("worker=1.5", {}, "the number must be"),
        ("worker=x", {}, "the number must be"),
        ("worker=²", {}, "the number must be"),
        ("", {}, "not a service to scale"),
        ("web=4", {"publish_mode": "host"}, "one replica per node"),
    ],
)
def test_invalid_replicas_are_rejected(arguments: str, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        operations.parse_replicas([arguments], DeploySection(**keys))


def survey(host: SshHost) -> NodeInfo:
    if host.name == "production2":
        raise ExternalError("ssh login to production2 failed: no route")
    return NodeInfo(host, "host1", "n1", True, frozenset(), "c" * 40, "a" * 64, ())


def test_an_unreachable_machine_is_a_row_of_the_status(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    node = {
        "ID": "n1",
        "Description": {"Hostname": "host1"},
        "Status": {"State": "ready"},
        "Spec": {"Availability": "drain"},
    }
    monkeypatch.setattr(production, "survey_node", survey)
    monkeypatch.setattr(operations, "inspect_node", lambda host, *_: NodeStatus(host.name, "a" * 64, (), "200 {}"))
    monkeypatch.setattr(Swarm, "read_state", lambda _: SwarmState([node], [], []))

    machines, services = operations.production_status(store, SITE)

    assert [(row["machine"], row["state"], row["page"]) for row in machines] == [
        ("production1", "drain", "ready"),
        ("production2", "ssh login to production2 failed: no route", "?"),
    ]
    assert services == []


def test_without_a_reachable_manager_the_error_names_each_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(host: SshHost) -> NodeInfo:
        raise ExternalError(f"{host.name} is away")

    monkeypatch.setattr(production, "survey_node", away)

    with pytest.raises(ExternalError, match="production1 is away; production2 is away"):
        operations.service_log_argv(SITE, "web", lines=10, follow=False)


def test_a_log_is_printed_by_docker_on_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(production, "survey_node", survey)
    monkeypatch.setattr(Swarm, "read_state", lambda _: SwarmState([], [{"Spec": {"Name": "stargaze_web"}}], []))

    argv = operations.service_log_argv(SITE, "web", lines=7, follow=True)

    assert argv[-1] == "sudo -n docker service logs --timestamps --tail=7 --follow stargaze_web"
    ends = operations.service_log_argv(SITE, "web", lines=7, follow=False)
    assert ends[-1] == "sudo -n timeout 60 docker service logs --timestamps --tail=7 stargaze_web"
    with pytest.raises(UsageError, match="no such service"):
        operations.service_log_argv(SITE, "wep", lines=7, follow=True)


# ---- with a fake Swarm ---------------------------------------------------------------------------------------------


@pytest.fixture
def fake(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSwarm:
    """A fake Swarm with a deployed stack."""
    monkeypatch.setattr(production, "POLL_INTERVAL", 0.0)
    store.root.mkdir()
    fake_swarm = FakeSwarm(installed=dict.fromkeys(("production1", "production2"), "a" * 64))
    fake_swarm.install(monkeypatch)
    survey = survey_production(fake_swarm.target().hosts)
    plan = plan_stack(SWARM, fake_swarm.target(), survey, tmp_path)
    ready = prepare_stack(plan, SWARM, fake_swarm.target(), survey, lambda _: None)
    send_stack(store, survey.swarm, ready)
    save_verified_stack(store, ready)
    fake_swarm.changes.clear()
    return fake_swarm


def test_the_status_of_a_healthy_production(fake: FakeSwarm, store: Store) -> None:
    machines, services = operations.production_status(store, fake.target())

    assert machines == [
        {"machine": name, "role": role, "state": "ready", "release": "a" * 12, "page": "ready"}
        for name, role in (("production1", "manager"), ("production2", "worker"))
    ]
    image = fake.services["stargaze_web"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    assert [(row["service"], row["running"], row["desired"], row["state"], row["reason"]) for row in services] == [
        ("web", 2, 2, "ok", ""),
        ("worker", 2, 2, "ok", ""),
        ("broker", 1, 1, "ok", ""),
        ("results", 1, 1, "ok", ""),
    ]
    assert (services[0]["machines"], services[0]["image"]) == ("host1, host2", image)
    assert fake.changes == []


def test_a_service_that_somebody_else_changed_is_failed(fake: FakeSwarm, store: Store) -> None:
    del fake.services["stargaze_worker"]
    fake.services["stargaze_web"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Labels"] = {}

    _, services = operations.production_status(store, fake.target())

    result = {row["service"]: (row["state"], row["reason"]) for row in services}
    assert result["worker"] == ("failed", "the service does not exist")
    assert result["web"][0] == "failed"


def test_the_status_before_the_first_deploy_has_machines_and_no_services(fake: FakeSwarm, store: Store) -> None:
    fake.services.clear()
    (store.root / "delivery" / "stack.yml").unlink()

    machines, services = operations.production_status(store, fake.target())

    assert [row["state"] for row in machines] == ["ready", "ready"]
    assert services == []


def test_a_machine_that_becomes_unreachable_during_the_status_is_a_row(
    fake: FakeSwarm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = operations.inspect_node

    def lost(host: SshHost, image: str, port: int) -> NodeStatus:
        fake.unreachable.add("production2")
        return look(host, image, port)

    monkeypatch.setattr(operations, "inspect_node", lost)

    machines, _ = operations.production_status(store, fake.target())

    assert (machines[0]["page"], machines[1]["machine"], machines[1]["page"]) == ("ready", "production2", "?")
    assert "ssh login to production2 failed" in machines[1]["state"]


def test_a_machine_of_another_swarm_is_marked(fake: FakeSwarm, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        production, "survey_node", lambda item: dataclasses.replace(survey(MACHINES[0]), host=item, node_id="elsewhere")
    )

    machines, _ = operations.production_status(store, fake.target())

    assert {row["state"] for row in machines} == {"not in this Swarm"}


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("200 {}", "ready"),
        ('503 {"detail": "the queue is away"}', "the queue is away"),
        ("502 <html>", "502"),
        ("", "no answer"),
    ],
)
def test_the_status_shows_why_a_page_is_not_ready(
    fake: FakeSwarm, store: Store, monkeypatch: pytest.MonkeyPatch, page: str, message: str
) -> None:
    monkeypatch.setattr(operations, "inspect_node", lambda item, *_: NodeStatus(item.name, "a" * 64, (), page))

    machines, _ = operations.production_status(store, fake.target())

    assert [row["page"] for row in machines] == [message, message]


def test_comparing_a_service_with_its_definition_again_changes_no_setting(fake: FakeSwarm) -> None:
    Swarm(fake.machines[0]).reconcile_service("web")

    assert fake.changes == ["docker service update --detach stargaze_web"]


def test_scale_waits_until_the_replicas_run(fake: FakeSwarm) -> None:
    rows = operations.scale_production(SWARM, fake.target(), {"web": 3, "worker": 4}, lambda _: None)

    assert fake.changes == ["docker service scale --detach stargaze_web=3 stargaze_worker=4"]
    assert {row["service"]: (row["running"], row["state"]) for row in rows} == {
        "web": (3, "ok"),
        "worker": (4, "ok"),
        "broker": (1, "ok"),
        "results": (1, "ok"),
    }


def test_scale_before_the_first_deploy_is_an_error(fake: FakeSwarm) -> None:
    fake.services.clear()

    with pytest.raises(MissingInputError, match="nothing has been deployed to the Swarm"):
        operations.scale_production(SWARM, fake.target(), {"worker": 4}, lambda _: None)

    assert fake.changes == []


def test_replicas_that_do_not_start_are_named_with_the_reason(fake: FakeSwarm) -> None:
    fake.never_started.add("stargaze_worker")
    fake.task_errors["stargaze_worker"] = "no suitable node (insufficient resources)"

    with pytest.raises(ExternalError, match=r"worker: 0 of 9 run: no suitable node"):
        operations.scale_production(SWARM, fake.target(), {"worker": 9}, lambda _: None)


def test_without_services_the_hint_of_a_log_is_deploy(fake: FakeSwarm) -> None:
    fake.services.clear()

    with pytest.raises(UsageError) as excinfo:
        operations.service_log_argv(fake.target(), "web", lines=1, follow=False)

    assert excinfo.value.hint == "nothing is deployed: stargaze deploy"

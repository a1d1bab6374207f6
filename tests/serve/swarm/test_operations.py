"""Day to day: numbers of replicas that can be, and rows that say what is not well."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from stargaze.config import DeploySection, ServeSection
from stargaze.errors import ExternalError, MissingInputError, UsageError
from stargaze.serve.runtime.settings import Sources
from stargaze.serve.swarm import operations as operating
from stargaze.serve.swarm import production as site
from stargaze.serve.swarm import wait as watching
from stargaze.serve.swarm.delivery_state import apply, keep
from stargaze.serve.swarm.docker import NodeInfo, Seen, State, Swarm
from stargaze.serve.swarm.image import Engine, Recipe
from stargaze.serve.swarm.production import ProductionTarget, prepare_stack, survey_all
from stargaze.store import Store
from stargaze.system.ssh import SshHost
from tests.serve.swarm.small_swarm import SmallSwarm

MACHINES = tuple(SshHost(f"production{n}", "production", f"10.0.0.{n}", f"10.0.0.{n}", "me", ()) for n in (1, 2))
SITE = ProductionTarget(MACHINES, Engine(), Recipe("base"), ServeSection(), Sources(), 80)
SWARM = DeploySection(to="swarm", registry="registry.example", timeout=0)


def test_numbers_are_read() -> None:
    assert operating.numbers(["web=4", "worker=8"], DeploySection()) == {"web": 4, "worker": 8}


@pytest.mark.parametrize(
    ("words", "keys", "said"),
    [
        ("wroker=2", {}, "not a service to scale"),
        ("broker=2", {}, "not a service to scale"),
        ("worker", {}, "wants a number"),
        ("worker=0", {}, "wants a number"),
        ("worker=-1", {}, "wants a number"),
        ("worker=257", {}, "wants a number from 1 to 256"),
        ("worker=1.5", {}, "wants a number"),
        ("worker=x", {}, "wants a number"),
        ("worker=²", {}, "wants a number"),
        ("", {}, "not a service to scale"),
        ("web=4", {"publish_mode": "host"}, "a port of each machine"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(words: str, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        operating.numbers([words], DeploySection(**keys))


def survey(remote: SshHost) -> NodeInfo:
    if remote.name == "production2":
        raise ExternalError("ssh login to production2 failed: no route")
    return NodeInfo(remote, "host1", "n1", True, frozenset(), "c" * 40, "a" * 64, ())


def test_a_machine_that_is_away_is_a_row_and_no_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    node = {
        "ID": "n1",
        "Description": {"Hostname": "host1"},
        "Status": {"State": "ready"},
        "Spec": {"Availability": "drain"},
    }
    monkeypatch.setattr(site, "survey", survey)
    monkeypatch.setattr(operating, "look", lambda remote, *_: Seen(remote.name, "a" * 64, (), "200 {}"))
    monkeypatch.setattr(Swarm, "state", lambda _: State([node], [], []))

    machines, services = operating.production_status(store, SITE)

    assert [(row["machine"], row["state"], row["page"]) for row in machines] == [
        ("production1", "drain", "ready"),
        ("production2", "ssh login to production2 failed: no route", "?"),
    ]
    assert services == []


def test_without_a_manager_the_reason_is_that_of_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(remote: SshHost) -> NodeInfo:
        raise ExternalError(f"{remote.name} is away")

    monkeypatch.setattr(site, "survey", away)

    with pytest.raises(ExternalError, match="production1 is away; production2 is away"):
        operating.log_words(SITE, "web", lines=10, follow=False)


def test_a_log_is_printed_by_docker_on_a_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "survey", survey)
    monkeypatch.setattr(Swarm, "state", lambda _: State([], [{"Spec": {"Name": "stargaze_web"}}], []))

    argv = operating.log_words(SITE, "web", lines=7, follow=True)

    assert argv[-1] == "sudo -n docker service logs --timestamps --tail=7 --follow stargaze_web"
    ends = operating.log_words(SITE, "web", lines=7, follow=False)
    assert ends[-1] == "sudo -n timeout 60 docker service logs --timestamps --tail=7 stargaze_web"
    with pytest.raises(UsageError, match="no such service"):
        operating.log_words(SITE, "wep", lines=7, follow=True)


# ---- over a small Swarm ---------------------------------------------------------------------------------------------


@pytest.fixture
def small(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallSwarm:
    """A Swarm in memory, to which a stack was delivered."""
    monkeypatch.setattr(watching, "PAUSE", 0.0)
    store.root.mkdir()
    made = SmallSwarm(installed=dict.fromkeys(("production1", "production2"), "a" * 64))
    made.enter(monkeypatch)
    machines, swarm = survey_all(made.site())
    ready = prepare_stack(SWARM, made.site(), machines, swarm, tmp_path, lambda _: None)
    apply(store, swarm, ready.whole)
    keep(store, ready.whole)
    made.done.clear()
    return made


def test_all_that_is_well_is_shown_as_it_is(small: SmallSwarm, store: Store) -> None:
    machines, services = operating.production_status(store, small.site())

    assert machines == [
        {"machine": name, "role": role, "state": "ready", "release": "a" * 12, "page": "ready"}
        for name, role in (("production1", "manager"), ("production2", "worker"))
    ]
    image = small.services["stargaze_web"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    assert [(row["service"], row["running"], row["wanted"], row["state"], row["why"]) for row in services] == [
        ("web", 2, 2, "well", ""),
        ("worker", 2, 2, "well", ""),
        ("broker", 1, 1, "well", ""),
        ("results", 1, 1, "well", ""),
    ]
    assert (services[0]["machines"], services[0]["image"]) == ("host1, host2", image)
    assert small.done == []


def test_a_service_that_somebody_else_changed_is_not_well(small: SmallSwarm, store: Store) -> None:
    del small.services["stargaze_worker"]
    small.services["stargaze_web"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Labels"] = {}

    _, services = operating.production_status(store, small.site())

    found = {row["service"]: (row["state"], row["why"]) for row in services}
    assert found["worker"] == ("failed", "it is not there")
    assert found["web"][0] == "failed"


def test_before_the_first_delivery_machines_are_shown_and_no_service(small: SmallSwarm, store: Store) -> None:
    small.services.clear()
    (store.root / "delivery" / "stack.yml").unlink()

    machines, services = operating.production_status(store, small.site())

    assert [row["state"] for row in machines] == ["ready", "ready"]
    assert services == []


def test_a_machine_that_goes_away_while_it_is_asked_is_a_row_too(
    small: SmallSwarm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = operating.look

    def lost(remote: SshHost, image: str, port: int) -> Seen:
        small.away.add("production2")
        return look(remote, image, port)

    monkeypatch.setattr(operating, "look", lost)

    machines, _ = operating.production_status(store, small.site())

    assert (machines[0]["page"], machines[1]["machine"], machines[1]["page"]) == ("ready", "production2", "?")
    assert "ssh login to production2 failed" in machines[1]["state"]


def test_a_machine_of_another_swarm_is_told_apart(
    small: SmallSwarm, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        site, "survey", lambda one: dataclasses.replace(survey(MACHINES[0]), remote=one, node="elsewhere")
    )

    machines, _ = operating.production_status(store, small.site())

    assert {row["state"] for row in machines} == {"not in this Swarm"}


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("200 {}", "ready"),
        ('503 {"error": {"message": "the queue is away"}}', "the queue is away"),
        ("502 <html>", "502"),
        ("", "no answer"),
    ],
)
def test_a_page_says_what_is_in_its_way(
    small: SmallSwarm, store: Store, monkeypatch: pytest.MonkeyPatch, page: str, said: str
) -> None:
    monkeypatch.setattr(operating, "look", lambda one, *_: Seen(one.name, "a" * 64, (), page))

    machines, _ = operating.production_status(store, small.site())

    assert [row["page"] for row in machines] == [said, said]


def test_numbers_are_set_and_waited_for(small: SmallSwarm) -> None:
    rows = operating.scale(SWARM, small.site(), {"web": 3, "worker": 4}, lambda _: None)

    assert small.done == ["docker service scale --detach stargaze_web=3 stargaze_worker=4"]
    assert {row["service"]: (row["running"], row["state"]) for row in rows} == {
        "web": (3, "well"),
        "worker": (4, "well"),
        "broker": (1, "well"),
        "results": (1, "well"),
    }


def test_what_was_not_delivered_is_not_scaled(small: SmallSwarm) -> None:
    small.services.clear()

    with pytest.raises(MissingInputError, match="nothing was deployed to the Swarm yet"):
        operating.scale(SWARM, small.site(), {"worker": 4}, lambda _: None)

    assert small.done == []


def test_replicas_that_do_not_come_up_are_named_with_the_reason(small: SmallSwarm) -> None:
    small.dead.add("stargaze_worker")
    small.failed["stargaze_worker"] = "no suitable node (insufficient resources)"

    with pytest.raises(ExternalError, match=r"worker: 0 of 9 run: no suitable node"):
        operating.scale(SWARM, small.site(), {"worker": 9}, lambda _: None)


def test_without_any_service_the_hint_of_a_log_is_what_makes_them(small: SmallSwarm) -> None:
    small.services.clear()

    with pytest.raises(UsageError) as caught:
        operating.log_words(small.site(), "web", lines=1, follow=False)

    assert caught.value.hint == "there are: none; stargaze deploy"

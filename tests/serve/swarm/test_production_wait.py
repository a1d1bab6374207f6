"""Waiting for services and machines: messages and timeouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from stargaze.config import DeploySection
from stargaze.errors import ExternalError
from stargaze.serve.swarm import production
from stargaze.serve.swarm.docker import Container, NodeStatus, Swarm, SwarmState
from stargaze.serve.swarm.production import await_services, await_serving
from stargaze.serve.swarm.service_status import ServiceStatus
from tests.serve.swarm.fake_swarm import machine

SECTION = DeploySection(timeout=300)
MACHINES = (machine(1), machine(2))
SWARM = Swarm(MACHINES[0])
DIGEST = "a" * 64


@dataclass
class Clock:
    """Time that passes only in ``sleep``."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake_clock = Clock()
    monkeypatch.setattr(production, "time", fake_clock)
    monkeypatch.setattr(Swarm, "read_state", lambda _: SwarmState([], [], []))
    return fake_clock


@pytest.fixture
def polls(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the services of each poll; the last ones are repeated."""

    def let(*statuses: list[ServiceStatus]) -> None:
        remaining = list(statuses)
        monkeypatch.setattr(
            production, "service_status", lambda *_: remaining.pop(0) if len(remaining) > 1 else remaining[0]
        )

    return let


def web(running: int, state: str, why: str = "") -> ServiceStatus:
    return ServiceStatus("web", running, 2, "image", state, why)


def broker(state: str = "ok", why: str = "") -> ServiceStatus:
    return ServiceStatus("broker", int(state == "ok"), 1, "image", state, why)


def test_running_services_are_returned_without_a_message(polls: Callable[..., None]) -> None:
    notes: list[str] = []
    polls([web(2, "ok"), broker()])

    assert await_services(SECTION, SWARM, None, notes.append) == [web(2, "ok"), broker()]
    assert notes == []


def test_waiting_is_reported_when_the_counts_change(polls: Callable[..., None]) -> None:
    notes: list[str] = []
    none, item, both = web(0, "updating"), web(1, "updating"), web(2, "ok")
    polls([none, broker("updating")], [none, broker("updating")], [item, broker()], [item, broker()], [both, broker()])

    assert await_services(SECTION, SWARM, None, notes.append) == [both, broker()]
    assert notes == ["waiting for web 0 of 2, broker 0 of 1", "waiting for web 1 of 2"]


def test_a_failed_service_ends_the_wait_at_once(polls: Callable[..., None], clock: Clock) -> None:
    polls([web(1, "updating"), broker("failed", "no such image")])

    with pytest.raises(ExternalError) as excinfo:
        await_services(SECTION, SWARM, None, lambda _: None)

    assert excinfo.value.message == "broker: 0 of 1 run: no such image"
    assert excinfo.value.hint == "stargaze logs broker"
    assert clock.now == 0.0


def test_the_timeout_error_names_every_updating_service(polls: Callable[..., None], clock: Clock) -> None:
    polls([web(1, "updating", "unhealthy"), broker("updating"), ServiceStatus("results", 1, 1, "", "ok")])

    with pytest.raises(ExternalError) as excinfo:
        await_services(SECTION, SWARM, None, lambda _: None)

    assert excinfo.value.message == "web: 1 of 2 run: unhealthy; broker: 0 of 1 run"
    assert excinfo.value.hint == "stargaze logs web"
    assert 300 < clock.now <= 302


def test_a_task_that_waits_forever_is_removed_by_comparing_its_service_again(
    polls: Callable[..., None], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swarm's rollback and its restart of a failing task had both created one on the same node."""
    reconciled: list[tuple[str, float]] = []
    monkeypatch.setattr(Swarm, "reconcile_service", lambda _, name: reconciled.append((name, clock.now)))
    surplus = ServiceStatus("web", 2, 2, "image", "updating", "host-mode port already in use", has_surplus_task=True)
    short = [[surplus]] * 5 + [[web(2, "updating")]]
    polls(*short, *([[surplus]] * 50), [web(2, "ok")])
    notes: list[str] = []

    await_services(SECTION, SWARM, None, notes.append)

    assert reconciled == [("web", 26.0), ("web", 47.0)]
    assert notes[1:] == ["web has a task that waits forever; Swarm compares it with its definition again"] * 2


def node_status(name: str, serves: str = DIGEST) -> NodeStatus:
    page = f'200 {{"bundle": "{DIGEST}"}}'
    return NodeStatus(name, DIGEST, (Container("web", True, [DIGEST]), Container("worker", True, [serves])), page)


def test_a_release_serves_when_every_process_of_every_machine_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers reload one after the other."""
    requests: list[tuple[str, str, int]] = []

    def inspect(host: object, image: str, port: int) -> NodeStatus:
        name = host.name  # type: ignore[attr-defined]
        requests.append((name, image, port))
        return node_status(name, DIGEST if len(requests) > 4 or name == "production1" else "b" * 64)

    monkeypatch.setattr(production, "inspect_node", inspect)

    await_serving(SECTION, MACHINES, "image:1", 80, DIGEST)

    assert sorted(requests) == [(item.name, "image:1", 80) for item in MACHINES for _ in range(3)]


def test_a_machine_that_serves_another_release_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        production,
        "inspect_node",
        lambda item, *_: node_status(item.name, "b" * 64 if item.name == "production2" else DIGEST),
    )

    with pytest.raises(ExternalError) as excinfo:
        await_serving(SECTION, MACHINES, "image:1", 80, DIGEST)

    assert excinfo.value.message == f"production2: a worker container serves {'b' * 12}"
    assert excinfo.value.hint == "stargaze status"


@pytest.mark.parametrize(("timeout", "limit"), [(300, 62), (10, 12)])
def test_serving_is_awaited_for_a_minute_at_most(
    monkeypatch: pytest.MonkeyPatch, clock: Clock, timeout: int, limit: int
) -> None:
    monkeypatch.setattr(production, "inspect_node", lambda item, *_: node_status(item.name, "b" * 64))

    with pytest.raises(ExternalError, match=r"production1: .*; production2: .*"):
        await_serving(DeploySection(timeout=timeout), MACHINES, "image:1", 80, DIGEST)

    assert limit - 2 < clock.now <= limit

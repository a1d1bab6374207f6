"""A cloud in memory: its resources are a list, and tests can make calls fail."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import replace

import pytest

from stargaze.config import InfraSection
from stargaze.errors import ExternalError
from stargaze.infra.hosts.host_keys import BEGIN, END
from stargaze.infra.plan.offers import Flavor, Image, Limit, Network, Offers
from stargaze.infra.plan.resources import ActualResource, DesiredResource

OFFERS = Offers(
    images=(Image("i1", "debian-12-20260101", "2026-01-01"), Image("i2", "debian-12-20260801", "2026-08-01")),
    flavors=(
        Flavor("f1", "tiny", 1, 0.5, 1),
        Flavor("f2", "small", 2, 4, 20),
        Flavor("f3", "medium", 4, 8, 40),
        Flavor("f4", "diskless", 2, 4, 0),
    ),
    networks=(Network("n1", "public", external=True), Network("n2", "shared", external=False, subnets=("s1",))),
    keypairs=("mine",),
    zones=("nova",),
    limits={"servers": Limit(10, 0), "cores": Limit(20, 0), "ports": Limit(-1, 40)},
    anti_affinity=True,
)
SECTION = InfraSection(ssh_from=["192.0.2.0/24"], timeout=10)


class FakeCloud:
    """Implements :class:`stargaze.infra.plan.resources.Cloud` in memory; ``failures`` has the errors of ``create`` by key."""

    auth_host = "127.0.0.1"

    def __init__(self, offers: Offers = OFFERS) -> None:
        self.offered = offers
        self.existing: list[ActualResource] = []
        self.failures: dict[str, str] = {}
        self.calls: list[str] = []
        self.consoles: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def offers(self) -> Offers:
        return self.offered

    def resources(self) -> tuple[ActualResource, ...]:
        return tuple(self.existing)

    def create(self, resource: DesiredResource, ids: Mapping[str, str]) -> ActualResource:
        with self._lock:
            self.calls.append(f"create {resource.key}")
            if resource.key in self.failures:
                raise ExternalError(f"{resource.key} could not be created: {self.failures[resource.key]}", hint="wait")
            missing = [need for need in resource.depends_on if need not in ids]
            assert not missing, missing
            number = next(self._numbers)
            state = "ACTIVE" if resource.kind == "server" else ""
            extra = {"address": f"10.20.0.{number}"} if resource.kind in ("port", "floating IP") else {}
            created = ActualResource(
                resource.kind, resource.name, f"id{number}", {**resource.spec, **extra}, state, "", f"{number:04}"
            )
            self.existing.append(created)
            return created

    def update(self, resource: DesiredResource, actual: ActualResource, ids: Mapping[str, str]) -> ActualResource:
        with self._lock:
            self.calls.append(f"update {resource.key}")
            updated = replace(actual, spec={**actual.spec, **resource.spec}, state="ACTIVE" if actual.state else "")
            self.existing[self.existing.index(actual)] = updated
            return updated

    def delete(self, resource: ActualResource) -> None:
        with self._lock:
            self.calls.append(f"delete {resource.key}")
            deleted = {resource.key, f"rules {resource.name}"} if resource.kind == "security group" else {resource.key}
            self.existing = [
                other
                for other in self.existing
                if other.key not in deleted or (other.kind != "rules" and other.id != resource.id)
            ]

    def servers(self) -> tuple[ActualResource, ...]:
        return tuple(resource for resource in self.existing if resource.kind == "server")

    def console_output(self, server_id: str) -> str:
        return self.consoles.get(server_id, f"boot\n{BEGIN}\nssh-ed25519 AAAA{server_id} root@x\n{END}\n")


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()

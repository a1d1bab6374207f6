"""A cloud without a network: everything it holds is a list, and it fails when a test says so."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from dataclasses import replace

import pytest

from stargaze.config import InfraSection
from stargaze.errors import ExternalError
from stargaze.infra.hosts.cloud_init import BEGIN, END
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
SECTION = InfraSection(ssh_from=["192.0.2.0/24"], patience=10)


class FakeCloud:
    """Keeps the promises of the port, in memory; ``fails`` names the keys that cannot be made now."""

    server = "127.0.0.1"

    def __init__(self, offers: Offers = OFFERS) -> None:
        self.given = offers
        self.things: list[ActualResource] = []
        self.fails: dict[str, str] = {}
        self.calls: list[str] = []
        self.consoles: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def offers(self) -> Offers:
        return self.given

    def found(self) -> tuple[ActualResource, ...]:
        return tuple(self.things)

    def make(self, resource: DesiredResource, ids: Mapping[str, str]) -> ActualResource:
        with self._lock:
            self.calls.append(f"make {resource.key}")
            if resource.key in self.fails:
                raise ExternalError(f"{resource.key} could not be made: {self.fails[resource.key]}", hint="wait")
            missing = [need for need in resource.needs if need not in ids]
            assert not missing, missing
            number = next(self._numbers)
            state = "ACTIVE" if resource.kind == "server" else ""
            extra = {"address": f"10.20.0.{number}"} if resource.kind in ("port", "floating IP") else {}
            found = ActualResource(
                resource.kind, resource.name, f"id{number}", {**resource.spec, **extra}, state, "", f"{number:04}"
            )
            self.things.append(found)
            return found

    def mend(self, resource: DesiredResource, found: ActualResource, ids: Mapping[str, str]) -> ActualResource:
        with self._lock:
            self.calls.append(f"mend {resource.key}")
            mended = replace(found, spec={**found.spec, **resource.spec}, state="ACTIVE" if found.state else "")
            self.things[self.things.index(found)] = mended
            return mended

    def remove(self, found: ActualResource) -> None:
        with self._lock:
            self.calls.append(f"remove {found.key}")
            gone = {found.key, f"rules {found.name}"} if found.kind == "security group" else {found.key}
            self.things = [
                one for one in self.things if one.key not in gone or (one.kind != "rules" and one.id != found.id)
            ]

    def servers(self) -> tuple[ActualResource, ...]:
        return tuple(one for one in self.things if one.kind == "server")

    def console(self, server_id: str) -> str:
        return self.consoles.get(server_id, f"boot\n{BEGIN}\nssh-ed25519 AAAA{server_id} root@x\n{END}\n")


@pytest.fixture
def cloud() -> FakeCloud:
    return FakeCloud()

"""The address from which the cloud sees this machine."""

from __future__ import annotations

import socket
from typing import Any, Self

import pytest

from stargaze.infra.plan import offers
from stargaze.infra.plan.offers import detect_own_address
from tests.isolation import copy_module


def test_on_the_cloud_host_the_range_contains_only_this_machine() -> None:
    assert detect_own_address("127.0.0.1") == (["127.0.0.1/32"], ())


def test_a_host_name_without_an_address_is_a_problem() -> None:
    ranges, (problem,) = detect_own_address("no-such-host.invalid")

    assert ranges == []
    assert "no-such-host.invalid has no IPv4 address" in problem.message
    assert "infra.ssh_from" in problem.hint


def test_behind_nat_the_range_must_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def connect(self, target: object) -> None:
            pass

        def getsockname(self) -> tuple[str, int]:
            return "192.168.1.7", 0

    monkeypatch.setattr(offers, "socket", copy_module(socket, socket=lambda *_: Socket()))

    ranges, (problem,) = detect_own_address("8.8.8.8")

    assert ranges == []
    assert "192.168.1.7 is private and translated on the way to the cloud" in problem.message


def test_the_ipv4_address_is_preferred_because_floating_ips_are_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(host: str, port: int, family: int = 0, type: int = 0) -> list[Any]:  # noqa: A002 - socket's own name
        answers: list[Any] = [
            (socket.AF_INET6, type, 17, "", ("::1", port, 0, 0)),
            (socket.AF_INET, type, 17, "", ("127.0.0.1", port)),
        ]
        return [answer for answer in answers if family in (0, answer[0])]

    monkeypatch.setattr(offers, "socket", copy_module(socket, getaddrinfo=both))

    assert detect_own_address("cloud.example") == (["127.0.0.1/32"], ())

"""From where we come, as the cloud sees it."""

from __future__ import annotations

import socket
from typing import Any, Self

import pytest

from stargaze.infra.plan import own_address as whereabouts
from stargaze.infra.plan.own_address import detect_own_address
from tests.isolation import copy_module


def test_beside_the_cloud_it_is_this_machine_alone() -> None:
    assert detect_own_address("127.0.0.1") == (["127.0.0.1/32"], ())


def test_a_name_that_nobody_knows_is_said() -> None:
    ranges, (missing,) = detect_own_address("no-such-host.invalid")

    assert ranges == []
    assert "cannot be looked up" in missing.what
    assert "infra.ssh_from" in missing.hint


def test_behind_a_translated_address_it_must_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def connect(self, target: object) -> None:
            pass

        def getsockname(self) -> tuple[str, int]:
            return "192.168.1.7", 0

    monkeypatch.setattr(whereabouts, "socket", copy_module(socket, socket=lambda *_: Socket()))

    ranges, (missing,) = detect_own_address("8.8.8.8")

    assert ranges == []
    assert "the cloud does not see 192.168.1.7" in missing.what


def test_of_two_kinds_of_addresses_that_of_floating_ips_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(host: str, port: int, family: int = 0, type: int = 0) -> list[Any]:  # noqa: A002 - socket's own name
        answers: list[Any] = [
            (socket.AF_INET6, type, 17, "", ("::1", port, 0, 0)),
            (socket.AF_INET, type, 17, "", ("127.0.0.1", port)),
        ]
        return [answer for answer in answers if family in (0, answer[0])]

    monkeypatch.setattr(whereabouts, "socket", copy_module(socket, getaddrinfo=both))

    assert detect_own_address("cloud.example") == (["127.0.0.1/32"], ())

"""A GitHub of canned answers, and a clock that only sleeping moves."""

from __future__ import annotations

import email.utils
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from stargaze.features.github.api.client import Client
from stargaze.features.github.api.http_transport import NoResponseError, Request, Response

NOW = 1_780_000_000.0


class FakeClock:
    """Time that passes by sleeping; ``skew`` is how far this machine is ahead of GitHub."""

    def __init__(self, skew: float = 0.0) -> None:
        self.now, self.skew = NOW, skew
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now + self.skew

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class FakeTransport:
    """Gives one canned answer after the other; an exception among them is raised."""

    def __init__(self, answers: Sequence[Response | NoResponseError]) -> None:
        self.answers, self.asked = list(answers), list[Request]()

    def send(self, ask: Request) -> Response:
        self.asked.append(ask)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, NoResponseError):
            raise answer
        return answer


def answer(
    status: int = 200, data: Any = None, *, raw: bytes | None = None, date: float | None = NOW, **headers: str
) -> Response:
    """Make an answer as GitHub gives it; header names with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if date is not None:
        named["date"] = email.utils.formatdate(date, usegmt=True)
    return Response(status, named, json.dumps(data if data is not None else {}).encode() if raw is None else raw, 0.1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def canned(clock: FakeClock) -> Callable[..., tuple[Client, FakeTransport]]:
    """Make a client that hears these answers."""

    def make(*answers: Response | NoResponseError, skew: float = 0.0) -> tuple[Client, FakeTransport]:
        clock.skew = skew
        transport = FakeTransport(answers)
        return Client(transport, clock), transport

    return make

"""A transport with canned responses, and a clock that advances only when the client sleeps."""

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
    """Time that advances by sleeping; ``skew`` is the offset of the local clock from GitHub's [s]."""

    def __init__(self, skew: float = 0.0) -> None:
        self.now, self.skew = NOW, skew
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now + self.skew

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class FakeTransport:
    """Returns one canned response after the other; an exception among them is raised. The last one is repeated."""

    def __init__(self, responses: Sequence[Response | NoResponseError]) -> None:
        self.responses, self.requests = list(responses), list[Request]()

    def send(self, request: Request) -> Response:
        self.requests.append(request)
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        if isinstance(response, NoResponseError):
            raise response
        return response


def make_response(
    status: int = 200, data: Any = None, *, raw: bytes | None = None, date: float | None = NOW, **headers: str
) -> Response:
    """Return a response like GitHub's; header names are written with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if date is not None:
        named["date"] = email.utils.formatdate(date, usegmt=True)
    return Response(status, named, json.dumps(data if data is not None else {}).encode() if raw is None else raw, 0.1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client_with(clock: FakeClock) -> Callable[..., tuple[Client, FakeTransport]]:
    """Return a function that makes a client with these responses."""

    def make(*responses: Response | NoResponseError, skew: float = 0.0) -> tuple[Client, FakeTransport]:
        clock.skew = skew
        transport = FakeTransport(responses)
        return Client(transport, clock), transport

    return make

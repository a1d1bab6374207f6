"""What the collector needs of the world: somebody who carries a request, and a clock. Tests bring their own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Request:
    """One request: a path below the base URL (or a whole URL of the same server), and for GraphQL a body."""

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = None
    etag: str = ""
    """What an earlier answer was marked with: GitHub says 304 if it still holds."""


@dataclass(frozen=True)
class Response:
    """What came back, as it came: header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    duration: float = 0.0
    """Seconds until the answer was whole."""
    url: str = ""
    """Who answered: what a redirect is relative to."""


class NoResponseError(Exception):
    """Nothing usable came back: no connection, a time-out, or a body cut short."""


class OtherServerError(Exception):
    """An address of another server than the base URL's, which is sent nothing; the message names the server."""


class Transport(Protocol):
    """Carries one request to one server and brings its answer; follows no redirect and repeats nothing that was sent."""

    def send(self, request: Request) -> Response:
        """Return the answer, whatever its status; NoAnswerError where there is none, ElsewhereError if not sent."""


class Clock(Protocol):
    """Time as the collector sees it [s]; only differences are used, so a clock that is off does no harm."""

    def time(self) -> float:
        """Return seconds since 1970 as this machine has them."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class RealClock:
    """The machine's own clock."""

    def time(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

"""Interfaces of the HTTP transport and the clock, which tests replace."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Request:
    """A path below the base URL (or a URL of the same server), and for GraphQL a body."""

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: bytes | None = None
    etag: str = ""
    """ETag of an earlier response; GitHub returns 304 if it is still valid."""


@dataclass(frozen=True)
class Response:
    """The raw response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    duration: float = 0.0
    """Seconds until the response was complete."""
    url: str = ""
    """URL of the response, the base of a relative redirect."""


class NoResponseError(Exception):
    """No usable response: no connection, a timeout, or a truncated body."""


class OtherServerError(Exception):
    """The URL belongs to another server, which is sent nothing; the message names the server."""


class Transport(Protocol):
    """Sends one request to one server; follows no redirect and repeats no sent request."""

    def send(self, request: Request) -> Response:
        """Return the response of any status; raise NoResponseError without one, OtherServerError if not sent."""


class Clock(Protocol):
    """Time [s]; only differences are used, so a wrong clock does no harm."""

    def time(self) -> float:
        """Return seconds since 1970."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class RealClock:
    """The system clock."""

    def time(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

"""What is requested from GitHub, what is kept of a reply, and the clock of a client that must not wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from stargaze.features.github.api.replies import Reply

MAX_AGE = 600.0
"""Time for which a reply is reused without a request; afterwards it is revalidated by its ETag [s]."""
RATE_LIMITED = "rate limited by GitHub"
UNKNOWN_LIMITED = "too many names were requested that GitHub does not have: no other ones are requested"
BLOCKED = ("block", "legal", "dmca", "451")
"""Words of the reasons for which GitHub blocks a repository."""


class WaitRequiredError(Exception):
    """The next request would have to wait for this many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s")
        self.seconds = seconds


class NoWaitClock:
    """The time of day for a client that must not wait."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def time(self) -> float:
        """Return seconds since 1970."""
        return self._clock()

    def sleep(self, seconds: float) -> None:
        """Raise WaitRequiredError."""
        raise WaitRequiredError(seconds)


@dataclass(frozen=True)
class Resource:
    """A REST resource; ``read`` returns the value that is kept of a reply, or why there is none.

    ``kind`` names resources that fail together. The request is sent only if more than ``reserve`` requests remain.
    """

    kind: str
    name: str
    path: str
    read: Callable[[Reply], tuple[Any, str]]
    params: Mapping[str, str | int] = field(default_factory=dict)
    max_age: float = MAX_AGE
    reserve: int = 0
    patience: int = 1
    """Faults of this kind, one after another, after which none is requested for a while."""
    default_limit: tuple[int, float] | None = None
    """Limit and window [s] as long as no response has stated them."""
    unknown_limit: tuple[int, float] | None = None
    """Limit and window [s] of replies without a value, after which it is requested only if it once had one."""
    can_be_refused: bool = True
    """Whether a refusal means that there is none; otherwise only a blocked one, and a proxy may refuse others."""

    @property
    def key(self) -> str:
        """The cache key: kind and name."""
        return f"{self.kind} {self.name.lower()}"

    def is_refused_by_others(self, reply: Reply) -> bool:
        """Return whether a refusal says nothing about the repository."""
        return reply.refused and not self.can_be_refused and not is_blocked(reply.gone)

    @property
    def limit(self) -> str:
        """The name of the rate limit that counts it."""
        return "search" if self.path.startswith("/search/") else "core"


def limited_until(until: float, reason: str = RATE_LIMITED) -> str:
    """Return the reason of a request that is not sent before this time [s since 1970]."""
    return f"{reason} until {datetime.fromtimestamp(until, UTC):%H:%M} UTC"


def is_blocked(reason: str) -> bool:
    """Return whether GitHub refuses a repository to everybody."""
    return any(word in reason.lower() for word in BLOCKED)


@dataclass(frozen=True)
class GithubReply:
    """A value, why there is none (``gone``), or why GitHub was ``unavailable``: the value is then from an earlier reply."""

    value: Any = None
    gone: str = ""
    unavailable: str = ""
    received_at: float = 0.0
    etag: str = ""
    retry_at: float = 0.0
    """How long the reason can be expected to hold, if GitHub was unavailable [s since 1970]."""

    def paused(self, pause: tuple[str, float]) -> Self:
        """Return this earlier reply with the reason why GitHub is unavailable, and its end."""
        return replace(self, unavailable=pause[0], retry_at=pause[1])

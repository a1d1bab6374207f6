"""GitHub's limits in simulated time: windows of requests or points, computing time, and secondary limits."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field


@dataclass
class SimulatedClock:
    """Time that advances by sleeping or computing; ``skew`` is the offset of the client's clock [s]."""

    now: float
    skew: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def time(self) -> float:
        """Return the client's time."""
        return self.now + self.skew

    def sleep(self, seconds: float) -> None:
        """Advance the time."""
        with self.lock:
            self.now += seconds


class RunningClock:
    """The system clock, for use by hand."""

    @property
    def now(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def time(self) -> float:
        """Return the client's time, which is the same."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass
class Window:
    """A limit of requests or points per window, which starts with the first request."""

    name: str
    limit: int
    seconds: float
    used: int = 0
    until: float = 0.0

    def renew(self, now: float) -> None:
        """Start a new window if the last one has ended."""
        if now >= self.until:
            self.used, self.until = 0, math.floor(now) + self.seconds

    def take(self, now: float, cost: int = 1) -> bool:
        """Use a part of the limit; return False if nothing is left."""
        self.renew(now)
        if self.used >= self.limit:
            return False
        self.used = min(self.used + cost, self.limit)
        return True

    def headers(self) -> dict[str, str]:
        """Return GitHub's rate limit headers."""
        return {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.limit - self.used),
            "x-ratelimit-used": str(self.used),
            "x-ratelimit-reset": str(round(self.until)),
            "x-ratelimit-resource": self.name,
        }


@dataclass
class ComputeLimit:
    """At most 60 seconds of computing in any 60 seconds."""

    spent: deque[tuple[float, float]] = field(default_factory=deque)

    def is_exceeded(self, now: float) -> bool:
        """Return whether the limit of the last minute is exceeded."""
        while self.spent and self.spent[0][0] < now - 60:
            self.spent.popleft()
        return sum(seconds for _, seconds in self.spent) > 60

    def add(self, now: float, seconds: float) -> None:
        """Add the computing time of a query."""
        self.spent.append((now, seconds))


@dataclass
class SecondaryLimit:
    """A secondary limit; each request before its end prolongs it and counts as a violation."""

    until: float = 0.0
    violations: int = 0

    def start(self, now: float, seconds: float) -> None:
        """Refuse requests for so many seconds."""
        self.until = now + seconds

    def is_active(self, now: float) -> bool:
        """Return whether the limit is active; if so, the request is a violation."""
        if now < self.until - 0.001:
            self.violations += 1
            self.until = max(self.until, now + 60)
            return True
        return False

"""GitHub's limits in simulated time: windows of requests or points, seconds of computing, and whims."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field


@dataclass
class SimulatedClock:
    """Time that passes by being slept or computed away; ``skew`` is how far the client's own clock is ahead."""

    now: float
    skew: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def time(self) -> float:
        """Return the client's time."""
        return self.now + self.skew

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        with self.lock:
            self.now += seconds


class RunningClock:
    """Time that passes by itself, for people who try a command."""

    @property
    def now(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def time(self) -> float:
        """Return the same: the client has no other clock."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


@dataclass
class Window:
    """So many in so many seconds, counted from the first."""

    name: str
    limit: int
    seconds: float
    used: int = 0
    until: float = 0.0

    def look(self, now: float) -> None:
        """Begin a new window if the last one is over."""
        if now >= self.until:
            self.used, self.until = 0, math.floor(now) + self.seconds

    def take(self, now: float, cost: int = 1) -> bool:
        """Use up a part; False if there is not so much left."""
        self.look(now)
        if self.used >= self.limit:
            return False
        self.used = min(self.used + cost, self.limit)
        return True

    def headers(self) -> dict[str, str]:
        """Say how much is left, as GitHub does."""
        return {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.limit - self.used),
            "x-ratelimit-used": str(self.used),
            "x-ratelimit-reset": str(round(self.until)),
            "x-ratelimit-resource": self.name,
        }


@dataclass
class Computing:
    """At most 60 seconds of computing in any 60 seconds."""

    spent: deque[tuple[float, float]] = field(default_factory=deque)

    def over(self, now: float) -> bool:
        """Tell whether the last minute is used up."""
        while self.spent and self.spent[0][0] < now - 60:
            self.spent.popleft()
        return sum(seconds for _, seconds in self.spent) > 60

    def add(self, now: float, seconds: float) -> None:
        """Count what a query took."""
        self.spent.append((now, seconds))


@dataclass
class Penalty:
    """A secondary limit in force: whoever asks before it is over prolongs it, which is counted."""

    until: float = 0.0
    violations: int = 0

    def begin(self, now: float, seconds: float) -> None:
        """Refuse for so long."""
        self.until = now + seconds

    def in_force(self, now: float) -> bool:
        """Tell whether it is; asking is a violation."""
        if now < self.until - 0.001:
            self.violations += 1
            self.until = max(self.until, now + 60)
            return True
        return False

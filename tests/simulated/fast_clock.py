"""The system clock, on which the simulated GitHub answers at once; a test sets it ahead."""

from __future__ import annotations

import time

from tests.simulated.limits import RunningClock


class FastClock(RunningClock):
    """Seconds since 1970, ``ahead`` of the system; sleeping takes no time."""

    ahead = 0.0

    @property
    def now(self) -> float:
        """Return seconds since 1970."""
        return time.time() + self.ahead

    def time(self) -> float:
        """Return the client's time, which is the same."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Return at once."""

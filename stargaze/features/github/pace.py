"""How far a gather is, said in one line: repositories, requests, what GitHub still allows, and when it will be done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta

from stargaze.features.github.client import Client
from stargaze.features.github.found import Progress
from stargaze.features.github.manners import whole_seconds

Report = Callable[[str, float], None]
Tell = Callable[[int], None]


class Pace:
    """Says how far each step is, and how long it will take at its present speed."""

    def __init__(self, client: Client, report: Report) -> None:
        self._client = client
        self._report = report
        client.waiting = self._waits
        self._line = ""
        self._last: tuple[str, int, int, float, int] | None = None
        self._share = 0.0

    @contextlib.contextmanager
    def step(self, name: str, total: int, unit: str = "repositories") -> Iterator[Tell]:
        """Count a step of so many; call what is given with how many more are done."""
        begun, done, before = self._client.now(), 0, 0

        def tell(more: int) -> None:
            nonlocal done, before
            if not self._client.tally.requests:
                before += more  # answered in an earlier run: no measure of speed
            done += more
            self._say(f"{name}: {done:,} of {total:,} {unit}", done, total, begun.timestamp(), before)

        yield tell

    @contextlib.contextmanager
    def search(self) -> Iterator[Callable[[Progress], None]]:
        """Count the repositories that a search has found."""
        begun, before = self._client.now().timestamp(), 0

        def tell(progress: Progress) -> None:
            nonlocal before
            if not self._client.tally.requests:
                before = progress.found
            done, total = min(progress.found, progress.expected), progress.expected
            self._say(f"search: {done:,} of {total:,} repositories", done, total, begun, before)

        yield tell

    def again(self, _more: int = 0) -> None:
        """Say the same with the present number of requests: something else is done meanwhile."""
        if self._last:
            self._say(*self._last)

    def _say(self, what: str, done: int, total: int, begun: float, before: int) -> None:
        self._last = what, done, total, begun, before
        parts = [what, f"{self._client.tally.requests:,} requests", *self._allowed()]
        if done - before > 0 and done < total:
            left = (self._client.now().timestamp() - begun) * (total - done) / (done - before)
            end = self._client.now() + timedelta(seconds=left)
            parts.append(f"{whole_seconds(left)} to go, until {end:%H:%M} UTC")
        self._line, self._share = ", ".join(parts), min(done / total, 1.0) * 0.99 if total else 0.0
        self._report(self._line, self._share)

    def _allowed(self) -> list[str]:
        """Say what GitHub still allows, of the limit that was used last."""
        name, known = self._client.latest
        if known is None:
            return []
        rest = max(known.until - self._client.now().timestamp(), 0.0)
        return [f"{known.remaining:,} of {known.limit:,} {name} left, reset in {whole_seconds(rest)}"]

    def _waits(self, why: str, seconds: float) -> None:
        self._report(f"waiting {whole_seconds(seconds)} for the {why}; {self._line}", self._share)

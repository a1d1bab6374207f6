"""How far a gather is, said in one line: repositories, requests, what GitHub still allows, and when it will be done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

from stargaze.features.github.api.client import Client
from stargaze.features.github.api.rate_limit import whole_seconds
from stargaze.features.github.search.search import CachedSearch, Progress
from stargaze.system.progress import Advance, Report


class Pace:
    """Says how far each step is, and how long it will take at its present speed."""

    def __init__(self, client: Client, report: Report) -> None:
        self._client = client
        self._report = report
        client.waiting = self._waits
        self._line = ""
        self._share = 0.0
        report("asking GitHub", 0.0)

    @contextlib.contextmanager
    def step(self, name: str, total: int, unit: str = "repositories") -> Iterator[Advance]:
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
    def search(self, finder: CachedSearch, kinds: int) -> Iterator[tuple[Progress, Advance]]:
        """Count what a search finds, and the details, of so many kinds, that are learned meanwhile."""
        progress, begun, before, learned = Progress(), self._client.now().timestamp(), 0, 0

        def say() -> None:
            nonlocal before
            total = progress.expected
            seen = min(len(finder.repos), total or len(finder.repos))
            if not self._client.tally.requests:
                before = seen + learned
            beside = f", details of {min(learned // kinds, total):,}" if kinds else ""
            what = f"search: {seen:,}{f' of {total:,}' if total else ''} repositories{beside}"
            self._say(what, min(seen + learned, total * (1 + kinds)), total * (1 + kinds), begun, before)

        def more(answers: int) -> None:
            nonlocal learned
            learned += answers
            say()

        self._client.answered = say
        try:
            yield progress, more
        finally:
            self._client.answered = lambda: None

    def _say(self, what: str, done: int, total: int, begun: float, before: int) -> None:
        parts = [what, f"{self._client.tally.requests:,} requests", *self._allowed()]
        if done - before > 0 and done < total:
            left = (self._client.now().timestamp() - begun) * (total - done) / (done - before)
            end = self._client.now() + timedelta(seconds=left)
            parts.append(f"{whole_seconds(left)} to go, until {end:%H:%M} UTC")
        self._line, self._share = ", ".join(parts), min(done / total, 1.0) * 0.99 if total else 0.0
        self._report(self._line, self._share)

    def _allowed(self) -> list[str]:
        """Notify what GitHub still allows, of the limit that was used last."""
        name, known = self._client.latest
        if known is None:
            return []
        rest = max(known.until - self._client.now().timestamp(), 0.0)
        return [f"{known.remaining:,} of {known.limit:,} {name} left, reset in {whole_seconds(rest)}"]

    def _waits(self, why: str, seconds: float) -> None:
        self._report(
            "; ".join(filter(None, (f"waiting {whole_seconds(seconds)} for the {why}", self._line))), self._share
        )

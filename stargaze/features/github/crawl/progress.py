"""How far a gather is, said in one line: repositories, requests, what GitHub still allows, and when it will be done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

from stargaze.features.github.api.client import Client
from stargaze.features.github.api.rate_limit import format_seconds
from stargaze.features.github.search.search import CachedSearch, SearchProgress
from stargaze.system.progress import Advance, Report


class ProgressReporter:
    """Says how far each step is, and how long it will take at its present speed."""

    def __init__(self, client: Client, report: Report) -> None:
        self._client = client
        self._report = report
        client.on_wait = self._report_wait
        self._line = ""
        self._share = 0.0
        report("asking GitHub", 0.0)

    @contextlib.contextmanager
    def step(self, name: str, total: int, unit: str = "repositories") -> Iterator[Advance]:
        """Count a step of so many; call what is given with how many more are done."""
        start, done, before = self._client.now(), 0, 0

        def advance(count_details: int) -> None:
            nonlocal done, before
            if not self._client.stats.requests:
                before += count_details  # answered in an earlier run: no measure of speed
            done += count_details
            self._report_progress(f"{name}: {done:,} of {total:,} {unit}", done, total, start.timestamp(), before)

        yield advance

    @contextlib.contextmanager
    def search(self, search_cache: CachedSearch, n_kinds: int) -> Iterator[tuple[SearchProgress, Advance]]:
        """Count what a search finds, and the details, of so many kinds, that are learned meanwhile."""
        progress, start, before, n_details = SearchProgress(), self._client.now().timestamp(), 0, 0

        def report_search() -> None:
            nonlocal before
            total = progress.expected
            found = min(len(search_cache.repos), total or len(search_cache.repos))
            if not self._client.stats.requests:
                before = found + n_details
            details = f", details of {min(n_details // n_kinds, total):,}" if n_kinds else ""
            what = f"search: {found:,}{f' of {total:,}' if total else ''} repositories{details}"
            self._report_progress(
                what, min(found + n_details, total * (1 + n_kinds)), total * (1 + n_kinds), start, before
            )

        def count_details(answers: int) -> None:
            nonlocal n_details
            n_details += answers
            report_search()

        self._client.on_response = report_search
        try:
            yield progress, count_details
        finally:
            self._client.on_response = lambda: None

    def _report_progress(self, what: str, done: int, total: int, start: float, before: int) -> None:
        parts = [what, f"{self._client.stats.requests:,} requests", *self._limit_text()]
        if done - before > 0 and done < total:
            left = (self._client.now().timestamp() - start) * (total - done) / (done - before)
            end = self._client.now() + timedelta(seconds=left)
            parts.append(f"{format_seconds(left)} to go, until {end:%H:%M} UTC")
        self._line, self._share = ", ".join(parts), min(done / total, 1.0) * 0.99 if total else 0.0
        self._report(self._line, self._share)

    def _limit_text(self) -> list[str]:
        """Notify what GitHub still allows, of the limit that was used last."""
        name, state = self._client.latest
        if state is None:
            return []
        seconds = max(state.until - self._client.now().timestamp(), 0.0)
        return [f"{state.remaining:,} of {state.limit:,} {name} left, reset in {format_seconds(seconds)}"]

    def _report_wait(self, why: str, seconds: float) -> None:
        self._report(
            "; ".join(filter(None, (f"waiting {format_seconds(seconds)} for the {why}", self._line))), self._share
        )

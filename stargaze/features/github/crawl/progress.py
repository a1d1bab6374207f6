"""Progress of a crawl in one line: repositories, requests, rate limit, and estimated end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta

from stargaze.features.github.api.client import Client
from stargaze.features.github.api.rate_limit import format_seconds
from stargaze.features.github.search.search import CachedSearch, SearchProgress
from stargaze.system.progress import Advance, Report


class ProgressReporter:
    """Reports the progress of each step and the remaining time at the current speed."""

    def __init__(self, client: Client, report: Report) -> None:
        self._client = client
        self._report = report
        client.on_wait = self._report_wait
        self._line = ""
        self._share = 0.0
        report("connecting to GitHub", 0.0)

    @contextlib.contextmanager
    def step(self, name: str, total: int, unit: str = "repositories") -> Iterator[Advance]:
        """Report a step of ``total`` items; yield the function that counts finished ones."""
        start, done, before = self._client.now(), 0, 0

        def advance(count_details: int) -> None:
            nonlocal done, before
            if not self._client.stats.requests:
                before += count_details  # cached responses are no measure of speed
            done += count_details
            self._report_progress(f"{name}: {done:,} of {total:,} {unit}", done, total, start.timestamp(), before)

        yield advance

    @contextlib.contextmanager
    def search(self, search_cache: CachedSearch, n_kinds: int) -> Iterator[tuple[SearchProgress, Advance]]:
        """Report a search and the details that are fetched meanwhile."""
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
        """Describe the rate limit that was used last."""
        name, state = self._client.latest
        if state is None:
            return []
        seconds = max(state.until - self._client.now().timestamp(), 0.0)
        return [f"{state.remaining:,} of {state.limit:,} {name} left, reset in {format_seconds(seconds)}"]

    def _report_wait(self, why: str, seconds: float) -> None:
        self._report(
            "; ".join(filter(None, (f"waiting {format_seconds(seconds)} for the {why}", self._line))), self._share
        )

"""Progress of a crawl in one line, and its summary: as text, JSON, or one line."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from stargaze.features.github.api.client import Client
from stargaze.features.github.api.rate_limit import format_seconds
from stargaze.features.github.crawl.star_history import StarHistorySummary
from stargaze.features.github.search.search import CachedSearch, SearchProgress
from stargaze.features.ingest.fetch_summary import FetchSummary
from stargaze.system.progress import Advance, Report

MAX_NAMED = 10
"""Repositories and slices listed per kind."""


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

        def advance(count: int) -> None:
            nonlocal done, before
            if not self._client.stats.requests:
                before += count  # cached responses are no measure of speed
            done += count
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

        def count_details(count: int) -> None:
            nonlocal n_details
            n_details += count
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

    def _report_wait(self, reason: str, seconds: float) -> None:
        self._report(
            "; ".join(filter(None, (f"waiting {format_seconds(seconds)} for the {reason}", self._line))), self._share
        )


@dataclass(frozen=True)
class CrawlSummary:
    """Summary of a crawl."""

    fetch: FetchSummary
    requests: int
    refused: int
    failed: int
    waited: float
    slices: int
    short: tuple[str, ...]
    gone: dict[str, str]
    too_large: tuple[str, ...]
    history: StarHistorySummary | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def repositories(self) -> int:
        """Number of repositories written."""
        return self.fetch.repositories

    def as_text(self) -> str:
        """Return the lines of the terminal output."""
        lines = [self.fetch.as_text()]
        if self.requests:
            lines.append(
                f"{self.requests:,} requests, of which {self.refused:,} were rate limited and {self.failed:,} failed; "
                f"waited {format_seconds(self.waited)}"
            )
        else:
            lines.append(
                "no requests: all responses were cached; stargaze fetch --update fetches what may have changed"
            )
        for what, which in self._missing():
            lines += _listed(what, which)
        if self.history:
            lines.append(f"star history: {self.history.weeks:,} weeks of {self.history.repositories:,} repositories")
        return "\n".join([*lines, *self.notes])

    def as_line(self) -> str:
        """Return one line for ``stargaze run``; ``stargaze fetch`` lists the missing items."""
        missing = [f"{len(which):,} {what}" for what, which in self._missing() if which]
        return "; ".join([self.fetch.as_line(), *missing, *self.notes])

    def _missing(self) -> list[tuple[str, Sequence[str]]]:
        refused = self.history.refused if self.history else {}
        return [
            ("slices that GitHub answered incompletely", self.short),
            ("repositories that are gone or refused", [f"{name}: {reason}" for name, reason in self.gone.items()]),
            ("repositories too large for GitHub to count", self.too_large),
            ("repositories whose star history was refused", [f"{name}: {reason}" for name, reason in refused.items()]),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        whole = dataclasses.asdict(self)
        return {**whole.pop("fetch"), **whole}


def _listed(what: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = [f"  and {len(names) - MAX_NAMED:,} more"] if len(names) > MAX_NAMED else []
    return [f"{len(names):,} {what}:", *(f"  {name}" for name in names[:MAX_NAMED]), *more]

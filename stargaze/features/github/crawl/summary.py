"""Summary of a crawl and of missing data: as text, JSON, or one line."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stargaze.features.github.api.rate_limit import format_seconds
from stargaze.features.github.crawl.star_history import StarHistorySummary
from stargaze.features.ingest.fetch_summary import FetchSummary

MAX_NAMED = 10
"""Repositories and slices listed per kind."""


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
            ("repositories that are gone or refused", [f"{name}: {why}" for name, why in self.gone.items()]),
            ("repositories too large for GitHub to count", self.too_large),
            ("repositories whose star history was refused", [f"{name}: {why}" for name, why in refused.items()]),
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

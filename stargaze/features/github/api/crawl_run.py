"""The state of a crawl run, and which cached pages the run may use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

SEARCH_PREFIX = "search "
"""Prefix of the keys of pages that belong to one run; other pages are shared by all runs of a server."""
SHARED_MAX_AGE = timedelta(days=1)
"""A run without ``--update`` uses shared pages up to this age."""


@dataclass(frozen=True)
class CrawlRun:
    """A crawl with one configuration, however often it is stopped and resumed."""

    digest: str
    generation: int
    began: datetime
    done: bool

    @property
    def key(self) -> str:
        """The scope of its search pages in the cache."""
        return f"{self.digest}.{self.generation}"

    @property
    def valid_since(self) -> datetime:
        """The earliest date of shared pages that the run uses."""
        return self.began - (SHARED_MAX_AGE if self.generation == 1 else timedelta())

"""What was gathered, from the disk into ``repositories.parquet``, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from stargaze.config import FetchSection
from stargaze.errors import BadDataError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.response_cache import CachedResponse, CrawlRun, ResponseCache
from stargaze.features.github.crawl.details import CLOSER
from stargaze.features.github.search.search import RepoRef, is_row
from stargaze.features.ingest import field_mapping as records
from stargaze.features.ingest import write_repositories as assemble
from stargaze.features.ingest.fetch_summary import FetchCounts, FetchSummary
from stargaze.store import Store
from stargaze.system.progress import Report

KINDS = (*(kind.name for kind in graphql.KINDS), *CLOSER)
"""Of details, the later ones over the earlier."""


def write(
    repos: Mapping[int, RepoRef],
    spool: ResponseCache,
    gather: CrawlRun,
    section: FetchSection,
    store: Store,
    now: datetime,
    report: Report,
) -> FetchSummary:
    """Write the newest row of each repository, with all that is known beside it."""
    ledger = FetchCounts([store.github_cache])
    rows = _rows(repos, spool, gather, ledger, report)
    return assemble.write_repositories(assemble.batch_rows(rows), ledger, section, store, now, report)


def _rows(
    repos: Mapping[int, RepoRef], spool: ResponseCache, gather: CrawlRun, ledger: FetchCounts, report: Report
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    position = 0
    for ask in dict.fromkeys(one.ask for one in repos.values()):
        page = spool.page(gather, ask)
        if page is None:
            continue
        items = {number: item for number, item in _items(page) if number in repos and repos[number].ask == ask}
        known = spool.details(KINDS, {number: repos[number].stamp for number in items})
        report(f"putting {position:,} of {len(repos):,} repositories together", 0.9 * position / max(len(repos), 1))
        for number, item in items.items():
            position += 1
            ledger.records[0] = position
            try:
                row = records.map_record({**item, "_collected_at": page.at.isoformat()})
            except BadDataError as error:
                ledger.reject(0, position, error.message)
            else:
                yield 0, position, {**row, **known.get(number, {})}


def _items(page: CachedResponse) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a search page, or the one of a single repository, by GitHub's number."""
    data = page.data
    for item in filter(is_row, data["items"]) if "items" in data else [data]:
        yield int(item.get("databaseId") or item["id"]), item

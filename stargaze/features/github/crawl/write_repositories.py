"""Write cached responses to ``repositories.parquet``, page by page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from stargaze.config import FetchSection
from stargaze.errors import BadDataError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.response_cache import CachedResponse, CrawlRun, ResponseCache
from stargaze.features.github.crawl.details import REST_DETAILS
from stargaze.features.github.search.search import RepoRef, is_repository
from stargaze.features.ingest import field_mapping as records
from stargaze.features.ingest.fetch_summary import FetchCounts, FetchSummary
from stargaze.features.ingest.write_repositories import batch_rows, write_repositories
from stargaze.store import Store
from stargaze.system.progress import Report

KINDS = (*(kind.name for kind in graphql.KINDS), *REST_DETAILS)
"""Kinds of details; later ones take precedence."""


def write_crawl(
    repositories: Mapping[int, RepoRef],
    cache: ResponseCache,
    run: CrawlRun,
    section: FetchSection,
    store: Store,
    now: datetime,
    report: Report,
) -> FetchSummary:
    """Write the newest row of each repository with its details."""
    counts = FetchCounts([store.github_cache])
    rows = _rows(repositories, cache, run, counts, report)
    return write_repositories(batch_rows(rows), counts, section, store, now, report)


def _rows(
    repositories: Mapping[int, RepoRef], cache: ResponseCache, run: CrawlRun, counts: FetchCounts, report: Report
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    position = 0
    for key in dict.fromkeys(repository.page_key for repository in repositories.values()):
        page = cache.get_page(run, key)
        if page is None:
            continue
        items = {
            number: item
            for number, item in _page_items(page)
            if number in repositories and repositories[number].page_key == key
        }
        known = cache.details(KINDS, {number: repositories[number].stamp for number in items})
        report(
            f"writing {position:,} of {len(repositories):,} repositories",
            0.9 * position / max(len(repositories), 1),
        )
        for number, item in items.items():
            position += 1
            counts.records[0] = position
            try:
                row = records.map_record({**item, "_collected_at": page.at.isoformat()})
            except BadDataError as error:
                counts.reject(0, position, error.message)
            else:
                yield 0, position, {**row, **known.get(number, {})}


def _page_items(page: CachedResponse) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a search page or of a single repository by id."""
    data = page.data
    for item in filter(is_repository, data["items"]) if "items" in data else [data]:
        yield int(item.get("databaseId") or item["id"]), item

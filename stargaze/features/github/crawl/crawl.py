"""The crawl of ``[github]``: find repositories, fetch details, write; every response is cached."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from stargaze.config import FetchSection, GithubSection
from stargaze.errors import BadDataError, ConfigError, ExternalError
from stargaze.features.github.api import graphql
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.crawl_run import CrawlRun
from stargaze.features.github.api.response_cache import CachedResponse, CrawlSession, ResponseCache
from stargaze.features.github.crawl import details
from stargaze.features.github.crawl.details import fetch_by_name, repository_key
from stargaze.features.github.crawl.progress import CrawlSummary, ProgressReporter
from stargaze.features.github.crawl.star_history import StarHistorySummary, fetch_star_history
from stargaze.features.github.search.query import read_search
from stargaze.features.github.search.search import (
    CachedSearch,
    RepoRef,
    SearchProgress,
    is_repository,
    search_repositories,
)
from stargaze.features.ingest.fetch_counts import FetchCounts
from stargaze.features.ingest.fetch_summary import FetchSummary
from stargaze.features.ingest.field_mapping import map_record
from stargaze.features.ingest.parsing.repository_names import parse_name
from stargaze.features.ingest.write_repositories import batch_rows, write_repositories
from stargaze.store import Store
from stargaze.system.progress import Report

EXTRA_KEYS = ("graphql", "details", "readme", "star_history")
"""Keys that only add data; after changing them the same run continues."""
SEARCH_KEYS = ("query", "stars", "created", "language", "topic", "organization")
NO_READMES = "github.readme needs GITHUB_TOKEN and github.graphql: no README was fetched"
OLD_RESPONSES = timedelta(days=1)
"""Age from which reuse of cached responses is reported."""
KINDS = (graphql.README.name, *(kind.name for kind in graphql.KINDS), *details.REST_DETAILS)
"""Kinds of details; later ones take precedence."""


def is_github_configured(section: GithubSection) -> bool:
    """Return whether the section sets anything besides ``api_url``, so that GitHub is crawled instead of the sample.

    Examples
    --------
    >>> is_github_configured(GithubSection()), is_github_configured(GithubSection(stars=">=1000"))
    (False, True)
    """
    return dataclasses.replace(section, api_url="") != dataclasses.replace(GithubSection(), api_url="")


def crawl(
    section: GithubSection,
    fetching: FetchSection,
    store: Store,
    cache: ResponseCache,
    client: Client,
    now: datetime,
    *,
    token: bool,
    update: bool = False,
    report: Report,
) -> CrawlSummary:
    """Fetch repositories and write ``repositories.parquet``; after a stop, the same call resumes without repeating requests.

    ``now`` is the local time [UTC]; GitHub's time is used if it is later. ``token``: whether GraphQL can be used. ``update``
    fetches again what may have changed since the last finished run. Raise the client's errors, and BadDataError or
    ExternalError if nothing was found; all responses stay cached.
    """
    section = normalize_section(section, now)
    run = cache.start_run(crawl_digest(section), client.server_time, update=update)
    session = CrawlSession(client, cache, run)
    notes = _age_notes(run, now)
    progress_reporter = ProgressReporter(client, report)
    use_graphql = token and section.graphql
    kinds = graphql.kinds_of(section) if use_graphql else ()
    fetcher = details.DetailFetcher(session, kinds)
    repositories, gone, progress = _find_repositories(
        section, session, progress_reporter, fetcher, use_graphql=use_graphql
    )
    if not repositories:
        cache.delete_run(run, [repository_key(name) for name in section.names])
        if any(part.incomplete for part in progress.short):
            raise ExternalError(
                "GitHub's search timed out and returned nothing", hint="try again, or narrow the ranges in [github]"
            )
        raise BadDataError(
            _nothing_message(gone), hint="check the names" if gone else "widen the query or the ranges in [github]"
        )
    if kinds:
        with progress_reporter.step("details", len(repositories) * len(kinds), "responses") as advance:
            fetcher.fetch(repositories, advance)
    remarks = details.read_remarks(repositories, cache)
    gone.update((name, reason) for name, reason in remarks.items() if reason != details.TOO_LARGE)
    if section.details:
        with progress_reporter.step("REST details", len(repositories)) as advance:
            details.fetch_rest_details(repositories, session, advance)
    history = _fetch_history(section, repositories, session, store, progress_reporter)
    today = max(now, cache.last_response_time(run))  # the local clock may be behind GitHub's
    summary = _write_crawl(repositories, session, fetching, store, today, report)
    cache.finish_run(run)
    stats = client.stats
    return CrawlSummary(
        fetch=summary,
        requests=stats.requests,
        refused=stats.refused,
        failed=stats.failed,
        waited=stats.waited,
        slices=progress.slices,
        short=tuple(f"{part.region.as_text()}: {len(part.ids):,} of {part.expected:,}" for part in progress.short),
        gone=gone,
        too_large=tuple(name for name, reason in remarks.items() if reason == details.TOO_LARGE),
        history=history,
        notes=(*notes, *([NO_READMES] if section.readme and not use_graphql else []), *stats.notes),
    )


def normalize_section(section: GithubSection, now: datetime) -> GithubSection:
    """Return the section with its repositories as ``owner/name``.

    Raise ConfigError or BadDataError for an invalid range or name, or names combined with a search, before any request.
    """
    if section.names and any(getattr(section, name).strip() for name in SEARCH_KEYS):
        raise ConfigError("github.names cannot be combined with a search", hint="keep one of them")
    names = [parse_name(name) for name in section.names]
    histories = [name if name == "*" else parse_name(name) for name in section.star_history]
    read_search(section, now)
    return dataclasses.replace(section, names=names, star_history=histories)


def crawl_digest(section: GithubSection) -> str:
    """Return the id of a run: the same configuration resumes the same run."""
    excluded = {*EXTRA_KEYS, "seed"} if section.names or section.sampling == "top" else EXTRA_KEYS
    settings = {name: value for name, value in dataclasses.asdict(section).items() if name not in excluded}
    return hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8).hexdigest()


def _find_repositories(
    section: GithubSection,
    session: CrawlSession,
    progress_reporter: ProgressReporter,
    fetcher: details.DetailFetcher,
    *,
    use_graphql: bool,
) -> tuple[list[RepoRef], dict[str, str], SearchProgress]:
    if section.names:
        with progress_reporter.step("repositories", len(section.names)) as advance:
            repositories, gone = fetch_by_name(section.names, session, use_graphql=use_graphql, advance=advance)
        return repositories, gone, SearchProgress()
    search = read_search(section, session.run.began)
    search_cache = CachedSearch(session, search)
    with progress_reporter.search(search_cache, len(graphql.KINDS) if use_graphql else 0) as (progress, advance):
        repositories = search_repositories(
            search_cache, search, section, progress, lambda selected: fetcher.fetch(selected, advance)
        )
    return repositories, {}, progress


def _fetch_history(
    section: GithubSection,
    repositories: Sequence[RepoRef],
    session: CrawlSession,
    store: Store,
    progress_reporter: ProgressReporter,
) -> StarHistorySummary | None:
    if not section.star_history:
        return None
    names_found = [repository.full_name for repository in repositories]
    names = names_found if "*" in section.star_history else section.star_history
    with progress_reporter.step("star history", len(names)) as advance:
        return fetch_star_history(names, set(names_found), session, store, advance)


def _age_notes(run: CrawlRun, now: datetime) -> list[str]:
    """Return a note if cached responses are old."""
    if now - run.began < OLD_RESPONSES:
        return []
    return [
        f"cached responses since {run.began:%Y-%m-%d} are used; stargaze fetch --update fetches what may have changed"
    ]


def _nothing_message(gone: Mapping[str, str]) -> str:
    first = next(iter(gone.items()), None)
    return "no repository on GitHub matches" + (f": {first[0]}: {first[1]}" if first else "")


def _write_crawl(
    repositories: Iterable[RepoRef],
    session: CrawlSession,
    section: FetchSection,
    store: Store,
    now: datetime,
    report: Report,
) -> FetchSummary:
    """Write the newest row of each repository with its details, page by page."""
    counts = FetchCounts([store.github_cache])
    rows = _read_rows({repository.id: repository for repository in repositories}, session, counts, report)
    return write_repositories(batch_rows(rows), counts, section, store, now, report)


def _read_rows(
    repositories: Mapping[int, RepoRef], session: CrawlSession, counts: FetchCounts, report: Report
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    position = 0
    for key in dict.fromkeys(repository.page_key for repository in repositories.values()):
        page = session.get_page(key)
        if page is None:
            continue
        items = {
            number: item
            for number, item in _page_items(page)
            if number in repositories and repositories[number].page_key == key
        }
        known = session.cache.get_details(KINDS, {number: repositories[number].stamp for number in items})
        report(
            f"writing {position:,} of {len(repositories):,} repositories", 0.9 * position / max(len(repositories), 1)
        )
        for number, item in items.items():
            position += 1
            counts.records[0] = position
            try:
                row = map_record({**item, "_collected_at": page.at.isoformat()})
            except BadDataError as error:
                counts.reject(0, position, error.message)
            else:
                yield 0, position, {**row, **known.get(number, {})}


def _page_items(page: CachedResponse) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a search page or of a single repository by id."""
    data = page.data
    for item in filter(is_repository, data["items"]) if "items" in data else [data]:
        yield int(item.get("databaseId") or item["id"]), item

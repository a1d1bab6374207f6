"""Fetch repositories from files, from GitHub or from the shipped sample, as the arguments and the config require."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stargaze.config import Config, FetchSection, GithubSection
from stargaze.errors import ConfigError
from stargaze.features.github.api import response_cache
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.http_transport import HttpTransport
from stargaze.features.github.api.transport import Clock, RealClock
from stargaze.features.github.crawl.crawl import check_section, crawl, crawl_digest, is_github_configured
from stargaze.features.github.crawl.estimate import CrawlEstimate, estimate_crawl
from stargaze.features.github.crawl.progress import ProgressReporter
from stargaze.features.github.crawl.summary import CrawlSummary
from stargaze.features.ingest.fetch_summary import FetchSummary
from stargaze.features.ingest.from_files import fetch_files
from stargaze.store import Store
from stargaze.system.progress import Notify, Report

NO_QUERY_HINT = "set a query in [github], or use an option such as --stars '>=1000'"


@dataclass(frozen=True)
class GithubOptions:
    """The token, whether to request again what may have changed, and the function that logs each request."""

    token: str = ""
    update: bool = False
    log: Notify | None = None
    clock: Clock | None = None


def fetch_repositories(
    config: Config, store: Store, files: Sequence[Path], now: datetime, report: Report, options: GithubOptions
) -> FetchSummary | CrawlSummary:
    """Write ``repositories.parquet`` from the given files, or else from what the config names.

    Raises
    ------
    ConfigError
        If the config names both files and a query, or ``options.update`` is set without a query.
    """
    if _uses_github(config, files):
        return fetch_from_github(config.github, config.fetch, store, now, report, options)
    if options.update:
        raise ConfigError("--update only applies when fetching from GitHub", hint=NO_QUERY_HINT)
    return fetch_files(config.fetch, store, files, now, report)


def fetch_from_github(
    section: GithubSection, fetch: FetchSection, store: Store, now: datetime, report: Report, options: GithubOptions
) -> CrawlSummary:
    """Write ``repositories.parquet`` from GitHub; a stopped run continues from its cached responses."""
    has_token = bool(options.token.strip())
    with (
        _connect(section, options) as client,
        response_cache.open_response_cache(store.github_cache, section.api_url) as cache,
    ):
        return crawl(section, fetch, store, cache, client, now, token=has_token, update=options.update, report=report)


def plan_fetch(
    config: Config, store: Store, files: Sequence[Path], report: Report, options: GithubOptions
) -> CrawlEstimate:
    """Estimate the requests and the time that fetching from GitHub takes.

    Raises
    ------
    ConfigError
        If the config has no query.
    """
    if not _uses_github(config, files):
        raise ConfigError("--dry-run only applies when fetching from GitHub", hint=NO_QUERY_HINT)
    section = config.github
    with _connect(section, options) as client:
        check_section(section, client.now())
        ProgressReporter(client, report)  # reports every wait
        with response_cache.open_response_cache(store.github_cache, section.api_url) as cache:
            run = cache.plan_run(crawl_digest(section), client.server_time, update=options.update)
            return estimate_crawl(section, client, cache, run, token=bool(options.token.strip()))


def _uses_github(config: Config, files: Sequence[Path]) -> bool:
    has_query = is_github_configured(config.github)
    if has_query and config.fetch.files and not files:
        raise ConfigError("fetch.files and [github] are both set", hint="keep one of them")
    return has_query and not files


@contextlib.contextmanager
def _connect(section: GithubSection, options: GithubOptions) -> Iterator[Client]:
    clock = options.clock or RealClock()
    with contextlib.closing(HttpTransport(section.api_url, options.token.strip(), clock)) as transport:
        yield Client(transport, clock, notify=options.log)

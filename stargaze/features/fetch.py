"""Fetch repositories from files, from GitHub or from a shipped sample, as the arguments and the config require."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from stargaze.config import Config, FetchSection, GithubSection
from stargaze.errors import BadDataError, ConfigError
from stargaze.features import schema
from stargaze.features.github.api.client import Client
from stargaze.features.github.api.http_transport import Clock, HttpTransport, RealClock
from stargaze.features.github.api.response_cache import CrawlSession, open_response_cache
from stargaze.features.github.crawl.crawl import crawl, crawl_digest, is_github_configured, normalize_section
from stargaze.features.github.crawl.estimate import CrawlEstimate, estimate_crawl
from stargaze.features.github.crawl.progress import CrawlSummary, ProgressReporter
from stargaze.features.ingest.count_texts import CountTexts
from stargaze.features.ingest.fetch_counts import FetchCounts
from stargaze.features.ingest.fetch_summary import FetchPreview, FetchSummary
from stargaze.features.ingest.json_records import read_mapped_records
from stargaze.features.ingest.open_file import Source, open_source
from stargaze.features.ingest.parsing.column_plan import check_mapping
from stargaze.features.ingest.parsing.json_keys import SparsePaths
from stargaze.features.ingest.table_records import read_rows
from stargaze.features.ingest.validate import shorten
from stargaze.features.ingest.write_repositories import (
    BATCH,
    RawBatch,
    build_batch,
    merge_records,
    parse_since,
    summarize,
    write_repositories,
)
from stargaze.features.matrix import CATALOG
from stargaze.features.own_values import check_crawled_columns, check_own_columns
from stargaze.features.policy_values import warn_of_empty_policies
from stargaze.features.samples import open_sample
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


@dataclass(frozen=True)
class _Columns:
    """The columns of fields and own columns, and the columns and fields that are not read."""

    fields: dict[str, str]
    exclude: frozenset[str]
    sparse: SparsePaths


def fetch_repositories(
    config: Config, store: Store, files: Sequence[Path], now: datetime, report: Report, options: GithubOptions
) -> FetchSummary | CrawlSummary:
    """Write ``repositories.parquet`` from the given files, or else from what the config names.

    Raise ConfigError if the config names both files and a query, or ``options.update`` is set without a query.
    """
    if uses_github(config, files, update=options.update):
        return fetch_from_github(config.github, config.fetch, store, now, report, options)
    return fetch_files(config.fetch, store, files, now, report)


def fetch_from_github(
    section: GithubSection, fetch: FetchSection, store: Store, now: datetime, report: Report, options: GithubOptions
) -> CrawlSummary:
    """Write ``repositories.parquet`` from GitHub; a stopped run continues from its cached responses."""
    check_crawled_columns(fetch, CATALOG)
    has_token = bool(options.token.strip())
    with _connect(section, options) as client, open_response_cache(store.github_cache, section.api_url) as cache:
        return crawl(section, fetch, store, cache, client, now, token=has_token, update=options.update, report=report)


def plan_fetch(config: Config, store: Store, report: Report, options: GithubOptions) -> CrawlEstimate:
    """Estimate the requests and the time that fetching from GitHub takes."""
    section = config.github
    with _connect(section, options) as client:
        section = normalize_section(section, client.now())
        ProgressReporter(client, report)  # reports every wait
        with open_response_cache(store.github_cache, section.api_url) as cache:
            run = cache.plan_run(crawl_digest(section), client.server_time, update=options.update)
            session = CrawlSession(client, cache, run)
            return estimate_crawl(section, session, token=bool(options.token.strip()))


def uses_github(config: Config, files: Sequence[Path], *, update: bool) -> bool:
    """Return whether records come from GitHub: the config has a query, and no file is given.

    Raise ConfigError if the config names both files and a query, or ``update`` is set without a query.
    """
    has_query = is_github_configured(config.github)
    if has_query and config.fetch.files and not files:
        raise ConfigError("fetch.files and [github] are both set", hint="keep one of them")
    if update and (files or not has_query):
        raise ConfigError("--update only applies when fetching from GitHub", hint=NO_QUERY_HINT)
    return has_query and not files


@contextlib.contextmanager
def _connect(section: GithubSection, options: GithubOptions) -> Iterator[Client]:
    clock = options.clock or RealClock()
    with contextlib.closing(HttpTransport(section.api_url, options.token.strip(), clock)) as transport:
        yield Client(transport, clock, notify=options.log)


def fetch_files(
    section: FetchSection,
    store: Store,
    files: Sequence[Path],
    now: datetime,
    report: Report = lambda _what, _share: None,
) -> FetchSummary:
    """Read every file, keep the newest valid record of each repository, and write ``repositories.parquet``.

    ``files`` (JSON, JSON lines, CSV, Parquet, and gzip of each) override those of the section; without any, the sample
    ``section.sample`` is read. No record may be later than ``now`` [UTC]. Stored repositories stay unchanged on any error.
    """
    with _open_files(section, files, report) as (batches, counts):
        return write_repositories(batches, counts, section, store, _in_utc(now), report, warn_of_empty_policies)


def preview_files(section: FetchSection, files: Sequence[Path], now: datetime, report: Report) -> FetchPreview:
    """Read files as :func:`fetch_files` does and write nothing.

    A preview has the error of a file whose records are mostly invalid; files that cannot be read raise it.
    """
    with _open_files(section, files, report) as (batches, counts):
        try:
            merged = merge_records(batches, counts, section, _in_utc(now), report)
        except BadDataError as error:
            if not counts.is_complete:
                raise
            return FetchPreview(counts.summarize(schema.empty(), too_old=0, duplicates=0), error)
        report("done", 1.0)
        return FetchPreview(summarize(merged, counts, warn_of_empty_policies))


@contextlib.contextmanager
def _open_files(
    section: FetchSection, files: Sequence[Path], report: Report
) -> Iterator[tuple[Iterator[RawBatch], FetchCounts]]:
    """Yield batches of all records of files, and their counts, which are complete after the last batch."""
    parse_since(section.since)
    check_mapping(section.columns)
    check_own_columns(section, CATALOG)
    paths = [Path(file) for file in files or section.files]
    with contextlib.ExitStack() as stack:
        fields = section.columns | {name: name for name in section.extra} if paths else {}
        columns = _Columns(fields, frozenset(section.exclude), SparsePaths())
        if not paths:
            _check_sample(section)
            paths = [stack.enter_context(open_sample(section.sample))]
        counts = FetchCounts(paths)
        batches = _check_paths(columns, _read_batches(paths, columns, counts, report))
        yield _convert_counts(section.thousands, paths, columns, batches), counts


def _check_paths(columns: _Columns, batches: Iterator[RawBatch]) -> Iterator[RawBatch]:
    """Yield batches, and raise ConfigError for a mapped path that no file has."""
    yield from batches
    columns.sparse.check()


def _in_utc(now: datetime) -> datetime:
    return now if now.tzinfo else now.replace(tzinfo=UTC)


def _convert_counts(
    thousands: str, paths: Sequence[Path], columns: _Columns, batches: Iterable[RawBatch]
) -> Iterator[RawBatch]:
    """Yield batches with counts as digits; files that can be read once only, as pipes, are kept in memory for it."""
    if not all(path.is_file() for path in paths):
        batches = list(batches)

    def read_again(source: int) -> Iterator[RawBatch]:
        path = paths[source]
        if path.is_file():
            yield from _read_batches([path], columns, FetchCounts([path]), lambda _what, _share: None)
        else:
            yield from (batch.of_source(source) for batch in batches if source in batch.sources)

    texts = CountTexts(thousands, read_again, [str(path) for path in paths])
    yield from map(texts.convert, batches)


def _check_sample(section: FetchSection) -> None:
    if section.extra:
        message = f"fetch.extra: the sample {section.sample} has no column {shorten(section.extra[0])}"
        raise ConfigError(message, hint="name the files that have it: stargaze fetch --from FILE...")


def _read_batches(paths: Sequence[Path], columns: _Columns, counts: FetchCounts, report: Report) -> Iterator[RawBatch]:
    """Read all files in batches; thousands of files of one record make one batch."""
    rows: list[tuple[int, int, dict[str, Any]]] = []
    for number, path in enumerate(paths):
        report(f"reading {path.name}", 0.95 * number / len(paths))
        with open_source(path) as source:
            if source.format in ("csv", "parquet"):
                yield from _read_table(source, columns, number, counts)
                continue
            for position, row in _read_json(source, columns, number, counts):
                rows.append((number, position, row))
                if len(rows) >= BATCH:
                    yield build_batch(rows)
                    rows = []
    if rows:
        yield build_batch(rows)


def _read_table(source: Source, columns: _Columns, number: int, counts: FetchCounts) -> Iterator[RawBatch]:
    for batch in read_rows(source, columns.fields, partial(counts.add_columns, number), columns.exclude):
        counts.records[number] += len(batch.positions) + len(batch.invalid)
        for position, reason in batch.invalid:
            counts.reject(number, position, reason)
        yield RawBatch(batch.frame, [number] * len(batch.positions), batch.positions)


def _read_json(
    source: Source, columns: _Columns, number: int, counts: FetchCounts
) -> Iterator[tuple[int, dict[str, Any]]]:
    use = partial(counts.add_columns, number)
    for position, row, reason in read_mapped_records(source, columns.fields, use, columns.exclude, columns.sparse):
        counts.records[number] += 1
        if reason:
            counts.reject(number, position, reason)
        else:
            yield position, row

"""Fetch repositories from files, or from the shipped sample."""

from __future__ import annotations

import contextlib
import importlib.resources
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stargaze.config import FetchSection
from stargaze.errors import BadDataError
from stargaze.features.ingest.fetch_summary import FetchCounts, FetchSummary
from stargaze.features.ingest.field_mapping import map_record
from stargaze.features.ingest.json_records import read_records
from stargaze.features.ingest.open_file import Source, open_source
from stargaze.features.ingest.table_records import check_mapping, read_rows
from stargaze.features.ingest.write_repositories import (
    BATCH,
    RawBatch,
    build_batch,
    parse_since,
    write_repositories,
)
from stargaze.store import Store
from stargaze.system.progress import Report


def fetch_files(
    section: FetchSection,
    store: Store,
    files: Sequence[Path],
    now: datetime,
    report: Report = lambda _what, _share: None,
) -> FetchSummary:
    """Read every file, keep the newest valid record of each repository, and write ``repositories.parquet``.

    Parameters
    ----------
    section : FetchSection
        ``since`` and the mapping of columns; ``files`` is used if the argument is empty.
    store : Store
        Where the repositories are written.
    files : sequence of Path
        JSON, JSON lines, CSV, Parquet and gzip of each; none means the shipped sample.
    now : datetime
        No record may be later [UTC].
    report : callable, optional
        Called with the current step and the fraction done, 0 to 1.

    Raises
    ------
    BadDataError, MissingInputError
        If a file is missing, broken as a whole, or has no valid record. Stored repositories stay unchanged.
    ConfigError
        If the mapping or ``since`` is wrong.
    """
    parse_since(section.since)
    check_mapping(section.columns)
    now = now if now.tzinfo else now.replace(tzinfo=UTC)
    paths = [Path(file) for file in files or section.files]
    with contextlib.ExitStack() as stack:
        columns = section.columns if paths else {}
        if not paths:
            sample = importlib.resources.files("stargaze") / "data" / "sample.parquet"
            paths = [stack.enter_context(importlib.resources.as_file(sample))]
        counts = FetchCounts(paths)
        return write_repositories(_read_batches(paths, columns, counts, report), counts, section, store, now, report)


def _read_batches(
    paths: Sequence[Path], columns: dict[str, str], counts: FetchCounts, report: Report
) -> Iterator[RawBatch]:
    """Read all files in batches; thousands of files of one record make one batch."""
    rows: list[tuple[int, int, dict[str, Any]]] = []
    for number, path in enumerate(paths):
        report(f"reading {path.name}", 0.95 * number / len(paths))
        with open_source(path) as source:
            if source.format in ("csv", "parquet"):
                yield from _read_table(source, columns, number, counts)
                continue
            for position, row in _read_json(source, number, counts):
                rows.append((number, position, row))
                if len(rows) >= BATCH:
                    yield build_batch(rows)
                    rows = []
    if rows:
        yield build_batch(rows)


def _read_table(source: Source, columns: dict[str, str], number: int, counts: FetchCounts) -> Iterator[RawBatch]:
    for batch in read_rows(source, columns):
        counts.records[number] += len(batch.positions) + len(batch.invalid)
        for position, reason in batch.invalid:
            counts.reject(number, position, reason)
        yield RawBatch(batch.frame, [number] * len(batch.positions), batch.positions)


def _read_json(source: Source, number: int, counts: FetchCounts) -> Iterator[tuple[int, dict[str, Any]]]:
    for position, value, reason in read_records(source):
        counts.records[number] += 1
        if reason:
            counts.reject(number, position, reason)
            continue
        try:
            row = map_record(value)
        except BadDataError as error:
            counts.reject(number, position, error.message)
        else:
            yield position, row

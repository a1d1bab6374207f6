"""Repositories from the files of others, or from the sample: read, checked, one row each, written in one rename."""

from __future__ import annotations

import contextlib
import importlib.resources
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stargaze.config import FetchSection
from stargaze.errors import BadDataError
from stargaze.features.ingest import field_mapping as records
from stargaze.features.ingest import json_records as documents
from stargaze.features.ingest import table_records as tables
from stargaze.features.ingest import write_repositories as assemble
from stargaze.features.ingest.fetch_summary import FetchCounts, FetchSummary
from stargaze.features.ingest.open_file import Source, open_source
from stargaze.features.ingest.write_repositories import RawBatch
from stargaze.store import Store
from stargaze.system.progress import Report


def fetch_files(
    section: FetchSection,
    store: Store,
    files: Sequence[Path],
    now: datetime,
    report: Report | None = None,
) -> FetchSummary:
    """Read every file, keep the newest good record of each repository, and write ``repositories.parquet``.

    Parameters
    ----------
    section : FetchSection
        ``since`` and the mapping of columns; ``files`` stands in where the argument is empty.
    store : Store
        Where the repositories are written.
    files : sequence of Path
        Any mixture of JSON, JSON lines, CSV, Parquet and gzip of each; none means the shipped sample.
    now : datetime
        UTC; no record may be later.
    report : callable, optional
        Told what is done and the share that is done, 0 to 1.

    Raises
    ------
    BadDataError, MissingInputError
        If a file is not there, is broken as a whole, or has no good record. What was stored before stays.
    ConfigError
        If the mapping or ``since`` is wrong.
    """
    report = report or _silent
    assemble.parse_since(section.since)
    tables.check_mapping(section.columns)
    now = now if now.tzinfo else now.replace(tzinfo=UTC)
    paths = [Path(file) for file in files or section.files]
    with contextlib.ExitStack() as stack:
        columns = section.columns if paths else {}
        if not paths:
            sample = importlib.resources.files("stargaze") / "data" / "sample.parquet"
            paths = [stack.enter_context(importlib.resources.as_file(sample))]
        ledger = FetchCounts(paths)
        return assemble.write_repositories(_pieces(paths, columns, ledger, report), ledger, section, store, now, report)


def _silent(_what: str, _share: float) -> None:
    """Report to nobody."""


def _pieces(paths: Sequence[Path], columns: dict[str, str], ledger: FetchCounts, report: Report) -> Iterator[RawBatch]:
    """Read all files in pieces of a good size: thousands of files of one record make one piece."""
    rows: list[tuple[int, int, dict[str, Any]]] = []
    for number, path in enumerate(paths):
        report(f"reading {path.name}", 0.95 * number / len(paths))
        with open_source(path) as source:
            if source.format in ("csv", "parquet"):
                yield from _tabled(source, columns, number, ledger)
                continue
            for position, row in _rows(source, number, ledger):
                rows.append((number, position, row))
                if len(rows) >= assemble.BATCH:
                    yield assemble.build_batch(rows)
                    rows = []
    if rows:
        yield assemble.build_batch(rows)


def _tabled(source: Source, columns: dict[str, str], number: int, ledger: FetchCounts) -> Iterator[RawBatch]:
    for batch in tables.read_rows(source, columns):
        ledger.read[number] = ledger.read.get(number, 0) + len(batch.positions) + len(batch.bad)
        for position, reason in batch.bad:
            ledger.refuse(number, position, reason)
        yield RawBatch(batch.frame, [number] * len(batch.positions), batch.positions)


def _rows(source: Source, number: int, ledger: FetchCounts) -> Iterator[tuple[int, dict[str, Any]]]:
    for position, value, broken in documents.read_records(source):
        ledger.read[number] = ledger.read.get(number, 0) + 1
        if broken:
            ledger.refuse(number, position, broken)
            continue
        try:
            row = records.map_record(value)
        except BadDataError as error:
            ledger.refuse(number, position, error.message)
        else:
            yield position, row

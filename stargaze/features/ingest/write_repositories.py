"""Validate rows of any source, keep the newest of each repository, and write ``repositories.parquet`` atomically."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import FetchSection
from stargaze.errors import BadDataError, ConfigError
from stargaze.features import schema
from stargaze.features.collection.columns import (
    COLLECTION_COLUMNS,
    HAS_FETCH_TIME,
    floor_unstated_times,
    group_files,
    number_rows,
)
from stargaze.features.ingest.derive import deduplicate, derive_fields, detect_homepages
from stargaze.features.ingest.fetch_counts import FetchCounts
from stargaze.features.ingest.fetch_summary import FetchSummary
from stargaze.features.ingest.field_mapping import REQUIRED
from stargaze.features.ingest.validate import ClearedValues, clear_columns, shorten
from stargaze.features.own_columns import OwnColumn, conform, write_repositories_file
from stargaze.features.own_values import check_found, convert_own_column
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.progress import Report

Warn = Callable[[pd.DataFrame, Sequence[OwnColumn]], Sequence[str]]
"""Returns warnings about repositories, all columns of the schema, and their own columns."""
SOURCE = "__source"
"""The column with the number of each row's file; no own column has a name that begins so."""
MIN_ROW_NUMBERS = 10
"""So many consecutive ids or more are row numbers of a table, and none of GitHub's."""
MAX_NAMES = 2
"""Names per id in a table with ids of GitHub, where a renamed repository has two."""
BATCH = 20_000
"""Records that are validated at once: fast, and small in memory."""


@dataclass(frozen=True)
class RawBatch:
    """Raw rows in our columns, with the source (a number) and the position that each came from."""

    frame: pd.DataFrame
    sources: list[int]
    positions: list[int]

    def of_source(self, source: int) -> RawBatch:
        """Return the rows of one source."""
        rows = [row for row, number in enumerate(self.sources) if number == source]
        return RawBatch(self.frame.iloc[rows], [source] * len(rows), [self.positions[row] for row in rows])


def batch_rows(rows: Iterable[tuple[int, int, dict[str, Any]]]) -> Iterator[RawBatch]:
    """Group rows of source, position and values into batches."""
    batch: list[tuple[int, int, dict[str, Any]]] = []
    for row in rows:
        batch.append(row)
        if len(batch) >= BATCH:
            yield build_batch(batch)
            batch = []
    if batch:
        yield build_batch(batch)


def build_batch(rows: Sequence[tuple[int, int, dict[str, Any]]]) -> RawBatch:
    """Return one batch of rows of source, position and values."""
    sources, positions, records = zip(*rows, strict=True)
    return RawBatch(pd.DataFrame(list(records), dtype="object"), list(sources), list(positions))


@dataclass(frozen=True)
class MergedRecords:
    """The newest valid record of each repository, and how many were dropped."""

    repositories: pd.DataFrame
    too_old: int
    duplicates: int


def merge_records(
    batches: Iterable[RawBatch], counts: FetchCounts, section: FetchSection, now: datetime, report: Report
) -> MergedRecords:
    """Keep the newest valid record of each repository.

    Raise BadDataError if more than half of a source is invalid, or no record is as new as ``fetch.since``.
    """
    since = parse_since(section.since)
    valid = [_validate_batch(batch, now, counts, section) for batch in batches]
    counts.check_sources()
    report("merging", 0.95)
    records = _fill_fetched_at(number_rows(pd.concat(valid, ignore_index=True)), counts, now)
    records = _clear_row_numbers(records, counts)
    records = _convert_own_columns(records, counts, section)
    recent = records if since is None else records[records["fetched_at"] >= since]
    if recent.empty:
        hint = "set fetch.since to an earlier day, or to nothing"
        raise BadDataError(f"no record was fetched since {section.since}", hint=hint)
    newest = deduplicate(recent.drop(columns=SOURCE))
    newest["fetched_at"] = floor_unstated_times(newest)
    repositories = conform(newest, counts.own_columns).assign(**{name: newest[name] for name in COLLECTION_COLUMNS})
    counts.warnings += [
        f"own column {shorten(column.name)} has no value left: newer records of the same repositories lack it"
        for column in counts.own_columns
        if repositories[column.name].isna().all() and records[column.name].notna().any()
    ]
    return MergedRecords(repositories, len(records) - len(recent), len(recent) - len(repositories))


def write_repositories(
    batches: Iterable[RawBatch],
    counts: FetchCounts,
    section: FetchSection,
    store: Store,
    now: datetime,
    report: Report,
    warn: Warn = lambda _repositories, _own_columns: [],
) -> FetchSummary:
    """Merge records and write ``repositories.parquet``; on any error, the stored repositories stay unchanged."""
    merged = merge_records(batches, counts, section, now, report)
    report("writing", 0.98)
    with atomic_write(store.repositories) as temporary:
        write_repositories_file(temporary, merged.repositories, counts.own_columns)
    report("done", 1.0)
    return summarize(merged, counts, warn)


def summarize(merged: MergedRecords, counts: FetchCounts, warn: Warn) -> FetchSummary:
    """Return the summary of merged records, with the warnings that ``warn`` returns for their repositories."""
    summary = counts.summarize(merged.repositories, too_old=merged.too_old, duplicates=merged.duplicates)
    return dataclasses.replace(summary, warnings=(*counts.warnings, *warn(merged.repositories, counts.own_columns)))


def parse_since(text: str) -> pd.Timestamp | None:
    """Return the first day of the records to keep; None (from an empty text) keeps all."""
    if not text:
        return None
    try:
        return pd.Timestamp(date.fromisoformat(text), tz="UTC")
    except ValueError as error:
        hint = "write it YYYY-MM-DD, as 2023-01-01"
        raise ConfigError(f"fetch.since should be a day, not {text!r}", hint=hint) from error


def validate_rows(
    frame: pd.DataFrame,
    now: datetime,
    own_columns: Sequence[str],
    exclude: Sequence[str],
    required: Sequence[str] = REQUIRED,
) -> tuple[pd.DataFrame, list[tuple[int, str]], list[ClearedValues]]:
    """Return the valid rows, with derived fields and raw values of own columns, the refused ones, and cleared values.

    ``exclude`` are fields that are left out; a row is refused only by the ``required`` fields.
    """
    if "has_homepage" in frame.columns and "full_name" in frame.columns:
        frame = frame.assign(has_homepage=detect_homepages(frame["has_homepage"], frame["full_name"]))
    valid, invalid, cleared = clear_columns(frame, now, required=required)
    valid = derive_fields(valid).drop(columns=list(exclude), errors="ignore")
    own = {name: frame[name].loc[valid.index] for name in own_columns if name in frame.columns}
    return valid.assign(**own), invalid, cleared


def _validate_batch(batch: RawBatch, now: datetime, counts: FetchCounts, section: FetchSection) -> pd.DataFrame:
    """Return the valid rows with derived fields, raw values of own columns and the number of their source."""
    valid, invalid, cleared = validate_rows(batch.frame, now, section.extra, section.exclude)
    for row, reason in invalid:
        counts.reject(batch.sources[row], batch.positions[row], reason)
    sources = np.array(batch.sources, dtype=np.int64)
    for item in cleared:
        _count_cleared(item, sources, counts)
    valid = valid.assign(**{SOURCE: sources[valid.index.to_numpy()]})
    counts.valid.update(valid[SOURCE].tolist())
    return valid


def _clear_row_numbers(records: pd.DataFrame, counts: FetchCounts) -> pd.DataFrame:
    """Clear the ids of tables that number their rows, or groups of them: equal numbers are different repositories."""
    if "id" not in records.columns:
        return records
    known = records[records["id"].notna()]
    if "node_id" in records.columns:
        known = known[~known[SOURCE].isin(records.loc[records["node_id"].notna(), SOURCE])]
    ids = known.groupby(SOURCE)["id"].agg(["nunique", "min", "max", "first", "size"])
    is_numbered = ids["nunique"].ge(MIN_ROW_NUMBERS) & (ids["max"] - ids["min"] + 1).eq(ids["nunique"])
    crowded = ids.index[ids["size"].ge(MIN_ROW_NUMBERS) & ids["size"].gt(MAX_NAMES * ids["nunique"])]
    names = known[known[SOURCE].isin(crowded)].groupby(SOURCE)["full_name"].nunique()
    is_group = names.reindex(ids.index, fill_value=0).gt(MAX_NAMES * ids["nunique"])
    reasons = ((is_numbered & ~is_group, "a row number, not GitHub's id"), (is_group, "the same for many names"))
    for is_wrong, reason in reasons:
        for source, row in ids[is_wrong].iterrows():
            counts.clear(int(str(source)), "id", reason, int(row["size"]), str(row["first"]))
    cleared = ids.index[is_numbered | is_group]
    return records.assign(id=records["id"].mask(records[SOURCE].isin(cleared))) if len(cleared) else records


def _convert_own_columns(records: pd.DataFrame, counts: FetchCounts, section: FetchSection) -> pd.DataFrame:
    """Convert the own columns, whose kinds follow from the values of all files."""
    check_found(section, counts.found, counts.names)
    values, sources = {}, records[SOURCE].to_numpy()
    for name in section.extra:
        raw = records[name] if name in records.columns else pd.Series(np.nan, index=records.index)
        own = convert_own_column(name, raw, section.extra_kinds, section.extra_policies, section.thousands)
        for item in own.cleared:
            _count_cleared(item, sources, counts)
        counts.own_columns.append(own.column)
        counts.warnings += filter(None, [own.warning])
        values[name] = own.values
    return records.assign(**values)


def _count_cleared(item: ClearedValues, sources: np.ndarray[Any, Any], counts: FetchCounts) -> None:
    numbers, first, totals = np.unique(sources[item.rows], return_index=True, return_counts=True)
    for source, index, total in zip(numbers, first, totals, strict=True):
        example = shorten(item.values.iloc[item.rows[index]])
        counts.clear(int(source), item.field, item.reason, int(total), example)


def _fill_fetched_at(frame: pd.DataFrame, counts: FetchCounts, now: datetime) -> pd.DataFrame:
    """Set the fetch date of records that have none to the latest date in the same file, but at most to now.

    The file cannot be older than that. Note which records have a date of their own.
    """
    dates = [name for name in ("created_at", "pushed_at", "updated_at") if name in frame.columns]
    fetched = frame["fetched_at"] if "fetched_at" in frame.columns else schema.empty(len(frame))["fetched_at"]
    is_stated = fetched.notna()
    if dates and fetched.isna().any():
        files = group_files(counts.records, counts.paths)
        latest = frame[dates].max(axis=1).groupby(frame[SOURCE].map(files)).transform("max")
        fetched = fetched.fillna(latest)
    today = pd.Timestamp(now).as_unit("s")
    has_time = {HAS_FETCH_TIME: is_stated}
    return frame.assign(fetched_at=fetched.dt.as_unit("s").mask(fetched > today, today), **has_time)

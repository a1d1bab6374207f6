"""Validate rows of any source, keep the newest of each repository, and write ``repositories.parquet`` atomically."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stargaze.config import FetchSection
from stargaze.errors import BadDataError, ConfigError
from stargaze.features import schema
from stargaze.features.ingest.derive import deduplicate, derive_fields, detect_homepages
from stargaze.features.ingest.validate import validate_columns
from stargaze.store import Store
from stargaze.system.files import atomic_write
from stargaze.system.progress import Report

MAX_LISTED, MAX_PRINTED = 1000, 5
"""Invalid records that the summary contains and that are printed; all are counted."""
REQUIRED = ("full_name", "stars")
BATCH = 20_000
"""Records that are validated at once: fast, and small in memory."""


@dataclass(frozen=True)
class SourceSummary:
    """The records of one file."""

    file: str
    records: int
    valid: int
    invalid: int


@dataclass(frozen=True)
class FetchSummary:
    """The result of ``fetch``, for people and for ``--json``; ``invalid`` has file, position and reason of each record."""

    repositories: int
    records: int
    duplicates: int
    too_old: int
    invalid_count: int
    invalid: tuple[tuple[str, int, str], ...]
    latest: str | None
    sources: tuple[SourceSummary, ...]

    def as_text(self) -> str:
        """Return the counts and the first invalid records, in lines."""
        lines = [f"{self.repositories:,} repositories from {self.records:,} records"]
        if self.duplicates or self.too_old:
            lines[0] += f" ({self.duplicates:,} duplicates, {self.too_old:,} older than fetch.since)"
        if self.invalid_count:
            lines.append(f"{self.invalid_count:,} invalid records:")
            lines += [f"  {file}: record {position}: {reason}" for file, position, reason in self.invalid[:MAX_PRINTED]]
        if self.invalid_count > MAX_PRINTED:
            lines.append(f"  and {self.invalid_count - MAX_PRINTED:,} more; stargaze fetch --json lists {MAX_LISTED:,}")
        return "\n".join(lines)

    def as_line(self) -> str:
        """Return one line for ``run``."""
        invalid = f", {self.invalid_count:,} invalid records" if self.invalid_count else ""
        return f"{self.repositories:,} repositories{invalid}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


@dataclass
class FetchCounts:
    """Counts by source (index in ``paths``) while the files are read."""

    paths: list[Path]
    records: Counter[int] = field(default_factory=Counter)
    valid: Counter[int] = field(default_factory=Counter)
    invalid: list[tuple[int, int, str]] = field(default_factory=list)
    invalid_counts: Counter[int] = field(default_factory=Counter)
    first_reasons: dict[int, str] = field(default_factory=dict)

    def reject(self, source: int, position: int, reason: str) -> None:
        """Count an invalid record; list the first ones."""
        self.invalid_counts[source] += 1
        self.first_reasons.setdefault(source, f"record {position}: {reason}")
        if len(self.invalid) < MAX_LISTED:
            self.invalid.append((source, position, reason))

    def check_sources(self) -> None:
        """Raise BadDataError for a file without a valid record; a file of one record is tolerated among valid files."""
        for source, path in enumerate(self.paths):
            records = self.records[source]
            if self.valid[source] or (records <= 1 and self.valid.total()):
                continue
            if not records:
                raise BadDataError(f"{path}: has no records", hint="check that it is a response of GitHub")
            hint = "check that it contains repositories, and for CSV and Parquet the mapping in [fetch.columns]"
            message = f"{path}: no valid record among {records:,}; {self.first_reasons[source]}"
            raise BadDataError(message, hint=hint)

    def summarize(self, repositories: pd.DataFrame, *, too_old: int, duplicates: int) -> FetchSummary:
        """Return the summary of the written repositories."""
        latest = repositories["fetched_at"].max()
        sources = [
            SourceSummary(str(path), self.records[i], self.valid[i], self.invalid_counts[i])
            for i, path in enumerate(self.paths)
        ]
        return FetchSummary(
            repositories=len(repositories),
            records=self.records.total(),
            duplicates=duplicates,
            too_old=too_old,
            invalid_count=self.invalid_counts.total(),
            invalid=tuple((str(self.paths[source]), position, reason) for source, position, reason in self.invalid),
            latest=None if pd.isna(latest) else latest.isoformat(),
            sources=tuple(sources),
        )


@dataclass(frozen=True)
class RawBatch:
    """Raw rows in our columns, with the source (a number) and the position that each came from."""

    frame: pd.DataFrame
    sources: list[int]
    positions: list[int]


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


def write_repositories(
    batches: Iterable[RawBatch], counts: FetchCounts, section: FetchSection, store: Store, now: datetime, report: Report
) -> FetchSummary:
    """Keep the newest valid record of each repository and write ``repositories.parquet``.

    Raise BadDataError if a source has no valid record. Stored repositories stay unchanged.
    """
    since = parse_since(section.since)
    valid = [_validate_batch(batch, now, counts) for batch in batches]
    counts.check_sources()
    report("merging", 0.95)
    records = _fill_fetched_at(pd.concat(valid, ignore_index=True), counts, now)
    recent = records if since is None else records[records["fetched_at"] >= since]
    if recent.empty:
        hint = "set fetch.since to an earlier day, or to nothing"
        raise BadDataError(f"no record was fetched since {section.since}", hint=hint)
    repositories = schema.conform(deduplicate(recent.drop(columns="source")))
    report("writing", 0.98)
    with atomic_write(store.repositories) as temporary:
        repositories.to_parquet(temporary, compression="zstd", index=False)
    report("done", 1.0)
    too_old, duplicates = len(records) - len(recent), len(recent) - len(repositories)
    return counts.summarize(repositories, too_old=too_old, duplicates=duplicates)


def parse_since(text: str) -> pd.Timestamp | None:
    """Return the first day of the records to keep; None (from an empty text) keeps all."""
    if not text:
        return None
    try:
        return pd.Timestamp(date.fromisoformat(text), tz="UTC")
    except ValueError as error:
        hint = "write it YYYY-MM-DD, as 2023-01-01"
        raise ConfigError(f"fetch.since should be a day, not {text!r}", hint=hint) from error


def _validate_batch(batch: RawBatch, now: datetime, counts: FetchCounts) -> pd.DataFrame:
    """Return the valid rows with derived fields and the number of their source."""
    frame = batch.frame
    if "has_homepage" in frame.columns:
        frame = frame.assign(has_homepage=detect_homepages(frame["has_homepage"], frame["full_name"]))
    valid, invalid = validate_columns(frame, now, required=REQUIRED)
    for row, reason in invalid:
        counts.reject(batch.sources[row], batch.positions[row], reason)
    valid = derive_fields(valid).assign(source=np.array(batch.sources, dtype=np.int64)[valid.index.to_numpy()])
    counts.valid.update(valid["source"].tolist())
    return valid


def _fill_fetched_at(frame: pd.DataFrame, counts: FetchCounts, now: datetime) -> pd.DataFrame:
    """Set the fetch date of records that have none to the latest date in the same file, but at most to now.

    The file cannot be older than that. Files of one record each in the same folder count as one file.
    """
    dates = [name for name in ("created_at", "pushed_at", "updated_at") if name in frame.columns]
    fetched = frame["fetched_at"] if "fetched_at" in frame.columns else schema.empty(len(frame))["fetched_at"]
    if dates and fetched.isna().any():
        files = {
            number: str(path.parent) if counts.records[number] == 1 else number
            for number, path in enumerate(counts.paths)
            if number in counts.records
        }
        latest = frame[dates].max(axis=1).groupby(frame["source"].map(files)).transform("max")
        fetched = fetched.fillna(latest)
    today = pd.Timestamp(now).as_unit("s")
    return frame.assign(fetched_at=fetched.dt.as_unit("s").mask(fetched > today, today))

"""Record counts of ``fetch`` while it reads, and the summary that it returns."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.errors import BadDataError

MAX_LISTED, MAX_PRINTED = 1000, 5
"""Invalid records that the summary contains and that are printed; all are counted."""


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
                raise BadDataError(f"{path}: has no records", hint="is it a response of GitHub?")
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

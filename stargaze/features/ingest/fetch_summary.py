"""What ``fetch`` counts while it reads, and the summary that it returns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from stargaze.errors import BadDataError

MAX_LISTED = 1000
"""Bad records that the summary names; all are counted."""

MAX_PRINTED = 5
"""Bad records that a person is shown."""


@dataclass(frozen=True)
class SourceSummary:
    """What one file brought."""

    file: str
    read: int
    good: int
    bad: int


@dataclass(frozen=True)
class FetchSummary:
    """What ``fetch`` did, for people and for ``--json``."""

    repositories: int
    read: int
    duplicates: int
    left_out: int
    bad_count: int
    bad: tuple[tuple[str, int, str], ...]
    latest: str | None
    by_source: tuple[SourceSummary, ...]

    def as_text(self) -> str:
        """Return the lines that a person reads: the counts, and the first bad records by name."""
        lines = [f"{self.repositories:,} repositories from {self.read:,} records"]
        if self.duplicates or self.left_out:
            lines[0] += f" ({self.duplicates:,} duplicates, {self.left_out:,} left out as too old)"
        if self.bad_count:
            lines.append(f"{self.bad_count:,} bad records:")
            lines += [f"  {file}: record {position}: {reason}" for file, position, reason in self.bad[:MAX_PRINTED]]
        if self.bad_count > MAX_PRINTED:
            lines.append(f"  and {self.bad_count - MAX_PRINTED:,} more; stargaze fetch --json names {MAX_LISTED:,}")
        return "\n".join(lines)

    def as_line(self) -> str:
        """Return the one line of a run."""
        bad = f", {self.bad_count:,} bad records" if self.bad_count else ""
        return f"{self.repositories:,} repositories{bad}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return dataclasses.asdict(self)


@dataclass
class FetchCounts:
    """Counts while the files are read."""

    paths: list[Path]
    read: dict[int, int] = field(default_factory=dict)
    good: dict[int, int] = field(default_factory=dict)
    bad: list[tuple[int, int, str]] = field(default_factory=list)
    bad_counts: dict[int, int] = field(default_factory=dict)
    first: dict[int, str] = field(default_factory=dict)

    def refuse(self, source: int, position: int, reason: str) -> None:
        """Count a bad record, and name it while there are few."""
        self.bad_counts[source] = self.bad_counts.get(source, 0) + 1
        self.first.setdefault(source, f"record {position}: {reason}")
        if len(self.bad) < MAX_LISTED:
            self.bad.append((source, position, reason))

    def refuse_empty(self) -> None:
        """Refuse a file that brought nothing; among several, one of a single record is a bad record and no more."""
        for source, path in enumerate(self.paths):
            read = self.read.get(source, 0)
            if self.good.get(source, 0) or (read <= 1 and self.good):
                continue
            if not read:
                raise BadDataError(
                    f"{path}: holds no record", hint="is it an answer of GitHub's, or a list of repositories?"
                )
            raise BadDataError(
                f"{path}: no good record among {read:,}; {self.first[source]}",
                hint="check that it holds repositories, and for CSV and Parquet the mapping in [fetch.columns]",
            )

    def summary(self, merged: pd.DataFrame, *, left_out: int, duplicates: int) -> FetchSummary:
        """Put the counts into their lasting form."""
        latest = merged["fetched_at"].max()
        sources = [
            SourceSummary(str(path), self.read.get(i, 0), self.good.get(i, 0), self.bad_counts.get(i, 0))
            for i, path in enumerate(self.paths)
        ]
        return FetchSummary(
            repositories=len(merged),
            read=sum(self.read.values()),
            duplicates=duplicates,
            left_out=left_out,
            bad_count=sum(self.bad_counts.values()),
            bad=tuple((str(self.paths[source]), position, reason) for source, position, reason in self.bad),
            latest=None if pd.isna(latest) else latest.isoformat(),
            by_source=tuple(sources),
        )

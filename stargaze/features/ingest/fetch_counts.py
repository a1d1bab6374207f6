"""Counts of records while files are read; a file of which more than half is invalid is an error."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from stargaze.errors import BadDataError
from stargaze.features.ingest.column_use import ColumnUse
from stargaze.features.ingest.csv_rows import MISPLACED, UNCLOSED
from stargaze.features.ingest.fetch_summary import (
    MAX_LISTED,
    ClearedSummary,
    ColumnSummary,
    FetchSummary,
    SourceSummary,
)
from stargaze.features.own_columns import OwnColumn

MAX_NAMES = 10_000
"""Columns and keys that are remembered."""
MAX_REASONS = 3
"""Different reasons that an error names."""
_HINTS = (
    ("GitHub responded", "fetch these responses again"),
    (
        "full_name is missing",
        'name the columns of the repository: [fetch.columns] full_name = "…", or owner = "…" and name = "…"',
    ),
    (
        "full_name is ",
        'write owner/name or an address on github.com; or name another column: [fetch.columns] full_name = "…"',
    ),
    ("stars is missing", 'name the column of the star counts: [fetch.columns] stars = "…"'),
    ("stars is ", 'write the stars as whole numbers; or name another column: [fetch.columns] stars = "…"'),
    (UNCLOSED, "write the file with a CSV library: it doubles quotes within a text, and closes each"),
    (MISPLACED, "write the file with a CSV library: it doubles quotes within a text"),
)
_HINT_OF_WIDTH = (
    "name every column in the first line, and quote texts that contain the separator, as a CSV library does"
)
_HINT = "check that it contains repositories, and the mapping in [fetch.columns]"
_VALUE = re.compile(r"'.*'|\".*\"|\d+", re.DOTALL)


@dataclass
class FetchCounts:
    """Counts by source (index in ``paths``) while the files are read."""

    paths: list[Path]
    records: Counter[int] = field(default_factory=Counter)
    valid: Counter[int] = field(default_factory=Counter)
    invalid: list[tuple[int, int, str]] = field(default_factory=list)
    invalid_counts: Counter[int] = field(default_factory=Counter)
    reasons: defaultdict[int, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    causes: defaultdict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    cleared: dict[tuple[int, str, str], tuple[int, str]] = field(default_factory=dict)
    columns: list[tuple[int, ColumnUse]] = field(default_factory=list)
    is_complete: bool = False
    """Whether all records of all sources were counted."""
    found: set[str] = field(default_factory=set)
    """Fields and own columns that some source has."""
    names: dict[str, None] = field(default_factory=dict)
    """Columns and keys of the sources, in order."""
    own_columns: list[OwnColumn] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def reject(self, source: int, position: int, reason: str) -> None:
        """Count an invalid record; list the first ones."""
        self.invalid_counts[source] += 1
        cause = _VALUE.sub("", reason)
        causes = self.causes[source]
        if cause in causes or len(causes) < MAX_LISTED:
            causes[cause] += 1
        if len(self.reasons[source]) < MAX_REASONS:
            self.reasons[source].setdefault(cause, f"record {position}: {reason}")
        if len(self.invalid) < MAX_LISTED:
            self.invalid.append((source, position, reason))

    def clear(self, source: int, field_name: str, reason: str, count: int, example: str) -> None:
        """Count values of a field that became missing for one reason; the first example stays."""
        before, first = self.cleared.get((source, field_name, reason), (0, example))
        self.cleared[source, field_name, reason] = (before + count, first)

    def add_columns(self, source: int, use: ColumnUse) -> None:
        """Note which columns of a source are used; of thousands of files, only the first ones."""
        self.found.update(use.fields)
        if len(self.names) < MAX_NAMES:
            self.names |= dict.fromkeys(use.names)
        if len(self.columns) < MAX_LISTED:
            self.columns.append((source, use))

    def check_sources(self) -> None:
        """Raise BadDataError if more than half of a file is invalid, or of a folder's files of one record each.

        Among valid files, a file without any record is tolerated.
        """
        self.is_complete = True
        folders: defaultdict[Path, list[int]] = defaultdict(list)
        for source, path in enumerate(self.paths):
            records, invalid = self.records[source], self.invalid_counts[source]
            if not records and not self.valid.total():
                raise BadDataError(f"{path}: has no records", hint="fetch it again, or name another file")
            if records == 1:
                folders[path.parent].append(source)
            elif records and not self.valid[source]:
                raise self._error(source, f"{path}: no valid record among {records:,}")
            elif 2 * invalid > records:
                raise self._error(source, f"{path}: {invalid:,} of {records:,} records are invalid")
        for folder, sources in folders.items():
            invalid_sources = [source for source in sources if self.invalid_counts[source]]
            if 2 * len(invalid_sources) <= len(sources):
                continue
            first = self.paths[invalid_sources[0]]
            message = f"{first}: no valid record among 1"
            if len(sources) > 1:
                message = (
                    f"{folder}: {len(invalid_sources):,} of {len(sources):,} files of one record are invalid; {first}"
                )
            raise self._error(invalid_sources[0], message)

    def _error(self, source: int, message: str) -> BadDataError:
        reasons = "; ".join(self.reasons[source].values())
        return BadDataError(f"{message}; {reasons}", hint=self._hint(source))

    def _hint(self, source: int) -> str:
        """Return what to do about the most frequent reason."""
        cause = self.causes[source].most_common(1)[0][0]
        if cause == _VALUE.sub("", "1 columns instead of 2"):
            return _HINT_OF_WIDTH
        return next((hint for begin, hint in _HINTS if cause.startswith(begin)), _HINT)

    def summarize(self, repositories: pd.DataFrame, *, too_old: int, duplicates: int) -> FetchSummary:
        """Return the summary of the written repositories."""
        latest = repositories["fetched_at"].max()
        files = [str(path) for path in self.paths]
        return FetchSummary(
            repositories=len(repositories),
            records=self.records.total(),
            duplicates=duplicates,
            too_old=too_old,
            invalid_count=self.invalid_counts.total(),
            invalid=tuple((files[source], position, reason) for source, position, reason in sorted(self.invalid)),
            latest=None if pd.isna(latest) else latest.isoformat(),
            sources=tuple(
                SourceSummary(file, self.records[i], self.valid[i], self.invalid_counts[i])
                for i, file in enumerate(files)
            ),
            cleared=self._summarize_cleared(files),
            columns=tuple(ColumnSummary(files[source], use) for source, use in self.columns),
            own_columns=tuple(self.own_columns),
        )

    def _summarize_cleared(self, files: list[str]) -> tuple[ClearedSummary, ...]:
        """Return the most frequent cleared values first."""
        items = [
            ClearedSummary(files[source], name, reason, count, example)
            for (source, name, reason), (count, example) in self.cleared.items()
        ]
        return tuple(sorted(items, key=lambda item: -item.count)[:MAX_LISTED])

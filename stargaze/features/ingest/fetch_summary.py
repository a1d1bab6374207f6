"""What ``fetch`` reports: exact counts by file, invalid records, cleared values and unused columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stargaze.errors import StargazeError
from stargaze.features.ingest.column_use import ColumnUse
from stargaze.features.own_columns import OwnColumn

MAX_LISTED, MAX_PRINTED = 1000, 5
"""Invalid records, cleared values and files that the summary contains and that are printed; all are counted."""
MAX_NAMES = 12
"""Unused columns of a file that are printed."""


@dataclass(frozen=True)
class SourceSummary:
    """The records of one file."""

    file: str
    records: int
    valid: int
    invalid: int


@dataclass(frozen=True)
class ClearedSummary:
    """How many values of a field of one file are missing because they were unusable, why, and one of them."""

    file: str
    field: str
    reason: str
    count: int
    example: str


@dataclass(frozen=True)
class ColumnSummary:
    """The columns of one file: field → column or path, and the columns that are not used with the field that each resembles."""

    file: str
    use: ColumnUse

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        unused = [{"column": column, "resembles": field or None} for column, field in self.use.unused]
        return {"file": self.file, "fields": self.use.fields, "unused": unused}

    def describe_unused(self) -> str:
        """Return the unused columns in one line, those first that resemble a field; empty if there are none.

        Examples
        --------
        >>> ColumnSummary("x.csv", ColumnUse({}, (("notes", ""), ("mainLanguage", "language")))).describe_unused()
        'x.csv: mainLanguage (like language), notes'
        """
        if not self.use.unused:
            return ""
        ordered = sorted(self.use.unused, key=lambda item: not item[1])
        names = [f"{_shorten(name)} (like {field})" if field else _shorten(name) for name, field in ordered]
        more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
        return f"{self.file}: {', '.join(names[:MAX_NAMES])}{more}"


def _shorten(name: str) -> str:
    text = repr(name)[1:-1] or "(no name)"
    return text if len(text) <= 40 else f"{text[:39]}…"


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
    cleared: tuple[ClearedSummary, ...] = ()
    columns: tuple[ColumnSummary, ...] = ()
    own_columns: tuple[OwnColumn, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_text(self) -> str:
        """Return the counts, and the first invalid records, cleared values and unused columns, in lines."""
        lines = [f"{self.repositories:,} repositories from {self.records:,} records"]
        if self.duplicates or self.too_old:
            lines[0] += f" ({self.duplicates:,} duplicates, {self.too_old:,} older than fetch.since)"
        if self.own_columns:
            shown = [f"{_shorten(item.name)} ({item.kind}, policy {item.policy})" for item in self.own_columns]
            lines.append(f"own columns: {', '.join(shown)}")
        if self.invalid_count:
            lines.append(f"{self.invalid_count:,} invalid {_plural(self.invalid_count, 'record')}:")
            shown = [f"{file}: record {position}: {reason}" for file, position, reason in self.invalid]
            lines += _list_some(shown, self.invalid_count)
        if self.cleared:
            count = sum(item.count for item in self.cleared)
            lines.append(f"{count:,} unusable {_plural(count, 'value')} of optional fields, now missing:")
            shown = [
                f"{item.file}: {item.field}: {item.reason} ({item.count:,}, as {item.example})" for item in self.cleared
            ]
            lines += _list_some(shown, len(shown))
        unused = list(filter(None, (item.describe_unused() for item in self.columns)))
        if unused:
            lines += ["unused columns:", *_list_some(unused, len(unused))]
        return "\n".join(lines)

    def as_line(self) -> str:
        """Return one line for ``run``."""
        count, cleared = self.invalid_count, sum(item.count for item in self.cleared)
        invalid = f", {count:,} invalid {_plural(count, 'record')}" if count else ""
        missing = f", {cleared:,} unusable {_plural(cleared, 'value')}" if cleared else ""
        return "; ".join([f"{self.repositories:,} repositories{invalid}{missing}", *self.warnings])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = dataclasses.asdict(dataclasses.replace(self, columns=()))
        return values | {"columns": [item.as_dict() for item in self.columns[:MAX_LISTED]]}


@dataclass(frozen=True)
class FetchPreview:
    """What ``fetch`` would write, and the error with which it would end."""

    summary: FetchSummary
    error: StargazeError | None = None

    def as_text(self) -> str:
        """Return the columns of each field, and the summary."""
        lines = [*_describe_fields(self.summary.columns), self.summary.as_text()]
        return "\n".join([*lines, "nothing was written"])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**self.summary.as_dict(), "written": False, "error": self.error.message if self.error else None}


def _describe_fields(columns: Sequence[ColumnSummary]) -> list[str]:
    """Return each file's fields with their columns; files with the same ones are described once."""
    files: dict[str, list[str]] = {}
    for item in columns:
        fields = item.use.fields.items()
        pairs = ", ".join(name if name == column else f"{name} ← {_shorten(column)}" for name, column in fields)
        files.setdefault(pairs or "no fields", []).append(item.file)
    lines = []
    for pairs, names in list(files.items())[:MAX_PRINTED]:
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        lines.append(f"{names[0]}{more}: {pairs}")
    return lines + ([f"and {len(files) - MAX_PRINTED:,} other kinds of files"] if len(files) > MAX_PRINTED else [])


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"


def _list_some(lines: Sequence[str], count: int) -> list[str]:
    """Return the first lines, and how many more there are."""
    more = f"  and {count - MAX_PRINTED:,} more; stargaze fetch --json lists {min(count, MAX_LISTED):,}"
    return [f"  {line}" for line in lines[:MAX_PRINTED]] + ([more] if count > MAX_PRINTED else [])

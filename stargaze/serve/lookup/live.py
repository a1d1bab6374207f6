"""Look repositories up by name: on GitHub, with the repositories of the bundle as the fallback."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, Protocol

import pandas as pd

from stargaze.bundle.star_bundle import Bundle
from stargaze.features import schema
from stargaze.features.ingest import derive
from stargaze.features.ingest.user_input import METRICS_HINT, UnknownRepositoryError, unknown_repositories
from stargaze.features.ingest.validate import validate_columns
from stargaze.serve.lookup.exclusion import NO_EXCLUSIONS, Exclusions, excluded_error
from stargaze.serve.lookup.github_repositories import EXCLUDED, GithubRepositories, RepositoryReply
from stargaze.serve.lookup.github_requests import UNREADABLE
from stargaze.serve.lookup.github_resource import RATE_LIMITED, UNKNOWN_LIMITED, is_blocked
from stargaze.serve.prediction_request import ErrorDetails, error_details

INVALID = "the values from GitHub are invalid"
MAX_VALIDATED = 500
"""Validated rows in memory, some 10 kB each."""
Validated = tuple[Mapping[str, Any] | None, pd.DataFrame, str]
Source = Literal["github", "bundle", "entered"]


@dataclass(frozen=True)
class GithubLookup:
    """Looks names up on GitHub; without a token, whose rate limit is low, only names that the bundle does not contain.

    The bundle's record answers if GitHub does not, and fills up an incomplete record.
    """

    bundle: Bundle
    github: GithubRepositories
    exclusions: Exclusions = NO_EXCLUSIONS
    validated: OrderedDict[str, Validated] = field(default_factory=OrderedDict, compare=False, repr=False)
    """The last record of each name from GitHub and its validated row: each what-if about a repository needs it again."""

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        """Look all names up at once."""
        spellings = {name.lower(): name for name in names}
        remote = [
            name for key, name in spellings.items() if self.github.has_token or key not in self.bundle.row_by_name
        ]
        replies = self.github.fetch([name for name in remote if not self.exclusions.match(name)])
        collected = _Rows(self.bundle, self.validated)
        failures: dict[str, _Failure] = {}
        for key, reply in replies.items():
            name, invalid = spellings[key], reply.gone if reply.gone.startswith(UNREADABLE) else ""
            if reply.record is not None:  # maybe cached before GitHub became unavailable
                invalid = collected.add_reply(name, reply, now)
            elif reply.gone and not invalid:
                collected.errors[key] = _gone_error(name, reply.gone)
            if invalid:
                failures[key] = _Failure(INVALID, _gone_error(name, invalid))
            elif reply.unavailable:
                failures[key] = _Failure(reply.unavailable)
        answered = {*collected.rows, *collected.errors}
        bundled = self._bundled.find([name for key, name in spellings.items() if key not in answered], now)
        collected.add_bundled(bundled, failures)
        retry_at = {key: reply.retry_at for key, reply in replies.items() if reply.retry_at}
        return replace(collected.to_result(), retry_at=retry_at)

    @cached_property
    def _bundled(self) -> BundledRepositories:
        return BundledRepositories(self.bundle, self.exclusions)


@dataclass(frozen=True)
class _Failure:
    """Why there are no values of GitHub, and the error of a repository that the bundle lacks too."""

    reason: str
    error: ErrorDetails | None = None

    def to_error(self, unknown: ErrorDetails) -> ErrorDetails:
        """Return the error; ``unknown`` is that of the bundle."""
        is_limited = self.reason.startswith((RATE_LIMITED, UNKNOWN_LIMITED))
        code = "github_rate_limited" if is_limited else "github_unavailable"
        return self.error or _error(code, f"{unknown['message']}; {self.reason}", METRICS_HINT)


@dataclass
class _Rows:
    bundle: Bundle
    validated: OrderedDict[str, Validated]
    frames: list[pd.DataFrame] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    source: dict[str, Source] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, ErrorDetails] = field(default_factory=dict)

    def add_bundled(self, bundled: LookupResult, failures: Mapping[str, _Failure]) -> None:
        """Add repositories of the bundle; a note or the error says why there are no values of GitHub."""
        n_before = sum(map(len, self.frames))
        self.frames.append(bundled.frame)
        self.rows |= {key: n_before + row for key, row in bundled.rows.items()}
        self.source |= bundled.source
        for key, row in bundled.rows.items():
            record = bundled.frame.iloc[row]
            day = "" if pd.isna(record["fetched_at"]) else f" of {record['fetched_at'].date()}"
            self.notes[key] = _notes({str(name): value for name, value in record.items()})
            if failure := failures.get(key):
                self.notes[key].append(f"{failure.reason}: these are the values{day}")
        for key, error in bundled.errors.items():
            self.errors[key] = failures[key].to_error(error) if key in failures else error

    def add_reply(self, name: str, reply: RepositoryReply, now: datetime) -> str:
        """Add a record of GitHub, with the bundle's values where it has none; return what is invalid about it."""
        key, record = name.lower(), dict(reply.record or {})
        notes = _notes(record)
        if str(record["full_name"]).lower() != key:
            notes.insert(0, f"was renamed: you entered {name}")
        if not reply.is_complete:
            older = self._bundled_record(str(record["full_name"]).lower(), key)
            day = older.get("fetched_at")
            record = {**older, **{field: value for field, value in record.items() if value is not None}}
            if day is not None:
                notes.append(f"counts that GitHub did not return in time are of {day.date()}")
        if reply.unavailable:
            notes.append(f"{reply.unavailable}: these are the values of {str(record.get('fetched_at'))[:10]}")
        elif reply.lacks:
            notes.append(f"the number of contributors is missing: {reply.lacks}")
        valid, invalid = self._validate(key, reply, record, now)
        if invalid:
            return UNREADABLE + invalid
        self.rows[key] = sum(map(len, self.frames))
        self.frames.append(valid)
        self.source[key], self.notes[key] = "github", notes
        return ""

    def _validate(
        self, key: str, reply: RepositoryReply, record: Mapping[str, Any], now: datetime
    ) -> tuple[pd.DataFrame, str]:
        """Return the validated row of a record, which follows from the reply and the bundle, and what is invalid."""
        before = self.validated.get(key)
        if before is not None and before[0] == reply.record:
            return before[1:]
        valid, invalid = _validate(record, now)
        self.validated[key] = reply.record, valid, invalid
        while len(self.validated) > MAX_VALIDATED:
            self.validated.popitem(last=False)
        return valid, invalid

    def _bundled_record(self, *keys: str) -> dict[str, Any]:
        rows = [self.bundle.row_by_name[key] for key in keys if key in self.bundle.row_by_name]
        values = self.bundle.known.iloc[rows[0]].items() if rows else ()
        return {str(name): value for name, value in values if not _is_missing(value)}

    def to_result(self) -> LookupResult:
        """Return all rows as one frame."""
        frames = [frame for frame in self.frames if len(frame)]
        frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else (frames or self.frames)[0]
        return LookupResult(lambda: frame, len(frame), self.rows, self.source, self.notes, self.errors)


def _notes(record: Mapping[str, Any]) -> list[str]:
    """Return what is unusual about a repository."""
    flags = {
        "is_fork": "is a fork",
        "is_archived": "is archived",
        "is_disabled": "is disabled",
        "is_template": "is a template",
    }
    notes = [text for name, text in flags.items() if _number(record.get(name)) == 1]
    is_empty = _number(record.get("is_empty"))
    has_no_size = is_empty is None and _number(record.get("size_kb")) == 0
    if is_empty == 1 or _number(record.get("commits")) == 0 or has_no_size:
        notes.append("is empty")
    return notes


def _validate(record: Mapping[str, Any], now: datetime) -> tuple[pd.DataFrame, str]:
    """Validate GitHub's figures and derive other fields from them, as ``fetch`` does."""
    frame = pd.DataFrame([record], dtype="object")
    if "has_homepage" in frame.columns:
        frame["has_homepage"] = derive.detect_homepages(frame["has_homepage"], frame["full_name"])
    valid, invalid = validate_columns(frame, _latest(record, now), required=("full_name", "stars"))
    return schema.conform(derive.derive_fields(valid)), next((reason for _, reason in invalid), "")


def _latest(record: Mapping[str, Any], now: datetime) -> datetime:
    """Return the time of the reply if it is later than ``now``: GitHub's clock dates the figures."""
    try:
        return max(now, datetime.fromisoformat(str(record.get("fetched_at"))))
    except (TypeError, ValueError):
        return now


def _gone_error(name: str, reason: str) -> ErrorDetails:
    if reason == EXCLUDED:
        return excluded_error()
    if reason.startswith(UNREADABLE):
        message = f"{name}: {INVALID}: {reason.removeprefix(UNREADABLE)}"
        return _error("invalid_github_data", message, METRICS_HINT)
    if is_blocked(reason):
        return _error("blocked_repository", f"{name}: GitHub blocks access to it: {reason}", METRICS_HINT)
    message = f"{name}: GitHub has no public repository of this name: it was deleted or renamed, or is private"
    return _error(UnknownRepositoryError.code, message, f"check its spelling, or {METRICS_HINT}")


def _error(code: str, message: str, hint: str) -> ErrorDetails:
    return {"code": code, "message": message, "hint": hint}


def _number(value: Any) -> float | None:
    try:
        return None if _is_missing(value) else float(value)
    except (TypeError, ValueError):
        return None


def _is_missing(value: Any) -> bool:
    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))


@dataclass(frozen=True)
class LookupResult:
    """The rows that were found, and an error for each other name; names are in lower case.

    ``load`` returns a frame of ``n_rows`` rows with the columns of the schema; ``rows`` maps names to its rows. ``source`` is
    "bundle" only for rows of the bundle, whose features and records are precomputed. ``notes`` are remarks for the visitor.
    ``retry_at`` is when GitHub can be expected to return what it did not return now [s since 1970].
    """

    load: Callable[[], pd.DataFrame]
    n_rows: int
    rows: Mapping[str, int] = field(default_factory=dict)
    source: Mapping[str, Source] = field(default_factory=dict)
    notes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    errors: Mapping[str, ErrorDetails] = field(default_factory=dict)
    retry_at: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows; taking those of the bundle costs half a millisecond, and few answers need them."""
        return self.load()


class RepositoryLookup(Protocol):
    """A source of the figures of repositories."""

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        """Look all names up at once; a name that fails has an error in the result and raises nothing."""


@dataclass(frozen=True)
class BundledRepositories:
    """The repositories that a bundle contains, and no others."""

    bundle: Bundle
    exclusions: Exclusions = NO_EXCLUSIONS

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        """Look names up; the error of an unknown name suggests similar names."""
        spellings = {name.lower(): name for name in names}
        rows = self.bundle.row_by_name
        found = {name: rows[name] for name in spellings if name in rows and not self.exclusions.match(name)}
        return LookupResult(
            lambda: self.bundle.known.iloc[list(found.values())],
            len(found),
            {name: row for row, name in enumerate(found)},
            dict.fromkeys(found, "bundle"),
            errors={name: self._error(spelling) for name, spelling in spellings.items() if name not in found},
        )

    def _error(self, name: str) -> ErrorDetails:
        if self.exclusions.match(name):
            return excluded_error()
        return error_details(unknown_repositories([name], self._shown))

    @cached_property
    def _shown(self) -> pd.DataFrame:
        """The names of the repositories that may be suggested."""
        names = self.bundle.known[["full_name"]]
        return names[[not self.exclusions.match(name) for name in names["full_name"]]]

"""Find repositories as GitHub has them now; else as they were when the bundle was made; else say what a visitor can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd

from stargaze.bundle.star_bundle import Bundle
from stargaze.features import schema
from stargaze.features.ingest import derive
from stargaze.features.ingest.validate import validate_columns
from stargaze.serve.lookup.github import GitHub, GithubReply
from stargaze.serve.prediction.context import BundledRepositories, LookupResult, Source
from stargaze.serve.prediction_request import Error

TYPE = "type its figures instead"
BLOCKED = ("block", "legal", "dmca", "451")


@dataclass(frozen=True)
class GithubLookup:
    """A finder that asks GitHub. Without a token, which few questions an hour are answered without, only for unknown names.

    What GitHub told is joined with the known record of the same repository, where GitHub did not tell all.
    """

    bundle: Bundle
    github: GitHub
    with_token: bool

    def find(self, names: Sequence[str], now: datetime) -> LookupResult:
        """Look all of them up at once."""
        places = self.bundle.places
        asked = {name.lower(): name for name in names}
        wanted = [name for key, name in asked.items() if self.with_token or key not in places]
        told = self.github.ask(wanted) if wanted else {}
        live = {key: one for key, one in told.items() if one.record is not None}
        gone = {key: one for key, one in told.items() if one.gone}  # also if it is not certain any more
        rest = [name for key, name in asked.items() if key not in live and key not in gone]
        found = _Rows(self.bundle)
        found.take_known(BundledRepositories(self.bundle).find(rest, now), told)
        for key, one in live.items():
            found.take_live(asked[key], one, now)
        for key, one in gone.items():
            found.errors[key] = _gone(asked[key], one.gone)
        return found.as_found()


@dataclass
class _Rows:
    bundle: Bundle
    frames: list[pd.DataFrame] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    source: dict[str, Source] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, Error] = field(default_factory=dict)

    def take_known(self, known: LookupResult, told: Mapping[str, GithubReply]) -> None:
        """Take what travels with the bundle; where GitHub was away, that is a remark or the reason."""
        self.frames.append(known.frame)
        self.rows |= known.rows
        self.source |= known.source
        for key in known.rows:
            record = known.frame.iloc[known.rows[key]]
            away = told[key].away if key in told else ""
            day = "" if pd.isna(record["fetched_at"]) else f" of {record['fetched_at'].date()}"
            self.remarks[key] = [
                *_remarks({str(name): value for name, value in record.items()}),
                *([f"{away}: these are the figures{day}"] if away else []),
            ]
        for key, error in known.errors.items():
            away = told[key].away if key in told else ""
            self.errors[key] = {"message": f"{error['message']}; {away}", "hint": TYPE} if away else error

    def take_live(self, name: str, told: GithubReply, now: datetime) -> None:
        """Take what GitHub told, over what was known of the same repository."""
        key, record = name.lower(), dict(told.record or {})
        remarks = _remarks(record)
        if str(record["full_name"]).lower() != key:
            remarks.insert(0, f"was renamed: you asked for {name}")
        if not told.whole:
            older = self._known(str(record["full_name"]).lower(), key)
            day = older.get("fetched_at")
            record = {**older, **{field: value for field, value in record.items() if value is not None}}
            if day is not None:
                remarks.append(f"counts that GitHub did not tell at once are of {day.date()}")
        if told.away:
            remarks.append(f"{told.away}: these are the figures of {str(record.get('fetched_at'))[:10]}")
        good, bad = _judged(record, now)
        if bad:
            self.errors[key] = {"message": f"{name}: GitHub's figures cannot be read: {bad[0][1]}", "hint": TYPE}
            return
        self.rows[key] = sum(map(len, self.frames))
        self.frames.append(good)
        self.source[key], self.remarks[key] = "github", remarks

    def _known(self, *keys: str) -> dict[str, Any]:
        place = next((self.bundle.places[key] for key in keys if key in self.bundle.places), None)
        if place is None:
            return {}
        row = self.bundle.known.iloc[place]
        return {str(name): value for name, value in row.items() if not _is_missing(value)}

    def as_found(self) -> LookupResult:
        """Return all as one frame."""
        frames = [frame for frame in self.frames if len(frame)]
        frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else (frames or self.frames)[0]
        return LookupResult(frame, self.rows, self.source, self.remarks, self.errors)


def _remarks(record: Mapping[str, Any]) -> list[str]:
    """Notify what a visitor may not expect of a repository."""
    said = {
        "is_fork": "is a fork",
        "is_archived": "is archived",
        "is_disabled": "is disabled",
        "is_template": "is a template",
    }
    found = [words for name, words in said.items() if _number(record.get(name)) == 1]
    is_empty = _number(record.get("is_empty"))
    if (
        is_empty == 1
        or _number(record.get("commits")) == 0
        or (is_empty is None and _number(record.get("size_kb")) == 0)
    ):
        found.append("is empty")
    return found


def _judged(record: Mapping[str, Any], now: datetime) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
    """Check GitHub's figures and derive what follows from them, as ``fetch`` does."""
    frame = pd.DataFrame([record], dtype="object")
    if "has_homepage" in frame.columns:
        frame["has_homepage"] = derive.detect_homepages(frame["has_homepage"], frame["full_name"])
    good, bad = validate_columns(frame, _moment(record, now), need=("full_name", "stars"))
    return schema.conform(derive.derive_fields(good)), list(bad)


def _moment(record: Mapping[str, Any], now: datetime) -> datetime:
    """Return the time of the answer where it is later than that of the question: GitHub's clock dates its own figures."""
    try:
        return max(now, datetime.fromisoformat(str(record.get("fetched_at"))))
    except (TypeError, ValueError):
        return now


def _gone(name: str, why: str) -> Error:
    if any(word in why.lower() for word in BLOCKED):
        return {"message": f"{name}: GitHub gives no access to it: {why}", "hint": TYPE}
    message = f"{name}: GitHub has no public repository of this name: it was deleted or renamed, or is private"
    return {"message": message, "hint": f"look at its spelling, or {TYPE}"}


def _number(value: Any) -> float | None:
    try:
        return None if _is_missing(value) else float(value)
    except (TypeError, ValueError):
        return None


def _is_missing(value: Any) -> bool:
    return value is None or (
        not isinstance(value, (list, tuple)) and bool(pd.api.types.is_scalar(value) and pd.isna(value))
    )

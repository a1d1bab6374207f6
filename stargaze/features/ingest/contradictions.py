"""Values of one repository that contradict each other: what is entered must be possible."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pandas as pd

from stargaze.features.ingest.validate import GITHUB_START

PARTS = (
    (("issues", "pull_requests"), ("open_issues", "closed_issues")),
    (("pull_requests",), ("open_pull_requests", "merged_pull_requests")),
    (("commits",), ("recent_commits",)),
    (("releases",), ("prereleases",)),
)
"""Totals and their parts. GitHub's REST API counts open pull requests as open issues."""
FIRST_COMMIT = datetime(1970, 1, 1, tzinfo=UTC)
"""The earliest date that git records; histories may be older than GitHub."""
EVENTS = ("pushed_at", "updated_at", "first_commit_at", "first_release_at", "latest_release_at", "owner_created_at")
DAY = pd.Timedelta(days=1)
NO_TIME = pd.Timedelta(0)
EARLY_PUSH = "was pushed before its creation, as repositories are that were imported or moved"
"""Two of a thousand repositories of the sample: this is unusual, but no contradiction."""


@dataclass(frozen=True)
class Contradiction:
    """What is wrong with the first such row, and the fields that disagree."""

    row: int
    fields: tuple[str, ...]
    problem: str


@dataclass(frozen=True)
class _Check:
    """Fields that can disagree, what is said of them, and the function that says in which rows they do.

    One changed field suffices for those with ``checks_one``; the others follow a change of one of their fields.
    """

    fields: tuple[str, ...]
    problem: str
    find: Callable[[pd.DataFrame, pd.Timedelta], pd.Series]
    checks_one: bool = False


def find_contradictions(frame: pd.DataFrame, changed: Collection[str] | None = None) -> Iterator[Contradiction]:
    """Yield the contradictions in rows with all columns of the schema; what is missing contradicts nothing.

    With ``changed``, only those that a change of these fields can cause, and days are those of UTC; otherwise a day may be of a
    time zone ahead of it.
    """
    tolerance = DAY if changed is None else NO_TIME
    for check in CHECKS:
        if changed is not None and len(set(changed).intersection(check.fields)) < 2 - check.checks_one:
            continue
        wrong = check.find(frame, tolerance)
        if wrong.any():
            yield Contradiction(int(wrong.to_numpy().argmax()), check.fields, check.problem)


def describe_unusual(record: Mapping[str, Any]) -> list[str]:
    """Return notes about values of a repository that are possible, but unusual; a fork has the pushes of its original."""
    pushed, created = record["pushed_at"], record["created_at"]
    is_early = None not in (pushed, created) and pushed < created - DAY and record["is_fork"] != 1
    return [EARLY_PUSH] if is_early else []


def _checks_of_dates() -> Iterator[_Check]:
    fields = ("created_at", "fetched_at")
    problem = "created_at must not be after the date of the values"
    yield _Check(fields, problem, lambda frame, _: _is_later(*fields, frame, NO_TIME), checks_one=True)
    for name in EVENTS:
        begin = GITHUB_START if name != "first_commit_at" else FIRST_COMMIT
        yield _Check((name,), f"{name} must not be before {begin:%Y-%m-%d}", partial(_is_before, name, begin))
        problem = f"{name} must not be after the date of the values"
        yield _Check((name, "fetched_at"), problem, partial(_is_later, name, "fetched_at"), checks_one=True)
    first, latest = "first_release_at", "latest_release_at"
    yield _Check((first, latest), f"{first} must not be after {latest}", partial(_is_later, first, latest))


def _checks_of_counts() -> Iterator[_Check]:
    for totals, parts in PARTS:
        names = f"{totals[0]} must not be less than "
        for part in parts:
            yield _Check((totals[0], part), names + part, partial(_is_less, totals, (part,)))
        problem = f"{names}{' and '.join(parts)} together"
        yield _Check((totals[0], *parts), problem, partial(_is_less, totals, parts))
    for name in ("first_release_at", "latest_release_at"):
        problem = f"releases must not be 0 if there is a {name}"
        yield _Check(("releases", name), problem, partial(_has_no_release_but, name))


def _is_before(name: str, begin: datetime, frame: pd.DataFrame, _tolerance: pd.Timedelta) -> pd.Series:
    return frame[name] < pd.Timestamp(begin)


def _is_later(name: str, other: str, frame: pd.DataFrame, tolerance: pd.Timedelta) -> pd.Series:
    later: pd.Series = frame[name].dt.normalize() > frame[other].dt.normalize() + tolerance
    return later


def _is_less(totals: Sequence[str], parts: Sequence[str], frame: pd.DataFrame, _tolerance: pd.Timedelta) -> pd.Series:
    """Return where a total is less than its parts; other totals may contain some of them."""
    return frame[totals[0]] + frame[list(totals[1:])].sum(axis=1) < frame[list(parts)].sum(axis=1)


def _has_no_release_but(name: str, frame: pd.DataFrame, _tolerance: pd.Timedelta) -> pd.Series:
    return (frame["releases"] == 0) & frame[name].notna()


CHECKS = (*_checks_of_dates(), *_checks_of_counts())

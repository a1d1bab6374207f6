"""Values of one repository that contradict each other: what is entered must be possible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

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
EVENTS = (
    "pushed_at",
    "updated_at",
    "first_commit_at",
    "first_release_at",
    "latest_release_at",
    "owner_created_at",
)
DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Contradiction:
    """What is wrong with the first such row, and the fields that disagree."""

    row: int
    fields: tuple[str, ...]
    problem: str


def find_contradictions(frame: pd.DataFrame) -> Iterator[Contradiction]:
    """Yield the contradictions in rows with all columns of the schema; what is missing contradicts nothing."""
    for wrong, fields, problem in (*_checks_of_dates(frame), *_checks_of_counts(frame)):
        if wrong.any():
            yield Contradiction(int(wrong.to_numpy().argmax()), fields, problem)


def _checks_of_dates(frame: pd.DataFrame) -> Iterator[tuple[pd.Series, tuple[str, ...], str]]:
    created, pushed, fetched = (frame[name] for name in ("created_at", "pushed_at", "fetched_at"))
    yield fetched < created, ("created_at", "fetched_at"), "created_at must not be after the date of the values"
    early = (pushed < created - DAY) & (frame["is_fork"] != 1)  # a fork has the pushes of its original
    yield early, ("pushed_at", "created_at"), "pushed_at must not be before created_at"
    for name in EVENTS:
        begin = GITHUB_START if name != "first_commit_at" else FIRST_COMMIT
        yield frame[name] < pd.Timestamp(begin), (name,), f"{name} must not be before {begin:%Y-%m-%d}"
        yield frame[name] > fetched + DAY, (name, "fetched_at"), f"{name} must not be after the date of the values"
    wrong = frame["first_release_at"] > frame["latest_release_at"] + DAY
    fields = ("first_release_at", "latest_release_at")
    yield wrong, fields, "first_release_at must not be after latest_release_at"


def _checks_of_counts(frame: pd.DataFrame) -> Iterator[tuple[pd.Series, tuple[str, ...], str]]:
    for totals, parts in PARTS:
        total = frame[totals[0]] + frame[list(totals[1:])].sum(axis=1)
        names, text = f"{totals[0]} must not be less than ", " and ".join
        for part in parts:
            yield frame[part] > total, (totals[0], part), names + part
        yield frame[list(parts)].sum(axis=1) > total, (totals[0], *parts), f"{names}{text(parts)} together"
    for name in ("first_release_at", "latest_release_at"):
        wrong = (frame["releases"] == 0) & frame[name].notna()
        yield wrong, ("releases", name), f"releases must not be 0 if there is a {name}"

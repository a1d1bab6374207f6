"""Fields that follow from others: what changes with a changed field, so that a repository stays possible."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from stargaze.features.schema import DESCRIPTION_FACTS

TOTALS = {
    "issues": ("open_issues", "closed_issues"),
    "pull_requests": ("open_pull_requests", "merged_pull_requests"),
    "commits": ("recent_commits",),
    "releases": ("prereleases",),
}
"""Counts and their parts."""
RELEASE_DATES = ("first_release_at", "latest_release_at")


def recompute_linked_fields(before: pd.DataFrame, after: pd.DataFrame, changed: Collection[str]) -> pd.DataFrame:
    """Return ``after``, in which the columns ``changed`` differ from ``before``, with the fields that follow from them.

    Counts of words and topics follow their texts. A total grows with its parts and limits them. Dates and number of
    releases agree. A changed column itself is never changed.
    """
    columns: dict[str, pd.Series] = {}
    for total, parts in TOTALS.items():
        columns |= _recompute_total(before, after, total, parts, changed)
    if not {"releases", *RELEASE_DATES}.isdisjoint(changed):
        columns |= _recompute_releases(before, after, changed)
    if "description" in changed:
        columns["description_length"] = after["description"].str.len()
        no_row = np.zeros(len(after), dtype=bool)
        columns |= {name: after[name].where(no_row) for name in DESCRIPTION_FACTS}  # those of the text before
    if "topics" in changed:
        counts = [len(topics) if isinstance(topics, (list, np.ndarray)) else np.nan for topics in after["topics"]]
        columns["topic_count"] = pd.Series(counts, index=after.index)
    others = {name: column for name, column in columns.items() if name not in changed}
    return after.assign(**{name: column.astype(after[name].dtype) for name, column in others.items()})


def _recompute_total(
    before: pd.DataFrame, after: pd.DataFrame, total: str, parts: Collection[str], changed: Collection[str]
) -> dict[str, pd.Series]:
    """Return a total that is changed by its parts' differences, and parts that are at most the total."""
    own = [part for part in parts if part in changed]
    if total in changed:
        return {part: after[part].clip(upper=after[total]) for part in parts}
    if not own:
        return {}
    difference = sum((after[part] - before[part]).fillna(0.0) for part in own)
    least = after[list(parts)].sum(axis=1) if len(parts) > 1 else after[own[0]]
    if total in ("commits", "releases"):  # a part of recent ones: the total needs not change with it
        return {total: after[total].where(after[total].isna(), np.maximum(after[total], least))}
    return {total: after[total].where(after[total].isna(), np.maximum(after[total] + difference, least))}


def _recompute_releases(before: pd.DataFrame, after: pd.DataFrame, changed: Collection[str]) -> dict[str, pd.Series]:
    """Return number and dates of releases that agree: no date without a release, and a release with a date."""
    first, latest, count = after["first_release_at"], after["latest_release_at"], after["releases"]
    if "releases" in changed:
        none = count == 0
        return {"first_release_at": first.mask(none, pd.NaT), "latest_release_at": latest.mask(none, pd.NaT)}
    name, other = ("latest_release_at", first) if "latest_release_at" in changed else ("first_release_at", latest)
    date, had_none = after[name], before["releases"] == 0
    other = other.mask(date.isna(), pd.NaT).fillna(date.where(had_none, pd.NaT))
    is_later = other > date if name == "latest_release_at" else other < date
    return {
        "releases": count.mask(count.notna() & date.isna(), 0.0).mask(had_none & date.notna(), 1.0),
        ("first_release_at" if name == "latest_release_at" else "latest_release_at"): other.mask(is_later, date),
    }

"""Kinds of computed features: durations, ratios, daily rates and counts of a pattern, as one row each in ``extract.py``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.features.registry import Column, Compute, Policy, Registry

COMPUTED = Registry()
"""The features that are computed from a record alone."""
AGE = ("created_at", "fetched_at")
"""The fields that the age of a repository is computed from."""
ISSUES = ("issues", "open_issues", "closed_issues")
"""The fields that the number of issues is computed from."""
DAY = 86_400
"""Seconds of a day."""
DAMPING_DAYS = 30.0
"""The number that is added to the age in daily rates, so that rates of new repositories stay moderate [days]."""


def days_between(earlier: pd.Series, later: pd.Series) -> np.ndarray:
    """Return later - earlier [days], NaN where a date is missing; shape (n,).

    These are whole days where one date has no time of day (midnight): the time of the other one would be all of the fraction, and
    with dates of the collection that is the minute in which the record was collected.

    Examples
    --------
    >>> created = pd.to_datetime(pd.Series(["2020-01-02 00:00", "2020-01-02 06:00"]), format="mixed")
    >>> fetched = pd.to_datetime(pd.Series(["2020-01-03 18:00", "2020-01-03 18:00"]), format="mixed")
    >>> days_between(created, fetched).tolist()
    [1.0, 1.5]
    """
    start, end = earlier.to_numpy("datetime64[s]"), later.to_numpy("datetime64[s]")
    first, last = start.astype("int64"), end.astype("int64")
    has_time = (first % DAY != 0) & (last % DAY != 0)
    days = np.where(has_time, (last - first) / DAY, last // DAY - first // DAY)
    return np.where(np.isnat(start) | np.isnat(end), np.nan, days)


def is_day(date: pd.Series) -> np.ndarray:
    """Return which dates have no time of day; shape (n,).

    >>> is_day(pd.to_datetime(pd.Series(["2020-01-02", None, "2020-01-03"]))).tolist()
    [True, False, True]
    """
    values = date.to_numpy("datetime64[s]")
    return np.asarray((values.astype("int64") % DAY == 0) & ~np.isnat(values))


def floor_to_day(date: pd.Series, where: np.ndarray) -> pd.Series:
    """Return dates without their time of day in some rows."""
    values = date.to_numpy("datetime64[s]")
    return pd.Series(np.where(where, values.astype("datetime64[D]").astype("datetime64[s]"), values), index=date.index)


def divide(count: Column, by: Column, offset: float = 1.0) -> np.ndarray:
    """Return count / (by + offset); the offset bounds the ratios of new and small repositories."""
    ratio: np.ndarray = np.asarray(count) / (np.maximum(np.asarray(by), 0.0) + offset)
    return ratio


def first_known(first: Column, second: Column) -> np.ndarray:
    """Return the first value of each row, or the second where it is missing."""
    known = np.asarray(first)
    return np.where(np.isnan(known), np.asarray(second), known)


def total_count(r: pd.DataFrame, name: str) -> Column:
    """Return a count; issues are the stated total, else open and closed ones."""
    return (
        first_known(r[name], np.asarray(r["open_issues"]) + np.asarray(r["closed_issues"]))
        if name == "issues"
        else r[name]
    )


def count_fields(name: str) -> tuple[str, ...]:
    """Return the fields that a count is computed from."""
    return ISSUES if name == "issues" else (name,)


@dataclass(frozen=True)
class FeaturePolicy:
    """Adds features of common kinds to one policy."""

    policy: Policy

    def add(self, compute: Compute, name: str, unit: str, meaning: str, *source: str, group: str = "") -> None:
        """Add a feature that a function computes."""
        compute.__name__ = name
        COMPUTED.feature(self.policy, unit, meaning, *source, group=group)(compute)

    def duration(self, name: str, meaning: str, start: str, end: str) -> None:
        """Add the time between two dates."""
        self.add(lambda r: days_between(r[start], r[end]), name, "days", meaning, start, end)

    def ratio(self, name: str, unit: str, meaning: str, count: str, by: str) -> None:
        """Add the ratio of two counts."""
        source = (*count_fields(count), *count_fields(by))
        self.add(lambda r: divide(total_count(r, count), total_count(r, by)), name, unit, meaning, *source)

    def daily_rate(self, name: str, meaning: str, count: str) -> None:
        """Add a count per day of the repository's age."""
        self.add(
            lambda r: divide(r[count], days_between(r[AGE[0]], r[AGE[1]]), DAMPING_DAYS),
            name,
            "1/day",
            meaning,
            count,
            *AGE,
        )

    def pattern_count(self, name: str, unit: str, meaning: str, field: str, pattern: str) -> None:
        """Add the number of matches of a pattern in a text."""
        self.add(lambda r: r[field].str.count(pattern), name, unit, meaning, field)

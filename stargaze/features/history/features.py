"""Windows of weekly star counts up to an origin, never a later one, and their features for growth models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.features.history.clean import MAX_GAP
from stargaze.features.history.read import EPOCH

_MAX_DAYS = 10_000_000
"""A number larger than any day, so that one key combines series and day."""
LAGS = (1, 2, 4, 8, 13, 26, 52)
"""Periods over which growth is measured, as far as the window goes [weeks]."""
SHARE_WEEKS = (1, 4, 13)
"""Last weeks whose share of the window's growth is a feature."""
LANGUAGE = "language"
"""The only categorical feature."""


@dataclass(frozen=True)
class StarCounts:
    """A history as sorted arrays of n counts, in which a series is interpolated at any day.

    ``series``, ``day`` [days since 1970] and ``key`` have the shape (n,), ``frame`` has n rows.
    """

    frame: pd.DataFrame
    series: np.ndarray
    day: np.ndarray
    key: np.ndarray

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> StarCounts:
        """Take the frame of a :class:`stargaze.features.history.clean.CleanHistory`."""
        ordered = frame.sort_values(["series", "date"], kind="stable", ignore_index=True)
        series = ordered["series"].to_numpy(dtype="int64")
        day = ((ordered["date"] - EPOCH) / pd.Timedelta(days=1)).to_numpy(dtype="float64")
        return cls(ordered, series, day, series * _MAX_DAYS + day)

    def column(self, name: str) -> np.ndarray:
        """Return one column as numbers; shape (n,)."""
        return self.frame[name].to_numpy(dtype="float64")

    def interpolate(self, column: str, series: np.ndarray, day: np.ndarray, max_gap: float) -> np.ndarray:
        """Interpolate a column linearly between the counts before and after given days; NaN outside of the series.

        ``series`` and ``day`` [days since 1970] have the shape (m,), as the result. Gaps over ``max_gap`` [days] are NaN.
        """
        values, key = self.column(column), series * _MAX_DAYS + day
        before = np.searchsorted(self.key, key, side="right") - 1
        known = before >= 0
        before = np.maximum(before, 0)
        after = np.minimum(before + 1, len(self.key) - 1)
        exact = self.key[before] == key
        gap = self.day[after] - self.day[before]
        known &= self.series[before] == series
        known &= exact | ((self.series[after] == series) & (gap > 0) & (gap <= max_gap))
        weight = np.where(exact, 0.0, (day - self.day[before]) / np.where(gap > 0, gap, 1.0))
        value = np.where(exact, values[before], values[before] * (1 - weight) + values[after] * weight)
        return np.where(known, value, np.nan)


@dataclass(frozen=True)
class Windows:
    """The weeks before each of n origins.

    ``rows`` (n,) are the rows of the origins in ``counts``; ``stars`` (n, weeks + 1) are the weekly counts up to the origin. An
    origin is a day on which the stars were counted, so no interpolation uses a later count.
    """

    counts: StarCounts
    rows: np.ndarray
    stars: np.ndarray

    @property
    def series(self) -> np.ndarray:
        """The series of each origin; shape (n,)."""
        return np.asarray(self.counts.series[self.rows])

    @property
    def names(self) -> np.ndarray:
        """The repository of each origin; shape (n,)."""
        return np.asarray(self.counts.frame["full_name"].to_numpy(dtype="object")[self.rows])

    @property
    def day(self) -> np.ndarray:
        """The day of each origin [days since 1970]; shape (n,)."""
        return np.asarray(self.counts.day[self.rows])

    @property
    def weeks(self) -> int:
        """Number of weeks before an origin."""
        return int(self.stars.shape[1]) - 1

    @property
    def current_stars(self) -> np.ndarray:
        """Stars at the origin; shape (n,)."""
        return np.asarray(self.stars[:, -1])

    def value_before(self, column: str, weeks: int) -> np.ndarray:
        """Return a column some weeks before the origin; shape (n,), NaN where it is unknown."""
        return self.counts.interpolate(column, self.series, self.day - 7 * weeks, MAX_GAP)

    def stars_after(self, days: int, max_gap: float) -> np.ndarray:
        """Return the stars some days after the origin; shape (n,), NaN where they are unknown."""
        return self.counts.interpolate("stars", self.series, self.day + days, max_gap)

    def take(self, selected: np.ndarray) -> Windows:
        """Return some of the origins, by index or mask."""
        return Windows(self.counts, self.rows[selected], self.stars[selected])


def build_windows(counts: StarCounts, weeks: int, rows: np.ndarray | None = None) -> Windows:
    """Return the windows of the given origins (by default all counts) whose series has that many weeks before them."""
    origins = np.arange(len(counts.key)) if rows is None else rows
    series, day = counts.series[origins], counts.day[origins]
    origins = origins[~np.isnan(counts.interpolate("stars", series, day - 7 * weeks, MAX_GAP))]
    if not len(origins):
        return Windows(counts, origins, np.empty((0, weeks + 1)))
    series, day = counts.series[origins], counts.day[origins]
    stars = [counts.interpolate("stars", series, day - 7 * week, MAX_GAP) for week in range(weeks, -1, -1)]
    return Windows(counts, origins, np.column_stack(stars))


def last_row_per_period(counts: StarCounts, days: int) -> np.ndarray:
    """Return the row of each series' last count in every period of so many days; shape (n_origins,)."""
    period = np.floor(counts.day / days).astype("int64")
    changes = (np.diff(counts.series) != 0) | (np.diff(period) != 0)
    return np.flatnonzero(np.append(changes, True))


def growth_features(origins: Windows, languages: Sequence[str]) -> pd.DataFrame:
    """Compute the features of each of n origins from what was known on that day; shape (n, n_features).

    Growth is in nat per week, counts are log1p, shares from 0 to 1; NaN where the history lacks a value. The code of a language
    is its position in ``languages``; others are missing.

    Examples
    --------
    >>> from stargaze.features.history.features import StarCounts, build_windows
    >>> days = pd.date_range("2024-01-01", periods=5, freq="7D", tz="UTC")
    >>> frame = pd.DataFrame({"series": 0, "date": days, "stars": [90.0, 92, 94, 96, 100], "forks": 1.0, "issues": np.nan})
    >>> frame = frame.assign(language="Go", last_commit=days[0])
    >>> features = growth_features(build_windows(StarCounts.from_frame(frame), 4), ["C", "Go"])
    >>> features[["share_1", "language", "age"]].round(2).to_numpy().tolist()
    [[0.4, 1.0, 28.0]]
    """
    return pd.DataFrame(_speed(origins) | _shape(origins) | _other_counts(origins) | _context(origins, languages))


def linear_trend(values: np.ndarray) -> np.ndarray:
    """Return the slope per step of a least-squares line through each row of an array (n, n_steps); shape (n,).

    Examples
    --------
    >>> linear_trend(np.array([[1.0, 3.0, 5.0]])).tolist()
    [2.0]
    """
    steps = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    return np.asarray(values @ (steps / (steps @ steps)))


def _speed(origins: Windows) -> dict[str, np.ndarray]:
    """Return growth and stars per week over several lags, and trends of the counts, their logarithm and the growth."""
    stars, logs = origins.stars, np.log1p(origins.stars)
    columns = {"level": logs[:, -1]}
    for lag in (lag for lag in LAGS if lag <= origins.weeks):
        gained = (stars[:, -1] - stars[:, -1 - lag]) / lag
        columns[f"growth_{lag}"] = (logs[:, -1] - logs[:, -1 - lag]) / lag
        columns[f"gained_{lag}"] = np.sign(gained) * np.log1p(np.abs(gained))
    half = origins.weeks // 2
    columns["growth_early"] = (logs[:, half] - logs[:, 0]) / max(half, 1)
    slope = linear_trend(stars)
    columns["trend"] = np.sign(slope) * np.log1p(np.abs(slope))
    columns["relative_trend"] = slope / np.maximum(stars[:, -1], 1.0)
    columns["log_trend"] = linear_trend(logs)
    columns["acceleration"] = linear_trend(np.log1p(np.maximum(np.diff(stars), 0.0)))
    return columns


def _shape(origins: Windows) -> dict[str, np.ndarray]:
    """Return how even the growth is: median and largest week, spread, and shares of the last weeks."""
    weekly = np.diff(origins.stars)
    total = np.maximum(origins.stars[:, -1] - origins.stars[:, 0], 1.0)
    columns = {
        "median_week": np.log1p(np.maximum(np.median(weekly, axis=1), 0.0)),
        "median_recent_week": np.log1p(np.maximum(np.median(weekly[:, -8:], axis=1), 0.0)),
        "largest_week": np.log1p(np.maximum(weekly.max(axis=1), 0.0)),
        "weeks_since_largest": (weekly.shape[1] - 1 - weekly.argmax(axis=1)).astype("float64"),
        "largest_share": weekly.max(axis=1) / total,
        "volatility": np.log1p(weekly.std(axis=1)) - np.log1p(np.abs(weekly.mean(axis=1))),
        "losing_weeks": (weekly < 0).mean(axis=1),
        "unchanged_weeks": (weekly == 0).mean(axis=1),
    }
    for weeks in (weeks for weeks in SHARE_WEEKS if weeks <= origins.weeks):
        columns[f"share_{weeks}"] = (origins.stars[:, -1] - origins.stars[:, -1 - weeks]) / total
    return columns


def _other_counts(origins: Windows) -> dict[str, np.ndarray]:
    """Return forks and issues, their ratio to the stars, their growth over a quarter, and the days without a commit."""
    rows, level = origins.rows, np.log1p(origins.current_stars)
    columns = {}
    for name in ("forks", "issues"):
        now = np.log1p(origins.counts.column(name)[rows])
        columns[name] = now
        columns[f"{name}_per_star"] = now - level
        columns[f"{name}_growth"] = now - np.log1p(origins.value_before(name, min(13, origins.weeks)))
    frame = origins.counts.frame
    idle = (frame["date"] - frame["last_commit"]).dt.total_seconds().to_numpy()[rows] / 86_400
    columns["idle"] = np.log1p(np.maximum(idle, 0.0))
    return columns


def _context(origins: Windows, languages: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the age in the data [days], the season, and the language's code."""
    counts, day = origins.counts, origins.day
    first = np.searchsorted(counts.series, origins.series, side="left")
    date = EPOCH + pd.to_timedelta(day, unit="D")
    angle = 2 * np.pi * date.day_of_year.to_numpy() / 365.25
    names = counts.frame[LANGUAGE].iloc[origins.rows]
    codes = names.map({name: float(code) for code, name in enumerate(languages)})
    return {
        "age": day - counts.day[first],
        "year_sine": np.sin(angle),
        "year_cosine": np.cos(angle),
        LANGUAGE: codes.to_numpy(dtype="float64"),
    }

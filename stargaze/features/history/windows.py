"""Windows: the weekly star counts up to an origin, and never a later one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.features.history.clean import MAX_GAP
from stargaze.features.history.read import EPOCH

_MAX_DAYS = 10_000_000
"""More days than any series has, so that one key combines series and day."""


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
        """Interpolate a column linearly between the counts before and after given days.

        Parameters
        ----------
        column : str
            "stars", "forks" or "issues".
        series, day : array, shape (m,)
            The series, and the day [days since 1970].
        max_gap : float
            Largest time between the two counts [days].

        Returns
        -------
        array, shape (m,)
            NaN outside of the series and in larger gaps.
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

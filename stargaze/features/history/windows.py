"""What lies before an origin: weeks of a series up to one of its counts, and never a day later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from stargaze.features.history.clean import MAX_GAP
from stargaze.features.history.read import EPOCH

_BEYOND = 10_000_000
"""More days than any series has, so that series and day make one key."""


@dataclass(frozen=True)
class StarCounts:
    """A history as sorted arrays, in which any series is looked up on any day; shapes (n_counts,)."""

    frame: pd.DataFrame
    series: np.ndarray
    day: np.ndarray
    """Days since 1970 [day]."""
    key: np.ndarray

    @classmethod
    def of(cls, frame: pd.DataFrame) -> StarCounts:
        """Take whole series, as :func:`stargaze.features.history.clean.clean_history` returns them."""
        ordered = frame.sort_values(["series", "date"], kind="stable", ignore_index=True)
        series = ordered["series"].to_numpy(dtype="int64")
        day = ((ordered["date"] - EPOCH) / pd.Timedelta(days=1)).to_numpy(dtype="float64")
        return cls(ordered, series, day, series * _BEYOND + day)

    def column(self, name: str) -> np.ndarray:
        """Return one column as numbers."""
        return self.frame[name].to_numpy(dtype="float64")

    def at(self, column: str, series: np.ndarray, day: np.ndarray, most_gap: float) -> np.ndarray:
        """Look up a column on given days, on the line between the counts before and after.

        Parameters
        ----------
        column : str
            "stars", "forks" or "issues".
        series, day : array, shape (n,)
            Of which series and on which day [days since 1970].
        most_gap : float
            Where the two counts lie further apart [day], nothing is known.

        Returns
        -------
        array, shape (n,)
            NaN where nothing is known.
        """
        values, wanted = self.column(column), series * _BEYOND + day
        before = np.searchsorted(self.key, wanted, side="right") - 1
        known = before >= 0
        before = np.maximum(before, 0)
        after = np.minimum(before + 1, len(self.key) - 1)
        exact = self.key[before] == wanted
        apart = self.day[after] - self.day[before]
        known &= self.series[before] == series
        known &= exact | ((self.series[after] == series) & (apart > 0) & (apart <= most_gap))
        weight = np.where(exact, 0.0, (day - self.day[before]) / np.where(apart > 0, apart, 1.0))
        value = np.where(exact, values[before], values[before] * (1 - weight) + values[after] * weight)
        return np.where(known, value, np.nan)


@dataclass(frozen=True)
class Windows:
    """Origins and the weeks that lead to them.

    ``rows`` (n,) are the origins' places in ``counts``; ``stars`` (n, weeks + 1) holds the counts from so many weeks before
    the origin up to the origin itself. An origin is a day on which the stars were counted, so a line between two counts
    never reaches past it.
    """

    counts: StarCounts
    rows: np.ndarray
    stars: np.ndarray

    @property
    def series(self) -> np.ndarray:
        """Of which series each is; shape (n,)."""
        return np.asarray(self.counts.series[self.rows])

    @property
    def names(self) -> np.ndarray:
        """Of which repository each is; shape (n,)."""
        return np.asarray(self.counts.frame["full_name"].to_numpy(dtype="object")[self.rows])

    @property
    def day(self) -> np.ndarray:
        """When each origin is [days since 1970]; shape (n,)."""
        return np.asarray(self.counts.day[self.rows])

    @property
    def weeks(self) -> int:
        """How many weeks lead to an origin."""
        return int(self.stars.shape[1]) - 1

    @property
    def now(self) -> np.ndarray:
        """Stars at the origin; shape (n,)."""
        return np.asarray(self.stars[:, -1])

    def before(self, column: str, weeks: int) -> np.ndarray:
        """Look up a column some weeks before the origin; NaN where it was not counted then; shape (n,)."""
        return self.counts.at(column, self.series, self.day - 7 * weeks, MAX_GAP)

    def after(self, days: int, most_gap: float) -> np.ndarray:
        """Look up the stars some days after the origin; NaN where nobody counted about then; shape (n,)."""
        return self.counts.at("stars", self.series, self.day + days, most_gap)

    def part(self, chosen: np.ndarray) -> Windows:
        """Keep some of the origins."""
        return Windows(self.counts, self.rows[chosen], self.stars[chosen])


def build_windows(counts: StarCounts, weeks: int, rows: np.ndarray | None = None) -> Windows:
    """Take the given origins, or all counts, as far as so many weeks lead to them.

    Parameters
    ----------
    counts : StarCounts
        Whole series.
    weeks : int
        How long a history must be [week].
    rows : array of int, optional
        Places of the origins in ``counts``.

    Returns
    -------
    Windows
        Origins whose series is too short are not among them.
    """
    origins = np.arange(len(counts.key)) if rows is None else rows
    series, day = counts.series[origins], counts.day[origins]
    long_enough = counts.at("stars", series, day - 7 * weeks, MAX_GAP)
    origins = origins[~np.isnan(long_enough)]
    if not len(origins):
        return Windows(counts, origins, np.empty((0, weeks + 1)))
    series, day = counts.series[origins], counts.day[origins]
    stars = [counts.at("stars", series, day - 7 * week, MAX_GAP) for week in range(weeks, -1, -1)]
    return Windows(counts, origins, np.column_stack(stars))


def last_row_per_period(counts: StarCounts, days: int) -> np.ndarray:
    """Return the place of each series' last count in every stretch of so many days: origins that do not crowd."""
    stretch = np.floor(counts.day / days).astype("int64")
    changes = (np.diff(counts.series) != 0) | (np.diff(stretch) != 0)
    return np.flatnonzero(np.append(changes, True))

"""Features of a star history up to an origin: speed, shape, other counts, age, season and language."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stargaze.features.history.read import EPOCH
from stargaze.features.history.windows import Windows

LAGS = (1, 2, 4, 8, 13, 26, 52)
"""Periods over which growth is measured, as far as the window goes [weeks]."""
SHARE_WEEKS = (1, 4, 13)
"""Last weeks whose share of the window's growth is a feature."""
LANGUAGE = "language"
"""The only categorical feature."""


def growth_features(origins: Windows, languages: Sequence[str]) -> pd.DataFrame:
    """Compute the features of each origin from what was known on that day.

    Parameters
    ----------
    origins : Windows
        The n origins.
    languages : sequence of str
        Languages with a code, which is the position; others are missing.

    Returns
    -------
    DataFrame of float, shape (n, n_features)
        Growth in nat per week, counts as log1p, shares from 0 to 1; NaN where the history lacks a value.

    Examples
    --------
    >>> from stargaze.features.history.windows import StarCounts, build_windows
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

"""Features of a repository's history up to an origin: how fast it grows, how evenly, and what kind of repository it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from stargaze.features.history.read import EPOCH
from stargaze.features.history.windows import Windows

LAGS = (1, 2, 4, 8, 13, 26, 52)
"""Weeks back over which growth is measured, as far as the history goes."""
SHARES = (1, 4, 13)
"""Weeks whose part in the whole window's growth is told."""
LANGUAGE = "language"
"""The one category."""


def growth_features(origins: Windows, languages: Sequence[str]) -> pd.DataFrame:
    """Describe each origin by what was known on that day.

    Parameters
    ----------
    origins : Windows
        Where to stand; shape (n,) origins of ``weeks`` weeks each.
    languages : sequence of str
        Those that have a code of their own; every other one is missing.

    Returns
    -------
    DataFrame of float, shape (n, n_features)
        Growth is in nat a week, counts as log1p, parts as shares; NaN where the table does not tell.

    Examples
    --------
    >>> from stargaze.features.history.windows import StarCounts, build_windows
    >>> days = pd.date_range("2024-01-01", periods=5, freq="7D", tz="UTC")
    >>> frame = pd.DataFrame({"series": 0, "date": days, "stars": [90.0, 92, 94, 96, 100], "forks": 1.0, "issues": np.nan})
    >>> frame = frame.assign(language="Go", last_commit=days[0])
    >>> found = growth_features(build_windows(StarCounts.of(frame), 4), ["C", "Go"])
    >>> found[["share_1", "language", "age"]].round(2).to_numpy().tolist()
    [[0.4, 1.0, 28.0]]
    """
    columns = _speed(origins) | _shape(origins) | _company(origins) | _place(origins, languages)
    return pd.DataFrame(columns)


def linear_trend(values: np.ndarray) -> np.ndarray:
    """Return the slope of a least-squares line through the columns, a step; shape (n,)."""
    steps = np.arange(values.shape[1]) - (values.shape[1] - 1) / 2
    slope: np.ndarray = values @ (steps / (steps @ steps))
    return slope


def _speed(origins: Windows) -> dict[str, np.ndarray]:
    """How fast: growth and stars a week over several lags, and the trend of counts, of their logs and of the growth."""
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
    """How evenly: typical and largest week, when that was, spread, and what part of the growth is recent."""
    weekly = np.diff(origins.stars)
    recent = weekly[:, -8:]
    whole = np.maximum(origins.stars[:, -1] - origins.stars[:, 0], 1.0)
    columns = {
        "median_week": np.log1p(np.maximum(np.median(weekly, axis=1), 0.0)),
        "median_recent_week": np.log1p(np.maximum(np.median(recent, axis=1), 0.0)),
        "largest_week": np.log1p(np.maximum(weekly.max(axis=1), 0.0)),
        "weeks_since_largest": (weekly.shape[1] - 1 - weekly.argmax(axis=1)).astype("float64"),
        "largest_share": weekly.max(axis=1) / whole,
        "volatility": np.log1p(weekly.std(axis=1)) - np.log1p(np.abs(weekly.mean(axis=1))),
        "losing_weeks": (weekly < 0).mean(axis=1),
        "still_weeks": (weekly == 0).mean(axis=1),
    }
    for weeks in (weeks for weeks in SHARES if weeks <= origins.weeks):
        columns[f"share_{weeks}"] = (origins.stars[:, -1] - origins.stars[:, -1 - weeks]) / whole
    return columns


def _company(origins: Windows) -> dict[str, np.ndarray]:
    """Return what goes with it: forks and issues beside the stars, their growth over a quarter, days without a commit."""
    rows, level = origins.rows, np.log1p(origins.now)
    columns = {}
    for name in ("forks", "issues"):
        now = np.log1p(origins.counts.column(name)[rows])
        columns[name] = now
        columns[f"{name}_per_star"] = now - level
        columns[f"{name}_growth"] = now - np.log1p(origins.before(name, min(13, origins.weeks)))
    frame = origins.counts.frame
    idle = (frame["date"] - frame["last_commit"]).dt.total_seconds().to_numpy()[rows] / 86_400
    columns["idle"] = np.log1p(np.maximum(idle, 0.0))
    return columns


def _place(origins: Windows, languages: Sequence[str]) -> dict[str, np.ndarray]:
    """Where in time and among repositories: age in the data [day], time of the year, language."""
    counts, day = origins.counts, origins.day
    begins = np.searchsorted(counts.series, origins.series, side="left")
    date = EPOCH + pd.to_timedelta(day, unit="D")
    turn = 2 * np.pi * date.day_of_year.to_numpy() / 365.25
    names = counts.frame[LANGUAGE].iloc[origins.rows]
    codes = names.map({name: float(code) for code, name in enumerate(languages)})
    return {
        "age": day - counts.day[begins],
        "year_sine": np.sin(turn),
        "year_cosine": np.cos(turn),
        LANGUAGE: codes.to_numpy(dtype="float64"),
    }

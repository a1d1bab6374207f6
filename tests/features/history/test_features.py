"""Features at an origin do not depend on later counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargaze.features.history.clean import clean_history
from stargaze.features.history.features import (
    StarCounts,
    build_windows,
    growth_features,
    last_row_per_period,
    linear_trend,
)
from stargaze.features.history.read import tidy_history
from tests.histories import histories, one_history

pytestmark = pytest.mark.thorough

LANGUAGES = ["C", "Go"]


def counts(history: pd.DataFrame) -> StarCounts:
    return StarCounts.from_frame(clean_history(history).frame)


def features_at(history: pd.DataFrame, name: str, index: int) -> pd.DataFrame:
    """Return the features of one repository at one of its counts."""
    known = counts(history)
    row = int(np.flatnonzero(known.frame["full_name"] == name)[index])
    return growth_features(build_windows(known, 26, np.array([row])), LANGUAGES)


def changed_after(history: pd.DataFrame, name: str, index: int, seed: int) -> pd.DataFrame:
    """Change every value of a repository after one of its counts without splitting its series."""
    random, later = np.random.default_rng(seed), history.copy()
    rows = np.flatnonzero(history["full_name"] == name)[index + 1 :]
    for column in ("stars", "forks", "issues"):
        later.loc[rows, column] = later.loc[rows, column] + random.integers(1, 400)
    later.loc[rows, "language"] = "C"
    later.loc[rows, "last_commit"] += pd.Timedelta(days=3)
    return later


@given(index=st.integers(26, 78), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_nothing_after_the_origin_changes_a_feature(index: int, seed: int) -> None:
    """Later values must not leak into earlier features."""
    history = histories(2, weeks=80)

    before = features_at(history, "owner0/name0", index)

    pd.testing.assert_frame_equal(
        before, features_at(changed_after(history, "owner0/name0", index, seed), "owner0/name0", index)
    )


def test_cutting_the_history_at_the_origin_changes_no_feature() -> None:
    """Cleaning the rest of the table must not leak later counts either."""
    history = histories(6)
    cut = pd.Timestamp("2023-06-05", tz="UTC")
    whole, short = counts(history), counts(history[history["date"] <= cut])

    rows = np.flatnonzero(whole.frame["date"] == cut)
    ends = np.flatnonzero(short.frame["date"] == cut)

    pd.testing.assert_frame_equal(
        growth_features(build_windows(whole, 26, rows), LANGUAGES),
        growth_features(build_windows(short, 26, ends), LANGUAGES),
    )
    assert len(rows) == len(ends) == 6


def test_a_feature_of_the_future_would_be_detected() -> None:
    """The check above can fail: a feature that looks ahead by one week differs."""
    history = histories(4)
    later = changed_after(history, "owner0/name0", 60, 0)

    def ahead(table: pd.DataFrame) -> float:
        known = counts(table)
        return float(build_windows(known, 26, np.array([60])).stars_after(7, 21)[0])

    assert ahead(history) != ahead(later)


@pytest.mark.parametrize(("weeks", "long_enough"), [(26, True), (27, False)])
def test_an_origin_needs_all_its_weeks(weeks: int, long_enough: bool) -> None:
    known = counts(one_history("a/b", np.arange(500.0, 527.0)))

    assert len(build_windows(known, weeks).rows) == int(long_enough)


def test_no_window_spans_a_break() -> None:
    stars = np.concatenate([np.arange(5000.0, 5020.0), np.arange(900.0, 920.0)])

    windows = build_windows(counts(one_history("a/b", stars)), 15)

    assert len(windows.rows) == 2 * (20 - 15)
    assert np.all(np.diff(windows.stars) == 1.0)


def test_counts_are_interpolated_linearly() -> None:
    known = counts(one_history("a/b", [100.0, 170.0]))
    day = known.day[0]

    assert known.interpolate("stars", np.zeros(3, dtype=int), day + np.array([0.0, 1.0, 8.0]), 21)[:2].tolist() == [
        100.0,
        110.0,
    ]
    assert np.isnan(known.interpolate("stars", np.zeros(1, dtype=int), np.array([day + 8.0]), 21)[0])
    assert np.isnan(known.interpolate("stars", np.zeros(1, dtype=int), np.array([day - 1.0]), 21)[0])
    assert np.isnan(known.interpolate("stars", np.zeros(1, dtype=int), np.array([day + 1.0]), 6)[0])


def test_each_series_has_one_origin_per_period() -> None:
    known = counts(histories(3))

    rows = last_row_per_period(known, 28)

    assert set(np.unique(known.series[rows])) == {0, 1, 2}
    period = known.day[rows] // 28
    assert len(set(zip(known.series[rows], period, strict=True))) == len(rows)
    assert 36 <= len(rows) / 3 <= 40


def test_unknown_columns_give_missing_features() -> None:
    history = tidy_history(one_history("a/b", np.arange(500.0, 530.0))[["full_name", "date", "stars"]])

    windows = features_at(history, "a/b", 29)

    unknown = [name for name in windows.columns if name.startswith(("forks", "issues")) or name in {"idle", "language"}]
    assert windows[unknown].isna().all(axis=None)
    assert windows.drop(columns=unknown).notna().all(axis=None)


def test_a_trend_is_the_slope_of_the_least_squares_line() -> None:
    values = np.random.default_rng(0).normal(size=(5, 27))

    np.testing.assert_allclose(linear_trend(values), np.polyfit(np.arange(27), values.T, 1)[0])

"""Forecasts of one history: ordered bounds for any history, and the next milestone with its range of dates."""

from __future__ import annotations

import contextlib
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargaze.bundle.forecast import GrowthForecast, Milestone, forecast_growth, next_round_number
from stargaze.bundle.growth_bundle import MAX_STARS, GrowthBundle
from stargaze.errors import BadDataError
from tests.growth_bundles import constant_bundle
from tests.histories import BEGIN, one_history

LAST_DAY = date.fromisoformat(BEGIN) + timedelta(weeks=39)


def _forecast(stars: np.ndarray, **options: float) -> GrowthForecast:
    return forecast_growth(constant_bundle(**options), one_history("a/b", stars))  # type: ignore[arg-type]


def _milestone(stars: np.ndarray, **options: float) -> Milestone:
    milestone = _forecast(stars, **options).milestone
    assert milestone is not None
    return milestone


@pytest.mark.parametrize(
    ("stars", "expected"),
    [
        (0, 1),
        (1, 2),
        (2, 5),
        (4.6, 5),
        (5, 10),
        (9, 10),
        (10, 20),
        (49_999, 50_000),
        (50_000, 100_000),
        (2e6, 5_000_000),
    ],
)
def test_the_next_round_number_is_larger(stars: float, expected: int) -> None:
    assert next_round_number(stars) == expected


def test_a_milestone_is_expected_when_the_growth_of_the_window_reaches_it() -> None:
    """Seven stars a week from 4,900 on: 100 more after 100 days."""
    milestone = _milestone(4900 - 7.0 * np.arange(40)[::-1])

    assert milestone.stars == 5000
    assert abs((milestone.expected - LAST_DAY).days - 100) <= 2
    assert milestone.earliest < milestone.expected < (milestone.latest or date.max)
    assert milestone.coverage == 0.8


def test_a_milestone_of_tomorrow_is_not_dated_today() -> None:
    milestone = _milestone(9999.9 - 70.0 * np.arange(40)[::-1])

    assert milestone.stars == 10_000
    assert LAST_DAY < milestone.earliest <= milestone.expected <= LAST_DAY + timedelta(days=1)


def test_a_milestone_beyond_the_last_horizon_is_none() -> None:
    assert _forecast(2100 - 7.0 * np.arange(40)[::-1]).milestone is None
    assert _forecast(np.full(40, 4999.0)).milestone is None  # no growth
    assert _forecast(5000 + 7.0 * np.arange(40)[::-1]).milestone is None  # it loses stars
    assert _forecast(np.full(40, 0.0)).milestone is None


def test_a_range_that_does_not_end_before_the_last_horizon_is_open() -> None:
    milestone = _milestone(4900 - 7.0 * np.arange(40)[::-1], spread=2.0)

    assert milestone.latest is None
    assert milestone.to_json()["latest"] is None


def test_the_range_of_dates_uses_its_own_offsets() -> None:
    stars = 4900 - 7.0 * np.arange(40)[::-1]
    narrow, wide = (
        forecast_growth(constant_bundle(milestone_offsets=offsets), one_history("a/b", stars)).milestone
        for offsets in ((-0.1, 0.1), (-0.8, 0.8))
    )

    assert narrow
    assert wide
    assert wide.earliest < narrow.earliest <= narrow.expected == wide.expected


def test_horizons_in_any_order_give_the_same_milestone() -> None:
    history = one_history("a/b", 4900 - 7.0 * np.arange(40)[::-1])

    results = [forecast_growth(constant_bundle(days), history) for days in ((30, 90, 365), (365, 30, 90))]

    assert results[0] == results[1]
    assert [point.days for point in results[1].points] == [30, 90, 365]


def test_a_milestone_as_json_has_dates_as_text() -> None:
    milestone = Milestone(10_000, date(2027, 5, 9), date(2027, 3, 20), date(2027, 9, 1), 0.8)

    assert milestone.to_json() == {
        "stars": 10_000,
        "date": "2027-05-09",
        "earliest": "2027-03-20",
        "latest": "2027-09-01",
        "coverage": 0.8,
    }


@pytest.mark.thorough
@settings(max_examples=25, deadline=None)
@given(
    gains=st.lists(st.integers(-40, 3_000), min_size=30, max_size=60),
    gaps=st.lists(st.integers(1, 40), min_size=60, max_size=60),
    begin=st.sampled_from([0, 1, 99, 1_000_000]),
    excess=st.sampled_from([-5.0, 0.0, 5.0, 1e6]),
    spread=st.sampled_from([-3.0, 0.0, 5.0, 1e6]),
    offsets=st.sampled_from([(-1.0, 1.0), (0.5, 1.0), (-1.0, -0.5)]),
)
def test_bounds_are_ordered_for_any_history(
    gains: list[int], gaps: list[int], begin: int, excess: float, spread: float, offsets: tuple[float, float]
) -> None:
    days = pd.Timestamp(BEGIN, tz="UTC") + pd.to_timedelta(np.cumsum(gaps[: len(gains)]) + 200, unit="D")
    stars = np.maximum(begin + np.cumsum(gains), 0.0)
    history = pd.DataFrame({"full_name": "a/b", "date": days, "stars": stars})
    bundle = constant_bundle(excess=excess, spread=spread, offsets=offsets, milestone_offsets=offsets)
    with contextlib.suppress(BadDataError):  # a drop splits the history
        _check_order(forecast_growth(bundle, history))


def _check_order(forecast: GrowthForecast) -> None:
    assert all(0 <= point.low <= point.stars <= point.high <= MAX_STARS + 1 for point in forecast.points)
    if milestone := forecast.milestone:
        assert milestone.stars > forecast.current_stars - 1
        assert forecast.last_day < milestone.earliest <= milestone.expected <= (milestone.latest or date.max)


@pytest.mark.parametrize(
    ("stars", "reason"),
    [
        ([], "the history has no counts"),
        ([5.0], "covers 0 weeks without a break, a forecast needs 26"),
        (list(range(20)), "covers 19 weeks without a break, a forecast needs 26"),
        ([1.0] * 30 + [float("nan")], "a count that is not a number"),
        ([1.0] * 30 + [-1.0], "a count that is not a number"),
        ([1.0] * 30 + [float("inf")], "a count that is not a number"),
    ],
)
def test_a_history_that_cannot_be_continued_says_why(stars: list[float], reason: str) -> None:
    with pytest.raises(BadDataError, match=reason):
        forecast_growth(constant_bundle(), one_history("a/b", stars))


def test_the_features_of_one_forecast_are_computed_once_and_for_the_last_day_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    computed: list[pd.DataFrame] = []
    compute = GrowthBundle.compute_features

    def count(bundle: GrowthBundle, origin: Any) -> pd.DataFrame:
        computed.append(compute(bundle, origin))
        return computed[-1]

    monkeypatch.setattr(GrowthBundle, "compute_features", count)

    forecast_growth(constant_bundle(), one_history("a/b", 10.0 * np.arange(500)))

    assert [len(features) for features in computed] == [1]

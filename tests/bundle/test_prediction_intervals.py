"""Prediction intervals are whole counts, never empty, and wider for a larger predicted error."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargaze.bundle.prediction_intervals import MIN_SPREAD, ROUNDING, Intervals, append_prediction, spread_scale

MINIMUM_SPREAD = np.array([MIN_SPREAD])
radiuses = st.floats(-1, 40)


def constant_intervals(radius: float) -> Intervals:
    """Return intervals with one radius [nat] for all counts and predictions, at the minimum spread."""
    return Intervals(0.9, (0.0,), (0.0,), ((radius / float(spread_scale(MINIMUM_SPREAD)[0]),),))


@given(
    st.lists(st.tuples(st.floats(0, 16), st.floats(-1, 8)), min_size=1, max_size=20),
    st.integers(1, 4),
    st.integers(1, 3),
    st.data(),
)
def test_an_interval_is_never_empty_or_negative(
    rows: list[tuple[float, float]], n_counts: int, n_heights: int, data: st.DataObject
) -> None:
    radius = tuple(tuple(data.draw(radiuses) for _ in range(n_heights)) for _ in range(n_counts))
    counts = tuple([0.0, 1.0, 10.0, 77.0][:n_counts])
    predicted, spread = np.array(rows).T

    low, high = Intervals(0.9, counts, (0.0, 1.0, 100.0)[:n_heights], radius).bounds(predicted, spread)

    assert (low <= high).all()
    assert (low >= 0).all()
    assert np.isfinite(high).all()
    assert not np.signbit(low).any()
    assert np.array_equal(low, np.round(low))
    assert np.array_equal(high, np.round(high))


def test_a_count_is_inside_within_the_radius_of_its_class() -> None:
    """From ten stars on the radius is larger, because high counts are predicted too low."""
    root = float(spread_scale(MINIMUM_SPREAD)[0])
    intervals = Intervals(0.9, (0.0, 10.0), (0.0,), ((0.1 / root,), (1.0 / root,)))

    low, high = intervals.bounds(np.log1p([9.0, 30.0]), np.repeat(MINIMUM_SPREAD, 2))

    assert low.tolist() == [9.0, np.ceil(31 / np.e - 1)]  # 9 itself; from 30 on only the longer radius comes down to 11
    assert high.tolist() == [np.floor(10 * np.e - 1), np.floor(31 * np.e - 1)]


def test_the_class_of_the_prediction_selects_the_radius() -> None:
    root = float(spread_scale(MINIMUM_SPREAD)[0])
    intervals = Intervals(0.9, (0.0,), (0.0, 20.0), ((0.5 / root, 1.0 / root),))

    low, high = intervals.bounds(np.log1p([19.0, 21.0]), np.repeat(MINIMUM_SPREAD, 2))

    assert low.tolist() == [np.ceil(20 / np.e**0.5 - 1), np.ceil(22 / np.e - 1)]
    assert high.tolist() == [np.floor(20 * np.e**0.5 - 1), np.floor(22 * np.e - 1)]


def test_a_larger_predicted_error_widens_the_interval() -> None:
    low, high = constant_intervals(0.5).bounds(np.full(3, 5.0), np.array([0.05, 0.2, 1.0]))

    assert np.diff(np.log1p(high) - np.log1p(low)).min() > 0.5


def test_a_predicted_error_below_the_minimum_is_raised_to_it() -> None:
    low, high = constant_intervals(0.5).bounds(np.full(2, 5.0), np.array([-3.0, MIN_SPREAD]))

    assert low[0] == low[1]
    assert high[0] == high[1]


def test_the_lower_bound_can_be_zero() -> None:
    low, _ = constant_intervals(3.0).bounds(np.array([2.0]), MINIMUM_SPREAD)

    assert low.tolist() == [0.0]


@given(
    st.floats(0, 20),
    st.floats(-1, 8),
    st.lists(st.lists(radiuses, min_size=2, max_size=2), min_size=3, max_size=3),
)
def test_the_prediction_is_inside_its_interval(predicted: float, spread: float, radius: list[list[float]]) -> None:
    """The estimate itself, before it is rounded: 0.3 stars are between 0 and 1."""
    intervals = Intervals(0.9, (0.0, 1.0, 10.0), (0.0, 20.0), tuple(map(tuple, radius)))

    low, high = intervals.bounds(np.array([predicted]), np.array([spread]))

    assert low[0] <= np.expm1(predicted) <= high[0] + ROUNDING


def test_without_a_whole_count_inside_it_is_the_two_nearest() -> None:
    low, high = constant_intervals(0.001).bounds(np.log1p(np.array([10.4])), MINIMUM_SPREAD)

    assert (low.tolist(), high.tolist()) == ([10.0], [11.0])


def test_an_estimate_of_zero_is_not_certain() -> None:
    low, high = constant_intervals(0.001).bounds(np.zeros(1), MINIMUM_SPREAD)

    assert (low.tolist(), high.tolist()) == ([0.0], [1.0])


def test_a_count_on_the_bound_is_inside() -> None:
    """Rounding errors of the logarithm do not exclude it."""
    stars = np.arange(1.0, 2_000.0)

    low, high = constant_intervals(0.0).bounds(np.log1p(stars), np.repeat(MINIMUM_SPREAD, len(stars)))

    assert np.array_equal(low, stars)
    assert np.array_equal(high, stars)


def test_intervals_survive_json() -> None:
    intervals = Intervals(0.9, (0.0, 10.0), (0.0,), ((0.1,), (1.0,)))

    assert Intervals.from_dict(json.loads(json.dumps(dataclasses.asdict(intervals)))) == intervals


@pytest.mark.parametrize(
    "intervals",
    [
        Intervals(1.0, (0.0,), (0.0,), ((1.0,),)),
        Intervals(0.9, (), (0.0,), ()),
        Intervals(0.9, (1.0,), (0.0,), ((1.0,),)),
        Intervals(0.9, (0.0, 0.0), (0.0,), ((1.0,), (1.0,))),
        Intervals(0.9, (0.0,), (0.0,), ((1.0, 1.0),)),
        Intervals(0.9, (0.0,), (0.0,), ((float("nan"),),)),
        Intervals(float("nan"), (0.0,), (0.0,), ((1.0,),)),
    ],
    ids=repr,
)
def test_invalid_intervals_are_recognized(intervals: Intervals) -> None:
    assert not intervals.is_valid()


def test_the_error_model_takes_the_prediction_as_last_column() -> None:
    inputs = append_prediction(np.array([[1.0, 2.0]]), np.array([3.0]))

    assert inputs.tolist() == [[1.0, 2.0, 3.0]]

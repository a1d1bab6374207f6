"""Intervals hold the true count as often as they say, on data that they were not calibrated on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stargaze.bundle import Intervals
from stargaze.tuning.intervals import calibrate, covered

Draw = Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
CALIBRATION, FRESH = 3_000, 20_000


def _whole(target: np.ndarray) -> np.ndarray:
    """Return log1p of whole star counts, none below zero."""
    return np.log1p(np.round(np.expm1(np.maximum(target, 0.0))))


def _even(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    predicted = random.uniform(4, 9, rows)
    return predicted, _whole(predicted + random.normal(scale=0.8, size=rows))


def _wider_above(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    predicted = random.uniform(3, 9, rows)
    return predicted, _whole(predicted + random.normal(size=rows) * predicted / 6)


def _skewed(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    predicted = random.uniform(4, 9, rows)
    return predicted, _whole(predicted + random.exponential(0.8, rows) - 0.8)


def _biased(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The model is always too high."""
    predicted = random.uniform(4, 9, rows)
    return predicted, _whole(predicted - 1.0 + random.normal(scale=0.3, size=rows))


def _mostly_none(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """As on GitHub: most have no star, and the model is not sure who has."""
    height = random.gamma(0.5, 1.5, rows)
    return np.maximum(height + random.normal(scale=0.2, size=rows), 0.0), _whole(
        np.where(random.random(rows) < 0.3, 0.0, height + random.normal(scale=0.6, size=rows))
    )


def _one_height(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The model says the same for everyone, as the dummy does."""
    return np.full(rows, 5.0), _whole(5.0 + random.normal(size=rows))


@pytest.mark.parametrize("coverage", [0.8, 0.9])
@pytest.mark.parametrize("draw", [_even, _wider_above, _skewed, _biased, _mostly_none, _one_height])
def test_fresh_repositories_are_covered_as_often_as_asked(draw: Draw, coverage: float) -> None:
    random = np.random.default_rng(0)

    intervals = calibrate(*draw(random, CALIBRATION), coverage)

    assert covered(intervals, *draw(random, FRESH)) == pytest.approx(coverage, abs=0.02)


@pytest.mark.parametrize("draw", [_wider_above, _mostly_none])
def test_small_and_large_predictions_are_covered_alike(draw: Draw) -> None:
    """A single width for all would cover small ones always and large ones seldom."""
    random = np.random.default_rng(0)
    intervals = calibrate(*draw(random, CALIBRATION), 0.9)
    predicted, target = draw(random, FRESH)
    large = predicted > np.quantile(predicted, 0.75)

    for part in (large, ~large):
        assert covered(intervals, predicted[part], target[part]) > 0.84


def test_where_nobody_has_a_star_the_interval_is_none_to_none() -> None:
    intervals = calibrate(np.zeros(500), np.zeros(500), 0.9)

    low, high = intervals.around(np.zeros(3))

    assert (low == 0).all()
    assert (high == 0).all()
    assert covered(intervals, np.zeros(500), np.zeros(500)) == 1.0


@pytest.mark.parametrize("rows", [1, 2, 19, 200, 401])
def test_few_rows_give_a_wide_interval_not_an_error(rows: int) -> None:
    """With fewer rows than 1 / (1 - coverage) it reaches over all of them."""
    random = np.random.default_rng(rows)
    predicted, target = _even(random, rows)

    intervals = calibrate(predicted, target, 0.9)

    assert covered(intervals, predicted, target) >= 0.9
    assert len(intervals.lower) == len(intervals.upper) == len(intervals.edges) + 1


def test_more_coverage_is_a_wider_interval() -> None:
    predicted, target = _even(np.random.default_rng(0), CALIBRATION)
    widths = []
    for coverage in (0.5, 0.7, 0.9, 0.99):
        low, high = calibrate(predicted, target, coverage).around(np.array([5.0, 8.0]))
        widths.append((high - low).tolist())

    assert widths == sorted(widths)


def test_a_constant_prediction_needs_one_bin_only() -> None:
    """Its quantiles all are the same edge."""
    intervals = calibrate(*_one_height(np.random.default_rng(0), CALIBRATION), 0.9)

    assert len(intervals.edges) <= 1
    assert np.isfinite(intervals.around(np.array([0.0, 5.0, 12.0]))).all()


def test_the_edges_rise() -> None:
    intervals = calibrate(*_mostly_none(np.random.default_rng(0), CALIBRATION), 0.9)

    assert list(intervals.edges) == sorted(set(intervals.edges))


def test_no_rows_are_a_programming_mistake() -> None:
    with pytest.raises(ValueError, match="no rows"):
        calibrate(np.array([]), np.array([]), 0.9)


def test_a_true_count_on_the_bound_is_inside() -> None:
    """Ten stars are ten stars, also after a trip through the logarithm."""
    counts = np.log1p(np.arange(1.0, 2_000.0))

    assert covered(Intervals(0.9, (), (0.0,), (0.0,)), counts, counts) == 1.0

"""Prediction intervals have their nominal coverage on data that they were not calibrated on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from stargaze.tuning.training.calibrate import calibrate, coverage_by_decade
from stargaze.tuning.training.calibrate_policy import calibrate_on

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
Draw = Callable[[np.random.Generator, int], Rows]
CALIBRATION, NEW = 3_000, 20_000


def _whole(target: np.ndarray) -> np.ndarray:
    """Return log1p of whole star counts, none below zero."""
    return np.log1p(np.round(np.expm1(np.maximum(target, 0.0))))


def _even(random: np.random.Generator, rows: int) -> Rows:
    predicted = random.uniform(4, 9, rows)
    return predicted, np.full(rows, 0.64), _whole(predicted + random.normal(scale=0.8, size=rows))


def _wider_above(random: np.random.Generator, rows: int) -> Rows:
    predicted = random.uniform(3, 9, rows)
    return predicted, predicted / 7.5, _whole(predicted + random.normal(size=rows) * predicted / 6)


def _skewed(random: np.random.Generator, rows: int) -> Rows:
    predicted = random.uniform(4, 9, rows)
    return predicted, np.ones(rows), _whole(predicted + random.exponential(0.8, rows) - 0.8)


def _biased(random: np.random.Generator, rows: int) -> Rows:
    """Every prediction is too high."""
    predicted = random.uniform(4, 9, rows)
    return predicted, np.ones(rows), _whole(predicted - 1.0 + random.normal(scale=0.3, size=rows))


def _mostly_none(random: np.random.Generator, rows: int) -> Rows:
    """As on GitHub: most repositories have no star, and the model cannot tell which have some."""
    level = random.gamma(0.5, 1.5, rows)
    return (
        np.maximum(level + random.normal(scale=0.2, size=rows), 0.0),
        0.1 + level / 3,
        _whole(np.where(random.random(rows) < 0.3, 0.0, level + random.normal(scale=0.6, size=rows))),
    )


def _regressed(random: np.random.Generator, rows: int) -> Rows:
    """A weak model predicts near the mean: too low for high counts."""
    target = random.normal(5.0, 1.5, rows)
    return np.maximum(0.5 * target + 2.5 + random.normal(scale=0.7, size=rows), 0.0), np.ones(rows), _whole(target)


def _constant(random: np.random.Generator, rows: int) -> Rows:
    """All predictions are equal, as those of the dummy."""
    return np.full(rows, 5.0), np.ones(rows), _whole(5.0 + random.normal(size=rows))


def covered(rows: Rows, calibration: Rows, coverage: float = 0.9) -> np.ndarray:
    """Return whether the interval of each new row contains its true count."""
    low, high = calibrate(*calibration, coverage).bounds(*rows[:2])
    stars = np.round(np.expm1(rows[2]))
    return (low <= stars) & (stars <= high)


@pytest.mark.thorough
@pytest.mark.parametrize("coverage", [0.8, 0.9])
@pytest.mark.parametrize("draw", [_even, _wider_above, _skewed, _biased, _mostly_none, _regressed])
def test_new_repositories_have_the_nominal_coverage(draw: Draw, coverage: float) -> None:
    random = np.random.default_rng(0)

    inside = covered(draw(random, NEW), draw(random, CALIBRATION), coverage)

    most = 0.07 if draw is _mostly_none else 0.02  # what contains an estimate below one star contains 0
    assert coverage - 0.02 <= inside.mean() <= coverage + most


@pytest.mark.thorough
@pytest.mark.parametrize("draw", [_even, _wider_above, _mostly_none, _regressed])
@pytest.mark.parametrize("by", ["true", "predicted"])
def test_each_decade_of_true_and_of_predicted_stars_is_covered(draw: Draw, by: str) -> None:
    """Radii by the prediction alone miss high counts; radii by the count alone mislead the reader.

    An interval that contains an estimate below one star contains 0, so that other predictions may be covered less often.
    """
    random = np.random.default_rng(0)
    calibration, rows = draw(random, CALIBRATION), draw(random, NEW)
    decade = np.floor(np.log10(np.maximum(np.expm1(rows[2 if by == "true" else 0]), 0.1) + 1e-9))

    inside = covered(rows, calibration)

    frequent = [value for value in np.unique(decade) if (decade == value).sum() > NEW / 30]
    assert len(frequent) > 1
    for value in frequent:
        share = inside[decade == value].mean()
        assert share == pytest.approx(0.9, abs=0.05) or (draw is _mostly_none and 0.79 < share < 0.98), value


def test_without_any_stars_the_interval_is_zero_to_zero() -> None:
    intervals = calibrate(np.zeros(500), np.zeros(500), np.zeros(500), 0.9)

    low, high = intervals.bounds(np.zeros(3), np.zeros(3))

    assert (low == 0).all()
    assert (high == 0).all()


@pytest.mark.parametrize("rows", [1, 2, 19, 200, 401])
def test_few_rows_give_a_wide_interval_not_an_error(rows: int) -> None:
    """With fewer rows than 1 / (1 - coverage) it covers all of them."""
    sample = _even(np.random.default_rng(rows), rows)

    intervals = calibrate(*sample, 0.9)

    assert intervals.is_valid()
    assert covered(sample, sample).mean() >= 0.9


def test_more_coverage_is_a_wider_interval() -> None:
    sample = _even(np.random.default_rng(0), 1_000)
    widths = []
    for coverage in (0.5, 0.7, 0.9, 0.99):
        low, high = calibrate(*sample, coverage).bounds(np.array([5.0, 8.0]), np.full(2, 0.64))
        widths.append((high - low).tolist())

    assert widths == sorted(widths)


@pytest.mark.parametrize("draw", [_regressed, _even, _mostly_none])
def test_a_tolerance_is_for_decades_not_for_all_rows(draw: Draw) -> None:
    """Where little is known, high counts may be covered less often, but a 90% interval stays one."""
    rows = draw(np.random.default_rng(3), CALIBRATION)
    stars = np.round(np.expm1(rows[2]))
    decades = np.floor(np.log10(np.maximum(stars, 0.1))) + 1
    large = [decade for decade in np.unique(decades) if (decades == decade).sum() >= 100]

    low, high = calibrate(*rows, 0.9, 0.1).bounds(*rows[:2])

    inside = (low <= stars) & (stars <= high)
    assert inside.mean() >= 0.9
    assert min(inside[decades == decade].mean() for decade in large) >= 0.77


def test_with_a_tolerance_intervals_of_a_weak_model_are_narrower() -> None:
    rows = _regressed(np.random.default_rng(3), CALIBRATION)
    exact, tolerant = (calibrate(*rows, 0.9, tolerance).bounds(*rows[:2]) for tolerance in (0.0, 0.1))

    widths = [float(np.mean(np.log1p(high) - np.log1p(low))) for low, high in (exact, tolerant)]

    assert widths[1] < 0.97 * widths[0]


def test_a_constant_prediction_has_at_least_the_nominal_coverage() -> None:
    """All predictions are equal, so a count is inside for all or for none."""
    random = np.random.default_rng(0)
    calibration = _constant(random, CALIBRATION)

    assert len(calibrate(*calibration, 0.9).prediction_classes) == 1
    assert 0.88 < covered(_constant(random, NEW), calibration).mean() < 0.99


def test_classes_have_enough_rows_and_decades_start_classes() -> None:
    sample = _mostly_none(np.random.default_rng(0), CALIBRATION)

    intervals = calibrate(*sample, 0.9)

    stars = np.round(np.expm1(sample[2]))
    assert {0.0, 1.0, 10.0} <= set(intervals.count_classes)
    assert np.bincount(np.searchsorted(intervals.count_classes, stars, side="right") - 1).min() >= 50


def test_no_rows_raise_an_error() -> None:
    with pytest.raises(ValueError, match="no rows"):
        calibrate(np.array([]), np.array([]), np.array([]), 0.9)


@pytest.mark.thorough
def test_the_predicted_error_depends_on_the_inputs() -> None:
    """One column determines the noise: rows with little noise get narrow intervals, and the coverage holds."""
    random = np.random.default_rng(0)
    inputs = random.integers(1, 3, size=(4_000, 1)).astype(float)
    predicted = random.uniform(4, 8, 4_000)
    target = _whole(predicted + random.normal(size=4_000) * np.where(inputs[:, 0] == 1, 0.1, 1.0))
    old, new = slice(3_000), slice(3_000, None)

    calibrated = calibrate_on(inputs[old], predicted[old], target[old], np.arange(3_000) % 3, (0,), 0.9, 0)
    low, high = calibrated.bounds(inputs[new], predicted[new])

    width, stars = np.log1p(high) - np.log1p(low), np.round(np.expm1(target[new]))
    assert width[inputs[new, 0] == 1].mean() < 0.5 * width[inputs[new, 0] == 2].mean()
    assert ((low <= stars) & (stars <= high)).mean() == pytest.approx(0.9, abs=0.03)


def test_coverage_by_decade_has_name_count_coverage_and_width() -> None:
    stars = np.array([0.0, 0.0, 1.0, 9.0, 10.0, 1000.0])

    rows = coverage_by_decade(np.zeros(6), np.array([0.0, 3.0, 0.0, 9.0, 9.0, 2000.0]), stars)

    assert [(row["decade"], row["n"], row["coverage"]) for row in rows] == [
        ("0", 2, 1.0),
        ("1-9", 2, 0.5),
        ("10-99", 1, 0.0),
        ("1000-9999", 1, 1.0),
    ]
    assert rows[-1]["width"] == pytest.approx(np.log(2001), abs=1e-4)

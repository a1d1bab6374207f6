"""Calibration of calibrated and of miscalibrated predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from stargaze.report import calibration
from stargaze.report.inputs import ReportInputs

pytestmark = pytest.mark.thorough


def draw_predictions(n: int, seed: int, *, spread: float = 0.6, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw log predictions, most differences zero, and true counts around them."""
    random = np.random.default_rng([seed, 4])
    log_predicted = random.exponential(1.0, n)
    return log_predicted, np.maximum(np.round(np.expm1(log_predicted + shift + random.normal(0, spread, n))), 0.0)


def draw_ranks(**changed: float) -> np.ndarray:
    log_predicted, stars = draw_predictions(4_000, 1)
    log_changed, true = draw_predictions(4_000, 2, **changed)
    return calibration.rank_counts(log_predicted, np.log1p(stars) - log_predicted, log_changed, true)


def test_ranks_are_uniform_if_calibrated() -> None:
    """Even if most counts are zero."""
    shares = calibration.rank_histogram(draw_ranks())["share"]

    assert shares.between(0.08, 0.12).all()
    assert shares.sum() == pytest.approx(1.0)


def test_ranks_are_skewed_if_predictions_are_too_low() -> None:
    shares = calibration.rank_histogram(draw_ranks(shift=0.5))["share"]

    assert shares.iloc[-1] > 2 * shares.iloc[0]


def test_ranks_are_bowl_shaped_if_intervals_are_too_narrow() -> None:
    shares = calibration.rank_histogram(draw_ranks(spread=1.2))["share"]

    assert min(shares.iloc[0], shares.iloc[-1]) > 1.2 * shares.iloc[4]


def test_coverage_is_reported_for_every_level_and_for_the_bundle() -> None:
    predictions = pd.DataFrame({"true": [1.0, 5.0], "low": [0.0, 0.0], "high": [2.0, 2.0]})
    frame = calibration.coverage_by_level(np.array([0.5, 0.01]), predictions, 0.9)

    assert frame["interval"].tolist() == ["residual ranks"] * len(calibration.LEVELS) + ["bundle"]
    assert frame["coverage"].tolist() == [0.5] * (len(calibration.LEVELS) + 1)
    assert ((frame["coverage_low"] <= 0.5) & (frame["coverage_high"] >= 0.5)).all()


def test_bins_include_every_row_and_reach_high_predictions() -> None:
    log_predicted, stars = draw_predictions(2_000, 3, spread=0.3)
    frame = calibration.calibrate_bins(pd.DataFrame({"predicted": np.expm1(log_predicted), "true": stars}))

    assert frame["repositories"].sum() == 2_000
    assert frame["repositories"].min() >= calibration.MIN_BIN_ROWS
    assert frame["predicted"].is_monotonic_increasing
    assert frame["predicted"].iloc[-1] > 20
    differences = (np.log1p(frame["predicted"]) - np.log1p(frame["true"])).abs()
    assert differences.max() < 0.2


def test_every_test_row_of_a_real_bundle_has_a_rank(inputs: ReportInputs) -> None:
    ranks = calibration.rank_test_set(inputs)

    assert ranks.shape == inputs.dataset.test.shape
    assert ((ranks > 0) & (ranks < 1)).all()
    assert (calibration.rank_test_set(inputs) == ranks).all()

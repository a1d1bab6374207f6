"""Baselines for growth forecasts, and the scores of the models and the baselines on the test examples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stargaze.bundle.growth_bundle import HorizonModel, drift, log_growth
from stargaze.features.history.features import Windows, linear_trend
from stargaze.tuning.growth.examples import MAX_COUNT_GAP, Examples

YEAR = 365
MAX_LOG_GROWTH = 20.0
"""Bound of the log-linear extrapolation [nat]: beyond it there would be more stars than people."""
OURS = "stargaze"
FITTED = "log-linear, fitted"


def evaluate_horizons(
    models: Mapping[int, HorizonModel], examples: Mapping[int, tuple[Examples, Examples]]
) -> list[dict[str, Any]]:
    """Score the model and every baseline of each horizon on its test examples: one row per horizon and method.

    ``examples`` are the training and the test examples of each horizon.
    """
    rows = []
    for days, (train, test) in examples.items():
        middle, low, high = models[days].growth(test.origins, test.features)
        covered = (low <= test.growth) & (test.growth <= high)
        forecasts = {OURS: middle, **{name: baseline(test.origins, days) for name, baseline in BASELINES.items()}}
        forecasts[FITTED] = fitted_log_linear(train, test)
        rows += [
            {"days": days, "method": name, "examples": len(test), **growth_scores(test, growth)}
            | ({"coverage": float(covered.mean())} if name == OURS else {})
            for name, growth in forecasts.items()
        ]
    return rows


def growth_scores(test: Examples, growth: np.ndarray) -> dict[str, float]:
    """Score predicted log growth [nat], shape (n,), on the true growth of ``test``.

    Returns
    -------
    dict of str to float
        ``r2`` of log growth; ``median_error`` of the gained stars, as a share of the true gain (of one star if it is 0);
        ``median_nat`` of log growth [nat].
    """
    now = test.origins.current_stars
    true, predicted = (np.expm1(np.log1p(now) + values) - now for values in (test.growth, growth))
    spread = float(np.sum((test.growth - test.growth.mean()) ** 2))
    return {
        "r2": 1.0 - float(np.sum((test.growth - growth) ** 2)) / spread if spread > 0 else math.nan,
        "median_error": float(np.median(np.abs(predicted - true) / np.maximum(np.abs(true), 1.0))),
        "median_nat": float(np.median(np.abs(test.growth - growth))),
    }


def no_change(origins: Windows, _days: int) -> np.ndarray:
    """Repeat the last count."""
    return np.zeros(len(origins.rows))


def last_four_weeks(origins: Windows, days: int) -> np.ndarray:
    """Continue the mean rate of the last four weeks."""
    return _growth_at_rate(origins, (origins.current_stars - origins.stars[:, -5]) / 28, days)


def seasonal(origins: Windows, days: int) -> np.ndarray:
    """Repeat the gain of the same days one year before; use the drift if there are no counts of that time."""
    series, day = origins.series, origins.day
    begin = origins.counts.interpolate("stars", series, day - YEAR, MAX_COUNT_GAP)
    end = origins.counts.interpolate("stars", series, np.minimum(day - YEAR + days, day), MAX_COUNT_GAP)
    rate = (end - begin) / min(days, YEAR)
    return np.where(np.isnan(rate), drift(origins, days), _growth_at_rate(origins, np.nan_to_num(rate), days))


def linear(origins: Windows, days: int) -> np.ndarray:
    """Extrapolate the least-squares line through the counts of the window."""
    return _growth_at_rate(origins, linear_trend(origins.stars) / 7, days)


def log_linear(origins: Windows, days: int) -> np.ndarray:
    """Extrapolate the least-squares line through the logarithms of the counts of the window."""
    return np.clip(linear_trend(np.log1p(origins.stars)) / 7 * days, -MAX_LOG_GROWTH, MAX_LOG_GROWTH)


BASELINES: dict[str, Callable[[Windows, int], np.ndarray]] = {
    "no change": no_change,
    "last growth": last_four_weeks,
    "drift": drift,
    "seasonal": seasonal,
    "linear": linear,
    "log-linear": log_linear,
}
"""Each returns the log growth from the origins over a number of days; shape (n,) [nat]."""


def fitted_log_linear(train: Examples, test: Examples) -> np.ndarray:
    """Return the log-linear baseline of ``test``, shifted and scaled to the least squares on ``train``; shape (n,) [nat]."""
    baseline = log_linear(train.origins, train.days)
    design = np.column_stack([np.ones(len(baseline)), baseline])
    base, factor = np.linalg.lstsq(design, train.growth, rcond=None)[0]
    fitted: np.ndarray = base + factor * log_linear(test.origins, test.days)
    return fitted


def _growth_at_rate(origins: Windows, stars_per_day: np.ndarray, days: int) -> np.ndarray:
    return log_growth(origins.current_stars, np.maximum(origins.current_stars + stars_per_day * days, 0.0))

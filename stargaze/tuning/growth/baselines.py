"""What a growth model must beat: the ways of going on that need no model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stargaze.bundle.growth_bundle import drift, log_growth
from stargaze.features.history.features import linear_trend
from stargaze.features.history.windows import Windows
from stargaze.tuning.growth.examples import MAX_COUNT_GAP, Examples

Baseline = Callable[[Windows, int], np.ndarray]
YEAR = 365
MAX_LOG_GROWTH = 20.0
"""Growth beyond which a line through logs is cut off [nat]: there are not that many people."""


def no_change(origins: Windows, _days: int) -> np.ndarray:
    """Stay at the last count."""
    return np.zeros(len(origins.rows))


def last_four_weeks(origins: Windows, days: int) -> np.ndarray:
    """Gain as many stars a day as in the last four weeks."""
    return _growth_at_rate(origins, (origins.current_stars - origins.stars[:, -5]) / 28, days)


def seasonal(origins: Windows, days: int) -> np.ndarray:
    """Gain as many stars as in the same days a year before; where nobody counted then, drift."""
    series, day = origins.series, origins.day
    begin = origins.counts.interpolate("stars", series, day - YEAR, MAX_COUNT_GAP)
    end = origins.counts.interpolate("stars", series, np.minimum(day - YEAR + days, day), MAX_COUNT_GAP)
    gained = (end - begin) / min(days, YEAR)
    return np.where(np.isnan(gained), drift(origins, days), _growth_at_rate(origins, np.nan_to_num(gained), days))


def linear(origins: Windows, days: int) -> np.ndarray:
    """Gain stars at the slope of a least-squares line through the window."""
    return _growth_at_rate(origins, linear_trend(origins.stars) / 7, days)


def log_linear(origins: Windows, days: int) -> np.ndarray:
    """Grow at the slope of a least-squares line through the logs of the counts."""
    return np.clip(linear_trend(np.log1p(origins.stars)) / 7 * days, -MAX_LOG_GROWTH, MAX_LOG_GROWTH)


BASELINES: dict[str, Baseline] = {
    "no change": no_change,
    "last growth": last_four_weeks,
    "drift": drift,
    "seasonal": seasonal,
    "linear": linear,
    "log-linear": log_linear,
}
"""Each returns log growth over so many days; shape (n,) [nat]."""


def fitted_log_linear(train: Examples, test: Examples) -> np.ndarray:
    """Scale and shift the log-linear extrapolation as fits the training examples best; it is the fairer form of it."""
    before = log_linear(train.origins, train.days)
    design = np.column_stack([np.ones(len(before)), before])
    base, factor = np.linalg.lstsq(design, train.growth, rcond=None)[0]
    fitted: np.ndarray = base + factor * log_linear(test.origins, test.days)
    return fitted


def _growth_at_rate(origins: Windows, a_day: np.ndarray, days: int) -> np.ndarray:
    return log_growth(origins.current_stars, np.maximum(origins.current_stars + a_day * days, 0.0))

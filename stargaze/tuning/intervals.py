"""Calibrate intervals on repositories that no model was fitted on (split-conformal prediction, by height of the prediction)."""

from __future__ import annotations

import math

import numpy as np

from stargaze.bundle import Intervals

ROWS_PER_BIN = 200
MOST_BINS = 8
MOST_GIVEN, GIVE_STEP = 0.05, 0.0025
"""How far a bin's level may lie below the coverage asked for, and in which steps that is tried [share].

Where nearly all repositories have no star, [0, 0] is the narrowest interval there is and covers more than was asked. What it
covers too much is taken back evenly, within this bound, so that the whole is right and no part is far off.
"""


def calibrate(predicted: np.ndarray, target: np.ndarray, coverage: float) -> Intervals:
    """Find offsets so that the interval holds the true count as often as asked, among small and among large predictions.

    Parameters
    ----------
    predicted, target : array, shape (n_validation,)
        Predicted and true log1p(stars) [nat] of rows that were not fitted.
    coverage : float
        Share of true counts that shall lie inside.

    Returns
    -------
    Intervals
        One pair of offsets for each bin of predictions.

    Raises
    ------
    ValueError
        If there are no rows.

    References
    ----------
    Papadopoulos et al., Inductive confidence machines for regression, 2002; Vovk et al., Mondrian confidence machine, 2003.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=4000)
    >>> 1.5 < calibrate(np.full(4000, 9.0), 9.0 + noise, 0.9).upper[0] < 1.75
    True
    """
    if not len(target):
        raise ValueError("no rows to calibrate on")
    for give in np.arange(MOST_GIVEN, 0.0, -GIVE_STEP):
        narrower = _at_level(predicted, target, coverage, coverage - give)
        if covered(narrower, predicted, target) * len(target) >= math.ceil((len(target) + 1) * coverage):
            return narrower
    return _at_level(predicted, target, coverage, coverage)


def _at_level(predicted: np.ndarray, target: np.ndarray, coverage: float, level: float) -> Intervals:
    bins = int(np.clip(len(target) // ROWS_PER_BIN, 1, MOST_BINS))
    edges = np.unique(np.quantile(predicted, np.arange(1, bins) / bins))
    place = np.searchsorted(edges, predicted, side="right")
    offsets = [_offsets(predicted[place == one], target[place == one], level) for one in range(len(edges) + 1)]
    whole = _offsets(predicted, target, level)
    filled = [pair or whole or (None, 0.0) for pair in offsets]
    lower, upper = tuple(low for low, _ in filled), tuple(high for _, high in filled)
    return Intervals(coverage, tuple(edges.tolist()), lower, upper)


def covered(intervals: Intervals, predicted: np.ndarray, target: np.ndarray) -> float:
    """Return the share of true counts inside their interval."""
    low, high = intervals.around(predicted)
    stars = np.round(np.expm1(target))
    return float(np.mean((low <= stars) & (stars <= high)))


def _offsets(predicted: np.ndarray, target: np.ndarray, coverage: float) -> tuple[float | None, float] | None:
    if not len(target):
        return None
    residual = np.sort(target - predicted)
    tail = (1.0 - coverage) / 2.0
    if np.mean(target == 0.0) >= tail:  # repositories without a star fill the lower tail: reach down to them
        return None, _order_statistic(residual, coverage)
    return -_order_statistic(np.sort(-residual), 1.0 - tail), _order_statistic(residual, 1.0 - tail)


def _order_statistic(ascending: np.ndarray, level: float) -> float:
    """Return the value that a new one exceeds with probability at most 1 - level, counting the new one itself."""
    place = math.ceil((len(ascending) + 1) * level) - 1
    return float(ascending[min(place, len(ascending) - 1)])

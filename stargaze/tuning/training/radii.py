"""Adjust calibrated radii so that the coverage holds in each decade, and intervals are as short as that allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from stargaze.bundle.prediction_intervals import Intervals

LEAST_FACTOR, HALVINGS = 0.05, 14
"""The smallest factor of the radii of a decade, and the iterations of the bisection."""
LEAST_DECADE, PREDICTED_TOLERANCE = 100, 0.1
"""Rows of a decade whose coverage is kept, and how far it may fall below the nominal one by predicted counts."""
MOST_WIDENING = 3.0
"""The largest factor of the radii of a decade of predictions."""
RADIUS_STEPS = 1e5
"""Resolution of a radius [1/nat]: finer than one star at any count."""


def adjust_radii(
    intervals: Intervals, predicted: np.ndarray, spread: np.ndarray, stars: np.ndarray, tolerance: float = 0.0
) -> Intervals:
    """Widen the intervals of decades of predictions that are covered too rarely, then shorten them by decades of true counts.

    An interval in whole stars that contains an estimate below one contains 0, so that repositories without stars are covered
    more often than stated. One factor for all would make up for it with radii that miss most others. ``tolerance`` is how far
    the coverage of a decade of true counts may fall below the nominal one [fraction]; that of all rows together stays, if need
    be with wider intervals for all.
    """
    true_decades, predicted_decades = _decades(stars), _decades(np.expm1(predicted))
    shares = (intervals.coverage - tolerance, intervals.coverage - PREDICTED_TOLERANCE)
    labels = (true_decades, predicted_decades)
    wanted = [_least_inside(label, share) for label, share in zip(labels, shares, strict=True)]
    enough = np.array([min(math.ceil((len(stars) + 1) * intervals.coverage), len(stars))])

    def inside(radius: np.ndarray) -> list[np.ndarray]:
        found = find_inside(_with_radius(intervals, radius), predicted, spread, stars)
        return [np.array([found.sum()]), *(np.bincount(label, found) for label in labels)]

    radius = np.asarray(intervals.radius)
    columns = np.minimum(number_of_decade(np.asarray(intervals.prediction_classes)), predicted_decades.max())
    for decade in range(predicted_decades.max() + 1):
        least = [np.zeros(1), np.zeros(len(wanted[0])), np.zeros(0)]
        least[2] = np.where(np.arange(len(wanted[1])) == decade, wanted[1], 0.0)
        radius = _scale(radius, np.where(columns == decade, 1.0, 0.0)[None, :], inside, least, (1.0, MOST_WIDENING))
    if tolerance:
        least = [enough, np.zeros(len(wanted[0])), np.zeros(len(wanted[1]))]
        radius = _scale(radius, np.ones((1, 1)), inside, least, (1.0, MOST_WIDENING))
    rows = np.minimum(number_of_decade(np.asarray(intervals.count_classes)), true_decades.max())
    for decade in range(true_decades.max() + 1):
        least = [np.minimum(now, most) for now, most in zip(inside(radius), (enough, *wanted), strict=True)]
        radius = _scale(radius, np.where(rows == decade, 1.0, 0.0)[:, None], inside, least, (LEAST_FACTOR, 1.0))
    return _with_radius(intervals, radius)


def _scale(
    radius: np.ndarray,
    chosen: np.ndarray,
    inside: Callable[[np.ndarray], list[np.ndarray]],
    least: list[np.ndarray],
    factors: tuple[float, float],
) -> np.ndarray:
    """Multiply the chosen radii by the smallest factor with which enough rows are inside; else by the largest one."""

    def scaled(factor: float) -> np.ndarray:
        return round_up(np.where(chosen, radius * factor, radius))

    def holds(factor: float) -> bool:
        return all(bool((found >= enough).all()) for found, enough in zip(inside(scaled(factor)), least, strict=True))

    low, high = factors
    if holds(low):
        return scaled(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        low, high = (low, middle) if holds(middle) else (middle, high)
    return scaled(high)


def _with_radius(intervals: Intervals, radius: np.ndarray) -> Intervals:
    return replace(intervals, radius=tuple(map(tuple, radius.tolist())))


def _least_inside(labels: np.ndarray, share: float) -> np.ndarray:
    """Return how many rows of each group must be inside; none of a group with few rows."""
    sizes = np.bincount(labels)
    return np.where(sizes >= LEAST_DECADE, np.minimum(np.ceil((sizes + 1) * share), sizes), 0.0)


def number_of_decade(stars: np.ndarray) -> np.ndarray:
    """Return 0 for no stars, 1 for 1 to 9, 2 for 10 to 99."""
    return np.where(stars < 1, 0, np.floor(np.log10(np.maximum(stars, 1.0)) + 1e-12) + 1).astype("int64")


def _decades(stars: np.ndarray) -> np.ndarray:
    """Return the number of each row's decade; a decade with few rows joins the one below."""
    decades = number_of_decade(stars)
    while (top := decades.max(initial=0)) and (decades == top).sum() < LEAST_DECADE:
        decades[decades == top] = top - 1
    return decades


def find_inside(intervals: Intervals, predicted: np.ndarray, spread: np.ndarray, stars: np.ndarray) -> np.ndarray:
    """Return 1.0 for each row whose true count is inside of its interval, else 0.0."""
    low, high = intervals.bounds(predicted, spread)
    return ((low <= stars) & (stars <= high)).astype(float)


def round_up(radius: np.ndarray) -> np.ndarray:
    """Return radii as they are stored, which have a few digits."""
    return np.asarray(np.ceil(radius * RADIUS_STEPS) / RADIUS_STEPS)
